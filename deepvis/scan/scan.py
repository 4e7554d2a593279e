"""The scan: running the network on all images, with checkpoints, in one or several processes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.core.files import locked, remove_unfinished, system_reason, writing
from deepvis.core.interrupt import Interrupted, postponed
from deepvis.core.layers import find_layer
from deepvis.inputs.datasets import Batch, Images, batches
from deepvis.networks.capture import Abandoned, trace
from deepvis.networks.network import ONE_AT_A_TIME, Network, prepare
from deepvis.networks.outputs import shown
from deepvis.networks.replicas import ReplicaPool, failed, is_out_of_memory
from deepvis.scan.index import CHUNK, INDEX, PROVISIONAL, STATE, Index, Span, joined
from deepvis.scan.index_file import load, save
from deepvis.scan.merging import merge, so_far, with_statistics
from deepvis.scan.options import ALONE, USUAL, Companion, Options, demand_memory
from deepvis.scan.reduce import Bar, Extremes, Tally, extremes

MOST_MEMORY = 8 << 30  # most bytes for the statistics of all units


def spans_of(network: Network, layers: Sequence[str]) -> tuple[Span, ...]:
    """The rows of the index that belong to these layers, in the given order."""
    shapes = {layer.name: layer for layer in network.layers}
    spans, start = [], 0
    for name in layers:
        layer = shapes[name]
        spans.append(Span(name, start, layer.units, layer.height, layer.width))
        start += layer.units
    return tuple(spans)


def look(
    network: Network, batch: Tensor, spans: Sequence[Span], bar: Bar, pace: Callable[[], None] = ALONE.pace
) -> dict[str, Extremes]:
    """Run a batch (N×channels×H×W) through the network and find the extremes of each layer as it is computed.

    Args:
        bar: the bar of all units; see `extremes`.
        pace: called at each layer.
    """
    wanted: dict[str, list[Span]] = {}
    for span in spans:
        wanted.setdefault(network.paths[span.name], []).append(span)
    found = {}

    def visit(path: str, _child: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        pace()
        tensor = shown(output)
        for span in wanted[path]:
            if tensor is None:
                raise UserError(
                    f"layer {span.name} returned no map, tokens or vector for a batch of {len(batch)} pictures"
                )
            found[span.name] = extremes(network.units(span.name, tensor), bar[span.rows])

    with torch.no_grad(), trace(network.module, visit, paths=wanted):
        network.module(batch)
    for name, one in found.items():
        if one.value.shape[1] != len(batch):
            raise UserError(
                f"layer {name} has {one.value.shape[1]} rows for a batch of {len(batch)} pictures. {ONE_AT_A_TIME}"
            )
    return found


def scan(
    network: Network,
    images: Images,
    out: Path,
    layers: Sequence[str] | None = None,
    options: Options = USUAL,
    progress: Callable[[int, int, int], None] = lambda done, total, broken: None,
    companion: Companion = ALONE,
) -> Index | None:
    """Scan the images into the folder `out`; an earlier scan there is continued.

    The result does not depend on where the earlier scan stopped. Its images are not read again, and new images come
    after them. An image that cannot be read is skipped and listed in the index's `broken`.

    New images cannot be added to an index without its state file, such as the bundled one; but if the images have
    moved, the index is updated with their new folder.

    Args:
        layers: names of the network's layers; None for all.
        progress: called with (images done, all images, broken images) at the start and after each batch.
        companion: the thread that accompanies the scan.
    Returns:
        The index, which is also written to `out`; None in a process of rank above 0.
    Raises:
        UserError: `out` holds a scan of something else or is in use, no image can be read, the disk is full.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when all that was scanned has been saved.
        Abandoned: the companion has ended the scan, and all that was scanned has been saved.
    """
    names = [layer.name for layer in network.layers] if layers is None else list(layers)
    spans = spans_of(network, names)
    demand_memory(spans, options, MOST_MEMORY)
    with _locked(out, options.rank):
        if (found := _found_again(network, images, out)) is not None:
            return found
        base = _base(network, images, out, spans, options)
        images = replace(images.after(base.files), reading=network.input.reading, note=Once())
        own = _own_path(out, options)
        state = _begun(own, base, network, spans, images, options)
        missed = (max((end for _, end in base.scanned), default=0), len(images.names))
        first, last = shares(*missed, options.world)[options.rank]
        first = max([first, *(end for _, end in state.scanned)])
        state = replace(state, files=images.names, root=str(images.root))
        state = _pass(network, images, state, (first, last), own, options, progress, companion)
        if options.rank > 0:
            return None
        if options.world > 1:
            state = _gathered(out, network, state, options, missed)
        if state.count == 0:
            why = next(iter(state.broken.values()), "there is none")
            raise UserError(f"{images.root}: none of the {len(images.names)} images can be read; the first one: {why}")
        index = _with_fields(network, state, out, companion)
        save(index, out / STATE, state=True)
        if companion.is_over():  # the statistics take a second; the next scan goes on from here
            raise Abandoned
        index = with_statistics(index)
        save(index, out / STATE, state=True)
        save(index, out / INDEX)
        _remove_parts(out)
        return index


class Once:
    """Prints only the first of many notes; the others would say the same about other images."""

    def __init__(self) -> None:
        self._alone = threading.Lock()

    def __call__(self, text: str) -> None:
        if self._alone.acquire(blocking=False):
            print(f"note: {text}", file=sys.stderr, flush=True)


# ---- what there is already ----------------------------------------------------------------------


def _found_again(network: Network, images: Images, out: Path) -> Index | None:
    """If `out` has an index without a state file and these are its images: the index, updated with their folder."""
    if (out / STATE).exists() or not (out / INDEX).exists():
        return None
    index = load(out / INDEX).check(network.fingerprint, network.name)
    if set(index.files) != set(images.names):
        return None
    index = replace(index, root=str(images.root))
    save(index, out / INDEX)
    return index


def _base(network: Network, images: Images, out: Path, spans: tuple[Span, ...], options: Options) -> Index:
    """The state that a scan into this folder starts from: that of the earlier scan, or an empty one."""
    path = out / STATE
    if not path.exists():
        if (out / INDEX).exists():
            load(out / INDEX).check(network.fingerprint, network.name)
            raise UserError(
                f"{out / INDEX} has no {STATE} beside it, so images cannot be added. Remove it to scan again, or give "
                f"another --out."
            )
        return _empty(network, images, spans, options)
    state = load(path)
    try:
        return _continued(state, path, network, images, spans, options)
    except UserError:
        if not state.is_provisional:
            raise
        return _empty(network, images, spans, options)


def _continued(
    state: Index, path: Path, network: Network, images: Images, spans: tuple[Span, ...], options: Options
) -> Index:
    """The state of the earlier scan, if these images continue it; UserError if not."""
    state = _check(state, path, network, spans, options)
    gone, out = set(state.files) - set(images.names), path.parent
    if gone:
        raise UserError(
            f"{out} is an index of {len(state.files)} images, but {len(gone)} are not in {images.root}: "
            f"{', '.join(sorted(gone)[:5])}{' …' if len(gone) > 5 else ''}. Give the folder that they are in "
            f"(--images), "
            f"or another folder for a new index (--out)."
        )
    stays = state.is_provisional and options.provisional
    return state if stays else replace(state, settings={**state.settings, PROVISIONAL: False})


def _check(state: Index, path: Path, network: Network, spans: tuple[Span, ...], options: Options) -> Index:
    """Check that this scan can continue from the state, and return it; UserError if not."""
    state = state.check(network.fingerprint, network.name)
    if state.spans != spans:
        raise UserError(
            f"{path} is a scan of the layers {', '.join(s.name for s in state.spans)}. Give these, or another --out."
        )
    mine = _settings(network, options)
    # These do not change the results, except for rounding.
    without = {"batch": 0, "shown": (), "channels": 0, PROVISIONAL: False}
    if {**state.settings, **without} != {**mine, **without} or state.k != options.k:
        raise UserError(
            f"{path} was made with {dict(state.settings)}, top {state.k}; this scan has {mine}, top {options.k}. "
            f"Give the same, or another --out."
        )
    return state


def _settings(network: Network, options: Options) -> dict[str, object]:
    reading = network.input.reading
    bands: dict[str, object] = {}
    if network.input.places != (0, 1, 2):
        bands["shown"] = list(network.input.places)
    bands |= {} if reading.channels == 3 else {"channels": reading.channels}
    bands |= {"white": [reading.white, reading.range]} if reading.white else {}
    bands |= {PROVISIONAL: True} if options.provisional else {}
    return bands | {
        "height": network.input.height, "width": network.input.width, "crop": True, "reduce": options.reduce,
        "weakest": options.weakest, "correlation": options.correlation, "batch": _batch_size(network, options),
    }  # fmt: skip


def _empty(network: Network, images: Images, spans: tuple[Span, ...], options: Options) -> Index:
    tally = Tally(spans, options.k, torch.device("cpu"), options.weakest, options.correlation)
    nothing = np.zeros(tally.units)
    return Index(
        model=network.name,
        fingerprint=network.fingerprint,
        root=str(images.root),
        files=(),
        scanned=(),
        broken={},
        spans=spans,
        mean=nothing,
        variance=nothing,
        settings=_settings(network, options),
        **tally.arrays(),
    )


def _with_fields(network: Network, state: Index, out: Path, companion: Companion) -> Index:
    """The state with the receptive fields of all layers; those that are missing are measured, which takes a while."""
    known = {**companion.fields(), **state.receptive_fields}
    maps = [span.name for span in state.spans if span.height * span.width > 1 and span.name not in known]
    if not maps:
        return replace(state, receptive_fields=known)
    save(state, out / STATE, state=True)
    with ReplicaPool(network) as pool:
        measured = pool.each(lambda replica, name: replica.receptive_field(name, companion.gives_up), maps)
        return replace(state, receptive_fields={**known, **dict(measured)})


def _own_path(out: Path, options: Options) -> Path:
    return out / (STATE if options.world == 1 else f"state-{options.rank}-of-{options.world}.npz")


def _begun(
    own: Path, base: Index, network: Network, spans: tuple[Span, ...], images: Images, options: Options
) -> Index:
    """The state of this process's share so far; rank 0 starts from the state of the earlier scan."""
    if own.name == STATE:
        return base
    if own.exists():
        state = _check(load(own), own, network, spans, options)
        if tuple(state.files) != images.names:
            raise UserError(f"{own} is part of a scan of other images. Remove it to start this part again.")
        return state
    return base if options.rank == 0 else _empty(network, images, spans, options)


def shares(begin: int, end: int, world: int) -> list[tuple[int, int]]:
    """Divide the images from `begin` to `end` into a range for each process; the ranges meet at multiples of CHUNK."""
    chunks = range(begin // CHUNK, -(-end // CHUNK))
    cuts = [chunks.start + len(chunks) * i // world for i in range(world + 1)]
    edges = [min(max(cut * CHUNK, begin), end) for cut in cuts]
    return list(zip(edges, edges[1:]))


# ---- the pass -----------------------------------------------------------------------------------


def _pass(
    network: Network,
    images: Images,
    state: Index,
    share: tuple[int, int],
    path: Path,
    options: Options,
    progress: Callable[[int, int, int], None],
    companion: Companion,
) -> Index:
    tally = Tally(state.spans, options.k, network.device, options.weakest, options.correlation)
    if state.count:
        tally.load(state)
    size = int(state.settings["batch"]) if state.count else _batch_size(network, options)
    begin, end = share
    broken, ranges, done = dict(state.broken), state.scanned, begin
    decoders = _usual_decoders(network) if options.workers is None else options.workers
    spec, saved = network.input, time.monotonic()
    least = (spec.width, spec.height) if options.reduce else None

    def load_image(number: int) -> np.ndarray:
        companion.pace()
        return spec.seen(images.read(number, least, spec.aspect), crop=True)

    def now() -> Index:
        scanned = joined((*ranges, (begin, done)))
        return replace(state, scanned=scanned, broken=dict(broken), **tally.arrays())

    with (
        postponed() as interrupted,
        _saved_if_abandoned(lambda: save(now(), path, state=True)),
        ReplicaPool(network) as pool,
        contextlib.closing(batches(cut(begin, end, size), load_image, decoders)) as stream,
    ):
        progress(0, end - begin, len(broken))
        looked = 0
        for batch, found in pool.each(Looker(tally, companion.pace), stream):
            broken.update(batch.broken)
            for numbers, part in found:
                tally.commit(part, numbers)
            if batch.last % CHUNK == 0:
                tally.end_chunk()
            done = batch.last
            progress(done - begin, end - begin, len(broken))
            if companion.look is not None and tally.count > 1.5 * looked and done < end:
                looked = tally.count
                companion.look(so_far(replace(now(), receptive_fields=companion.fields())))
            if interrupted() or time.monotonic() - saved > options.every:
                save(now(), path, state=True)
                saved = time.monotonic()
            if (number := interrupted()) is not None:
                raise Interrupted(number)
    result = now()
    if path.name != STATE:
        save(result, path, state=True)
    return result


@contextlib.contextmanager
def _saved_if_abandoned(save_now: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except Abandoned:
        save_now()
        raise


class Looker:
    """Runs batches through a network, in smaller pieces if memory runs out."""

    def __init__(self, tally: Tally, pace: Callable[[], None] = ALONE.pace) -> None:
        self._tally, self._pace = tally, pace
        self._most = CHUNK

    def __call__(self, network: Network, batch: Batch) -> list[tuple[list[int], dict[str, Extremes]]]:
        """For each piece of a batch the numbers of its images and their extremes."""
        found, start = [], 0
        while start < len(batch.numbers):
            part = slice(start, start + self._most)
            numbers = batch.numbers[part]
            try:
                pixels, tally = as_input(network, batch.pixels[part]), self._tally
                found.append((numbers, look(network, pixels, tally.spans, tally.bar, self._pace)))
                start += len(numbers)
            except UserError:
                raise
            except Exception as error:  # the network's code may raise anything
                if not is_out_of_memory(error):
                    raise failed(error, len(numbers)) from error
                if len(numbers) == 1:
                    raise
                self._most = min(self._most, len(numbers) // 2)
                if network.device.type == "cuda":
                    torch.cuda.empty_cache()
        return found


def as_input(network: Network, pixels: np.ndarray) -> Tensor:
    """N×H×W×channels float32 -> the network's input, channels_last."""
    values = torch.from_numpy(pixels)
    if network.device.type == "cuda":
        values = values.pin_memory()
    return values.to(network.device, network.dtype, non_blocking=True).permute(0, 3, 1, 2)


def cut(begin: int, end: int, size: int) -> list[tuple[int, int]]:
    """Divide images into batches of `size`, aligned with chunks, so that a resumed scan has the same batches."""
    ranges = []
    while begin < end:
        chunk = begin // CHUNK * CHUNK
        following = min(chunk + ((begin - chunk) // size + 1) * size, chunk + CHUNK, end)
        ranges.append((begin, following))
        begin = following
    return ranges


def _batch_size(network: Network, options: Options) -> int:
    return min(options.batch or (16 if network.device.type == "cpu" else 256), CHUNK)


def _usual_decoders(network: Network) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2) if network.device.type == "cpu" else cores


# ---- several processes --------------------------------------------------------------------------


def _gathered(out: Path, network: Network, state: Index, options: Options, wanted: tuple[int, int]) -> Index:
    """Wait for the shares of all processes and merge them with this one's."""
    parts, said = [state], 0.0
    waiting = {rank: _own_path(out, replace(options, rank=rank)) for rank in range(1, options.world)}
    borders = shares(*wanted, options.world)
    while waiting:
        for rank, path in list(waiting.items()):
            part = load(path) if path.exists() else None
            if part is not None and tuple(part.files) == tuple(state.files) and _has(part, borders[rank]):
                _check(part, path, network, state.spans, options)
                parts.append(part)
                del waiting[rank]
        if waiting and time.monotonic() - said > 60:
            print(
                f"waiting for {len(waiting)} of {options.world} processes: "
                f"{', '.join(p.name for p in waiting.values())}",
                flush=True,
            )
            said = time.monotonic()
        time.sleep(0.2 if waiting else 0)
    return merge([part for part in parts if part.scanned])


def _has(part: Index, share: tuple[int, int]) -> bool:
    return share[0] == share[1] or any(first <= share[0] and share[1] <= last for first, last in part.scanned)


def _remove_parts(out: Path) -> None:
    for path in out.glob("state-*-of-*.npz"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(out: Path, rank: int) -> Iterator[None]:
    """Lock the folder against a second scan while the block runs; the lock also ends if the process dies."""
    path = out / f".lock-{rank}"
    with writing(out, "Give another folder with --out."):
        out.mkdir(parents=True, exist_ok=True)
        open(path, "a").close()
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path, wait=False))
        except TimeoutError:
            raise UserError(
                f"{out}: another scan is writing there. Wait for it, or give another folder with --out."
            ) from None
        except OSError as error:
            raise UserError(
                f"{out}: cannot be locked: {system_reason(error)}. Give another folder with --out."
            ) from error
        remove_unfinished([out])
        yield


def layers_from(network: Network, text: str) -> list[str]:
    """The layers that the option --layers names: names with commas, or all."""
    if text in ("", "all"):
        return [layer.name for layer in network.layers]
    return list(
        dict.fromkeys(network.layers[find_layer(name.strip(), network.layers)].name for name in text.split(","))
    )


def convolutions(network: Network) -> Network:
    """The same network with every convolution as a layer, under its module's name.

    A batch normalisation that has been folded into a convolution is part of it.
    """
    paths = {path: path for path, child in network.module.named_modules() if isinstance(child, nn.Conv2d)}
    found = prepare(network.name, network.module, network.input, paths, (), network.device, network.dtype)
    return replace(found, fingerprint=network.fingerprint, classes=network.classes)
