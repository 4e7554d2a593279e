"""Snapshots and videos of the window. Pictures are uint8 BGR, height x width x 3, as in OpenCV.

Nothing here overwrites a file: if a name is taken, -2, -3 … is appended.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import beside, system_reason

CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))  # tried in this order
SPARE_BYTES = 64 << 20  # space that must stay free: an .mp4 gets its index on closing and cannot be played without it
MAX_LAG = 5.0  # seconds that the encoder may fall behind; `close` takes about this long at most

_FREE_SPACE = "free some space there, or set `output` in settings.yaml to a folder on another disk"


# ---- snapshots ----------------------------------------------------------------------------------


def save_snapshot(folder: Path, name: str, images: Mapping[str, np.ndarray]) -> Path:
    """Write a PNG for each picture: `<name>.png` for "window", `<name>-<pane>.png` for the others.

    No file gets its name before all files are complete.

    Args:
        folder: created if it does not exist.
        images: {pane: picture}, with "window" for the whole window.

    Returns:
        The path of the window's picture.

    Raises:
        UserError: the folder or a picture cannot be written.
    """
    encoded = {pane: cv2.imencode(".png", image)[1].tobytes() for pane, image in images.items()}
    try:
        paths = _unused(_snapshot_paths(folder, stem, images) for stem in _numbered(name))
        with contextlib.ExitStack() as whole:  # the files get their names when the stack closes
            for pane, path in paths.items():
                whole.enter_context(beside(path)).write(encoded[pane])
    except OSError as error:
        raise _cannot_write(folder / f"{name}.png", error) from error
    return paths["window"]


def _snapshot_paths(folder: Path, stem: str, panes: Iterable[str]) -> dict[str, Path]:
    return {pane: folder / (f"{stem}.png" if pane == "window" else f"{stem}-{pane}.png") for pane in panes}


def _unused(candidates: Iterable[dict[str, Path]]) -> dict[str, Path]:
    return next(paths for paths in candidates if not any(p.exists() for p in paths.values()))


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {path}: {system_reason(error)}; the folder must be writable and have space left: {_FREE_SPACE}"
    )


# ---- videos -------------------------------------------------------------------------------------


def letterbox(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture scaled to fit into size (width, height), centred, with black borders.

    A picture at most one pixel smaller than `size` is not scaled: that would blur its text.
    """
    height, width = image.shape[:2]
    if not (0 <= size[0] - width <= 1 and 0 <= size[1] - height <= 1):
        scale = min(size[0] / width, size[1] / height)
        width, height = (max(1, min(round(side * scale), limit)) for side, limit in zip((width, height), size))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return cv2.copyMakeBorder(
        image, top, size[1] - height - top, left, size[0] - width - left, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )


VideoStream = cv2.VideoWriter


def video_stream(path: Path, codec: str, fps: float, size: tuple[int, int]) -> VideoStream:
    """A stream that writes frames of this size (width, height) into a file; it may not be open."""
    return VideoStream(str(path), VideoStream.fourcc(*codec), fps, size)


@dataclass(frozen=True)
class Summary:
    """A finished recording: its file, its length in seconds, and its number of frames.

    If `frames` is 0 there is no playable file: no picture was offered, or `Recorder.error` says why.
    """

    path: Path
    seconds: float
    frames: int


class _CannotRecord(Exception):
    """Ends a recording: why, and the remedy."""

    def __init__(self, reason: str, remedy: str = _FREE_SPACE) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Recorder:
    """Records a video of the window in a thread of its own, at a constant frame rate.

    Frame k shows the newest picture at k / fps seconds after the first `offer`, so that the video
    plays at true speed however irregularly pictures come. Call `offer`, `error` and `close` from one
    thread only. Close every recorder: before that an .mp4 cannot be played.

    Args:
        path: the file to write; its folder is created. The codec decides whether it is an .mp4 or .avi.
        size: width and height of the video in pixels, rounded up to even numbers, which encoders
            need. Pictures of another size are fitted into it.
        fps: frames per second.
        clock: returns the time in seconds.
        free_bytes: returns the free bytes on a folder's disk; called once for each second of video.

    Raises:
        UserError: the file cannot be written, or OpenCV has none of the codecs.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = _free_bytes,
    ) -> None:
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._fps, self._clock, self._free_bytes = fps, clock, free_bytes
        self._newest: np.ndarray | None = None  # the slot between the threads
        self._begin: float | None = None  # clock at the first offer
        self._end: float | None = None  # clock at close
        self._wake = threading.Event()
        self._source: np.ndarray | None = None  # the offered picture that _picture was made of
        self._picture: np.ndarray | None = None
        self._frames = 0
        self._error: str | None = None
        self._path, self._writer = self._open(path)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str | None:
        """Why the recording stopped or failed, what was kept, and the remedy; None if nothing failed."""
        return self._error

    def offer(self, image: np.ndarray) -> None:
        """Make a copy of this picture (uint8 BGR, any size) the newest one; never blocks."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"a recorder takes uint8 BGR pictures, not {image.dtype} of shape {image.shape}")
        if self._end is not None or not self._thread.is_alive():
            return
        self._newest = image.copy()
        if self._begin is None:
            self._begin = self._clock()
            self._wake.set()

    def close(self) -> Summary:
        """Write the frames due until now, finish the file, and wait for it.

        This takes a fraction of a second, or a few seconds if the encoder is behind. If no picture was offered, no
        file is left. `error` may be set afterwards. Calling it again gives the same answer.
        """
        self._end = self._clock()
        self._wake.set()
        self._thread.join()
        return Summary(self._path, self._frames / self._fps, self._frames)

    def _open(self, path: Path) -> tuple[Path, VideoStream]:
        stem = path.stem if path.suffix in dict(CODECS) else path.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._check_space(path.parent)
            for suffix, codec in CODECS:
                target = _claim(path.parent, stem, suffix)
                writer = video_stream(target, codec, self._fps, self._size)
                if writer.isOpened():
                    return target, writer
                target.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(path, error) from error
        except _CannotRecord as stop:
            raise UserError(f"cannot record {path}: {stop.reason}; {stop.remedy}") from stop
        tried = ", ".join(f"{codec} in {suffix}" for suffix, codec in CODECS)
        raise UserError(
            f"cannot record {path}: this OpenCV writes none of {tried} at "
            f"{self._size[0]}x{self._size[1]}, {self._fps:g} frames a second; install "
            "the opencv-python wheel from PyPI, which brings FFmpeg"
        )

    def _check_space(self, folder: Path) -> None:
        if self._free_bytes(folder) < SPARE_BYTES:
            raise _CannotRecord(f"less than {SPARE_BYTES >> 20} MB are left in {folder}")

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            self._follow_clock()
            self._finish(None)
        except _CannotRecord as stop:
            self._finish(stop)
        except OSError as error:  # the disk was taken away
            self._finish(_CannotRecord(str(error)))
        except Exception as error:  # the user must hear of any failure of the thread
            self._finish(_CannotRecord(f"{type(error).__name__}: {error}", "please report this"))

    def _follow_clock(self) -> None:
        self._wake.wait()  # for the first picture, or for the end
        while self._end is None and self._begin is not None:
            self._wake.clear()
            self._write_until(self._clock())
            lag = self._clock() - self._begin - self._frames / self._fps
            if lag > MAX_LAG:
                raise _CannotRecord(
                    "this computer encodes too slowly for a window of this size", "make the window smaller"
                )
            self._wake.wait(max(0.0, -lag))
        self._write_until(self._clock() if self._end is None else self._end)

    def _write_until(self, now: float) -> None:
        """Write the newest picture as each frame that is due and not yet written."""
        newest, begin = self._newest, self._begin
        if newest is None or begin is None:
            return  # closed before the first picture
        if self._picture is None or newest is not self._source:
            self._source, self._picture = newest, letterbox(newest, self._size)
        # Frame k is due at k / fps; the small number is for rounding in the product.
        due = 1 + math.floor((now - begin) * self._fps + 1e-6)
        while self._frames < due:
            if self._frames % math.ceil(self._fps) == 0:
                self._check_space(self._path.parent)
            if self._writer.write(self._picture) is False:  # None from an OpenCV that cannot tell
                raise _CannotRecord("the disk takes no more")
            self._frames += 1

    def _finish(self, stop: _CannotRecord | None) -> None:
        """Close the file, check whether it can be played, and set `error` if something failed."""
        self._writer.release()
        kept = f"the first {self._frames / self._fps:.1f} s are in {self._path}"
        if self._frames == 0:
            kept = f"nothing was recorded in {self._path}"
            with contextlib.suppress(OSError):
                self._path.unlink()
        elif not _is_playable(self._path):
            stop = stop or _CannotRecord("the end of the file could not be written")
            kept = f"{self._path} is incomplete and cannot be played"
            self._frames = 0
        if stop:
            self._error = f"recording stopped: {stop.reason}; {kept}; {stop.remedy}"


def _claim(folder: Path, stem: str, suffix: str) -> Path:
    """Make an empty file under the first name that is not taken."""
    names = _numbered(stem)
    while True:
        path = folder / f"{next(names)}{suffix}"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path


def _is_playable(path: Path) -> bool:
    video = cv2.VideoCapture(str(path))
    try:
        return bool(video.read()[0])
    finally:
        video.release()
