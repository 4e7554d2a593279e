"""`deepvis scan` and `deepvis export`."""

from __future__ import annotations

import argparse

from deepvis.cli.options import add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.core.processes import share
from deepvis.scan.index import INDEX, index_folder, scan_folder
from deepvis.scan.index_file import load


def add(sub: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    scan = sub.add_parser("scan", help="find each unit's top images and statistics in a folder of images")
    scan.add_argument(
        "--images",
        type=path_argument,
        default=paths.PHOTOS,
        metavar="DIR",
        help="folder, list file (.txt) or tar archive (photos)",
    )
    scan.add_argument(
        "--layers", default="all", help="with commas; all (the network's listed ones); convolutions (every one)"
    )
    scan.add_argument("--top", type=count, default=9, help="places to keep for each unit (9)")
    scan.add_argument("--batch", default="auto", help="images at a time (auto)")
    scan.add_argument("--workers", type=int, help="threads that decode images (auto)")
    scan.add_argument("--every", type=float, default=60, metavar="SECONDS", help="between checkpoints (60)")
    scan.add_argument("--full-size", action="store_true", help="decode every pixel of large JPEGs: exact, but slower")
    scan.add_argument("--no-weakest", action="store_true", help="without the weakest places: faster")
    scan.add_argument("--no-correlation", action="store_true", help="without the correlation of units: faster")
    scan.add_argument("--out", type=path_argument, help="folder of the index (precomputed/MODEL/scan)")
    scan.set_defaults(run=_scan)

    export = sub.add_parser(
        "export", help="write the JPEG folders of the original toolbox: max_im, max_deconv, regularized_opt"
    )
    export.add_argument("--layers", default="all", help="with commas, or all")
    export.add_argument(
        "--side", type=count, default=0, metavar="PIXELS", help="side of each patch (as the receptive field)"
    )
    export.add_argument(
        "--images", type=path_argument, metavar="DIR", help="where the photos are now, if they have moved"
    )
    export.add_argument(
        "--index", type=path_argument, help="folder of the index (precomputed/MODEL/scan, or else bundled)"
    )
    export.add_argument("--out", type=path_argument, required=True, help="folder to write")
    export.set_defaults(run=_export)

    merge = sub.add_parser("merge", help="add moments kept in the window (v, enter) to a data set's top images")
    merge.add_argument(
        "live",
        nargs="*",
        type=path_argument,
        metavar="DIR",
        help="folders of kept moments (all in precomputed/MODEL/live)",
    )
    merge.add_argument(
        "--index", type=path_argument, help="folder of the data set's index (precomputed/MODEL/scan, or else bundled)"
    )
    merge.add_argument(
        "--out", type=path_argument, help="folder of the new index (precomputed/MODEL/scan, or that of --index)"
    )
    merge.set_defaults(run=_merge)

    for parser in (scan, export, merge):
        add_network(parser)


def _scan(args: argparse.Namespace) -> None:
    from deepvis.inputs.datasets import find_images

    rank, world = share()  # and the images, before the network is loaded
    images = find_images(args.images)
    if args.batch != "auto" and (not args.batch.isdecimal() or not 0 < int(args.batch) <= 512):
        raise UserError(f"--batch {args.batch!r}: expected a number from 1 to 512, or auto")
    network = load_network(args)
    if network.input.channels <= 3 and args.images.suffix.lower() != ".txt":
        images = images.without_arrays()
    from tqdm import tqdm

    from deepvis.scan.scan import Options, convolutions, layers_from, scan

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
            print(f"\nstopped; the same command goes on from here ({out})", flush=True)
            raise
    if index is None:
        return
    print(f"{out}: {len(index.top.value):,} units of {len(index.spans)} layers, {index.count:,} images")
    for number, why in list(index.broken.items())[:20]:
        print(f"  skipped {index.files[number]}: {why}")
    if len(index.broken) > 20:
        print(f"  and {len(index.broken) - 20} more")


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
            f"{len(missing)} of the index's photos are not in {args.images or index.root}: {', '.join(missing[:5])}"
            f"{' …' if len(missing) > 5 else ''}. Give the folder that they are in: --images DIR"
        )
    store = open_both(paths.precomputed(), network.name, network.fingerprint, network.paths)
    if store.note:
        print(store.note)
    with interrupt.raised():
        written = export(network, index, args.out, layers_from(network, args.layers), store, args.side, args.images)
    print(f"{args.out}: {written:,} files")


def _merge(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.scan.index_file import save
    from deepvis.scan.moments import live_folder, with_moments

    home = live_folder(paths.precomputed().own, network.name)
    folders = args.live or sorted(path.parent for path in home.glob(f"*/{INDEX}"))
    if not folders:
        raise UserError(f"{home}: no moments have been kept. In the window v collects them, and enter keeps them")
    folder = args.index or index_folder(paths.precomputed(), network.name)
    out = args.out or args.index or scan_folder(paths.precomputed().own, network.name)
    index = load(folder / INDEX).check(network.fingerprint, network.name)
    with interrupt.raised():
        index, added = with_moments(index, folders)
        save(index, out / INDEX)
    print(
        f"{out}: {added} of {len(folders)} collections added"
        + (", the others were there" if added < len(folders) else "")
    )
