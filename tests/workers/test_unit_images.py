"""Stored images of the newest wish, from the disk, in a thread of its own."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from deepvis.core.errors import UserError
from deepvis.store.unit_images import MANIFEST, Store, open_store
from deepvis.workers import unit_images as module
from deepvis.workers.messages import UnitImagesWish
from deepvis.workers.unit_images import UnitImagesWorker

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def filled(folder: Path) -> Store:
    store = open_store(folder, "abc", "net")
    for unit, color in enumerate(COLORS):
        images = np.stack([np.full((40, 40, 3), color, np.uint8), np.zeros((40, 40, 3), np.uint8)])
        store.add("conv", unit, images, {"scores": [2.0, 1.0]}, "test")
    store.add("conv", 7, np.zeros((0, 1, 1, 3), np.uint8), {"scores": [], "failed": "dead"}, "test")
    store.finish()
    return store


def color(image: np.ndarray) -> tuple[int, ...]:
    return tuple(np.round(image.mean((0, 1)) / 255).astype(int) * 255)


def fetched(worker: UnitImagesWorker, wish: UnitImagesWish):
    worker.want(wish)
    until(lambda: (p := worker.answer) is not None and (p.layer, p.unit) == (wish.layer, wish.unit)
          and (not p.known or p.note or set(p.cells) >= {c for c in wish.cells if c < len(COLORS)}))  # fmt: skip
    return worker.answer


@pytest.fixture
def worker(tmp_path: Path):
    filled(tmp_path)
    one = UnitImagesWorker(lambda: open_store(tmp_path, "abc"))
    yield one
    one.close()


def test_the_selected_units_pictures_best_first(worker: UnitImagesWorker) -> None:
    found = fetched(worker, UnitImagesWish("conv", 2))
    assert [color(image) for image in found.synthesized] == [COLORS[2], (0, 0, 0)]
    assert found.known and not found.note


def test_an_odd_record_does_not_end_the_others_pictures(worker: UnitImagesWorker, tmp_path: Path) -> None:
    manifest = tmp_path / MANIFEST
    records = json.loads(manifest.read_text())
    records["units"][1]["scores"] = None
    manifest.write_text(json.dumps(records))
    assert fetched(worker, UnitImagesWish("conv", 1)).note
    assert color(fetched(worker, UnitImagesWish("conv", 2)).synthesized[0]) == COLORS[2]


def test_cells_get_the_best_picture_of_each_unit_at_their_size(worker: UnitImagesWorker) -> None:
    found = fetched(worker, UnitImagesWish("conv", 0, (1, 3, 9), 16))
    assert {unit: (color(image), image.shape) for unit, image in found.cells.items()} == {
        1: (COLORS[1], (16, 16, 3)), 3: (COLORS[3], (16, 16, 3)),
    }  # fmt: skip


def test_what_is_not_there_is_said(worker: UnitImagesWorker) -> None:
    found = fetched(worker, UnitImagesWish("other", 0))
    assert not found.synthesized and not found.known and not found.note
    assert fetched(worker, UnitImagesWish("conv", 7)).note == "dead"


def test_a_store_that_cannot_be_opened_becomes_words(tmp_path: Path) -> None:
    def refuse() -> Store:
        raise UserError("made for another network")

    one = UnitImagesWorker(refuse)
    assert fetched(one, UnitImagesWish("conv", 0)).note == "made for another network"
    one.close()


def test_refreshing_reads_anew(tmp_path: Path) -> None:
    store = filled(tmp_path)
    one = UnitImagesWorker(lambda: open_store(tmp_path, "abc"))
    assert color(fetched(one, UnitImagesWish("conv", 0)).synthesized[0]) == COLORS[0]
    store.add("conv", 0, np.full((1, 40, 40, 3), 255, np.uint8), {"scores": [3.0]}, "test")
    one.renew()
    assert one.answer is None  # nothing of the store as it was
    until(lambda: one.answer is not None and color(one.answer.synthesized[0]) == (255, 255, 255))
    one.close()


class Gated:
    """A store whose reading of unit 2 waits; `begun` says that it does."""

    def __init__(self, store: Store) -> None:
        self.store, self.records = store, store.records
        self.begun, self.gate = threading.Event(), threading.Event()

    def read(self, layer: str, unit: int) -> list[np.ndarray]:
        if unit == 2:
            self.begun.set()
            assert self.gate.wait(10)
        return self.store.read(layer, unit)


def test_what_was_abandoned_in_favour_of_what_was_there_before_is_not_left_in_its_place(tmp_path: Path) -> None:
    gated = Gated(filled(tmp_path))
    one = UnitImagesWorker(lambda: gated)
    few, whole = UnitImagesWish("conv", 0, (3, 1), 16), UnitImagesWish("conv", 0, (0, 2, 3, 1), 16)
    one.want(few)
    until(lambda: one.idle)
    one.want(whole)
    assert gated.begun.wait(10)
    assert set(one.answer.cells) == {0}  # shown as they come in
    one.want(few)
    gated.gate.set()
    until(lambda: one.idle)
    assert set(one.answer.cells) == {1, 3}
    one.close()


def test_an_odd_record_of_a_cell_leaves_that_cell_alone_empty(worker: UnitImagesWorker, tmp_path: Path) -> None:
    manifest = tmp_path / MANIFEST
    records = json.loads(manifest.read_text())
    records["units"][1]["scores"] = 5
    manifest.write_text(json.dumps(records))
    worker.want(UnitImagesWish("conv", 0, (0, 1, 2), 16))
    until(lambda: worker.idle)
    assert set(worker.answer.cells) == {0, 2} and not worker.answer.note


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE", 3 * 40 * 40 * 3)
    filled(tmp_path)
    one = UnitImagesWorker(lambda: open_store(tmp_path, "abc"))
    for unit in (0, 1, 2, 3, 0):
        assert color(fetched(one, UnitImagesWish("conv", unit)).synthesized[0]) == COLORS[unit]
        assert 0 < one._cache.currsize <= module.CACHE
    one.close()


def test_no_thread_before_a_wish_and_none_after(tmp_path: Path) -> None:
    before = threading.active_count()
    one = UnitImagesWorker(lambda: filled(tmp_path))
    assert threading.active_count() == before
    fetched(one, UnitImagesWish("conv", 0))
    one.close()
    assert threading.active_count() == before


def test_an_opened_store_says_what_is_in_it(worker: UnitImagesWorker) -> None:
    assert worker.records is None
    fetched(worker, UnitImagesWish("conv", 2))
    assert worker.records is not None and ("conv", 7) in worker.records and ("conv", 5) not in worker.records


def test_after_a_unit_was_kept_only_its_images_are_read_again(
    worker: UnitImagesWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish, read = UnitImagesWish("conv", 2, (0, 1, 2, 3), 16), []
    fetched(worker, wish)
    original = Store.read
    monkeypatch.setattr(Store, "read", lambda store, layer, unit: read.append(unit) or original(store, layer, unit))
    store = open_store(tmp_path, "abc", "net")
    store.add("conv", 1, np.zeros((1, 40, 40, 3), np.uint8), {"scores": [3.0]}, "test")
    worker.renew()
    until(lambda: worker.idle and worker.answer is not None and set(worker.answer.cells) == {0, 1, 2, 3})
    assert color(worker.answer.cells[1]) == (0, 0, 0) and set(read) == {1}
