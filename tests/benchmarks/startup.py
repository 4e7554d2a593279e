"""How long until there is something to see?

    python tests/benchmarks/startup.py [--repeats 5]

Needs a display (Xvfb will do). Runs the real program, from the start of its process to the first
picture with activations; medians. As the bare limit: a process that only imports torch and timm
and loads the same network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

PROGRAM = """
import json, sys, time
start = float(sys.argv.pop(1))
from deepvis.core import runtime; runtime.tune()
from deepvis.app import toolbox as app
from deepvis.cli import main as cli
from deepvis.display import window
times = {}
original_init, original_turn = window.Window.__init__, app.Toolbox.turn
def init(self, *a, **k):
    original_init(self, *a, **k)
    times["window"] = time.time() - start
def turn(self):
    original_turn(self)
    times.setdefault("words", time.time() - start)
    drawn = self.renderer._drawn.get("layer")
    if getattr(drawn, "own_result", None) is not None:
        times["activations"] = time.time() - start
        print(json.dumps(times), flush=True)  # now: the program may leave without Python's own end
        self.quit()
window.Window.__init__, app.Toolbox.turn = init, turn
sys.exit(cli.main(["live", "--input", "photos"]))
"""

BARE = """
import json, sys, time
start = float(sys.argv[1])
from deepvis.core import runtime; runtime.tune()
import timm, torch
times = {"imports": time.time() - start}
from deepvis.networks import loading
network = loading.load("efficientnet-lite0")
times["network"] = time.time() - start
print(json.dumps(times))
"""


def measure(program: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", program, str(time.time())], capture_output=True, text=True, check=True)
    if done.stderr.strip():
        print("stderr:", done.stderr.strip())
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    got: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, seconds in {**measure(PROGRAM), **measure(BARE)}.items():
            got.setdefault(name, []).append(seconds)
    m = {name: statistics.median(values) for name, values in got.items()}
    print("seconds since the start of the process (medians)")
    print(f"  window open                  {m['window']:5.2f}")
    print(f"  window says what it does     {m['words']:5.2f}")
    print(f"  first activations            {m['activations']:5.2f}")
    print(f"bare: torch, timm imported     {m['imports']:5.2f}")
    print(f"bare: network loaded           {m['network']:5.2f}")
    print(f"end of imports to activations  {m['activations'] - m['imports']:5.2f}")


if __name__ == "__main__":
    main()
