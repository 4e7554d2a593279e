"""The strongest moments of the live picture, for all units of all layers, collected in a thread of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepvis.attribution.requests import Peaks, Result
from deepvis.core.errors import words
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.core.runtime import be_patient
from deepvis.scan.index import Ranked
from deepvis.scan.moments import LiveTop
from deepvis.scan.patches import as_cell, cut_out, field_box
from deepvis.scan.results import Patch
from deepvis.workers.messages import Cells, TopPictures
from deepvis.workers.worker import Background

WAITING = 8  # results that may wait for the thread; of more, the oldest are left out
PUBLISH = 0.25  # seconds between two showings of what has been collected
NONE_YET = "No moment of this unit yet. Collecting goes on while the camera or a video runs, or e walks through files."


@dataclass(frozen=True)
class _Save:
    folder: Path
    model: str
    fingerprint: str
    say: Callable[[str, bool], None]


_Seen = tuple[Frame, bool, Peaks]  # a picture, whether its middle was cut out, and what the network answered


@dataclass(frozen=True)
class Wish:
    """Whose moments are shown.

    Attributes:
        layer, unit: the selected unit.
        field: the layer's receptive field; None: a moment is shown whole.
        units: of the layer, whose strongest moment is shown in the layer pane; empty if none is.
        side: longer side of these, in pixels.
    """

    layer: str
    unit: int
    field: ReceptiveField | None = None
    units: tuple[int, ...] = ()
    side: int = 0


class Collector(Background):
    """One collection at a time; it ends with `forget`. No method but `close` waits."""

    def __init__(self) -> None:
        super().__init__()
        self._collection = 0  # the number of the one that goes on
        self._waiting: deque[tuple[int, _Seen | _Save]] = deque()  # what to do in which collection, in order
        self._layers: Sequence[Layer] = ()
        self._size = (0, 0)
        self._live: LiveTop | None = None
        self._of = 0  # the collection that all below is of
        self._of_bands = False
        self._wish: Wish | None = None
        self._done: Wish | None = None
        self._count = 0
        self._tops: TopPictures | None = None
        self._cells: Cells | None = None
        self._cut: dict[int, tuple[tuple[int, int, int], np.ndarray]] = {}  # {unit: (frame and place, patch)}
        self._cut_of: tuple = ()

    @property
    def count(self) -> int:
        """How many moments are kept."""
        return self._count

    @property
    def tops(self) -> TopPictures | None:
        """The newest; perhaps of an older wish."""
        return self._tops

    @property
    def cells(self) -> Cells | None:
        """The newest; perhaps of an older wish."""
        return self._cells

    def take(self, result: Result, layers: Sequence[Layer], size: tuple[int, int]) -> None:
        """Take in a result with peaks.

        Args:
            layers: of the network.
            size: width and height of the network's input.
        """
        with self._changed:
            self._layers, self._size = layers, size
            frames = [one for one in self._waiting if not isinstance(one[1], _Save)]
            if len(frames) >= WAITING:
                self._waiting.remove(frames[0])
            self._waiting.append((self._collection, (result.request.frame, result.request.crop, result.peaks)))
            self._wake()

    def want(self, wish: Wish) -> None:
        """Say whose moments are shown."""
        with self._changed:
            if wish != self._wish:
                self._wish = wish
                self._wake()

    def forget(self) -> None:
        """End the collection, of which nothing is shown from now on; the next result begins another. What was asked to be
        saved before is saved."""
        with self._changed:
            self._collection += 1
            self._wish = self._done = self._tops = self._cells = None
            self._count = 0
            self._wake()

    def save(self, folder: Path, model: str, fingerprint: str, say: Callable[[str, bool], None]) -> None:
        """Write the moments and their index into a folder; `say(words, is_error)` is told, in the thread."""
        with self._changed:
            self._waiting.append((self._collection, _Save(folder, model, fingerprint, say)))
            self._wake()

    # ---- the thread --------------------------------------------------------------------------

    def _wake(self) -> None:
        self._changed.notify()
        self._begin(self._work)

    def _work(self) -> None:
        be_patient()
        shown, is_stale = 0.0, False
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, PUBLISH if is_stale else None)
                if self._stopping and not any(isinstance(task, _Save) for _, task in self._waiting):
                    return
                tasks, wish, now_of = list(self._waiting), self._wish, self._collection
                self._waiting.clear()
            tops = cells = failure = None
            for of, task in [*tasks, (now_of, None)]:
                is_stale = self._turn_to(of) and is_stale
                try:
                    is_stale |= self._do(task)
                except (
                    Exception
                ) as error:  # the other frames, and what is to be saved, must outlive whatever a frame holds
                    failure = error
            try:
                if failure:
                    raise failure
                now = time.monotonic()
                if wish is not None and (wish != self._done or is_stale and now - shown >= PUBLISH):
                    tops, cells = self._pictures(wish)
                    shown, is_stale = now, False
            except Exception as error:
                tops, is_stale = wish and TopPictures(wish.layer, wish.unit, note=words(error)), False
            self._publish(wish, tops, cells)

    def _has_work(self) -> bool:
        return bool(self._stopping or self._waiting or self._of != self._collection or self._wish != self._done)

    def _turn_to(self, collection: int) -> bool:
        """Whether it is the one that goes on; else nothing is left of the one before."""
        if collection == self._of:
            return True
        self._of, self._live, self._of_bands, self._cut, self._cut_of = collection, None, False, {}, ()
        return False

    def _do(self, task: _Seen | _Save | None) -> bool:
        """Whether some ranking has changed."""
        if isinstance(task, _Save):
            self._save(task)
        if task is None or isinstance(task, _Save):
            return False
        if self._live is None:
            self._live = LiveTop(self._layers, self._size)
        self._of_bands |= task[0].bands is not None
        return self._live.update(*task) > 0

    def _publish(self, wish: Wish | None, tops: TopPictures | None, cells: Cells | None) -> None:
        """Show it, unless the collection has been ended meanwhile."""
        with self._changed:
            if self._of != self._collection:
                return
            self._count = len(self._live) if self._live else 0
            self._tops, self._cells, self._done = tops or self._tops, cells or self._cells, wish

    def _save(self, save: _Save) -> None:
        if self._live is None:
            save.say("no moments to keep yet", False)
            return
        try:
            index = self._live.save(save.folder, save.model, save.fingerprint)
            save.say(
                f"kept {len(index.files):,} moments in {save.folder}: deepvis merge adds them to the top images", False
            )
        except Exception as error:
            save.say(words(error), True)

    def _pictures(self, wish: Wish) -> tuple[TopPictures, Cells]:
        """The selected unit's moments, and the strongest one of each unit of the layer pane."""
        if self._live is None:
            return TopPictures(wish.layer, wish.unit, note=NONE_YET), Cells(wish.layer, note=NONE_YET)
        top = self._live.top(wish.layer)
        pictures: dict[int, np.ndarray] = {}  # frames that have been decoded
        of = (wish.layer, wish.field, wish.side)
        old, self._cut = (self._cut if of == self._cut_of else {}), {}
        self._cut_of = of
        patches = [
            self._patch(top, wish, wish.unit, place, pictures) for place in np.flatnonzero(top.image[wish.unit] >= 0)
        ]
        for unit in wish.units:
            mark = (int(top.image[unit, 0]), int(top.row[unit, 0]), int(top.column[unit, 0]))
            if mark[0] >= 0:
                kept = old.get(unit)
                self._cut[unit] = kept if kept and kept[0] == mark else (mark, self._cell(top, wish, unit, pictures))
        # A JPEG keeps three bands: where there were more, it is not what the network saw.
        seen = () if self._of_bands else tuple(pictures[patch.image] for patch in patches)
        tops = TopPictures(wish.layer, wish.unit, "", tuple(patches), note="" if patches else NONE_YET, seen=seen)
        return tops, Cells(wish.layer, {unit: pixels for unit, (_, pixels) in self._cut.items()})

    def _cell(self, top: Ranked, wish: Wish, unit: int, pictures: dict[int, np.ndarray]) -> np.ndarray:
        patch = self._patch(top, wish, unit, 0, pictures)
        return as_cell(patch.pixels, patch.box, wish.side)

    def _patch(self, top: Ranked, wish: Wish, unit: int, place: int, pictures: dict[int, np.ndarray]) -> Patch:
        """What the unit saw at one of its moments."""
        number, row, column = int(top.image[unit, place]), int(top.row[unit, place]), int(top.column[unit, place])
        if number not in pictures:
            pictures[number] = self._live.pixels(number)
        box = field_box(wish.field, row, column, self._size)
        pixels = np.ascontiguousarray(cut_out(pictures[number], box, self._size))
        return Patch(number, self._live.name(number), row, column, float(top.value[unit, place]), box, pixels)
