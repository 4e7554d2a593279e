"""Moments: the frames of a camera, video or folder with the largest activation of each unit.

Without torch. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from deepvis.attribution.requests import Peaks
from deepvis.core.files import folder_name, write_whole, writing
from deepvis.core.frames import Frame
from deepvis.core.geometry import cut, resize
from deepvis.core.layers import Layer
from deepvis.scan.index import BINS, INDEX, Index, Ranked, Span, joined
from deepvis.scan.index_file import load, save
from deepvis.scan.merging import best

TIDY = 64  # frames between two removals of those that no ranking needs any more


@dataclass(frozen=True)
class _Moment:
    name: str
    source: str
    seconds: float
    jpeg: bytes


class LiveTop:
    """The k strongest moments of each unit, in a limited amount of memory.

    A frame is kept as a JPEG of what the network saw, for as long as some unit's ranking needs it. Frames of the same
    file or camera that are less than `gap` apart count as one moment, of which a unit keeps the strongest frame. So a
    photo is one moment however often it is shown, and so is a scene of a video that plays in a loop. If more than
    `most` frames would have to be kept, those that the fewest rankings need are dropped, also from these rankings.
    """

    def __init__(
        self, layers: Sequence[Layer], size: tuple[int, int], k: int = 9, gap: float = 1.0, most: int = 2000
    ) -> None:
        """
        Args:
            layers: of the network.
            size: width and height of the network's input.
            k: number of moments for each unit.
            gap: time between two moments, in seconds.
            most: number of frames to keep; a frame of 448×448 pixels takes about 70 kB.
        """
        starts = np.cumsum([0, *(layer.units for layer in layers)])
        self.spans = tuple(Span(a.name, int(s), a.units, a.height, a.width) for a, s in zip(layers, starts))
        self._by_name = {span.name: span for span in self.spans}
        self._width = np.concatenate([np.full(span.units, span.width, np.int32) for span in self.spans])
        units = int(starts[-1])
        self._top = Ranked(
            np.full((units, k), -1, np.int32), np.zeros((units, k), np.int16), np.zeros((units, k), np.int16),
            np.full((units, k), -np.inf, np.float32),
        )  # fmt: skip
        self._moments: dict[int, _Moment] = {}
        self._size, self._gap, self._most = size, gap, most
        self._count = 0

    def __len__(self) -> int:
        """How many frames are kept."""
        return len(self._moments)

    def update(self, frame: Frame, crop: bool, peaks: Peaks) -> int:
        """Add a frame.

        Args:
            crop: whether the network saw the centre of the frame (true) or the whole frame, stretched (false).
            peaks: the peaks of all layers; NaN is never among the strongest.
        Returns:
            The number of units for which the frame is now among the strongest moments.
        """
        number = self._count
        self._count += 1
        entered = self._enter(peaks, number, self._same_moment(frame))
        if entered:
            done, data = cv2.imencode(".jpg", self._seen(frame.image, crop)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            self._moments[number] = _Moment(frame.name, frame.source, frame.seconds, data.tobytes() if done else b"")
        if self._count % TIDY == 0 or len(self._moments) > self._most + self._most // 10:
            self._tidy()
        return entered

    def _seen(self, image: np.ndarray, crop: bool) -> np.ndarray:
        """What the network saw, at up to twice its resolution, so that small patches are sharp."""
        width, height = self._size
        seen = cut(image, width / height, crop)
        factor = max(1.0, min(2.0, seen.shape[1] / width, seen.shape[0] / height))
        return resize(seen, round(width * factor), round(height * factor))

    def _same_moment(self, frame: Frame) -> list[int]:
        """The kept frames that show the same moment."""
        return [
            number
            for number, kept in self._moments.items()
            if kept.source == frame.source and abs(kept.seconds - frame.seconds) < self._gap
        ]

    def _enter(self, peaks: Peaks, number: int, same: Sequence[int]) -> int:
        top = self._top
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero((peaks.value > top.value[:, -1]) & (peaks.value != 0))  # 0 is no response
        close = np.isin(top.image[rows], same)
        keep = ~np.any(close & (top.value[rows] >= peaks.value[rows, None]), axis=1)
        rows, close = rows[keep], close[keep]
        if not len(rows):
            return 0
        kept = np.where(close, -np.inf, top.value[rows])
        order = np.argsort(-np.concatenate([kept, peaks.value[rows, None]], 1), axis=1, kind="stable")[
            :, : kept.shape[1]
        ]
        row, column = np.divmod(peaks.cell[rows], self._width[rows])
        news = {
            "value": (kept, peaks.value[rows]),
            "image": (np.where(close, -1, top.image[rows]), np.full(len(rows), number)),
            "row": (top.row[rows], row),
            "column": (top.column[rows], column),
        }
        for field, (old, new) in news.items():
            getattr(top, field)[rows] = np.take_along_axis(np.concatenate([old, new[:, None]], 1), order, axis=1)
        return len(rows)

    def _tidy(self) -> None:
        """Drop the frames that no ranking needs and, if too many are left, those that the fewest rankings need."""
        used, needed = np.unique(self._top.image, return_counts=True)
        counts = {int(i): int(n) for i, n in zip(used, needed) if i >= 0}
        stay = sorted(counts, key=lambda i: (counts[i], i), reverse=True)[: self._most]
        self._moments = {i: self._moments[i] for i in sorted(stay) if i in self._moments}
        gone = ~np.isin(self._top.image, list(self._moments))
        self._top.value[gone], self._top.image[gone] = -np.inf, -1
        order = np.argsort(-self._top.value, axis=1, kind="stable")
        for name in ("image", "row", "column", "value"):
            array = getattr(self._top, name)
            array[:] = np.take_along_axis(array, order, axis=1)

    def pixels(self, number: int) -> np.ndarray:
        """What the network saw of a kept frame, uint8 RGB, one to two times its input's size; `number` as in `top`."""
        data = np.frombuffer(self._moments[number].jpeg, np.uint8)
        return cast(np.ndarray, cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))  # never None: `add` has encoded it

    def name(self, number: int) -> str:
        return self._moments[number].name

    def top(self, layer: str) -> Ranked:
        """A copy of a layer's rankings, in which the images are numbers of frames."""
        rows = self._top[self._by_name[layer].rows]
        return Ranked(rows.image.copy(), rows.row.copy(), rows.column.copy(), rows.value.copy())

    def index(self, folder: Path, model: str, fingerprint: str) -> Index:
        """The moments as an index, without statistics, of the files that `save` writes into this folder."""
        self._tidy()
        numbers = sorted(self._moments)
        place = np.full(self._count + 1, -1, np.int32)
        place[numbers] = np.arange(len(numbers))
        units = len(self._top.value)
        top = Ranked(place[self._top.image], *(getattr(self._top, f).copy() for f in ("row", "column", "value")))
        none = Ranked(
            np.full_like(top.image, -1), np.zeros_like(top.row), np.zeros_like(top.row), np.full_like(top.value, np.inf)
        )
        return Index(
            model=model, fingerprint=fingerprint, root=str(folder), files=tuple(f"{i:08d}.jpg" for i in numbers),
            scanned=((0, len(numbers)),), broken={}, spans=self.spans, top=top, bottom=none,
            histogram=np.zeros((units, BINS), np.int64), count=self._count, active=np.zeros(units, np.int64),
            mean=np.zeros(units), variance=np.zeros(units), settings={"width": self._size[0], "height": self._size[1],
                                                                     "names": [self._moments[i].name for i in numbers]},
        )  # fmt: skip

    def save(self, folder: Path, model: str, fingerprint: str) -> Index:
        """Write the frames and their index into a new folder, and return the index.

        Raises:
            UserError: the files cannot be written.
        """
        index = self.index(folder, model, fingerprint)
        with writing(folder):
            for name, number in zip(index.files, sorted(self._moments)):
                write_whole(folder / name, self._moments[number].jpeg)
        save(index, folder / INDEX)
        return index


def together(index: Index, live: Index) -> Index:
    """Merge the rankings of a data set and of kept moments; the statistics stay those of the data set.

    The moments' files are added after the data set's files, with their full paths.

    Raises:
        UserError: the two are of different networks.
    """
    index.check(live.fingerprint, live.model)
    parts = []
    for span in index.spans:
        ours = index.top[span.rows]
        theirs = next((live.top[other.rows] for other in live.spans if other.name == span.name), None)
        if theirs is not None:
            image = np.where(theirs.image >= 0, theirs.image + len(index.files), -1).astype(np.int32)
            ours = best([ours, replace(theirs, image=image)], index.k)
        parts.append(ours)
    top = Ranked(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("image", "row", "column", "value")))
    files = (*index.files, *(str(Path(live.root, name).absolute()) for name in live.files))
    return replace(index, files=files, scanned=joined((*index.scanned, (len(index.files), len(files)))), top=top)


def live_folder(root: Path, model: str) -> Path:
    """The folder that holds a model's kept collections of moments, each in a sub-folder."""
    return root / folder_name(model) / "live"


def with_moments(index: Index, folders: Sequence[Path]) -> tuple[Index, int]:
    """Add kept moments to the top images of a data set's index.

    Args:
        folders: folders of collections; those that are in the index already are skipped.
    Returns:
        The index, and the number of collections that were added.
    Raises:
        UserError: a collection cannot be read, or is of another network.
    """
    known, added = set(index.files), 0
    for folder in folders:
        live = load(folder / INDEX)
        if known.isdisjoint(str(Path(live.root, name).absolute()) for name in live.files):
            index, added = together(index, live), added + 1
    return index, added
