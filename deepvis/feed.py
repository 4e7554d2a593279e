"""The input thread: a camera, a video or a folder of pictures → the newest `Frame`.

Whoever looks says what to see with a `Wish` and takes the newest frame; neither ever waits. The
feed's thread does what takes time, one turn after the other: it reads the newest wish, does what
is due, and sleeps until a wish, a camera's frame or the next frame of a video wakes it. A camera
has a further thread to itself, because a driver may block for seconds, or for good.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import cv2
import numpy as np

from deepvis.decode import VIDEO_SUFFIXES, VideoFile, quiet_opencv, read_image, rgb_from_bgr
from deepvis.errors import UserError
from deepvis.frames import Frame
from deepvis.playlist import Playlist

BUSY_S = 0.2
"""Work that is done sooner is not reported as `busy`."""

STALL_S = 1.0
"""A camera that is silent for longer makes the feed `busy` …"""

PATIENCE_S = 30.0
"""… and after this it is given up."""

MISSES = 20
"""A camera is lost when so many reads in a row bring nothing …"""

MISS_PAUSE_S = 0.05
"""… with this pause after each."""

AHEAD_PIXELS = 30_000_000
"""Larger pictures are not decoded ahead: that could hold up a wish for longer than it saves."""

AHEAD_AFTER_S = 0.03
"""Decode ahead only when no wish has come for so long: not while the user leans on a key."""

MAX_DROPPED_S = 0.25
"""A late video skips at most this much at a time; later still, it goes on from where it is."""

Source = Literal["camera", "files"]
OpenCapture = Callable[..., Any]


@dataclass(frozen=True)
class Wish:
    """What the user wants to see. The newest wish counts; those that it overtook never happened.

    Attributes:
        source: which input. Changing to "camera" is also what tries a failed camera again.
        frozen: hold the camera's picture, or pause the video.
        step: how many files on from the first one, around the ends (negative: back). Only the
            difference to what was stepped before counts, so it need not know of files skipped.
    """

    source: Source = "files"
    frozen: bool = False
    step: int = 0


@dataclass(frozen=True)
class Notice:
    """A message for the status bar. `number` counts the notices of a feed from 1."""

    text: str
    number: int
    is_error: bool


class Feed:
    """Turns the newest wish into the newest frame, in its own thread. Also a context manager.

    Everything public may be used from any thread, and nothing but `close` and `wait_frame` waits.
    No method raises for a bad input: what goes wrong becomes a `notice`.
    """

    def __init__(
        self,
        camera: int | str | None,
        files: Path | str | None,
        *,
        open_capture: OpenCapture | None = None,
        read: Callable[..., np.ndarray] = read_image,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            camera: the index of a camera, or the address of a stream ("rtsp://…"); None: no camera.
            files: what `Playlist` takes: a folder, a list, a picture or a video; None: no files.
            open_capture: called like `cv2.VideoCapture(source, api)`, for cameras and videos.
            read: called like `read_image(path, max_pixels=…)`.
            clock: seconds, never backwards.
        """
        self._camera_address = camera
        self._files = files
        self._open_capture = open_capture
        self._read = read
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="deepvis feed", daemon=True)

        # `_changed` guards what several threads write or wait for. It is never held during work.
        self._changed = threading.Condition()
        self._wish = Wish()
        self._camera_wishes = 0
        self._failed_wish: Wish | None = None
        self._closed = False
        self._frame: Frame | None = None
        self._notice: Notice | None = None
        self._source: Source = "files"
        self._busy_since: float | None = None

        # The rest is the feed thread's own.
        self._playlist: Playlist | None = None
        self._stepped = 0
        self._stuck_at: int | None = None
        self._entry: _Still | _Player | None = None
        self._direction = 1
        self._ahead = _Ahead(read)
        self._look_ahead_at: float | None = None
        self._broken: set[Path] = set()
        self._camera: _Camera | None = None
        self._camera_in_use = threading.Lock()
        self._camera_wish = 0
        self._camera_given_up = 0

    # -- for other threads ---------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; to be called once."""
        self._thread.start()

    def close(self) -> None:
        """Stop the threads and release the camera; may be called again.

        Waits for at most about 2 s: a thread that hangs in a driver is left behind (a daemon).
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(1.0)
        if self._camera_in_use.acquire(timeout=1.0):
            self._camera_in_use.release()

    def __enter__(self) -> Feed:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def want(self, wish: Wish) -> None:
        """Ask for something else to be seen. Asking for the same again is nothing new."""
        with self._changed:
            if wish == self._wish:
                return
            # Counted here, so that camera → files → camera is seen even if the thread is busy.
            if wish.source == "camera" and self._wish.source != "camera":
                self._camera_wishes += 1
            self._wish = wish
            self._changed.notify_all()

    @property
    def frame(self) -> Frame | None:
        """The newest frame; None as long as there has been none."""
        return self._frame

    @property
    def source(self) -> Source:
        """What is really shown: "camera" only from its first frame until it is left or lost."""
        return self._source

    @property
    def notice(self) -> Notice | None:
        """The newest message."""
        return self._notice

    @property
    def busy(self) -> bool:
        """Has the user been waiting for an opening, a decoding or a silent camera?"""
        since = self._busy_since
        return since is not None and self._clock() - since > BUSY_S

    def wait_frame(self, after: int | None, timeout: float) -> Frame | None:
        """Wait for a frame with an index above `after` (None: for any).

        Returns None after `timeout` seconds without one, and at once when the feed is closed or
        the newest wish has failed, which `notice` explains.
        """

        def is_newer() -> bool:
            return self._frame is not None and (after is None or self._frame.index > after)

        def is_over() -> bool:
            return is_newer() or self._closed or self._failed_wish is self._wish

        with self._changed:
            self._changed.wait_for(is_over, timeout)
            return self._frame if is_newer() else None

    # -- the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                wish, self._camera_wish = self._wish, self._camera_wishes
            try:
                due = self._turn(wish)
            except Exception as error:  # the thread lives on: the next wish may be a better one
                self._fail(wish, _words(error))
                due = None
            self._sleep(wish, due)
        self._leave_camera()

    def _sleep(self, wish: Wish, due: float | None) -> None:
        def is_something_new() -> bool:
            has_camera_news = self._camera is not None and self._camera.has_news
            return self._closed or self._wish is not wish or has_camera_news

        with self._changed:
            timeout = None if due is None else max(0.0, due - self._clock())
            self._changed.wait_for(is_something_new, timeout)

    def _turn(self, wish: Wish) -> float | None:
        """Do what is due; returns when there will be more to do even without news."""
        if wish.source == "camera" and self._camera_given_up != self._camera_wish:
            return self._camera_turn(wish)
        self._leave_camera()
        return self._files_turn(wish)

    def _publish(self, image: np.ndarray, name: str, source: Source, live: bool) -> None:
        with self._changed:
            index = 0 if self._frame is None else self._frame.index + 1
            self._frame = Frame(image, name, index, live)
            self._source = source
            self._busy_since = None
            self._changed.notify_all()

    def _say(self, text: str, is_error: bool) -> None:
        number = 1 if self._notice is None else self._notice.number + 1
        self._notice = Notice(text, number, is_error)

    def _fail(self, wish: Wish, text: str) -> None:
        """There is nothing to show: neither a camera, which would have been lost, nor a file."""
        self._say(text, is_error=True)
        self._stuck_at = wish.step
        with self._changed:
            self._source = "files"
            self._failed_wish = wish
            self._changed.notify_all()

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._busy_since = self._clock()
        try:
            yield
        finally:
            self._busy_since = None

    # -- camera --------------------------------------------------------------------------

    def _camera_turn(self, wish: Wish) -> float | None:
        if self._camera is None:
            self._camera = self._start_camera()
        camera = self._camera
        image, failure, last_seen = camera.take()
        if wish.frozen and camera.is_shown:
            return None
        if failure is not None:
            return self._lose_camera(failure, wish)
        if image is None:
            return self._await_camera(last_seen, wish)
        try:
            rgb = rgb_from_bgr(image)
        except Exception as error:  # else every further picture would bring the same notice
            return self._lose_camera(f"gives pictures of no known kind ({_words(error)})", wish)
        camera.is_shown = True
        self._publish(rgb, camera_name(self._camera_address), "camera", live=True)
        return last_seen + STALL_S

    def _start_camera(self) -> _Camera:
        if isinstance(self._entry, _Player):
            self._entry.pause()
        self._busy_since = self._clock()
        camera = _Camera(
            self._camera_address,
            self._open_capture or open_camera,
            self._changed,
            self._camera_in_use,
            self._clock,
        )
        camera.start()
        return camera

    def _await_camera(self, last_seen: float, wish: Wish) -> float | None:
        silence = self._clock() - last_seen
        if silence >= PATIENCE_S:
            failure = f"has not answered for {PATIENCE_S:.0f} s; unplug it and plug it in again"
            return self._lose_camera(failure, wish)
        if silence < STALL_S:
            return last_seen + STALL_S
        self._busy_since = last_seen
        return last_seen + PATIENCE_S

    def _leave_camera(self) -> None:
        if self._camera is not None:
            self._camera.stop()  # its thread releases the device when the driver lets go of it
            self._camera = None
            self._busy_since = None

    def _lose_camera(self, failure: str, wish: Wish) -> float | None:
        """Show the files instead. One notice tells of both, so that neither hides the other."""
        name = camera_name(self._camera_address)
        self._camera_given_up = self._camera_wish
        self._leave_camera()
        self._stuck_at = None
        try:
            due = self._files_turn(wish)
        except Exception as error:
            reason = f"there are no files to show instead: {_words(error)}"
            self._fail(wish, f"{name} {failure}; {reason}. Press c to try again")
            return None
        self._say(f"{name} {failure}; showing {self._files} instead. Press c to try again", True)
        return due

    # -- files ---------------------------------------------------------------------------

    def _files_turn(self, wish: Wish) -> float | None:
        if self._source == "files" and self._stuck_at == wish.step:
            return None  # tried and told already; only another step tries again
        if self._entry is None or wish.step != self._stepped:
            self._find(wish)
        elif self._source != "files":
            self._show(self._entry)
        if isinstance(self._entry, _Player):
            return self._play(self._entry, wish)
        return self._look_ahead()

    def _open_playlist(self) -> Playlist:
        if self._files is None:
            raise UserError("no files are configured; choose a folder, a picture or a video")
        with self._working():
            playlist = Playlist(self._files)
        if playlist.missing:
            self._say(f"{playlist.missing} of the paths in {self._files} cannot be found", is_error=False)
        return playlist

    def _find(self, wish: Wish) -> None:
        """Show the file that is wished for, or the first one beyond it that can be read.

        Gives up the search, to be gone on with by the next turn, as soon as there is a new wish.

        Raises:
            UserError: there is no file, or none that can be read.
        """
        if self._playlist is None:
            self._playlist = self._open_playlist()
        path = self._step(self._playlist, wish.step)
        failure: UserError | None = None
        for _ in range(len(self._playlist)):
            if failure and (self._closed or self._wish is not wish):
                return
            try:
                with self._working():
                    self._entry = self._open(path)
            except UserError as error:
                failure = error
                self._skip(path, error)
                path = self._playlist.step(self._direction)
            else:
                self._show(self._entry)
                self._look_ahead_at = self._clock() + AHEAD_AFTER_S
                return
        raise UserError(f"nothing in {self._files} can be read; the last file: {failure}")

    def _step(self, playlist: Playlist, step: int) -> Path:
        """Leave the current file; returns where the difference to the last wish's step leads."""
        steps, self._stepped = step - self._stepped, step
        if steps:
            self._direction = 1 if steps > 0 else -1
        path = playlist.step(steps)
        self._stuck_at = self._look_ahead_at = None
        if isinstance(self._entry, _Player):
            self._entry.close()
        self._entry = None
        return path

    def _open(self, path: Path) -> _Still | _Player:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return _Player(path, self._open_capture or cv2.VideoCapture)
        image = self._ahead.take(path)
        return _Still(self._read(path) if image is None else image, path.name)

    def _show(self, entry: _Still | _Player) -> None:
        self._publish(entry.image, entry.name, "files", entry.is_live)

    def _skip(self, path: Path, error: UserError) -> None:
        self._broken.add(path)
        self._say(f"skipped ({len(self._broken)} so far): {error}", is_error=False)

    def _play(self, player: _Player, wish: Wish) -> float | None:
        if wish.frozen:
            player.pause()
            return None
        try:
            is_new = player.advance(self._clock())
        except UserError as error:
            self._skip(player.path, error)
            self._stepped -= self._direction  # so that what is wished for lies one further on
            self._find(wish)
            return self._clock()
        if player.damage:
            self._say(player.damage, is_error=False)
            player.damage = None
        if is_new:
            self._show(player)
        return player.due

    def _look_ahead(self) -> float | None:
        due = self._look_ahead_at
        if due is not None and self._clock() >= due:
            self._ahead.load(self._playlist.peek(self._direction))
            due = self._look_ahead_at = None
        return due


# ---------------------------------------------------------------------------- what is shown


@dataclass(frozen=True, eq=False)
class _Still:
    """A decoded picture file."""

    image: np.ndarray
    name: str
    is_live = False


class _Player:
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
    def name(self) -> str:
        seconds = int((self._video.count - 1) * self._period)
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
                f"{self.path.name} is damaged: only {played} of its {expected} frames can be "
                "read; they are repeated"
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
                f"{self.path.name} has no frame that can be read; expected an undamaged video: "
                "copy or convert it again"
            )
        return image


class _Ahead:
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


# ---------------------------------------------------------------------------- camera


class _Camera:
    """Drains a camera in a thread of its own and keeps the newest frame.

    The thread alone touches the device, from opening to releasing it. `in_use` is held as long as
    it does, so that a camera which is left and wanted again is not opened twice at a time.
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
        """Has a frame of it been published? For the feed's thread alone."""
        self.has_news = False
        """Is there a frame or the failure that has not been taken? Guarded by `changed`."""
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
        """Open the camera and drain it, elsewhere."""
        threading.Thread(target=self._run, name="deepvis camera", daemon=True).start()

    def stop(self) -> None:
        """Have the camera released as soon as the driver lets go of it; does not wait."""
        self._stopped.set()

    def take(self) -> tuple[np.ndarray | None, str | None, float]:
        """The newest frame (BGR) unless taken before, why there will be no more (None: there
        will), and when there was one last."""
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
            failure = f"failed ({_words(error)})"
        finally:
            self._in_use.release()
        with self._changed:
            self._failure = failure
            self.has_news = True
            self._changed.notify_all()

    def _drain(self) -> str | None:
        """Returns why the camera gives no more pictures; None if it was told to stop."""
        if self._address is None:
            return "is not configured; name one in the settings"
        is_windows_camera = sys.platform == "win32" and isinstance(self._address, int)
        with quiet_opencv():
            # Windows' default, Media Foundation, takes many seconds to open a camera.
            capture = self._open_capture(
                self._address, cv2.CAP_DSHOW if is_windows_camera else cv2.CAP_ANY
            )
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
    """`cv2.VideoCapture`, except that it does not ask for what is known to be missing, and that a
    dead stream is given up after 10 s."""
    if _device_is_missing(address):
        return cv2.VideoCapture()
    if isinstance(address, int):
        return cv2.VideoCapture(address, api)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000]
    return cv2.VideoCapture(address, api, limits)


def camera_name(address: int | str | None) -> str:
    """What to call a camera on the screen: without the password that an address may hold."""
    if address is None:
        return "the camera"
    if isinstance(address, int):
        return f"camera {address}"
    parts = urlsplit(address)
    return f"camera {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def why_not_opened(address: int | str) -> str:
    """As much as can be told about why a camera did not open, and what to do about it."""
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


def _words(error: Exception) -> str:
    """The message of a user's error; of any other also its kind, which may be all it says."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
