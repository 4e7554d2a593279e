"""A camera or network stream, read in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from deepvis.core.errors import words
from deepvis.inputs.decode import quiet_opencv

OpenCapture = Callable[..., Any]

MISSES = 20
"""A camera counts as lost after this many failed reads in a row …"""

MISS_PAUSE_S = 0.05
"""… with this pause after each."""


class Camera:
    """Reads a camera in a thread of its own and keeps the newest frame.

    Only this thread opens, reads and releases the device. It holds the lock `in_use` meanwhile, so that the same
    device is never opened twice at a time when the user leaves the camera and comes back.
    """

    def __init__(
        self,
        address: int | str | None,
        open_capture: OpenCapture,
        changed: threading.Condition,
        in_use: threading.Lock,
        clock: Callable[[], float],
    ) -> None:
        self.is_shown = False
        """Whether a frame of this camera has been published. Used by the feed's thread only."""
        self.has_news = False
        """Whether there is a frame or a failure that has not been taken. Guarded by `changed`."""
        self._address = address
        self._open_capture = open_capture
        self._changed = changed
        self._in_use = in_use
        self._clock = clock
        self._image: np.ndarray | None = None
        self._failure: str | None = None
        self._last_seen = clock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread that opens and reads the camera."""
        threading.Thread(target=self._run, name="deepvis camera", daemon=True).start()

    def stop(self) -> None:
        """Tell the thread to release the camera as soon as the driver returns; does not wait."""
        self._stopped.set()

    def take(self) -> tuple[np.ndarray | None, str | None, float]:
        """Take what is new.

        Returns:
            The newest frame (BGR; None if it was taken before), the reason why no more frames will come (None if
            more will), and the time of the last frame.
        """
        with self._changed:
            image, self._image = self._image, None
            self.has_news = False
            return image, self._failure, self._last_seen

    def _run(self) -> None:
        while not self._in_use.acquire(timeout=0.1):
            if self._stopped.is_set():
                return
        try:
            failure = None if self._stopped.is_set() else self._drain()
        except Exception as error:
            failure = f"failed ({words(error)})"
        finally:
            self._in_use.release()
        with self._changed:
            self._failure = failure
            self.has_news = True
            self._changed.notify_all()

    def _drain(self) -> str | None:
        """Read the camera until it fails; return the reason, or None if the thread was told to stop."""
        if self._address is None:
            return "is not configured; name one in the settings"
        is_windows_camera = sys.platform == "win32" and isinstance(self._address, int)
        with quiet_opencv():
            # Windows' default, Media Foundation, takes many seconds to open a camera.
            capture = self._open_capture(self._address, cv2.CAP_DSHOW if is_windows_camera else cv2.CAP_ANY)
        try:
            if not capture.isOpened():
                return why_not_opened(self._address)
            return self._read_all(capture)
        finally:
            capture.release()

    def _read_all(self, capture: Any) -> str | None:
        misses, has_worked = 0, False
        while not self._stopped.is_set():
            readable, image = capture.read()
            if readable:
                misses, has_worked = 0, True
                self._keep(image)
                continue
            misses += 1
            if misses >= MISSES:
                if has_worked:
                    return "gives no more pictures; is it still connected?"
                return "opens but gives no picture; another program may be using it"
            self._stopped.wait(MISS_PAUSE_S)
        return None

    def _keep(self, image: np.ndarray) -> None:
        with self._changed:
            self._image = image
            self._last_seen = self._clock()
            self.has_news = True
            self._changed.notify_all()


def open_camera(address: int | str, api: int) -> cv2.VideoCapture:
    """Like `cv2.VideoCapture`, but a missing device is not tried, and a dead stream is given up after 10 s."""
    if _device_is_missing(address):
        return cv2.VideoCapture()
    if isinstance(address, int):
        return cv2.VideoCapture(address, api)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000]
    return cv2.VideoCapture(address, api, limits)


def camera_name(address: int | str | None) -> str:
    """A camera's name on the screen, without the password that its address may contain."""
    if address is None:
        return "the camera"
    if isinstance(address, int):
        return f"camera {address}"
    parts = urlsplit(address)
    return f"camera {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def why_not_opened(address: int | str) -> str:
    """A guess at why a camera did not open, and what to do about it."""
    if isinstance(address, str):
        return "cannot be opened; check the address, and that it is sending"
    if _device_is_missing(address):
        return f"does not exist (no /dev/video{address}); plug it in or choose another number"
    if sys.platform == "linux" and not os.access(f"/dev/video{address}", os.R_OK | os.W_OK):
        return "may not be opened by you; join the group 'video' and log in again"
    return "cannot be opened; is it connected, and does no other program use it?"


def _device_is_missing(address: int | str) -> bool:
    is_linux_camera = sys.platform == "linux" and isinstance(address, int)
    return is_linux_camera and not os.path.exists(f"/dev/video{address}")
