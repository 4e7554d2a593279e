"""`deepvis figure between-units`: images of mixtures of two units, from one to the other."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_synthesized_figure, count, load_network, recipe_of
from deepvis.core.errors import UserError


def add(figures: Commands) -> None:
    """Add the figure to the command line."""
    parser = figures.add_parser("between-units", help="images of mixtures of two units, from one to the other")
    parser.add_argument("--units", required=True, metavar="A+B", help="such as logits:1+logits:5")
    parser.add_argument("--images", type=count, default=6, help="how many (6)")
    add_synthesized_figure(parser, _draw)


def _draw(args: argparse.Namespace) -> None:
    import numpy as np

    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    recipe = recipe_of(args, "modern")
    network = load_network(args)
    from deepvis.core.layers import unit_id
    from deepvis.render.figures import labelled
    from deepvis.synthesis.two_units import between, parse_pairs

    pairs = parse_pairs(args.units, network.layers)
    if len(pairs) != 1 or pairs[0].sign != "+":
        raise UserError(f"--units {args.units!r}: expected one pair, such as logits:1+logits:5")
    made = between(network, pairs[0].first, pairs[0].second, recipe, args.images, args.seed)
    names = [unit_id(layer.name, unit) for layer, unit in (pairs[0].first, pairs[0].second)]
    titles = []
    for one, share in zip(made, np.linspace(0, 1, len(made))):
        shares = zip(names, (1 - share, share), one.values)
        titles.append("\n".join(f"{part:.0%}, value {value:.1f}: {name}" for name, part, value in shares))
        print(titles[-1].replace("\n", "; "))
    write(args.out, labelled([np.stack([one.image for one in made])], [titles]))
    print(f"saved {args.out}", flush=True)
