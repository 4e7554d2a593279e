"""Reducing activations to top images and statistics, on the device, in a fixed amount of memory.

`extremes` reduces a layer's maps as soon as the network has computed them, while they are still in the processor's
cache. `Tally` compares the results of each image with the k best so far, and adds up the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from deepvis.scan.index import (
    BINS,
    CHUNK,
    OCTAVES,
    PER_OCTAVE,
    Index,
    Ranked,
    Span,
    Sums,
)

_BLOCK = 1 << 20  # bytes of a block; small enough that it is in the cache when it is read again
_TOGETHER = 64  # maps that are searched at once


@dataclass(frozen=True)
class Extremes:
    """The largest value of each map of a layer for a batch, its place, and the map's mean, which orders equal values.

    Attributes:
        value, mean: sides×B×C float32. The second side, if there is one, is for the negated maps (the weakest images).
        cell: sides×B×C int32, the first place with the value; -1 if the value is not above the bar, so that its place
            is not needed.
    """

    value: Tensor
    mean: Tensor
    cell: Tensor


@dataclass(frozen=True)
class Bar:
    """The bar for each unit: a value must be larger, or equal with a larger mean, to be among the unit's k best.

    A bar may be out of date: bars only rise, and values that pass a lower bar are sorted out later.

    Attributes:
        value, mean: sides×C float32.
    """

    value: Tensor
    mean: Tensor

    @staticmethod
    def none(units: int, weakest: bool, device: torch.device | None = None) -> Bar:
        """A bar that every value passes."""
        lowest = torch.full((2 if weakest else 1, units), -math.inf, device=device)
        return Bar(lowest, lowest)

    def __getitem__(self, units: slice) -> Bar:
        return Bar(self.value[:, units], self.mean[:, units])


def extremes(units: Tensor, bar: Bar) -> Extremes:
    """Find the extremes of a layer's activations for a batch: B×C×H×W, or B×N for a vector.

    Args:
        bar: the layer's bar, with two sides if the weakest images are wanted too. Places are only searched for values
            above the bar, which are few after some hundred images.
    """
    sides = (1, -1)[: len(bar.value)]
    if units.ndim == 2:
        value = mean = torch.stack([sign * units.to(torch.float32) for sign in sides])
        return Extremes(value, mean, _above(value, mean, bar).to(torch.int32) - 1)
    cells = units.permute(0, 2, 3, 1).contiguous().to(torch.float32)
    if cells.device.type == "cpu":
        return _on_cpu(cells.numpy(), bar)
    cells = cells.flatten(1, 2)
    value, cell = (torch.stack(both) for both in zip(*((sign * cells).max(1) for sign in sides)))
    mean = cells.mean(1)
    return Extremes(value, torch.stack([mean, -mean][: len(sides)]), cell.to(torch.int32))


def _on_cpu(cells: np.ndarray, bar: Bar) -> Extremes:
    """As `extremes`, for B×H×W×C on a CPU. NumPy reads this in memory order; PyTorch takes twice as long."""
    batch, height, width, units = cells.shape
    sums, *columns = _columns(cells, weakest=len(bar.value) > 1)  # B×W×C each
    value = torch.from_numpy(np.stack([column.max(1) for column in columns]))
    mean = torch.from_numpy(sums.sum(1) / np.float32(height * width))
    mean = torch.stack([mean, -mean][: len(columns)])
    cell = np.full(value.shape, -1, np.int32)
    for side, above in enumerate(_above(value, mean, bar).numpy()):
        image, unit = np.divmod(np.flatnonzero(above), units)
        cell[side, image, unit] = _first_cells(cells, columns[side], image, unit, sign=-1 if side else 1)
    return Extremes(value, mean, torch.from_numpy(cell))


def _columns(cells: np.ndarray, weakest: bool) -> list[np.ndarray]:
    """B×H×W×C -> B×W×C each: for each column of the maps its sum, its largest value, and that of the negated maps.

    The maps are read in blocks that fit into the processor's cache.
    """
    batch, height, width, units = cells.shape
    lines = cells.reshape(batch, height, width * units)
    kinds = (np.add, np.maximum, np.minimum)[: 2 + weakest]
    found = [np.empty((batch, width * units), np.float32) for _ in kinds]
    images = max(1, _BLOCK // lines[0].nbytes)
    rows = max(1, _BLOCK // lines[0, 0].nbytes)
    for first in range(0, batch, images):
        some = slice(first, first + images)
        for row in range(0, height, rows):
            block = lines[some, row : row + rows]
            for kind, into in zip(kinds, found):
                if row == 0:
                    kind.reduce(block, 1, out=into[some])
                else:
                    kind(into[some], kind.reduce(block, 1), out=into[some])
    if weakest:
        np.negative(found[2], out=found[2])
    return [each.reshape(batch, width, units) for each in found]


def _above(value: Tensor, mean: Tensor, bar: Bar) -> Tensor:
    """Which values are above the bar, bool sides×B×C."""
    least, of_equals = bar.value[:, None], bar.mean[:, None]
    return (value > least) | (value == least) & (mean > of_equals)


def _first_cells(cells: np.ndarray, columns: np.ndarray, image: np.ndarray, unit: np.ndarray, sign: int) -> np.ndarray:
    """For n maps the first place in reading order that has the largest value of sign × map.

    Args:
        cells: B×H×W×C, the maps.
        columns: B×W×C, the largest value in each column of sign × cells.
        image, unit: the n maps.
    """
    _, height, width, units = cells.shape
    of_columns = columns.reshape(-1)[(image * (width * units) + unit)[:, None] + np.arange(width) * units]
    column = of_columns.argmax(1)
    start = image * (height * width * units) + unit
    flat = cells.reshape(-1)
    row = (sign * flat[(start + column * units)[:, None] + np.arange(height) * (width * units)]).argmax(1)
    cell: np.ndarray = row * width + column
    # If several columns have the largest value, the first column may have it in a later row than another.
    several = ((of_columns == of_columns.max(1, keepdims=True)).sum(1) > 1).nonzero()[0]
    for first in range(0, len(several), _TOGETHER):
        some = several[first : first + _TOGETHER]
        cell[some] = (sign * flat[start[some, None] + np.arange(height * width) * units]).argmax(1)
    return cell


class Tallied(TypedDict):
    """The attributes of an `Index` that a scan computes."""

    top: Ranked
    bottom: Ranked
    histogram: np.ndarray
    count: int
    active: np.ndarray
    sums: Sums


class Tally:
    """The results of a scan so far. Bottom images are kept as top images of the negated values.

    Call `commit` for each batch, and `end_chunk` after each CHUNK images.
    """

    def __init__(
        self, spans: Sequence[Span], k: int, device: torch.device, weakest: bool = True, correlation: bool = True
    ) -> None:
        self.spans, self.k, self.device = tuple(spans), k, device
        self.exact_device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        self.units = units = sum(span.units for span in spans)
        self.sides = 2 if weakest else 1
        rows = self.sides * units
        self.order = _packed(*torch.full((2, rows, k), -math.inf, device=device))
        self.place = _packed_place(
            *torch.tensor([-1, 0], dtype=torch.int32, device=device)[:, None, None].expand(2, rows, k)
        )
        self.bar = Bar.none(units, weakest, device)
        self.responses = torch.zeros((CHUNK, units), device=device)
        self.filled = 0
        self.count = 0
        exact = partial(torch.zeros, device=self.exact_device)
        self.histogram = exact((units, BINS), dtype=torch.int64)
        self.active = exact(units, dtype=torch.int64)
        self.total = exact((2, units), dtype=torch.float64)
        self.squares = exact((2, units), dtype=torch.float64)
        self.products = {s.name: exact((s.units, s.units), dtype=torch.float64) for s in spans if correlation}

    # ---- a batch -----------------------------------------------------------------------------

    def commit(self, found: Mapping[str, Extremes], numbers: Sequence[int]) -> None:
        """Add a batch: its extremes by layer, and the numbers of its images, which must increase between batches."""
        batch = len(numbers)
        if self.filled + batch > CHUNK:
            raise ValueError(f"batch of {batch} crosses the end of a chunk")
        value, mean, cell = (
            torch.cat([getattr(found[span.name], field) for span in self.spans], 2).transpose(0, 1).flatten(1)
            for field in ("value", "mean", "cell")
        )  # B×rows
        self.responses[self.filled : self.filled + batch] = value[:, : self.units]
        self._rank(value, mean, cell, torch.tensor(numbers, device=self.device))
        self.bar = self._bar()
        self.filled += batch
        self.count += batch

    def _rank(self, value: Tensor, mean: Tensor, cell: Tensor, image: Tensor) -> None:
        """Insert the values of a batch that are among the k best.

        Args:
            value, mean, cell: B×rows.
            image: B.
        """
        row, which = (cell >= 0).T.nonzero().T
        order = _packed(value[which, row], mean[which, row])
        place = _packed_place(image[which], cell[which, row])
        enters = order > self.order[row, -1]  # they were compared with a bar that may have been lower
        row, order, place = row[enters], order[enters], place[enters]
        counts = torch.bincount(row, minlength=len(self.order))
        turn = (
            torch.arange(len(row), device=self.device) - (counts.cumsum(0) - counts)[row]
        )  # how many before it in its row
        for now in range(int(counts.max())):
            these = (turn == now).nonzero()[:, 0]
            self._insert(row[these], order[these], place[these])

    def _insert(self, row: Tensor, order: Tensor, place: Tensor) -> None:
        """Insert one image into each of these rows (all different); the last image of the row drops out."""
        orders = self.order.index_select(0, row)
        rank = (orders >= order[:, None]).sum(1, keepdim=True)
        steps = torch.arange(self.k, device=self.device)
        source, here = steps - (steps > rank).long(), steps == rank
        for kept, new in ((self.order, order), (self.place, place)):
            moved = kept.index_select(0, row).gather(1, source)
            kept.index_copy_(0, row, torch.where(here, new[:, None], moved))

    def _bar(self) -> Bar:
        return Bar(*(part.view(self.sides, self.units) for part in _unpacked(self.order[:, -1])))

    # ---- a chunk -----------------------------------------------------------------------------

    def end_chunk(self) -> None:
        """Add the responses of the chunk's images to the sums."""
        if not self.filled:
            return
        responses = self.responses[: self.filled].to(self.exact_device)
        self._count(responses)
        exact = responses.double()
        total = exact.sum(0)
        self.total = _add_exactly(self.total, total)
        self.squares = _add_exactly(self.squares, exact.square_().sum(0))
        mean = total / self.filled
        for span in self.spans:
            if span.name in self.products:
                # The differences from the chunk's mean in float32 are as good as float64 for a correlation.
                centred = responses[:, span.rows] - mean[span.rows].float()
                m = mean[span.rows]
                self.products[span.name].add_(centred.T @ centred).addr_(m, m, alpha=self.filled)
        self.filled = 0

    def _count(self, responses: Tensor) -> None:
        self.active += (responses > 0).sum(0)
        for columns in range(0, self.units, 4096):  # so that the parts of it stay in the cache
            part = responses[:, columns : columns + 4096].T.contiguous()
            bins = bin_of(part)
            self.histogram[columns : columns + len(part)].scatter_add_(1, bins, torch.ones_like(bins))

    # ---- to and fro --------------------------------------------------------------------------

    def load(self, index: Index) -> None:
        """Continue from a state."""
        sides, sums = (index.top, index.bottom)[: self.sides], index.exact_sums
        widths = _widths(self.spans)
        value = np.concatenate([sign * s.value for s, sign in zip(sides, (1, -1))])
        mean = np.concatenate([sign * m for m, sign in zip(sums.means[: self.sides], (1, -1))])
        image = np.concatenate([s.image for s in sides])
        cell = np.concatenate([s.row.astype(np.int32) * widths + s.column for s in sides])
        self.order = _packed(self._tensor(value), self._tensor(mean))
        self.place = _packed_place(self._tensor(image), self._tensor(cell))
        self.bar = self._bar()
        self.filled, self.count = len(sums.recent), index.count
        self.responses[: self.filled] = self._tensor(sums.recent)
        self.total, self.squares = self._exact(sums.total), self._exact(sums.squares)
        self.products = {name: self._exact(array) for name, array in sums.products.items()}
        self.histogram, self.active = self._exact(index.histogram), self._exact(index.active)
        self._without_recent(-1)

    def arrays(self) -> Tallied:
        """The results of the scan so far, copied to the CPU."""
        widths = _widths(self.spans)
        ranked, means = [], []
        for side in range(2):
            rows = slice(side * self.units, (side + 1) * self.units)
            parts = (*_unpacked(self.order[rows]), *_unpacked_place(self.place[rows]))
            value, mean, image, cell = (_host(part) for part in parts)
            if side == 1 and self.sides == 1:
                shape = (self.units, self.k)
                value = mean = np.full(shape, -np.inf, np.float32)
                image, cell = np.full(shape, -1, np.int32), np.zeros(shape, np.int32)
            means.append(-mean if side else mean)
            row, column = np.divmod(cell, widths)
            ranked.append(Ranked(image, row.astype(np.int16), column.astype(np.int16), -value if side else value))
        self._without_recent(+1)
        histogram, active = _host(self.histogram), _host(self.active)
        self._without_recent(-1)
        sums = Sums(
            _host(self.total), _host(self.squares), {name: _host(p) for name, p in self.products.items()},
            np.stack(means), self.responses[: self.filled].cpu().numpy().copy(),
        )  # fmt: skip
        top, bottom = ranked
        return Tallied(top=top, bottom=bottom, histogram=histogram, count=self.count, active=active, sums=sums)

    def _without_recent(self, sign: int) -> None:
        """Add (+1) or subtract (−1) the unfinished chunk's counts, which an index includes and this object does not."""
        if not self.filled:
            return
        recent, before = self.responses[: self.filled].to(self.exact_device), (self.histogram, self.active)
        self.histogram, self.active = torch.zeros_like(before[0]), torch.zeros_like(before[1])
        self._count(recent)
        self.histogram, self.active = before[0] + sign * self.histogram, before[1] + sign * self.active

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.copy()).to(self.device)

    def _exact(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.copy()).to(self.exact_device)


def _packed(value: Tensor, mean: Tensor) -> Tensor:
    """Pack value and mean (float32) into int64 whose order is by value, then by mean; −0 counts as 0."""
    return (_ordered(value).long() << 32) + (_ordered(mean).long() + _HALF)


def _unpacked(order: Tensor) -> tuple[Tensor, Tensor]:
    """Value and mean from packed int64."""
    high, low = order >> 32, (order & _MASK) - _HALF
    value, mean = (_flipped(part.to(torch.int32)).view(torch.float32) for part in (high, low))
    return value, mean


def _packed_place(image: Tensor, cell: Tensor) -> Tensor:
    return (image.long() << 32) + cell


def _unpacked_place(place: Tensor) -> tuple[Tensor, Tensor]:
    return (place >> 32).to(torch.int32), (place & _MASK).to(torch.int32)


_HALF, _MASK = 1 << 31, (1 << 32) - 1


def _ordered(values: Tensor) -> Tensor:
    """float32 -> int32 in the same order (for negative floats the order of the bits is reversed)."""
    return _flipped((values.contiguous() + 0.0).view(torch.int32))


def _flipped(bits: Tensor) -> Tensor:
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def bin_of(values: Tensor) -> Tensor:
    """The histogram bin of each float32 value (see `bin_edges`), int64."""
    sign = torch.where(values < 0, -1, 1)
    step = (values.view(torch.int32) & 0x7FFFFFFF) >> (23 - int(math.log2(PER_OCTAVE)))
    place = (step.long() - (127 + OCTAVES[0]) * PER_OCTAVE + 1).clamp(0, BINS // 2)
    return BINS // 2 + sign * place


def _add_exactly(sums: Tensor, term: Tensor) -> Tensor:
    """As `merging.add_exactly`, on the device."""
    high = sums[0] + term
    kept = high - sums[0]
    low = sums[1] + ((sums[0] - (high - kept)) + (term - kept))
    total = high + low
    return torch.stack([total, low - (total - high)])


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()


def _widths(spans: Sequence[Span]) -> np.ndarray:
    return np.concatenate([np.full((s.units, 1), s.width, np.int32) for s in spans])
