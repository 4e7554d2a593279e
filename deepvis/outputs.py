"""What a network and its modules return, made into the one tensor that is shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from deepvis.errors import UserError

_USUAL = ("logits", "out", "output", "scores")


def pick(output: object, name: str | int | None = None) -> Tensor:
    """One tensor of what a network returned.

    Args:
        output: a tensor, or a mapping or sequence of such.
        name: key of a mapping, position in a sequence, attribute of anything else; None: a
            mapping's entry of a usual name, else the first vector, else the first tensor.
    Raises:
        UserError: there is no such entry, or it is no tensor.
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
        known = ", ".join(map(str, tensors)) or "no tensor"
        raise UserError(f"output {name!r}: the network returns a {type(output).__name__} with {known}. "
                        "Choose one of them by output: in its model.yaml")  # fmt: skip
    return tensors[name]


def _entries(output: object) -> dict[str | int, object]:
    if isinstance(output, Mapping):
        return dict(output)
    named = getattr(output, "_fields", None)  # of a namedtuple
    if named:
        return dict(zip(named, output)) | dict(enumerate(output))
    return dict(enumerate(output)) if isinstance(output, Sequence) else dict(getattr(output, "__dict__", {}))


# ---- of a module inside the network -------------------------------------------------------------

_DEEP = 4  # lists in lists


def shown(output: object) -> Tensor | None:
    """The tensor that stands for what a module returned: the output itself, or of a list, tuple, mapping or object
    its first map or tokens, or else its first vector. None: there is none of 2 to 4 dimensions.

    `with_shown` is the way back.
    """
    if isinstance(output, Tensor):
        return output if _can_be_shown(output) else None
    found = [tensor for tensor in _tensors(output) if _can_be_shown(tensor) and tensor.is_floating_point()]
    return next((tensor for tensor in found if tensor.ndim > 2), found[0] if found else None)


def with_shown(output: object, old: Tensor, new: Tensor) -> object:
    """What a module returned, with the tensor `new` wherever `old` stood; what else was in it stays. No container of
    the network's own is changed: it may be kept somewhere."""
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


def _inside(output: object) -> Mapping:
    """A container's entries, each of them once."""
    if isinstance(output, (str, bytes, type, nn.Module, Tensor)):
        return {}
    if isinstance(output, Sequence):
        return dict(enumerate(output))
    return output if isinstance(output, Mapping) else getattr(output, "__dict__", {})


def _replaced(output: object, old: Tensor, new: Tensor, deep: int) -> object:
    entries = _inside(output)
    changed = {key: new if value is old else _replaced(value, old, new, deep - 1) for key, value in entries.items() if deep}
    if all(changed[key] is entries[key] for key in changed):
        return output
    if isinstance(output, tuple):
        values = changed.values()
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    made = copy.copy(output)
    for key, value in changed.items():
        if isinstance(output, (Mapping, Sequence)):
            made[key] = value
        else:
            object.__setattr__(made, key, value)  # a dataclass may be frozen
    return made


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
        return self.softmax(pick(self.net(x), self.output))
