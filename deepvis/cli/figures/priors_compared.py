"""`deepvis figure priors-compared`: one unit by every prior (Nguyen et al. 2016, "Multifaceted…", Fig. S3)."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, add_picture, add_seed, count, load_network
from deepvis.core import interrupt
from deepvis.synthesis.presets import PRESETS

SHOWN = ("plain", "yosinski-1", "yosinski-3", "yosinski-4", "tv", "tv-jitter", "blur-jitter", "center-biased", "maco",
         "modern-2025", "coarse-to-fine", "modern")  # fmt: skip


def add(figures: Commands) -> None:
    """Add the figure to the command line."""
    parser = figures.add_parser("priors-compared", help="one unit's image by every prior")
    parser.add_argument("--unit", required=True, help="layer:number or layer:class")
    parser.add_argument("--presets", default=",".join(SHOWN), help=f"with commas, of {', '.join(PRESETS)}")
    parser.add_argument("--columns", type=count, default=6, help="images in a row (6)")
    parser.add_argument("--images", type=count, default=1, help="images of each prior, from different seeds (1)")
    add_seed(parser)
    add_picture(parser)
    add_network(parser)
    parser.set_defaults(run=_draw)


def _draw(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    network = load_network(args)  # first: it finds the folder of saved recipes
    from deepvis.synthesis.presets import named

    recipes = {name: named(name) for name in args.presets.split(",")}
    from deepvis.core.layers import parse_unit
    from deepvis.render.figures import labelled, wrapped
    from deepvis.synthesis.compared import compared

    index, unit = parse_unit(args.unit, network.layers)
    with interrupt.raised():
        layer = network.layers[index]
        made = interrupt.until_stopped(compared(network, layer, unit, recipes, args.images, args.seed))
        images, titles = [image for _, image in made], [title for title, _ in made]
        write(args.out, labelled(*wrapped(images, titles, args.columns)))
        print(f"saved {args.out}", flush=True)
