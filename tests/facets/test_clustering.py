"""The map and its clusters, against scikit-learn called directly and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from deepvis.core.errors import UserError
from deepvis.facets import clustering
from deepvis.facets.facet_map import suggested


def blobs(sizes: list[int], dimensions: int = 80, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.normal(0, 0.3, (n, dimensions)) + draw.normal(0, 3, dimensions) for n in sizes])


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return clustering.embedded(blobs([14, 22, 18]), seed=3)


def test_the_map_is_scikit_learns(places: np.ndarray) -> None:
    reduced = PCA(50, random_state=3).fit_transform(blobs([14, 22, 18]).astype(np.float64))
    tsne = TSNE(perplexity=(54 - 1) / 3, init="pca", random_state=3, max_iter=500)
    np.testing.assert_array_equal(places, tsne.fit_transform(reduced))


def test_the_clusters_are_scikit_learns_in_the_order_of_their_size(places: np.ndarray) -> None:
    labels, centres = clustering.clustered(places, 3, seed=3)
    theirs = KMeans(3, n_init=10, random_state=3).fit(places).labels_
    assert len({*zip(labels, theirs)}) == 3  # the same parts
    assert np.bincount(labels).tolist() == [22, 18, 14]
    for cluster, centre in enumerate(centres):
        np.testing.assert_allclose(centre, places[labels == cluster].mean(0), atol=1e-4)


def test_the_silhouette_suggests_the_number_of_blobs(places: np.ndarray) -> None:
    found = clustering.silhouettes(places, seed=3, most=5)
    assert [k for k, _ in found] == [2, 3, 4, 5] and suggested(found) == 3
    labels = KMeans(4, n_init=10, random_state=3).fit(places).labels_
    assert dict(found)[4] == pytest.approx(silhouette_score(places, labels), abs=1e-3)
    assert suggested([(2, 0.5), (3, 0.5)]) == 2 and suggested([]) == 1


def test_the_nearest_by_a_loop(places: np.ndarray) -> None:
    labels, centres = clustering.clustered(places, 3)
    for cluster, found in enumerate(clustering.nearest(places, labels, centres)):
        own = [i for i in range(len(places)) if labels[i] == cluster]
        by_distance = sorted(own, key=lambda i: float(np.hypot(*(places[i] - centres[cluster]))))
        assert list(found) == by_distance[:15] and len(found) == min(15, len(own))


def test_few_photos_few_places_and_too_few() -> None:
    assert clustering.embedded(blobs([2, 3], 3)).shape == (5, 2)
    assert np.isfinite(clustering.embedded(blobs([5], 1))).all()  # a layer of one unit
    same = clustering.embedded(np.ones((6, 4)))
    assert not same.any()
    labels, centres = clustering.clustered(same, 3)  # one place: one cluster
    assert len(centres) == 1 and not labels.any() and clustering.silhouettes(same) == ()
    with pytest.raises(UserError, match="3 photos: a map of facets needs 4 or more. Take more photos"):
        clustering.embedded(np.ones((3, 4)))
    with pytest.raises(UserError, match="7 facets of 6 photos: expected 1 to 6.*-k"):
        clustering.clustered(same, 7)
