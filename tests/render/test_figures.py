"""The papers' figures: pictures of the right size, with the right images in the right place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.render.figures import GAP, labelled, montage, true_sizes
from deepvis.store.unit_images import Store, open_store


def test_labelled_rows() -> None:
    rows = [np.full((2, 100, 120, 3), (200, 100, 50), np.uint8), np.full((2, 100, 120, 3), (1, 2, 3), np.uint8)]
    picture = labelled(rows, [["a", "b"], ["c", ""]])
    assert picture.shape == (2 * (100 + 18 + GAP), 2 * (120 + GAP), 3)
    assert (picture[18:118, :120] == (50, 100, 200)).all() and (picture[140:240, 124:244] == (3, 2, 1)).all()
    assert picture[:18, :120].max() > 150 and picture[122:140, 124:244].max() < 100  # a title, and none


LAYERS = (Layer("conv", "Conv2d", 6, 8, 8), Layer("fc", "Linear", 10))


def stored(folder: Path, name: str, unit: int, height: int, width: int, count: int = 1) -> Store:
    store = open_store(folder, "mark", "net")
    images = np.full((count, height, width, 3), (10 * unit + 100, 30, 200 - 10 * unit), np.uint8)
    store.add(name, unit, images, {"scores": [1.0] * count}, "0")
    return open_store(folder, "mark", "net")


@pytest.mark.parametrize("side, shape", [(0, (20, 30)), (15, (10, 15)), (60, (40, 60))])
def test_a_montage_has_a_place_for_every_unit(tmp_path: Path, side: int, shape: tuple[int, int]) -> None:
    for unit in (0, 4, 9):
        store = stored(tmp_path, "fc", unit, 20, 30, 2)
    store.add("fc", 5, np.zeros((0, 1, 1, 3), np.uint8), {"scores": [], "failed": "dead"}, "0")
    picture = montage(store, LAYERS[1], side)
    height, width = shape
    columns = math.ceil(math.sqrt(10 * 1.6 * height / width))
    rows = math.ceil(10 / columns)
    assert picture.shape == (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    for unit in range(10):
        y, x = unit // columns * (height + GAP), unit % columns * (width + GAP)
        colour = picture[y : y + height, x : x + width].mean((0, 1))
        want = (
            (200 - 10 * unit, 30, 10 * unit + 100) if unit in (0, 4, 9) else picture[-1, -1] if unit == 9 else (0, 0, 0)
        )
        if unit in (0, 4, 9):
            assert np.abs(colour - want).max() < 12, unit
        else:
            assert colour.max() < 60, unit


def test_a_montage_of_images_of_several_sizes(tmp_path: Path) -> None:
    stored(tmp_path, "conv", 0, 20, 20)
    store = stored(tmp_path, "conv", 3, 31, 17)
    assert montage(store, LAYERS[0]).shape[0] % (20 + GAP) == 20
    assert true_sizes(store, LAYERS, 4).shape[0] == 18 + 20 + GAP + 2 * GAP


def test_true_sizes(tmp_path: Path) -> None:
    """A row for each layer with its images as large as they are, the last layer on top; failed units do not count."""
    store = stored(tmp_path, "conv", 1, 5, 5, 4)
    store.add("conv", 0, np.zeros((0, 1, 1, 3), np.uint8), {"scores": [], "failed": "dead"}, "0")
    for unit in (3, 7, 8):
        store = stored(tmp_path, "fc", unit, 40, 70)
    picture = true_sizes(store, LAYERS, 2)
    block = 70 + GAP + 2 * GAP
    assert picture.shape == (18 + 40 + GAP + 2 * GAP + 18 + 2 * (5 + GAP) + 2 * GAP, 2 * block, 3)
    for i, unit in enumerate((3, 7)):
        assert (
            np.abs(
                picture[18:58, i * block : i * block + 70].mean((0, 1)) - (200 - 10 * unit, 30, 10 * unit + 100)
            ).max()
            < 12
        )
    y = 18 + 40 + 3 * GAP + 18
    for row in (0, 1):
        for column in (0, 1):
            at = picture[y + row * 9 :, column * 9 :][:5, :5]
            assert np.abs(at.mean((0, 1)) - (190, 30, 110)).max() < 12
    assert true_sizes(store, LAYERS[:1], 1).shape[0] == 18 + 2 * 9 + 2 * GAP  # unit 1, for unit 0 failed


def test_nothing_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path, "mark")
    with pytest.raises(UserError, match="no stored images of layer fc.*synthesize --layer fc"):
        montage(store, LAYERS[1])
    with pytest.raises(UserError, match="no stored images of conv, fc"):
        true_sizes(store, LAYERS, 4)
