"""Total variation by split Bregman, against scikit-image and against a slow solver of another kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_bregman

from deepvis.core import paths
from deepvis.core.geometry import resize
from deepvis.inputs.decode import read_image
from deepvis.synthesis.bregman import RULES, SplitBregman


def photo(side: int = 64, seed: int = 0) -> np.ndarray:
    """A photo with noise, float64 H×W×3, about 0 to 255."""
    small = resize(read_image(paths.PHOTOS / "animal-fox-red.jpg"), side, side).astype(np.float64)
    return small + np.random.default_rng(seed).normal(0, 20, small.shape)


def reduced(image: np.ndarray, weight: float, rule: str, iterations: int = 100) -> np.ndarray:
    planes = torch.tensor(image).permute(2, 0, 1)[None]
    return SplitBregman(rule).reduce(planes, torch.tensor([weight]), iterations)[0].permute(1, 2, 0).numpy()


def energy(u: np.ndarray, f: np.ndarray, weight: float) -> float:
    """The energy of Rudin, Osher & Fatemi, by definition."""
    along, down = np.zeros_like(u), np.zeros_like(u)
    along[:, :-1], down[:-1] = np.diff(u, axis=1), np.diff(u, axis=0)
    return float(np.sqrt(along**2 + down**2).sum() + weight / 2 * ((u - f) ** 2).sum())


def solved(f: np.ndarray, weight: float, iterations: int = 3000) -> np.ndarray:
    """The minimum by the primal-dual method of Chambolle & Pock (2011), algorithm 2."""
    u, over = f.copy(), f.copy()
    along, down = np.zeros_like(f), np.zeros_like(f)
    tau = sigma = 1 / np.sqrt(8)
    for _ in range(iterations):
        along[:, :-1] += sigma * np.diff(over, axis=1)
        down[:-1] += sigma * np.diff(over, axis=0)
        size = np.maximum(1, np.sqrt(along**2 + down**2))
        along, down = along / size, down / size
        divergence = along + down
        divergence[:, 1:] -= along[:, :-1]
        divergence[1:] -= down[:-1]
        before, u = u, (u + tau * divergence + tau * weight * f) / (1 + tau * weight)
        theta = 1 / np.sqrt(1 + 2 * weight * tau)
        tau, sigma = tau * theta, sigma / theta
        over = u + theta * (u - before)
    return u


@pytest.mark.parametrize("weight", [0.05, 0.1, 0.5, 2.0])
def test_the_rule_of_scikit_image(weight: float) -> None:
    noisy = photo()
    theirs = denoise_tv_bregman(noisy, weight=weight, max_num_iter=100, eps=1e-3, channel_axis=-1)
    inside = np.abs(reduced(noisy, weight, "scikit-image") - theirs)[8:-8, 8:-8]
    assert inside.mean() < 0.05 < np.abs(noisy - theirs).mean()


@pytest.mark.parametrize("weight", [0.05, 0.5, 2.0])
def test_shrinkage_reaches_the_least_energy(weight: float) -> None:
    noisy = photo()
    ours, least = reduced(noisy, weight, "shrinkage"), solved(noisy, weight)
    best = energy(least, noisy, weight)
    assert energy(ours, noisy, weight) < best * (1 + 1e-3) < energy(noisy, noisy, weight)
    assert np.abs(ours - least).mean() < 0.2


@pytest.mark.parametrize("rule", RULES)
def test_from_a_kept_state_few_iterations_suffice(rule: str) -> None:
    """As in gradient ascent, where the image changes little from step to step."""
    noisy, weight = photo(), torch.tensor([0.1])
    planes = torch.tensor(noisy).permute(2, 0, 1)[None]
    warm, drift = SplitBregman(rule), torch.randn(planes.shape, generator=torch.Generator().manual_seed(0))
    warm.reduce(planes, weight, 100)
    for _ in range(3):
        planes = planes + drift
        near = warm.reduce(planes, weight, 5)
    whole = SplitBregman(rule).reduce(planes, weight, 200)
    cold = SplitBregman(rule).reduce(planes, weight, 5)
    assert (near - whole).abs().mean() < 0.25 * (cold - whole).abs().mean()


@pytest.mark.parametrize("rule", RULES)
def test_each_image_has_its_own_weight_and_0_leaves_it_as_it_is(rule: str) -> None:
    images = torch.stack([torch.tensor(photo(32, seed)).permute(2, 0, 1) for seed in range(3)])
    together = SplitBregman(rule).reduce(images, torch.tensor([0.1, 0.0, 2.0]), 20)
    assert torch.equal(together[1], images[1])
    for i, weight in ((0, 0.1), (2, 2.0)):
        alone = SplitBregman(rule).reduce(images[i : i + 1], torch.tensor([weight]), 20)
        assert torch.allclose(together[i], alone[0], atol=1e-9)


def test_a_canvas_of_another_size_starts_anew() -> None:
    solver, weight = SplitBregman(), torch.tensor([0.5])
    solver.reduce(torch.rand(1, 3, 20, 20), weight)
    image = torch.rand(1, 3, 24, 20)
    assert torch.equal(solver.reduce(image, weight), SplitBregman().reduce(image, weight))


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="'isotropic'.*shrinkage or scikit-image"):
        SplitBregman("isotropic")
