"""Crops and sizes against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepvis.core.geometry import crop_box, fit, reduced, resize


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "height, width, aspect, part, want",
    [
        (100, 200, 1.0, 1.0, (50, 0, 100, 100)),
        (200, 100, 1.0, 1.0, (0, 50, 100, 100)),
        (100, 100, 2.0, 1.0, (0, 25, 100, 50)),
        (100, 100, 0.5, 1.0, (25, 0, 50, 100)),
        (256, 256, 1.0, 0.875, (16, 16, 224, 224)),
        (100, 200, 2.0, 0.5, (50, 25, 100, 50)),
        (1, 1000, 1.0, 0.1, (499, 0, 1, 1)),
    ],
)
def test_crop_box(height: int, width: int, aspect: float, part: float, want: tuple) -> None:
    assert crop_box(height, width, aspect, part) == want


def test_crop_box_lies_inside_touches_two_sides_and_is_centred() -> None:
    for height in (1, 2, 7, 224, 333, 1080):
        for width in (1, 3, 8, 224, 500, 1920):
            for aspect in (1 / 3, 0.75, 1.0, 224 / 225, 16 / 9):
                left, top, w, h = crop_box(height, width, aspect)
                assert w >= 1 and h >= 1 and left >= 0 and top >= 0
                assert left + w <= width and top + h <= height
                assert w == width or h == height
                assert abs(2 * left + w - width) <= 1 and abs(2 * top + h - height) <= 1
                assert min(abs(w - h * aspect), abs(h - w / aspect)) <= max(1, aspect / 2, 0.5 / aspect)


def test_shrinking_by_a_whole_factor_takes_the_mean_of_each_block() -> None:
    image = picture(12, 18)
    want = image.reshape(4, 3, 6, 3, 3).astype(np.float64).mean((1, 3))
    assert np.abs(resize(image, 6, 4) - want).max() <= 0.5 + 1e-9


def test_growing_keeps_within_the_values_and_does_not_repeat_pixels() -> None:
    image = np.repeat(np.array([[0, 90]], np.uint8)[..., None], 3, axis=2)
    row = resize(image, 6, 1)[0, :, 0]
    assert row[0] == 0 and row[-1] == 90 and (np.diff(row.astype(int)) >= 0).all() and len(set(row)) > 2


def test_the_right_size_is_handed_through() -> None:
    image = picture(8, 9)
    assert resize(image, 9, 8) is image


def test_fit_cuts_the_middle_out() -> None:
    image = picture(10, 30)
    assert np.array_equal(fit(image, 10, 10, crop=True), image[:, 10:20])
    assert np.array_equal(fit(image.transpose(1, 0, 2), 10, 10, crop=True), image.transpose(1, 0, 2)[10:20])


def test_fit_stretches_all_of_it() -> None:
    image = picture(10, 30)
    want = image.reshape(10, 10, 3, 3).astype(np.float64).mean(2)
    assert np.abs(fit(image, 10, 10, crop=False) - want).max() <= 0.5 + 1e-9


def test_fit_takes_a_part_of_the_middle() -> None:
    image = picture(16, 16)
    assert np.array_equal(fit(image, 8, 8, crop=True, part=0.5), image[4:12, 4:12])


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (7, 3), (400, 300)])
def test_fit_takes_any_shape(shape: tuple[int, int], crop: bool) -> None:
    fitted = fit(picture(*shape), 31, 17, crop)
    assert fitted.shape == (17, 31, 3) and fitted.dtype == np.uint8


@pytest.mark.parametrize(
    "size, side, want",
    [
        ((1, 100), 20, (1, 20)),
        ((100, 1), 20, (20, 1)),
        ((30, 60), 20, (10, 20)),
        ((30, 60), 0, (30, 60)),
        ((30, 60), 90, (30, 60)),
    ],
)
def test_a_picture_is_reduced_to_a_side(size: tuple[int, int], side: int, want: tuple[int, int]) -> None:
    assert reduced(np.zeros((*size, 3), np.uint8), side).shape == (*want, 3)
