"""How fast is a scan, and does its memory stay flat?

    python tests/benchmarks/scan.py --images DIR [--count 320] [--rounds 5] [--models efficientnet-lite0 torchvision:alexnet]
    python tests/benchmarks/scan.py --images DIR --memory 1000 20000
    python tests/benchmarks/scan.py --images DIR --device cuda
    python tests/benchmarks/scan.py --images DIR --select 12

All units of every convolution. Interleaved; medians. Compared with

* the ideal 1/(1/decode + 1/forward), since decoding and network share the cores; the forward pass
  channels_last, of the network as its library gives it and (harder) with batch normalisation folded;
* captum's LayerActivation, all convolutions at once, then the maximum with its position;
* a plain loop: a hook on each convolution that calls max with positions, then topk over the old and
  new values. Both on the library's network, channels_last, with the same decoding and batches.

--select: from the selection of a unit to its top images, and to what flows back to them, over so many
units of each layer that no photo is in memory for; beside a forward and backward pass of nine images.

Images per second are those of the pass; what comes once stands apart: before it (receptive fields) and at its end.
"""

from __future__ import annotations

from deepvis import runtime

runtime.tune()

import argparse
import contextlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from deepvis import models
from deepvis.network import Network
from deepvis.scan.images import Images, Photos, batches, find_images
from deepvis.scan.scan import Options, as_input, convolutions, cut, scan
from deepvis.tops import Tops, Wish

BATCH = 8  # on a CPU the best for all of them: maps stay in the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, type=Path)
    parser.add_argument("--count", type=int, default=320, help="images in a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["efficientnet-lite0", "torchvision:alexnet"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=int, nargs="*", metavar="COUNT", help="peak memory of scans of so many images")
    parser.add_argument("--select", type=int, metavar="UNITS", help="time from a selection to its top images")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for model in args.models:
        if args.one:
            _one(model, args)
        elif args.memory is not None:
            _memory(model, args)
        elif args.select:
            _select(model, args)
        else:
            _speed(model, args)


def _weights(model: str) -> str:
    return "none" if model.startswith("torchvision") else "auto"


def _load(model: str, device: str) -> tuple[Network, Network]:
    """Every convolution of a network: folded, and as the library gives it."""
    folded = convolutions(models.load(model, device, weights=_weights(model)))
    with patch("deepvis.network.fold_batchnorm", lambda module, *_args, **_kwargs: module):
        raw = convolutions(models.load(model, device, weights=_weights(model)))
    return folded, raw


# ---- what is compared ---------------------------------------------------------------------------


def _stream(images: Images, network: Network, workers: int):
    spec = network.input
    load = lambda i: spec.seen(images.read(i, (spec.width, spec.height), spec.aspect), crop=True)  # noqa: E731
    return batches(cut(0, len(images.names), BATCH), load, workers)


def decode(images: Images, network: Network) -> float:
    start = time.perf_counter()
    for _ in _stream(images, network, workers=torch.get_num_threads()):
        pass
    return len(images.names) / (time.perf_counter() - start)


def forward(images: Images, network: Network) -> float:
    x = network.input.noise().to(network.device).repeat(BATCH, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    times = max(1, len(images.names) // BATCH)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(times):
            network.module(x)
    _wait(network)
    return times * BATCH / (time.perf_counter() - start)


def _wait(network: Network) -> None:
    if network.device.type == "cuda":
        torch.cuda.synchronize()


def deepvis(options: Options) -> Callable[[Images, Network], float]:
    def run(images: Images, network: Network) -> float:
        times = []
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            scan(network, images, Path(out), options=options, progress=lambda *_: times.append(time.perf_counter()))
            once.append((times[0] - start, time.perf_counter() - times[-1]))
        return len(images.names) / (times[-1] - times[0])

    return run


once: list[tuple[float, float]] = []  # seconds before the pass, and after it


class TopK:
    """The honest baseline's ranking: maxima with their positions, the nine best of old and new."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Tensor]] = {}

    def add(self, name: str, output: Tensor, first: int) -> None:
        value, cell = output.flatten(2).max(2)
        image = torch.arange(first, first + len(value))[:, None].expand_as(value)
        new = [value.T, cell.T, image.T]
        old = self.kept.get(name)
        both = [torch.cat(pair, 1) for pair in zip(old, new)] if old else new
        best = both[0].topk(min(9, both[0].shape[1]), dim=1).indices
        self.kept[name] = [each.gather(1, best) for each in both]


def _convs(network: Network) -> dict[str, nn.Module]:
    return {path: child for path, child in network.module.named_modules() if isinstance(child, nn.Conv2d)}


def hooks(images: Images, network: Network) -> float:
    top, first = TopK(), 0
    handles = [
        child.register_forward_hook(lambda _m, _i, out, path=path: top.add(path, out, first)) for path, child in _convs(network).items()
    ]
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in _stream(images, network, workers=1):
            first = batch.first
            network.module(as_input(network, batch.pixels))
    seconds = time.perf_counter() - start
    for handle in handles:
        handle.remove()
    return len(images.names) / seconds


def captum(images: Images, network: Network) -> float:
    from captum.attr import LayerActivation

    top, convs = TopK(), _convs(network)
    layers = LayerActivation(network.module, list(convs.values()))
    start = time.perf_counter()
    with torch.no_grad():
        for batch in _stream(images, network, workers=1):
            for path, out in zip(convs, layers.attribute(as_input(network, batch.pixels))):
                top.add(path, out, batch.first)
    return len(images.names) / (time.perf_counter() - start)


# ---- tables -------------------------------------------------------------------------------------


def _speed(model: str, args: argparse.Namespace) -> None:
    folded, raw = _load(model, args.device)
    images = find_images(args.images)
    images = replace(images, names=images.names[: args.count])
    top = Options(batch=BATCH if args.device == "cpu" else 0, every=1e9, weakest=False, correlation=False)
    runs: dict[str, tuple[Callable[[Images, Network], float], Network]] = {
        "decode alone": (decode, folded),
        "forward alone, as the library gives it": (forward, raw),
        "forward alone, folded": (forward, folded),
        "deepvis: strongest, histograms, moments": (deepvis(top), folded),
        "deepvis: and weakest": (deepvis(replace(top, weakest=True)), folded),
        "deepvis: and correlations (the default)": (deepvis(replace(top, weakest=True, correlation=True)), folded),
    }
    if args.device == "cpu":
        runs |= {"hook loop: strongest": (hooks, raw), "captum loop: strongest": (captum, raw)}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    small = replace(images, names=images.names[:BATCH])
    for run, network in runs.values():
        run(small, network)  # warm
    once.clear()
    for _ in range(args.rounds):
        for name, (run, network) in runs.items():
            rates[name].append(run(images, network))
    median = {name: statistics.median(all) for name, all in rates.items()}
    ideals = [
        1 / (1 / median["decode alone"] + 1 / median[f"forward alone, {kind}"]) for kind in ("as the library gives it", "folded")
    ]
    spans = sum(layer.units for layer in folded.layers)
    print(f"\n{model}: {len(folded.layers)} convolutions, {spans:,} channels; {len(images.names)} images, {args.rounds} rounds, {args.device}")
    print(f"{'':44} images/s   of the ideal   of the ideal, folded")
    print(f"{'ideal':44} {ideals[0]:8.1f}\n{'ideal, folded':44} {ideals[1]:8.1f}")
    for name, rate in median.items():
        share = "" if "alone" in name else f"{rate / ideals[0]:14.0%} {rate / ideals[1]:21.0%}"
        spread = f"{min(rates[name]):.0f}–{max(rates[name]):.0f}"
        print(f"{name:44} {rate:8.1f}{share}   ({spread})")
    before, after = (statistics.median(seconds) for seconds in zip(*once))
    print(f"once: {before:.1f} s before the pass (receptive fields), {after:.1f} s after it", flush=True)


def _select(model: str, args: argparse.Namespace) -> None:
    """Milliseconds from a selection to its pictures, layer by layer."""
    network = models.load(model, args.device, weights=_weights(model))
    with tempfile.TemporaryDirectory() as out:
        scan(network, find_images(args.images), Path(out), options=Options(correlation=False))
        with contextlib.closing(Tops(lambda _network: Path(out))) as tops:
            _until(lambda: tops.want(network, Wish(network.layers[0].name, 0)) or tops.idle)
            print(f"{model}, {args.device}: ms to nine patches, to what flows back, beyond the pass, a pass of nine: median (worst)")
            for layer in network.layers:
                patches, whole, passes = [], [], []
                for unit in random.Random(0).sample(range(layer.units), min(layer.units, args.select)):
                    tops._photos = Photos(tops._photos.images, least=tops._photos.least)  # nothing in memory
                    start = time.perf_counter()
                    tops.want(network, Wish(layer.name, unit))
                    _until(lambda: (tops.pictures.layer, tops.pictures.unit) == (layer.name, unit))
                    patches.append(1000 * (time.perf_counter() - start))
                    _until(lambda: tops.idle)
                    whole.append(1000 * (time.perf_counter() - start))
                    passes.append(1000 * _pass_of_nine(network, layer.name, unit))
                beyond = [all - one for all, one in zip(whole, passes)]
                words = (f"{statistics.median(times):6.0f} ({max(times):5.0f})" for times in (patches, whole, beyond, passes))
                print(f"{layer.name:8}", *words, flush=True)


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.0005)


def _pass_of_nine(network: Network, layer: str, unit: int) -> float:
    start = time.perf_counter()
    x = network.input.noise().to(network.device).repeat(9, 1, 1, 1).requires_grad_(True)
    torch.autograd.grad(network.up_to(layer, x)[:, unit].sum(), x)
    _wait(network)
    return time.perf_counter() - start


def _memory(model: str, args: argparse.Namespace) -> None:
    for count in args.memory:
        command = [sys.executable, __file__, "--images", str(args.images), "--models", model, "--device", args.device, "--one", str(count)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def _one(model: str, args: argparse.Namespace) -> None:
    """One scan of that many images: those that there are, under many names."""
    network = convolutions(models.load(model, args.device, weights=_weights(model)))
    with tempfile.TemporaryDirectory() as folder:
        paths = [path.absolute() for path in sorted(args.images.iterdir()) if path.is_file()]
        for number in range(args.one):
            part = Path(folder, "images", str(number // 1000))
            part.mkdir(parents=True, exist_ok=True)
            (part / f"{number}.jpg").symlink_to(paths[number % len(paths)])
        start = time.perf_counter()
        scan(network, find_images(Path(folder, "images")), Path(folder, "out"), options=Options(every=60))
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{model}: {args.one:6d} images, peak {peak:6.0f} MiB, {args.one / seconds:5.1f} images/s with all that comes once")


if __name__ == "__main__":
    main()
