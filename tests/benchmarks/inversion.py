"""How much of a picture each layer keeps: PSNR and code error over held-out photos, of the closed form and of ascent.

    python tests/benchmarks/inversion.py --photos DIR [--count 40] [--layers 3b,5c] [--steps 60,200] [--presets invert]

The photos must be others than those that the decoders were learned from. A line for each layer and preset: after each
number of steps the mean PSNR (dB), the mean code error, and the seconds for a photo so far.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from deepvis.core import paths, runtime
from deepvis.inputs.datasets import find_images
from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.synthesis import decoder as decoders
from deepvis.synthesis import inversion
from deepvis.synthesis.presets import recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--learn", type=Path, help="photos to learn decoders from, if none are stored")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--layers", default="3b,5c")
    parser.add_argument("--steps", default="60,200")
    parser.add_argument("--presets", default="invert", help="with commas; invert@noise starts from noise")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    network = loading.load(args.model, args.device)
    names = find_images(args.photos).names
    chosen = [args.photos / names[i] for i in np.linspace(0, len(names) - 1, min(args.count, len(names))).astype(int)]
    marks = [int(step) for step in args.steps.split(",")]
    for layer in args.layers.split(","):
        made = None if args.learn else decoders.stored_decoder(network, layer, paths.precomputed().own)
        began = time.perf_counter()
        if made is None:
            images = decoders.photos_for(network, args.learn)
            made = decoders.learn(network, [layer], images)[layer]
            if not args.learn:
                decoders.keep_decoder(network, made, paths.precomputed().own)
            print(f"{layer}  learned in {time.perf_counter() - began:.1f} s: {made.psnr:.2f} dB", flush=True)
        for preset in args.presets.split(","):
            name, _, start = preset.partition("@")
            rows = [
                _row(network, layer, made, name, start or ("" if name == "invert" else "noise"), path, marks)
                for path in chosen
            ]
            mean = np.mean(rows, 0)
            shown = "  ".join(f"{n} steps {p:.2f} dB {e:.4f} {s:.1f} s" for n, (p, e, s) in zip([0, *marks], mean))
            print(f"{layer}  {preset}  {shown}", flush=True)


def _row(
    network: loading.Network, layer: str, made: decoders.Decoder, preset: str, start: str, path: Path, marks: list[int]
) -> list[tuple[float, float, float]]:
    code = inversion.Code(network, layer, inversion.seen_picture(network.input, read_image(path), True))
    began = time.perf_counter()
    closed = code.judged(code.decoded(made))
    found = [(closed.psnr, closed.error, time.perf_counter() - began)]
    ascent = inversion.Inversion(code, recipe(preset), start=None if start else closed.picture)
    for step in range(1, max(marks) + 1):
        ascent.step()
        if step in marks:
            (now,) = ascent.results()
            found.append((now.psnr, now.error, time.perf_counter() - began))
    return found


if __name__ == "__main__":
    runtime.tune()
    main()
