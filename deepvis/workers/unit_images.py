"""The stored images of units, read in a thread of its own, so that no key waits for the disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

import numpy as np
from cachetools import LRUCache

from deepvis.core.caches import byte_cache, keep
from deepvis.core.errors import words
from deepvis.core.geometry import resize, with_side
from deepvis.store.unit_images import Key
from deepvis.workers.messages import UnitImagesWish, UnitPictures
from deepvis.workers.worker import Task, Worker

CACHE = 48 << 20  # bytes of decoded images that are kept
PUBLISH = 0.05  # seconds between two updates while a layer's images are being read


class StoredImages(Protocol):
    """A source of stored images: a `Store`, or the original toolbox's JPEG folders."""

    @property
    def records(self) -> Mapping[Key, Mapping[str, Any]]: ...

    def read(self, layer: str, unit: int) -> list[np.ndarray]: ...


class UnitImagesWorker(Worker[UnitImagesWish, UnitPictures]):
    """Provides the stored images of the selected unit, and those for the layer pane.

    `renew` opens the store again.
    """

    def __init__(self, open_store: Callable[[], StoredImages]) -> None:
        """
        Args:
            open_store: called in the thread; if it raises UserError, the message becomes the answer's note.
        """
        super().__init__()
        self._open_store = open_store
        self._store: StoredImages | None = None
        self._note = ""  # says why there is no store
        self._records: Mapping[Key, Mapping[str, Any]] | None = None
        self._opened = -1  # the generation in which the store was opened
        self._cache: LRUCache[tuple[str, int, int], list[np.ndarray]] = byte_cache(CACHE, _size)

    @property
    def records(self) -> Mapping[Key, Mapping[str, Any]] | None:
        """{(layer, unit): how its images were made}; None until the store has been opened, or if it cannot be."""
        with self._changed:
            return self._records if self._opened == self._generation else None

    def serves(self, answered: UnitImagesWish, wish: UnitImagesWish) -> bool:
        return answered.layer == wish.layer

    def failed(self, wish: UnitImagesWish, why: str) -> UnitPictures:
        return UnitPictures(wish.layer, wish.unit, note=why)

    def work(self, task: Task[UnitImagesWish]) -> Generator[UnitPictures | None, None, None]:
        """Read the selected unit's images first, then those of the cells, and yield them as they come."""
        self._open(task.generation)
        store, wish = self._store, task.wish
        if store is None:
            yield self.failed(wish, self._note)
            return
        record = store.records.get((wish.layer, wish.unit), {})
        mine = tuple(self._read(store, wish.layer, wish.unit, 0))
        is_dead = bool(record.get("failed"))
        note = str(record["failed"]) if is_dead else getattr(store, "note", "")
        known = any(layer == wish.layer for layer, _ in store.records)
        cells: dict[int, np.ndarray] = {}
        shown = 0.0
        for unit in wish.cells:
            with contextlib.suppress(Exception):  # a bad record leaves only its own cell empty
                cells[unit] = self._read(store, wish.layer, unit, wish.side)[0]
            is_due = time.monotonic() - shown > PUBLISH
            yield UnitPictures(wish.layer, wish.unit, mine, dict(cells), known, note, is_dead) if is_due else None
            shown = time.monotonic() if is_due else shown
        yield UnitPictures(wish.layer, wish.unit, mine, cells, known, note, is_dead)

    def _open(self, generation: int) -> None:
        if generation == self._opened:
            return
        records: Mapping[Key, Mapping[str, Any]] | None = None
        try:
            self._store, self._note = self._open_store(), ""
            records = self._store.records
        except Exception as error:  # the thread must go on: the store may be repaired
            self._store, self._note = None, words(error)
        before, after = self._records or {}, records or {}
        for key in [key for key in self._cache if before.get(key[:2]) != after.get(key[:2])]:
            del self._cache[key]
        with self._changed:
            self._records, self._opened = records, generation

    def _read(self, store: StoredImages, layer: str, unit: int, side: int) -> list[np.ndarray]:
        """All images of a unit or, if `side` is given, only the best one, resized to this longer side."""
        key = (layer, unit, side)
        if key in self._cache:
            return self._cache[key]
        found = store.read(layer, unit)
        if side and found:
            height, width = found[0].shape[:2]
            found = [resize(found[0], *with_side(width, height, side))]
        return keep(self._cache, key, found)


def _size(images: list[np.ndarray]) -> int:
    return sum(image.nbytes for image in images)
