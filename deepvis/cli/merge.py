"""`deepvis merge`: kept moments among a data set's top images."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.scan.index import INDEX, index_folder, scan_folder
from deepvis.scan.index_file import load


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("merge", help="add moments kept in the window (v, enter) to a data set's top images")
    parser.add_argument(
        "live",
        nargs="*",
        type=path_argument,
        metavar="DIR",
        help="folders of kept moments (all in precomputed/MODEL/live)",
    )
    parser.add_argument(
        "--index", type=path_argument, help="folder of the data set's index (precomputed/MODEL/scan, or else bundled)"
    )
    parser.add_argument(
        "--out", type=path_argument, help="folder of the new index (precomputed/MODEL/scan, or that of --index)"
    )
    parser.set_defaults(run=_merge)
    add_network(parser)


def _merge(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.scan.index_file import save
    from deepvis.scan.moments import live_folder, with_moments

    home = live_folder(paths.precomputed().own, network.name)
    folders = args.live or sorted(path.parent for path in home.glob(f"*/{INDEX}"))
    if not folders:
        raise UserError(f"{home}: no moments have been kept. In the window key v collects them and enter keeps them")
    folder = args.index or index_folder(paths.precomputed(), network.name)
    out = args.out or args.index or scan_folder(paths.precomputed().own, network.name)
    index = load(folder / INDEX).check(network.fingerprint, network.name)
    with interrupt.raised():
        index, added = with_moments(index, folders)
        save(index, out / INDEX)
    print(
        f"{out}: {added} of {len(folders)} collections added"
        + (", the others are already in the index" if added < len(folders) else "")
    )
