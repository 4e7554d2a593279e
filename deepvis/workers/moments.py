"""Collecting moments: the frames of the input to which each unit of each layer responds most."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepvis.attribution.requests import Peaks, Result
from deepvis.core.errors import words
from deepvis.core.frames import Frame
from deepvis.core.geometry import Box
from deepvis.core.layers import Layer
from deepvis.scan.index import Ranked
from deepvis.scan.moments import LiveTop
from deepvis.scan.patches import as_cell, cut_out, field_box
from deepvis.scan.results import Patch
from deepvis.workers.messages import Cells, Moments, MomentsWish, TopPictures
from deepvis.workers.worker import Task, Worker

WAITING = 8  # results that may wait for the thread; if there are more, the oldest are dropped
PUBLISH = 0.25  # seconds between two updates of what is shown
NONE_YET = "No moments of this unit yet. They come while the camera or a video runs, or as you go through files with e."


@dataclass(frozen=True)
class _Save:
    """A task: write the collection into a folder."""

    folder: Path
    model: str
    fingerprint: str
    say: Callable[[str, bool], None]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A task: add a frame with its units' largest activations."""

    frame: Frame
    crop: bool  # whether the frame was cropped
    peaks: Peaks
    layers: Sequence[Layer]
    size: tuple[int, int]  # width and height of the network's input


class MomentsWorker(Worker[MomentsWish, Moments]):
    """Collects moments. There is one collection at a time; `forget` ends it. No method but `close` waits."""

    has_low_priority = True

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[int, _Seen | _Save]] = deque()  # (generation, task), in order
        self._collection: _Collection | None = None
        self._collected = 0  # the generation that the collection belongs to
        self._count = 0
        self._is_stale = False  # a ranking has changed since it was handed out
        self._shown = 0.0
        self._failure: Exception | None = None  # the error for a frame that could not be added

    @property
    def count(self) -> int:
        """How many moments are kept."""
        return self._count

    @property
    def top(self) -> TopPictures | None:
        """The newest moments of the selected unit; they may be of another unit of the layer, selected before."""
        answer = self.answer
        return answer.top if answer is not None else None

    @property
    def cells(self) -> Cells | None:
        """The newest strongest moment of each unit of the layer."""
        answer = self.answer
        return answer.cells if answer is not None else None

    def take(self, result: Result, layers: Sequence[Layer], size: tuple[int, int]) -> None:
        """Add a result with peaks to the collection; a result without peaks is ignored.

        Args:
            layers: of the network.
            size: width and height of the network's input.
        """
        if result.peaks is None:
            return
        seen = _Seen(result.request.frame, result.request.crop, result.peaks, layers, size)
        with self._changed:
            frames = [one for one in self._waiting if isinstance(one[1], _Seen)]
            if len(frames) >= WAITING:
                self._waiting.remove(frames[0])
            self._do_next(seen)

    def save(self, folder: Path, model: str, fingerprint: str, say: Callable[[str, bool], None]) -> None:
        """Write the moments and their index into a folder; the thread then calls `say(words, is_error)`."""
        self._do_next(_Save(folder, model, fingerprint, say))

    def forget(self) -> None:
        """End the collection; its moments are no longer shown, and the next result starts a new one.

        A `save` that was asked for before is still carried out.
        """
        with self._changed:
            self._wish = None
            self._count = 0
            self.renew()

    def _do_next(self, what: _Seen | _Save) -> None:
        with self._changed:
            self._waiting.append((self._generation, what))
            self._changed.notify_all()
            if not self._threads:
                self._start(self._run)

    # ---- the thread --------------------------------------------------------------------------

    def is_due(self) -> bool:
        return super().is_due() or bool(self._waiting) or self._collected != self._generation

    def is_over(self) -> bool:
        """Whether the thread may end: not before everything is saved that was asked for."""
        return self._stopping and not any(isinstance(what, _Save) for _, what in self._waiting)

    @property
    def patience(self) -> float | None:
        return PUBLISH if self._is_stale else None

    def look_around(self) -> None:
        """Carry out the waiting tasks; if rankings have changed, answer the request again, but not too often."""
        with self._changed:
            todo, generation = list(self._waiting), self._generation
            self._waiting.clear()
        for of, what in todo:
            self._turn_to(of)
            try:
                self._do(what)
            except Exception as error:  # a bad frame must not stop the other frames and the saving
                self._failure = error
        self._turn_to(generation)
        with self._changed:
            if self._collected != self._generation:
                return
            self._count = len(self._collection.live) if self._collection else 0
            self._failure = self._failure if self._wish is not None else None  # without a request nobody is told
            if self._failure or self._is_stale and time.monotonic() - self._shown >= PUBLISH:
                self._done = None

    def _turn_to(self, generation: int) -> None:
        """Turn to the collection of a generation; drop everything of one that has ended."""
        if generation != self._collected:
            self._collected, self._collection = generation, None
            self._is_stale, self._failure = False, None

    def _do(self, what: _Seen | _Save) -> None:
        if isinstance(what, _Save):
            _save(self._collection, what)
            return
        if self._collection is None:
            self._collection = _Collection(LiveTop(what.layers, what.size), what.size)
        self._collection.has_bands |= what.frame.bands is not None
        self._is_stale |= self._collection.live.update(what.frame, what.crop, what.peaks) > 0

    def serves(self, answered: MomentsWish, wish: MomentsWish) -> bool:
        return answered.layer == wish.layer

    def failed(self, wish: MomentsWish, why: str) -> Moments:
        return Moments(TopPictures(wish.layer, wish.unit, note=why), self.cells or Cells(wish.layer))

    def work(self, task: Task[MomentsWish]) -> Generator[Moments, None, None]:
        failure, self._failure = self._failure, None
        self._shown, self._is_stale = time.monotonic(), False
        if failure is not None:
            raise failure
        wish = task.wish
        if self._collection is not None:
            yield self._collection.moments(wish)
        else:
            yield Moments(TopPictures(wish.layer, wish.unit, note=NONE_YET), Cells(wish.layer, note=NONE_YET))


def _save(collection: _Collection | None, save: _Save) -> None:
    if collection is None:
        save.say("no moments to keep yet", False)
        return
    try:
        index = collection.live.save(save.folder, save.model, save.fingerprint)
        count = len(index.files)
        what = f"{count:,} moment{'' if count == 1 else 's'}"
        said = f"kept {what} in {save.folder}: deepvis merge adds them to the top images"
        save.say(said, False)
    except Exception as error:
        save.say(words(error), True)


class _Collection:
    """A collection, and the patches cut from it. Used by the worker's thread only."""

    def __init__(self, live: LiveTop, size: tuple[int, int]) -> None:
        self.live = live
        self.has_bands = False  # some frame had more than three bands
        self._size = size
        self._cut: dict[int, tuple[tuple[int, int, int], np.ndarray]] = {}  # {unit: (frame and place, patch)}
        self._cut_for: tuple[object, ...] = ()

    def moments(self, wish: MomentsWish) -> Moments:
        """The selected unit's moments, and the strongest one of each unit of the layer pane."""
        top = self.live.top(wish.layer)
        pictures: dict[int, np.ndarray] = {}  # frames that have been decoded
        there = np.flatnonzero(top.image[wish.unit] >= 0)
        patches = [self._patch(top, wish, wish.unit, int(place), pictures) for place in there]
        self._cut_cells(top, wish, pictures)
        # Moments are kept as JPEGs of three bands: if there were more, they are not what the network saw.
        seen = () if self.has_bands else tuple(pictures[patch.image] for patch in patches)
        shown = TopPictures(wish.layer, wish.unit, "", tuple(patches), note="" if patches else NONE_YET, seen=seen)
        return Moments(shown, Cells(wish.layer, {unit: pixels for unit, (_, pixels) in self._cut.items()}))

    def _cut_cells(self, top: Ranked, wish: MomentsWish, pictures: dict[int, np.ndarray]) -> None:
        """Cut the patches for the layer pane; those whose moment has not changed are not cut again."""
        cut_for = (wish.layer, wish.field, wish.side)
        old = self._cut if cut_for == self._cut_for else {}
        self._cut, self._cut_for = {}, cut_for
        for unit in wish.units:
            mark = (int(top.image[unit, 0]), int(top.row[unit, 0]), int(top.column[unit, 0]))
            if mark[0] >= 0:
                kept = old.get(unit)
                self._cut[unit] = kept if kept and kept[0] == mark else (mark, self._cell(top, wish, unit, pictures))

    def _cell(self, top: Ranked, wish: MomentsWish, unit: int, pictures: dict[int, np.ndarray]) -> np.ndarray:
        pixels, box = self._pixels(top, wish, unit, 0, pictures)
        return as_cell(pixels, box, wish.side)

    def _patch(self, top: Ranked, wish: MomentsWish, unit: int, place: int, pictures: dict[int, np.ndarray]) -> Patch:
        """The patch of one of the unit's moments."""
        number, row, column = int(top.image[unit, place]), int(top.row[unit, place]), int(top.column[unit, place])
        pixels, box = self._pixels(top, wish, unit, place, pictures)
        return Patch(number, self.live.name(number), row, column, float(top.value[unit, place]), box, pixels)

    def _pixels(
        self, top: Ranked, wish: MomentsWish, unit: int, place: int, pictures: dict[int, np.ndarray]
    ) -> tuple[np.ndarray, Box]:
        number = int(top.image[unit, place])
        if number not in pictures:
            pictures[number] = self.live.pixels(number)
        box = field_box(wish.field, int(top.row[unit, place]), int(top.column[unit, place]), self._size)
        return np.ascontiguousarray(cut_out(pictures[number], box, self._size)), box
