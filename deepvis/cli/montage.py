"""`deepvis montage`: one picture of many stored images."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, add_picture, count, load_network, path_argument
from deepvis.core import paths
from deepvis.core.errors import UserError

LARGEST = 2048  # pixels


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "montage", help="one picture of a layer's stored images, or of several layers at true size"
    )
    parser.add_argument("--layer", default="", help="one layer: an image for each unit; several: some units of each")
    add_picture(parser)
    parser.add_argument(
        "--side",
        type=count,
        default=0,
        metavar="PIXELS",
        help=f"longer side of each image, up to {LARGEST} (as stored)",
    )
    parser.add_argument("--units", type=count, default=4, metavar="N", help="with several layers: units of each (4)")
    parser.add_argument(
        "--store",
        type=path_argument,
        help="folder of stored images (your own in precomputed/MODEL and the bundled ones)",
    )
    parser.set_defaults(run=_montage)
    add_network(parser)


def _montage(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    network = load_network(args)
    from deepvis.core.layers import find_layer, stands_for
    from deepvis.render.figures import montage, true_sizes
    from deepvis.store.own_images import OwnFirst, open_both
    from deepvis.store.unit_images import Store, open_store

    store: Store | OwnFirst
    if args.store:
        store = open_store(args.store, network.fingerprint)
    else:
        store = both = open_both(paths.precomputed(), network.name, network.fingerprint, network.paths)
        print(both.note, end="\n" if both.note else "")
    names = [name.strip() for name in args.layer.split(",") if name.strip()] or [layer.name for layer in network.layers]
    indices = [
        find_layer(stands_for(network.layers, find_layer(name, network.layers)), network.layers) for name in names
    ]
    layers = [network.layers[index] for index in dict.fromkeys(indices)]
    if args.side > LARGEST:
        raise UserError(f"--side {args.side}: expected at most {LARGEST} pixels for an image")
    if args.side and len(layers) > 1:
        raise UserError("--side is for one layer; several are drawn at their true sizes")
    picture = montage(store, layers[0], args.side) if len(layers) == 1 else true_sizes(store, layers, args.units)
    write(args.out, picture)
    print(f"saved {args.out}")
