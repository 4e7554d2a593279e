"""`deepvis export`: the JPEG folders of the original toolbox, or the activations of a folder of images."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.scan.index import INDEX, index_folder
from deepvis.scan.index_file import load

if TYPE_CHECKING:
    from deepvis.store.export import BackwardImages

REDUCTIONS = ("max", "mean")  # those of `deepvis.store.activations`, which imports torch


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "export",
        help="write the JPEG folders of the original toolbox (max_im, max_deconv, regularized_opt); with --activations "
        "the activations of a folder of images",
    )
    parser.add_argument("--layers", default="all", help="with commas, or all")
    parser.add_argument(
        "--side", type=count, default=0, metavar="PIXELS", help="side of each patch (as the receptive field)"
    )
    parser.add_argument(
        "--images",
        type=path_argument,
        metavar="DIR",
        help="where the photos are now, if they have moved"
        "; with --activations: folder, list file (.txt) or tar archive (photos)",
    )
    parser.add_argument(
        "--index", type=path_argument, help="folder of the index (precomputed/MODEL/scan, or else bundled)"
    )
    parser.add_argument(
        "--activations", metavar="LAYERS", help="write the activations of these layers (with commas, or all) to --out"
    )
    parser.add_argument(
        "--back", metavar="METHOD", default="deconv", help="backward images of the top images, in max_METHOD (deconv)"
    )
    parser.add_argument("--reduce", choices=REDUCTIONS, help="with --activations: a number for each unit, not its map")
    parser.add_argument("--batch", type=count, default=8, help="with --activations: images at a time (8)")
    parser.add_argument(
        "--out", type=path_argument, required=True, help="folder to write; with --activations: FILE.npz or FILE.parquet"
    )
    parser.set_defaults(run=_export)
    add_network(parser)


def _export(args: argparse.Namespace) -> None:
    if args.activations:
        _export_activations(args)
    elif args.reduce:
        raise UserError("--reduce: expected --activations LAYERS beside it, whose maps it reduces")
    else:
        _export_folders(args)


def _export_activations(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from deepvis.inputs.datasets import find_images

    images = find_images(args.images or paths.PHOTOS)  # checked before the network is loaded, which takes long
    network = load_network(args)
    from deepvis.scan.scan import Once, layers_from
    from deepvis.store.activations import ActivationsExport, export_activations, writer_for

    writer_for(args.out)
    if network.input.channels <= 3:
        images = images.without_arrays(lambda text: print(f"note: {text}", file=sys.stderr))
    images = replace(images, reading=network.input.reading, note=Once())
    layers = tuple(layers_from(network, args.activations))
    wanted = ActivationsExport(network, images, layers, args.reduce or "", args.batch)
    with interrupt.raised(), tqdm(unit="image") as bar:

        def progress(done: int, total: int, broken: int) -> None:
            bar.total = total
            bar.set_postfix(broken=broken, refresh=False)
            bar.update(done - bar.n)

        try:
            written, broken = export_activations(wanted, args.out, progress)
        except KeyboardInterrupt:
            print(f"\nstopped; run the same command again to resume ({args.out}.part)", flush=True)
            raise
    print(f"{args.out}: {written:,} images, {len(layers)} layers")
    for name, why in list(broken.items())[:20]:
        print(f"  skipped {name}: {why}")
    if len(broken) > 20:
        print(f"  and {len(broken) - 20} more")


def _backward_images(method: str) -> BackwardImages:
    """How the images of a method are written: relevance in its colours, a map as heat over the photo."""
    from deepvis.attribution.methods import check_known, shows_of
    from deepvis.render.figures import explained
    from deepvis.store.export import BackwardImages

    shows = shows_of(check_known(method))
    if shows == "colors":  # as in the original toolbox
        return BackwardImages(method)
    return BackwardImages(method, lambda values, patch: explained(values, patch, shows)[..., ::-1])


def _export_folders(args: argparse.Namespace) -> None:
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
        layers, images = layers_from(network, args.layers), _backward_images(args.back)
        written = export(network, index, args.out, layers, store, args.side, args.images, images)
    print(f"{args.out}: {written:,} files")
