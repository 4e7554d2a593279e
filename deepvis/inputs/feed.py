"""The input thread: a camera, a video or a folder of pictures → the newest `Frame`.

The loop says what to show with a `FeedWish` and takes the newest frame; neither call waits. The feed's thread
does what takes time. In each turn it reads the newest request, does what is due, and sleeps until there is a new
request, a camera's frame or the time of a video's next frame. A camera has a thread of its own, because its
driver may block for seconds, or for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepvis.core.errors import UserError, words
from deepvis.core.frames import Files, Frame, Photo
from deepvis.inputs.bands import Reading, read_picture
from deepvis.inputs.camera import Camera, OpenCapture, camera_name, open_camera
from deepvis.inputs.datasets import Images
from deepvis.inputs.decode import rgb_from_bgr
from deepvis.inputs.headers import MAX_PIXELS
from deepvis.inputs.output import Notice, Output, Source
from deepvis.inputs.walk import Walk

STALL_S = 1.0
"""The feed is `busy` when a camera gives no frame for longer than this …"""

PATIENCE_S = 30.0
"""… and after this the camera is given up."""


@dataclass(frozen=True)
class FeedWish:
    """What the input shall show. Only the newest request counts; older ones that were not carried out are dropped.

    Attributes:
        source: which input. Changing to "camera" also tries a failed camera again.
        frozen: hold the camera's picture, or pause the video.
        step: number of steps from the first file, negative for backward, around the ends. The feed steps by the
            difference to the request before, so that skipped files need not be counted.
        photo: an image to show in place of the source; None for none.
        reading: how pictures are read for the network.
    """

    source: Literal["camera", "files"] = "files"
    frozen: bool = False
    step: int = 0
    photo: Photo | None = None
    reading: Reading = Reading()


class Feed:
    """Provides the newest frame for the newest request, from a thread of its own. Also a context manager.

    All methods may be called from any thread, and only `close` and `wait_frame` wait.
    No method raises because of a bad input; instead there is a `notice`.
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
            read: called like `read_picture(path, max_pixels=…)`; None: `read_picture` with the request's `reading`.
            clock: returns seconds; must be monotonic.
        """
        self._camera_address = camera
        self._files = files
        self._open_capture = open_capture
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="deepvis feed", daemon=True)
        self._output = Output(clock)

        # Guarded by `_changed`, as what is in `_output`.
        self._changed = self._output.changed
        self._wish = FeedWish()
        self._camera_wishes = 0
        self._failed_wish: FeedWish | None = None
        self._closed = False

        # The rest is the feed thread's own.
        self._walk = Walk(files, read or self._read_file, open_capture, self._output, clock)
        self._reading = Reading()
        self._has_noted = False
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
        """Say what to show; the same request again changes nothing."""
        with self._changed:
            if wish == self._wish:
                return
            # Counted here, so that the thread notices camera → files → camera even if it was busy meanwhile.
            if wish.source == "camera" and self._wish.source != "camera":
                self._camera_wishes += 1
            self._wish = wish
            self._changed.notify_all()

    @property
    def frame(self) -> Frame | None:
        """The newest frame; None before the first one."""
        return self._output.frame

    @property
    def files(self) -> Files:
        """The files that it goes through; none before the first one was shown."""
        return self._walk.files

    @property
    def source(self) -> Source:
        """What the frame comes from: "camera" (from its first frame until it is left or lost), "files", or "photo"."""
        return self._output.source

    @property
    def notice(self) -> Notice | None:
        """The newest message."""
        return self._output.notice

    @property
    def busy(self) -> bool:
        """Whether the user has been waiting for a file, a camera to open, or a camera that gives no frames."""
        return self._output.busy

    def show_bands(self, shown: Sequence[int]) -> None:
        """Choose the bands to show as red, green and blue, for pictures with more than three."""
        self._output.show_bands(shown)

    def wait_frame(self, after: int | None, timeout: float) -> Frame | None:
        """Wait for a frame with an index above `after` (None for any frame).

        Returns None after `timeout` seconds without such a frame, and at once if the feed is closed or
        the newest request has failed (`notice` says why).
        """

        def newer() -> Frame | None:
            frame = self._output.frame
            return frame if frame is not None and (after is None or frame.index > after) else None

        def is_over() -> bool:
            return newer() is not None or self._closed or self._failed_wish is self._wish

        with self._changed:
            self._changed.wait_for(is_over, timeout)
            return newer()

    # -- the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                wish, self._camera_wish = self._wish, self._camera_wishes
            try:
                due = self._turn(wish)
            except Exception as error:  # the thread must go on: the next request may be possible
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
        """Do what is due; return the time at which more is due, None if only news can bring more to do."""
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

    def _files_turn(self, wish: FeedWish) -> float | None:
        return self._walk.turn(wish.step, wish.frozen, lambda: self._closed or self._wish is not wish)

    def _read_anew(self, wish: FeedWish) -> None:
        """Another network: pictures that are shown were read for an older one."""
        self._reading, self._has_noted, self._photo = wish.reading, False, None
        self._walk.read_anew()

    def _read_file(self, path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        return read_picture(path, max_pixels, self._reading, self._note)

    def _note(self, text: str) -> None:
        """Give a notice about a picture, only for the first one: the pictures of a folder are mostly alike."""
        if not self._has_noted:
            self._has_noted = True
            self._output.say(text, is_error=False)

    def _show_photo(self, photo: Photo) -> bool:
        """Show an image of a data set or a moment; if it cannot be read, say so and return False."""
        image, path = photo.pixels, ""
        if image is None:
            path = str(Path(photo.root, photo.name))
            try:
                with self._output.working():
                    image = Images(Path(photo.root), (photo.name,), reading=self._reading, note=self._note).read(0)
            except UserError as error:
                self._output.say(str(error), is_error=True)
                return False
        self._leave_camera()
        self._walk.pause()
        self._output.publish(image, Path(photo.name.rpartition("!")[2]).name, "photo", live=False, path=path)
        return True

    def _fail(self, wish: FeedWish, text: str) -> None:
        """Give a notice that there is nothing to show, neither from the camera nor from the files."""
        self._output.say(text, is_error=True)
        self._walk.give_up(wish.step)
        with self._changed:
            self._output.source = "files"
            self._failed_wish = wish
            self._changed.notify_all()

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
        except Exception as error:  # give the camera up: else every further picture would cause the same notice
            return self._lose_camera(f"gives pictures of an unknown kind ({words(error)})", wish)
        camera.is_shown = True
        self._output.publish(rgb, camera_name(self._camera_address), "camera", live=True, seconds=last_seen)
        return last_seen + STALL_S

    def _start_camera(self) -> Camera:
        self._walk.pause()
        self._output.busy_since = self._clock()
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
        self._output.busy_since = last_seen
        return last_seen + PATIENCE_S

    def _leave_camera(self) -> None:
        if self._camera is not None:
            self._camera.stop()  # its thread releases the device when the driver lets go of it
            self._camera = None
            self._output.busy_since = None

    def _lose_camera(self, failure: str, wish: FeedWish) -> float | None:
        """Show the files in place of a failed camera. One notice says both: a second would replace the first."""
        name = camera_name(self._camera_address)
        self._camera_given_up = self._camera_wish
        self._leave_camera()
        self._walk.try_again()
        try:
            due = self._files_turn(wish)
        except Exception as error:
            reason = f"there are no files to show instead: {words(error)}"
            self._fail(wish, f"{name} {failure}; {reason}. Press c to try again")
            return None
        self._output.say(f"{name} {failure}; showing {self._files} instead. Press c to try again", True)
        return due
