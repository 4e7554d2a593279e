"""What the layer pane shows of an index: each unit's top image, or the statistics of the layer."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from deepvis.core.errors import UserError, words
from deepvis.inputs.bands import as_colours
from deepvis.inputs.datasets import Images
from deepvis.scan.index import Index
from deepvis.scan.patches import as_cell, cut_out, field_box, places
from deepvis.scan.results import Statistics
from deepvis.scan.statistics import by_similarity, layer_statistics
from deepvis.workers.messages import Cells
from deepvis.workers.worker import Background

CACHE = 32 << 20  # bytes of patches that are kept
PUBLISH = 0.05  # seconds between two showings while patches are coming in
STATISTICS = 4  # layers whose statistics are kept
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Wish:
    """What is shown of the index.

    Attributes:
        layer: whose statistics; empty for none.
        is_sorted: with the order of the units by similarity.
        pictures_of: whose units' top images.
        units: which of them; empty for none.
        side: longer side of these, in pixels.
    """

    layer: str = ""
    is_sorted: bool = False
    pictures_of: str = ""
    units: tuple[int, ...] = ()
    side: int = 0


class Overview(Background):
    """Hands out what the newest wish asks for, in a thread of its own: no key waits for a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._wish: tuple[Index | None, str, Wish] | None = None
        self._done: tuple[Index | None, str, Wish] | None = None  # of which all is there
        self._cells: tuple[Index | None, Cells] | None = None
        self._statistics: tuple[Index | None, Statistics] | None = None
        self._kept: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
        self._size = 0
        self._known: OrderedDict[str, Statistics] = OrderedDict()
        self._index: Index | None = None

    @property
    def cells(self) -> Cells | None:
        """The newest top images of the index that was named last; perhaps of an older wish."""
        return self._of_this_index(self._cells)

    @property
    def statistics(self) -> Statistics | None:
        """The newest of the index that was named last; perhaps of an older wish."""
        return self._of_this_index(self._statistics)

    def _of_this_index(self, made: tuple[Index | None, Answer] | None) -> Answer | None:
        asked = self._wish
        return made[1] if made is not None and asked is not None and made[0] is asked[0] else None

    @property
    def idle(self) -> bool:
        """All that the newest wish asks for is there."""
        return self._wish == self._done

    def want(self, index: Index | None, note: str, wish: Wish) -> None:
        """Ask; never blocks.

        Args:
            note: why there is no index, in words; empty while it is not open yet.
        """
        with self._changed:
            if (index, note, wish) == self._wish:
                return
            self._wish = index, note, wish
            self._changed.notify()
            self._begin(self._work)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._wish != self._done)
                if self._stopping:
                    return
                asked, self._done = self._wish, None
            index, note, wish = asked
            if index is not self._index:
                self._index, self._size = index, 0
                self._kept.clear()
                self._known.clear()
            is_done = True
            try:
                if index is None and not note:
                    self._cells = self._statistics = None
                else:
                    is_done = self._look_up(asked)
            except Exception as error:  # the thread must outlive whatever a photo or an index holds
                self._cells = index, Cells(wish.pictures_of, note=words(error))
                self._statistics = index, Statistics(wish.layer, note=words(error))
            self._done = (
                asked if is_done else None
            )  # what was left for a newer wish is begun again if it is wanted again

    def _look_up(self, asked: tuple[Index | None, str, Wish]) -> bool:
        """Publish all that is asked for; False if a newer wish came in between."""
        index, note, wish = asked
        if wish.layer:
            self._statistics = index, self._statistics_of(index, wish) if index else Statistics(wish.layer, note=note)
        return self._cut(asked) if wish.units else True

    def _statistics_of(self, index: Index, wish: Wish) -> Statistics:
        known = self._known.pop(wish.layer, None) or layer_statistics(index, wish.layer)
        if wish.is_sorted and known.correlation is not None and known.order is None:
            known = replace(known, order=by_similarity(known.correlation))
        self._known[wish.layer] = known
        if len(self._known) > STATISTICS:
            self._known.popitem(last=False)
        return known

    def _cut(self, asked: tuple[Index | None, str, Wish]) -> bool:
        """Each unit's best patch, photo by photo, shown as they come in; False if a newer wish came in between."""
        index, note, wish = asked
        layer, side = wish.pictures_of, wish.side
        if index is None:
            self._cells = index, Cells(layer, note=note)
            return True
        cells = {unit: self._kept[layer, unit, side] for unit in wish.units if (layer, unit, side) in self._kept}
        whole = int(index.settings["width"]), int(index.settings["height"])
        images = Images(Path(index.root), tuple(index.files), reading=index.reading)
        by_photo: dict[int, list[tuple[int, int, int]]] = {}
        dead = set()
        for unit in wish.units:
            image, row, column, value = next(iter(places(index, layer, unit)), (-1, 0, 0, 0.0))
            if value == 0:  # an answer of exactly 0 is none
                dead.add(unit)
            elif unit not in cells:
                by_photo.setdefault(image, []).append((unit, row, column))
        missing, shown = "", 0.0
        for image, units in by_photo.items():
            try:
                photo = as_colours(
                    images.read(image, (2 * whole[0], 2 * whole[1]), whole[0] / whole[1]), index.shown_bands
                )
            except UserError as error:
                missing = str(error)
                continue
            for unit, row, column in units:
                box = field_box(index.receptive_fields.get(layer), row, column, whole)
                cells[unit] = self._keep((layer, unit, side), as_cell(cut_out(photo, box, whole), box, side))
            if time.monotonic() - shown > PUBLISH:
                self._cells, shown = (index, Cells(layer, dict(cells), frozenset(dead))), time.monotonic()
            if self._stopping or self._wish != asked:
                return False
        self._cells = index, Cells(layer, cells, frozenset(dead), "" if cells else missing)
        return True

    def _keep(self, key: tuple[str, int, int], patch: np.ndarray) -> np.ndarray:
        self._kept[key] = patch
        self._size += patch.nbytes
        while self._size > CACHE and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].nbytes
        return patch
