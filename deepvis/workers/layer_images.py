"""What the layer pane shows from an index: each unit's top image, or the layer's histograms and correlation."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cachetools import LRUCache

from deepvis.core.caches import byte_cache, keep
from deepvis.core.errors import UserError
from deepvis.inputs.bands import as_colours
from deepvis.inputs.datasets import Images
from deepvis.scan.index import Index
from deepvis.scan.patches import as_cell, cut_out, field_box, places
from deepvis.scan.results import Statistics
from deepvis.scan.statistics import by_similarity, layer_statistics
from deepvis.workers.messages import Cells, LayerImages, LayerImagesWish
from deepvis.workers.worker import Task, WishOf, Worker

CACHE = 32 << 20  # bytes of patches that are kept
PUBLISH = 0.05  # seconds between two updates while patches are being cut
STATISTICS = 4  # layers whose statistics are kept


@dataclass(frozen=True)
class OpenIndex:
    """A network's index, or a note that says why there is none; neither while it is being opened."""

    index: Index | None = None
    note: str = ""


class LayerImagesWorker(Worker[WishOf[OpenIndex, LayerImagesWish], LayerImages]):
    """Provides what the layer pane shows from an index."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = OpenIndex()  # the index that the attributes below belong to
        self._shown = LayerImages()  # parts that are not requested again stay
        self._patches: LRUCache[tuple[str, int, int], np.ndarray] = byte_cache(CACHE, lambda patch: patch.nbytes)
        self._statistics: LRUCache[str, Statistics] = LRUCache(STATISTICS)

    @property
    def cells(self) -> Cells | None:
        """The top images of the layer requested last, as far as they have been cut."""
        answer = self.answer
        return answer.cells if answer is not None else None

    @property
    def statistics(self) -> Statistics | None:
        """The newest statistics; they may be of the layer requested before."""
        answer = self.answer
        return answer.statistics if answer is not None else None

    def serves(self, answered: WishOf[OpenIndex, LayerImagesWish], wish: WishOf[OpenIndex, LayerImagesWish]) -> bool:
        return answered.source == wish.source and answered.wish.pictures_of == wish.wish.pictures_of

    def failed(self, wish: WishOf[OpenIndex, LayerImagesWish], why: str) -> LayerImages:
        return self._show(Cells(wish.wish.pictures_of, note=why), Statistics(wish.wish.layer, note=why))

    def work(self, task: Task[WishOf[OpenIndex, LayerImagesWish]]) -> Generator[LayerImages | None, None, None]:
        opened, wish = task.wish.source, task.wish.wish
        self._turn_to(opened, wish)
        index = opened.index
        if index is None:
            if opened.note:
                yield self.failed(task.wish, opened.note)
            return
        if wish.layer:
            yield self._show(self._shown.cells, self._statistics_of(index, wish))
        if wish.units:
            for cells in self._cut(index, wish):
                yield None if cells is None else self._show(cells, self._shown.statistics)

    def _turn_to(self, opened: OpenIndex, wish: LayerImagesWish) -> None:
        """Drop everything that belongs to another index, and images of another layer."""
        if opened != self._opened:
            self._opened, self._shown = opened, LayerImages()
            self._patches.clear()
            self._statistics.clear()
        if self._shown.cells is not None and self._shown.cells.layer != wish.pictures_of:
            self._show(None, self._shown.statistics)

    def _show(self, cells: Cells | None, statistics: Statistics | None) -> LayerImages:
        self._shown = LayerImages(cells, statistics)
        return self._shown

    def _statistics_of(self, index: Index, wish: LayerImagesWish) -> Statistics:
        known = self._statistics.get(wish.layer) or layer_statistics(index, wish.layer)
        if wish.is_sorted and known.correlation is not None and known.order is None:
            known = replace(known, order=by_similarity(known.correlation))
        self._statistics[wish.layer] = known
        return known

    def _cut(self, index: Index, wish: LayerImagesWish) -> Generator[Cells | None, None, None]:
        """Cut each unit's top image, photo by photo, and yield them as they come."""
        layer, side = wish.pictures_of, wish.side
        cells = {unit: self._patches[layer, unit, side] for unit in wish.units if (layer, unit, side) in self._patches}
        whole = int(index.settings["width"]), int(index.settings["height"])
        images = Images(Path(index.root), tuple(index.files), reading=index.reading)
        by_photo, dead = _by_photo(index, wish, known=cells)
        missing, shown = "", 0.0
        for image, units in by_photo.items():
            try:
                pixels = images.read(image, (2 * whole[0], 2 * whole[1]), whole[0] / whole[1])
                photo = as_colours(pixels, index.shown_bands)
            except UserError as error:
                missing = str(error)
                continue
            for unit, row, column in units:
                box = field_box(index.receptive_fields.get(layer), row, column, whole)
                patch = as_cell(cut_out(photo, box, whole), box, side)
                cells[unit] = keep(self._patches, (layer, unit, side), patch)
            is_due = time.monotonic() - shown > PUBLISH
            yield Cells(layer, dict(cells), dead) if is_due else None
            shown = time.monotonic() if is_due else shown
        yield Cells(layer, cells, dead, "" if cells else missing)


def _by_photo(
    index: Index, wish: LayerImagesWish, known: dict[int, np.ndarray]
) -> tuple[dict[int, list[tuple[int, int, int]]], frozenset[int]]:
    """The top images still to be cut, {photo: [(unit, row, column)]}, and the dead units."""
    by_photo: dict[int, list[tuple[int, int, int]]] = {}
    dead = set()
    for unit in wish.units:
        image, row, column, value = next(iter(places(index, wish.pictures_of, unit)), (-1, 0, 0, 0.0))
        if value == 0:  # a unit whose largest activation is exactly 0 is dead
            dead.add(unit)
        elif unit not in known:
            by_photo.setdefault(image, []).append((unit, row, column))
    return by_photo, frozenset(dead)
