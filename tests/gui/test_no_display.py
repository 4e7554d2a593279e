"""Without a display: one clear message instead of the abort that OpenCV's Qt would make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from desktop import ROOT, Program, Screen


@pytest.mark.parametrize("display", [None, ":9999"])
def test_without_a_display_it_says_so_and_names_the_headless_command(display: str | None, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"PYTHONPATH": str(ROOT)} | ({"DISPLAY": display} if display else {})
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_toolbox.py")], env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("deepvis: ") and "DISPLAY" in done.stderr and "deepvis render" in done.stderr
    assert display is None or display in done.stderr
    assert len(done.stderr.splitlines()) <= 2 and done.stdout == ""


def test_q_while_the_network_loads_ends_it(screen: Screen, tmp_path: Path):
    with Program(screen, tmp_path, "--input", "photos", gated=True) as program:
        program.open()
        program.wait(lambda: program.now["frame"], "there is a photo")
        program.screen.do("key", "q")
        program.wait(lambda: program.state["quit"], "it has got the key")
        program.open_gate()
        assert program.end(30) == 0
        assert program.stderr == ""
