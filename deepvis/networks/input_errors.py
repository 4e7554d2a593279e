"""Explaining why a network fails on its input, and what the user can do about it."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepvis.core.errors import words
from deepvis.networks.outputs import Chosen

_USUAL_SIZES = (224, 32, 64, 28, 96, 128, 160, 192, 227, 256, 299, 320, 384, 448, 512)
_PATIENCE = 10.0  # seconds for which other inputs are tried; a try that has begun may take longer
_PICTURES = ("pixel_values", "image", "images", "img", "imgs", "x", "input", "inputs")  # usual names of the argument
_SHAPES = re.compile(
    r"shape|size|dimension|channel|height|width|kernel|stride|broadcast|match|divisible|mat1|out of bounds|rank|\dd\b",
    re.I,
)
_TYPES = re.compile(r"dtype|scalar type|(input|weight|bias) type|\b(double|float64|half|bfloat16)\b", re.I)

_SET = "Set input height, width and channels (or mean, one value per channel) in its model.yaml."

Inside = Sequence[tuple[str, nn.Module, tuple[Any, ...]]]


def explained(name: str, module: nn.Module, x: Tensor, error: Exception, inside: Inside) -> str:
    """The message for a network that failed.

    Args:
        x: the input, 1×channels×height×width.
        inside: (path, module, inputs) of the modules that were running when it failed, the innermost last.
    """
    net = module.net if isinstance(module, Chosen) else module
    own = _arguments(net, x)
    if own:
        return f"network {name}: {own}"
    path, child, inputs = inside[-1] if inside else ("", net, ())
    got = next((i for i in inputs if isinstance(i, Tensor)), None)
    wants = _wants(child)
    place = f"its module {path or 'itself'} ({type(child).__name__}) " if inside else ""
    if place:
        takes = f"takes {wants}" if wants else "fails"
        place += takes + (f"{' and' if wants else ''} got {tuple(got.shape)}" if got is not None else "") + ": "
    reason = words(error).strip().partition("\n")[0]
    return (
        f"network {name} cannot take an input of shape {tuple(x.shape)}: {place}{reason}. "
        f"{_remedy(net, x, reason, child, got)}"
    )


def _remedy(net: nn.Module, x: Tensor, reason: str, child: nn.Module, got: Tensor | None) -> str:
    if _TYPES.search(reason) and (got is None or got.dtype != x.dtype):
        kind = (
            f"{str(got.dtype).removeprefix('torch.')} values reach it"
            if got is not None
            else "values of another type meet"
        )
        return (
            f"deepvis runs networks in float32, and {kind}: its forward makes them itself. Make such constants like "
            "the input there: .to(x.dtype)"
        )
    if "same device" in reason:
        return "Its forward names a device. Make constants where the input is: .to(x.device)"
    if isinstance(child, (nn.Conv1d, nn.Conv3d)):
        kind = "sequences" if isinstance(child, nn.Conv1d) else "videos or volumes"
        return f"It works on {kind}, and deepvis gives one picture: wrap it in a module that makes its input of that."
    end, about_shapes = time.monotonic() + _PATIENCE, bool(_SHAPES.search(reason))
    found = "" if about_shapes else _other_call(net, x, end)  # first what is likelier
    if not found and (fits := _fitting(net, x.shape[1], end)):
        return f"It can take {fits[0]} channels of {fits[1]}×{fits[1]} pixels. {_SET}"
    return found or about_shapes and (_other_call(net, x, end) or _SET) or (
        "No other size runs either. deepvis calls it with one tensor, 1×channels×height×width: correct its code, or "
        "wrap it in a module that takes that.")  # fmt: skip


# ---- other arguments ----------------------------------------------------------------------------


def _arguments(net: nn.Module, x: Tensor) -> str:
    """What is wrong if the network cannot be called with a single argument; empty if it can."""
    try:
        signature = inspect.signature(net.forward)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(x)
    except TypeError:
        needed = [
            p
            for p in signature.parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        names = ", ".join(p.name for p in needed)
        given = ", ".join(f"{p.name}=x" if p.kind is p.KEYWORD_ONLY else "x" for p in needed)
        takes = f"{names} (by name)" if len(needed) == 1 else names or "no picture"
        return (f"forward takes {takes}; deepvis gives one picture: wrap it in a module whose forward(self, x) makes "
                f"what it takes, such as return self.net({given})")  # fmt: skip
    return ""


class _Asked(dict[object, Tensor]):
    """A dictionary with the picture under every key, which records the keys that were asked for."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x
        self.keys_asked: list[object] = []

    def __missing__(self, key: object) -> Tensor:
        self.keys_asked.append(key)
        return self.x


def _other_call(net: nn.Module, x: Tensor, end: float) -> str:
    """How the network can be called other than with one tensor; found out by trying, empty if no way works."""
    asked = _Asked(x)
    named = [name for name in _PICTURES if name in inspect.signature(net.forward).parameters]
    calls: list[tuple[Callable[[], object], Callable[[], str]]] = [
        *(
            (lambda name=name: net(**{name: x}), lambda name=name: f"the picture as {name}=: self.net({name}=x)")
            for name in named
        ),
        (lambda: net([x[0]]), lambda: "a list of pictures: self.net([*x])"),
        (
            lambda: net(asked),
            lambda: (
                f"a dictionary with {', '.join(map(repr, dict.fromkeys(asked.keys_asked)))}: "
                f"self.net({{{asked.keys_asked[0]!r}: x}})"
            ),
        ),
    ]
    for call, told in calls:
        if _runs(call, end) and (call is not calls[-1][0] or asked.keys_asked):
            wrapped = told().replace(": self", "; deepvis gives one tensor: wrap it in a module that returns self")
            return f"It takes {wrapped}"
    return ""


def _runs(call: Callable[[], object], end: float) -> bool:
    if time.monotonic() > end:
        return False
    try:
        with torch.no_grad():
            call()
    except Exception:  # user code may raise anything
        return False
    return True


# ---- other shapes -------------------------------------------------------------------------------


def _wants(child: nn.Module) -> str:
    """The number of values or channels that a module takes, as a text; empty if it is not known."""
    if isinstance(child, nn.Linear):
        return f"{child.in_features} values"
    channels = getattr(child, "in_channels", None) or getattr(child, "num_features", None)
    return f"{channels} channels" if isinstance(channels, int) else ""


def _on_black(net: nn.Module, planes: int, size: int) -> object:
    return net(torch.zeros(1, planes, size, size))


def _fitting(net: nn.Module, channels: int, end: float) -> tuple[int, int] | None:
    """Channels and size of a usual input that the network can take; None if none works."""
    first = next((child.in_channels for child in net.modules() if isinstance(child, nn.Conv2d)), channels)
    for size in _USUAL_SIZES:
        for planes in dict.fromkeys((channels, first, 3, 1)):
            if _runs(partial(_on_black, net, planes, size), end):
                return planes, size
    return None
