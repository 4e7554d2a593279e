"""`deepvis layers`: a network's layers as a table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_input, add_network, asked_network, consent_of, settings_of
from deepvis.core.errors import UserError, printable

if TYPE_CHECKING:
    from deepvis.networks.network import Network


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("layers", help="print a network's layers: kind, shape, receptive field, parameters")
    parser.add_argument("name", nargs="?", metavar="MODEL", help="as --model")
    parser.set_defaults(run=_layers)
    add_network(parser)
    add_input(parser)


def _layers(args: argparse.Namespace) -> None:
    args.model = args.name or args.model
    print(layers_table(asked_network(settings_of(args), consent_of(args))))


def layers_table(network: Network) -> str:
    """A table with a line for each layer: name, kind, shape, units, receptive field, parameters.

    Notes below it say which layers are left out and why.
    """
    from tqdm import tqdm

    rows = [("layer", "kind", "shape", "units", "receptive field", "parameters")]
    for layer in tqdm(
        network.layers, desc="receptive fields", unit="layer", leave=False, disable=None
    ):  # the progress bar is shown only in a terminal
        module = network.module.get_submodule(network.paths[layer.name])
        shape = f"{layer.height}×{layer.width}" if layer.is_map else "vector"
        try:
            field = network.receptive_field(layer.name).text
        except (RuntimeError, UserError) as error:  # no gradient passes through the layer, or its shape changes
            field = f"not measured ({str(error).splitlines()[0]})"
        parameters = sum(p.numel() for p in module.parameters())
        rows.append((layer.name, layer.kind, shape, f"{layer.units:,}", field, f"{parameters:,}"))
    return "\n".join(
        [
            _aligned([tuple(map(printable, row)) for row in rows]),
            *("\n" + printable(note) for note in (*network.left_out, *network.notes)),
        ]
    )


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {3, 5}  # numbers
    lines = [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
