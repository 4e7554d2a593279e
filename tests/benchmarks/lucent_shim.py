"""torch-lucent 0.1.8 with a kornia that has renamed two functions."""

from __future__ import annotations

from collections.abc import Callable

import kornia
import torch
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine

kornia.warp_affine, kornia.get_rotation_matrix2d = warp_affine, get_rotation_matrix2d

from lucent.optvis import objectives, param, transform  # noqa: E402
from lucent.optvis.render import render_vis as _render_vis  # noqa: E402


def render_vis(module: torch.nn.Module, path: str, unit: int, preprocess: Callable) -> list:
    """Lucent's default on a unit of a submodule: 224 px, 512 steps."""
    name = path.replace(".", "_")
    return _render_vis(
        module, f"{name}:{unit}", preprocess=False, transforms=[*transform.standard_transforms, preprocess],
        param_f=lambda: param.image(224), show_image=False, progress=False, fixed_image_size=224,
    )  # fmt: skip


def stepper(network, layer: str, batch: int) -> Callable[[], None]:
    """One step of `render_vis` with its defaults, on the network as lucent gets it: weights not frozen."""
    import copy

    from lucent.optvis.render import hook_model

    module = copy.deepcopy(network.module).requires_grad_(True).eval()
    parameters, image_f = param.image(224, batch=batch)
    optimizer = torch.optim.Adam(parameters, lr=5e-2)
    spec = network.input
    shift, scale = spec.mean[0] * 255 / spec.range, spec.range / 255 / spec.std[0]
    standard = transform.compose([*transform.standard_transforms, lambda x: (x * 255 - shift) * scale])
    hook = hook_model(module, image_f)
    aim = objectives.channel(network.paths[layer].replace(".", "_"), 0)

    def step() -> None:
        optimizer.zero_grad()
        module(standard(image_f()))
        aim(hook).backward()
        optimizer.step()

    return step
