"""`deepvis figure two-units`: one unit together with several others (Nguyen et al. 2016, supplement, Figs S11, S12)."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_synthesized_figure, check_gamma, load_network, recipe_of
from deepvis.core import interrupt
from deepvis.core.errors import UserError


def add(figures: Commands) -> None:
    """Add the figure to the command line."""
    parser = figures.add_parser("two-units", help="images for one unit together with each of several others")
    parser.add_argument("--unit", required=True, help="layer:number or layer:class")
    parser.add_argument("--units", required=True, metavar="UNITS", help="the others, such as logits:470,logits:971")
    parser.add_argument("--gamma", type=float, default=0.5, help="how much neither may run ahead (0.5); 0: their sum")
    parser.add_argument("--mixed", action="store_true", help="class scores in one place too, not side by side")
    add_synthesized_figure(parser, _draw)


def _draw(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    check_gamma(args.gamma)
    recipe = recipe_of(args, "modern")
    network = load_network(args)
    from deepvis.core.layers import parse_unit, unit_id
    from deepvis.render.figures import labelled, wrapped
    from deepvis.synthesis.targets import parse_units
    from deepvis.synthesis.two_units import together

    index, unit = parse_unit(args.unit, network.layers)
    others = [(layer, one) for layer, units in parse_units(args.units, network.layers) for one in units]
    if (network.layers[index], unit) in others:
        raise UserError(f"--units {args.units!r}: has the unit of --unit, too; expected others, such as logits:470")
    with interrupt.raised():
        made = interrupt.until_stopped(
            together(network, (network.layers[index], unit), others, recipe, args.gamma, args.seed, args.mixed)
        )
        titles = [
            " + ".join(
                f"{layer.label(one) or unit_id(layer.name, one)} {value:.1f}"
                for (layer, one), value in zip(each.units, each.values)
            )
            for each in made
        ]
        write(args.out, labelled(*wrapped([each.image for each in made], titles, len(others)), least=220))
        print("\n".join(titles))
        print(f"saved {args.out}", flush=True)
