"""A file that is shown: a still picture, or a video that plays at its own rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepvis.core.errors import UserError
from deepvis.inputs.camera import OpenCapture
from deepvis.inputs.decode import VIDEO_SUFFIXES, VideoFile

AHEAD_PIXELS = 30_000_000
"""Larger pictures are not decoded in advance: this could delay the next request by more than it saves."""

MAX_DROPPED_S = 0.25
"""A late video skips at most this many seconds at once; if it is later than that, it plays on without catching up."""


@dataclass(frozen=True, eq=False)
class Still:
    """A decoded picture file."""

    image: np.ndarray
    path: Path
    is_live = False
    seconds = 0.0

    @property
    def name(self) -> str:
        return self.path.name


class Player:
    """Plays a video at its own rate, in a loop. It is told the time and never sleeps.

    Attributes:
        image: the current frame, uint8 RGB.
        due: time of the next frame; None while paused, or if there is only one frame.
        damage: a text that says that the video ends too early; set once, else None.
    """

    def __init__(self, path: Path, open_capture: OpenCapture) -> None:
        """Read the first frame. Raises UserError if there is none."""
        self.path = path
        self.due: float | None = None
        self.damage: str | None = None
        self._damage_is_told = False
        self._video = VideoFile(path, open_capture)
        self._period = 1 / self._video.rate
        self.is_live = self._video.expected != 1
        self.image = self._first()

    @property
    def seconds(self) -> float:
        """Time of `image` in the video."""
        return (self._video.count - 1) * self._period

    @property
    def name(self) -> str:
        seconds = int(self.seconds)
        return f"{self.path.name} {seconds // 60}:{seconds % 60:02d}"

    def pause(self) -> None:
        """Stop until the next `advance`, which continues from here."""
        self.due = None

    def advance(self, now: float) -> bool:
        """Read the frame that is due at `now` (seconds); return False if none is due yet.

        Late frames are dropped up to MAX_DROPPED_S: a computer that is too slow for the video shows it
        in slow motion.

        Raises:
            UserError: at the video's end, if it cannot be read again from its start.
        """
        if not self.is_live:
            return False
        if self.due is None:
            self.due = now + self._period
        if now < self.due:
            return False
        late = int(min(now - self.due, MAX_DROPPED_S) / self._period)
        for _ in range(late):
            self._video.skip()
        self.due += (late + 1) * self._period
        if self.due < now:
            self.due = now + self._period
        image = self._video.read()
        if image is None:
            return self._start_again()
        self.image = image
        return True

    def close(self) -> None:
        """Release the file."""
        self._video.close()

    def _start_again(self) -> bool:
        played, expected = self._video.count, self._video.expected
        # Where the container only estimates the number of frames it is a little off.
        if played < 0.9 * expected and not self._damage_is_told:
            self._damage_is_told = True
            self.damage = (
                f"{self.path.name} is damaged: only {played} of its {expected} frames can be read; they are repeated"
            )
        if played == 1:
            self.is_live, self.due = False, None
            return False
        self._video.rewind()
        self.image = self._first()
        return True

    def _first(self) -> np.ndarray:
        image = self._video.read()
        if image is None:
            self.close()
            raise UserError(
                f"{self.path.name} has no frame that can be read; expected an undamaged video: copy or convert it again"
            )
        return image


class Ahead:
    """Decodes in advance the picture that will probably be shown next."""

    def __init__(self, read: Callable[..., np.ndarray]) -> None:
        self._read = read
        self._key: tuple[Path, int, int] | None = None
        self._image: np.ndarray | None = None

    def load(self, path: Path) -> None:
        """Decode `path`. Errors are ignored here; they are reported when the picture is to be shown."""
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return
        try:
            key = self._key_of(path)
            if key != self._key:
                self._image = self._read(path, max_pixels=AHEAD_PIXELS)
                self._key = key
        except Exception:
            self._key = self._image = None

    def take(self, path: Path) -> np.ndarray | None:
        """Hand out the decoded picture if it is of `path` and the file has not changed since; else None."""
        try:
            image = self._image if self._key == self._key_of(path) else None
        except OSError:
            image = None
        self._key = self._image = None
        return image

    @staticmethod
    def _key_of(path: Path) -> tuple[Path, int, int]:
        stat = path.stat()
        return path, stat.st_mtime_ns, stat.st_size
