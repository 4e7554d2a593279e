"""The stored pictures of units, fetched in a thread of its own: no key waits for a disk."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deepvis.core.errors import words
from deepvis.core.geometry import resize, with_side
from deepvis.core.layers import Layer
from deepvis.store.unit_images import Key
from deepvis.workers.messages import UnitPictures
from deepvis.workers.worker import Background

CACHE = 48 << 20  # bytes of decoded pictures that are kept
PUBLISH = 0.05  # seconds between two showings while a layer's pictures are coming in


class Pictures(Protocol):
    """What pictures are read from: a `Store`, or the original toolbox's JPEG folders."""

    @property
    def records(self) -> Mapping[Key, Mapping[str, Any]]: ...

    def read(self, layer: str, unit: int) -> list[np.ndarray]: ...


@dataclass(frozen=True)
class Wish:
    """Which pictures the window shows.

    Attributes:
        layer, unit: the selected unit.
        cells: units whose best picture is shown in the layer pane; empty if none is.
        side: longer side of these, in pixels.
    """

    layer: str
    unit: int
    cells: tuple[int, ...] = ()
    side: int = 0


def stands_for(layers: Sequence[Layer], index: int) -> str:
    """The layer whose pictures stand for a layer's: of a softmax, whose units only compare, what comes before it."""
    layer = layers[index]
    before = layers[index - 1] if index else layer
    return before.name if layer.kind == "Softmax" and before.units == layer.units else layer.name


class Gallery(Background):
    """Hands out the pictures of the newest wish; those of an older one are never shown under its name."""

    def __init__(self, open_store: Callable[[], Pictures]) -> None:
        """
        Args:
            open_store: called in the thread; may raise UserError, which becomes the pictures' note.
        """
        super().__init__()
        self._open_store = open_store
        self._wish: Wish | None = None
        self._again = 0
        self._fetched: tuple[Wish | None, int] = (None, 0)  # of which all pictures are there
        self._cache: OrderedDict[tuple[str, int, int], list[np.ndarray]] = OrderedDict()
        self._size = 0
        self._pictures: UnitPictures | None = None

    @property
    def pictures(self) -> UnitPictures | None:
        """The newest; perhaps of an older wish."""
        return self._pictures

    @property
    def idle(self) -> bool:
        """The pictures are those of the newest wish, all of them."""
        return self._fetched == (self._wish, self._again)

    def want(self, wish: Wish) -> None:
        """Ask for pictures; never blocks."""
        with self._changed:
            if wish != self._wish:
                self._wish = wish
                self._changed.notify()
            self._begin(self._work)

    def refresh(self) -> None:
        """Something has been put into the store."""
        with self._changed:
            self._again += 1
            self._changed.notify()

    def _work(self) -> None:
        store, note, opened = None, "", -1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._wish is not None and not self.idle)
                if self._stopping:
                    return
                wish, again = self._wish, self._again
                self._fetched = None, again
            if again != opened:
                self._forget()
                opened = again
                try:
                    store, note = self._open_store(), ""
                except Exception as error:  # a broken store must not end the pictures of the next one
                    store, note = None, words(error)
            is_done = True
            try:
                is_done = self._fetch(store, wish, again, note)
            except Exception as error:  # a record that says something odd must not end the pictures of the others
                self._pictures = UnitPictures(wish.layer, wish.unit, note=words(error))
            self._fetched = (
                wish if is_done else None,
                again,
            )  # what was left for a newer wish is begun again if it is wanted again

    def _fetch(self, store: Pictures | None, wish: Wish, again: int, note: str) -> bool:
        """Show the selected unit's pictures at once, those of the cells as they come in; False if a newer wish came in between."""
        if store is None:
            self._pictures = UnitPictures(wish.layer, wish.unit, note=note)
            return True
        record = store.records.get((wish.layer, wish.unit), {})
        mine = tuple(self._read(store, wish.layer, wish.unit, 0))
        note = str(record.get("failed", "")) or getattr(store, "note", "")
        known = any(layer == wish.layer for layer, _ in store.records)
        cells: dict[int, np.ndarray] = {}
        shown = 0.0
        for unit in wish.cells:
            with contextlib.suppress(Exception):  # an odd record: this cell alone stays empty
                cells[unit] = self._read(store, wish.layer, unit, wish.side)[0]
            if time.monotonic() - shown > PUBLISH:
                self._pictures = UnitPictures(wish.layer, wish.unit, mine, dict(cells), known, note)
                shown = time.monotonic()
            if self._stopping or (self._wish, self._again) != (wish, again):
                return False
        self._pictures = UnitPictures(wish.layer, wish.unit, mine, cells, known, note)
        return True

    def _read(self, store: Pictures, layer: str, unit: int, side: int) -> list[np.ndarray]:
        """All pictures of a unit; with `side` only the best one, that large."""
        key = (layer, unit, side)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        found = store.read(layer, unit)
        if side and found:
            height, width = found[0].shape[:2]
            found = [resize(found[0], *with_side(width, height, side))]
        self._cache[key] = found
        self._size += sum(image.nbytes for image in found)
        while self._size > CACHE and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._size -= sum(image.nbytes for image in dropped)
        return found

    def _forget(self) -> None:
        self._cache.clear()
        self._size = 0
