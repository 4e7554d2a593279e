"""Merging several scans into one index, and computing its statistics from the sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.marks import same_network
from deepvis.inputs.folders import natural_key
from deepvis.scan.index import STATE, Index, Ranked, Span, Sums, joined


def add_exactly(sums: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Add U or 2×U values to a 2×U sum of (rounded sum, rounding error). Knuth's TwoSum, TAOCP vol. 2, 4.2.2."""
    for term in more if more.ndim == 2 else (more,):
        high = sums[0] + term
        kept = high - sums[0]
        low = sums[1] + ((sums[0] - (high - kept)) + (term - kept))
        sums = np.stack([high + low, low - ((high + low) - high)])
    return sums


def with_statistics(index: Index) -> Index:
    """The index with mean, variance and correlation computed from its sums."""
    index = so_far(index)
    return replace(index, correlation=dict(index.correlation))


def so_far(state: Index) -> Index:
    """As `with_statistics`, but each correlation is computed only when it is read: for a scan that still runs."""
    sums, n = state.exact_sums, max(1, state.count)
    exact = sums.recent.astype(np.float64)
    total, squares = add_exactly(sums.total, exact.sum(0)), add_exactly(sums.squares, (exact**2).sum(0))
    mean = total.sum(0) / n
    variance = np.maximum(squares.sum(0) / n - mean**2, 0)
    spans = {span.name: span for span in state.spans if span.name in sums.products}
    return replace(state, mean=mean, variance=variance, correlation=_Correlations(spans, sums, mean, n))


class _Correlations(Mapping[str, np.ndarray]):
    """{layer: correlation of its units}; computed from the sums each time it is read."""

    def __init__(self, spans: Mapping[str, Span], sums: Sums, mean: np.ndarray, count: int) -> None:
        self._spans, self._sums, self._mean, self._count = spans, sums, mean, count

    def __getitem__(self, layer: str) -> np.ndarray:
        rows, mu = self._spans[layer].rows, self._mean[self._spans[layer].rows]
        covariance = _products(self._sums, layer, rows) / self._count - np.outer(mu, mu)
        spread = np.sqrt(np.maximum(np.diag(covariance), 0))
        spread[spread <= 1e-6 * np.abs(mu)] = np.inf  # only float32's rounding: the response never changes
        covariance /= np.maximum(spread, 1e-300)[:, None]
        covariance /= np.maximum(spread, 1e-300)[None]
        correlation: np.ndarray = np.clip(covariance, -1, 1).astype(np.float32)
        return correlation

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)


def _products(sums: Sums, layer: str, rows: slice) -> np.ndarray:
    """A layer's sums of products, with the unfinished chunk added."""
    exact = sums.recent[:, rows].astype(np.float64)
    products: np.ndarray = sums.products[layer] + exact.T @ exact
    return products


def _with_recent(sums: Sums, spans: Sequence[Span]) -> Sums:
    """The sums with the unfinished chunk added."""
    recent = sums.recent
    if not len(recent):
        return sums
    exact = recent.astype(np.float64)
    products = {span.name: _products(sums, span.name, span.rows) for span in spans if span.name in sums.products}
    return replace(
        sums, total=add_exactly(sums.total, exact.sum(0)), squares=add_exactly(sums.squares, (exact**2).sum(0)),
        products=products, recent=recent[:0],
    )  # fmt: skip


# ---- merging ------------------------------------------------------------------------------------


def merge(indices: Sequence[Index]) -> Index:
    """Merge several indices into one; their order does not matter.

    Either all are shares of the same list of files and have scanned different ranges of it, or each has scanned a whole
    list of its own; then the merged list is in natural order. Top and bottom images, histograms and counts are exactly
    those of a single scan, and so are mean and variance for shares made by `deepvis scan`. In other cases these, and
    always the correlations, agree up to rounding (1e-12).

    Raises:
        UserError: the indices have different networks, layers or roots, or share images.
    """
    indices = sorted(indices, key=lambda index: (index.scanned, list(index.files[:1])))
    first = indices[0]
    for other in indices[1:]:
        if not same_network(other.fingerprint, first.fingerprint) or other.spans != first.spans or other.k != first.k:
            raise UserError(
                f"indices of {first.model} and {other.model} cannot be merged: their weights, layers or --top differ"
            )
        if other.sums is None or first.sums is None:
            raise UserError(f"an index without {STATE} cannot be merged: it has only rounded statistics")
        if other.root != first.root:
            raise UserError(
                f"indices of images in {first.root} and in {other.root} cannot be merged: give them one --images folder"
            )
    if any(tuple(other.files) != tuple(first.files) for other in indices):
        indices = _on_one_list(indices)
        first = indices[0]
    means = [index.exact_sums.means for index in indices]
    (top, high), (bottom, low) = (
        best_of([getattr(index, side) for index in indices], [m[i] for m in means], first.k, least=i == 1)
        for i, side in enumerate(("top", "bottom"))
    )
    ranges = [r for index in indices for r in index.scanned]
    if sum(b - a for a, b in ranges) != sum(b - a for a, b in joined(ranges)) and not _interleaved(indices):
        raise UserError("indices that share images cannot be merged: the images would count twice")
    return with_statistics(
        replace(
            first,
            scanned=joined(ranges),
            broken=dict(sorted(item for index in indices for item in index.broken.items())),
            top=top,
            bottom=bottom,
            histogram=_sum([index.histogram for index in indices]),
            count=sum(index.count for index in indices),
            active=_sum([index.active for index in indices]),
            sums=replace(_added([index.exact_sums for index in indices], first.spans), means=np.stack([high, low])),
        )
    )


def best(parts: Sequence[Ranked], k: int) -> Ranked:
    """The k best images of several rankings of the same units; among equals the earlier image comes first."""
    return best_of(parts, [np.zeros_like(part.value) for part in parts], k)[0]


def best_of(
    parts: Sequence[Ranked], means: Sequence[np.ndarray], k: int, least: bool = False
) -> tuple[Ranked, np.ndarray]:
    """The k best images of several rankings of the same units, and their means (U×k); `least`: the weakest."""
    image, row, column, value = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("image", "row", "column", "value")
    )
    late = np.where(image < 0, np.iinfo(np.int32).max, image)
    mean = np.concatenate(means, axis=1)
    sign = 1 if least else -1
    order = np.lexsort((late, sign * mean, sign * value), axis=1)[:, :k]
    image, row, column, value, mean = (np.take_along_axis(a, order, axis=1) for a in (image, row, column, value, mean))
    return Ranked(image, row, column, value), mean


def _added(parts: Sequence[Sums], spans: Sequence[Span]) -> Sums:
    """The sums of all parts. The unfinished chunk of the last part stays unfinished; those of the others are added."""
    whole = [*(_with_recent(part, spans) for part in parts[:-1]), parts[-1]]
    total, squares = whole[0].total, whole[0].squares
    for part in whole[1:]:
        total, squares = add_exactly(total, part.total), add_exactly(squares, part.squares)
    products = {name: _sum([part.products[name] for part in whole]) for name in whole[0].products}
    return replace(whole[-1], total=total, squares=squares, products=products)


def _sum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return sum(arrays, np.zeros_like(arrays[0]))


def _on_one_list(indices: Sequence[Index]) -> list[Index]:
    names = [name for index in indices for name in index.files]
    if len(set(names)) != len(names):
        raise UserError("indices that share images cannot be merged: the images would count twice")
    if not all(index.is_complete for index in indices):
        raise UserError("an unfinished scan cannot be merged with a scan of other images: finish it first")
    files = tuple(sorted(names, key=natural_key))
    place = {name: number for number, name in enumerate(files)}
    moved = []
    for index in indices:
        numbers = np.array([place[name] for name in index.files] + [-1], np.int32)  # the last one for "none"
        moved.append(
            replace(
                index,
                files=files,
                scanned=((0, len(files)),),
                broken={int(numbers[i]): why for i, why in index.broken.items()},
                top=replace(index.top, image=numbers[index.top.image]),
                bottom=replace(index.bottom, image=numbers[index.bottom.image]),
            )
        )
    return moved


def _interleaved(indices: Sequence[Index]) -> bool:
    """Whether the indices come from `_on_one_list`: each claims the whole list, of which it scanned a part."""
    seen = sum(index.count + len(index.broken) for index in indices)
    return all(index.is_complete for index in indices) and seen == len(indices[0].files)
