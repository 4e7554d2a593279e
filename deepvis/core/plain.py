"""Turn values of NumPy and torch into plain Python values, and check arguments. Imports neither library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from deepvis.core.errors import UserError


def plain(value: Any) -> Any:
    """A value with NumPy's and torch's scalars as Python's, and arrays and tensors as lists, also inside containers."""
    if isinstance(value, Mapping):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") and not isinstance(value, type) else value


def numbers(name: str, values: Any, whole: bool = False) -> tuple[Any, ...] | None:
    """A number, or a (nested) sequence or array of numbers, as a flat tuple of floats or ints; None stays None.

    Args:
        name: name of the argument, for the error message.
        whole: take whole numbers only, and return ints.
    Raises:
        UserError: it is something else.
    """
    if values is None:
        return None
    found = tuple(_flat(plain(values)))
    kinds = int if whole else (int, float)
    if not found or not all(isinstance(v, kinds) and not isinstance(v, bool) and math.isfinite(v) for v in found):
        what = "whole numbers" if whole else "a number, or one number for each channel"
        raise UserError(f"deepvis.live: {name} is {values!r}; expected {what}")
    return found if whole else tuple(map(float, found))


def texts(name: str, values: Any) -> list[str]:
    """A sequence as a list of texts; numbers become texts. Raises UserError if it is something else."""
    found = plain(values)
    if isinstance(found, (str, bytes, Mapping)) or not isinstance(found, Iterable):
        raise UserError(f"deepvis.live: {name} is {values!r}; expected a list of names")
    return [str(one) for one in found]


def _flat(values: Any) -> Iterable[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        yield values
        return
    for value in values:
        yield from _flat(plain(value))
