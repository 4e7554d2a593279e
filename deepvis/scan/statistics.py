"""The statistics of a layer from an index: histograms, dead units, correlations. Without torch."""

from __future__ import annotations

import numpy as np

from deepvis.core.errors import UserError
from deepvis.scan.index import Index, rebinned
from deepvis.scan.results import Statistics

BINS = 32


def layer_statistics(index: Index, layer: str) -> Statistics:
    """The statistics of a layer's units, without their order by similarity; if it was not scanned, a note says so."""
    try:
        rows = index.span(layer).rows
    except UserError as error:
        return Statistics(layer, note=str(error))
    if not index.count:
        return Statistics(layer, note="None of the scanned images could be read.")
    pairs = [_bins(counts) for counts in index.histogram[rows]]
    edges = np.array([[edges[0], edges[-1]] for _, edges in pairs], np.float32)
    correlation = index.correlation.get(layer)
    return Statistics(
        layer, index.count, np.array([counts for counts, _ in pairs], np.float32), edges[:, 0], edges[:, 1],
        index.mean[rows].astype(np.float32), np.sqrt(index.variance[rows]).astype(np.float32), index.active[rows],
        index.active[rows] == 0, always_on(index, rows), correlation,
    )  # fmt: skip


def _bins(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `rebinned`; if the response is always the same, its single bin gets empty bins on both sides."""
    if np.count_nonzero(counts) != 1:
        return rebinned(counts, BINS)
    _, edges = rebinned(counts, 1)
    width, even = edges[1] - edges[0], np.zeros(BINS)
    even[BINS // 2] = counts.sum()
    return even, np.linspace(edges[0] - width, edges[1] + width, BINS + 1)


def always_on(index: Index, rows: slice) -> np.ndarray:
    """Which units are above 0 at every place of every image; none if all units of the layer are (as after a softmax).

    In an index without bottom images only each image's largest activation is known and compared.
    """
    weakest = index.bottom[rows]
    on = index.active[rows] == index.count
    on &= np.where(weakest.image[:, 0] >= 0, weakest.value[:, 0] > 0, True)
    return on if not on.all() else np.zeros_like(on)


def by_similarity(correlation: np.ndarray) -> np.ndarray:
    """An order of the units in which correlated units are neighbours: the leaves of a tree by average linkage.

    Args:
        correlation: U×U.
    Returns:
        int U, the units in that order.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    units = len(correlation)
    if units < 3:
        return np.arange(units)
    apart = np.maximum(1 - correlation[np.triu_indices(units, 1)], 0)
    order: np.ndarray = leaves_list(linkage(apart, "average"))
    return order
