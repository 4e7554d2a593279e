"""torch-lucent 0.1.8 with a kornia that has renamed two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import kornia
import torch
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine

kornia.warp_affine, kornia.get_rotation_matrix2d = warp_affine, get_rotation_matrix2d

from lucent.optvis import objectives, param, transform  # noqa: E402
from lucent.optvis.render import render_vis as _render_vis  # noqa: E402


def render_vis(module: torch.nn.Module, path: str, unit: int, preprocess: Callable) -> list:
    """Lucent's default on a unit of a submodule: 224 px, 512 steps."""
    return render_vis_at(module, path, unit, preprocess, (512,))


def render_vis_at(module: torch.nn.Module, path: str, unit: int, preprocess: Callable, steps: Sequence[int]) -> list:
    """The same, the images after each of these numbers of steps."""
    name = path.replace(".", "_")
    return _render_vis(
        module, f"{name}:{unit}", preprocess=False, transforms=[*transform.standard_transforms, preprocess],
        param_f=lambda: param.image(224), thresholds=tuple(steps), show_image=False, progress=False,
        fixed_image_size=224,
    )  # fmt: skip


def stepper(module: torch.nn.Module, spec, path: str, batch: int) -> Callable[[], None]:
    """One step of `render_vis` with all its defaults: an image of 128 px, enlarged to 224 behind the transforms.

    Args:
        module: the network as its library gives it: contiguous, not folded, weights not frozen.
        spec: what it takes, a `deepvis.networks.network.InputSpec`.
        path: of the submodule whose channel 0 it is.
    """
    from lucent.optvis.render import hook_model

    parameters, image_f = param.image(128, batch=batch)
    optimizer = torch.optim.Adam(parameters, lr=5e-2)
    shift, scale = spec.mean[0] * 255 / spec.range, spec.range / 255 / spec.std[0]
    enlarge = torch.nn.Upsample(size=224, mode="bilinear", align_corners=True)
    seen = transform.compose([*transform.standard_transforms, lambda x: (x * 255 - shift) * scale, enlarge])
    hook = hook_model(module, image_f)
    aim = objectives.channel(path.replace(".", "_"), 0)

    def step() -> None:
        optimizer.zero_grad()
        module(seen(image_f()))
        aim(hook).backward()
        optimizer.step()

    return step


def main() -> None:
    """`python lucent_shim.py MODEL LAYER BATCH DEVICE`: a step for each line that comes, and a line after it."""
    import sys
    from unittest.mock import patch

    from deepvis.networks import loading

    name, layer, batch, device = sys.argv[1:]
    with patch("deepvis.networks.network.fold_batchnorm", lambda module, *_args, **_kwargs: module):
        given = loading.load(name, device, weights="none" if name.startswith("torchvision") else "auto")
    module = given.module.to(memory_format=torch.contiguous_format).requires_grad_(True)
    step = stepper(module, given.input, given.paths[layer], int(batch))
    for _ in sys.stdin:
        step()
        if given.device.type == "cuda":
            torch.cuda.synchronize()
        print(flush=True)


if __name__ == "__main__":
    main()
