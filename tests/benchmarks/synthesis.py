"""How fast is gradient ascent, beside the bare loop and torch-lucent?

    python tests/benchmarks/synthesis.py [--repeats 5] [--steps 12] [--lucent] [--presets …]

Passes of an image per second of the whole loop (parameterization, transforms, step, regularizers), for the default
network and AlexNet (random weights), 224 px. A step of a recipe with two views has two passes. The bare loop in the
same run: frozen weights, channels_last, BatchNorm folded, stopping at the unit's layer, a plain step. Runs are
interleaved, medians are printed. "true size" compares units of an early layer on a canvas of their receptive field
with the whole input. `--lucent` needs torch-lucent 0.1.8.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import atexit
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.targets import canvas, objective

LAYERS = {  # a middle layer, the class scores, an early layer
    "efficientnet-lite0": ("4c", "logits", "3a"),
    "torchvision:alexnet": ("features.11", "classifier.6", "features.4"),
}


def bare(network: Network, layer: str, batch: int) -> Callable[[], None]:
    """The least that gradient ascent can do."""
    spec = network.input
    x = torch.randn(batch, len(spec.mean), spec.height, spec.width, device=network.device)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(True)

    def step() -> None:
        out = network.up_to(layer, x)
        (grad,) = torch.autograd.grad(out[:, 0].sum(), x)
        with torch.no_grad():
            x.add_(grad)

    return step


def ours(network: Network, layer: str, batch: int, preset: str) -> Callable[[], None]:
    aim = objectives.channel(layer, 0)
    return Ascent(network, aim, [PRESETS[preset]] * batch, range(batch)).step


def lucents(name: str, network: Network, layer: str, batch: int) -> Callable[[], None]:
    """One step of torch-lucent's default (`render_vis`), its loop taken apart: image, transforms, objective, Adam.

    On the network as its library gives it, and in a process without our settings of memory and
    threads: as lucent's user has it.
    """
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    words = [
        sys.executable,
        str(Path(__file__).with_name("lucent_shim.py")),
        name,
        layer,
        str(batch),
        str(network.device),
    ]
    child = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=plain
    )
    atexit.register(child.kill)

    def step() -> None:
        child.stdin.write("\n")
        child.stdin.flush()
        if not child.stdout.readline():
            raise RuntimeError(f"lucent_shim.py has ended: {child.wait()}")

    return step


def rate(step: Callable[[], None], steps: int, batch: int, device: torch.device) -> float:
    """Image-steps per second."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps * batch / (time.perf_counter() - start)


def compare(
    runs: dict[str, Callable[[], None]], steps: int, batch: int, repeats: int, device: torch.device
) -> dict[str, float]:
    """Medians of interleaved runs."""
    for step in runs.values():
        rate(step, min(18, 4 * steps), batch, device)  # beyond the first steps, in which dead units are looked for
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, step in runs.items():
            taken[name].append(rate(step, steps, batch, device))
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--lucent", action="store_true")
    parser.add_argument("--presets", default="yosinski-1,yosinski-2,yosinski-3,yosinski-4,modern")
    parser.add_argument("--models", default="efficientnet-lite0,torchvision:alexnet")
    parser.add_argument("--batches", default="1,9")
    args = parser.parse_args()
    presets, batches = args.presets.split(","), [int(batch) for batch in args.batches.split(",")]
    print(
        "network             layer    batch   bare/s  "
        + "  ".join(f"{name:>10}" for name in presets)
        + ("      lucent" if args.lucent else "")
    )
    networks = {
        name: (loading.load(name, args.device, weights="none" if ":" in name else "auto"), *LAYERS[name])
        for name in args.models.split(",")
    }
    for name, (network, middle, last, _) in networks.items():
        for layer in (middle, last):
            for batch in batches:
                runs = {"bare": bare(network, layer, batch), **{p: ours(network, layer, batch, p) for p in presets}}
                if args.lucent:
                    runs["lucent"] = lucents(name, network, layer, batch)
                found = compare(runs, args.steps, batch, args.repeats, network.device)
                views = {p: PRESETS[p].views for p in presets}
                cells = [f"{found[p] * views.get(p, 1) / found['bare']:>10.0%}" for p in runs if p != "bare"]
                print(f"{name:19} {layer:12} {batch:2} {found['bare']:8.1f}  " + "  ".join(cells), flush=True)
    print("\nunits per minute of an early layer, preset modern, one image each")
    for name, (network, *_, early) in networks.items():
        layer = next(one for one in network.layers if one.name == early)
        field = network.receptive_field(early)
        found = {}
        for true_size, batch in ((True, 7 * max(batches)), (False, max(batches))):
            place = canvas(network, layer, field, true_size)
            units = [i % layer.units for i in range(batch)]
            step = Ascent(
                network, objective(layer, units, place), [PRESETS["modern"]] * batch, range(batch), place.size
            ).step
            found[true_size] = (
                compare({"": step}, args.steps, batch, args.repeats, network.device)[""] * 60 / PRESETS["modern"].steps
            )
        print(
            f"{name:19} {early:12} true size {found[True]:7.1f}, whole input {found[False]:6.1f}: "
            f"{found[True] / found[False]:.1f} times"
        )


if __name__ == "__main__":
    main()
