"""From a batch's activations to what the index keeps, on the device, in memory that does not grow.

The position of the maximum costs several times the maximum. But only a unit's k best places need
one, and the longer a scan, the fewer (image, unit) pairs are among them: k in n at the n-th image.
So the maxima of all pairs are taken, tile by tile of the map, and only where one beats the unit's
k-th best so far is its place looked up: first the tile, then the cell in the tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.scan.index import BINS, CHUNK, OCTAVES, PER_OCTAVE, Index, Ranked, Span, Sums

_SMALL = 256  # cells of a map that are searched at once
_VECTOR = 64  # floats that torch's reductions take in one step: what is left over is many times slower


@lru_cache(maxsize=None)
def tiling(cells: int, units: int) -> tuple[int, int]:
    """Into how many tiles a map's cells are cut, and how many neighbours of a tile are reduced side by side."""
    beside = 1
    while (beside * units) % _VECTOR and cells % (2 * beside) == 0:
        beside *= 2
    if cells <= _SMALL:
        return 1, beside
    counts = [n for n in range(1, cells // beside + 1) if (cells // beside) % n == 0]
    return min(counts, key=lambda n: abs(math.log(n * n / cells))), beside


def tile_maxima(cells: Tensor) -> Tensor:
    """B×P×C -> B×C×T, the largest value in each of T runs of cells."""
    b, p, c = cells.shape
    tiles, _ = tiling(p, c)
    if cells.device.type == "cpu":  # pooling is the only maximum along the middle that runs at the memory's speed
        return F.max_pool2d(cells.view(b, tiles, p // tiles, c).permute(0, 3, 1, 2), (1, p // tiles)).squeeze(3)
    return cells.view(b, tiles, p // tiles, c).amax(2).transpose(1, 2)


def tile_minima(cells: Tensor) -> Tensor:
    """B×P×C -> B×C×T, the least value in each of T runs of cells."""
    b, p, c = cells.shape
    tiles, beside = tiling(p, c)
    least = cells.view(b * tiles, p // (tiles * beside), beside * c).amin(1)
    return least.view(b, tiles, beside, c).amin(2).transpose(1, 2)


def _mean(cells: Tensor) -> Tensor:
    """B×P×C -> B×C, the mean over the map: by a product, which alone runs at the memory's speed."""
    count = cells.shape[1]
    return (torch.ones((1, count), device=cells.device) @ cells)[:, 0] / count if count > 1 else cells[:, 0]


def _best_first(value: Tensor, mean: Tensor) -> Tensor:
    """The order along the last dimension: by value, among equals by mean, among equals of both as they come."""
    order = mean.sort(dim=-1, descending=True, stable=True).indices
    return order.gather(-1, value.gather(-1, order).sort(dim=-1, descending=True, stable=True).indices)


def _over_tiles(tiles: Tensor) -> Tensor:
    """B×C×T -> B×C, the largest."""
    if tiles.shape[2] == 1:
        return tiles[:, :, 0]
    if tiles.device.type == "cpu":
        return F.max_pool2d(tiles[..., None], (tiles.shape[2], 1))[:, :, 0, 0]
    return tiles.amax(2)


@dataclass(frozen=True)
class _Found:
    """Places that may be among the best: rows of the ranking, places in the batch, cells, values, means of the maps."""

    row: Tensor
    batch: Tensor
    cell: Tensor
    value: Tensor
    mean: Tensor


class Tally:
    """What a scan has found so far. Bottom places are kept as top places of the negated values.

    Usage: for each batch, `look` once for each layer as the network runs, then `commit`. A batch that
    fails on its way is forgotten by `drop`.
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
        self._found: dict[str, _Found] = {}

    # ---- a batch -----------------------------------------------------------------------------

    def look(self, span: Span, units: Tensor) -> None:
        """Take in a layer's activations for a batch: B×C×H×W, or B×N of a vector."""
        if units.ndim == 2:
            cells = units.to(torch.float32)[:, None]
        else:
            cells = units.permute(0, 2, 3, 1).flatten(1, 2).contiguous().to(torch.float32)
        batch = len(cells)
        if self.filled + batch > CHUNK:
            raise ValueError(f"batch of {batch} crosses the end of a chunk")
        tiles = cells.transpose(1, 2) if units.ndim == 2 else tile_maxima(cells)
        response = _over_tiles(tiles)
        self.responses[self.filled : self.filled + batch, span.rows] = response
        extremes, means = response, _mean(cells)
        if self.sides == 2:
            low = tiles if units.ndim == 2 else tile_minima(cells)
            tiles = torch.cat([tiles, -low], 1)
            extremes = torch.cat([response, _over_tiles(tiles[:, span.units :])], 1)
            means = torch.cat([means, -means], 1)
        bar, of_equals = (a[:, -1].view(self.sides, self.units)[:, span.rows].reshape(-1) for a in (self.value, self.mean))
        places = ((extremes > bar) | (extremes == bar) & (means > of_equals)).nonzero()
        image, column = places[:, 0], places[:, 1]
        value, mean = extremes[image, column], means[image, column]
        least = column >= span.units
        cell = _locate(cells, tiles, image, column, value)
        row = span.start + column + least * (self.units - span.units)
        self._found[span.name] = _Found(row, image, cell, value, mean)

    def commit(self, numbers: Sequence[int]) -> None:
        """The batch is done: its images have these numbers, which increase from batch to batch."""
        found = list(self._found.values())
        row, batch, cell, value, mean = (torch.cat([getattr(f, n) for f in found]) for n in ("row", "batch", "cell", "value", "mean"))
        image = torch.tensor(numbers, dtype=torch.int32, device=self.device)[batch]
        self._found = {}
        self._rank(row, image, cell.to(torch.int32), value, mean)
        self.filled += len(numbers)
        self.count += len(numbers)

    def drop(self) -> None:
        """Forget the batch that was being looked at."""
        self._found = {}

    def _rank(self, row: Tensor, image: Tensor, cell: Tensor, value: Tensor, mean: Tensor) -> None:
        """Sort new places in; those of the earlier image come first in the arguments and win ties."""
        if not len(row):
            return
        order = _best_first(value, mean)
        order = order[row[order].sort(stable=True).indices]
        rows, sizes = torch.unique_consecutive(row[order], return_counts=True)
        group = torch.repeat_interleave(torch.arange(len(rows), device=self.device), sizes)
        place = torch.arange(len(order), device=self.device) - (sizes.cumsum(0) - sizes)[group]
        kept = place < self.k
        group, place, order = group[kept], place[kept], order[kept]
        both = []
        arrays = (self.value, self.mean, self.image, self.cell)
        for old, new, empty in zip(arrays, (value, mean, image, cell), (-math.inf, -math.inf, -1, 0)):
            fresh = torch.full((len(rows), self.k), empty, dtype=old.dtype, device=self.device)
            fresh[group, place] = new[order]
            both.append(torch.cat([old[rows], fresh], 1))
        best = _best_first(both[0], both[1])[:, : self.k]
        for old, new in zip(arrays, both):
            old[rows] = new.gather(1, best)

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


def _locate(cells: Tensor, tiles: Tensor, image: Tensor, column: Tensor, value: Tensor) -> Tensor:
    """The first cell of each map that holds the value; columns beyond the units stand for negated ones.

    Args:
        cells: B×P×C. tiles: B×C×T, or B×2C×T with the negated minima behind.
        image, column, value: N each.
    Returns: N cell numbers.
    """
    b, p, c = cells.shape
    unit = column % c
    value = torch.where(column >= c, -value, value)  # as it stands in `cells`
    if p == 1 or not len(image):
        return torch.zeros_like(image)
    count = tiles.shape[2]
    if count == 1:
        return _first(cells[image, :, unit] == value[:, None])
    signed = torch.where(column >= c, -value, value)
    tile = _first(tiles[image, column] == signed[:, None])
    within = cells.view(b, count, p // count, c)[image, tile, :, unit]
    return tile * (p // count) + _first(within == value[:, None])


def _first(hits: Tensor) -> Tensor:
    """N×M of bool -> the first true one in each row."""
    return hits.to(torch.uint8).argmax(1)


def bin_of(values: Tensor) -> Tensor:
    """Which of the histogram's bins each float32 value falls into (see `bin_edges`); int64."""
    sign = torch.where(values < 0, -1, 1)
    step = (values.view(torch.int32) & 0x7FFFFFFF) >> (23 - int(math.log2(PER_OCTAVE)))
    place = (step.long() - (127 + OCTAVES[0]) * PER_OCTAVE + 1).clamp(0, BINS // 2)
    return BINS // 2 + sign * place


def _add_exactly(sums: Tensor, term: Tensor) -> Tensor:
    """As `index.add_exactly`, on the device."""
    high = sums[0] + term
    kept = high - sums[0]
    low = sums[1] + ((sums[0] - (high - kept)) + (term - kept))
    total = high + low
    return torch.stack([total, low - (total - high)])


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()


def _widths(spans: Sequence[Span]) -> np.ndarray:
    return np.concatenate([np.full((s.units, 1), s.width, np.int32) for s in spans])


Look = Callable[[Span, Tensor], None]
