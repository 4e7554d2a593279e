"""Writing a video frame by frame: every frame once, unlike the recorder, which follows the clock."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import system_reason
from deepvis.display.recorder import CODECS, SPARE_BYTES, VideoStream, letterbox, video_stream

CHECK = 16  # frames between two looks at the free space


class Film:
    """A video file that gets its name when it is complete. A context manager.

    If the block ends early (an error, Ctrl-C), the frames so far are kept under the name. If the disk is full, they are
    kept, too, and the UserError says how many.

    Attributes:
        path: the file.
        frames: how many were written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """
        Args:
            path: ends in .mp4 or .avi. An older file of this name is replaced at the end.
        Raises:
            UserError: another ending.
        """
        self._codecs = dict(CODECS)
        if path.suffix.lower() not in self._codecs:
            raise UserError(f"--out {path}: expected a video that ends in {' or '.join(self._codecs)}")
        self.path, self.frames, self._fps = path, 0, fps
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._writer: VideoStream | None = None
        self._size = (0, 0)

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        if self.frames:
            os.replace(self._part, self.path)
        else:
            with contextlib.suppress(OSError):
                self._part.unlink()

    def add(self, picture: np.ndarray) -> None:
        """Write a frame: uint8 H×W×3 RGB; the first one decides the size.

        Raises:
            UserError: the file cannot be written, or the disk is full.
        """
        writer = self._writer or self._open(picture)
        if self.frames % CHECK == 0 and shutil.disk_usage(self.path.parent).free < SPARE_BYTES:
            raise UserError(
                f"--out {self.path}: less than {SPARE_BYTES >> 20} MB are left on the disk: "
                f"{f'the first {self.frames} frames are kept' if self.frames else 'nothing is written'}. "
                "Free some space, or name a folder on another disk"
            )
        frame = letterbox(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), self._size)
        if writer.write(frame) is False:  # None from an OpenCV that cannot tell
            raise UserError(f"--out {self.path}: the disk takes no more: the first {self.frames} frames are kept")
        self.frames += 1

    def _open(self, picture: np.ndarray) -> VideoStream:
        height, width = picture.shape[:2]
        self._size = width + width % 2, height + height % 2  # encoders need even numbers
        codec = self._codecs[self.path.suffix.lower()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()
        except OSError as error:
            raise UserError(
                f"--out {self.path}: cannot be written: {system_reason(error)}. Name a folder that is writable"
            ) from error
        self._writer = video_stream(self._part, codec, self._fps, self._size)
        if not self._writer.isOpened():
            raise UserError(f"--out {self.path}: this OpenCV does not write {codec}: give a name that ends in .avi")
        return self._writer
