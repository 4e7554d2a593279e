"""How much of a picture each layer keeps: PSNR and code error over held-out photos, of the closed form and of ascent.

    python tests/benchmarks/inversion.py --photos DIR [--count 40] [--layers 3b,5c] [--steps 60,200,1000]
        [--equal mahendran-2014,mahendran-2016] [--batch 40] [--device cuda]

The measured photos are spread evenly over the folder. Decoders are learned from its other photos (with --stored: the
stored ones are taken, which must not know the measured photos). The first number of steps is done for all layers, then
the next one, so that what is asked most comes first. A line for each layer, preset and number of steps: mean PSNR (dB),
mean code error, and seconds for a photo. The presets of --equal get the time that `invert` took for the steps of
--equal-steps: their schedules are shortened or lengthened to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deepvis.core import paths, runtime
from deepvis.inputs.datasets import find_images
from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.synthesis import decoder as decoders
from deepvis.synthesis.inversion import Code, Inversion, Reconstruction, seen_picture
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe

TRIED = 5  # steps by which a preset's time for a step is measured


class Run:
    """The ascent of all photos of a layer with one preset, in batches, which can be continued."""

    def __init__(self, codes: Sequence[Code], one: Recipe, starts: Sequence[np.ndarray], batch: int) -> None:
        parts = [slice(first, first + batch) for first in range(0, len(codes), batch)]
        seeds = range(len(codes))
        self._parts = [Inversion(codes[part], one, seeds[part], starts[part]) for part in parts]
        self._device, self._count = codes[0].network.device, len(codes)
        self.seconds = 0.0  # of steps, for a photo

    def to(self, steps: int) -> None:
        """Continue up to that number of steps."""
        began = time.perf_counter()
        for part in self._parts:
            while part.ascent.count < steps:
                part.step()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += (time.perf_counter() - began) / self._count

    def said(self) -> str:
        found = [one for part in self._parts for one in part.results()]
        return f"{found[0].steps} steps  {_means(found)}  {self.seconds:.2f} s a photo"


def _means(found: Sequence[Reconstruction]) -> str:
    return f"{np.mean([one.psnr for one in found]):.2f} dB  {np.mean([one.error for one in found]):.4f}"


def main() -> None:
    args = _arguments()
    network = loading.load(args.model, args.device)
    images = find_images(args.photos).without_arrays()
    chosen = sorted({int(i) for i in np.linspace(0, len(images.names) - 1, min(args.count, len(images.names)))})
    pictures = [seen_picture(network.input, read_image(args.photos / images.names[i]), True) for i in chosen]
    rest = replace(images, names=tuple(name for i, name in enumerate(images.names) if i not in chosen))
    layers, marks = args.layers.split(","), [int(step) for step in args.steps.split(",")]
    began = time.perf_counter()
    if args.stored:
        stored = {layer: decoders.stored_decoder(network, layer, paths.precomputed().own) for layer in layers}
        known = {layer: made for layer, made in stored.items() if made is not None}
    else:
        known = decoders.learn(network, layers, rest)
        print(f"learned {len(layers)} decoders in {time.perf_counter() - began:.1f} s", flush=True)
    codes = {layer: [Code(network, layer, picture) for picture in pictures] for layer in layers}
    starts = {layer: [code.decoded(known[layer]) for code in codes[layer]] for layer in known}
    for layer in known:
        print(f"{layer}  closed form  {_means([c.judged(p) for c, p in zip(codes[layer], starts[layer])])}", flush=True)
    runs = {
        layer: Run(codes[layer], recipe("invert"), starts.get(layer, ()) if not args.noise else (), args.batch)
        for layer in layers
    }
    equal = [name for name in args.equal.split(",") if name]
    for mark in marks:
        for layer, run in runs.items():
            run.to(mark)
            print(f"{layer}  invert  {run.said()}", flush=True)
        if mark == args.equal_steps:
            for layer, run in runs.items():
                _equal(equal, layer, codes[layer], run.seconds, args.batch)


def _equal(names: Sequence[str], layer: str, codes: Sequence[Code], seconds: float, batch: int) -> None:
    """Presets in so many seconds for a photo."""
    for name in names:
        trial = Run(codes[:batch], recipe(name), (), batch)
        trial.to(2)  # the first steps take longer
        trial.seconds = 0.0
        trial.to(2 + TRIED)
        steps = max(1, round(seconds / (trial.seconds / TRIED)))
        found = Run(codes, recipe(name, {"steps": steps}), (), batch)
        found.to(steps)
        print(f"{layer}  {name}  {found.said()}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--stored", action="store_true", help="the stored decoders in place of newly learned ones")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8, help="photos that are rebuilt at once")
    parser.add_argument("--layers", default="3b,5c")
    parser.add_argument("--steps", default="60,200")
    parser.add_argument("--equal", default="", help="presets that get the same time, with commas")
    parser.add_argument("--equal-steps", type=int, default=200)
    parser.add_argument("--noise", action="store_true", help="start from noise instead of the decoder's picture")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


if __name__ == "__main__":
    runtime.tune()
    main()
