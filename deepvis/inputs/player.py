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
"""Larger pictures are not decoded ahead: that could hold up a wish for longer than it saves."""

MAX_DROPPED_S = 0.25
"""A late video skips at most this much at a time; later still, it goes on from where it is."""


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
    """Plays a video at its own rate, over and over. Told the time; never sleeps.

    Attributes:
        image: the frame that is due, uint8 RGB.
        due: when `advance` will have a new one; None while paused, or if there is only one frame.
        damage: says once that the video ends before its time.
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
        """Where in the video `image` is."""
        return (self._video.count - 1) * self._period

    @property
    def name(self) -> str:
        seconds = int(self.seconds)
        return f"{self.path.name} {seconds // 60}:{seconds % 60:02d}"

    def pause(self) -> None:
        """Stand still until the next `advance`, which goes on from here."""
        self.due = None

    def advance(self, now: float) -> bool:
        """Take the frame that is due at `now` (seconds); False if none is yet.

        Frames that are late are dropped, but only so many: a computer that is too slow for the
        video shows it in slow motion rather than not at all.

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
    """The picture that is likely to be wanted next, decoded before it is."""

    def __init__(self, read: Callable[..., np.ndarray]) -> None:
        self._read = read
        self._key: tuple[Path, int, int] | None = None
        self._image: np.ndarray | None = None

    def load(self, path: Path) -> None:
        """Decode `path`; in silence, since what is wrong with it is told when it is wanted."""
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
        """The picture, if it is this one and its file has not changed since. Only once."""
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
