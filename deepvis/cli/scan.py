"""`deepvis scan`: each unit's top images and statistics in a data set."""

from __future__ import annotations

import argparse
import sys

from deepvis.cli.options import Commands, add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.core.processes import share
from deepvis.scan.index import scan_folder


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("scan", help="find each unit's top images and statistics in a folder of images")
    parser.add_argument(
        "--images",
        type=path_argument,
        default=paths.PHOTOS,
        metavar="DIR",
        help="folder, list file (.txt) or tar archive (photos)",
    )
    parser.add_argument(
        "--layers", default="all", help="names with commas; all: the network's layers; convolutions: every convolution"
    )
    parser.add_argument("--top", type=count, default=9, help="places to keep for each unit (9)")
    parser.add_argument("--batch", default="auto", help="images at a time (auto)")
    parser.add_argument("--workers", type=int, help="threads that decode images (auto)")
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="between checkpoints (60)")
    parser.add_argument("--full-size", action="store_true", help="decode every pixel of large JPEGs: exact, but slower")
    parser.add_argument("--no-weakest", action="store_true", help="without the weakest places: faster")
    parser.add_argument("--no-correlation", action="store_true", help="without the correlation of units: faster")
    parser.add_argument("--out", type=path_argument, help="folder of the index (precomputed/MODEL/scan)")
    parser.set_defaults(run=_scan)
    add_network(parser)


def _scan(args: argparse.Namespace) -> None:
    from deepvis.inputs.datasets import find_images

    rank, world = share()  # checked like the images before the network is loaded, which takes long
    images = find_images(args.images)
    if args.batch != "auto" and (not args.batch.isdecimal() or not 0 < int(args.batch) <= 512):
        raise UserError(f"--batch {args.batch!r}: expected a whole number from 1 to 512, or auto")
    network = load_network(args)
    if network.input.channels <= 3 and args.images.suffix.lower() != ".txt":
        images = images.without_arrays(lambda text: print(f"note: {text}", file=sys.stderr))
    from tqdm import tqdm

    from deepvis.scan.options import Options
    from deepvis.scan.scan import convolutions, layers_from, scan

    name = "scan"
    if args.layers == "convolutions":
        network, args.layers, name = convolutions(network), "all", "scan-convolutions"
    out = args.out or scan_folder(paths.precomputed().own, network.name).with_name(name)
    options = Options(
        k=args.top, batch=0 if args.batch == "auto" else int(args.batch), workers=args.workers, every=args.every,
        rank=rank, world=world, reduce=not args.full_size,
        weakest=not args.no_weakest, correlation=not args.no_correlation,
    )  # fmt: skip
    with interrupt.raised(), tqdm(unit="image", disable=options.rank > 0) as bar:

        def progress(done: int, total: int, broken: int) -> None:
            bar.total = total
            bar.set_postfix(broken=broken, refresh=False)
            bar.update(done - bar.n)

        try:
            index = scan(network, images, out, layers_from(network, args.layers), options, progress)
        except KeyboardInterrupt:
            print(f"\nstopped; run the same command again to resume ({out})", flush=True)
            raise
    if index is None:
        return
    print(f"{out}: {len(index.top.value):,} units of {len(index.spans)} layers, {index.count:,} images")
    for number, why in list(index.broken.items())[:20]:
        print(f"  skipped {index.files[number]}: {why}")
    if len(index.broken) > 20:
        print(f"  and {len(index.broken) - 20} more")
