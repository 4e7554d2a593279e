"""What the layer pane gets of an index: each unit's top image, and statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from waiting import until

from deepvis.core.receptive_field import ReceptiveField
from deepvis.inputs.datasets import Images
from deepvis.scan.index import BINS, Index, Ranked, Span
from deepvis.scan.statistics import by_similarity
from deepvis.workers import layer_images
from deepvis.workers.layer_images import LayerImagesWorker, OpenIndex
from deepvis.workers.messages import LayerImagesWish
from deepvis.workers.worker import WishOf

LIMIT = 20.0
UNITS = 6


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Unit u has its best place in photo u mod 3, at row 1, column u mod 4; photo 2 is missing, the last unit dead."""
    for number in range(2):
        image = np.zeros((16, 16, 3), np.uint8)
        image[4:8] = np.repeat(np.arange(4, dtype=np.uint8) * 60 + number, 4)[None, :, None]
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    units = np.arange(UNITS)[:, None]
    top = Ranked(
        (units % 3).astype(np.int32),
        np.ones((UNITS, 1), np.int16),
        (units % 4).astype(np.int16),
        (units < UNITS - 1).astype(np.float32),
    )
    histogram = np.zeros((UNITS, BINS), np.int64)
    histogram[:, BINS // 2 + 20] = 3
    flat = np.ones(UNITS)
    return Index(
        "m",
        "f",
        str(tmp_path),
        ("0.png", "1.png", "2.png"),
        ((0, 3),),
        {},
        (Span("map", 0, UNITS, 4, 4),),
        top,
        top,
        histogram,
        3,
        np.full(UNITS, 3),
        flat,
        flat,
        receptive_fields={"map": ReceptiveField(4, 4, False, (4, 4), (0, 0))},
        settings={"width": 16, "height": 16},
    )


@pytest.fixture
def worker() -> Iterator[LayerImagesWorker]:
    made = LayerImagesWorker()
    yield made
    made.close()


def test_each_units_patch_is_cut_out_at_its_place_as_large_as_asked(worker: LayerImagesWorker, index: Index) -> None:
    worker.want(WishOf(OpenIndex(index), LayerImagesWish("", False, "map", tuple(range(UNITS)), 8)))
    until(lambda: worker.idle)
    cells = worker.cells
    assert (
        cells.layer == "map" and sorted(cells.pictures) == [0, 1, 3, 4] and cells.dead == {5}
    )  # 2: its photo is not there
    for unit, patch in cells.pictures.items():
        assert patch.shape == (8, 8, 3)
        np.testing.assert_allclose(patch, unit % 4 * 60 + unit % 3, atol=1)


def test_what_was_cut_is_not_cut_again_and_another_size_is(
    worker: LayerImagesWorker, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    from deepvis.inputs.datasets import Images

    read = Images.read
    monkeypatch.setattr(Images, "read", lambda images, number, *a: (reads.append(number), read(images, number, *a))[1])
    for wish, photos in (
        (LayerImagesWish("", False, "map", (0, 3), 8), [0]),
        (LayerImagesWish("", False, "map", (0, 1, 3), 8), [1]),
        (LayerImagesWish("", False, "map", (0,), 4), [0]),
    ):
        worker.want(WishOf(OpenIndex(index), wish))
        until(lambda: worker.idle)
        assert reads == photos
        reads.clear()


def test_what_was_cut_first_leaves_a_cache_that_holds_more_bytes_than_it_may(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = Images.read
    monkeypatch.setattr(Images, "read", lambda images, number, *a: (reads.append(number), read(images, number, *a))[1])
    monkeypatch.setattr(layer_images, "CACHE", 2 * 8 * 8 * 3)  # two patches
    worker = LayerImagesWorker()
    try:
        # Units 0 and 3 have their places in photo 0, unit 1 in photo 1: the third patch drives out the first.
        for unit, photos in ((0, [0]), (3, [0]), (1, [1]), (3, []), (1, []), (0, [0])):
            worker.want(WishOf(OpenIndex(index), LayerImagesWish("", False, "map", (unit,), 8)))
            until(lambda: worker.idle)
            assert worker.cells.pictures.keys() == {unit} and reads == photos, unit
            reads.clear()
    finally:
        worker.close()


def test_without_any_photo_it_says_which_is_missing(worker: LayerImagesWorker, index: Index) -> None:
    worker.want(WishOf(OpenIndex(replace(index, root="/nowhere")), LayerImagesWish("", False, "map", (0,), 8)))
    until(lambda: worker.idle)
    assert "0.png" in worker.cells.note


def test_without_an_index_it_says_why(worker: LayerImagesWorker, index: Index) -> None:
    worker.want(WishOf(OpenIndex(None, "none was scanned"), LayerImagesWish("map", False, "map", (0,), 8)))
    until(lambda: worker.idle)
    assert worker.cells.note == worker.statistics.note == "none was scanned"
    worker.want(WishOf(OpenIndex(index), LayerImagesWish("map")))
    until(lambda: worker.idle)
    assert worker.statistics.images == 3
    worker.want(WishOf(OpenIndex(index), LayerImagesWish("other", False, "other", (0,))))
    until(lambda: worker.idle)
    assert "was not scanned" in worker.statistics.note and "was not scanned" in worker.cells.note


def test_the_order_by_similarity_is_worked_out_when_it_is_shown_and_kept(
    worker: LayerImagesWorker, index: Index
) -> None:
    correlation = np.corrcoef(np.random.default_rng(0).normal(size=(UNITS, 9))).astype(np.float32)
    index = replace(index, correlation={"map": correlation})
    for is_sorted in (False, True, False):
        worker.want(WishOf(OpenIndex(index), LayerImagesWish("map", is_sorted)))
        until(lambda: worker.idle)
        if worker.statistics.order is None:
            assert not is_sorted
    np.testing.assert_array_equal(worker.statistics.order, by_similarity(correlation))  # once known it stays


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The reading of photo 1 sets the first event and waits for the second."""
    begun, gate = threading.Event(), threading.Event()
    read = Images.read

    def held(images: Images, number: int, *args):
        if number == 1:
            begun.set()
            assert gate.wait(LIMIT)
        return read(images, number, *args)

    monkeypatch.setattr(Images, "read", held)
    return begun, gate


@pytest.mark.parametrize("back", [False, True])
def test_an_abandoned_wish_leaves_nothing_in_the_place_of_the_newest(
    worker: LayerImagesWorker, index: Index, gated, back: bool
) -> None:
    begun, gate = gated
    whole, few = LayerImagesWish("", False, "map", (0, 1, 3, 4), 8), LayerImagesWish("", False, "map", (3,), 8)
    if back:  # the newest is what was there before
        worker.want(WishOf(OpenIndex(index), few))
        until(lambda: worker.idle)
    worker.want(WishOf(OpenIndex(index), whole))
    assert begun.wait(LIMIT)
    worker.want(WishOf(OpenIndex(index), few))
    gate.set()
    until(lambda: worker.idle)
    assert sorted(worker.cells.pictures) == [3]
    worker.want(WishOf(OpenIndex(index), whole))
    until(lambda: worker.idle)
    assert sorted(worker.cells.pictures) == [0, 1, 3, 4]


def test_nothing_of_an_index_that_has_been_replaced_is_shown(worker: LayerImagesWorker, index: Index, gated) -> None:
    begun, gate = gated
    wish = LayerImagesWish("map", False, "map", (0, 1), 8)
    newer = replace(index, count=77, top=replace(index.top, image=(index.top.image + 1) % 2))
    worker.want(WishOf(OpenIndex(index), wish))
    assert begun.wait(LIMIT)
    assert worker.statistics.images == 3 and worker.cells is not None
    worker.want(WishOf(OpenIndex(newer), wish))
    assert worker.cells is None and worker.statistics is None
    gate.set()
    until(lambda: worker.idle)
    assert worker.statistics.images == 77
    np.testing.assert_allclose(worker.cells.pictures[0], 1, atol=1)  # photo 1 is its best now


def test_while_the_index_is_not_open_yet_nothing_is_said(worker: LayerImagesWorker) -> None:
    worker.want(WishOf(OpenIndex(None, ""), LayerImagesWish("map", False, "map", (0,), 8)))
    until(lambda: worker.idle)
    assert worker.cells is None and worker.statistics is None
