"""An index as a file: NumPy arrays, written whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepvis.errors import UserError
from deepvis.files import beside, writing
from deepvis.messages import ReceptiveField
from deepvis.scan.index import BINS, Index, Ranked, Span, Sums
from deepvis.store import PRECOMPUTED

VERSION = 1


def save(index: Index, path: Path, state: bool = False) -> None:
    """Write an index whole or not at all; `state`: with its sums, uncompressed.

    Raises:
        UserError: it cannot be written. An older file of that name is left as it was.
    """
    arrays: dict[str, np.ndarray] = {
        "meta": _text(json.dumps(_meta(index, path))),
        "files": _text("\0".join(index.files)),
        "histogram": index.histogram if state else index.histogram.astype(np.min_scalar_type(max(1, index.count))),
        "active": index.active,
        "mean": index.mean,
        "variance": index.variance,
    }
    for side in ("top", "bottom"):
        arrays |= {f"{side}_{name}": getattr(getattr(index, side), name) for name in ("image", "row", "column", "value")}
    if state:
        sums = index.sums
        arrays |= {"total": sums.total, "squares": sums.squares, "means": sums.means, "recent": sums.recent}
        arrays |= {f"products_{i}": sums.products[s.name] for i, s in enumerate(index.spans) if s.name in sums.products}
    else:
        arrays |= {
            f"correlation_{i}": np.round(_triangle(index.correlation[s.name]) * 127).astype(np.int8)
            for i, s in enumerate(index.spans)
            if s.name in index.correlation
        }
    remedy = (
        "What was there before is kept; make room or give another folder with --out, and run the same command "
        "again to go on."
    )
    with writing(path, remedy), beside(path) as file:
        (np.savez if state else np.savez_compressed)(file, **arrays)


def load(path: Path) -> Index:
    """Read an index or a state.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no index. Make one: deepvis scan --images DIR")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return _index({name: stored[name] for name in stored.files}, path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as an index ({error}). Remove it and scan again.") from error


def _index(stored: Mapping[str, np.ndarray], path: Path) -> Index:
    meta = json.loads(_string(stored["meta"]))
    if meta["version"] != VERSION:
        raise ValueError(f"version {meta['version']}, expected {VERSION}")
    spans = tuple(Span(*row) for row in meta["spans"])
    units = sum(span.units for span in spans)
    top, bottom = (
        Ranked(*(stored[f"{side}_{name}"] for name in ("image", "row", "column", "value"))) for side in ("top", "bottom")
    )
    if len(top.value) != units or stored["histogram"].shape != (units, BINS):
        raise ValueError(f"arrays of {len(top.value)} units for layers of {units}")
    names = _string(stored["files"])
    index = Index(
        model=meta["model"], fingerprint=meta["fingerprint"], root=os.path.normpath(path.absolute().parent / meta["root"]),
        files=tuple(names.split("\0")) if names else (), scanned=tuple((a, b) for a, b in meta["scanned"]),
        broken={int(i): why for i, why in meta["broken"].items()}, spans=spans, top=top, bottom=bottom,
        histogram=stored["histogram"].astype(np.int64), count=meta["count"], active=stored["active"],
        mean=stored["mean"], variance=stored["variance"], settings=meta["settings"],
        fields={layer: ReceptiveField(h, w, clipped, tuple(stride), tuple(start))
                for layer, (h, w, clipped, stride, start) in meta["fields"].items()},
        correlation=_Squares({s.name: (stored[f"correlation_{i}"], s.units)
                              for i, s in enumerate(spans) if f"correlation_{i}" in stored}),
    )  # fmt: skip
    if "total" not in stored:
        return index
    products = {s.name: stored[f"products_{i}"] for i, s in enumerate(spans) if f"products_{i}" in stored}
    return replace(index, sums=Sums(stored["total"], stored["squares"], products, stored["means"], stored["recent"]))


def _meta(index: Index, path: Path) -> dict[str, Any]:
    return {
        "version": VERSION, "model": index.model, "fingerprint": index.fingerprint, "root": _root(index.root, path),
        "scanned": index.scanned, "broken": dict(index.broken), "count": index.count, "settings": dict(index.settings),
        "spans": [(s.name, s.start, s.units, s.height, s.width) for s in index.spans],
        "fields": {layer: list(asdict(field).values()) for layer, field in index.fields.items()},
    }  # fmt: skip


def _root(root: str, path: Path) -> str:
    """How an index at `path` names the folder of its images: from there, where both come with the program."""
    home = PRECOMPUTED.parent
    if Path(root).is_relative_to(home) and path.absolute().is_relative_to(home):
        return Path(os.path.relpath(root, path.absolute().parent)).as_posix()
    return root


def _text(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _string(array: np.ndarray) -> str:
    return array.tobytes().decode("utf-8", "surrogateescape")


def _triangle(matrix: np.ndarray) -> np.ndarray:
    """The part above the diagonal, row by row: the matrix is symmetrical."""
    return matrix[np.triu_indices(len(matrix), 1)]


class _Squares(Mapping[str, np.ndarray]):
    """Correlation matrices, each made when it is asked for."""

    def __init__(self, triangles: Mapping[str, tuple[np.ndarray, int]]) -> None:
        self._triangles = triangles

    def __getitem__(self, layer: str) -> np.ndarray:
        return _square(*self._triangles[layer])

    def __iter__(self) -> Iterator[str]:
        return iter(self._triangles)

    def __len__(self) -> int:
        return len(self._triangles)


def _square(triangle: np.ndarray, units: int) -> np.ndarray:
    matrix = np.eye(units, dtype=np.float32)
    above = np.triu_indices(units, 1)
    matrix[above] = triangle.astype(np.float32) / 127
    matrix.T[above] = matrix[above]
    return matrix
