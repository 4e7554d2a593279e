"""A unit's facet map: Algorithm 1 from the photos to the clusters and their mean images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.geometry import Box
from deepvis.core.layers import Layer, unit_id
from deepvis.core.receptive_field import ReceptiveField
from deepvis.facets.clustering import LEAST, clustered, embedded, nearest, silhouettes
from deepvis.facets.codes import Seen, code_layer, in_batches, look
from deepvis.facets.excited import MOVED, NotThere
from deepvis.facets.facet_map import Facet, FacetMap, Member, suggested
from deepvis.facets.photos import read_patches
from deepvis.inputs.bands import as_colours
from deepvis.inputs.datasets import Photos
from deepvis.networks.network import Network
from deepvis.scan.index import Index
from deepvis.scan.patches import cut_out, field_box
from deepvis.scan.patches import places as places_of
from deepvis.synthesis.targets import SynthesisCanvas, canvas

Place = tuple[int, int, int, float]  # photo, row, column, value


@dataclass(frozen=True, eq=False)
class Ground:
    """Where a layer's units see, and where their images are made.

    Attributes:
        layer: the layer.
        field: its receptive field; None if its units are taken to see all of the input, as those of a vector do.
        place: the canvas of its units' images. Its `field` is None if they see all of it.
    """

    layer: Layer
    field: ReceptiveField | None
    place: SynthesisCanvas


def ground_of(network: Network, layer: Layer) -> Ground:
    """Measure the receptive field of a layer; not while another thread runs a network on a GPU."""
    field = network.receptive_field(layer.name)
    place = canvas(network, layer, field)
    if not layer.is_map or place.field is not None:
        return Ground(layer, field if layer.is_map else None, place)
    height, width = place.size
    for at in _from_the_middle(layer):
        box = left, top, across, down = field_box(field, *at, (width, height))
        if left >= 0 and top >= 0 and left + across <= width and top + down <= height:
            return Ground(
                layer, field, place if box == (0, 0, width, height) else replace(place, position=at, field=box)
            )
    return Ground(layer, None, place)


def _from_the_middle(layer: Layer) -> list[tuple[int, int]]:
    """The (row, column) of all places of the layer's map, those in the middle first."""
    row, column = layer.height // 2, layer.width // 2
    places = [(r, c) for r in range(layer.height) for c in range(layer.width)]
    return sorted(places, key=lambda at: max(abs(at[0] - row), abs(at[1] - column)))


@dataclass(frozen=True, eq=False)
class Points:
    """The photos that excite a unit, as points of a map: what is the same for any number of clusters.

    Attributes:
        layer, unit: the unit.
        code: the layer whose features are compared.
        members: the photos, best first; without clusters.
        patches: what the unit sees of each, uint8 H×W×3 RGB of the receptive field's size in the network's input.
        covers: the part of each patch that lies in the photo.
        at: float64 N×2, the places on the map.
        silhouettes: as in `FacetMap`.
    """

    layer: Layer
    unit: int
    code: str
    root: str
    members: tuple[Member, ...]
    patches: tuple[np.ndarray, ...]
    covers: tuple[Box, ...]
    at: np.ndarray
    silhouettes: tuple[tuple[int, float], ...]


def top_of(network: Network, index: Index, layer: str, unit: int, count: int) -> list[Place]:
    """The photos of the network's index that excite a unit most, best first.

    Raises:
        UserError: there are too few of them, or the layer was not scanned.
    """
    found = places_of(index, layer, unit)[:count]
    if found and found[0][3] == 0:
        raise UserError(f"no photo excites it: the unit is dead, or needs others: {_others(network, layer, unit)}")
    if len(found) < LEAST:
        raise UserError(
            f"{len(found)} photos; facets need {LEAST} or more. Take others, or more of them (--top): "
            f"{_others(network, layer, unit)}"
        )
    return found


def _others(network: Network, layer: str, unit: int) -> str:
    """The command that makes a unit's facets of other photos."""
    return network.command(f"facets --units {unit_id(layer, unit)} --images DIR")


def points(
    network: Network,
    ground: Ground,
    photos: Photos,
    unit: int,
    found: Sequence[Place] | None,
    code: Layer | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Points:
    """Lay out the photos that excite a unit. Photos that cannot be read are left out.

    Args:
        found: the photos; None for all of them, and the place of each where the unit is strongest.
        code: the layer whose features are compared; None for the usual one.
        progress: called with (photos seen, all photos); it may raise to give up.
    Raises:
        UserError: there are too few photos.
        NotThere: too few can be read.
    """
    layer, names = ground.layer, photos.images.names
    code = code or code_layer(network, layer)
    todo = [(i, None) for i in range(len(names))] if found is None else [(i, (r, c)) for i, r, c, _ in found]
    members, patches, codes, read, why = [], [], [], 0, ""
    for part in in_batches(network, todo):
        pictures, places = [], []
        for number, place in part:
            progress(read, len(todo))
            read += 1
            try:
                pictures.append(photos.read(number))
            except UserError as error:
                why = f"{error}. "
                continue
            places.append((number, place))
        if not pictures:
            continue
        for picture, (number, _), seen in zip(
            pictures, places, look(network, pictures, layer, unit, code, [place for _, place in places])
        ):
            patches.append(patch_of(network, ground, picture, seen.row, seen.column))
            members.append(_member(names[number], seen))
            codes.append(seen.code)
    if len(members) < LEAST:
        if len(members) == len(todo):
            others = _others(network, layer.name, unit)
            raise UserError(f"{len(todo)} photos; facets need {LEAST} or more. Take others, or more of them: {others}")
        raise NotThere(
            f"{len(members)} of {len(todo)} photos can be read; facets need {LEAST} or more. {why}{MOVED}: "
            f"{network.command('scan --images DIR')}"
        )
    if found is None:  # best first, as in an index
        order = sorted(range(len(members)), key=lambda i: -members[i].value)
        members, patches, codes = [members[i] for i in order], [patches[i] for i in order], [codes[i] for i in order]
    at, root = np.round(embedded(np.stack(codes), seed), 3), str(photos.images.root)  # as they are stored
    covers = tuple(cover_of(network, ground, member) for member in members)
    return Points(layer, unit, code.name, root, tuple(members), tuple(patches), covers, at, silhouettes(at, seed))


def stored_points(network: Network, ground: Ground, found: FacetMap) -> Points | None:
    """The points of a stored map, so that they can be clustered anew; None if one of its photos cannot be read."""
    spec, layer = network.input, ground.layer
    patches = tuple(
        patch
        for patch in read_patches(found, ground.field, (spec.width, spec.height), spec.reading, spec.places)
        if patch is not None
    )
    if len(patches) < len(found.members):
        return None
    at = np.array([(member.x, member.y) for member in found.members])
    covers = tuple(cover_of(network, ground, member) for member in found.members)
    return Points(layer, found.unit, found.code, found.root, found.members, patches, covers, at, found.silhouettes)


def patch_of(network: Network, ground: Ground, photo: np.ndarray, row: int, column: int) -> np.ndarray:
    """What a unit sees of a photo at a place of its map, uint8 RGB of its receptive field's size."""
    whole = (network.input.width, network.input.height)
    box = field_box(ground.field, row, column, whole)
    patch = cut_out(as_colours(photo, network.input.places), box, whole)
    return cv2.resize(patch, box[2:], interpolation=_shrinking(patch, box))


def cover_of(network: Network, ground: Ground, member: Member) -> Box:
    """The part of a member's patch that lies in the photo: left, top, width, height in the patch."""
    whole = (network.input.width, network.input.height)
    left, top, width, height = field_box(ground.field, member.row, member.column, whole)
    first, above = max(0, -left), max(0, -top)
    return first, above, min(width, whole[0] - left) - first, min(height, whole[1] - top) - above


def _shrinking(patch: np.ndarray, box: tuple[int, int, int, int]) -> int:
    return cv2.INTER_AREA if patch.shape[1] >= box[2] and patch.shape[0] >= box[3] else cv2.INTER_LINEAR


def _member(name: str, seen: Seen) -> Member:
    return Member(name, seen.row, seen.column, float(f"{seen.value:.5g}"), seen.called)


def facet_map(made: Points, k: int = 0, seed: int = 0) -> FacetMap:
    """The points in k clusters (0: as many as the silhouette suggests), without images of the facets.

    Raises:
        UserError: there are fewer points than clusters.
    """
    labels, centres = clustered(made.at, k or suggested(made.silhouettes), seed)
    members = tuple(
        replace(member, x=float(x), y=float(y), cluster=int(label))
        for member, (x, y), label in zip(made.members, made.at, labels)
    )
    facets = []
    for cluster, near in enumerate(nearest(made.at, labels, centres)):
        own = [member for member in members if member.cluster == cluster]
        names = Counter(member.called for member in own if member.called).most_common(3)
        called = tuple((name, round(count / len(own), 4)) for name, count in names)
        facets.append(Facet(len(own), near, _mean_of(made, near), called))
    return FacetMap(
        made.layer.name, made.unit, made.root, made.code, members, tuple(facets), made.silhouettes
    )  # fmt: skip


def _mean_of(made: Points, members: Sequence[int]) -> np.ndarray:
    return mean_image([made.patches[i] for i in members], [made.covers[i] for i in members])


def mean_image(patches: Sequence[np.ndarray], covers: Sequence[Box]) -> np.ndarray:
    """The mean of patches of one size, uint8, at each pixel over those whose photo reaches there.

    Where none does, as for units that are strongest in a corner, it has the mean colour of the rest.
    """
    total, counts = np.zeros(patches[0].shape), np.zeros(patches[0].shape[:2])
    for patch, (left, top, width, height) in zip(patches, covers):
        part = np.s_[top : top + height, left : left + width]
        total[part] += patch[part]
        counts[part] += 1
    mean = total / np.maximum(counts, 1)[..., None]
    if counts.any():
        mean[counts == 0] = mean[counts > 0].mean(0)
    return np.asarray(np.round(mean), np.uint8)
