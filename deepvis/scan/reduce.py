"""From a batch's activations to what the index keeps, on the device, in memory that does not grow.

`extremes` takes a layer's maps together as soon as the network has made them, while they are still in
the processor's cache; `Tally` ranks what they found, image by image, against the k best so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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

_RANKED = 16  # images that are ranked at once: of the first ones of a scan every value is a find, which takes memory


@dataclass(frozen=True)
class Extremes:
    """Of each map of a layer, for a batch: the strongest value, its first cell, and the mean that orders equals.

    Attributes:
        value, mean: sides×B×C float32; the second side, if there is one, is that of the negated map.
        cell: the same of int64.
    """

    value: Tensor
    mean: Tensor
    cell: Tensor


def extremes(units: Tensor, weakest: bool) -> Extremes:
    """Take together a layer's activations for a batch: B×C×H×W, or B×N of a vector."""
    sides = (1, -1) if weakest else (1,)
    if units.ndim == 2:
        value = torch.stack([sign * units.to(torch.float32) for sign in sides])
        return Extremes(value, value, torch.zeros_like(value, dtype=torch.int64))
    cells = units.permute(0, 2, 3, 1).flatten(1, 2).contiguous().to(torch.float32)
    value, cell = _strongest(cells)
    mean = _mean(cells)
    if not weakest:
        return Extremes(value[None], mean[None], cell[None])
    low, low_cell = _strongest(-cells)
    return Extremes(torch.stack([value, low]), torch.stack([mean, -mean]), torch.stack([cell, low_cell]))


def _strongest(cells: Tensor) -> tuple[Tensor, Tensor]:
    """B×P×C -> B×C twice: the largest value over the cells, and the first cell that has it.

    On a CPU by pooling, the only maximum along the middle that runs at the memory's speed; it knows the place as well.
    """
    if cells.device.type == "cpu":
        return tuple(found[:, :, 0, 0] for found in F.max_pool2d(_as_row(cells), (1, cells.shape[1]), return_indices=True))
    return tuple(cells.max(1))


def _mean(cells: Tensor) -> Tensor:
    """B×P×C -> B×C."""
    if cells.device.type == "cpu":
        return F.avg_pool2d(_as_row(cells), (1, cells.shape[1]))[:, :, 0, 0]
    return cells.mean(1)


def _as_row(cells: Tensor) -> Tensor:
    """B×P×C as images of one row: B×C×1×P, channels_last."""
    return cells[:, None].permute(0, 3, 1, 2)


class Tally:
    """What a scan has found so far. Bottom places are kept as top places of the negated values.

    Usage: `commit` for each batch, `end_chunk` after each CHUNK images.
    """

    def __init__(
        self, spans: Sequence[Span], k: int, device: torch.device, weakest: bool = True, correlation: bool = True
    ) -> None:
        self.spans, self.k, self.device = tuple(spans), k, device
        self.exact_device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        self.units = units = sum(span.units for span in spans)
        self.sides = 2 if weakest else 1
        rows = self.sides * units
        self.value = torch.full((rows, k), -math.inf, device=device)
        self.mean = torch.full((rows, k), -math.inf, device=device)
        self.image = torch.full((rows, k), -1, dtype=torch.int32, device=device)
        self.cell = torch.zeros((rows, k), dtype=torch.int32, device=device)
        self.responses = torch.zeros((CHUNK, units), device=device)
        self.filled = 0
        self.count = 0
        exact = {"device": self.exact_device}
        self.histogram = torch.zeros((units, BINS), dtype=torch.int64, **exact)
        self.active = torch.zeros(units, dtype=torch.int64, **exact)
        self.total = torch.zeros((2, units), dtype=torch.float64, **exact)
        self.squares = torch.zeros((2, units), dtype=torch.float64, **exact)
        self.products = {
            s.name: torch.zeros((s.units, s.units), dtype=torch.float64, **exact) for s in spans if correlation
        }

    # ---- a batch -----------------------------------------------------------------------------

    def commit(self, found: Mapping[str, Extremes], numbers: Sequence[int]) -> None:
        """Take in what was found in a batch, by layers; its images have these numbers, which increase from batch to batch."""
        batch = len(numbers)
        if self.filled + batch > CHUNK:
            raise ValueError(f"batch of {batch} crosses the end of a chunk")
        value, mean, cell = (
            torch.cat([getattr(found[span.name], field) for span in self.spans], 2).transpose(0, 1).flatten(1)
            for field in ("value", "mean", "cell")
        )  # B×rows
        self.responses[self.filled : self.filled + batch] = value[:, : self.units]
        image = torch.tensor(numbers, dtype=torch.int32, device=self.device)
        for first in range(0, batch, _RANKED):
            some = slice(first, first + _RANKED)
            self._rank(value[some], mean[some], cell[some].to(torch.int32), image[some])
        self.filled += batch
        self.count += batch

    def _rank(self, value: Tensor, mean: Tensor, cell: Tensor, image: Tensor) -> None:
        """Sort a batch in: by value, among equals by mean, among equals of both the earlier image first.

        Args:
            value, mean, cell: B×rows. image: B.
        """
        bar, of_equals = self.value[:, -1], self.mean[:, -1]
        better = ((value > bar) | (value == bar) & (mean > of_equals)).T
        row, which = better.nonzero().T
        counts = better.sum(1)
        turn = torch.arange(len(row), device=self.device) - (counts.cumsum(0) - counts)[row]  # how many before it in its row
        for now in range(int(counts.max())):
            rows, at = row[turn == now], which[turn == now]
            self._insert(rows, value[at, rows], mean[at, rows], image[at], cell[at, rows])

    def _insert(self, row: Tensor, value: Tensor, mean: Tensor, image: Tensor, cell: Tensor) -> None:
        """One more place for each of these rows, none of which comes twice; the last one of the row drops out."""
        values, means = self.value[row], self.mean[row]
        ahead = (values > value[:, None]) | (values == value[:, None]) & (means >= mean[:, None])
        rank = ahead.sum(1, keepdim=True)
        place = torch.arange(self.k, device=self.device)
        source = torch.where(place < rank, place, torch.where(place == rank, self.k, place - 1))
        for kept, new in ((self.value, value), (self.mean, mean), (self.image, image), (self.cell, cell)):
            kept[row] = torch.cat([kept[row], new[:, None]], 1).gather(1, source)

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
                # In float32, of what differs from the chunk's mean: as good as float64 for a correlation.
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
        """Go on where a state left off."""
        sides = (index.top, index.bottom)[: self.sides]
        widths = _widths(self.spans)
        self.value = self._tensor(np.concatenate([sign * s.value for s, sign in zip(sides, (1, -1))]))
        self.mean = self._tensor(np.concatenate([sign * m for m, sign in zip(index.sums.means[: self.sides], (1, -1))]))
        self.image = self._tensor(np.concatenate([s.image for s in sides]))
        self.cell = self._tensor(np.concatenate([s.row.astype(np.int32) * widths + s.column for s in sides]))
        self.filled, self.count = len(index.sums.recent), index.count
        self.responses[: self.filled] = self._tensor(index.sums.recent)
        exact = lambda array: torch.from_numpy(array.copy()).to(self.exact_device)  # noqa: E731
        self.total, self.squares = exact(index.sums.total), exact(index.sums.squares)
        self.products = {name: exact(array) for name, array in index.sums.products.items()}
        self.histogram, self.active = exact(index.histogram), exact(index.active)
        self._without_recent(-1)

    def arrays(self) -> dict[str, object]:
        """The fields of an Index that a scan fills, copied to the host."""
        widths = _widths(self.spans)
        ranked, means = [], []
        for side in range(2):
            rows = slice(side * self.units, (side + 1) * self.units)
            value, mean, image, cell = (_host(t[rows]) for t in (self.value, self.mean, self.image, self.cell))
            if side == 1 and self.sides == 1:
                shape = (self.units, self.k)
                value = mean = np.full(shape, -np.inf, np.float32)
                image, cell = np.full(shape, -1, np.int32), np.zeros(shape, np.int32)
            means.append(-mean if side else mean)
            row, column = np.divmod(cell, widths)
            ranked.append(Ranked(image, row.astype(np.int16), column.astype(np.int16), -value if side else value))
        self._without_recent(+1)
        counted = {"histogram": _host(self.histogram), "active": _host(self.active)}
        self._without_recent(-1)
        sums = Sums(
            _host(self.total), _host(self.squares), {name: _host(p) for name, p in self.products.items()},
            np.stack(means), self.responses[: self.filled].cpu().numpy().copy(),
        )  # fmt: skip
        return {"top": ranked[0], "bottom": ranked[1], "count": self.count, "sums": sums, **counted}

    def _without_recent(self, sign: int) -> None:
        """Counts in an index hold the unfinished chunk, counts in here do not yet."""
        if not self.filled:
            return
        recent, before = self.responses[: self.filled].to(self.exact_device), (self.histogram, self.active)
        self.histogram, self.active = torch.zeros_like(before[0]), torch.zeros_like(before[1])
        self._count(recent)
        self.histogram, self.active = before[0] + sign * self.histogram, before[1] + sign * self.active

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.copy()).to(self.device)


def bin_of(values: Tensor) -> Tensor:
    """Which of the histogram's bins each float32 value falls into (see `bin_edges`); int64."""
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

