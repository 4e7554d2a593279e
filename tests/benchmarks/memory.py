"""Does memory stay flat?

    python tests/benchmarks/memory.py [--frames 10000] [--backward]

Needs a display (Xvfb will do). The live loop at full speed, with a key pressed now and then (layers,
units, zoom, boosts, backward methods); the resident memory of the process after every tenth.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import os
import random
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))
from live import _toolbox

from deepvis.display.window import Key
from deepvis.interface.state import State

KEYS = ["o", "u", "right", "left", "z", "t", "y", "b", "n", "m", "a", "d", "s", "0", "8", "9", "5", "h"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=10000)
    frames = parser.parse_args().frames
    toolbox = _toolbox("efficientnet-lite0", backward=False)
    process, rng = psutil.Process(), random.Random(0)
    poll, pending = toolbox.window.poll, []
    toolbox.window.poll = lambda ms: poll(ms) + [pending.pop() for _ in pending[:1]]
    while toolbox.engine.result is None:
        toolbox.turn()
    results, seen, start = 0, None, time.perf_counter()
    print("frames   MiB", flush=True)
    while results < frames:
        toolbox.turn()
        if toolbox.engine.result is seen:
            continue
        seen, results = toolbox.engine.result, results + 1
        if results % 40 == 0:
            pending.append(Key(rng.choice(KEYS), 0))
        if results % 400 == 0:  # walk all layers: what each first needs is part of the start, not of a leak
            toolbox.state = State(layer=rng.randrange(20), source="camera")
        if results % max(1, frames // 10) == 0:
            print(f"{results:6d} {process.memory_info().rss / 2**20:6.0f}", flush=True)
    toolbox.finish()
    print(f"{frames / (time.perf_counter() - start):.1f} frames/s", flush=True)
    os._exit(0)  # as in live.py


if __name__ == "__main__":
    main()
