"""`deepvis search`: recipes tried at random, judged by another network."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_network, add_recipe, count, load_network, path_argument, recipe_of
from deepvis.core import interrupt
from deepvis.core.errors import UserError
from deepvis.core.marks import same_network


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("search", help="search recipes at random, judged by another network")
    parser.add_argument("--judge", required=True, help="model that judges (as --model); must know the same classes")
    parser.add_argument("--layer", default="", help="the layer of class scores (the last one before the probabilities)")
    parser.add_argument("--trials", type=count, default=300, help="recipes to try (300, as in Yosinski et al. 2015)")
    parser.add_argument("--classes", type=count, default=4, help="classes that each recipe is tried on (4)")
    parser.add_argument("--out", type=path_argument, required=True, help="folder for the contact sheet and the recipes")
    parser.set_defaults(run=_search, preset_default="yosinski-3")
    add_recipe(parser)
    add_network(parser)


def _search(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.networks import loading, trust
    from deepvis.render.figures import labelled
    from deepvis.synthesis.search import search

    consent = trust.Consent(typed=True, trust=args.trust)
    trust.ask(args.judge, consent)
    judge = loading.load(args.judge, str(network.device), consent=consent)
    if same_network(judge.fingerprint, network.fingerprint):
        raise UserError(f"--judge {args.judge}: it is the network that makes the images; expected another one")
    with interrupt.raised():
        best = search(
            network,
            judge,
            recipe_of(args, args.preset_default),
            args.trials,
            args.classes,
            args.seed,
            args.out,
            labelled,
            args.layer,
        )
    for line in best:
        print(line)
    print(f"saved {args.out}/sheet.jpg and {args.out}/best-1.yaml …")
