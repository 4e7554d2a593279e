"""Measuring receptive fields: which pixels a unit depends on, and how they move from unit to unit.

A backward pass from a unit to the input is run in which activation functions let the whole gradient through and
max-pooling spreads it over its window. The pixels that the gradient reaches are the receptive field. Branches,
residual connections and functional code need no special treatment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.receptive_field import ReceptiveField
from deepvis.networks.activation_rules import ActivationRule, replaced

Span = tuple[int, int]  # a field along one axis: its first pixel, and the pixel after its last
_Axis = dict[int, Span]  # {row or column of the unit: its span}


class _Line(NamedTuple):
    """The fields along one axis."""

    size: int
    stride: float
    start: float
    clipped: bool


def measure(run: Callable[[Tensor], Tensor], x: Tensor) -> ReceptiveField:
    """Measure the receptive fields of a layer.

    The first units of a map show where their fields end, and the last units where theirs begin, because the input's
    border does not clip these edges; the units in between must agree with them. So even a field that is larger than
    the input is measured exactly, if no unit sees the whole input. If this fails, or if the fields do not move evenly
    (windows of attention, enlarged maps), the size is that of the middle unit's field, and each field is centred on
    its unit's part of the input.

    Args:
        run: input -> the layer's units (B×C×H×W or B×N), differentiable.
        x: a noise input, 1×channels×height×width.
    """
    x = x.detach().requires_grad_(True)
    with torch.enable_grad(), ActivationRule(_spread, replace=_SPREADING):
        out = run(x)
    whole, counts = x.shape[2:], out.shape[2:] or (1, 1)
    axes: tuple[_Axis, _Axis] = ({}, {})
    extents = list(zip(axes, counts, whole))
    for units in (lambda n: (0, n // 2, n - 1)), (lambda n: (1 % n, -2 % n)):  # the second ones if need be
        for unit in dict.fromkeys(zip(*map(units, counts))):
            for axis, place, span in zip(axes, unit, _spans(out, x, unit)):
                axis[place] = span
        lines = [_from_ends(*extent) for extent in extents]
        if not any(line is None and _has_ends(*extent) for line, extent in zip(lines, extents)):
            break
    rows, columns = (line or _from_middle(*extent) for line, extent in zip(lines, extents))
    return ReceptiveField(
        rows.size, columns.size, rows.clipped or columns.clipped,
        stride=(rows.stride, columns.stride), start=(rows.start, columns.start),
    )  # fmt: skip


def _spans(out: Tensor, x: Tensor, unit: Sequence[int]) -> tuple[Span, Span]:
    """Rows and columns of `x` that the units at one place of `out` depend on."""
    start = torch.zeros_like(out)
    weights = torch.rand(out.shape[1], generator=torch.Generator().manual_seed(0))  # so that no paths cancel
    index: tuple[Any, ...] = (0, slice(None), *unit)[: out.ndim]
    start[index] = weights.to(out)
    grad = None
    if out.requires_grad:
        with _exact_zeros(x):
            (grad,) = torch.autograd.grad(out, x, start, retain_graph=True, allow_unused=True)
    if grad is None or not grad.any():  # no gradient comes through, as after an argmax: it may depend on any pixel
        return (0, x.shape[2]), (0, x.shape[3])
    reached = (grad[0] != 0).any(0)  # true also for not-a-number
    return _span(reached.any(1)), _span(reached.any(0))


def _span(reached: Tensor) -> Span:
    places = reached.nonzero()
    return int(places[0]), int(places[-1]) + 1


def _has_ends(axis: _Axis, count: int, length: int) -> bool:
    """Whether the first field ends, and the last one begins, inside the input."""
    return count > 1 and axis[0][1] < length and axis[count - 1][0] > 0


def _from_ends(axis: _Axis, count: int, length: int) -> _Line | None:
    """Size, stride and start, from edges inside the input; None if these are too few or the fields move unevenly."""
    if not _has_ends(axis, count, length):
        return None
    # With a stride, no unit may see the last pixels. A field that ends where these begin may be clipped, too.
    reach = min(axis[count - 1][1], length)
    starts = {unit: start for unit, (start, _) in sorted(axis.items()) if start > 0}
    ends = {unit: end for unit, (_, end) in sorted(axis.items()) if end < reach}
    strides = {
        Fraction(edges[after] - edges[before], after - before)
        for edges in (starts, ends)
        for before, after in pairwise(edges)
    }
    stride = strides.pop() if len(strides) == 1 else Fraction(0)
    if stride <= 0 or stride.denominator > 1:
        return None
    first = starts[count - 1] - int(stride) * (count - 1)
    return _Line(ends[0] - first, int(stride), first, False) if first < ends[0] else None


def _from_middle(axis: _Axis, count: int, length: int) -> _Line:
    start, end = axis[count // 2]
    clipped = start == 0 or end == length
    if count == 1:
        return _Line(end - start, 0, start, clipped)
    share = length / count
    return _Line(end - start, share, (share - (end - start)) / 2, clipped)


_switch = threading.Lock()


@contextmanager
def _exact_zeros(x: Tensor) -> Iterator[None]:
    """Switch cuDNN off in the block, because its fastest convolutions give tiny values in place of exact zeros.

    The switch is global, so only one thread at a time may change it and set it back.
    """
    if x.device.type != "cuda":
        yield
        return
    with _switch, torch.backends.cudnn.flags(enabled=False):
        yield


# ---- functions that pass all of a gradient ---------------------------------------------------------


def _even(grad: Tensor) -> Tensor:
    """The gradient with values of similar size at the same places, so that none vanishes or overflows."""
    largest = torch.linalg.vector_norm(grad, torch.inf)
    if not largest.isfinite():
        grad = torch.nan_to_num(grad, nan=1.0)
        largest = grad.abs().amax()
    return torch.add(grad.sign(), grad / largest.clamp(min=torch.finfo(grad.dtype).tiny))


def _spread(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    return replaced(x, f, _even)


def _gate(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The gate function `f`, but a gradient passes even where the gate is closed."""
    return lambda input, *args, **kwargs: _spread(input, lambda x: f(x.clone(), *args, **kwargs))


def _pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if dilation not in (1, (1, 1)) or return_indices:  # no average pooling does these
        pool: Callable[..., Any] = F.max_pool2d
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return F.avg_pool2d(input, kernel_size, stride, padding, ceil_mode)


def _adaptive_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:
    return F.adaptive_avg_pool2d(input, output_size)


def _mean(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return input.mean(dim, keepdim)


# Functions that pick the largest value -> the same place by place, but all values share its gradient.
SPREAD_POOLS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.max_pool2d: _pool, torch.max_pool2d: _pool, torch.amax: _mean, Tensor.amax: _mean,
    F.adaptive_max_pool2d: _adaptive_pool,
}  # fmt: skip
_SPREADING = SPREAD_POOLS | {
    f: _gate(f) for f in (torch.sigmoid, Tensor.sigmoid, F.hardsigmoid, torch.tanh, Tensor.tanh)
}
