"""What an input has to show: the newest frame, where it comes from, a message, and whether the user waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from deepvis.core.frames import Frame
from deepvis.inputs.bands import colours, is_bands

BUSY_S = 0.2
"""Work that is done sooner is not reported as `busy`."""

Source = Literal["camera", "files", "photo"]


@dataclass(frozen=True)
class Notice:
    """A message for the status bar. `number` counts the notices of a feed from 1."""

    text: str
    number: int
    is_error: bool


class Output:
    """Written by the feed's thread, read by any.

    Attributes:
        changed: guards what several threads write or wait for, and wakes those that wait. Never held during work.
        frame: the newest one; None as long as there has been none.
        source: what is really shown: "camera" only from its first frame until it is left or lost.
        notice: the newest message.
        busy_since: since when the user has been waiting; None: there is nothing to wait for.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.changed = threading.Condition()
        self.frame: Frame | None = None
        self.source: Source = "files"
        self.notice: Notice | None = None
        self.busy_since: float | None = None
        self._clock = clock
        self._shown_bands: tuple[int, ...] = (0, 1, 2)

    @property
    def busy(self) -> bool:
        """Has the user been waiting for longer than one notices?"""
        since = self.busy_since
        return since is not None and self._clock() - since > BUSY_S

    @contextmanager
    def working(self) -> Iterator[None]:
        """The user waits for what is done in the block."""
        self.busy_since = self._clock()
        try:
            yield
        finally:
            self.busy_since = None

    def say(self, text: str, is_error: bool) -> None:
        """Make this the newest message."""
        number = 1 if self.notice is None else self.notice.number + 1
        self.notice = Notice(text, number, is_error)

    def publish(
        self, image: np.ndarray, name: str, source: Source, live: bool, path: Path | str = "", seconds: float = 0.0
    ) -> None:
        """Make this the newest frame. `image`: uint8 RGB, or H×W×C of other bands; the rest as in `Frame`."""
        with self.changed:
            index = 0 if self.frame is None else self.frame.index + 1
            self.frame = self._coloured(Frame(image, name, index, live, str(path), seconds), image)
            self.source = source
            self.busy_since = None
            self.changed.notify_all()

    def show_bands(self, shown: Sequence[int]) -> None:
        """Which bands are shown as red, green and blue of a picture of more than three."""
        with self.changed:
            if tuple(shown) == self._shown_bands:
                return
            self._shown_bands, old = tuple(shown), self.frame
            if old is not None and old.bands is not None:
                self.frame = self._coloured(replace(old, index=old.index + 1), old.bands)
                self.changed.notify_all()

    def _coloured(self, frame: Frame, pixels: np.ndarray) -> Frame:
        """The frame with what the screen can show of these pixels for its image."""
        if not is_bands(pixels):
            return frame
        return replace(frame, image=colours(pixels, self._shown_bands), bands=pixels)
