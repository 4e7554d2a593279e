"""How much of the bare network's speed reaches the screen?

    python tests/benchmarks/live.py [--repeats 5] [--seconds 4] [--models efficientnet-lite0,torchvision:alexnet]

Needs a display (Xvfb will do). Each figure comes from a process of its own, because torch's thread
teams do not forget; the processes are run in turns, and the table shows medians over the turns.

    bare      the network alone: weights frozen, channels_last, BatchNorm folded, inference mode
              (or forward + backward from a class score), all cores as torch threads
    live      new frames on the screen each second: the real loop and the real window, 1500×930,
              fed by an endless camera of photos, every one drawn
    spin      the same with another process spinning on one core
    scan      the same while the window scans photos by itself
    grow      the same while preferred images grow by themselves
    v         the same while moments are collected for all units of all layers
    key       time from a key that needs no network pass to the changed picture, network at full
              speed, 95th percentile
    key+net   the same for a key that needs one
    redraw    drawing the whole picture (all panes), without the window system
"""

from __future__ import annotations

import sys

from deepvis.core import runtime

if "bare" in sys.argv:  # the bare network gets the thread settings that suit it best: OpenMP's own
    runtime._keep_memory()
else:
    runtime.tune()

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepvis.core import paths
from deepvis.core.frames import Files, Frame
from deepvis.core.geometry import fit
from deepvis.inputs.decode import read_image
from deepvis.interface.settings import Settings
from deepvis.interface.state import State
from deepvis.networks import loading
from deepvis.store.unit_images import Store
from deepvis.workers.engine import Engine
from deepvis.workers.own_scan import ScanWish
from deepvis.workers.worker import WishOf

LAYERS = {"efficientnet-lite0": (8, 18), "torchvision:alexnet": (7, 18)}  # a layer to show, the class scores


def weights(model: str) -> str:
    """Random ones where they would have to be fetched: speed does not depend on them."""
    return "none" if ":" in model else "auto"


def photos() -> list[np.ndarray]:
    return [
        np.ascontiguousarray(fit(read_image(p), 640, 480, True)) for p in sorted(paths.PHOTOS.glob("*.jpg"))[::50][:8]
    ]


# ---- parts, each run in a process of its own -------------------------------------------------


def bare(model: str, backward: bool, seconds: float) -> dict:
    import torch

    network = loading.load(model, weights=weights(model))
    x = network.see(photos()[0], crop=True)
    net = network.module.net

    def forward() -> None:
        with torch.inference_mode():
            network.module(x)

    def both() -> None:
        leaf = x.clone().requires_grad_(True)
        torch.autograd.grad(net(leaf)[0, 7], leaf)

    step = both if backward else forward
    for _ in range(5):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {"rate": 1 / statistics.median(times)}


class EndlessCamera:
    """A camera that has a new picture every time one looks."""

    source, notice, busy, files = "camera", None, False, Files()

    def __init__(self) -> None:
        self._photos, self._frame = photos(), None

    @property
    def frame(self) -> Frame:
        index = 0 if self._frame is None else self._frame.index + 1
        self._frame = Frame(
            self._photos[index % len(self._photos)], "endless camera", index, True, seconds=time.monotonic()
        )
        return self._frame

    def start(self) -> None: ...
    def close(self) -> None: ...
    def want(self, _wish) -> None: ...
    def show_bands(self, _shown) -> None: ...


def _toolbox(model: str, backward: bool, **by_itself: str):
    from deepvis.app.toolbox import Toolbox
    from deepvis.display.window import Window

    settings = Settings(**{"model": model, "scan": "off", "grow": "off", **by_itself})
    engine = Engine(lambda: loading.load(model, weights=weights(model)))
    shown, scores = LAYERS[model]
    start = State(layer=shown, source="camera", method="gradient" if backward else None,
                  origin=(scores, 7) if backward else None)  # fmt: skip
    window = Window("deepvis benchmark", settings.window.width, settings.window.height)
    toolbox = Toolbox(settings, engine, EndlessCamera(), window, start)
    engine.start()
    return toolbox


def collect(model: str, backward: bool, seconds: float) -> dict:
    return live(model, backward, seconds, collecting=True)


def scanning(model: str, backward: bool, seconds: float) -> dict:
    """While it scans; a network that has an index all the same."""
    with tempfile.TemporaryDirectory() as folder:
        paths.use(folder)
        toolbox = _toolbox(model, backward)
        turn = toolbox.turn

        def scanning_turn() -> None:
            turn()
            if toolbox.engine.result is not None:
                toolbox.workers.own_scan.want(WishOf(toolbox.engine.network, ScanWish()))

        toolbox.turn = scanning_turn
        rate = measured(toolbox, seconds)
        assert toolbox.workers.own_scan.answer.error == ""
    return rate


def growing(model: str, backward: bool, seconds: float) -> dict:
    """While images grow; nothing is stored."""
    with tempfile.TemporaryDirectory() as folder:
        paths.use(folder)
        toolbox = _toolbox(model, backward, grow="auto")
        toolbox.workers.unit_images._open_store = lambda: Store(Path(folder), "")
        rate = measured(toolbox, seconds)
        grown = toolbox.workers.growth.answer
        assert grown is not None and grown.wish.by_itself and grown.error == ""
    return rate


def live(model: str, backward: bool, seconds: float, collecting: bool = False) -> dict:
    toolbox = _toolbox(model, backward)
    toolbox.state = replace(toolbox.state, collecting=collecting, moments=collecting)
    return measured(toolbox, seconds)


def measured(toolbox, seconds: float) -> dict:
    """New frames on the screen each second."""
    until = time.perf_counter() + 60
    while toolbox.engine.result is None and time.perf_counter() < until:
        toolbox.turn()
    warm = time.perf_counter() + 1.5
    while time.perf_counter() < warm:
        toolbox.turn()
    seen, count, start = None, 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        toolbox.turn()
        if toolbox.engine.result.error:
            raise SystemExit(toolbox.engine.result.error)
        drawn = toolbox.renderer._drawn["layer"].result
        count, seen = count + (drawn is not seen), drawn
    toolbox.finish()
    return {"rate": count / (now - start)}


def keys(model: str, backward: bool, seconds: float) -> dict:
    """Latency from the moment a key event is handed over to its picture having been shown."""
    from deepvis.display.window import Key

    toolbox = _toolbox(model, backward)
    while toolbox.engine.result is None:
        toolbox.turn()
    poll, pending = toolbox.window.poll, []
    toolbox.window.poll = lambda ms: poll(ms) + [pending.pop() for _ in pending[:1]]
    result = {}
    without = (
        ["right", "t", "z", "z", "z", "y"] if backward else ["right", "t", "y"]
    )  # forward alone, z would need a pass
    for kind, names in (("key", without), ("key+net", ["o", "u"])):
        times, end, i = [], time.perf_counter() + seconds, 0
        toolbox.state = State(layer=toolbox.state.layer, source="camera", in_channels=True,
                              method="gradient" if backward else None)  # fmt: skip
        while time.perf_counter() < end:
            for _ in range(7):  # let the stream run on between keys, not in step with it
                toolbox.turn()
            pending.append(Key(names[i % len(names)], 0))
            i += 1
            start = time.perf_counter()
            toolbox.turn()
            want = toolbox.state
            while not _on_screen(toolbox, want):
                toolbox.turn()
            times.append(time.perf_counter() - start)
        result[kind] = float(np.percentile(times, 95)) * 1000
    toolbox.finish()
    return result


def _on_screen(toolbox, state: State) -> bool:
    """The layer pane shows that state, with an answer to it where one is needed."""
    drawn = toolbox.renderer._drawn.get("layer")
    same = drawn is not None and (
        drawn.state.layer,
        drawn.state.unit,
        drawn.state.zoom,
        drawn.state.gamma,
        drawn.state.boost,
    ) == (state.layer, state.unit, state.zoom, state.gamma, state.boost)
    if not same:
        return False
    return drawn.backward is not None if state.zoom == "backward" else drawn.own_result is not None


def redraw(model: str, backward: bool, seconds: float) -> dict:
    toolbox = _toolbox(model, backward)
    while toolbox.engine.result is None:
        toolbox.turn()
    toolbox.engine.close()
    scene = toolbox.scene()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        toolbox.renderer.layout = toolbox.renderer.layout  # forget everything that was drawn
        start = time.perf_counter()
        toolbox.renderer.compose(scene)
        times.append(time.perf_counter() - start)
    return {"ms": statistics.median(times) * 1000}


PARTS = {
    "bare": bare,
    "live": live,
    "scan": scanning,
    "grow": growing,
    "collect": collect,
    "keys": keys,
    "redraw": redraw,
}


# ---- the run ---------------------------------------------------------------------------------


def spin() -> None:
    while True:
        pass


def measure(part: str, model: str, backward: bool, seconds: float, spinning: bool = False) -> dict:
    command = [sys.executable, __file__, "--part", part, "--models", model, "--seconds", str(seconds)]
    other = multiprocessing.get_context("fork").Process(target=spin, daemon=True) if spinning else None
    if other:
        other.start()
    try:
        done = subprocess.run(command + ["--backward"] * backward, capture_output=True, text=True)
    finally:
        if other:
            other.terminate()
    if done.returncode:
        raise SystemExit(f"{part} {model}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--models", default="efficientnet-lite0,torchvision:alexnet")
    parser.add_argument("--part", help=f"one process's work alone: {', '.join(PARTS)}")
    parser.add_argument("--backward", action="store_true")
    args = parser.parse_args()
    if args.part:
        print(
            json.dumps(
                {
                    key: value
                    for part in args.part.split(",")
                    for key, value in PARTS[part](args.models, args.backward, args.seconds).items()
                }
            ),
            flush=True,
        )
        os._exit(0)  # a pass may still run, and Python's own end would abort in the midst of torch's threads
    print(
        f"{'model':20} {'pass':9} {'bare/s':>7} {'live/s':>7} {'live':>6} {'spin/s':>7} {'spin':>6} "
        f"{'scan':>6} {'grow':>6} {'v/s':>7} "
        f"{'v':>6} "
        f"{'key ms':>7} {'key+net':>8} {'2 passes+30':>12} {'redraw ms':>10}"
    )
    for model in args.models.split(","):
        for backward in (False, True):
            row(model, backward, args)


def row(model: str, backward: bool, args: argparse.Namespace) -> None:
    got: dict[str, list[float]] = {
        name: [] for name in ("bare", "live", "spin", "scan", "grow", "v", "key", "key+net", "redraw")
    }
    for _ in range(args.repeats):
        got["bare"].append(measure("bare", model, backward, args.seconds)["rate"])
        got["live"].append(measure("live", model, backward, args.seconds)["rate"])
        got["spin"].append(measure("live", model, backward, args.seconds, spinning=True)["rate"])
        got["scan"].append(measure("scan", model, backward, args.seconds)["rate"])
        got["grow"].append(measure("grow", model, backward, args.seconds)["rate"])
        got["v"].append(measure("collect", model, backward, args.seconds)["rate"])
        latency = measure("keys", model, backward, args.seconds)
        got["key"].append(latency["key"])
        got["key+net"].append(latency["key+net"])
        got["redraw"].append(measure("redraw", model, backward, args.seconds / 2)["ms"])
    m = {name: statistics.median(values) for name, values in got.items()}
    print(
        f"{model:20} {'fwd+bwd' if backward else 'forward':9} {m['bare']:7.1f} {m['live']:7.1f} "
        f"{m['live'] / m['bare']:6.0%} "
        f"{m['spin']:7.1f} {m['spin'] / m['live']:6.0%} {m['scan'] / m['live']:6.0%} "
        f"{m['grow'] / m['live']:6.0%} {m['v']:7.1f} {m['v'] / m['live']:6.0%} {m['key']:7.1f} "
        f"{m['key+net']:8.1f} {2000 / m['bare'] + 30:12.1f} "
        f"{m['redraw']:10.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
