"""The activations of many images in one file: .npz, or .parquet if pyarrow is installed.

Images go through the network in batches, and the activations of each layer are appended to a file of its own in the
folder OUT.part; when all are done, these files become the members of OUT one after the other. So memory stays bounded,
and a run that was stopped or killed goes on where it was: a part that `progress.json` does not count is cut off again.
The result does not depend on where it stopped. What OUT holds: docs/files.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from deepvis.core.arrays import add_array, array_member, text_array
from deepvis.core.errors import UserError
from deepvis.core.files import beside, locked, write_whole, writing
from deepvis.core.interrupt import Interrupted, postponed
from deepvis.core.layers import Layer
from deepvis.core.reading import parse_json, read_text
from deepvis.inputs.datasets import Batch, Images, batches
from deepvis.networks.network import Network
from deepvis.networks.replicas import ReplicaPool, failed, is_out_of_memory

REDUCTIONS = ("max", "mean")  # of each unit's map to one number
SUFFIXES = (".npz", ".parquet")
DECODERS = 2  # threads that decode images
SAVE_EVERY = 1.0  # seconds between two notes of the progress
PIECE = 8 << 20  # bytes that are copied at a time
_FLOAT = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class ActivationsExport:
    """What is exported.

    Attributes:
        network, images: the activations are those of this network for these images.
        layers: the names of the layers.
        reduce: one of REDUCTIONS; empty for whole maps.
        batch: images that go through the network at a time.
    """

    network: Network
    images: Images
    layers: tuple[str, ...]
    reduce: str = ""
    batch: int = 8

    @property
    def shown(self) -> list[Layer]:
        """The layers."""
        by_name = {layer.name: layer for layer in self.network.layers}
        return [by_name[name] for name in self.layers]

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """The shape of a layer's activations for one image."""
        return (layer.units, layer.height, layer.width) if layer.is_map and not self.reduce else (layer.units,)

    @property
    def about(self) -> dict[str, Any]:
        """Everything that the numbers depend on, besides the pixels."""
        spec = self.network.input
        return {
            "model": self.network.name, "fingerprint": self.network.fingerprint, "layers": list(self.layers),
            "reduce": self.reduce or None, "batch": self.batch, "precision": str(self.network.dtype),
            "preprocessing": {
                "height": spec.height, "width": spec.width, "crop": True, "mean": list(spec.mean),
                "std": list(spec.std), "range": spec.range, "order": spec.order, "channels": list(spec.places),
            },
        }  # fmt: skip

    def compute(self, network: Network, batch: Batch) -> list[np.ndarray]:
        """For each layer the activations for a batch, float32 N×….

        Raises:
            UserError: the network fails, or a layer's size is not the usual one.
        """
        if not batch.numbers:
            return [np.zeros((0, *self.shape(layer)), _FLOAT) for layer in self.shown]
        x = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).to(network.device, network.dtype)
        try:
            with torch.no_grad(), network.capture(self.layers) as captured:
                network.module(x)
                return [self._taken(network, layer, captured, len(x)) for layer in self.shown]
        except UserError:
            raise
        except Exception as error:  # the network's code may raise anything
            if is_out_of_memory(error):
                raise UserError(f"{network.device} is out of memory with {len(x)} pictures: smaller --batch") from error
            raise failed(error, len(x)) from error

    def _taken(self, network: Network, layer: Layer, captured: Mapping[str, torch.Tensor], count: int) -> np.ndarray:
        units = network.units(layer.name, captured[layer.name]).detach().float()
        if units.ndim == 4 and self.reduce:
            units = units.amax((2, 3)) if self.reduce == "max" else units.mean((2, 3))
        found = units.cpu().numpy().astype(_FLOAT, copy=False)
        if found.shape != (count, *self.shape(layer)):
            found_shape = "×".join(map(str, found.shape))
            raise UserError(f"layer {layer.name} returned {found_shape} for {count} pictures: leave it out")
        return found


Progress = Callable[[int, int, int], None]


def export_activations(
    wanted: ActivationsExport, out: Path, progress: Progress = lambda done, total, broken: None
) -> tuple[int, dict[str, str]]:
    """Write the activations to the file `out`; an earlier run that was stopped is continued.

    Args:
        progress: called with (images done, all images, broken images) at the start and after each batch.
    Returns:
        How many images are in the file, and {name of an image that could not be read: why}.
    Raises:
        UserError: `out` has another suffix or is in use, no image can be read, the disk is full, no pyarrow.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when what is done has been saved.
    """
    write = writer_for(out)
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; expected the name of a file. Give another --out")
    part = out.with_name(f"{out.name}.part")
    with writing(part), contextlib.ExitStack() as held:
        part.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(locked(part / "lock", wait=False))
        except TimeoutError as error:
            raise UserError(f"{out} is being written by another run. Wait for it, or give another --out") from error
        spool = _Spool.opened(part, wanted)
        _pass(wanted, spool, progress)
        if not spool.kept:
            why = next(iter(spool.broken.values()))
            raise UserError(f"{wanted.images.root}: none of the images can be read; the first one: {why}")
        with beside(out) as file:
            write(file, wanted, spool)
    shutil.rmtree(part, ignore_errors=True)
    return len(spool.kept), spool.broken_names


def writer_for(out: Path) -> Callable[[BinaryIO, ActivationsExport, _Spool], None]:
    """The function that writes files of this suffix. Raises UserError if there is none."""
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"--out {out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401  # missing is said before the work, not after it
        except ImportError as error:
            raise UserError(
                f"--out {out}: .parquet needs pyarrow: pip install 'deepvis[parquet]', or write .npz"
            ) from error
        return _write_parquet
    return _write_npz


# ---- what is done so far ------------------------------------------------------------------------


@dataclass
class _Spool:
    """The folder with what is done so far.

    Attributes:
        done: how many images have been taken, from the first.
        broken: {number of an image that could not be read: why}.
    """

    folder: Path
    wanted: ActivationsExport
    done: int = 0
    broken: dict[int, str] = field(default_factory=dict)

    @classmethod
    def opened(cls, folder: Path, wanted: ActivationsExport) -> _Spool:
        """The spool in a folder, with what an earlier run of the same export left. Raises UserError if of another."""
        path = folder / "progress.json"
        if not path.exists():
            return cls(folder, wanted)
        remedy = f"Remove the folder {folder} to begin anew"
        try:
            said = parse_json(read_text(path), lambda line: f"{path}, line {line}", "the progress of an export")
        except UserError as error:
            raise UserError(f"{path}: is damaged. {remedy}") from error
        if not isinstance(said, dict) or said.get("about") != cls(folder, wanted)._about():
            raise UserError(f"{folder} is a part of another export (images, layers, network or options). {remedy}")
        done, broken = said.get("done"), said.get("broken")
        if type(done) is not int or not 0 <= done <= len(wanted.images.names) or not isinstance(broken, dict):
            raise UserError(f"{path}: is damaged. {remedy}")
        return cls(folder, wanted, done, {int(number): str(why) for number, why in broken.items()})

    @property
    def kept(self) -> list[int]:
        """The numbers of the images whose activations are in the files."""
        return [number for number in range(self.done) if number not in self.broken]

    @property
    def broken_names(self) -> dict[str, str]:
        return {self.wanted.images.names[number]: why for number, why in self.broken.items()}

    def _about(self) -> dict[str, Any]:
        names = "\0".join(self.wanted.images.names).encode("utf-8", "surrogateescape")
        root = str(self.wanted.images.root).encode("utf-8", "surrogateescape")
        return {**self.wanted.about, "images": hashlib.sha256(root + b"\0" + names).hexdigest()}

    def path(self, layer: Layer) -> Path:
        """The file with a layer's activations."""
        return self.folder / f"{self.wanted.layers.index(layer.name)}.bin"

    def row_bytes(self, layer: Layer) -> int:
        """The size of one image's activations."""
        return int(np.prod(self.wanted.shape(layer))) * _FLOAT.itemsize

    def save(self) -> None:
        """Note what is done; its activations must be in the files."""
        said = {"about": self._about(), "done": self.done, "broken": self.broken}
        write_whole(self.folder / "progress.json", json.dumps(said).encode())

    @contextlib.contextmanager
    def appending(self) -> Iterator[list[BinaryIO]]:
        """The layers' files, open for more; what is not counted as done is cut off."""
        with contextlib.ExitStack() as held:
            files: list[BinaryIO] = []
            for layer in self.wanted.shown:
                handle = os.open(self.path(layer), os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                file = held.enter_context(os.fdopen(handle, "r+b"))
                end = len(self.kept) * self.row_bytes(layer)
                if file.seek(0, os.SEEK_END) < end:
                    raise UserError(f"{self.path(layer)}: is cut off. Remove the folder {self.folder} to begin anew")
                file.truncate(end)
                file.seek(end)
                files.append(file)
            yield files

    def pieces(self, layer: Layer) -> Iterator[bytes]:
        """A layer's activations, bit by bit."""
        with self.path(layer).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


def _pass(wanted: ActivationsExport, spool: _Spool, progress: Progress) -> None:
    """Run the images that are not done yet through the network."""
    total, spec, saved = len(wanted.images.names), wanted.network.input, time.monotonic()
    ranges = [(first, min(first + wanted.batch, total)) for first in range(spool.done, total, wanted.batch)]

    def load(number: int) -> np.ndarray:
        return spec.seen(wanted.images.read(number), crop=True)

    progress(spool.done, total, len(spool.broken))
    with (
        postponed() as interrupted,
        spool.appending() as files,
        ReplicaPool(wanted.network) as pool,
        contextlib.closing(batches(ranges, load, DECODERS)) as stream,
    ):
        for batch, found in pool.each(wanted.compute, stream):
            for file, rows in zip(files, found, strict=True):
                file.write(rows.tobytes())
                file.flush()  # to the system: a process that is killed leaves it there
            spool.done = batch.last
            spool.broken.update(batch.broken)
            progress(spool.done, total, len(spool.broken))
            number = interrupted()
            if number is not None or time.monotonic() - saved > SAVE_EVERY:
                spool.save()
                saved = time.monotonic()
            if number is not None:
                raise Interrupted(number)
        spool.save()


# ---- the file -----------------------------------------------------------------------------------


def _names(wanted: ActivationsExport, spool: _Spool) -> list[str]:
    """The names of the images in the file, fit to be written as text."""
    return [_printable(wanted.images.names[number]) for number in spool.kept]


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _write_npz(file: BinaryIO, wanted: ActivationsExport, spool: _Spool) -> None:
    names = _names(wanted, spool)
    with zipfile.ZipFile(file, "w") as archive:
        add_array(archive, "files", text_array(names))
        add_array(archive, "layers", text_array(wanted.layers))
        add_array(archive, "about", np.array(json.dumps(wanted.about)))
        add_array(archive, "broken", text_array(f"{_printable(n)}: {why}" for n, why in spool.broken_names.items()))
        for layer in wanted.shown:
            if layer.labels:
                add_array(archive, f"units/{layer.name}", text_array(layer.labels))
            shape = (len(names), *wanted.shape(layer))
            with array_member(archive, f"activations/{layer.name}", _FLOAT, shape) as write:
                for piece in spool.pieces(layer):
                    write(piece)


def _write_parquet(file: BinaryIO, wanted: ActivationsExport, spool: _Spool) -> None:
    """A row for each image: its name, and for each layer its activations as a list, row by row of each map."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, layers = _names(wanted, spool), wanted.shown
    sizes = [spool.row_bytes(layer) // _FLOAT.itemsize for layer in layers]
    said = {layer.name: {"shape": wanted.shape(layer), "units": layer.labels} for layer in layers}
    meta = {"deepvis": json.dumps(wanted.about), "layers": json.dumps(said)}
    columns = [(layer.name, pa.list_(pa.float32(), size)) for layer, size in zip(layers, sizes, strict=True)]
    schema = pa.schema([("file", pa.string()), *columns], metadata=meta)
    rows = max(1, PIECE // (4 * sum(sizes)))
    with contextlib.ExitStack() as held:
        files = [held.enter_context(spool.path(layer).open("rb")) for layer in layers]
        writer = held.enter_context(pq.ParquetWriter(file, schema))
        for part in _parts(names, rows):
            lists = [
                pa.FixedSizeListArray.from_arrays(pa.array(np.frombuffer(one.read(len(part) * size * 4), _FLOAT)), size)
                for one, size in zip(files, sizes, strict=True)
            ]
            writer.write_batch(pa.record_batch([pa.array(part, pa.string()), *lists], schema=schema))


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[first : first + size] for first in range(0, len(names), size))
