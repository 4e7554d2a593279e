"""`deepvis sweep`: what each regularizer does to a unit's image."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, add_picture, add_recipe, count, load_network, recipe_of
from deepvis.core import interrupt


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("sweep", help="draw each regularizer alone, from none to strong, for a unit")
    parser.add_argument("--unit", required=True, help="layer:number or layer:class")
    parser.add_argument("--columns", type=count, default=8, help="strengths of each regularizer, 2 to 64 (8)")
    add_picture(parser)
    parser.set_defaults(run=_sweep, preset_default="plain")
    add_recipe(parser)
    add_network(parser)


def _sweep(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    network = load_network(args)
    from deepvis.core.layers import parse_unit
    from deepvis.render.figures import labelled
    from deepvis.synthesis.sweep import sweep

    index, unit = parse_unit(args.unit, network.layers)
    with interrupt.raised():
        recipe = recipe_of(args, args.preset_default)
        rows, titles = sweep(network, network.layers[index], unit, recipe, args.columns, args.seed)
        write(args.out, labelled(rows, titles))
        print(f"saved {args.out}", flush=True)
