"""The input thread: a camera, a video or a folder of pictures → the newest `Frame`.

Whoever looks says what to see with a `FeedWish` and takes the newest frame; neither ever waits. The
feed's thread does what takes time, one turn after the other: it reads the newest wish, does what
is due, and sleeps until a wish, a camera's frame or the next frame of a video wakes it. A camera
has a further thread to itself, because a driver may block for seconds, or for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from deepvis.core.errors import UserError, words
from deepvis.core.frames import Frame, Photo
from deepvis.inputs.bands import Reading, colours, is_bands, read_picture
from deepvis.inputs.camera import Camera, OpenCapture, camera_name, open_camera
from deepvis.inputs.datasets import Images
from deepvis.inputs.decode import MAX_PIXELS, VIDEO_SUFFIXES, rgb_from_bgr
from deepvis.inputs.player import Ahead, Player, Still
from deepvis.inputs.playlist import Playlist

BUSY_S = 0.2
"""Work that is done sooner is not reported as `busy`."""

STALL_S = 1.0
"""A camera that is silent for longer makes the feed `busy` …"""

PATIENCE_S = 30.0
"""… and after this it is given up."""

AHEAD_AFTER_S = 0.03
"""Decode ahead only when no wish has come for so long: not while the user leans on a key."""

Source = Literal["camera", "files", "photo"]


@dataclass(frozen=True)
class FeedWish:
    """What the user wants to see. The newest wish counts; those that it overtook never happened.

    Attributes:
        source: which input. Changing to "camera" is also what tries a failed camera again.
        frozen: hold the camera's picture, or pause the video.
        step: how many files on from the first one, around the ends (negative: back). Only the
            difference to what was stepped before counts, so it need not know of files skipped.
        photo: an image that is shown instead, for as long as it is wished.
        reading: how pictures are read for the network.
    """

    source: Literal["camera", "files"] = "files"
    frozen: bool = False
    step: int = 0
    photo: Photo | None = None
    reading: Reading = Reading()


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
        read: Callable[..., np.ndarray] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            camera: the index of a camera, or the address of a stream ("rtsp://…"); None: no camera.
            files: what `Playlist` takes: a folder, a list, a picture or a video; None: no files.
            open_capture: called like `cv2.VideoCapture(source, api)`, for cameras and videos.
            read: called like `read_picture(path, max_pixels=…)`; None: that, as the wish's `reading` says.
            clock: seconds, never backwards.
        """
        self._camera_address = camera
        self._files = files
        self._open_capture = open_capture
        self._read = read or self._read_file
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="deepvis feed", daemon=True)

        # `_changed` guards what several threads write or wait for. It is never held during work.
        self._changed = threading.Condition()
        self._wish = FeedWish()
        self._camera_wishes = 0
        self._failed_wish: FeedWish | None = None
        self._closed = False
        self._frame: Frame | None = None
        self._notice: Notice | None = None
        self._source: Source = "files"
        self._shown_bands: tuple[int, ...] = (0, 1, 2)
        self._busy_since: float | None = None

        # The rest is the feed thread's own.
        self._playlist: Playlist | None = None
        self._stepped = 0
        self._stuck_at: int | None = None
        self._entry: Still | Player | None = None
        self._direction = 1
        self._ahead = Ahead(self._read)
        self._reading = Reading()
        self._has_noted = False
        self._look_ahead_at: float | None = None
        self._broken: set[Path] = set()
        self._photo: Photo | None = None
        self._has_photo = False
        self._camera: Camera | None = None
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

    def want(self, wish: FeedWish) -> None:
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
        """What is really shown: "camera" only from its first frame until it is left or lost, "photo" a wish's."""
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

    def show_bands(self, shown: Sequence[int]) -> None:
        """Which bands are shown as red, green and blue of a picture of more than three."""
        with self._changed:
            if tuple(shown) == self._shown_bands:
                return
            self._shown_bands, old = tuple(shown), self._frame
            if old is not None and old.bands is not None:
                self._frame = self._framed(old.bands, old.name, old.index + 1, old.live, old.source, old.seconds)
                self._changed.notify_all()

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
                self._fail(wish, words(error))
                due = None
            self._sleep(wish, due)
        self._leave_camera()

    def _sleep(self, wish: FeedWish, due: float | None) -> None:
        def is_something_new() -> bool:
            has_camera_news = self._camera is not None and self._camera.has_news
            return self._closed or self._wish is not wish or has_camera_news

        with self._changed:
            timeout = None if due is None else max(0.0, due - self._clock())
            self._changed.wait_for(is_something_new, timeout)

    def _turn(self, wish: FeedWish) -> float | None:
        """Do what is due; returns when there will be more to do even without news."""
        if wish.reading != self._reading:
            self._read_anew(wish)
        if wish.photo != self._photo:
            self._photo = wish.photo
            self._has_photo = wish.photo is not None and self._show_photo(wish.photo)
        if self._has_photo:
            return None
        if wish.source == "camera" and self._camera_given_up != self._camera_wish:
            return self._camera_turn(wish)
        self._leave_camera()
        return self._files_turn(wish)

    def _read_anew(self, wish: FeedWish) -> None:
        """Another network: what is shown was read for an older one. Videos and cameras are the same for all."""
        self._reading, self._has_noted, self._photo, self._stuck_at = wish.reading, False, None, None
        self._ahead = Ahead(self._read)
        if isinstance(self._entry, Still):
            self._entry = None

    def _read_file(self, path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        return read_picture(path, max_pixels, self._reading, self._note)

    def _note(self, text: str) -> None:
        """Once for all files: a folder's pictures are mostly of one kind."""
        if not self._has_noted:
            self._has_noted = True
            self._say(text, is_error=False)

    def _show_photo(self, photo: Photo) -> bool:
        """Show an image of a data set or a moment; if it cannot be read, say so and return False."""
        image, path = photo.pixels, ""
        if image is None:
            path = Path(photo.root, photo.name)
            try:
                with self._working():
                    image = Images(Path(photo.root), (photo.name,), reading=self._reading, note=self._note).read(0)
            except UserError as error:
                self._say(str(error), is_error=True)
                return False
        self._leave_camera()
        if isinstance(self._entry, Player):
            self._entry.pause()
        self._publish(image, Path(photo.name.rpartition("!")[2]).name, "photo", live=False, path=path)
        return True

    def _publish(
        self, image: np.ndarray, name: str, source: Source, live: bool, path: Path | str = "", seconds: float = 0.0
    ) -> None:
        with self._changed:
            index = 0 if self._frame is None else self._frame.index + 1
            self._frame = self._framed(image, name, index, live, str(path), seconds)
            self._source = source
            self._busy_since = None
            self._changed.notify_all()

    def _framed(self, image: np.ndarray, *of: object) -> Frame:
        if is_bands(image):
            return Frame(colours(image, self._shown_bands), *of, bands=image)
        return Frame(image, *of)

    def _say(self, text: str, is_error: bool) -> None:
        number = 1 if self._notice is None else self._notice.number + 1
        self._notice = Notice(text, number, is_error)

    def _fail(self, wish: FeedWish, text: str) -> None:
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

    def _camera_turn(self, wish: FeedWish) -> float | None:
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
            return self._lose_camera(f"gives pictures of no known kind ({words(error)})", wish)
        camera.is_shown = True
        self._publish(rgb, camera_name(self._camera_address), "camera", live=True, seconds=last_seen)
        return last_seen + STALL_S

    def _start_camera(self) -> Camera:
        if isinstance(self._entry, Player):
            self._entry.pause()
        self._busy_since = self._clock()
        camera = Camera(
            self._camera_address,
            self._open_capture or open_camera,
            self._changed,
            self._camera_in_use,
            self._clock,
        )
        camera.start()
        return camera

    def _await_camera(self, last_seen: float, wish: FeedWish) -> float | None:
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

    def _lose_camera(self, failure: str, wish: FeedWish) -> float | None:
        """Show the files instead. One notice tells of both, so that neither hides the other."""
        name = camera_name(self._camera_address)
        self._camera_given_up = self._camera_wish
        self._leave_camera()
        self._stuck_at = None
        try:
            due = self._files_turn(wish)
        except Exception as error:
            reason = f"there are no files to show instead: {words(error)}"
            self._fail(wish, f"{name} {failure}; {reason}. Press c to try again")
            return None
        self._say(f"{name} {failure}; showing {self._files} instead. Press c to try again", True)
        return due

    # -- files ---------------------------------------------------------------------------

    def _files_turn(self, wish: FeedWish) -> float | None:
        if self._source == "files" and self._stuck_at == wish.step:
            return None  # tried and told already; only another step tries again
        if self._entry is None or wish.step != self._stepped:
            self._find(wish)
        elif self._source != "files":
            self._show(self._entry)
        if isinstance(self._entry, Player):
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

    def _find(self, wish: FeedWish) -> None:
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
        if isinstance(self._entry, Player):
            self._entry.close()
        self._entry = None
        return path

    def _open(self, path: Path) -> Still | Player:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return Player(path, self._open_capture or cv2.VideoCapture)
        image = self._ahead.take(path)
        return Still(self._read(path) if image is None else image, path)

    def _show(self, entry: Still | Player) -> None:
        self._publish(entry.image, entry.name, "files", entry.is_live, entry.path, entry.seconds)

    def _skip(self, path: Path, error: UserError) -> None:
        self._broken.add(path)
        self._say(f"skipped ({len(self._broken)} so far): {error}", is_error=False)

    def _play(self, player: Player, wish: FeedWish) -> float | None:
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
