"""Who excites a unit: the photos at the top of an index, or all photos of a folder."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.core.paths import Places
from deepvis.core.receptive_field import ReceptiveField
from deepvis.facets.facet_map import FacetMap
from deepvis.inputs.datasets import Images
from deepvis.networks.network import Network
from deepvis.scan.index import INDEX, Index, index_folder, scan_folder
from deepvis.scan.index_file import load
from deepvis.scan.options import ALONE, Companion, Options
from deepvis.scan.options import USUAL as USUAL_SCAN
from deepvis.scan.scan import scan

USUAL = "60"
MOVED = "If they have moved, name the folder that they are in now"
_WAIT = 0.5  # seconds between two looks for the index that another process writes

Progress = Callable[[int, int, int], None]


class NotThere(UserError):
    """Photos are not where they were, or cannot be read now: another time it may be otherwise."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The photos among which are those that excite a unit.

    Attributes:
        images: the photos.
        index: says which of them excite each unit; None: all of them count, as for a class's own photos.
    """

    images: Images
    index: Index | None = None


@dataclass(frozen=True)
class Top:
    """How many of the photos count: a number of them, or a share.

    Attributes:
        text: "60", or "2%".
    """

    text: str = USUAL

    def of(self, photos: int) -> int:
        """The number of photos. Raises UserError if the text says no such number."""
        number = self.text.removesuffix("%")
        try:
            value = float(number) if number != self.text else int(number)
        except ValueError:
            value = 0
        if not 0 < value <= (100 if number != self.text else 100_000):
            raise UserError(
                f"--top {self.text!r}: expected a number of photos such as 60, or a share of them such as 2%"
            )
        return min(photos, int(value) if number == self.text else max(1, round(photos * value / 100)))


def found_index(places: Places, network: Network) -> Index | None:
    """The network's index, the user's own or the bundled one; None if there is none.

    Raises:
        UserError: it cannot be read, or is of another network.
    """
    path = index_folder(places, network.name) / INDEX
    return load(path).check(network.fingerprint, network.name, network.layers) if path.is_file() else None


def field_of(network: Network, layer: Layer, places: Places) -> ReceptiveField | None:
    """A layer's receptive field, from the network's index if that knows it; None for a vector, which sees all."""
    if not layer.is_map:
        return None
    try:
        index = found_index(places, network)
    except UserError:
        index = None
    known = index.receptive_fields.get(layer.name) if index is not None else None
    return known or network.receptive_field(layer.name)


def index_for(
    network: Network,
    places: Places,
    images: Images | None,
    top: Top,
    options: Options = USUAL_SCAN,
    progress: Progress = lambda done, total, broken: None,
    companion: Companion = ALONE,
) -> Index:
    """An index that keeps enough photos of each unit.

    It is the network's index if that keeps as many, and of these images. Else the images are scanned once, and the
    result is kept beside the network's index, for all units.

    Args:
        images: None for those of the network's index.
        options: of which rank and world are used.
    Raises:
        UserError: there are no images, they have moved, or the index is of another network.
    """
    try:
        have = found_index(places, network)
    except UserError:
        if images is None:
            raise
        have = None  # of no use for these photos anyway
    if images is None:
        if have is None:
            raise UserError(
                f"{network.name} has no index, so it is not known what excites its units. Name photos: --images DIR"
            )
        images = Images(Path(have.root), tuple(have.files))
        demand_there(network, have)
    count = top.of(len(images.names))
    if have is not None and have.k >= count and _are_same(have, images):
        return have
    mark = zlib.crc32(f"{network.fingerprint} {images.root}".encode("utf-8", "surrogateescape"))
    out = scan_folder(places.own, network.name).with_name(f"scan-facets-{mark:08x}-{count}")
    options = replace(options, k=count, weakest=False, correlation=False)
    if have is not None:
        known = {**have.receptive_fields, **companion.fields()}
        companion = replace(companion, fields=lambda: known)
    made = scan(network, images, out, None, options, progress, companion)
    return made or _awaited(out / INDEX, images)


def with_photos(network: Network, places: Places, found: FacetMap) -> FacetMap:
    """A stored map with the folder that its photos are in now: that of the network's index, if they have moved."""
    if (Path(found.root) / found.members[0].name.partition("!")[0]).exists():
        return found
    try:
        index = found_index(places, network)
    except UserError:
        return found
    if index is None or not {member.name for member in found.members} <= set(index.files):
        return found
    return replace(found, root=str(index.root))


def candidates(index: Index) -> Candidates:
    """The photos of an index."""
    return Candidates(Images(Path(index.root), tuple(index.files), reading=index.reading), index)


def _awaited(path: Path, images: Images) -> Index:
    """The index that the first process writes when all have scanned their share."""
    while True:
        index = load(path) if path.is_file() else None
        if index is not None and index.is_complete and set(index.files) == set(images.names):
            return index
        time.sleep(_WAIT)


def _are_same(index: Index, images: Images) -> bool:
    return Path(index.root).resolve() == images.root.resolve() and set(index.files) == set(images.names)


def demand_there(network: Network, index: Index, among: Sequence[int] | None = None) -> None:
    """Raise NotThere if photos of the network's index, all or those with these numbers, have moved."""
    missing = index.missing(among=among)
    if missing:
        total = len(index.files) if among is None else len(among)
        raise NotThere(
            f"{len(missing)} of {total} photos are not in {index.root}: {', '.join(missing[:3])}"
            f"{' …' if len(missing) > 3 else ''}. {MOVED}: {network.command('scan --images DIR')}"
        )
