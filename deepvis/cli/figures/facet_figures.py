"""`deepvis figure facets` and its relatives: figures of stored facets (Nguyen et al. 2016, "Multifaceted…").

They draw what `deepvis facets` has stored, in the user's own store or in the bundled one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_network, add_picture, count, load_network
from deepvis.core import paths
from deepvis.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from deepvis.facets.facet_map import FacetMap
    from deepvis.networks.network import Network


def add(figures: Commands) -> None:
    """Add the figures to the command line."""
    one = figures.add_parser("facet-map", help="a unit's photos on their map, and its facets around it (Fig. 2, S5)")
    one.add_argument("--unit", required=True, help="layer:number or layer:class")
    one.add_argument("--side", type=count, default=1000, help="of the map, in pixels (1000)")
    one.set_defaults(run=_draw_map)
    pairs = figures.add_parser("facets", help="each facet below the photo that is nearest to it (Fig. 4)")
    pairs.add_argument("--units", required=True, help="such as logits:945,5c:14")
    pairs.add_argument("--facets", type=count, default=4, help="of each unit (4)")
    pairs.set_defaults(run=_draw_pairs)
    sizes = figures.add_parser("facet-sizes", help="facets of units of several layers at their true sizes (Fig. 6)")
    sizes.add_argument("--units", required=True, help="such as 3b:3,4c:7,logits:945")
    sizes.add_argument("--facets", type=count, default=4, help="of each unit (4)")
    sizes.set_defaults(run=_draw_sizes)
    photos = figures.add_parser("facet-photos", help="all photos of a unit, cluster by cluster (Fig. S9)")
    photos.add_argument("--unit", required=True, help="layer:number or layer:class")
    photos.add_argument("--columns", type=count, default=15, help="photos in a row (15)")
    photos.add_argument("--back", default="", metavar="METHOD", help="below each photo its backward image by this")
    photos.set_defaults(run=_draw_photos)
    for parser in (one, pairs, sizes, photos):
        add_picture(parser)
        add_network(parser)


def _stored(network: Network, unit: str) -> FacetMap:
    """A unit's stored facets. Raises UserError if there are none."""
    from deepvis.core.layers import parse_unit, stands_for, unit_id
    from deepvis.facets.excited import with_photos
    from deepvis.facets.facet_store import open_facets

    index, number = parse_unit(unit, network.layers)
    name, stored = stands_for(network.layers, index), open_facets(network)
    found = stored.read(name, number)
    if found is None:
        why = stored.why_failed(name, number) or stored.note or "none are stored"
        remedy = network.command(f"facets --units {unit_id(name, number)}")
        raise UserError(f"{unit_id(name, number)} has no facets: {why}. Make them: {remedy}")
    return with_photos(network, paths.precomputed(), found)


def _all(args: argparse.Namespace, network: Network) -> list[FacetMap]:
    from deepvis.core.layers import unit_id
    from deepvis.synthesis.targets import parse_units

    chosen = parse_units(args.units, network.layers)
    return [_stored(network, unit_id(layer.name, unit)) for layer, units in chosen for unit in units]


def _draw_map(args: argparse.Namespace) -> None:
    with _drawing(args) as (network, save):
        found = _stored(network, args.unit)
        from deepvis.render.facet_figures import map_with_facets

        save(map_with_facets(found, _patches(network, found), args.side))


def _draw_pairs(args: argparse.Namespace) -> None:
    with _drawing(args) as (network, save):
        maps = _all(args, network)
        from deepvis.render.facet_figures import below_their_photos

        names = [_name(network, found) for found in maps]
        save(below_their_photos(maps, [_patches(network, found) for found in maps], names, args.facets))


def _draw_sizes(args: argparse.Namespace) -> None:
    with _drawing(args) as (network, save):
        maps = _all(args, network)
        from deepvis.render.facet_figures import at_true_sizes

        save(at_true_sizes(maps, args.facets))


def _draw_photos(args: argparse.Namespace) -> None:
    with _drawing(args) as (network, save):
        from deepvis.attribution.methods import check_known

        method = check_known(args.back) if args.back else ""
        found = _stored(network, args.unit)
        from deepvis.render.facet_figures import by_cluster

        patches = _patches(network, found)
        below = _backward(network, found, method) if method else []
        save(by_cluster(found, patches, below, args.columns))


@contextmanager
def _drawing(args: argparse.Namespace) -> Iterator[tuple[Network, Callable[[np.ndarray], None]]]:
    """The network, and a function that saves the picture."""
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)

    def save(picture: np.ndarray) -> None:
        write(args.out, picture)
        print(f"saved {args.out}", flush=True)

    yield load_network(args), save


def _name(network: Network, found: FacetMap) -> str:
    from deepvis.core.layers import find_layer, unit_id

    label = network.layers[find_layer(found.layer, network.layers)].label(found.unit)
    return " ".join(filter(None, (unit_id(found.layer, found.unit), label)))


def _patches(network: Network, found: FacetMap) -> list[np.ndarray | None]:
    """What the unit sees of the map's photos. Raises UserError if none of them can be read."""
    from deepvis.core.layers import find_layer
    from deepvis.facets.excited import MOVED, field_of
    from deepvis.facets.photos import read_patches

    spec = network.input
    field = field_of(network, network.layers[find_layer(found.layer, network.layers)], paths.precomputed())
    patches = list(read_patches(found, field, (spec.width, spec.height), spec.reading, spec.places))
    if all(patch is None for patch in patches):
        raise UserError(
            f"none of the {len(patches)} photos is in {found.root}. {MOVED}: {network.command('scan --images DIR')}"
        )
    return patches


def _backward(network: Network, found: FacetMap, method: str) -> list[np.ndarray | None]:
    """The backward image of each photo, cut to what the unit sees of it, as a picture."""
    from pathlib import Path

    from tqdm import tqdm

    from deepvis.core.layers import find_layer
    from deepvis.facets.excited import field_of
    from deepvis.inputs.datasets import Images, Photos
    from deepvis.render.colors import backward_image
    from deepvis.render.palettes import USUAL
    from deepvis.scan.patch_backward import patch_backward
    from deepvis.scan.patches import field_box

    whole = (network.input.width, network.input.height)
    field = field_of(network, network.layers[find_layer(found.layer, network.layers)], paths.precomputed())
    images = Images(Path(found.root), tuple(member.name for member in found.members), reading=network.input.reading)
    photos = Photos(images, least=whole)
    pictures: list[np.ndarray | None] = []
    for number, member in enumerate(tqdm(found.members, unit="photo", desc=method)):
        try:
            photo = photos.read(number)
        except UserError:
            pictures.append(None)
            continue
        box = field_box(field, member.row, member.column, whole)
        places = [(member.row, member.column)]
        pixels = patch_backward(network, [photo], found.layer, found.unit, method, [box], places)[0]
        pictures.append(backward_image(pixels, "raw", USUAL)[..., ::-1])
    return pictures
