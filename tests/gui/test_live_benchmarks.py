"""Each benchmark of the window runs, for a moment: none rots unseen."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from desktop import Screen

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def run(screen: Screen, name: str, *args: str) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=screen.environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("backward", [False, True])
def test_live(screen: Screen, backward: bool) -> None:
    """All parts in one process, which a true run gives one each."""
    said = run(
        screen,
        "live.py",
        "--part",
        "bare,live,scan,grow,collect,keys,redraw",
        "--models",
        "efficientnet-lite0",
        "--seconds",
        "0.3",
        *["--backward"] * backward,
    )
    assert all(value > 0 for value in json.loads(said.splitlines()[-1]).values())


def test_the_table_of_live(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("live_benchmark", BENCHMARKS / "live.py")
    live = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(live)
    figures = {
        "bare": {"rate": 50},
        "live": {"rate": 48},
        "scan": {"rate": 45},
        "grow": {"rate": 44},
        "collect": {"rate": 40},
        "keys": {"key": 25, "key+net": 60},
        "redraw": {"ms": 6},
    }
    monkeypatch.setattr(live, "measure", lambda part, *_, **__: figures[part])
    live.row("efficientnet-lite0", False, Namespace(repeats=2, seconds=1))
    assert "96%" in capsys.readouterr().out


def test_startup(screen: Screen) -> None:
    assert "first activations" in run(screen, "startup.py", "--repeats", "1")


def test_memory(screen: Screen) -> None:
    assert "frames/s" in run(screen, "memory.py", "--frames", "20")
