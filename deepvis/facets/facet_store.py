"""Stored facets: the user's own, and the bundled ones.

    precomputed/<model>/facets-own/   in the user's folder; written by `deepvis facets`
                        facets/       in the bundled folder

Each is a store of images (`deepvis.store.unit_images`): a unit's file has its facets side by side and then their mean
images, its record says how they were made and what the facets are, and a file beside it lists the photos:

    <layer>/<unit>.webp, <layer>/<unit>.json

Without torch, because the window reads it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.files import folder_name, write_whole, writing
from deepvis.core.layers import unit_id
from deepvis.core.paths import Places
from deepvis.core.reading import JSON_BYTES, parse_json, read_bytes
from deepvis.facets.facet_map import Facet, FacetMap, Member, Names
from deepvis.scan.index_file import stored_root
from deepvis.store.unit_images import Store, open_store

if TYPE_CHECKING:
    from deepvis.networks.network import Network

_QUALITY = 80


def own_facets(places: Places, model: str) -> Path:
    """The folder for the user's own facets of a model."""
    return places.own / folder_name(model) / "facets-own"


def bundled_facets(places: Places, model: str) -> Path:
    """The folder of a model's bundled facets."""
    return places.bundled / folder_name(model) / "facets"


def keep(store: Store, found: FacetMap, how: Mapping[str, Any], part: str, quality: int = _QUALITY) -> None:
    """Store a unit's facets, all of which must have their images.

    Args:
        how: says how they were made.
        part: as in `Store.add`.
    Raises:
        UserError: the files cannot be written, or there are too many facets for one file.
    """
    pictures = [facet.image for facet in found.facets if facet.image is not None]
    means = [facet.mean for facet in found.facets]
    if len(pictures) != len(means) or {image.shape for image in pictures} != {means[0].shape}:
        raise ValueError("every facet needs an image of its mean image's size")
    file = _members_file(store, found.layer, found.unit)
    with writing(store.folder):
        root = stored_root(found.root, file)
        rows = [list(asdict(member).values()) for member in found.members]
        head = json.dumps({"root": root, "fields": list(asdict(found.members[0]))})
        lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
        write_whole(file, f'{head[:-1]}, "members": [\n{lines}\n]}}\n'.encode())
    record = {
        **how,
        "code": found.code,
        "silhouettes": found.silhouettes,
        "scores": [facet.score for facet in found.facets] + [facet.mean_score for facet in found.facets],
        "facets": [
            {"size": f.size, "nearest": f.nearest, "photos_called": f.photos_called, "called": f.called,
             "photos": [found.members[i].name for i in f.nearest]}
            for f in found.facets
        ],
    }  # fmt: skip
    store.add(found.layer, found.unit, np.stack([*pictures, *means]), record, part, quality)


def read(
    store: Store, layer: str, unit: int, command: Callable[[str], str] = lambda words: f"deepvis {words}"
) -> FacetMap | None:
    """A unit's stored facets; None if there are none.

    Args:
        command: as `Network.command`, for the remedy.
    Raises:
        UserError: they are damaged.
    """
    record = store.records.get((layer, unit))
    if record is None or "failed" in record or not store.has(layer, unit):
        return None
    file = _members_file(store, layer, unit)
    try:
        text = read_bytes(file, JSON_BYTES, "a list of photos").decode("utf-8", "replace")
        return _map_of(
            layer, unit, file, parse_json(text, lambda line: f"line {line}"), record, store.read(layer, unit)
        )
    except (UserError, TypeError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"{file}: the facets of {unit_id(layer, unit)} cannot be read: {error}. Make them again: "
            + command(f"facets --units {unit_id(layer, unit)}")
        ) from error


def _map_of(
    layer: str, unit: int, file: Path, list_: Any, record: Mapping[str, Any], images: Sequence[np.ndarray]
) -> FacetMap:
    members = tuple(_member(row) for row in list_["members"])
    rows, scores = record["facets"], [float(score) for score in record["scores"]]
    count = len(rows)
    if len(images) != 2 * count or not members:
        raise ValueError(f"{len(images)} images, expected {2 * count}")
    facets = []
    for i, row in enumerate(rows):
        near = tuple(int(number) for number in row["nearest"])
        if not all(0 <= number < len(members) for number in near):
            raise ValueError(f"nearest photos {near}")
        facets.append(
            Facet(int(row["size"]), near, images[count + i], _names(row["photos_called"]), images[i], scores[i],
                  scores[count + i], _names(row["called"]))
        )  # fmt: skip
    if not all(0 <= member.cluster < count for member in members):
        raise ValueError("a photo of a cluster that does not exist")
    root = str((file.absolute().parent / list_["root"]).resolve())
    found = tuple((int(k), float(value)) for k, value in record["silhouettes"])
    return FacetMap(layer, unit, root, str(record["code"]), members, tuple(facets), found)


def _member(row: Sequence[Any]) -> Member:
    name, at_row, column, value, called, x, y, cluster = row
    return Member(str(name), int(at_row), int(column), float(value), str(called), float(x), float(y), int(cluster))


def _names(rows: Any) -> Names:
    return tuple((str(name), float(share)) for name, share in rows)


def _members_file(store: Store, layer: str, unit: int) -> Path:
    return store.path(layer, unit).with_suffix(".json")


@dataclass(frozen=True)
class StoredFacets:
    """The two stores of a network's facets: for each unit the user's own facets, else the bundled ones.

    Attributes:
        own, bundled: the stores; empty if they do not exist, or are of another network.
        command: as `Network.command`, for remedies.
        note: why the user's own facets cannot be shown; else empty.
    """

    own: Store
    bundled: Store
    command: Callable[[str], str]
    note: str = ""

    def read(self, layer: str, unit: int) -> FacetMap | None:
        """A unit's facets, None if there are none. Raises UserError if they are damaged."""
        return read(self.own, layer, unit, self.command) or read(self.bundled, layer, unit, self.command)

    def record(self, layer: str, unit: int) -> Mapping[str, Any]:
        """How the unit's facets were made; empty if there is no record."""
        return self.own.records.get((layer, unit)) or self.bundled.records.get((layer, unit)) or {}

    def why_failed(self, layer: str, unit: int) -> str:
        """Why the unit has no facets, if they were asked for and could not be made; else empty."""
        return str(self.record(layer, unit).get("failed", ""))


def open_facets(network: Network, places: Places | None = None) -> StoredFacets:
    """Open both stores of a network's facets."""
    places = places or paths.precomputed()
    own, note = _opened(own_facets(places, network.name), network.fingerprint)
    bundled, _ = _opened(bundled_facets(places, network.name), network.fingerprint)
    return StoredFacets(own, bundled, network.command, note)


def _opened(folder: Path, fingerprint: str) -> tuple[Store, str]:
    try:
        return open_store(folder, fingerprint), ""
    except UserError as error:
        return Store(folder, fingerprint), str(error)
