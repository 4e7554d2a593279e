"""Files as input: a folder with broken ones among them, and a video; and how such programs end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from desktop import GONE, QUIET, Program, Screen, changed

FRAMES, RATE = 48, 24.0  # of the video


# ---- a folder -----------------------------------------------------------------------------------


def picture(width: int, height: int) -> np.ndarray:
    """Something that looks different when it is stretched."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0] = np.linspace(0, 255, width, dtype=np.uint8)
    cv2.circle(image, (width // 2, height // 2), min(width, height) // 3, (40, 200, 255), -1)
    return image


@pytest.fixture(scope="module")
def browser(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("folder")
    (photos := folder / "photos").mkdir()
    cv2.imwrite(str(photos / "1 wide.jpg"), picture(600, 300))
    (photos / "2 text.jpg").write_text("this is no picture")
    cv2.imwrite(str(photos / "3 gray.png"), (picture(200, 200)[..., 0].astype(np.uint16) << 8))
    cv2.imwrite(str(photos / "10 last.png"), picture(1, 1))
    (photos / "notes.txt").write_text("not to be shown")
    with Program(screen, folder, "--input", photos) as program:
        program.ready()
        yield program


def step(program: Program, key: str, to: str) -> None:
    program.press(key)
    program.wait(lambda: program.now["frame"] == to, f"{to} is shown")


def test_a_folder_is_browsed_in_natural_order_and_broken_files_are_skipped_with_a_word(browser):
    assert browser.now["frame"] == "1 wide.jpg"
    wide = browser.picture()
    step(browser, "e", "3 gray.png")
    browser.wait(lambda: "skipped" in browser.words("status"), "the status bar tells of the broken file")
    assert "2 text.jpg" in browser.words("status")
    assert {"input", "layer"} <= changed(wide, browser.picture())
    step(browser, "Next", "10 last.png")
    browser.picture()
    step(browser, "e", "1 wide.jpg")
    assert not changed(wide, browser.picture())
    step(browser, "w", "10 last.png")
    step(browser, "Prior", "3 gray.png")
    step(browser, "w", "1 wide.jpg")


def test_0_cuts_the_middle_out_or_stretches(browser):
    if browser.now["frame"] != "1 wide.jpg":
        step(browser, "w", "1 wide.jpg")
    cropped = browser.picture()
    browser.press("0")
    stretched = browser.picture()
    assert {"input", "layer", "unit"} <= changed(cropped, stretched)
    assert "stretched" in browser.words("input")
    assert width_of_disc(cropped["input"]) > 1.7 * width_of_disc(stretched["input"])
    browser.press("0")
    assert not changed(cropped, browser.picture())


def width_of_disc(pixels: np.ndarray) -> int:
    """Of the orange disc in `picture`."""
    red, _, blue = np.moveaxis(pixels.astype(int), 2, 0)
    return np.ptp(np.nonzero((red > 200) & (blue < 90))[1])


def test_ctrl_c_ends_it(browser):
    browser.interrupt()
    assert browser.end(GONE) == 0
    assert browser.stderr == ""


# ---- a video ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def player(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("video")
    video = cv2.VideoWriter(str(folder / "bars.avi"), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (320, 240))
    assert video.isOpened()
    for i in range(FRAMES):
        image = np.full((240, 320, 3), 90, np.uint8)
        image[:, 20 + 5 * i : 60 + 5 * i] = 255
        video.write(image)
    video.release()
    with Program(screen, folder, "--input", folder / "bars.avi") as program:
        program.open()
        program.wait(lambda: program.now.get("network_rate"), "the network runs", 90)
        yield program


def bar(program: Program) -> int:
    """Where the white bar is in the input pane on the screen."""
    left, top, width, _ = program.now["panes"]["input"]
    place = program.place
    line = program.screen.grab(place[0] + left, place[1] + top + width // 2, width - 8, 1)[0]
    return int(np.nonzero(line.min(axis=1) > 200)[0].mean())


def test_a_video_plays_and_starts_again(player):
    seconds = set()
    player.wait(lambda: seconds.add(player.now["frame"]) or len(seconds) == 2, "its time goes on")
    assert seconds == {"bars.avi 0:00", "bars.avi 0:01"}
    player.wait(lambda: player.now["frame"] == "bars.avi 0:01", "its second second comes")
    player.wait(lambda: player.now["frame"] == "bars.avi 0:00", "it starts again")
    crc = player.now["crc"]["layer"]
    player.wait(lambda: player.now["crc"]["layer"] != crc, "the network sees its next frame")


def test_f_and_space_pause_it_and_let_it_go_on(player):
    for pause, go_on in (("f", "space"), ("space", "f")):
        player.press(pause)
        assert player.state["frozen"]
        player.wait(lambda: player.now["network_rate"] == 0, "it stands still")
        still = player.picture()
        assert "frozen" in player.words("input") or "paused" in player.words("input")
        at, count = bar(player), player.now["events"].get("Key")
        player.press("8", "8")  # the program lives, the picture stays
        assert player.now["events"]["Key"] == count + 2
        assert not changed(still, player.picture()) and bar(player) == at
        player.press(go_on)
        assert not player.state["frozen"]
        crc = player.now["crc"]["input"]
        player.wait(lambda: player.now["crc"]["input"] != crc, "it goes on")


def test_the_close_button_ends_it_and_finishes_the_recording(player):
    """While new pictures keep coming: `imshow` silently reopens a window that has been closed."""
    player.press("r")
    player.wait(lambda: "REC" in player.words("status"), "it records")
    start = player.now["frame"]
    player.wait(lambda: player.now["frame"] != start, "a part of the video is recorded")
    player.screen.do("key", "alt+F4")  # openbox then sends WM_DELETE_WINDOW, as its button does
    assert player.end(GONE) == 0
    assert player.stderr == ""
    (path,) = Path(player.folder, "deepvis-output").iterdir()
    video = cv2.VideoCapture(str(path))
    frames = []
    while (got := video.read())[0]:
        frames.append(got[1])
    assert len(frames) > 5
    assert max(np.abs(frames[0].astype(int) - frame).mean() for frame in frames) > 0.3


# ---- the screen -----------------------------------------------------------------------------------


def test_a_window_that_is_larger_than_the_screen_is_made_to_fit(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("window: {width: 4000, height: 3000}\n" + QUIET)
    with Program(screen, tmp_path, "--input", "photos") as program:
        program.ready()
        width, height = program.place[2:]
        assert 1800 <= width <= 1920 and 1000 <= height <= 1200
        assert program.now["size"] == [width, height]
