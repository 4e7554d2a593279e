"""How fast is a scan, and does its memory stay flat?

    python tests/benchmarks/scan.py [--images DIR] [--count 160] [--rounds 5] [--models efficientnet-lite0
    torchvision:alexnet]
    python tests/benchmarks/scan.py --layers convolutions
    python tests/benchmarks/scan.py --memory 1000 20000
    python tests/benchmarks/scan.py --device cuda
    python tests/benchmarks/scan.py --select 12

The layers that the command scans by default, or all units of every convolution. Interleaved; medians. Compared with

* the ideal 1/(1/decode + 1/forward), since decoding and network share the cores: of the folded network alone, in
  the layout that does best, a thread with a batch of its own for each core or all cores for one batch, of several
  sizes;
  the same decoding at the same reduced size;
* with --layers convolutions: captum's LayerActivation, all at once, then the maximum with its position; and a plain
  loop: a hook on each convolution that calls max with positions, then topk over the old and new values. Both on the
  library's network, channels_last, with the same decoding and batches.

Besides images per second: the time of the processors for an image, of the ideal's too. On a machine that others use,
this says more.

--select: from the selection of a unit to its top images, and to what flows back to them, over so many
units of each layer that no photo is in memory for; beside a forward and backward pass of nine images.

Images per second are those of the pass; what comes once stands apart: before it (receptive fields) and at its end.
A short run: --count 8 --rounds 1 --batches 8.
"""

from __future__ import annotations

from deepvis.core import runtime

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

from deepvis.core import paths
from deepvis.inputs.datasets import Images, Photos, batches, find_images
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.networks.replicas import ReplicaPool
from deepvis.scan.scan import Options, as_input, convolutions, cut, scan
from deepvis.workers.messages import TopImagesWish
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.worker import WishOf

BATCH = 8  # of the loops that are compared: on a CPU the best for all of them, as maps stay in the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default=paths.PHOTOS, type=Path)
    parser.add_argument("--count", type=int, default=160, help="images in a run")
    parser.add_argument("--layers", choices=("listed", "convolutions"), default="listed")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[4, 8, 16, 32], help="that the network alone is tried with"
    )
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


def _load(model: str, args: argparse.Namespace) -> Network:
    network = loading.load(model, args.device, weights=_weights(model))
    return convolutions(network) if args.layers == "convolutions" else network


def _unfolded(model: str, args: argparse.Namespace) -> Network:
    """As its library gives it."""
    with patch("deepvis.networks.network.fold_batchnorm", lambda module, *_args, **_kwargs: module):
        return _load(model, args)


# ---- what is compared ---------------------------------------------------------------------------


def _stream(images: Images, network: Network, workers: int):
    spec = network.input
    load = lambda i: spec.seen(images.read(i, (spec.width, spec.height), spec.aspect), crop=True)  # noqa: E731
    return batches(cut(0, len(images.names), BATCH), load, workers)


class Clock:
    """The time now, and that of the processors for this process."""

    def __init__(self) -> None:
        self.time, self.busy = time.perf_counter(), time.process_time()

    def speed(self, images: int, end: Clock | None = None) -> Speed:
        end = end or Clock()
        return images / (end.time - self.time), 1000 * (end.busy - self.busy) / images


Speed = tuple[float, float]  # images per second, milliseconds of processor for an image
Run = Callable[[Images, Network], Speed]


def decode(images: Images, network: Network) -> Speed:
    start = Clock()
    for _ in _stream(images, network, workers=torch.get_num_threads()):
        pass
    return start.speed(len(images.names))


def forward(batch: int, team: bool) -> Run:
    """The network alone, every image of it: by a thread for each core, or all cores for one batch."""

    def run(images: Images, network: Network) -> Speed:
        x = (
            network.input.noise()
            .to(network.device)
            .repeat(batch, 1, 1, 1)
            .contiguous(memory_format=torch.channels_last)
        )
        times = max(1, len(images.names) // batch)

        def once(replica: Network, _number: int) -> None:
            with torch.inference_mode():
                replica.module(x)

        if team:
            with ReplicaPool(network) as threads:
                start = Clock()
                for _ in threads.each(once, range(times)):
                    pass
                return start.speed(times * batch)
        start = Clock()
        for number in range(times):
            once(network, number)
        _wait(network)
        return start.speed(times * batch)

    return run


def _wait(network: Network) -> None:
    if network.device.type == "cuda":
        torch.cuda.synchronize()


def deepvis(options: Options) -> Run:
    def run(images: Images, network: Network) -> Speed:
        clocks: list[Clock] = []
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            scan(network, images, Path(out), options=options, progress=lambda *_: clocks.append(Clock()))
            once.append((clocks[0].time - start, time.perf_counter() - clocks[-1].time))
        return clocks[0].speed(len(images.names), clocks[-1])

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


def hooks(images: Images, network: Network) -> Speed:
    top, first = TopK(), 0
    handles = [
        child.register_forward_hook(lambda _m, _i, out, path=path: top.add(path, out, first))
        for path, child in _convs(network).items()
    ]
    start = Clock()
    with torch.inference_mode():
        for batch in _stream(images, network, workers=1):
            first = batch.first
            network.module(as_input(network, batch.pixels))
    speed = start.speed(len(images.names))
    for handle in handles:
        handle.remove()
    return speed


def captum(images: Images, network: Network) -> Speed:
    from captum.attr import LayerActivation

    top, convs = TopK(), _convs(network)
    layers = LayerActivation(network.module, list(convs.values()))
    start = Clock()
    with torch.no_grad():
        for batch in _stream(images, network, workers=1):
            for path, out in zip(convs, layers.attribute(as_input(network, batch.pixels))):
                top.add(path, out, batch.first)
    return start.speed(len(images.names))


# ---- tables -------------------------------------------------------------------------------------


def _speed(model: str, args: argparse.Namespace) -> None:
    folded = _load(model, args)
    images = find_images(args.images)
    images = replace(images, names=images.names[: args.count])
    usual = Options(every=1e9)
    runs: dict[str, tuple[Run, Network]] = {"decode": (decode, folded)}
    for batch in args.batches:
        runs[f"forward: all cores, batch {batch}"] = (forward(batch, team=False), folded)
        runs[f"forward: thread for a core, batch {batch}"] = (forward(batch, team=True), folded)
    runs |= {
        "scan: as by default": (deepvis(usual), folded),
        "scan: without correlations": (deepvis(replace(usual, correlation=False)), folded),
        "scan: without weakest": (deepvis(replace(usual, weakest=False)), folded),
        "scan: without both": (deepvis(replace(usual, weakest=False, correlation=False)), folded),
    }
    if args.device == "cpu" and args.layers == "convolutions":
        raw = _unfolded(model, args)
        runs |= {"loop: hooks, strongest": (hooks, raw), "loop: captum, strongest": (captum, raw)}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    busy: dict[str, list[float]] = {name: [] for name in runs}
    small = replace(images, names=images.names[:BATCH])
    fields: dict[str, object] = {}  # measured by the first scan alone
    plain = Network.receptive_field
    measured = lambda self, layer, *_: fields.get(layer) or fields.setdefault(layer, plain(self, layer))  # noqa: E731
    with patch.object(Network, "receptive_field", measured):
        _take_turns(runs, small, images, args.rounds, rates, busy)
    _print_table(
        f"{model}, {len(folded.layers)} layers ({args.layers}), {sum(layer.units for layer in folded.layers):,} units; "
        f"{len(images.names)} images, {args.rounds} rounds, {args.device}",
        rates,
        busy,
    )


def _take_turns(
    runs: dict[str, tuple[Run, Network]], small: Images, images: Images, rounds: int,
    rates: dict[str, list[float]], busy: dict[str, list[float]],
) -> None:  # fmt: skip
    once.clear()
    for run, network in runs.values():
        run(small, network)  # warm
    for _ in range(rounds):
        for name, (run, network) in runs.items():
            rate, work = run(images, network)
            rates[name].append(rate)
            busy[name].append(work)


def _print_table(title: str, rates: dict[str, list[float]], busy: dict[str, list[float]]) -> None:
    rate, work = ({name: statistics.median(all) for name, all in each.items()} for each in (rates, busy))
    best = max((name for name in rate if name.startswith("forward")), key=rate.__getitem__)
    ideal, least = 1 / (1 / rate["decode"] + 1 / rate[best]), work["decode"] + work[best]
    print(f"\n{title}\n{'':42} images/s  of the ideal   (least–most)   processor ms/image  of the ideal")
    print(f"{'ideal: decode, and ' + best:42}\n{'':42} {ideal:8.1f} {'':30} {least:12.1f}")
    for name, each in rates.items():
        spread = f"({min(each):.0f}–{max(each):.0f})"
        mine = name.startswith(("scan", "loop"))
        print(f"{name:42} {rate[name]:8.1f} {f'{rate[name] / ideal:.0%}' if mine else '':>12} {spread:>16} "
              f"{work[name]:19.1f} {f'{least / work[name]:.0%}' if mine else '':>13}")  # fmt: skip
    before, after = once[0][0], statistics.median(seconds for _, seconds in once)
    print(f"once: {before:.1f} s before the pass (receptive fields), {after:.1f} s after it", flush=True)


def _select(model: str, args: argparse.Namespace) -> None:
    """Milliseconds from a selection to its pictures, layer by layer."""
    network = loading.load(model, args.device, weights=_weights(model))
    with tempfile.TemporaryDirectory() as out:
        scan(network, find_images(args.images), Path(out), options=Options(correlation=False))
        with contextlib.closing(TopImagesWorker(lambda _network: Path(out))) as worker:
            _until(lambda: worker.want(WishOf(network, TopImagesWish(network.layers[0].name, 0))) or worker.idle)
            print(
                f"{model}, {args.device}: ms to nine patches, to what flows back, beyond the pass, a pass of nine: "
                f"median (worst)"
            )
            for layer in network.layers:
                patches, whole, passes = [], [], []
                for unit in random.Random(0).sample(range(layer.units), min(layer.units, args.select)):
                    photos = worker._opened.photos
                    photos = Photos(photos.images, least=photos.least)  # nothing in memory
                    worker._opened = replace(worker._opened, photos=photos)
                    start = time.perf_counter()
                    worker.want(WishOf(network, TopImagesWish(layer.name, unit)))
                    _until(lambda: worker.answer is not None and worker.answer.unit == unit)
                    patches.append(1000 * (time.perf_counter() - start))
                    _until(lambda: worker.idle)
                    whole.append(1000 * (time.perf_counter() - start))
                    passes.append(1000 * _pass_of_nine(network, layer.name, unit))
                beyond = [all - one for all, one in zip(whole, passes)]
                words = (
                    f"{statistics.median(times):6.0f} ({max(times):5.0f})" for times in (patches, whole, beyond, passes)
                )
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
        command = [
            sys.executable,
            __file__,
            "--images",
            str(args.images),
            "--models",
            model,
            "--device",
            args.device,
            "--one",
            str(count),
        ]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def _one(model: str, args: argparse.Namespace) -> None:
    """One scan of that many images: those that there are, under many names."""
    network = convolutions(loading.load(model, args.device, weights=_weights(model)))
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
    print(
        f"{model}: {args.one:6d} images, peak {peak:6.0f} MiB, {args.one / seconds:5.1f} images/s with all that "
        f"comes once"
    )


if __name__ == "__main__":
    main()
