"""The strongest moments of live frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepvis.attribution.requests import Peaks
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.scan.index import INDEX
from deepvis.scan.index_file import load, save
from deepvis.scan.moments import TIDY, LiveTop, together, with_moments

LAYERS = (Layer("map", "Conv2d", 4, 3, 5), Layer("vector", "Linear", 3))
UNITS = [(layer, unit) for layer in LAYERS for unit in range(layer.units)]


def frames(count: int, seed: int = 0, apart: float = 10.0) -> tuple[list[Frame], np.ndarray]:
    """Frames of a camera so many seconds apart, and all units' values: count × units × cells of the map."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 20, 30, 3), np.uint8)
    values = rng.normal(size=(count, 7, 15)).astype(np.float32)
    values[:, 4:] = values[:, 4:, :1]
    return [Frame(image, f"camera {i}", i, True, seconds=i * apart) for i, image in enumerate(images)], values


def peaks(values: np.ndarray) -> Peaks:
    return Peaks(values.max(1), values.argmax(1).astype(np.int32))


def collected(count: int = 200, most: int = 2000, **wishes):
    shown, values = frames(count, **wishes)
    live = LiveTop(LAYERS, (16, 16), most=most)
    for frame, one in zip(shown, values):
        live.update(frame, True, peaks(one))
    return live, values


def test_every_moment_by_itself() -> None:
    live, values = collected()
    for number, (layer, unit) in enumerate(UNITS):
        top = live.top(layer.name)
        order = np.argsort(-values[:, number].max(1), kind="stable")[:9]
        assert list(top.image[unit]) == list(order)
        np.testing.assert_array_equal(top.value[unit], values[order, number].max(1))
        np.testing.assert_array_equal(top.row[unit] * layer.width + top.column[unit], values[order, number].argmax(1))


def naive(
    values: np.ndarray, seconds: list[float], sources: list[str], gap: float = 1.0, k: int = 9
) -> list[tuple[float, int]]:
    """One unit's ranking, frame by frame: a moment has its strongest frame."""
    kept: list[tuple[float, int]] = []
    for i, value in enumerate(values):
        same = [(v, j) for v, j in kept if sources[j] == sources[i] and abs(seconds[j] - seconds[i]) < gap]
        if any(v >= value for v, _ in same):
            continue
        rest = [pair for pair in kept if pair not in same]
        if len(rest) == k and value <= rest[-1][0]:
            continue
        kept = sorted([*rest, (value, i)], key=lambda pair: (-pair[0], pair[1]))[:k]
    return kept


@pytest.mark.parametrize("source, apart", [("", 0.3), ("clip.mp4", 0.3), ("clip.mp4", 3.0)])
def test_frames_close_to_each_other_are_one_moment(source: str, apart: float) -> None:
    """A camera, and a video that starts anew after 40 frames."""
    shown, values = frames(150, apart=apart)
    if source:
        shown = [replace(frame, source=source, seconds=i % 40 * apart) for i, frame in enumerate(shown)]
    live = LiveTop(LAYERS, (16, 16))
    for frame, one in zip(shown, values):
        live.update(frame, True, peaks(one))
    for number, (layer, unit) in enumerate(UNITS):
        expected = naive(values[:, number].max(1), [f.seconds for f in shown], [f.source for f in shown])
        top = live.top(layer.name)
        assert [i for i in top.image[unit] if i >= 0] == [i for _, i in expected]
        np.testing.assert_array_equal(top.value[unit][: len(expected)], [v for v, _ in expected])


def test_a_photo_is_one_moment_however_often_it_is_shown_and_others_are_others() -> None:
    (one, two, *_), values = frames(3)
    live = LiveTop(LAYERS, (16, 16))
    for times in range(5):
        live.update(replace(one, live=False, source="a.jpg", seconds=0, index=times), True, peaks(values[0]))
    assert (live.top("map").image[:, 0] == 0).all() and (live.top("map").image[:, 1:] == -1).all() and len(live) == 1
    live.update(replace(two, live=False, source="b.jpg", seconds=0), True, peaks(values[0] - 1))
    assert (live.top("map").image[:, :2] == [0, 5]).all()


def test_a_growing_moment_is_kept_once_by_its_strongest_frame() -> None:
    shown, values = frames(14, apart=0.03)
    live = LiveTop(LAYERS, (16, 16))
    for i, frame in enumerate(shown):
        live.update(frame, True, peaks(values[0] + i))
    assert (live.top("map").image[:, 0] == 13).all() and (live.top("map").image[:, 1:] == -1).all()


def test_memory_has_a_limit() -> None:
    live, _ = collected(most=10)
    assert len(live) <= 11
    index = live.index(Path("/nowhere"), "m", "f")
    assert len(index.files) <= 10 and index.top.image.max() < len(index.files)
    assert (np.isfinite(index.top.value) == (index.top.image >= 0)).all()
    assert (np.diff(np.where(np.isfinite(index.top.value), index.top.value, -1e9), axis=1) <= 0).all()


def test_frames_that_no_ranking_needs_any_more_go() -> None:
    shown, values = frames(TIDY)
    live = LiveTop(LAYERS, (16, 16))
    for i, (frame, one) in enumerate(zip(shown, values)):
        live.update(frame, True, peaks(one + 10 * i))  # each stronger than all before
    assert len(live) == 9 and sorted(live.top("vector").image[0]) == list(range(TIDY - 9, TIDY))


def test_not_a_number_is_never_strong_and_the_picture_is_what_the_network_saw() -> None:
    (one, two, *_), values = frames(3)
    live = LiveTop(LAYERS, (16, 16))
    assert live.update(one, True, peaks(values[0])) == 7
    assert live.update(two, True, peaks(np.full((7, 15), np.nan, np.float32))) == 0
    assert live.update(two, True, peaks(np.zeros((7, 15), np.float32))) == 0  # no answer
    assert len(live) == 1 and live.name(0) == "camera 0"
    assert live.pixels(0).shape == (20, 20, 3)  # all that there is of a frame of 20×20
    wide = Frame(np.zeros((20, 60, 3), np.uint8), "wide", 0, False, "wide.png")
    wide.image[:, :20] = 255
    live.update(wide, True, peaks(values[0] + 1))
    live.update(replace(wide, source="again.png"), False, peaks(values[0] + 2))
    assert live.pixels(3).max() < 20 and live.pixels(4)[:, :4].min() > 235  # its middle; all of it


@pytest.mark.parametrize(("height", "width", "kept"), [(8, 8, 16), (16, 20, 16), (24, 40, 24), (300, 200, 32)])
def test_pictures_are_kept_at_once_to_twice_the_size_of_the_input(height: int, width: int, kept: int) -> None:
    (one, *_), values = frames(1)
    live = LiveTop(LAYERS, (16, 16))
    live.update(replace(one, image=np.zeros((height, width, 3), np.uint8)), True, peaks(values[0]))
    assert live.pixels(0).shape == (kept, kept, 3)


def test_saved_and_put_together_with_a_data_set(tmp_path: Path) -> None:
    live, _ = collected(60)
    index = live.save(tmp_path / "live", "m", "f")
    read = load(tmp_path / "live" / INDEX)
    assert np.array_equal(read.top.image, index.top.image) and not read.missing()
    assert cv2.imread(str(read.path(0))).shape == (20, 20, 3)
    assert read.settings["names"][0].startswith("camera")
    other, _ = collected(90, seed=1)
    data = other.index(tmp_path / "data", "m", "f")
    both = together(data, index)
    row = both.row("map", 1)
    assert len(both.files) == len(data.files) + len(index.files) and both.is_complete
    assert np.array_equal(
        both.top.value[row], np.sort(np.concatenate([data.top.value[row], index.top.value[row]]))[::-1][:9]
    )
    last = both.top.image.max()
    assert both.path(last).is_file()
    with pytest.raises(UserError, match="another network"):
        together(data, live.index(tmp_path, "m", "other"))


def test_a_collection_is_added_once(tmp_path: Path) -> None:
    live, _ = collected(60)
    live.save(tmp_path / "live", "m", "f")
    other, _ = collected(90, seed=1)
    data = other.index(tmp_path / "data", "m", "f")
    both, added = with_moments(data, [tmp_path / "live"])
    assert added == 1 and len(both.files) > len(data.files)
    save(both, tmp_path / "scan" / INDEX)
    again, added = with_moments(load(tmp_path / "scan" / INDEX), [tmp_path / "live"])
    assert added == 0 and again.files == both.files
    with pytest.raises(UserError, match="no index"):
        with_moments(data, [tmp_path / "nothing"])
