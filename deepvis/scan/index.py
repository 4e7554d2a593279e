"""The index of a scan: each unit's top images, its weakest images, and statistics of its responses.

A unit's *response* to an image is its largest activation on its map (for a vector, its value). Mean, variance,
histogram and correlations are those of the responses to all images.

    index.npz   what the window reads: small, compressed, correlations rounded to 1/127
    state.npz   the same with exact sums, needed to resume a scan, to add images and to merge

Without torch, because the window reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import folder_name
from deepvis.core.layers import Layer
from deepvis.core.marks import same_network
from deepvis.core.paths import Places
from deepvis.core.receptive_field import ReceptiveField
from deepvis.inputs.bands import Reading

INDEX, STATE = "index.npz", "state.npz"
PROVISIONAL = "provisional"  # an entry of `Index.settings`
CHUNK = 512
"""Responses are summed over this many images at a time, counted from image 0. So shares that begin and end at
multiples of it give exactly the same sums as a single pass."""


def scan_folder(root: Path, model: str) -> Path:
    """The folder for the user's own scan with a model."""
    return root / folder_name(model) / "scan"


def index_folder(places: Places, model: str) -> Path:
    """The folder of a model's index: the user's own scan or, if there is none, the bundled one."""
    own, bundled = scan_folder(places.own, model), scan_folder(places.bundled, model).with_name("bundled")
    return bundled if (bundled / INDEX).is_file() and not (own / INDEX).is_file() else own


# ---- histogram ----------------------------------------------------------------------------------

OCTAVES = (-24, 16)
PER_OCTAVE = 4
_SIDE = (OCTAVES[1] - OCTAVES[0]) * PER_OCTAVE
BINS = 2 * _SIDE + 1


def bin_edges() -> np.ndarray:
    """The BINS + 1 edges of the histograms, the same for all units, so that histograms can be added.

    There is a bin for |x| < 2⁻²⁴, and four bins for each octave on both sides of it. (A bin is a float's exponent and
    two bits of its mantissa, so the range of the values need not be known.) The outer edges are infinite.
    """
    steps = np.arange(_SIDE)
    side = 2.0 ** (OCTAVES[0] + steps // PER_OCTAVE) * (1 + steps % PER_OCTAVE / PER_OCTAVE)
    return np.concatenate([[-np.inf], -side[:0:-1], [-side[0], side[0]], side[1:], [np.inf]])


def rebinned(counts: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit's histogram (BINS counts) in bins of equal width, from its first to its last filled bin, for display.

    Returns:
        Counts (float, `bins`) and edges (`bins` + 1). Values are taken as evenly spread within a bin.
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
    """Each unit's k best images, best first, with the place of the map where the unit is strongest.

    Among images with equal values (as for units that saturate) the one with the larger mean over the map comes first
    (for the weakest images, the smaller mean), then the earlier image.

    Attributes:
        image: int32 U×k, number of the image; -1 if there are fewer than k.
        row, column: int16 U×k, place on the layer's map; the first one in reading order among equals.
        value: float32 U×k, the unit's activation there.
    """

    image: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Ranked:
        return Ranked(self.image[rows], self.row[rows], self.column[rows], self.value[rows])


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums from which the statistics are computed.

    Attributes:
        total, squares: float64 2×U, sums of the responses and their squares: the rounded sum and its rounding error,
            so that the order of adding does not matter.
        products: {layer: float64 C×C}, sums of products of two units' responses; may be empty.
        means: float32 2×U×k, means over the maps of the top and of the bottom images.
        recent: float32 n×U, responses to the images of the unfinished chunk, which are not in the other sums.
    """

    total: np.ndarray
    squares: np.ndarray
    products: Mapping[str, np.ndarray]
    means: np.ndarray
    recent: np.ndarray


@dataclass(frozen=True, eq=False)
class Index:
    """The results of a scan.

    Attributes:
        model, fingerprint: name and fingerprint of the network.
        root: the folder that `files` are relative to.
        files: names of the images in order; "shard.tar!member" for images in an archive.
        scanned: ranges of the numbers of scanned images; ((0, 350),) if all 350 are scanned.
        broken: {image number: why it could not be read}.
        spans: the layers.
        top, bottom: the images with the largest and with the smallest activation of each unit.
        histogram: int64 U×BINS, histograms of the responses (see `bin_edges`).
        count: number of images in the statistics.
        active: int64 U, number of images with a response above 0.
        mean, variance: float64 U, mean and variance of the responses (variance: divided by `count`).
        correlation: {layer: float32 C×C}, correlation of the responses; 0 for a unit whose response never changes.
        receptive_fields: {layer: its receptive field}, for layers whose units are maps.
        sums: only in a state; None in an index.
        settings: how the scan was made: input size, batch …
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
    receptive_fields: Mapping[str, ReceptiveField] = field(default_factory=dict)
    sums: Sums | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def k(self) -> int:
        return int(self.top.image.shape[1])

    @property
    def is_complete(self) -> bool:
        return joined(self.scanned) == ((0, len(self.files)),)

    @property
    def is_provisional(self) -> bool:
        """Whether the window made it by itself, so that a scan that the user asks for may replace it."""
        return bool(self.settings.get(PROVISIONAL))

    @property
    def exact_sums(self) -> Sums:
        """The sums of a state. Raises UserError for an index, which has none."""
        if self.sums is None:
            raise UserError(f"an index without {STATE} cannot be extended or merged: it has only rounded statistics")
        return self.sums

    @property
    def shown_bands(self) -> tuple[int, ...]:
        """The bands to show as red, green and blue, for images with more than three."""
        return tuple(self.settings.get("shown", (0, 1, 2)))

    @property
    def reading(self) -> Reading:
        """How the images are read."""
        white, full = self.settings.get("white", (Reading.white, Reading.range))
        return Reading(self.settings.get("channels", Reading.channels), white, full)

    def span(self, layer: str) -> Span:
        """The layer's rows in the arrays. Raises UserError if the layer was not scanned."""
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
        """The file of an image; for an image in an archive, the archive."""
        return Path(root or self.root, self.files[image].partition("!")[0])

    def missing(self, root: Path | str | None = None, among: Sequence[int] | None = None) -> list[str]:
        """Names of the images whose files do not exist, among all images or those with the numbers `among`."""
        numbers = range(len(self.files)) if among is None else among
        paths = {str(self.path(i, root)): self.files[i] for i in numbers}
        return [name for path, name in paths.items() if not os.path.exists(path)]

    def shown_images(self) -> list[int]:
        """Numbers of the images that are a top or bottom image of some unit."""
        used = np.unique(np.concatenate([self.top.image.ravel(), self.bottom.image.ravel()]))
        return [int(i) for i in used if i >= 0]

    def moved(self, root: Path | str) -> Index:
        """The same index for images that have moved to another folder.

        Raises:
            UserError: some images are not there; the message says which.
        """
        missing = self.missing(root)
        if missing:
            raise UserError(
                f"{root}: {len(missing)} of the index's {len(self.files)} images are not there: "
                f"{', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}. Name the folder that they are in now."
            )
        return replace(self, root=str(root))

    def check(self, fingerprint: str, model: str = "", layers: Sequence[Layer] = ()) -> Index:
        """Check that the index belongs to this network, and return it with the network's fingerprint.

        Args:
            layers: the network's layers, whose sizes are compared with the index's.
        Raises:
            UserError: the index is of another network, or a layer has another size now.
        """
        if not same_network(self.fingerprint, fingerprint):
            raise UserError(
                f"the index is of another network or scaling of the input ({self.model}, fingerprint "
                f"{self.fingerprint}; {model or 'this one'} is "
                f"{fingerprint}). Scan again into another folder (--out), or remove the old index."
            )
        scanned = {span.name: span for span in self.spans}
        for layer in layers:
            span = scanned.get(layer.name)
            if span is not None and (span.units, span.height, span.width) != (layer.units, layer.height, layer.width):
                raise UserError(
                    f"the index's layer {layer.name} has {span.units} units of {span.width}×{span.height}, the "
                    f"network's now "
                    f"{layer.units} of {layer.width}×{layer.height}. Remove the index and scan again."
                )
        return replace(self, fingerprint=fingerprint)


def joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The ranges in order; ranges that touch or overlap are joined."""
    whole: list[tuple[int, int]] = []
    for first, last in sorted(r for r in ranges if r[0] < r[1]):
        if whole and first <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(last, whole[-1][1]))
        else:
            whole.append((first, last))
    return tuple(whole)
