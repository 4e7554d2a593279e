"""The measures of the benchmarks against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from natural import PhotoDirections
from priors import borders
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA


def test_frechet_distance_by_its_formula() -> None:
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(20, 20))
    photos = draw.normal(size=(300, 20)) @ mixing + 3
    images = draw.normal(size=(30, 20)) @ mixing * 0.7 + 2
    pca = PCA(6, whiten=False).fit(photos / photos.std(0))
    x, y = (pca.transform(of / photos.std(0)) for of in (images, photos))
    c, d = np.cov(x.T), np.cov(y.T)
    want = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c + d - 2 * np.real(sqrtm(c @ d)))
    dead = np.full((300, 1), 7.0)  # a feature that is the same for all photos does not count
    directions = PhotoDirections(np.hstack([photos, dead]), 6)
    found = directions.frechet(np.hstack([images, dead[:30] + 1]))
    assert found == pytest.approx(want / 6, rel=1e-6)
    assert directions.frechet(np.hstack([photos, dead])) == pytest.approx(0, abs=1e-9)
    few = directions.frechet(np.hstack([images, dead[:30]])[:4])  # of a covariance that is degenerate
    assert np.isfinite(few) and few > found


def test_borders_by_definition() -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (4, 64, 64, 3), np.uint8)
    assert borders(list(images), 8) == pytest.approx(1, abs=0.1)
    steps = np.repeat(np.repeat(draw.integers(0, 256, (1, 8, 8, 3), np.uint8), 8, 1), 8, 2)
    steps = np.clip(steps.astype(int) + draw.integers(0, 4, steps.shape), 0, 255).astype(np.uint8)
    assert borders(list(steps), 8) > 100
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    assert borders([smooth, smooth.transpose(1, 0, 2)], 8) == pytest.approx(1)
