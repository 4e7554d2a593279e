"""The index of a scan: for every unit, where it answered most and least, and how its answers spread.

A unit's *response* to an image is its largest value over its map (a vector's entry: its value). The
statistics, the histogram and the correlations are of the responses over all images.

    index.npz   what is read and shown: small, compressed, correlations in steps of 1/127
    state.npz   the same with the exact sums, by which a scan resumes, grows and merges

Without torch: the window reads it.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepvis.errors import UserError
from deepvis.layers import Layer
from deepvis.messages import ReceptiveField
from deepvis.playlist import natural_key
from deepvis.store import PRECOMPUTED, beside, folder_name

VERSION = 1
INDEX, STATE = "index.npz", "state.npz"
CHUNK = 512
"""Responses are summed over this many images at a time, counted from image 0: shares that begin and
end at multiples of it add up to the very sums of one pass."""

def scan_folder(root: Path, model: str) -> Path:
    """Where the user's own scans for a model go."""
    return root / folder_name(model) / "scan"


def index_folder(root: Path, model: str) -> Path:
    """Where a model's index is: of the user's own scan, or else the one that comes with the program."""
    own = scan_folder(root, model)
    bundled = own.with_name("bundled")
    return bundled if (bundled / INDEX).is_file() and not (own / INDEX).is_file() else own


# ---- histogram ----------------------------------------------------------------------------------

OCTAVES = (-24, 16)
PER_OCTAVE = 4
_SIDE = (OCTAVES[1] - OCTAVES[0]) * PER_OCTAVE
BINS = 2 * _SIDE + 1


def bin_edges() -> np.ndarray:
    """The BINS + 1 edges of the histograms, the same for all units, so that histograms simply add.

    Four bins to the octave on either side of a middle one for |x| < 2⁻²⁴ (a float's exponent and two
    bits of its mantissa: nothing need be known in advance). The outer edges are infinite.
    """
    steps = np.arange(_SIDE)
    side = 2.0 ** (OCTAVES[0] + steps // PER_OCTAVE) * (1 + steps % PER_OCTAVE / PER_OCTAVE)
    return np.concatenate([[-np.inf], -side[:0:-1], [-side[0], side[0]], side[1:], [np.inf]])


def rebinned(counts: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit's histogram (BINS counts) in even bins from its least to its greatest filled bin, for display.

    Returns: counts (float, `bins`) and edges (`bins` + 1). Within a bin, values are taken as evenly spread.
    """
    edges = bin_edges()
    edges[0], edges[-1] = -(2.0 ** OCTAVES[1]), 2.0 ** OCTAVES[1]
    filled = np.flatnonzero(counts)
    if not len(filled):
        return np.zeros(bins), np.linspace(0, 1, bins + 1)
    below = np.concatenate([[0], np.cumsum(counts)])
    even = np.linspace(edges[filled[0]], edges[filled[-1] + 1], bins + 1)
    return np.diff(np.interp(even, edges, below)), even


# ---- what is kept -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A layer's rows in the index's arrays, and the size of its maps (1×1 for a vector)."""

    name: str
    start: int
    units: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.units)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Each unit's k best places, best first; at most one in an image. Among equals, as of units that saturate,
    the image with the larger mean over the map comes first (of the weakest: the smaller), then the earlier one.

    Attributes:
        image: int32 U×k, number of the image, -1 where there are fewer than k.
        row, column: int16 U×k, on the layer's map; the first in reading order among equals.
        value: float32 U×k.
    """

    image: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Ranked:
        return Ranked(self.image[rows], self.row[rows], self.column[rows], self.value[rows])


@dataclass(frozen=True, eq=False)
class Sums:
    """What statistics are made of.

    Attributes:
        total, squares: float64 2×U, of the responses: the rounded sum, and what rounding left over,
            so that the order of adding plays no part.
        products: {layer: float64 C×C}, sums of products of two units' responses; may be empty.
        means: float32 2×U×k, means over the maps at the top and at the bottom places.
        recent: float32 n×U, responses to the images of an unfinished chunk: in none of the above.
    """

    total: np.ndarray
    squares: np.ndarray
    products: Mapping[str, np.ndarray]
    means: np.ndarray
    recent: np.ndarray


@dataclass(frozen=True, eq=False)
class Index:
    """Everything that a scan found out.

    Attributes:
        model, fingerprint: of the network.
        root: the folder that `files` are relative to.
        files: names of the images in their order; "shard.tar!member" for those in an archive.
        scanned: ranges of image numbers that have been looked at: ((0, 350),) when all are.
        broken: {image number: why it could not be read}.
        spans: the layers.
        top, bottom: the strongest and the weakest places (least value over the map).
        histogram: int64 U×BINS, of the responses (`bin_edges`).
        count: images that the statistics are of.
        active: int64 U, in how many images the response is above 0.
        mean, variance: float64 U, of the responses (variance: divided by `count`).
        correlation: {layer: float32 C×C}; 0 with a unit whose response never changes.
        fields: {layer: its receptive field}, of layers whose units are maps.
        sums: present in a state only.
        settings: how it was made: input size, batch …
    """

    model: str
    fingerprint: str
    root: str
    files: Sequence[str]
    scanned: tuple[tuple[int, int], ...]
    broken: Mapping[int, str]
    spans: tuple[Span, ...]
    top: Ranked
    bottom: Ranked
    histogram: np.ndarray
    count: int
    active: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    correlation: Mapping[str, np.ndarray] = field(default_factory=dict)
    fields: Mapping[str, ReceptiveField] = field(default_factory=dict)
    sums: Sums | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def k(self) -> int:
        return self.top.image.shape[1]

    @property
    def is_complete(self) -> bool:
        return joined(self.scanned) == ((0, len(self.files)),)

    @property
    def shown_bands(self) -> tuple[int, ...]:
        """Which bands are shown as red, green and blue of images that have more."""
        return tuple(self.settings.get("shown", (0, 1, 2)))

    def span(self, layer: str) -> Span:
        """Where the layer's units are. Raises UserError for a layer that was not scanned."""
        for span in self.spans:
            if span.name == layer:
                return span
        raise UserError(
            f"layer {layer} was not scanned, only {', '.join(s.name for s in self.spans)}. "
            "Remove the index and scan all layers: deepvis scan --images DIR"
        )

    def row(self, layer: str, unit: int) -> int:
        """The unit's row in the arrays."""
        return self.span(layer).start + unit

    def path(self, image: int, root: Path | str | None = None) -> Path:
        """The file of an image (of an archive's member: the archive)."""
        return Path(root or self.root, self.files[image].partition("!")[0])

    def missing(self, root: Path | str | None = None, among: Sequence[int] | None = None) -> list[str]:
        """Names of files (all, or those of some images) that are not there (any more)."""
        numbers = range(len(self.files)) if among is None else among
        paths = {str(self.path(i, root)): self.files[i] for i in numbers}
        return [name for path, name in paths.items() if not os.path.exists(path)]

    def shown_images(self) -> list[int]:
        """The images that some unit's best or worst places are in."""
        used = np.unique(np.concatenate([self.top.image.ravel(), self.bottom.image.ravel()]))
        return [int(i) for i in used if i >= 0]

    def moved(self, root: Path | str) -> Index:
        """The same index for images that are in another folder now.

        Raises:
            UserError: some are not there either; it says which.
        """
        missing = self.missing(root)
        if missing:
            raise UserError(
                f"{root}: {len(missing)} of the index's {len(self.files)} images are not there: "
                f"{', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}. Give the folder that they are in."
            )
        return replace(self, root=str(root))

    def check(self, fingerprint: str, model: str = "", layers: Sequence[Layer] = ()) -> None:
        """Raises UserError if the index is of another network, or of one of these layers when it was another one."""
        if self.fingerprint != fingerprint:
            raise UserError(
                f"the index is of another network or scaling of the input ({self.model}, fingerprint {self.fingerprint}; {model or 'this one'} is "
                f"{fingerprint}). Scan again into another folder (--out), or remove the old index."
            )
        scanned = {span.name: span for span in self.spans}
        for layer in layers:
            span = scanned.get(layer.name)
            if span is not None and (span.units, span.height, span.width) != (layer.units, layer.height, layer.width):
                raise UserError(
                    f"the index's layer {layer.name} has {span.units} units of {span.width}×{span.height}, the network's now "
                    f"{layer.units} of {layer.width}×{layer.height}. Remove the index and scan again."
                )


# ---- statistics ---------------------------------------------------------------------------------


def add_exactly(sums: np.ndarray, more: np.ndarray) -> np.ndarray:
    """2×U sum with what rounding left over, plus U or 2×U: Knuth's TwoSum, TAOCP vol. 2, 4.2.2."""
    for term in more if more.ndim == 2 else (more,):
        high = sums[0] + term
        kept = high - sums[0]
        low = sums[1] + ((sums[0] - (high - kept)) + (term - kept))
        sums = np.stack([high + low, low - ((high + low) - high)])
    return sums


def with_statistics(index: Index) -> Index:
    """The index with mean, variance and correlation worked out from its sums."""
    sums = _folded(index.sums, index.spans)
    n = max(1, index.count)
    mean = sums.total.sum(0) / n
    variance = np.maximum(sums.squares.sum(0) / n - mean**2, 0)
    correlation = {}
    for span in index.spans:
        if span.name in sums.products:
            mu = mean[span.rows]
            covariance = sums.products[span.name] / n - np.outer(mu, mu)
            spread = np.sqrt(np.maximum(np.diag(covariance), 0))
            spread[spread <= 1e-6 * np.abs(mu)] = np.inf  # below the rounding of float32: it never changes
            covariance /= np.maximum(spread, 1e-300)[:, None]
            covariance /= np.maximum(spread, 1e-300)[None]
            correlation[span.name] = np.clip(covariance, -1, 1).astype(np.float32)
    return replace(index, mean=mean, variance=variance, correlation=correlation)


def _folded(sums: Sums, spans: Sequence[Span]) -> Sums:
    """The sums with the unfinished chunk in them."""
    recent = sums.recent
    if not len(recent):
        return sums
    exact = recent.astype(np.float64)
    products = {
        span.name: sums.products[span.name] + exact[:, span.rows].T @ exact[:, span.rows]
        for span in spans
        if span.name in sums.products
    }
    return replace(
        sums, total=add_exactly(sums.total, exact.sum(0)), squares=add_exactly(sums.squares, (exact**2).sum(0)),
        products=products, recent=recent[:0],
    )  # fmt: skip


# ---- merging ------------------------------------------------------------------------------------


def merge(indices: Sequence[Index]) -> Index:
    """One index of what several have seen, in whatever order these are given.

    Either all are shares of one list of files, each having scanned ranges of its own, or each has
    scanned all of a list of its own: then the files are put in natural order. Top and bottom places,
    histograms and counts are bit for bit those of one pass, and so are mean and variance for shares
    that `deepvis scan` makes; otherwise these, and the correlations, agree to rounding (1e-12).

    Raises:
        UserError: the indices are of different networks, layers, roots, or an image is in two of them.
    """
    indices = sorted(indices, key=lambda index: (index.scanned, list(index.files[:1])))
    first = indices[0]
    for other in indices[1:]:
        if other.fingerprint != first.fingerprint or other.spans != first.spans or other.k != first.k:
            raise UserError(f"indices of {first.model} and {other.model} do not merge: other weights, layers or --top")
        if other.sums is None or first.sums is None:
            raise UserError(f"without {STATE} an index does not merge: it holds rounded statistics only")
        if other.root != first.root:
            raise UserError(f"indices of images in {first.root} and in {other.root} do not merge: give them one --images folder")
    if any(tuple(other.files) != tuple(first.files) for other in indices):
        indices = _on_one_list(indices)
        first = indices[0]
    means = [index.sums.means for index in indices]
    (top, high), (bottom, low) = (
        best_of([getattr(index, side) for index in indices], [m[i] for m in means], first.k, least=i == 1)
        for i, side in enumerate(("top", "bottom"))
    )
    ranges = [r for index in indices for r in index.scanned]
    if sum(b - a for a, b in ranges) != sum(b - a for a, b in joined(ranges)) and not _interleaved(indices):
        raise UserError("indices that share images do not merge: these would count twice")
    return with_statistics(
        replace(
            first,
            scanned=joined(ranges),
            broken=dict(sorted(item for index in indices for item in index.broken.items())),
            top=top,
            bottom=bottom,
            histogram=sum(index.histogram for index in indices),
            count=sum(index.count for index in indices),
            active=sum(index.active for index in indices),
            sums=replace(_added([index.sums for index in indices], first.spans), means=np.stack([high, low])),
        )
    )


def best(parts: Sequence[Ranked], k: int) -> Ranked:
    """The k best of several rankings of the same units; the earlier image first among equals."""
    return best_of(parts, [np.zeros_like(part.value) for part in parts], k)[0]


def best_of(parts: Sequence[Ranked], means: Sequence[np.ndarray], k: int, least: bool = False) -> tuple[Ranked, np.ndarray]:
    """The k best of several rankings of the same units (`least`: of the weakest), and their means (U×k each)."""
    image, row, column, value = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("image", "row", "column", "value")
    )
    late = np.where(image < 0, np.iinfo(np.int32).max, image)
    mean = np.concatenate(means, axis=1)
    sign = 1 if least else -1
    order = np.lexsort((late, sign * mean, sign * value), axis=1)[:, :k]
    image, row, column, value, mean = (np.take_along_axis(a, order, axis=1) for a in (image, row, column, value, mean))
    return Ranked(image, row, column, value), mean


def _added(parts: Sequence[Sums], spans: Sequence[Span]) -> Sums:
    """The unfinished chunk of the last part stays one."""
    whole = [*(_folded(part, spans) for part in parts[:-1]), parts[-1]]
    total, squares = whole[0].total, whole[0].squares
    for part in whole[1:]:
        total, squares = add_exactly(total, part.total), add_exactly(squares, part.squares)
    products = {name: sum(part.products[name] for part in whole) for name in whole[0].products}
    return replace(whole[-1], total=total, squares=squares, products=products)


def _on_one_list(indices: Sequence[Index]) -> list[Index]:
    names = [name for index in indices for name in index.files]
    if len(set(names)) != len(names):
        raise UserError("indices that share images do not merge: these would count twice")
    if not all(index.is_complete for index in indices):
        raise UserError("an unfinished scan does not merge with one of other images: finish it first")
    files = tuple(sorted(names, key=natural_key))
    place = {name: number for number, name in enumerate(files)}
    moved = []
    for index in indices:
        numbers = np.array([place[name] for name in index.files] + [-1], np.int32)  # the last one for "none"
        moved.append(
            replace(
                index,
                files=files,
                scanned=((0, len(files)),),
                broken={int(numbers[i]): why for i, why in index.broken.items()},
                top=replace(index.top, image=numbers[index.top.image]),
                bottom=replace(index.bottom, image=numbers[index.bottom.image]),
            )
        )
    return moved


def _interleaved(indices: Sequence[Index]) -> bool:
    """After `_on_one_list` every part claims the whole of the list, of which it scanned some."""
    seen = sum(index.count + len(index.broken) for index in indices)
    return all(index.is_complete for index in indices) and seen == len(indices[0].files)


def joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges in order, those that touch made one."""
    whole: list[tuple[int, int]] = []
    for first, last in sorted(r for r in ranges if r[0] < r[1]):
        if whole and first <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(last, whole[-1][1]))
        else:
            whole.append((first, last))
    return tuple(whole)


# ---- files --------------------------------------------------------------------------------------


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path) as file:
            (np.savez if state else np.savez_compressed)(file, **arrays)
            file.flush()
            os.fsync(file.fileno())  # a state stands for hours of work
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}. What was there before is kept; "
            "make room or give another folder with --out, and run the same command again to go on."
        ) from error


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
