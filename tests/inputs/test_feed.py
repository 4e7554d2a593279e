"""Cameras are fakes that wait at gates; files are real; time is told, or is that of real videos."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from waiting import until

from deepvis.core.errors import UserError
from deepvis.core.frames import Photo
from deepvis.inputs import camera as camera_module
from deepvis.inputs import feed as feed_module
from deepvis.inputs.camera import MISSES, camera_name, open_camera
from deepvis.inputs.decode import read_image
from deepvis.inputs.feed import Feed, FeedWish, Notice
from deepvis.inputs.player import Player

PATIENCE = 5.0  # a test that waits for longer has failed
CAMERA = FeedWish("camera")


def error_of(feed: Feed, number: int = 1) -> Notice:
    until(lambda: feed.notice and feed.notice.number >= number)
    return feed.notice


class FakeCamera:
    """Stands in for `cv2.VideoCapture`, the class and its one instance.

    `read` waits for what the test puts into `frames`: a gray level, or None for a failed read.
    """

    def __init__(self, opens: bool = True) -> None:
        self.opens = opens
        self.frames: queue.Queue[int | None] = queue.Queue()
        self.may_open = threading.Event()
        self.may_open.set()
        self.opened = 0
        self.reads = 0
        self.released = threading.Event()
        self.finishing = threading.Event()

    def __call__(self, source: int | str, api: int) -> FakeCamera:
        self.opened += 1
        self.may_open.wait(20)
        self.released.clear()
        return self

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.reads += 1
        gray = self._next()
        if gray is None:
            return False, None
        return True, np.full((6, 8, 3), (255, 0, gray), np.uint8)  # BGR

    def _next(self) -> int | None:
        while not self.finishing.is_set():
            try:
                return self.frames.get(timeout=0.01)
            except queue.Empty:
                pass
        return None

    def release(self) -> None:
        self.released.set()

    def show(self, *grays: int) -> None:
        """Give these frames and wait until each has been taken from the driver."""
        target = self.reads + len(grays) + (self.reads == 0)
        for gray in grays:
            self.frames.put(gray)
        until(lambda: self.reads >= target)


@pytest.fixture
def camera():
    camera = FakeCamera()
    yield camera
    camera.may_open.set()
    camera.finishing.set()


@pytest.fixture(autouse=True)
def no_pause_after_a_miss(monkeypatch):
    monkeypatch.setattr(camera_module, "MISS_PAUSE_S", 0)


@contextmanager
def running(wish: FeedWish, *args, **options) -> Iterator[Feed]:
    """A feed that has had this wish from its start; on leaving, no fake makes it wait."""
    feed = Feed(*args, **options)
    feed.want(wish)
    with feed:
        try:
            yield feed
        finally:
            fake = options.get("open_capture")
            if isinstance(fake, FakeCamera):
                fake.may_open.set()
                fake.finishing.set()


def gray_png(path: Path, gray: int) -> None:
    Image.new("RGB", (8, 6), (gray, gray, gray)).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five pictures, p0.png … p4.png, whose gray levels are 0 … 4."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for gray in range(5):
        gray_png(folder / f"p{gray}.png", gray)
    return folder


class Reads:
    """`read_image` that notes what was wanted (not what was decoded ahead) and has a gate."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.ahead: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, path: Path, **options: int) -> np.ndarray:
        (self.ahead if options else self.names).append(path.name)
        assert self.gate.wait(PATIENCE)
        return read_image(path, **options)


def write_video(path: Path, count: int, code: str = "mp4v", rate: float = 25) -> None:
    """Noise, so that each frame takes many bytes; its mean tells the frame (4 gray levels each)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, (64, 48))
    noise = np.random.default_rng(0).integers(0, 40, (48, 64, 3), dtype=np.uint8)
    for number in range(count):
        writer.write(noise + np.uint8(4 * number))
    writer.release()


# ---------------------------------------------------------------------------- camera


def test_camera_frames_are_rgb(camera):
    with running(CAMERA, 0, None, open_capture=camera) as feed:
        camera.frames.put(7)
        frame = feed.wait_frame(None, PATIENCE)
        assert frame.image.shape == (6, 8, 3) and frame.image[0, 0].tolist() == [7, 0, 255]
        assert (frame.name, frame.index, frame.live) == ("camera 0", 0, True)
        assert feed.source == "camera" and feed.frame is frame and feed.notice is None
        camera.frames.put(8)
        later = feed.wait_frame(0, PATIENCE)
        assert later.index == 1 and later.seconds > frame.seconds and later.source == ""
    assert camera.released.is_set()


def test_only_the_newest_frame_is_kept(camera, monkeypatch):
    gate, entered = threading.Event(), threading.Event()
    convert = feed_module.rgb_from_bgr

    def slow(image):
        entered.set()
        assert gate.wait(PATIENCE)
        return convert(image)

    monkeypatch.setattr(feed_module, "rgb_from_bgr", slow)
    with running(CAMERA, 0, None, open_capture=camera) as feed:
        camera.frames.put(1)
        assert entered.wait(PATIENCE)
        camera.show(2, 3, 4)
        gate.set()
        frame = feed.wait_frame(0, PATIENCE)
        assert (frame.image[0, 0, 0], frame.index) == (4, 1)


def test_frozen_holds_the_frame_and_thawing_shows_now(camera):
    with running(CAMERA, 0, None, open_capture=camera) as feed:
        camera.frames.put(1)
        held = feed.wait_frame(None, PATIENCE)
        feed.want(FeedWish("camera", frozen=True))
        camera.show(2, 3)
        until(lambda: feed._camera._image is None)
        assert feed.frame is held
        feed.want(CAMERA)
        camera.show(4)
        assert feed.wait_frame(held.index, PATIENCE).image[0, 0, 0] == 4


def test_frozen_camera_shows_its_first_frame(camera):
    with running(FeedWish("camera", frozen=True), 0, None, open_capture=camera) as feed:
        camera.frames.put(1)
        held = feed.wait_frame(None, PATIENCE)
        camera.show(2, 3)
        until(lambda: feed._camera._image is None)
        assert feed.frame is held


def test_unplugged_while_frozen_keeps_the_picture(camera, folder):
    with running(FeedWish("camera", frozen=True), 0, folder, open_capture=camera) as feed:
        camera.frames.put(1)
        until(lambda: feed.source == "camera")
        held = feed.frame
        for _ in range(MISSES):
            camera.frames.put(None)
        assert camera.released.wait(PATIENCE)
        assert feed.frame is held
        feed.want(CAMERA)
        assert "camera 0 gives no more pictures" in error_of(feed).text
        assert feed.source == "files"


def test_a_camera_that_does_not_open(camera, folder):
    camera.opens = False
    with running(CAMERA, 3, folder, open_capture=camera) as feed:
        notice = error_of(feed)
        assert notice.is_error
        assert notice.text.startswith("camera 3 ") and "c to try again" in notice.text
        assert f"showing {folder}" in notice.text
        assert feed.source == "files" and feed.frame.name == "p0.png"
        assert camera.released.is_set()

        feed.want(FeedWish("camera", step=1))  # still given up: no further try, the files go on
        assert feed.wait_frame(feed.frame.index, PATIENCE).name == "p1.png"
        assert camera.opened == 1 and feed.notice is notice

        camera.opens = True
        feed.want(FeedWish("files", step=1))
        feed.want(FeedWish("camera", step=1))
        camera.frames.put(5)
        until(lambda: feed.source == "camera")
        assert feed.frame.image[0, 0, 0] == 5


def test_a_second_failure_is_told_again(camera, folder):
    camera.opens = False
    with running(CAMERA, 3, folder, open_capture=camera) as feed:
        first = error_of(feed)
        feed.want(FeedWish("files"))
        feed.want(CAMERA)
        assert error_of(feed, 2) == Notice(first.text, 2, True)


@pytest.mark.parametrize("shown_before, words", [(True, "gives no more"), (False, "another")])
def test_a_camera_that_fails_midway(camera, folder, shown_before, words):
    with running(CAMERA, 0, folder, open_capture=camera) as feed:
        if shown_before:
            camera.frames.put(1)
            until(lambda: feed.source == "camera")
            for gray in (2, 3):
                for _ in range(MISSES - 1):  # hiccups are no failure
                    camera.frames.put(None)
                camera.frames.put(gray)
            until(lambda: feed.frame.image[0, 0, 0] == 3)
        for _ in range(MISSES):
            camera.frames.put(None)
        assert words in error_of(feed).text
        until(lambda: feed.frame.name == "p0.png")
        assert feed.source == "files"


def test_a_driver_that_raises(folder):
    def exploding(source, api):
        raise OSError("the bus is on fire")

    with running(CAMERA, 0, folder, open_capture=exploding) as feed:
        assert "the bus is on fire" in error_of(feed).text
        assert feed.frame.name == "p0.png"


def test_a_camera_with_pictures_of_no_known_kind(camera, folder, monkeypatch):
    monkeypatch.setattr(camera, "read", lambda: (True, np.zeros((4, 4, 5), np.uint8)))
    with running(CAMERA, 0, folder, open_capture=camera) as feed:
        assert "unknown kind" in error_of(feed).text
        assert feed.source == "files"


def test_a_gray_camera(camera, monkeypatch):
    monkeypatch.setattr(camera, "read", lambda: (True, np.full((4, 5), 9, np.uint8)))
    with running(CAMERA, 0, None, open_capture=camera) as feed:
        assert (feed.wait_frame(None, PATIENCE).image == np.full((4, 5, 3), 9)).all()


def test_neither_camera_nor_files(camera):
    camera.opens = False
    with running(CAMERA, 0, None, open_capture=camera) as feed:
        text = error_of(feed).text
        assert "camera 0" in text and "no files are configured" in text
        assert feed.frame is None and feed.source == "files" and not feed.busy
        feed.want(FeedWish("files"))  # as the window does then: no second notice may hide the first
        feed.want(FeedWish("files", frozen=True))
        time.sleep(0.05)
        assert feed.notice.number == 1
        feed.want(CAMERA)
        assert error_of(feed, 2).text == text


def test_frames_of_files_name_their_file(folder):
    with running(FeedWish(), None, folder) as feed:
        frame = feed.wait_frame(None, PATIENCE)
        assert Path(frame.source).is_file() and Path(frame.source).name == frame.name and frame.seconds == 0


def test_no_camera_configured(folder):
    with running(CAMERA, None, folder) as feed:
        assert "the camera is not configured" in error_of(feed).text
        assert feed.frame.name == "p0.png"


def test_probing_a_missing_camera_is_quick_and_silent(folder, capfd):
    before = cv2.utils.logging.getLogLevel()
    with running(CAMERA, 97, folder) as feed:
        assert "camera 97" in error_of(feed).text
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only there a missing device is known")
def test_a_missing_device_is_not_even_tried(monkeypatch):
    missing = cv2.VideoCapture()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *args: missing if not args else pytest.fail())
    assert open_camera(97, cv2.CAP_ANY) is missing


def test_an_address_is_shown_without_its_password():
    assert camera_name("rtsp://me:secret@host:554/live?key=1") == "camera rtsp://host:554/live"


def test_an_opening_camera_holds_nobody_up(camera, folder):
    camera.may_open.clear()
    now = 0.0
    with running(CAMERA, 0, folder, open_capture=camera, clock=lambda: now) as feed:
        until(lambda: camera.opened)
        assert not feed.busy
        now = 0.3
        assert feed.busy and feed.frame is None
        feed.want(FeedWish("files"))
        assert feed.wait_frame(None, PATIENCE).name == "p0.png"
        assert not feed.busy
        camera.may_open.set()
        assert camera.released.wait(PATIENCE)


def test_a_camera_is_not_opened_twice_at_a_time(camera, folder):
    camera.may_open.clear()
    with running(CAMERA, 0, folder, open_capture=camera) as feed:
        until(lambda: camera.opened == 1)
        feed.want(FeedWish("files"))
        assert feed.wait_frame(None, PATIENCE).name == "p0.png"
        feed.want(CAMERA)
        until(lambda: feed.busy)
        assert camera.opened == 1
        camera.may_open.set()
        until(lambda: camera.opened == 2)
        camera.frames.put(1)
        until(lambda: feed.source == "camera")


def test_a_camera_that_never_answers_is_given_up(camera, folder):
    camera.may_open.clear()
    now = 0.0
    with running(CAMERA, 0, folder, open_capture=camera, clock=lambda: now) as feed:
        until(lambda: camera.opened)
        now = feed_module.PATIENCE_S + 1
        feed.want(FeedWish("camera", step=1))  # anything that wakes the thread
        assert "not answered" in error_of(feed).text
        # The thread may also have woken by itself before it was asked, and shows the first file for a moment.
        until(lambda: feed.frame.name == "p1.png")


def test_a_camera_held_for_long_is_not_given_up(camera):
    now = 0.0
    with running(CAMERA, 0, None, open_capture=camera, clock=lambda: now) as feed:
        camera.frames.put(1)
        held = feed.wait_frame(None, PATIENCE)
        feed.want(FeedWish("camera", frozen=True))
        now = feed_module.PATIENCE_S + 1
        camera.show(2)
        until(lambda: feed._camera._image is None)
        feed.want(CAMERA)
        camera.show(3)
        assert feed.wait_frame(held.index, PATIENCE).image[0, 0, 0] == 3
        assert feed.notice is None


def test_close_does_not_wait_for_a_hanging_driver(camera):
    camera.may_open.clear()
    feed = Feed(0, None, open_capture=camera)
    feed.start()
    feed.want(CAMERA)
    until(lambda: camera.opened)
    start = time.monotonic()
    feed.close()
    feed.close()
    assert time.monotonic() - start < 2.5
    assert not feed._thread.is_alive()


def test_leaving_the_camera_releases_it_and_shows_the_same_file_again(camera, folder):
    with running(FeedWish(), 0, folder, open_capture=camera, read=(reads := Reads())) as feed:
        first = feed.wait_frame(None, PATIENCE)
        feed.want(CAMERA)
        camera.frames.put(1)
        until(lambda: feed.source == "camera")
        feed.want(FeedWish("files"))
        until(lambda: camera.frames.put(2) or camera.released.is_set())
        until(lambda: feed.source == "files")
        assert feed.frame.name == "p0.png" and feed.frame.index > first.index
        assert reads.names == ["p0.png"]


# ---------------------------------------------------------------------------- pictures


def test_stepping(folder):
    with running(FeedWish(), None, folder) as feed:
        frame = feed.wait_frame(None, PATIENCE)
        assert (frame.name, frame.index, frame.live) == ("p0.png", 0, False)
        shown = []
        for step in (1, 2, 1, 0, -1, 4, 5):
            feed.want(FeedWish(step=step))
            frame = feed.wait_frame(frame.index, PATIENCE)
            shown.append((frame.name, int(frame.image[0, 0, 0])))
        assert shown == [(f"p{n}.png", n) for n in (1, 2, 1, 0, 4, 4, 0)]
        assert feed.notice is None and feed.source == "files"


# ---------------------------------------------------------------------------- an image of a data set


def archive(path: Path, picture: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.add(picture, "deep/inside.png")


def test_a_photo_is_shown_in_place_of_the_files_until_it_is_left(folder, tmp_path):
    gray_png(tmp_path / "top.png", 99)
    archive(tmp_path / "shard.tar", tmp_path / "top.png")
    with running(FeedWish(step=2), None, folder) as feed:
        frame = feed.wait_frame(None, PATIENCE)
        for name, shown in (("top.png", "top.png"), ("shard.tar!deep/inside.png", "inside.png")):
            feed.want(FeedWish(step=2, photo=Photo(str(tmp_path), name)))
            frame = feed.wait_frame(frame.index, PATIENCE)
            assert (frame.name, int(frame.image[0, 0, 0]), frame.live, feed.source) == (shown, 99, False, "photo")
        feed.want(FeedWish(step=2))
        frame = feed.wait_frame(frame.index, PATIENCE)
        assert (frame.name, feed.source, feed.notice) == ("p2.png", "files", None)


def test_a_photo_lets_go_of_the_camera_which_comes_back(camera, folder):
    with running(CAMERA, 0, folder, open_capture=camera) as feed:
        camera.frames.put(1)
        until(lambda: feed.source == "camera")
        feed.want(FeedWish("camera", photo=Photo(str(folder), "p3.png")))
        until(lambda: camera.frames.put(2) or camera.released.is_set())
        until(lambda: feed.source == "photo")
        assert feed.frame.name == "p3.png"
        feed.want(CAMERA)
        until(lambda: camera.frames.put(2) or feed.source == "camera")
        assert feed.notice is None


def test_a_moment_is_shown_as_the_network_saw_it(folder):
    with Feed(None, folder) as feed:
        until(lambda: feed.frame is not None)
        seen = np.full((8, 8, 3), 77, np.uint8)
        feed.want(FeedWish(photo=Photo("", "camera 0, moment 5", seen)))
        until(lambda: feed.source == "photo")
        assert feed.frame.image is seen and (feed.frame.name, feed.frame.source) == ("camera 0, moment 5", "")
        feed.want(FeedWish())
        until(lambda: feed.source == "files")


def test_a_photo_that_is_gone_is_told_and_changes_nothing(camera, folder):
    with running(CAMERA, 0, folder, open_capture=camera) as feed:
        camera.frames.put(1)
        until(lambda: feed.source == "camera")
        feed.want(FeedWish("camera", photo=Photo(str(folder), "gone.png")))
        notice = error_of(feed)
        assert notice.is_error and "gone.png" in notice.text and "does not exist" in notice.text
        camera.frames.put(7)
        until(lambda: feed.frame.image[0, 0, 0] == 7)
        assert feed.source == "camera" and camera.opened == 1 and feed.notice is notice


def test_a_wish_before_the_start_counts(folder):
    feed = Feed(None, folder)
    feed.want(FeedWish(step=3))
    with feed:
        assert feed.wait_frame(None, PATIENCE).name == "p3.png"


def test_quick_steps_are_coalesced(folder):
    reads = Reads()
    reads.gate.clear()
    with running(FeedWish(), None, folder, read=reads) as feed:
        until(lambda: reads.names)
        for step in range(1, 49):
            feed.want(FeedWish(step=step))
        reads.gate.set()
        assert feed.wait_frame(0, PATIENCE).name == "p3.png"
        assert reads.names == ["p0.png", "p3.png"]


def test_steps_made_while_the_camera_shows_count_later(camera, folder):
    with running(FeedWish("camera", step=2), 0, folder, open_capture=camera) as feed:
        camera.frames.put(1)
        until(lambda: feed.source == "camera")
        feed.want(FeedWish("files", step=3))
        camera.frames.put(1)
        until(lambda: feed.source == "files")
        assert feed.frame.name == "p3.png"


def test_the_next_picture_is_decoded_ahead(folder):
    with running(FeedWish(), None, folder, read=(reads := Reads())) as feed:
        until(lambda: reads.ahead == ["p1.png"])
        feed.want(FeedWish(step=1))
        frame = feed.wait_frame(0, PATIENCE)
        assert frame.name == "p1.png" and frame.image[0, 0, 0] == 1
        assert reads.names == ["p0.png"]
        until(lambda: reads.ahead == ["p1.png", "p2.png"])
        feed.want(FeedWish(step=0))  # back: now the one before is likely
        until(lambda: reads.ahead == ["p1.png", "p2.png", "p4.png"])


def test_what_was_decoded_ahead_is_not_shown_after_a_change(folder):
    with running(FeedWish(), None, folder, read=(reads := Reads())) as feed:
        until(lambda: reads.ahead == ["p1.png"] and feed._walk._look_ahead_at is None)
        gray_png(folder / "p1.png", 99)
        os.utime(folder / "p1.png", (1, 1))
        feed.want(FeedWish(step=1))
        assert feed.wait_frame(0, PATIENCE).image[0, 0, 0] == 99


def test_a_decoding_that_takes_long_is_busy(folder):
    reads, now = Reads(), 0.0
    reads.gate.clear()
    with running(FeedWish(), None, folder, read=reads, clock=lambda: now) as feed:
        until(lambda: reads.names)
        assert not feed.busy
        now = 0.3
        assert feed.busy
        reads.gate.set()
        assert feed.wait_frame(None, PATIENCE)
        until(lambda: not feed.busy)


@pytest.mark.parametrize("steps, shown", [(1, "p3.png"), (-1, "p4.png"), (-2, "p3.png")])
def test_broken_files_are_skipped_in_the_direction_of_travel(folder, steps, shown):
    for name in ("p1.png", "p2.png"):
        (folder / name).write_text("not a picture")
    with running(FeedWish(), None, folder) as feed:
        feed.wait_frame(None, PATIENCE)
        feed.want(FeedWish(step=steps))
        assert feed.wait_frame(0, PATIENCE).name == shown
        if steps > 0:
            assert "skipped (2 so far): p2.png is not a picture" in feed.notice.text
            assert not feed.notice.is_error
            feed.want(FeedWish(step=steps - 1))  # back over the same two
            assert feed.wait_frame(1, PATIENCE).name == "p0.png"
            assert "skipped (2 so far): p1.png" in feed.notice.text


def test_nothing_can_be_read(folder):
    for path in folder.iterdir():
        path.write_bytes(b"")
    with running(FeedWish(), None, folder, read=(reads := Reads())) as feed:
        until(lambda: feed.notice and feed.notice.is_error)
        assert "nothing in" in feed.notice.text and "p4.png is empty" in feed.notice.text
        assert reads.names == [f"p{n}.png" for n in range(5)]
        assert feed.frame is None and not feed.busy
        gray_png(folder / "p3.png", 33)
        feed.want(FeedWish(step=1))
        assert feed.wait_frame(None, PATIENCE).name == "p3.png"


def test_a_newer_wish_cuts_the_search_short(folder):
    for path in folder.iterdir():
        path.write_bytes(b"")
    gray_png(folder / "p4.png", 4)
    reads = Reads()
    reads.gate.clear()
    with running(FeedWish(), None, folder, read=reads) as feed:
        until(lambda: reads.names)
        feed.want(FeedWish(step=3))
        reads.gate.set()
        assert feed.wait_frame(None, PATIENCE).name == "p4.png"
        assert reads.names == ["p0.png", "p4.png"]


@pytest.mark.parametrize("path", ["missing", "empty"])
def test_a_folder_without_files_until_it_has_some(tmp_path, path):
    (tmp_path / "empty").mkdir()
    with running(FeedWish(), None, tmp_path / path) as feed:
        assert error_of(feed).is_error and path in feed.notice.text
        (tmp_path / path).mkdir(exist_ok=True)
        gray_png(tmp_path / path / "a.png", 1)
        feed.want(FeedWish(step=1))
        assert feed.wait_frame(None, PATIENCE).name == "a.png"


def test_the_shown_file_is_deleted(folder):
    with running(FeedWish(), None, folder) as feed:
        feed.wait_frame(None, PATIENCE)
        (folder / "p0.png").unlink()
        feed.want(FeedWish(step=1))
        assert feed.wait_frame(0, PATIENCE).name == "p1.png"


def test_dead_paths_of_a_list_are_told(folder):
    (folder / "list.txt").write_text("p1.png\ngone.png\np2.png")
    with running(FeedWish(), None, folder / "list.txt") as feed:
        assert feed.wait_frame(None, PATIENCE).name == "p1.png"
        assert "1 of the paths" in feed.notice.text and not feed.notice.is_error


def test_the_thread_survives_the_unexpected(folder):
    def buggy(path, **options):
        if path.name != "p3.png":
            raise ZeroDivisionError("by chance")
        return read_image(path)

    with running(FeedWish(), None, folder, read=buggy) as feed:
        assert error_of(feed) == Notice("ZeroDivisionError: by chance", 1, True)
        feed.want(FeedWish(step=3))
        assert feed.wait_frame(None, PATIENCE).name == "p3.png"


@pytest.mark.parametrize("frozen", [False, True])
def test_an_idle_feed_sleeps(folder, monkeypatch, frozen):
    turns = []
    turn = Feed._turn
    monkeypatch.setattr(Feed, "_turn", lambda self, wish: turns.append(wish) or turn(self, wish))
    with running(FeedWish(frozen=frozen), None, folder) as feed:
        feed.wait_frame(None, PATIENCE)
        time.sleep(0.1)  # enough for decoding ahead
        before = len(turns)
        feed.want(FeedWish(frozen=frozen))  # nothing new
        time.sleep(0.2)
        assert len(turns) == before < 8


def test_waiting_ends_when_the_wish_has_failed(tmp_path, camera):
    camera.opens = False
    for wish in (FeedWish(), CAMERA):
        with running(wish, 0, tmp_path, open_capture=camera) as feed:
            start = time.monotonic()
            assert feed.wait_frame(None, PATIENCE) is None
            assert time.monotonic() - start < PATIENCE / 2
            assert feed.notice.is_error and str(tmp_path) in feed.notice.text


def test_camera_to_a_folder_that_has_become_empty(camera, folder):
    with running(CAMERA, 0, folder, open_capture=camera) as feed:
        camera.frames.put(1)
        assert feed.wait_frame(None, PATIENCE)
        for path in folder.iterdir():
            path.unlink()
        feed.want(FeedWish("files"))
        assert error_of(feed).is_error
        until(lambda: feed.source == "files")
        camera.frames.put(1)
        feed.want(CAMERA)
        camera.frames.put(1)
        until(lambda: feed.source == "camera")
        gray_png(folder / "new.png", 5)
        feed.want(FeedWish("files"))
        camera.frames.put(1)
        until(lambda: feed.frame.name == "new.png")


def test_waiting_in_vain(folder):
    feed = Feed(None, folder)
    assert feed.wait_frame(None, 0.01) is None
    feed.close()  # never started
    assert feed.wait_frame(None, PATIENCE) is None


def test_no_torch_in_here():
    code = "import deepvis.inputs.feed, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# ---------------------------------------------------------------------------- videos


class Clip:
    """Stands in for `cv2.VideoCapture`: frame n of `count` has the gray level n."""

    def __init__(self, count: int, rate: float = 10.0, claims: int | None = None) -> None:
        self.count, self.rate, self.claims = count, rate, claims
        self.opened = 0

    def __call__(self, source: str, api: int) -> Clip:
        self.position = 0
        self.opened += 1
        return self

    def isOpened(self) -> bool:
        return True

    def get(self, what: int) -> float:
        known = {cv2.CAP_PROP_FPS: self.rate, cv2.CAP_PROP_FRAME_COUNT: self.claims or self.count}
        return known.get(what, 0)

    def grab(self) -> bool:
        self.position += 1
        return self.position <= self.count

    def read(self) -> tuple[bool, np.ndarray | None]:
        readable = self.grab()
        gray = self.position - 1
        return readable, np.full((4, 4, 3), gray, np.uint8) if readable else None

    def release(self) -> None:
        pass


@pytest.fixture
def clip_path(tmp_path) -> Path:
    (tmp_path / "clip.mp4").touch()
    return tmp_path / "clip.mp4"


def gray_of(player: Player) -> int:
    return int(player.image[0, 0, 0])


def test_a_player_keeps_the_rate(clip_path):
    player = Player(clip_path, Clip(100, rate=10))
    assert gray_of(player) == 0 and not player.advance(5.0)
    shown = []
    for now in np.arange(5.0, 7.0, 0.013):
        if player.advance(now):
            shown.append((now, gray_of(player)))
    assert [gray for _, gray in shown] == list(range(1, 20))  # none lost, none early
    assert all(0 <= now - (5.0 + gray / 10) < 0.0131 for now, gray in shown)


def test_a_late_player_drops_frames_but_goes_on(clip_path):
    player = Player(clip_path, Clip(100, rate=20))
    player.advance(0.0)
    assert player.advance(0.21) and gray_of(player) == 4  # due at 0.20
    assert player.due == pytest.approx(0.25)
    assert player.advance(9.0) and gray_of(player) == 5 + 5  # a quarter of a second, no more
    assert player.due == pytest.approx(9.05)


def test_a_paused_player_goes_on_from_where_it_was(clip_path):
    player = Player(clip_path, Clip(100, rate=10))
    player.advance(0.0)
    assert player.advance(0.1) and gray_of(player) == 1
    player.pause()
    assert player.due is None
    assert not player.advance(50.0) and not player.advance(50.05)
    assert player.advance(50.1) and gray_of(player) == 2


def play(player: Player, count: int) -> list[int]:
    """The gray levels of the next `count` frames, on time."""
    grays: list[int] = []
    player.advance(0.0)
    while len(grays) < count:
        assert player.advance(player.due)
        grays.append(gray_of(player))
    return grays


@pytest.mark.parametrize("claims", [None, 0, -5, 3])
def test_a_player_loops(clip_path, claims):
    clip = Clip(3, claims=claims)
    player = Player(clip_path, clip)
    assert play(player, 6) == [1, 2, 0, 1, 2, 0]
    assert clip.opened == 3 and player.damage is None


def test_a_player_tells_of_damage_once(clip_path):
    player = Player(clip_path, Clip(3, claims=50))
    play(player, 3)
    assert "clip.mp4 is damaged: only 3 of its 50 frames" in player.damage
    player.damage = None
    play(player, 9)
    assert player.damage is None


@pytest.mark.parametrize("claims", [1, 0, 30])
def test_a_video_of_one_frame_stands_still(clip_path, claims):
    player = Player(clip_path, Clip(1, claims=claims or -1))
    player.advance(0.0)
    assert not player.advance(1.0)
    assert player.due is None and not player.is_live


def test_a_video_that_vanishes_while_it_plays(clip_path):
    player = Player(clip_path, Clip(2))
    clip_path.unlink()
    play(player, 1)
    with pytest.raises(UserError, match="does not exist"):
        player.advance(player.due)


@pytest.mark.parametrize("direction, shown, after", [(1, "p0.png", "p1.png"), (-1, "p4.png", "p3.png")])
def test_a_feed_whose_video_vanishes_while_it_plays_goes_on_with_the_next_file(folder, direction, shown, after):
    """In the direction of travel; and the step that is wished for next leads from there."""
    (folder / "clip.mp4").touch()  # the first by name
    with running(FeedWish(step=-direction), None, folder, open_capture=Clip(2, rate=50)) as feed:
        assert feed.wait_frame(None, PATIENCE).name in ("p0.png", "p4.png")
        feed.want(FeedWish(step=0))
        until(lambda: feed.frame.name.startswith("clip.mp4"))
        (folder / "clip.mp4").unlink()
        until(lambda: feed.frame.name == shown)
        assert "skipped (1 so far)" in feed.notice.text and "clip.mp4 does not exist" in feed.notice.text
        assert not feed.notice.is_error
        feed.want(FeedWish(step=direction))
        until(lambda: feed.frame.name != shown)
        assert feed.frame.name == after


def test_the_name_tells_the_position(clip_path):
    player = Player(clip_path, Clip(2000, rate=0.1))
    assert player.name == "clip.mp4 0:00"
    play(player, 7)
    assert player.name == "clip.mp4 1:10" and player.seconds == 70


def test_a_real_video_plays_pauses_and_loops(tmp_path):
    write_video(tmp_path / "clip.mp4", count=6, rate=50)
    with running(FeedWish(), None, tmp_path / "clip.mp4") as feed:
        frame = feed.wait_frame(None, PATIENCE)
        assert frame.name == "clip.mp4 0:00" and frame.live
        start, levels = time.monotonic(), []
        for _ in range(12):
            levels.append(frame.image.mean())
            frame = feed.wait_frame(frame.index, PATIENCE)
        assert frame.index == 12 and time.monotonic() - start > 0.15
        assert levels[5] > levels[0] + 15  # brighter to the end …
        assert min(abs(levels[0] - level) for level in levels[6:]) < 1  # … and anew
        feed.want(FeedWish(frozen=True))
        until(lambda: feed._walk._entry.due is None)
        held = feed.frame
        assert feed.wait_frame(held.index, 0.1) is None
        feed.want(FeedWish())
        assert feed.wait_frame(held.index, PATIENCE).index == held.index + 1


def test_a_video_that_ends_in_garbage(tmp_path):
    path = tmp_path / "cut.avi"
    write_video(path, count=20, code="MJPG", rate=100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + np.random.default_rng(0).bytes(3000))
    with running(FeedWish(), None, path) as feed:
        notice = error_of(feed)
        assert "cut.avi is damaged: only" in notice.text and not notice.is_error
        frame = feed.frame
        for _ in range(15):
            frame = feed.wait_frame(frame.index, PATIENCE)
        assert feed.notice is notice


def test_an_unreadable_video_is_skipped(folder, capfd):
    write_video(folder / "p1b.mp4", count=10)
    data = (folder / "p1b.mp4").read_bytes()
    (folder / "p1b.mp4").write_bytes(data[: len(data) // 2] + b"garbage" * 100)
    with running(FeedWish(), None, folder) as feed:
        feed.wait_frame(None, PATIENCE)
        feed.want(FeedWish(step=2))
        assert feed.wait_frame(0, PATIENCE).name == "p2.png"
        assert "skipped (1 so far): p1b.mp4 cannot be read as a video" in feed.notice.text
    assert capfd.readouterr().err == ""


def test_an_unreadable_video_alone(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"garbage" * 100)
    with running(FeedWish(), None, tmp_path / "bad.mp4") as feed:
        until(lambda: feed.notice and feed.notice.is_error)
        assert "bad.mp4" in feed.notice.text and feed.frame is None


def test_videos_among_pictures(folder):
    write_video(folder / "p0b.avi", count=50, code="MJPG")
    with running(FeedWish(), None, folder) as feed:
        feed.wait_frame(None, PATIENCE)
        feed.want(FeedWish(step=1))
        frame = feed.wait_frame(0, PATIENCE)
        assert frame.name == "p0b.avi 0:00" and frame.live
        feed.want(FeedWish(step=2))
        until(lambda: feed.frame.name == "p1.png")
        assert not feed.frame.live


def test_a_video_that_vanishes_gives_way_to_the_next_file(folder):
    for path in folder.iterdir():
        path.rename(path.with_name(f"z{path.name}"))
    write_video(folder / "a.mp4", count=3, rate=100)
    with running(FeedWish(), None, folder) as feed:
        feed.wait_frame(None, PATIENCE)
        (folder / "a.mp4").unlink()
        until(lambda: feed.frame.name == "zp0.png")
        assert "a.mp4" in feed.notice.text
