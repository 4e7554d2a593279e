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
from deepvis.workers.layer_images import Overview, Wish

LIMIT = 20.0
UNITS = 6


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Unit u has its best place in photo u mod 3 (photo 2 is not there), at row 1 and column u mod 4; the last is
    dead."""
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
def overview() -> Iterator[Overview]:
    made = Overview()
    yield made
    made.close()


def test_each_units_patch_is_cut_out_at_its_place_as_large_as_asked(overview: Overview, index: Index) -> None:
    overview.want(index, "", Wish("", False, "map", tuple(range(UNITS)), 8))
    until(lambda: overview.idle)
    cells = overview.cells
    assert (
        cells.layer == "map" and sorted(cells.pictures) == [0, 1, 3, 4] and cells.dead == {5}
    )  # 2: its photo is not there
    for unit, patch in cells.pictures.items():
        assert patch.shape == (8, 8, 3)
        np.testing.assert_allclose(patch, unit % 4 * 60 + unit % 3, atol=1)


def test_what_was_cut_is_not_cut_again_and_another_size_is(
    overview: Overview, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    from deepvis.inputs.datasets import Images

    read = Images.read
    monkeypatch.setattr(Images, "read", lambda images, number, *a: (reads.append(number), read(images, number, *a))[1])
    for wish, photos in (
        (Wish("", False, "map", (0, 3), 8), [0]),
        (Wish("", False, "map", (0, 1, 3), 8), [1]),
        (Wish("", False, "map", (0,), 4), [0]),
    ):
        overview.want(index, "", wish)
        until(lambda: overview.idle)
        assert reads == photos
        reads.clear()


def test_what_was_cut_first_leaves_a_cache_that_holds_more_bytes_than_it_may(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = Images.read
    monkeypatch.setattr(Images, "read", lambda images, number, *a: (reads.append(number), read(images, number, *a))[1])
    monkeypatch.setattr(layer_images, "CACHE", 2 * 8 * 8 * 3)  # two patches
    overview = Overview()
    try:
        # Units 0 and 3 have their places in photo 0, unit 1 in photo 1: the third patch drives out the first.
        for unit, photos in ((0, [0]), (3, [0]), (1, [1]), (3, []), (1, []), (0, [0])):
            overview.want(index, "", Wish("", False, "map", (unit,), 8))
            until(lambda: overview.idle)
            assert overview.cells.pictures.keys() == {unit} and reads == photos, unit
            reads.clear()
    finally:
        overview.close()


def test_without_any_photo_it_says_which_is_missing(overview: Overview, index: Index) -> None:
    overview.want(replace(index, root="/nowhere"), "", Wish("", False, "map", (0,), 8))
    until(lambda: overview.idle)
    assert "0.png" in overview.cells.note


def test_without_an_index_it_says_why(overview: Overview, index: Index) -> None:
    overview.want(None, "none was scanned", Wish("map", False, "map", (0,), 8))
    until(lambda: overview.idle)
    assert overview.cells.note == overview.statistics.note == "none was scanned"
    overview.want(index, "", Wish("map"))
    until(lambda: overview.idle)
    assert overview.statistics.images == 3
    overview.want(index, "", Wish("other", False, "other", (0,)))
    until(lambda: overview.idle)
    assert "was not scanned" in overview.statistics.note and "was not scanned" in overview.cells.note


def test_the_order_by_similarity_is_worked_out_when_it_is_shown_and_kept(overview: Overview, index: Index) -> None:
    correlation = np.corrcoef(np.random.default_rng(0).normal(size=(UNITS, 9))).astype(np.float32)
    index = replace(index, correlation={"map": correlation})
    for is_sorted in (False, True, False):
        overview.want(index, "", Wish("map", is_sorted))
        until(lambda: overview.idle)
        if overview.statistics.order is None:
            assert not is_sorted
    np.testing.assert_array_equal(overview.statistics.order, by_similarity(correlation))  # once known it stays


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


def test_what_was_abandoned_and_is_wanted_again_is_not_taken_for_done(overview: Overview, index: Index, gated) -> None:
    begun, gate = gated
    whole, other = Wish("", False, "map", (0, 1, 3, 4), 8), Wish("", False, "map", (0, 3), 8)
    cut = overview._cut

    def abandoned(asked):
        done = cut(asked)
        overview.want(index, "", whole)  # just after it has been abandoned
        return done

    overview._cut = abandoned
    overview.want(index, "", whole)
    assert begun.wait(LIMIT)
    overview.want(index, "", other)
    gate.set()
    until(lambda: overview.idle and sorted(overview.cells.pictures) == [0, 1, 3, 4])


@pytest.mark.parametrize("back", [False, True])
def test_an_abandoned_wish_leaves_nothing_in_the_place_of_the_newest(
    overview: Overview, index: Index, gated, back: bool
) -> None:
    begun, gate = gated
    whole, few = Wish("", False, "map", (0, 1, 3, 4), 8), Wish("", False, "map", (3,), 8)
    if back:  # the newest is what was there before
        overview.want(index, "", few)
        until(lambda: overview.idle)
    overview.want(index, "", whole)
    assert begun.wait(LIMIT)
    overview.want(index, "", few)
    gate.set()
    until(lambda: overview.idle)
    assert sorted(overview.cells.pictures) == [3]
    overview.want(index, "", whole)
    until(lambda: overview.idle)
    assert sorted(overview.cells.pictures) == [0, 1, 3, 4]


def test_nothing_of_an_index_that_has_been_replaced_is_shown(overview: Overview, index: Index, gated) -> None:
    begun, gate = gated
    wish = Wish("map", False, "map", (0, 1), 8)
    newer = replace(index, count=77, top=replace(index.top, image=(index.top.image + 1) % 2))
    overview.want(index, "", wish)
    assert begun.wait(LIMIT)
    assert overview.statistics.images == 3 and overview.cells is not None
    overview.want(newer, "", wish)
    assert overview.cells is None and overview.statistics is None
    gate.set()
    until(lambda: overview.idle)
    assert overview.statistics.images == 77
    np.testing.assert_allclose(overview.cells.pictures[0], 1, atol=1)  # photo 1 is its best now


def test_while_the_index_is_not_open_yet_nothing_is_said(overview: Overview) -> None:
    overview.want(None, "", Wish("map", False, "map", (0,), 8))
    until(lambda: overview.idle)
    assert overview.cells is None and overview.statistics is None
