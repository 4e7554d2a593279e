"""How long a dream takes, against the schedule of the original notebook written plainly; and live dreams.

    python tests/benchmarks/dream.py [--size 1100x622] [--layers 4c,5c] [--live 30] [--device cuda] [--repeats 3]

The two dreams are made in turns on the same machine, and how much they change the picture is said as well. Of several
repeats the fastest counts, after one that does not (with --repeats 1 the only one does).
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
import torch

from deepvis.core import paths, runtime
from deepvis.core.geometry import fit
from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.synthesis import dream as dreams
from deepvis.synthesis import moving_dreams

PHOTO = "scene-nature-sunset-clouds.jpg"


def plain(network: loading.Network, layer: str, picture: np.ndarray, octaves: int = 4, steps: int = 10) -> np.ndarray:
    """The original notebook's loop (deepdream, Mordvintsev et al. 2015), with nothing of our own but the network."""
    mean, std = np.array(network.input.mean) * 255, np.array(network.input.std) * 255
    bases = [((picture - mean) / std).transpose(2, 0, 1).astype(np.float32)]
    for _ in range(octaves - 1):
        c, h, w = bases[-1].shape
        smaller = cv2.resize(bases[-1].transpose(1, 2, 0), (round(w / 1.4), round(h / 1.4)))
        bases.append(smaller.transpose(2, 0, 1))
    rng, detail = np.random.default_rng(0), np.zeros_like(bases[-1])
    low, high = (-mean / std)[:, None, None], ((255 - mean) / std)[:, None, None]
    for base in bases[::-1]:
        _, h, w = base.shape
        if detail.shape != base.shape:
            detail = cv2.resize(detail.transpose(1, 2, 0), (w, h)).transpose(2, 0, 1)
        x = base + detail
        for _ in range(steps):
            ox, oy = rng.integers(-32, 33, 2)
            x = np.roll(np.roll(x, ox, -1), oy, -2)
            seen = torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(network.device).requires_grad_(True)
            acts = network.up_to(layer, seen)
            (g,) = torch.autograd.grad(acts, seen, acts.detach())
            g = g[0].cpu().numpy()
            x = x + 1.5 / std.mean() / np.abs(g).mean() * g
            x = np.clip(x, low, high)
            x = np.roll(np.roll(x, -ox, -1), -oy, -2)
        detail = x - base
    return (x.transpose(1, 2, 0) * std + mean).clip(0, 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="1100x622")
    parser.add_argument("--layers", default="4c,5c")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--live", type=int, default=30, help="frames of a live dream")
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    network = loading.load(args.model, args.device)
    width, height = (int(side) for side in args.size.split("x"))
    picture = fit(read_image(paths.PHOTOS / PHOTO), width, height, crop=True)
    for layer in args.layers.split(","):
        took, results = [], []
        for make in (lambda: _ours(network, layer, picture), lambda: plain(network, layer, picture)):
            times = []
            for _ in range(args.repeats + (args.repeats > 1)):
                began, used = time.perf_counter(), time.process_time()
                result = make()
                times.append((time.perf_counter() - began, time.process_time() - used))
            results.append(result)
            took += min(times[1:] or times)
        changed = [float(np.abs(result - picture).mean()) for result in results]
        print(
            f"{layer} {args.size}: {took[0]:.2f} s (CPU {took[1]:.1f} s), the notebook's schedule {took[2]:.2f} s "
            f"(CPU {took[3]:.1f} s); mean change {changed[0]:.1f} and {changed[1]:.1f} of 255",
            flush=True,
        )
    if args.live:
        small = fit(picture, network.input.width, network.input.height, crop=True)
        live = moving_dreams.LiveDream(dreams.Dreamer(network, args.layers.split(",")[0]))
        live.next(small)
        began, used = time.perf_counter(), time.process_time()
        for i in range(args.live):
            live.next(np.roll(small, i, 1))
        each, cpu = (time.perf_counter() - began) / args.live, (time.process_time() - used) / args.live
        print(f"live {network.input.width} px: {1 / each:.1f} frames a second (CPU {1000 * cpu:.0f} ms a frame)")


def _ours(network: loading.Network, layer: str, picture: np.ndarray) -> np.ndarray:
    *_, last = dreams.dream(dreams.Dreamer(network, layer), picture)
    return last.picture


if __name__ == "__main__":
    runtime.tune()
    main()
