"""`deepvis figure lrp`: a unit's top images, deconv and relevance (Nguyen et al. 2016, "Multifaceted…", Fig. S10)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_network, add_picture, load_network, path_argument
from deepvis.core import paths
from deepvis.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def add(figures: Commands) -> None:
    """Add the figure to the command line."""
    parser = figures.add_parser("lrp", help="a unit's top images, their deconv and their relevance side by side")
    parser.add_argument("--unit", required=True, help="layer:number or layer:class (4c:79, probs:zebra)")
    parser.add_argument(
        "--back", metavar="METHOD", nargs="+", default=["deconv", "lrp"], help="the methods (deconv lrp)"
    )
    parser.add_argument("--images", type=path_argument, metavar="DIR", help="where the photos are now, if they moved")
    parser.add_argument("--index", type=path_argument, help="folder of the index (precomputed/MODEL/scan, or bundled)")
    add_picture(parser)
    add_network(parser)
    parser.set_defaults(run=_draw)


def _draw(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    write(args.out, _picture(args))
    print(f"saved {args.out}")


def _picture(args: argparse.Namespace) -> np.ndarray:
    """Figure S10 of Nguyen et al. 2016: a unit's top images, and side by side with them what methods show in them."""
    network = load_network(args)
    from deepvis.attribution.methods import METHODS, check_known, shows_of
    from deepvis.core.layers import find_layer, parse_unit, stands_for, unit_id
    from deepvis.inputs.datasets import Images, Photos
    from deepvis.render.figures import blocks, explained
    from deepvis.scan.index import INDEX, index_folder
    from deepvis.scan.index_file import load
    from deepvis.scan.patch_backward import patch_backward
    from deepvis.scan.patches import patches

    number, unit = parse_unit(args.unit, network.layers)
    layer = network.layers[find_layer(stands_for(network.layers, number), network.layers)].name
    index = load((args.index or index_folder(paths.precomputed(), network.name)) / INDEX)
    index.check(network.fingerprint, network.name)
    root = args.images or index.root
    photos = Photos(Images(Path(root), tuple(index.files), reading=index.reading))
    pairs = [(patch, patch.pixels) for patch in patches(index, layer, unit, photos)[:9]]
    found, tiles = [one for one, tile in pairs if tile is not None], [tile for _, tile in pairs if tile is not None]
    if not found:
        raise UserError(
            f"{unit_id(layer, unit)}: no top image can be read from {root}. Name their folder: --images DIR"
        )
    seen, boxes = [photos.read(patch.image) for patch in found], [patch.box for patch in found]
    whole = (0, 0, network.input.width, network.input.height)
    places = None if all(box == whole for box in boxes) else [(patch.row, patch.column) for patch in found]
    columns = [(f"{unit_id(layer, unit)}   top images", [tile[..., ::-1] for tile in tiles])]
    for name in map(check_known, args.back):
        values = patch_backward(network, seen, layer, unit, name, boxes, places, passes=10**6)
        if not any(one.any() for one in values):
            print(f"note: {METHODS[name].label}: nothing comes back to the pixels; its images are black")
        columns.append(
            (METHODS[name].label, [explained(one, tile, shows_of(name)) for one, tile in zip(values, tiles)])
        )
    return blocks(columns)
