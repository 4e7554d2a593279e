"""Snapshots and recordings, read back with OpenCV; time is a fake clock that serves as the gate."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.display import recorder as recorder_module
from deepvis.display.recorder import Recorder, letterbox, save_snapshot

SIZE = (64, 48)
RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
PLENTY = recorder_module.SPARE_BYTES


def plain(colour: tuple[int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def frames_of(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    return [frame for _, frame in itertools.takewhile(lambda read: read[0], iter(video.read, None))]


def colours(path: Path) -> list[str]:
    """The strongest channel at the middle of each frame of a video."""
    return ["BGR"[int(frame[frame.shape[0] // 2, frame.shape[1] // 2].argmax())] for frame in frames_of(path)]


class Clock:
    """A clock that stands still; `pass_time` returns when the recorder has written what is due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._reads = 0
        self._condition = threading.Condition()

    def __call__(self) -> float:
        with self._condition:
            if threading.current_thread() is not threading.main_thread():
                self._reads += 1
                self._condition.notify_all()
            return self.now

    def pass_time(self, seconds: float) -> None:
        """The thread reads the clock before and after writing: of three reads after the change, the
        last one comes after a whole turn that began with the new time."""
        with self._condition:
            self.now += seconds
            target = self._reads + 3
            assert self._condition.wait_for(lambda: self._reads >= target, timeout=20)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ---- snapshots ----------------------------------------------------------------------------------


def test_snapshot_writes_each_picture_exactly(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    path = save_snapshot(tmp_path / "a" / "b", "shot", {"window": noise, "input": plain(RED)})
    assert path == tmp_path / "a" / "b" / "shot.png"
    assert np.array_equal(cv2.imread(str(path)), noise)
    assert np.array_equal(cv2.imread(str(path.with_name("shot-input.png"))), plain(RED))
    assert sorted(os.listdir(path.parent)) == ["shot-input.png", "shot.png"]


def test_snapshot_overwrites_nothing(tmp_path: Path) -> None:
    pictures = {"window": plain(RED), "input": plain(BLUE)}
    (tmp_path / "shot-2-input.png").write_text("mine")  # one taken name moves the whole set on
    paths = [save_snapshot(tmp_path, "shot", pictures) for _ in range(3)]
    assert [path.name for path in paths] == ["shot.png", "shot-3.png", "shot-4.png"]
    assert (tmp_path / "shot-2-input.png").read_text() == "mine"
    assert (tmp_path / "shot-4-input.png").exists()


def test_snapshot_into_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.shot\.png: .*(exists|directory).*`output`"):
        save_snapshot(tmp_path / "taken", "shot", {"window": plain(RED)})


def test_interrupted_snapshot_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"shot\.png: No space left on device"):
        save_snapshot(tmp_path, "shot", {"window": plain(RED), "input": plain(BLUE)})
    assert os.listdir(tmp_path) == []


# ---- recordings ---------------------------------------------------------------------------------


def test_video_plays_at_true_speed(tmp_path: Path, clock: Clock) -> None:
    recorder = Recorder(tmp_path / "new" / "v.mp4", SIZE, clock=clock)
    clock.now += 100  # the time before the first picture does not count
    recorder.offer(plain(RED))
    clock.pass_time(1.0)  # frames 0 … 20
    recorder.offer(plain(GREEN))
    recorder.offer(plain(BLUE))  # the newest wins
    clock.pass_time(0.5)  # frames 21 … 30
    summary = recorder.close()
    assert summary == recorder_module.Summary(tmp_path / "new" / "v.mp4", 31 / 20, 31)
    assert colours(summary.path) == ["R"] * 21 + ["B"] * 10
    video = cv2.VideoCapture(str(summary.path))
    assert video.get(cv2.CAP_PROP_FPS) == 20
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 31
    assert recorder.error is None


def test_close_writes_what_is_due_and_is_idempotent(tmp_path: Path, clock: Clock) -> None:
    recorder = Recorder(tmp_path / "v.mp4", SIZE, fps=16.0, clock=clock)
    recorder.offer(plain(RED))
    clock.now += 2.0
    first = recorder.close()
    assert first.frames == len(colours(first.path)) == 33
    clock.now += 5.0
    recorder.offer(plain(BLUE))
    assert recorder.close() == first
    assert len(colours(first.path)) == 33


def test_offer_copies(tmp_path: Path, clock: Clock) -> None:
    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=clock)
    canvas = plain(RED)
    recorder.offer(canvas)
    canvas[:] = BLUE
    clock.pass_time(0.25)
    assert set(colours(recorder.close().path)) == {"R"}


def test_offer_does_not_wait_for_the_encoder(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def slow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        writing.set()
        assert go_on.wait(20)
        return letterbox(image, size)

    monkeypatch.setattr(recorder_module, "letterbox", slow)
    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=clock)
    recorder.offer(plain(RED))
    assert writing.wait(20)
    for _ in range(100):
        recorder.offer(plain(GREEN))  # would hang here
    recorder.offer(plain(BLUE))
    go_on.set()
    clock.pass_time(0.25)
    assert colours(recorder.close().path) == ["R"] + ["B"] * 5


def test_no_picture_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "v.mp4", SIZE)
    assert recorder.close().frames == 0
    assert recorder.error is None
    assert os.listdir(tmp_path) == []


def test_recording_overwrites_nothing(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "v.mp4").write_text("mine")
    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=clock)
    recorder.offer(plain(RED))
    assert recorder.close().path == tmp_path / "v-2.mp4"
    assert (tmp_path / "v.mp4").read_text() == "mine"


def test_wrong_pictures_are_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "v.mp4", SIZE)
    for wrong in (plain(RED).astype(np.float32), plain(RED)[..., 0], np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8 BGR"):
            recorder.offer(wrong)
    recorder.close()


def test_odd_size_and_a_resized_window(tmp_path: Path, clock: Clock) -> None:
    recorder = Recorder(tmp_path / "v.mp4", (63, 47), clock=clock)
    recorder.offer(plain(RED, (63, 47)))
    clock.pass_time(0.25)
    recorder.offer(plain(BLUE, (640, 100)))
    clock.pass_time(0.25)
    frames = frames_of(recorder.close().path)
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) == 11
    rows = frames[-1][:, 32].astype(int)
    assert rows[24, 0] > 200 and rows[24, 2] < 60  # blue in the middle
    assert rows[:16].max() < 60 and rows[-16:].max() < 60  # between black borders


@pytest.mark.parametrize(
    "size, box",
    [
        ((32, 24), (0, 0, 64, 48)),  # enlarged
        ((640, 100), (0, 19, 64, 10)),
        ((10, 480), (31, 0, 1, 48)),
        ((1, 5000), (31, 0, 1, 48)),  # never thinner than a pixel
        ((63, 47), (0, 0, 63, 47)),  # not scaled
    ],
)
def test_letterbox(size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    fitted = letterbox(plain((255, 255, 255), size), SIZE)
    assert fitted.shape == (48, 64, 3)
    assert cv2.boundingRect(fitted.max(axis=2)) == box
    left, top, width, height = box
    assert (fitted[top : top + height, left : left + width] == 255).all()


def test_falls_back_to_the_second_codec(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "CODECS", ((".mp4", "????"), (".avi", "MJPG")))
    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=clock)
    recorder.offer(plain(GREEN))
    clock.pass_time(0.25)
    assert colours(recorder.close().path) == ["G"] * 6
    assert os.listdir(tmp_path) == ["v.avi"]


def test_no_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "CODECS", ((".mp4", "????"), (".avi", "????")))
    with pytest.raises(UserError, match=r"v\.mp4: .*\?{4} in \.mp4, \?{4} in \.avi.*install"):
        Recorder(tmp_path / "v.mp4", SIZE)
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.v\.mp4: .*(exists|directory).*`output`"):
        Recorder(tmp_path / "taken" / "v.mp4", SIZE)


# ---- trouble on the way -------------------------------------------------------------------------


def test_full_disk_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"v\.mp4: less than 64 MB.*free some space"):
        Recorder(tmp_path / "v.mp4", SIZE, free_bytes=lambda folder: PLENTY - 1)
    assert os.listdir(tmp_path) == []


def test_disk_that_fills_keeps_what_was_recorded(tmp_path: Path, clock: Clock) -> None:
    # Asked at the start and before frames 0, 20, 40.
    left = itertools.chain([PLENTY] * 3, itertools.repeat(PLENTY - 1))
    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=clock, free_bytes=lambda folder: next(left))
    recorder.offer(plain(RED))
    clock.now += 10.0
    summary = recorder.close()
    assert summary.frames == len(colours(summary.path)) == 40
    assert recorder.error == (
        f"recording stopped: less than 64 MB are left in {tmp_path}; the first 2.0 s are in "
        f"{tmp_path / 'v.mp4'}; free some space there, or set `output` in settings.yaml to a folder "
        "on another disk"
    )
    recorder.offer(plain(RED))  # harmless


def test_disk_taken_away(tmp_path: Path, clock: Clock) -> None:
    answers = iter([PLENTY, PLENTY])

    def free_bytes(folder: Path) -> int:
        for answer in answers:
            return answer
        raise FileNotFoundError(2, "No such file or directory", str(folder))

    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=clock, free_bytes=free_bytes)
    recorder.offer(plain(RED))
    clock.now += 3.0
    assert recorder.close().frames == 20
    assert recorder.error.startswith("recording stopped: [Errno 2] No such file or directory")
    assert "the first 1.0 s are in" in recorder.error and "another disk" in recorder.error


def test_encoder_that_cannot_keep_up(tmp_path: Path) -> None:
    times = itertools.chain([0.0, 0.0], itertools.repeat(recorder_module.MAX_LAG + 1))
    recorder = Recorder(tmp_path / "v.mp4", SIZE, clock=lambda: next(times))
    recorder.offer(plain(RED))
    recorder._thread.join(20)
    summary = recorder.close()
    assert summary.frames == len(colours(summary.path)) == 1
    assert "encodes too slowly" in recorder.error and "window smaller" in recorder.error


def test_unforeseen_failure_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "letterbox", lambda image, size: 1 / 0)
    recorder = Recorder(tmp_path / "v.mp4", SIZE)
    recorder.offer(plain(RED))
    assert recorder.close().frames == 0
    assert "ZeroDivisionError" in recorder.error and "nothing was recorded" in recorder.error
    assert os.listdir(tmp_path) == []


REAL_LIMIT = """
import resource, sys
from pathlib import Path
import numpy as np
from deepvis.display import recorder as recorder_module

first = int(sys.argv[2])
recorder_module.CODECS = recorder_module.CODECS[first:] + recorder_module.CODECS[:first]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
now = 0.0
recorder = recorder_module.Recorder(Path(sys.argv[1]), (320, 240), clock=lambda: now,
                           free_bytes=lambda folder: recorder_module.SPARE_BYTES)
noise = np.random.default_rng(0)
while recorder.error is None and now < 60:
    recorder.offer(noise.integers(0, 256, (240, 320, 3), np.uint8))
    now += 0.5
    recorder._wake.set()
    recorder._thread.join(0.02)
summary = recorder.close()
print(summary.frames, recorder.error, sep="\\n")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of file sizes are POSIX's")
@pytest.mark.parametrize("codec, kept", [(0, "is incomplete and cannot be played"), (1, " s are in ")])
def test_real_limit_is_noticed(tmp_path: Path, codec: int, kept: str) -> None:
    """The disk takes no more though it said that it would: an .avi survives, an .mp4 does not."""
    answer = subprocess.run(
        [sys.executable, "-c", REAL_LIMIT, str(tmp_path / "v.mp4"), str(codec)],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    frames, error = answer.stdout.splitlines()
    path = tmp_path / ("v.avi" if codec else "v.mp4")
    assert error.startswith("recording stopped: the disk takes no more; ")
    assert kept in error and str(path) in error and "free some space" in error
    assert (len(colours(path)) > 0) == (int(frames) > 0) == bool(codec)
