"""Regularizers and penalties against slow references in float64, as scipy and numpy compute them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from deepvis.synthesis.regularizers import PENALTIES, REGULARIZERS, blur

BATCH = 4
CLIPPING = ("small_value", "small_norm", "small_benefit", "small_contribution")
STRENGTHS = {"decay": [0.3, 0.0, 1.0, 1e-4], "blur_width": [1.3, 0.0, 0.5, 2.2]} | {
    name: [50.0, 0.0, 97.3, 100.0] for name in CLIPPING
}


def batch(shape: tuple[int, ...] = (BATCH, 3, 9, 11), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=draw, dtype=torch.float64) * 40 for _ in range(2))


def reference(name: str, x: np.ndarray, grad: np.ndarray, strength: float) -> np.ndarray:
    """One image, C×H×W, written as the original toolbox does, pixel by pixel."""
    if name == "decay":
        return (1 - strength) * x
    if name == "blur_width":
        return np.stack([ndimage.gaussian_filter(plane, strength, mode="reflect", truncate=4) for plane in x])
    height, width = x.shape[1:]
    measure = np.empty_like(x)
    for c in range(len(x)):
        for i in range(height):
            for j in range(width):
                benefit = sum(-x[k, i, j] * grad[k, i, j] for k in range(len(x)))
                measure[c, i, j] = {
                    "small_value": abs(x[c, i, j]),
                    "small_norm": sum(x[k, i, j] ** 2 for k in range(len(x))) ** 0.5,
                    "small_benefit": benefit,
                    "small_contribution": abs(benefit),
                }[name]
    once = measure if name == "small_value" else measure[0]
    return np.where(measure < np.percentile(once, strength), 0, x)


def apply(name: str, x: torch.Tensor, grad: torch.Tensor, strengths: list[float]) -> torch.Tensor:
    return REGULARIZERS[name](x, grad, torch.tensor(strengths, dtype=x.dtype))


@pytest.mark.parametrize("name", REGULARIZERS)
def test_each_image_by_its_own_strength_as_the_reference(name: str) -> None:
    x, grad = batch()
    got = apply(name, x, grad, STRENGTHS[name]).numpy()
    for i, strength in enumerate(STRENGTHS[name]):
        want = reference(name, x[i].numpy(), grad[i].numpy(), strength) if strength else x[i].numpy()
        np.testing.assert_allclose(got[i], want, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("percent", [1, 33.3, 50, 75, 99.9])
@pytest.mark.parametrize("name", CLIPPING)
def test_percentiles_between_the_values_and_on_them(name: str, percent: float) -> None:
    x, grad = batch((1, 3, 5, 7))
    got = apply(name, x, grad, [percent]).numpy()[0]
    np.testing.assert_array_equal(got, reference(name, x[0].numpy(), grad[0].numpy(), float(np.float64(percent))))
    assert 0 < (got == 0).mean() < 1


@pytest.mark.parametrize("name", CLIPPING)
def test_equal_values_are_not_below_their_percentile(name: str) -> None:
    x, grad = torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert torch.equal(apply(name, x, grad, [60.0]), x)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_strength_zero_is_the_identity_bit_for_bit(name: str) -> None:
    x, grad = (t.float() for t in batch())
    assert torch.equal(apply(name, x, grad, [0.0] * BATCH), x)
    beside = apply(name, x, grad, STRENGTHS[name])  # also beside images that do change
    assert torch.equal(beside[1], x[1]) and not torch.equal(beside[0], x[0])


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    x, grad = (t.float() for t in batch())
    together = apply(name, x, grad, STRENGTHS[name])
    alone = [apply(name, x[i : i + 1], grad[i : i + 1], STRENGTHS[name][i : i + 1]) for i in range(BATCH)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 1), (7, 20)])
def test_blur_of_images_smaller_than_the_kernel(shape: tuple[int, int]) -> None:
    x, grad = batch((2, 3, *shape))
    got = blur(x, grad, torch.tensor([3.0, 4.7], dtype=torch.float64)).numpy()
    for i, width in enumerate((3.0, 4.7)):
        np.testing.assert_allclose(got[i], reference("blur_width", x[i].numpy(), None, width), rtol=1e-12, atol=1e-11)


def test_blur_keeps_the_mean_and_one_colour() -> None:
    x = torch.full((2, 3, 6, 6), 7.5, dtype=torch.float64)
    torch.testing.assert_close(blur(x, x, torch.tensor([1.0, 3.0])), x)


def test_a_blur_too_narrow_for_a_kernel_changes_nothing() -> None:
    x, grad = batch()
    assert torch.equal(blur(x, grad, torch.full((BATCH,), 0.1)), x)


# ---- penalties -----------------------------------------------------------------------------------


def penalty_reference(name: str, x: np.ndarray) -> float:
    channels, height, width = x.shape
    if name == "total_variation":
        return (np.abs(np.diff(x, axis=1)).mean() + np.abs(np.diff(x, axis=2)).mean()) / 2
    if name == "quadratic_variation":
        squares = (np.diff(x, axis=1) ** 2).sum() + (np.diff(x, axis=2) ** 2).sum()
        return float(squares / (height * width))
    if name == "alpha_norm":
        norms = [np.linalg.norm(x[:, i, j]) for i in range(height) for j in range(width)]
        return float(np.mean([(norm / 80) ** 6 for norm in norms]))
    if name == "edge":
        inner = np.zeros((height, width), bool)
        inner[height // 10 : height - height // 10, width // 10 : width - width // 10] = True
        return (
            sum(
                x[c, i, j] ** 2 for c in range(channels) for i in range(height) for j in range(width) if not inner[i, j]
            )
            / x.size
        )
    total = 0.0
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                near = x[c, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
                total += (x[c, i, j] - near.mean()) ** 2
    return total / x.size


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_as_numpy(name: str) -> None:
    x, _ = batch((3, 3, 21, 12))
    got = PENALTIES[name](x)
    assert got.shape == (3,)
    np.testing.assert_allclose(got, [penalty_reference(name, one) for one in x.numpy()], rtol=1e-12)
    assert float(PENALTIES[name](torch.zeros_like(x)).abs().max()) == 0


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_of_penalties(name: str) -> None:
    x, _ = batch((2, 3, 11, 10))
    assert torch.autograd.gradcheck(PENALTIES[name], x.requires_grad_(True), fast_mode=True)
