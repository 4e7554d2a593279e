"""`deepvis facets`: the different things that a unit responds to."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, NoReturn

from deepvis.cli.options import Commands, add_network, add_recipe, count, load_network, path_argument, recipe_of
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.core.processes import share

if TYPE_CHECKING:
    from deepvis.facets.excited import Candidates, Top
    from deepvis.networks.network import Network


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("facets", help="make an image of each of the different things that units respond to")
    parser.add_argument("--units", required=True, help="such as logits:945,5c:14 (a layer alone: all its units)")
    parser.add_argument(
        "--images", type=path_argument, metavar="DIR", help="folder of photos (those of the network's index)"
    )
    parser.add_argument(
        "--class-folder", type=path_argument, metavar="DIR", help="folder of a class's own photos: all of them count"
    )
    parser.add_argument(
        "--top", default="60", metavar="N|N%", help="photos that excite a unit most: a number, or a share of all (60)"
    )
    parser.add_argument("-k", type=count, default=0, metavar="K", help="facets (as many as the silhouette suggests)")
    parser.add_argument("--code", default="", metavar="LAYER", help="layer whose features are compared")
    parser.add_argument("--quality", type=count, default=80, help="of the stored WebP, 1 to 100 (80)")
    parser.add_argument("--out", type=path_argument, help="folder of the store (precomputed/MODEL/facets-own)")
    parser.set_defaults(run=_facets)
    add_recipe(parser)
    add_network(parser)


def _facets(args: argparse.Namespace) -> None:
    from deepvis.facets.excited import Top

    if args.images and args.class_folder:
        raise UserError("--images and --class-folder: give one of them")
    if args.quality > 100:
        raise UserError(f"--quality {args.quality}: expected 1 to 100")
    top, recipe = Top(args.top), recipe_of(args, "facet")
    top.of(1)
    network = load_network(args)
    from deepvis.core.layers import find_layer
    from deepvis.facets.facet_store import own_facets
    from deepvis.facets.jobs import FacetPlan, make_facets
    from deepvis.store.unit_images import open_store
    from deepvis.synthesis.targets import parse_units

    if args.code:
        find_layer(args.code, network.layers)
    chosen = parse_units(args.units, network.layers)
    folder = args.out or own_facets(paths.precomputed(), network.name)
    store = open_store(folder, network.fingerprint, network.name)
    plan = FacetPlan(recipe, args.preset or "facet", args.k, top, args.code, args.seed, args.quality)
    with interrupt.raised():
        try:
            counts = make_facets(network, chosen, plan, _candidates(args, network, top), store)
        except KeyboardInterrupt:
            store.finish()
            print(f"stopped. {folder} holds what is done; run the same command again to resume", flush=True)
            raise
    if counts.failed and not (counts.made or counts.found):
        raise UserError(f"no facets were made{counts.failures}")
    print(f"{folder}: facets of {counts.made} units made, {counts.found} already there{counts.failures}")


def _candidates(args: argparse.Namespace, network: Network, top: Top) -> Candidates:
    """The photos among which are those that excite the units. Raises UserError."""
    from tqdm import tqdm

    from deepvis.facets.excited import Candidates, candidates, index_for
    from deepvis.inputs.datasets import find_images
    from deepvis.scan.options import Options

    if args.class_folder:
        return Candidates(find_images(args.class_folder))
    rank, world = share()
    images = find_images(args.images) if args.images else None
    if images is not None and network.input.channels <= 3 and args.images.suffix.lower() != ".txt":
        images = images.without_arrays()
    with contextlib.ExitStack() as shown:
        bars: list[tqdm[NoReturn]] = []  # none if there is nothing to scan

        def progress(done: int, total: int, broken: int) -> None:
            if total and not bars:
                bars.append(shown.enter_context(tqdm(total=total, unit="image", desc="scan", disable=rank > 0)))
            if bars:
                bars[0].update(done - bars[0].n)

        options = Options(rank=rank, world=world)
        return candidates(index_for(network, paths.precomputed(), images, top, options, progress))
