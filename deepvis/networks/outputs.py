"""Choosing the tensor to show from what a network or one of its modules returns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deepvis.core.errors import UserError

_USUAL = ("logits", "out", "output", "scores")


def pick(output: object, name: str | int | None = None) -> Tensor:
    """Choose one tensor from what a network returned.

    Args:
        output: a tensor, or a mapping, sequence or object with tensors.
        name: key of a mapping, position in a sequence, or attribute of an object; None chooses an entry with a usual
            name, else the first vector, else the first tensor.
    Raises:
        UserError: there is no such entry, or it is not a tensor; the message says what there is.
    """
    if isinstance(output, Tensor):
        if name is None:
            return output
        raise UserError(f"output {name!r}: the network returns one tensor, nothing to choose from. Remove output:")
    entries = _entries(output)
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if name is None and tensors:
        usual = next((key for key in _USUAL if key in tensors), None)
        vector = next((key for key, value in tensors.items() if value.ndim == 2), None)
        first = next(iter(tensors))
        return tensors[next(key for key in (usual, vector, first) if key is not None)]
    if name not in tensors:
        asked = "" if name is None else f"output {name!r}: "
        if not tensors:
            remedy = "" if name is None else ", nothing to choose from. Remove output:"
            raise UserError(f"{asked}the network returns {_described(output)}{remedy}")
        raise UserError(f"{asked}the network returns a {type(output).__name__} with {', '.join(map(str, tensors))}. "
                        "Choose one of them by output: in its model.yaml")  # fmt: skip
    return tensors[name]


def _described(output: object) -> str:
    """A description of a value and its contents: "a list of 1, its first a dict of boxes, scores, labels"."""
    text, inner = f"a {type(output).__name__}", output
    if isinstance(output, Sequence) and not isinstance(output, str):
        text += f" of {len(output)}"
        inner = output[0] if len(output) else None
        text += f", its first a {type(inner).__name__}" if len(output) else ""
    if isinstance(inner, Mapping):
        text += " of " + ", ".join(list(map(str, inner))[:8])
    return text


def _entries(output: object) -> dict[str | int, object]:
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, tuple) and (names := getattr(output, "_fields", ())):  # a namedtuple
        return dict(zip(names, output)) | dict(enumerate(output))
    return dict(enumerate(output)) if isinstance(output, Sequence) else dict(getattr(output, "__dict__", {}))


# Functions of torch that compute weighted sums, and functions that limit the range of each value.
_WEIGHTED = {
    "linear",
    "bilinear",
    "conv1d",
    "conv2d",
    "conv3d",
    "matmul",
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "einsum",
    "conv_transpose2d",
}
_BOUNDING = {"sigmoid", "hardsigmoid", "tanh", "hardtanh", "clamp", "clip", "erf", "exp", "expit"}


class Bounded(TorchFunctionMode):
    """Finds out while the network runs in the block whether its outputs are bounded, such as by a sigmoid.

    Attributes:
        is_so: a bounding function was called after the last layer with weights.
    """

    is_so = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in _WEIGHTED:
            self.is_so = False
        elif name in _BOUNDING:
            self.is_so = True
        return func(*args, **(kwargs or {}))


def takes_softmax(scores: Sequence[Tensor], bounded: bool) -> bool:
    """Whether the network's output needs a softmax: it is neither probabilities yet nor independent probabilities.

    Args:
        scores: the outputs for different inputs, 1×entries each.
        bounded: the network bounds its outputs itself (see `Bounded`). Without this, values between 0 and 1 may be
            logits by chance.
    """
    values = torch.cat([one.detach().float().cpu() for one in scores])
    if values.shape[1] == 1 or not bool((values >= 0).all()):
        return values.shape[1] > 1
    sums = values.sum(1)
    return not (torch.allclose(sums, torch.ones_like(sums), atol=1e-2) or bounded and bool((values <= 1).all()))


class Chosen(nn.Module):
    """A network, followed by the choice of one of its outputs and by a softmax, if asked for.

    The softmax makes probabilities a layer like any other.
    """

    def __init__(self, net: nn.Module, output: str | int | None, softmax: bool) -> None:
        super().__init__()
        self.net = net
        self.output = output
        self.softmax = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.softmax(pick(self.net(x), self.output))
        return scores


# ---- of a module inside the network -------------------------------------------------------------

_DEEP = 4  # lists in lists


def shown(output: object) -> Tensor | None:
    """The tensor to show from a module's output: the output itself, or the first map or tokens in a list, tuple,
    mapping or object, else the first vector in it. None if it has no tensor of 2 to 4 dimensions.

    `with_shown` puts another tensor in its place.
    """
    if isinstance(output, Tensor):
        return output if _can_be_shown(output) else None
    found = [tensor for tensor in _tensors(output) if _can_be_shown(tensor) and tensor.is_floating_point()]
    return next((tensor for tensor in found if tensor.ndim > 2), found[0] if found else None)


def with_shown(output: object, old: Tensor, new: Tensor) -> object:
    """A module's output with the tensor `new` in place of `old`.

    Containers are copied and not changed, because the network may keep them.
    """
    return new if output is old else _replaced(output, old, new, _DEEP)


def _can_be_shown(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and not (tensor.is_complex() or tensor.is_quantized or tensor.is_nested)
    return plain and tensor.ndim in (2, 3, 4) and tensor.numel() > 0


def _tensors(output: object, deep: int = _DEEP) -> Iterator[Tensor]:
    for value in _inside(output).values() if deep else ():
        if isinstance(value, Tensor):
            yield value
        else:
            yield from _tensors(value, deep - 1)


def _inside(output: object) -> Mapping[Any, object]:
    """The entries of a container or the attributes of an object; empty for anything else."""
    if isinstance(output, (str, bytes, type, nn.Module, Tensor)):
        return {}
    if isinstance(output, Sequence):
        return dict(enumerate(output))
    return output if isinstance(output, Mapping) else getattr(output, "__dict__", {})


def _replaced(output: object, old: Tensor, new: Tensor, deep: int) -> object:
    entries = _inside(output)
    changed = {
        key: new if value is old else _replaced(value, old, new, deep - 1) for key, value in entries.items() if deep
    }
    if all(changed[key] is entries[key] for key in changed):
        return output
    if isinstance(output, tuple):
        kind: Callable[..., object] = type(output)
        values = changed.values()
        return kind(*values) if hasattr(output, "_fields") else kind(values)
    made: Any = copy.copy(output)
    for key, value in changed.items():
        if isinstance(output, (Mapping, Sequence)):
            made[key] = value
        else:
            object.__setattr__(made, key, value)  # a dataclass may be frozen
    return made
