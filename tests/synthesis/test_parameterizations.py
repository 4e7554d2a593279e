"""Parameterizations: what coefficients stand for, and how an image is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepvis.networks.network import InputSpec
from deepvis.synthesis.parameterizations import (
    PRINCIPAL_COLORS,
    Fourier,
    Pixels,
    coefficients_shape,
    color_mix,
    mean_color,
    network_scale,
    shown,
)

MEAN = torch.tensor([123.0, 117.0, 30.0], dtype=torch.float64)
SIZES = [(8, 8), (7, 10), (10, 7), (9, 9)]


def coefficients(size: tuple[int, int], count: int = 2, channels: int = 3) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(count, *coefficients_shape(channels, size), generator=draw, dtype=torch.float64)


def slow(
    values: np.ndarray,
    size: tuple[int, int],
    power: float,
    mix: np.ndarray | None,
    mean: np.ndarray,
    cutoff: float = 0.0,
) -> np.ndarray:
    """One image by numpy.fft, C×H×W."""
    height, width = size
    scale = np.empty((height, width // 2 + 1))
    beyond = np.ones_like(scale)
    for i in range(height):
        for j in range(width // 2 + 1):
            row = i if i <= (height - 1) // 2 else i - height
            frequency = np.hypot(row / height, j / width)
            scale[i, j] = max(frequency, 1 / max(size)) ** -power
            if cutoff:
                beyond[i, j] = max(1e-6, np.exp(-((max(frequency, 1 / max(size)) / cutoff) ** 4)))
    scale *= np.sqrt(height * width) / np.sqrt((scale**2).mean()) * beyond
    planes = np.fft.irfft2((values[..., 0] + 1j * values[..., 1]) * scale, s=size)
    if mix is not None:
        planes = np.einsum("cd,dij->cij", mix, planes)
    share = mean[:, None, None] / 255
    return 255 / (1 + np.exp(-(planes + np.log(share / (1 - share))))) - mean[:, None, None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mixed", [True, False])
def test_fourier_as_numpy(size: tuple[int, int], mixed: bool) -> None:
    values, powers = coefficients(size), [0.0, 1.7]
    mix = color_mix(torch.tensor([1.0, 0.3])).double() if mixed else None
    got = Fourier(values, size, torch.tensor(powers, dtype=torch.float64), mix, MEAN).image()
    assert got.shape == (2, 3, *size)
    for i, power in enumerate(powers):
        want = slow(values[i].numpy(), size, power, mix[i].numpy() if mixed else None, MEAN.numpy())
        np.testing.assert_allclose(got[i].detach(), want, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_beyond_the_cutoff_there_is_almost_nothing(size: tuple[int, int]) -> None:
    values, powers, cutoffs = coefficients(size), [1.2, 1.2], [0.0, 0.25]
    got = Fourier(values, size, torch.tensor(powers), None, MEAN, torch.tensor(cutoffs)).image()
    for i, (power, cutoff) in enumerate(zip(powers, cutoffs)):
        want = slow(values[i].numpy(), size, power, None, MEAN.numpy(), cutoff)
        np.testing.assert_allclose(got[i].detach(), want, atol=1e-3)


def test_another_cutoff_keeps_the_coefficients() -> None:
    size, values, powers = (12, 9), coefficients((12, 9)), torch.tensor([1.2, 0.7])
    made = Fourier(values, size, powers, None, MEAN, torch.tensor([0.1, 0.0]))
    made.limit(torch.tensor([0.0, 0.2]))
    want = Fourier(values, size, powers, None, MEAN, torch.tensor([0.0, 0.2]))
    assert torch.equal(made.image(), want.image()) and torch.equal(made.values, values)
    assert made.beyond is not None and not made.beyond[0].any() and made.beyond[1].any()
    made.limit(torch.zeros(2))
    assert made.beyond is None and torch.equal(made.image(), Fourier(values, size, powers, None, MEAN).image())


def test_a_cutoff_leaves_the_start_image_whole() -> None:
    image = 255 * torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 0.9 + 12
    made = Fourier(torch.zeros(1, *coefficients_shape(3, (12, 12))), (12, 12), torch.ones(1), None, MEAN.float(),
                   torch.full((1,), 0.01)).started_from(image)  # fmt: skip
    np.testing.assert_allclose(made.image().detach() + MEAN.float()[:, None, None], image, atol=0.05)


def test_zero_coefficients_are_the_mean_colour() -> None:
    image = Fourier(
        torch.zeros(1, *coefficients_shape(3, (6, 8))), (6, 8), torch.ones(1), color_mix(torch.ones(1)), MEAN
    ).image()
    np.testing.assert_allclose(image.detach(), 0, atol=1e-4)


@pytest.mark.parametrize("scale", [1, 100, 1e6])
def test_values_stay_between_black_and_white(scale: float) -> None:
    image = Fourier(coefficients((8, 8)).float() * scale, (8, 8), torch.ones(2), None, MEAN.float()).image().detach()
    seen = image + MEAN.float()[:, None, None]
    assert float(seen.min()) >= -1e-3 and float(seen.max()) <= 255.001
    assert float(seen.max() - seen.min()) > 100


@pytest.mark.parametrize("size", [(32, 32), (33, 48)])
def test_coefficients_of_size_one_give_planes_of_unit_variance(size: tuple[int, int]) -> None:
    """Whatever the image's size and the power: hence a rate means the same step. The column of horizontal
    frequency 0 counts half, since only its real signal remains, so steep spectra have somewhat less."""
    turn = torch.rand(64, 1, size[0], size[1] // 2 + 1, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    values = torch.stack([turn.cos(), turn.sin()], -1).double()
    for power, least in ((0.0, 0.95), (1.0, 0.7), (1.5, 0.6)):
        image = Fourier(values, size, torch.full((64,), power), None, torch.tensor([127.5])).image().detach()
        planes = torch.logit(((image + 127.5) / 255).clamp(1e-9, 1 - 1e-9))
        assert least < float(planes.square().mean()) < 1.05


def test_gradient_of_fourier() -> None:
    values = coefficients((4, 5), count=1)
    mix = color_mix(torch.ones(1)).double()

    def image(x: torch.Tensor) -> torch.Tensor:
        made = Fourier(x, (4, 5), torch.ones(1), mix, MEAN)
        made.values = x
        return made.image()

    assert torch.autograd.gradcheck(image, values.requires_grad_(True), atol=1e-4, fast_mode=True)


def test_columns_of_the_colour_mix() -> None:
    """The first is brightness, which saturation leaves alone; the others it scales; none is longer than 1."""
    mix = color_mix(torch.tensor([1.0, 0.25, 0.0]))
    principal = np.array(PRINCIPAL_COLORS)
    for i, saturation in enumerate((1.0, 0.25, 0.0)):
        want = principal / np.linalg.norm(principal, axis=0).max() * [1, saturation, saturation]
        np.testing.assert_allclose(mix[i], want, rtol=1e-6)
    assert float(mix[0].norm(dim=0).max()) == pytest.approx(1)
    assert bool((mix[0, :, 0] > 0).all())  # the same sign for red, green and blue


def test_pixels_are_the_image_and_their_own_copy() -> None:
    start = torch.zeros(1, 3, 2, 2)
    pixels = Pixels(start)
    start += 1
    assert not pixels.image().any() and pixels.image().requires_grad


@pytest.mark.parametrize(
    "spec, mean, scale",
    [
        (InputSpec(mean=(0.5, 0.25, 0.125), std=(0.5, 1, 0.25)), (127.5, 63.75, 31.875), (2 / 255, 1 / 255, 4 / 255)),
        (InputSpec(mean=(104, 117, 123), std=(1, 1, 1), range=255, order="bgr"), (123, 117, 104), (1, 1, 1)),
        (InputSpec(mean=(0.1,), std=(0.5,)), (25.5,), (2 / 255,)),
    ],
)
def test_red_first_from_0_to_255(spec: InputSpec, mean: tuple, scale: tuple) -> None:
    np.testing.assert_allclose(mean_color(spec), mean, rtol=1e-6)
    np.testing.assert_allclose(network_scale(spec), scale, rtol=1e-6)


# ---- shown ---------------------------------------------------------------------------------------


def test_shown_adds_the_mean() -> None:
    mean = torch.tensor([100.0, 120.0, 140.0])
    image = torch.linspace(-99, 99, 3 * 20 * 20).reshape(1, 3, 20, 20)
    want = np.rint(image.numpy() + mean.numpy()[:, None, None]).clip(0, 255)
    got = shown(image, mean)
    assert got.dtype == torch.uint8
    np.testing.assert_array_equal(got, want)


def test_contrast_is_lowered_until_a_hundredth_is_out_of_range() -> None:
    mean = torch.tensor([127.5])
    image = (
        torch.randn(2, 1, 100, 100, generator=torch.Generator().manual_seed(0))
        * torch.tensor([400.0, 10.0])[:, None, None, None]
    )
    got = shown(image, mean).numpy()
    at_the_ends = ((got[0] == 0) | (got[0] == 255)).mean()
    assert 0.005 < at_the_ends < 0.02
    slope = np.polyfit(image[0].flatten().numpy(), got[0].flatten().astype(float), 1)[0]
    reach = np.sort(np.abs(image[0].flatten().numpy()) / 127.5)[int(0.99 * 10000) - 1]
    assert slope == pytest.approx(1 / reach, rel=0.02)
    np.testing.assert_array_equal(got[1], np.rint(image[1].numpy() + 127.5))  # each image by itself


def test_contrast_is_raised_as_far_as_allowed() -> None:
    mean = torch.tensor([127.5])
    image = (
        torch.randn(3, 1, 100, 100, generator=torch.Generator().manual_seed(0))
        * torch.tensor([10.0, 0.1, 0.0])[:, None, None, None]
    )
    faint, fainter, nothing = shown(image, mean, most=20.0).numpy()
    assert 0.005 < ((faint == 0) | (faint == 255)).mean() < 0.02
    np.testing.assert_allclose(fainter, image[1].numpy() * 20 + 127.5, atol=0.51)
    assert set(nothing.ravel().tolist()) == {128}


def test_a_few_outliers_do_not_lower_the_contrast() -> None:
    image = torch.full((1, 1, 20, 20), 50.0)
    image[0, 0, 0, :3] = 9000
    assert int(shown(image, torch.tensor([100.0]))[0, 0, 5, 5]) == 150


@pytest.mark.parametrize("mean", [0.0, 255.0])
def test_a_mean_that_is_black_or_white(mean: float) -> None:
    """Half of the values cannot be shown; the other half must be, and not as one flat colour."""
    image = torch.randn(1, 3, 30, 30, generator=torch.Generator().manual_seed(0)) * 60
    got = shown(image, torch.full((3,), mean)).numpy()
    want = (image.numpy() + mean).clip(0, 255)
    assert np.abs(got - want).max() < 3
