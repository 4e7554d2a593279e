"""The photos as points of a map, and clusters of these points, by scikit-learn. Without torch.

Algorithm 1, steps 2 to 4: PCA to 50 dimensions, t-SNE to two, k-means there.
"""

from __future__ import annotations

import warnings

import numpy as np

from deepvis.core.errors import UserError

COMPONENTS = 50  # dimensions that PCA leaves
NEAREST = 15  # photos of a mean image
LEAST = 4  # photos that a map needs
MOST_CLUSTERS = 10  # largest number of clusters that is tried for the silhouette
_PERPLEXITY = 30.0
_ITERATIONS = 500  # of t-SNE: half of scikit-learn's, which keep the same neighbours together at twice the time
_STARTS = 10  # of k-means


def embedded(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places of the codes on a map: float64 N×D -> N×2.

    Raises:
        UserError: there are fewer than LEAST codes.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = len(codes)
    if count < LEAST:
        raise UserError(f"{count} photos: a map of facets needs {LEAST} or more. Take more photos")
    codes = codes.astype(np.float64)
    if not codes.std(0).any():  # all alike, as for a dead unit: there is nothing to lay out
        return np.zeros((count, 2))
    components = min(COMPONENTS, count - 1, codes.shape[1])
    reduced = PCA(components, random_state=seed).fit_transform(codes)
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    init = "pca" if components > 1 else "random"
    tsne = TSNE(perplexity=perplexity, init=init, max_iter=_ITERATIONS, random_state=seed)
    places: np.ndarray = tsne.fit_transform(reduced).astype(np.float64)
    return places


def clustered(places: np.ndarray, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of the places by k-means, the largest first; among equals the one with the first photo.

    Returns:
        The number of each place's cluster, and the clusters' centres k×2; fewer if there are fewer different places.
    Raises:
        UserError: there are fewer places than clusters.
    """
    from sklearn.cluster import KMeans

    if not 1 <= k <= len(places):
        raise UserError(
            f"{k} facets of {len(places)} photos: expected 1 to {len(places)}. Ask for fewer facets (-k, or key <), or "
            "take more photos"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different places than clusters: there are fewer clusters then
        found = KMeans(k, n_init=_STARTS, random_state=seed).fit(places)
    labels = np.asarray(found.labels_)
    filled, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    order = filled[np.lexsort((first, -sizes))]
    ranks = np.zeros(k, np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[labels], np.asarray(found.cluster_centers_)[order]


def silhouettes(places: np.ndarray, seed: int = 0, most: int = MOST_CLUSTERS) -> tuple[tuple[int, float], ...]:
    """The mean silhouette (Rousseeuw 1987) for each number of clusters from 2."""
    from sklearn.metrics import silhouette_score

    found = []
    for k in range(2, min(most, len(places) - 1) + 1):
        labels, centres = clustered(places, k, seed)
        if len(centres) == k:
            found.append((k, round(float(silhouette_score(places, labels)), 4)))
    return tuple(found)


def nearest(places: np.ndarray, labels: np.ndarray, centres: np.ndarray, most: int = NEAREST) -> list[tuple[int, ...]]:
    """For each cluster the numbers of its places that are nearest to its centre, nearest first; all if there are fewer
    than `most`."""
    found = []
    for cluster, centre in enumerate(centres):
        own = np.flatnonzero(labels == cluster)
        distances = np.square(places[own] - centre).sum(1)
        found.append(tuple(own[np.argsort(distances, kind="stable")][:most].tolist()))
    return found
