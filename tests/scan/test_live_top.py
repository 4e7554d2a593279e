"""The strongest moments of live frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepvis.errors import UserError
from deepvis.layers import Layer
from deepvis.scan.index import INDEX, load
from deepvis.scan.live import LiveTop, together

LAYERS = (Layer("map", "Conv2d", 4, 3, 5), Layer("vector", "Linear", 3))


def frames(count: int, seed: int = 0) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    rng = np.random.default_rng(seed)
    activations = [
        {"map": rng.normal(size=(4, 3, 5)).astype(np.float32), "vector": rng.normal(size=(3, 1, 1)).astype(np.float32)}
        for _ in range(count)
    ]
    return rng.integers(0, 256, (count, 20, 30, 3), np.uint8), activations


def collected(count: int = 200, gap: int = 1, most: int = 2000, k: int = 9):
    images, activations = frames(count)
    live = LiveTop(LAYERS, (16, 16), k=k, gap=gap, most=most)
    for i in range(count):
        live.update(images[i], f"camera {i}", activations[i])
    return live, images, activations


def test_every_moment_by_itself() -> None:
    live, _, activations = collected()
    for layer in LAYERS:
        values = np.stack([a[layer.name].reshape(layer.units, -1) for a in activations])
        top = live.top(layer.name)
        for unit in range(layer.units):
            order = np.argsort(-values[:, unit].max(1), kind="stable")[:9]
            assert list(top.image[unit]) == list(order)
            assert np.array_equal(top.row[unit] * layer.width + top.column[unit], values[order, unit].argmax(1))


def test_frames_close_to_each_other_are_one_moment() -> None:
    live, _, activations = collected(gap=20)
    for layer in LAYERS:
        top = live.top(layer.name)
        values = np.stack([a[layer.name].reshape(layer.units, -1).max(1) for a in activations])
        for unit in range(layer.units):
            kept = top.image[unit][top.image[unit] >= 0]
            assert top.image[unit][0] == values[:, unit].argmax()
            assert (np.diff(np.sort(kept)) >= 1).all() and np.allclose(top.value[unit][: len(kept)], values[kept, unit])


def test_a_steady_picture_is_kept_once() -> None:
    images, activations = frames(1)
    live = LiveTop(LAYERS, (16, 16))
    for i in range(14):
        live.update(images[0], "camera", {k: v + i for k, v in activations[0].items()})
    assert (live.top("map").image[:, 0] == 13).all() and (live.top("map").image[:, 1:] == -1).all()


def test_memory_has_a_limit() -> None:
    live, _, _ = collected(most=10)
    assert len(live) <= 11
    index = live.index(Path("/nowhere"), "m", "f")
    assert len(index.files) <= 10 and index.top.image.max() < len(index.files)
    assert (np.isfinite(index.top.value) == (index.top.image >= 0)).all()
    assert (np.diff(np.where(np.isfinite(index.top.value), index.top.value, -1e9), axis=1) <= 0).all()


def test_some_layers_at_a_time_and_not_a_number() -> None:
    images, activations = frames(3)
    live = LiveTop(LAYERS, (16, 16), gap=1)
    assert live.update(images[0], "a", {"map": activations[0]["map"]}) == 4
    assert live.update(images[1], "b", {"vector": np.full((3, 1, 1), np.nan, np.float32)}) == 0
    assert (live.top("vector").image == -1).all() and len(live) == 1 and live.name(0) == "a"
    assert live.pixels(0).shape == (16, 16, 3)


def test_saved_and_put_together_with_a_data_set(tmp_path: Path) -> None:
    live, _, _ = collected(60)
    index = live.save(tmp_path / "live", "m", "f")
    read = load(tmp_path / "live" / INDEX)
    assert np.array_equal(read.top.image, index.top.image) and not read.missing()
    assert cv2.imread(str(read.path(0))).shape == (16, 16, 3)
    assert read.settings["names"][0].startswith("camera")
    other, _, _ = collected(90)
    data = other.index(tmp_path / "data", "m", "f")
    both = together(data, index)
    row = both.row("map", 1)
    assert len(both.files) == len(data.files) + len(index.files)
    assert np.array_equal(both.top.value[row], np.sort(np.concatenate([data.top.value[row], index.top.value[row]]))[::-1][:9])
    last = both.top.image.max()
    assert both.path(last).is_file()
    with pytest.raises(UserError, match="another network"):
        together(data, live.index(tmp_path, "m", "other"))
