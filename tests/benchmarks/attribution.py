"""What do the backward methods cost, and which of them are true?

    python tests/benchmarks/attribution.py [--model NAME] [--repeats N] [--methods NAME …]
                                           [--images DIR --count N --batch N --seconds N --write FILE]

First the median seconds of each method's first picture from the class that the network predicts, divided by the
gradient's, and of zennit's EpsilonPlusFlat on the same network divided by LRP's (where zennit finds all layers as
modules). With --images then deletion and insertion curves and the randomised-weights check, as
`deepvis faithfulness`; the images come in a random order, and the table is written anew after each batch, until
--seconds have passed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deepvis.attribution.curves import class_layer, predicted
from deepvis.attribution.faithfulness import Measurement, known_methods
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.cli.faithfulness import table
from deepvis.core.frames import Frame
from deepvis.inputs.datasets import find_images
from deepvis.networks.loading import load
from deepvis.networks.network import Network

PICTURE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def median(run: Callable[[], object], repeats: int) -> float:
    """The median seconds of `run`, after one run that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def costs(network: Network, methods: list[str], repeats: int) -> None:
    frame, layer = Frame(PICTURE, "noise", 0, False), class_layer(network)
    unit = predicted(network, network.see(PICTURE, True))[0]
    plain = median(lambda: answer(network, Request(frame, True, layer)), repeats)
    found = {
        name: median(lambda: answer(network, Request(frame, True, layer, name, (layer, unit))), repeats)
        for name in dict.fromkeys(["gradient", *methods])
    }
    print(f"forward {1000 * plain:.1f} ms, gradient {1000 * found['gradient']:.1f} ms")
    for name, seconds in found.items():
        print(f"{name:18} {seconds / found['gradient']:5.2f} × the gradient  {seconds / plain:5.2f} × forward")
    if "lrp" in found:
        theirs = median(lambda: by_zennit(network, unit), repeats)
        print(f"zennit's EpsilonPlusFlat takes {theirs / found['lrp']:.2f} × LRP's time")


def by_zennit(network: Network, unit: int) -> None:
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlusFlat

    x = network.see(PICTURE, True)
    with Gradient(network.module, EpsilonPlusFlat()) as attributor:
        out = network.module(x)
        attributor(x, torch.eye(out.shape[1])[[unit]])


def truth(network: Network, methods: list[str], options: argparse.Namespace) -> None:
    found = find_images(options.images)
    found = replace(found.without_arrays(), reading=network.input.reading)
    order = np.random.default_rng(0).permutation(len(found.names))[: options.count].tolist()
    measurement = Measurement(
        network, methods, checked=options.checked, count=options.stages, at_once=options.batch * 4
    )
    began, said = time.perf_counter(), ""
    for first in range(0, len(order), options.batch):
        some = order[first : first + options.batch]
        measurement.add([Frame(found.read(number), found.names[number], number, False) for number in some])
        took = time.perf_counter() - began
        said = table(measurement.scores(), measurement.images, measurement.stages)
        said += f"\n\n{measurement.images} images in {took:.0f} s on {network.device}"
        if options.write:
            options.write.write_text(said + "\n", encoding="utf-8")
        if took > options.seconds:
            break
    print(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=[])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--checked", type=int, default=8, help="images for the check with random weights")
    parser.add_argument("--stages", type=int, default=4, help="of that check")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    network = load(options.model, options.device, weights=options.weights)
    methods = known_methods(options.methods)
    if options.repeats:
        costs(network, methods, options.repeats)
    if options.images:
        truth(network, methods, options)


if __name__ == "__main__":
    main()
