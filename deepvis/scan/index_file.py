"""Saving and loading an index as a file of NumPy arrays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from deepvis.core import paths
from deepvis.core.arrays import ArrayFile, open_arrays
from deepvis.core.errors import UserError
from deepvis.core.files import beside, writing
from deepvis.core.reading import is_text, shown
from deepvis.core.receptive_field import ReceptiveField
from deepvis.scan.index import BINS, CHUNK, Index, Ranked, Span, Sums

VERSION = 1


def save(index: Index, path: Path, state: bool = False) -> None:
    """Write an index whole or not at all. A provisional one is not compressed.

    Args:
        state: write a state: with the sums, uncompressed.
    Raises:
        UserError: the file cannot be written. An older file of that name is left as it was.
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
        arrays |= {
            f"{side}_{name}": getattr(getattr(index, side), name) for name in ("image", "row", "column", "value")
        }
    if state:
        sums = index.exact_sums
        arrays |= {"total": sums.total, "squares": sums.squares, "means": sums.means, "recent": sums.recent}
        arrays |= {f"products_{i}": sums.products[s.name] for i, s in enumerate(index.spans) if s.name in sums.products}
    else:
        arrays |= {
            f"correlation_{i}": np.round(_triangle(index.correlation[s.name]) * 127).astype(np.int8)
            for i, s in enumerate(index.spans)
            if s.name in index.correlation
        }
    remedy = (
        "The file there is kept as it was. Make room or give another folder with --out, and run the same command again."
    )
    with writing(path, remedy), beside(path) as file:
        is_short = state or index.is_provisional  # what the window scans by itself must not keep it from closing
        write: Callable[..., None] = np.savez if is_short else np.savez_compressed
        write(file, **arrays)


def load(path: Path) -> Index:
    """Read an index or a state, and check that all arrays and numbers in it are possible.

    Raises:
        UserError: there is no index, or it cannot be read or is damaged.
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: there is no index. Make one: deepvis scan --images DIR")
    with open_arrays(path, "an index", "Remove it and scan again.") as stored:
        meta = _checked_meta(json.loads(_string(stored["meta"])))
        spans = tuple(Span(*row) for row in meta["spans"])
        files = _string(stored["files"])
        index = _index(stored, path, meta, spans, tuple(files.split("\0")) if files else ())
        return index if "total" not in stored else replace(index, sums=_sums(stored, spans, index))


def _index(
    stored: ArrayFile, path: Path, meta: Mapping[str, Any], spans: tuple[Span, ...], files: tuple[str, ...]
) -> Index:
    units, k = sum(span.units for span in spans), _k(stored)
    _demand(8 * BINS * units <= stored.room, f"histograms of {units} units")  # their size in memory, as int64
    _demand(
        meta["scanned"] == sorted(meta["scanned"]) and all(0 <= a <= b <= len(files) for a, b in meta["scanned"]),
        "scanned",
    )
    _demand(all(0 <= int(i) < len(files) for i in meta["broken"]), "broken")
    top, bottom = (_ranked(stored, side, spans, k, len(files)) for side in ("top", "bottom"))
    return Index(
        model=meta["model"],
        fingerprint=meta["fingerprint"],
        root=os.path.normpath(path.absolute().parent / meta["root"]),
        files=files,
        scanned=tuple((a, b) for a, b in meta["scanned"]),
        broken={int(i): why for i, why in meta["broken"].items()},
        spans=spans,
        top=top,
        bottom=bottom,
        histogram=_array(stored, "histogram", "iu", (units, BINS)).astype(np.int64),
        count=meta["count"],
        active=_array(stored, "active", "i", (units,)),
        mean=_array(stored, "mean", "f", (units,)),
        variance=_array(stored, "variance", "f", (units,)),
        settings=meta["settings"],
        receptive_fields={
            layer: ReceptiveField(h, w, clipped, tuple(stride), tuple(start))
            for layer, (h, w, clipped, stride, start) in meta["fields"].items()
        },
        correlation=_Squares(
            {
                s.name: (_array(stored, f"correlation_{i}", "i", (s.units * (s.units - 1) // 2,)), s.units)
                for i, s in enumerate(spans)
                if f"correlation_{i}" in stored
            }
        ),
    )


def _k(stored: ArrayFile) -> int:
    shape = stored.declared["top_image"].shape
    _demand(len(shape) == 2 and shape[1] >= 1, f"top_image of {shape}")
    return shape[1]


def _ranked(stored: ArrayFile, side: str, spans: Sequence[Span], k: int, images: int) -> Ranked:
    """The top or bottom images, checked: the images exist, and the places are on the layers' maps."""
    shape = (sum(span.units for span in spans), k)
    kinds = {"image": "i", "row": "i", "column": "i", "value": "f"}
    ranked = Ranked(*(_array(stored, f"{side}_{name}", kind, shape) for name, kind in kinds.items()))
    _demand(
        not ranked.image.size or -1 <= ranked.image.min() <= ranked.image.max() < images,
        f"{side}_image beyond the {images} images",
    )
    for name, sizes in (("row", [span.height for span in spans]), ("column", [span.width for span in spans])):
        most = np.repeat(np.array(sizes, np.int64), [span.units for span in spans])[:, None]
        places = getattr(ranked, name)
        _demand(bool(((places >= 0) & (places < most)).all()), f"{side}_{name} beyond the map")
    return ranked


def _sums(stored: ArrayFile, spans: Sequence[Span], index: Index) -> Sums:
    units = len(index.active)
    recent = stored.declared["recent"].shape
    _demand(len(recent) == 2 and recent[0] < CHUNK, f"recent of {recent}")
    return Sums(
        _array(stored, "total", "f", (2, units)),
        _array(stored, "squares", "f", (2, units)),
        {
            s.name: _array(stored, f"products_{i}", "f", (s.units, s.units))
            for i, s in enumerate(spans)
            if f"products_{i}" in stored
        },
        _array(stored, "means", "f", (2, units, index.k)),
        _array(stored, "recent", "f", (recent[0], units)),
    )


def _array(stored: ArrayFile, name: str, kinds: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read an array; ValueError if it is not of that kind and shape."""
    if name not in stored:
        raise ValueError(f"{name} is missing")
    declared = stored.declared[name]
    _demand(declared.dtype.kind in kinds, f"{name} of {declared.dtype}")
    _demand(declared.shape == shape, f"{name} of {declared.shape}, expected {shape}")
    return stored[name]


def _checked_meta(meta: object) -> Mapping[str, Any]:
    """The index's description, checked: all entries have the right type; ValueError if not."""
    if not isinstance(meta, dict):
        raise ValueError("wrong: meta")
    _demand(meta.get("version") == VERSION, f"version {shown(meta.get('version'))}, expected {VERSION}")
    for name, kind in _META.items():
        _demand(isinstance(meta.get(name), kind), name)
    _demand(all(map(_is_name, (meta["model"], meta["fingerprint"], meta["root"]))), "model, fingerprint or root")
    _demand(_whole(meta["count"], 0, _MOST), "count")
    _demand(bool(meta["spans"]) and all(_is_row(row, str, *[int] * 4) for row in meta["spans"]), "spans")
    start = 0
    for name, first, units, height, width in meta["spans"]:
        fits = first == start and all(_whole(side, 1, _SIDE) for side in (height, width)) and _whole(units, 1, _MOST)
        _demand(_is_name(name) and fits, f"the span of {shown(name)}")
        start += units
    _demand(len({row[0] for row in meta["spans"]}) == len(meta["spans"]), "spans of one name")
    _demand(all(_is_row(row, int, int) for row in meta["scanned"]), "scanned")
    _demand(all(i.isdecimal() and len(i) < 10 and isinstance(why, str) for i, why in meta["broken"].items()), "broken")
    _demand(all(map(_is_field, meta["fields"].values())), "fields")
    _check_settings(meta["settings"])
    return meta


_META = {
    "model": str,
    "fingerprint": str,
    "root": str,
    "scanned": list,
    "broken": dict,
    "count": int,
    "settings": dict,
    "spans": list,
    "fields": dict,
}
_SIDE = 32767  # rows and columns are int16
_MOST = 2**31 - 1  # images and units are int32


def _check_settings(settings: Mapping[str, Any]) -> None:
    _demand(all(_whole(settings.get(side), 1, _SIDE) for side in ("width", "height")), "the input's size")
    shown_bands = settings.get("shown", [0])
    _demand(
        isinstance(shown_bands, list)
        and 1 <= len(shown_bands) <= 3
        and all(_whole(band, 0, _SIDE) for band in shown_bands),
        "shown",
    )
    _demand("batch" not in settings or _whole(settings["batch"], 1, CHUNK), "batch")


def _is_field(row: object) -> bool:
    if not _is_row(row, int, int, bool, list, list):
        return False
    numbers = [*row[:2], *row[3], *row[4]]
    return (
        len(row[3]) == len(row[4]) == 2
        and all(type(n) in (int, float) and abs(n) <= _MOST for n in numbers)
        and min(row[:2]) >= 0
    )


def _is_row(row: object, *kinds: type) -> TypeGuard[list[Any]]:
    return (
        isinstance(row, list) and len(row) == len(kinds) and all(type(value) is kind for value, kind in zip(row, kinds))
    )


def _is_name(text: str) -> bool:
    return is_text(text, "surrogateescape")


def _whole(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"wrong: {what}")


def _meta(index: Index, path: Path) -> dict[str, Any]:
    return {
        "version": VERSION, "model": index.model, "fingerprint": index.fingerprint,
        "root": stored_root(index.root, path),
        "scanned": index.scanned, "broken": dict(index.broken), "count": index.count, "settings": dict(index.settings),
        "spans": [(s.name, s.start, s.units, s.height, s.width) for s in index.spans],
        "fields": {layer: list(asdict(field).values()) for layer, field in index.receptive_fields.items()},
    }  # fmt: skip


def stored_root(root: str, path: Path) -> str:
    """The name of the images' folder to store: relative to the index if both are in the program's folder."""
    home = paths.ROOT
    if Path(root).is_relative_to(home) and path.absolute().is_relative_to(home):
        return Path(os.path.relpath(root, path.absolute().parent)).as_posix()
    return root


def _text(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _string(array: np.ndarray) -> str:
    return array.tobytes().decode("utf-8", "surrogateescape")


def _triangle(matrix: np.ndarray) -> np.ndarray:
    """The part above the diagonal of a symmetric matrix, row by row."""
    return matrix[np.triu_indices(len(matrix), 1)]


class _Squares(Mapping[str, np.ndarray]):
    """{layer: correlation matrix}; a matrix is computed from its triangle each time it is read."""

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
