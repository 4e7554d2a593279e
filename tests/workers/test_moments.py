"""The thread that collects moments: what it shows of a unit, and when a collection ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from waiting import until

from deepvis.attribution.requests import Peaks, Request, Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.scan.index import INDEX
from deepvis.scan.index_file import load
from deepvis.workers import moments as module
from deepvis.workers.messages import MomentsWish
from deepvis.workers.moments import NONE_YET, MomentsWorker

LIMIT = 20.0
LAYERS = (Layer("map", "Conv2d", 3, 4, 4), Layer("vector", "Linear", 2))
FIELD = ReceptiveField(4, 4, False, (4, 4), (0, 0))
SIZE = (16, 16)


def result(number: int, value: float, cell: int = 0) -> Result:
    """A photo whose quarters have colours of their own; all units answer with `value`."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = 20 * number
    image[4 * (cell // 4) :, 4 * (cell % 4) :][:4, :4] = 255
    frame = Frame(image, f"{number}.png", number, False, f"/photos/{number}.png")
    return Result(
        Request(frame, True, "map"), peaks=Peaks(np.full(5, value, np.float32), np.array([cell] * 3 + [0, 0], np.int32))
    )


@pytest.fixture
def worker() -> Iterator[MomentsWorker]:
    made = MomentsWorker()
    yield made
    assert made.close(LIMIT)


def shown(worker: MomentsWorker) -> list[tuple[str, float]]:
    return [(patch.name, patch.value) for patch in worker.top.patches] if worker.top else []


def test_the_selected_units_moments_are_shown_strongest_first_as_they_come(worker: MomentsWorker) -> None:
    worker.want(MomentsWish("map", 1, FIELD))
    until(lambda: worker.top is not None and worker.top.note == NONE_YET)
    for number, value in ((1, 2.0), (2, 5.0), (3, 3.0)):
        worker.take(result(number, value, cell=6), LAYERS, SIZE)
    until(lambda: shown(worker) == [("2.png", 5.0), ("3.png", 3.0), ("1.png", 2.0)])
    assert worker.count == 3 and worker.top.note == "" and (worker.top.layer, worker.top.unit) == ("map", 1)
    patch = worker.top.patches[0]
    assert (patch.row, patch.column, patch.box) == (1, 2, (8, 4, 4, 4))
    assert patch.pixels.shape == (4, 4, 3) and patch.pixels.min() > 200  # cut out to its field
    worker.want(MomentsWish("vector", 0))
    until(lambda: worker.top is not None and worker.top.layer == "vector")
    assert worker.top.patches[0].pixels.shape == (16, 16, 3)  # the whole of what the network saw


def test_each_units_strongest_moment_is_a_cell(worker: MomentsWorker) -> None:
    worker.want(MomentsWish("map", 0, FIELD, (0, 1, 2), 32))
    worker.take(result(1, 2.0), LAYERS, SIZE)
    until(lambda: worker.cells is not None and len(worker.cells.pictures) == 3)
    before = worker.cells.pictures
    assert all(picture.shape == (32, 32, 3) for picture in before.values())
    stronger = result(5, 3.0)
    stronger.peaks.value[1] = 1.0  # for this unit it is not
    worker.take(stronger, LAYERS, SIZE)
    until(lambda: worker.cells.pictures[0] is not before[0])
    assert worker.cells.pictures[1] is before[1]  # not cut out again


def test_a_collection_that_is_forgotten_leaves_nothing(worker: MomentsWorker) -> None:
    worker.want(MomentsWish("map", 0, FIELD))
    worker.take(result(1, 2.0), LAYERS, SIZE)
    until(lambda: shown(worker))
    worker.forget()
    until(lambda: worker.count == 0 and worker.top is None)
    worker.want(MomentsWish("map", 0, FIELD))
    worker.take(result(2, 1.0), LAYERS, SIZE)
    until(lambda: shown(worker) == [("2.png", 1.0)])


def test_moments_are_kept_only_when_asked_for(worker: MomentsWorker, tmp_path: Path) -> None:
    said: list[tuple[str, bool]] = []
    keep = lambda folder: worker.save(folder, "m", "f", lambda *words: said.append(words))  # noqa: E731
    keep(tmp_path / "none")
    until(lambda: said)
    assert said.pop() == ("no moments to keep yet", False) and not list(tmp_path.iterdir())
    worker.take(result(1, 2.0), LAYERS, SIZE)
    worker.take(result(2, 1.0), LAYERS, SIZE)
    until(lambda: worker.count == 2)
    keep(tmp_path / "live")
    until(lambda: said)
    words, is_error = said.pop()
    assert "kept 2 moments" in words and "deepvis merge" in words and not is_error
    index = load(tmp_path / "live" / INDEX)
    assert list(index.top.value[0][:2]) == [2.0, 1.0] and cv2.imread(str(index.path(0))).shape == (16, 16, 3)
    (tmp_path / "file").touch()
    keep(tmp_path / "file")
    until(lambda: said)
    assert said.pop()[1]  # an error, in words


def test_it_outlives_a_frame_that_cannot_be_taken_in(worker: MomentsWorker) -> None:
    worker.want(MomentsWish("map", 0, FIELD))
    broken = result(1, 2.0)
    worker.take(Result(broken.request, peaks=Peaks(np.ones(2, np.float32), np.zeros(2, np.int32))), LAYERS, SIZE)
    until(lambda: worker.top is not None and worker.top.note not in ("", NONE_YET))
    worker.take(result(2, 3.0), LAYERS, SIZE)
    until(lambda: shown(worker) == [("2.png", 3.0)])


def test_moments_of_many_bands_are_not_said_to_be_what_the_network_saw(worker: MomentsWorker) -> None:
    of_bands = result(1, 5)
    bands = replace(of_bands.request.frame, bands=np.zeros((16, 16, 7), np.float32))
    worker.want(MomentsWish("map", 0))
    worker.take(replace(of_bands, request=replace(of_bands.request, frame=bands)), LAYERS, (16, 16))
    until(lambda: shown(worker))
    assert worker.top.seen == ()
    worker.forget()
    worker.want(MomentsWish("map", 1))
    worker.take(result(2, 6), LAYERS, (16, 16))
    until(lambda: worker.top and worker.top.patches and worker.top.seen)


def test_nothing_of_a_collection_that_was_ended_is_taken_for_the_next_ones(worker: MomentsWorker) -> None:
    """The first moments of both have the same number and place."""
    wish = MomentsWish("map", 0, FIELD, (0, 1, 2), 8)
    for number in (1, 9):
        worker.want(wish)
        worker.take(result(number, 2.0, cell=1), LAYERS, SIZE)
        until(lambda: worker.cells is not None and len(worker.cells.pictures) == 3)
        assert shown(worker) == [(f"{number}.png", 2.0)]
        assert worker.cells.pictures[0].min() > 200
        worker.take(result(number, 3.0, cell=1), LAYERS, SIZE)
        until(lambda: shown(worker)[:1] == [(f"{number}.png", 3.0)])
        worker.forget()
        assert worker.top is None and worker.cells is None and worker.count == 0  # at once


def test_the_patch_of_a_new_collection_is_its_own(worker: MomentsWorker) -> None:
    plain = lambda number, color: result_of(number, color)  # noqa: E731
    wish = MomentsWish("map", 0, FIELD, (0,), 8)
    for number, color in ((1, 40), (2, 200)):
        worker.want(wish)
        worker.take(plain(number, color), LAYERS, SIZE)
        until(lambda: worker.cells is not None and worker.cells.pictures)
        assert abs(int(worker.cells.pictures[0].mean()) - color) < 4
        worker.forget()


def result_of(number: int, color: int) -> Result:
    """A photo all of one color."""
    frame = Frame(np.full((16, 16, 3), color, np.uint8), f"{number}.png", number, False, f"/photos/{number}.png")
    return Result(Request(frame, True, "map"), peaks=Peaks(np.full(5, 2.0, np.float32), np.zeros(5, np.int32)))


def test_what_was_to_be_kept_is_kept_though_the_collection_is_ended_at_once(
    worker: MomentsWorker, tmp_path: Path, monkeypatch
) -> None:
    begun, gate = threading.Event(), threading.Event()
    update = module.LiveTop.update

    def held(live, *args):
        begun.set()
        assert gate.wait(LIMIT)
        return update(live, *args)

    monkeypatch.setattr(module.LiveTop, "update", held)
    said: list[tuple[str, bool]] = []
    worker.take(result(1, 2.0), LAYERS, SIZE)
    assert begun.wait(LIMIT)
    worker.take(
        Result(result(3, 1.0).request, peaks=Peaks(np.ones(2, np.float32), np.zeros(2, np.int32))), LAYERS, SIZE
    )  # broken
    worker.take(result(2, 3.0), LAYERS, SIZE)
    worker.save(tmp_path / "kept", "m", "f", lambda *words: said.append(words))
    worker.forget()
    worker.save(tmp_path / "none", "m", "f", lambda *words: said.append(words))
    gate.set()
    until(lambda: len(said) == 2)
    assert "kept 2 moments" in said[0][0] and said[1] == ("no moments to keep yet", False)
    assert load(tmp_path / "kept" / INDEX).top.value[0][0] == 3.0
