"""The window is closed while torch is imported and the network loads: the program is gone at once, and without a
word."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from desktop import GONE, PATIENCE, Program, Screen

WAYS = {
    "q": lambda program: program.screen.do("key", "q"),
    "close button": lambda program: program.screen.do("key", "alt+F4"),  # openbox then sends what its button does
    "Ctrl-C": lambda program: program.interrupt(),
    "SIGTERM": lambda program: program.process.send_signal(signal.SIGTERM),
}


@pytest.mark.parametrize("seconds", [0.2, 1.5])  # after the window has opened: torch is imported, the network is made
@pytest.mark.parametrize("way", WAYS)
def test_it_ends_while_torch_is_imported(screen: Screen, tmp_path: Path, way: str, seconds: float) -> None:
    with Program(screen, tmp_path, "--input", "photos") as program:
        program.open()
        time.sleep(seconds)
        WAYS[way](program)
        assert program.end(PATIENCE) == 0  # the import holds Python's lock for long on a busy computer
        assert program.stderr == ""


@pytest.mark.parametrize("way", WAYS)
def test_it_does_not_wait_for_a_network_that_never_loads(screen: Screen, tmp_path: Path, way: str) -> None:
    with Program(screen, tmp_path, "--input", "photos", gated=True) as program:
        program.open()
        program.wait(lambda: program.now["frame"], "there is a photo")
        WAYS[way](program)
        assert program.end(GONE) == 0
        assert program.stderr == ""


def test_it_does_not_wait_for_a_camera_that_does_not_answer(screen: Screen, tmp_path: Path) -> None:
    """As a stream without a server, which is tried for many seconds: here a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "silent.mjpg")
    with Program(screen, tmp_path, "--input", f"file://{tmp_path / 'silent.mjpg'}", gated=True) as program:
        program.open()
        program.wait(lambda: program.now["size"], "it runs")
        program.interrupt()
        assert program.end(GONE) == 0
        assert program.stderr == ""
