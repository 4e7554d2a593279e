"""Folding batch normalisation into the convolution before it, which gives the same values faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from deepvis.networks.capture import capture, trace
from deepvis.networks.kept_tensors import copied


def fold_batchnorm(module: nn.Module, example: Tensor, keep: Collection[str] = ()) -> nn.Module:
    """Return a copy with each BatchNorm2d folded into the convolution whose output it takes.

    A run on `example` shows which convolution that is, so `forward` may be written in any way. If the folded copy
    gives other values than the original, in its result or at a shown module (the convolution's output may also be
    used elsewhere), the original is returned.

    Args:
        module: network in eval mode.
        example: input for the run.
        keep: paths of modules whose output is shown. A convolution among them is not folded, and neither is one whose
            normalisation contains such a module.
    """
    folded = copied(module)
    pairs = [
        (conv, norm)
        for conv, norm in _pairs(folded, example)
        if conv not in keep and not any(path.startswith(f"{norm}.") for path in keep)
    ]
    if not pairs:
        return module
    for conv_path, norm_path in pairs:
        _fold(folded, conv_path, norm_path)
    want, got = (_outputs(net, example, keep) for net in (module, folded))
    same = all(_close(want[path], got[path]) for path in want)
    return folded if same else module


def _outputs(module: nn.Module, example: Tensor, paths: Collection[str]) -> dict[str, Tensor]:
    with torch.no_grad(), capture(module, paths) as captured:
        out = module(example)
    return {**captured, "": out}


def _close(want: object, got: object) -> bool:
    if not isinstance(want, Tensor) or not isinstance(got, Tensor):
        return False
    return torch.allclose(want, got, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def _pairs(module: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    calls: Counter[str] = Counter()
    makers: dict[int, str] = {}
    alive = []  # outputs are kept so that no two of them can share an id
    pairs = []

    def visit(path: str, child: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        calls[path] += 1
        if isinstance(child, nn.Conv2d) and isinstance(output, Tensor):
            makers[id(output)] = path
            alive.append(output)
        elif _after_norm(child) is not None and inputs and id(inputs[0]) in makers:
            pairs.append((makers[id(inputs[0])], path))

    with torch.no_grad(), trace(module, visit):
        module(example)
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


def _after_norm(norm: nn.Module) -> nn.Module | None:
    """The module that replaces a folded normalisation: identity or its activation; None if it cannot be folded."""
    if type(norm) is nn.BatchNorm2d and norm.track_running_stats:
        return nn.Identity()
    if isinstance(norm, nn.BatchNorm2d) and type(norm).__name__ == "BatchNormAct2d":  # timm: norm, then activation
        return norm.get_submodule("act")
    return None


def _fold(root: nn.Module, conv_path: str, norm_path: str) -> None:
    conv: Any = root.get_submodule(conv_path)  # a Conv2d and a BatchNorm2d, as `_pairs` found them
    norm: Any = root.get_submodule(norm_path)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    parent, _, child = norm_path.rpartition(".")
    setattr(root.get_submodule(parent), child, _after_norm(norm))
