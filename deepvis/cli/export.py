"""`deepvis export`: the JPEG folders of the original toolbox."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.scan.index import INDEX, index_folder
from deepvis.scan.index_file import load


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "export", help="write the JPEG folders of the original toolbox: max_im, max_deconv, regularized_opt"
    )
    parser.add_argument("--layers", default="all", help="with commas, or all")
    parser.add_argument(
        "--side", type=count, default=0, metavar="PIXELS", help="side of each patch (as the receptive field)"
    )
    parser.add_argument(
        "--images", type=path_argument, metavar="DIR", help="where the photos are now, if they have moved"
    )
    parser.add_argument(
        "--index", type=path_argument, help="folder of the index (precomputed/MODEL/scan, or else bundled)"
    )
    parser.add_argument("--out", type=path_argument, required=True, help="folder to write")
    parser.set_defaults(run=_export)
    add_network(parser)


def _export(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.scan.scan import layers_from
    from deepvis.store.export import export
    from deepvis.store.own_images import open_both

    index = load((args.index or index_folder(paths.precomputed(), network.name)) / INDEX)
    index.check(network.fingerprint, network.name)
    missing = index.missing(args.images, index.shown_images())
    if missing:
        raise UserError(
            f"{len(missing)} photos of the index are missing in {args.images or index.root}: {', '.join(missing[:5])}"
            f"{' …' if len(missing) > 5 else ''}. Name the folder that they are in now: --images DIR"
        )
    store = open_both(paths.precomputed(), network.name, network.fingerprint, network.paths)
    if store.note:
        print(store.note)
    with interrupt.raised():
        written = export(network, index, args.out, layers_from(network, args.layers), store, args.side, args.images)
    print(f"{args.out}: {written:,} files")
