"""Without a display: one clear message instead of the abort that OpenCV's Qt would make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from desktop import ROOT


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
