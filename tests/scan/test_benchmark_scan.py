"""The benchmark of a scan runs, so that it does not rot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deepvis.core.paths import ROOT


@pytest.mark.parametrize("layers", ["listed", "convolutions"])
def test_a_short_run_gives_the_table(layers: str) -> None:
    command = [sys.executable, "tests/benchmarks/scan.py", "--models", "torchvision:squeezenet1_1", "--layers", layers,
               "--count", "8", "--rounds", "1", "--batches", "4"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for line in (
        "ideal: decode",
        "decode ",
        "forward: all cores, batch 4",
        "scan: as by default",
        "scan: without both",
        "once:",
    ):
        assert line in done.stdout, done.stdout
