"""The benchmark that uses the window for an hour: a moment of it, and what it takes for broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
import soak


def test_soak_for_a_moment() -> None:
    command = [sys.executable, BENCHMARKS / "soak.py", "--minutes", "0.1", "--turn", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "holds: no dead key, no stale picture" in done.stdout and "BROKEN" not in done.stdout


def meter(turn: float = 0.1, growth: float = 0.0, threads: int = 20, files: int = 10) -> SimpleNamespace:
    """Of twenty minutes, with so much more memory at the end, and so many threads and files."""
    memory = {10: 1000.0, 19: 1000.0 * (1 + growth)}
    return SimpleNamespace(longest=[{"seconds": turn}], median=lambda minute: memory[round(minute)],
                           at_rest=[(0.0, 18, 9), (9.0, 20, 10), (19.9, threads, files)])  # fmt: skip


@pytest.mark.parametrize(
    "seen, broken",
    [
        ({}, ""),
        ({"growth": 0.029}, ""),
        ({"growth": -0.2}, ""),
        ({"threads": 19}, ""),
        ({"turn": 0.51}, "longest turn"),
        ({"growth": 0.031}, "memory"),
        ({"threads": 21}, "threads"),
        ({"files": 11}, "file descriptors"),
    ],
)
def test_what_is_broken(seen: dict, broken: str) -> None:
    failed = [words for holds, words in soak.verdicts(meter(**seen), minutes=20) if not holds]
    assert [words for words in failed if words.startswith(broken)] == failed and bool(failed) == bool(broken)


def test_a_short_run_says_nothing_of_growth() -> None:
    assert [holds for holds, _ in soak.verdicts(meter(growth=1.0, threads=99), minutes=5)] == [True]


def test_every_command_but_quit_is_used_and_its_keys_can_be_pressed() -> None:
    assert {*soak.COMMANDS_USED, "quit"} == set(soak.COMMANDS) and set(soak.BEFORE) <= set(soak.COMMANDS_USED)
    assert all(
        len(soak.x_name(key)) > 1 or key.isalnum() for name in soak.COMMANDS_USED for key in soak.COMMANDS[name].keys
    )
