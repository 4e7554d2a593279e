"""`deepvis figure priors`: units through the learned priors of several layers (Nguyen et al. 2016, supplement, S13)."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_synthesized_figure, load_network, recipe_of
from deepvis.core import interrupt, paths


def add(figures: Commands) -> None:
    """Add the figure to the command line."""
    parser = figures.add_parser("priors", help="units through the learned priors of several layers, a row each")
    parser.add_argument("--units", required=True, metavar="UNITS", help="such as logits:130,logits:980")
    parser.add_argument("--priors", default="", help="layers, or MODEL/LAYER, with commas (all of this network)")
    add_synthesized_figure(parser, _draw)


def _draw(args: argparse.Namespace) -> None:
    from dataclasses import replace

    import numpy as np

    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    recipe = recipe_of(args, "generator-modern")
    network = load_network(args)
    from deepvis.core.layers import unit_id
    from deepvis.render.figures import labelled
    from deepvis.store.priors import prior_files
    from deepvis.synthesis.compared import several
    from deepvis.synthesis.generator import load_about, prior_for
    from deepvis.synthesis.targets import parse_units

    units = [(layer, one) for layer, chosen in parse_units(args.units, network.layers) for one in chosen]
    there = [str(load_about(file)["layer"]) for file in prior_files(paths.precomputed(), network.name)]
    order = [layer.name for layer in network.layers if layer.name in there]
    names = [name.strip() for name in args.priors.split(",") if name.strip()] or order or [""]
    for name in names:
        prior_for(network, name)  # says at once what is missing
    with interrupt.raised():
        made = (np.stack(several(network, units, replace(recipe, prior=name), args.seed)) for name in names)
        rows = interrupt.until_stopped(made, "priors, which are drawn")
        titles = [
            [f"{name}   {layer.label(one) or unit_id(layer.name, one)}" for layer, one in units] for name in names
        ]
        write(args.out, labelled(rows, titles[: len(rows)]))
        print(f"saved {args.out}", flush=True)
