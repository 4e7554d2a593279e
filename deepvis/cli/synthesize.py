"""`deepvis synthesize`: the images that units prefer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepvis.cli.options import (
    Commands,
    add_network,
    add_recipe,
    check_gamma,
    count,
    load_network,
    path_argument,
    recipe_of,
)
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError

if TYPE_CHECKING:
    from deepvis.core.layers import Layer
    from deepvis.networks.network import Network
    from deepvis.synthesis.recipe import Recipe
    from deepvis.synthesis.two_units import Pair


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("synthesize", help="make the images that units prefer")
    parser.add_argument(
        "--units",
        default="",
        help="such as head:0-99,probs:zebra,stem (a layer alone: all its units); or pairs: A+B, or A-B (A and not B)",
    )
    parser.add_argument("--gamma", type=float, default=0.5, help="of pairs such as logits:1+logits:5: equal (0.5)")
    parser.add_argument("--mixed", action="store_true", help="of pairs of classes: in one place, not side by side")
    parser.add_argument("--layer", default="", help="layers, with commas, or all: all units of these")
    parser.add_argument("--per-unit", type=count, default=1, metavar="N", help="images of each unit (1)")
    parser.add_argument(
        "--objective",
        default="unit",
        help="what the images raise: unit (the default), channel, probability, log_probability, abhorred (lowers it)",
    )
    parser.add_argument(
        "--whole", action="store_true", help="images as large as the input, for early layers too (they see only a part)"
    )
    parser.add_argument(
        "--side", type=count, default=0, metavar="PIXELS", help="shrink stored images to this longer side"
    )
    parser.add_argument("--quality", type=count, default=80, help="of the stored WebP, 1 to 100 (80)")
    parser.add_argument("--batch", default="auto", help="images at a time (auto)")
    parser.add_argument(
        "--start", nargs="+", type=path_argument, metavar="PHOTO", help="start from a photo, or the mean of several"
    )
    parser.add_argument(
        "--mix", type=float, metavar="SHARE", help="with two start photos: the share of the second, 0 to 1"
    )
    parser.add_argument("--out", type=path_argument, help="folder of the store (precomputed/MODEL/synthesized-own)")
    parser.set_defaults(run=_synthesize)
    add_recipe(parser)
    add_network(parser)


def _synthesize(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.store.own_images import bundled_store, own_folder
    from deepvis.store.unit_images import open_store
    from deepvis.synthesis.jobs import Plan, not_bundled, synthesize
    from deepvis.synthesis.starts import read_start
    from deepvis.synthesis.targets import OBJECTIVES, parse_units
    from deepvis.synthesis.two_units import parse_pairs

    recipe = recipe_of(args, "modern")
    if args.objective not in OBJECTIVES:
        raise UserError(f"--objective {args.objective!r}: expected {', '.join(OBJECTIVES)}")
    if args.batch != "auto" and not (args.batch.isdecimal() and int(args.batch) > 0):
        raise UserError(f"--batch {args.batch!r}: expected auto or a whole number from 1")
    if not 1 <= args.quality <= 100:
        raise UserError(f"--quality {args.quality}: expected 1 to 100")
    if pairs := parse_pairs(args.units, network.layers):
        _together(args, network, pairs, recipe)
        return
    layers = ",".join(layer.name for layer in network.layers) if args.layer == "all" else args.layer
    chosen = _standing(parse_units(",".join(filter(None, (args.units, layers))), network.layers), network.layers)
    folder = args.out or own_folder(paths.precomputed().own, network.name)
    store = open_store(folder, network.fingerprint, network.name)
    preset = "modern" if args.preset is None else args.preset
    start = read_start(args.start or [], args.mix) if args.start or args.mix is not None else None
    plan = Plan(
        recipe, preset, args.per_unit, args.seed, args.objective, not args.whole, args.side, args.quality, start
    )
    left = (
        chosen
        if args.out
        else not_bundled(
            network, chosen, plan, store, bundled_store(paths.precomputed().bundled, network.name, network.fingerprint)
        )
    )
    bundled = sum(len(units) for _, units in chosen) - sum(len(units) for _, units in left)
    with interrupt.raised():
        try:
            counts = synthesize(network, left, plan, store, None if args.batch == "auto" else int(args.batch))
        except KeyboardInterrupt:
            store.finish()
            print(f"stopped. {folder} holds what is done; run the same command again to resume", flush=True)
            raise
    with_program = f", {bundled} come with the program" if bundled else ""
    renamed = f" (older images of {counts.renamed} are kept under another name)" if counts.renamed else ""
    failed = "".join(f"\n{_units(many)} failed: {why}" for why, many in counts.reasons.items())
    if failed and not (counts.made or counts.found or bundled):
        raise UserError(f"no images were made{failed}")
    print(f"{folder}: {_units(counts.made)} made{renamed}, {counts.found} already there{with_program}{failed}")


def _units(count: int) -> str:
    return f"{count} unit" if count == 1 else f"{count} units"


def _together(args: argparse.Namespace, network: Network, pairs: Sequence[Pair], recipe: Recipe) -> None:
    """Write a file for each image of the pairs of units, and print both units' values."""
    from deepvis.core.files import folder_name
    from deepvis.core.picture_files import write
    from deepvis.synthesis.two_units import of_pairs

    check_gamma(args.gamma)
    if args.layer or args.start or args.mix is not None or args.objective != "unit":
        raise UserError("--units with pairs: --layer, --start, --mix and --objective are for single units")
    folder = args.out or paths.precomputed().own / folder_name(network.name) / "together"
    with interrupt.raised():
        for pair, made in of_pairs(network, pairs, recipe, args.gamma, args.seed, args.per_unit, args.mixed):
            for number, one in enumerate(made, 1):
                file = folder / f"{pair.name.replace(':', '-')}-{number}.png"
                write(file, one.image[..., ::-1])
                print(f"{file}: {one.values[0]:.2f} and {one.values[1]:.2f}", flush=True)


def _standing(chosen: Sequence[tuple[Layer, list[int]]], layers: Sequence[Layer]) -> list[tuple[Layer, list[int]]]:
    """The units whose images are made: class probabilities are shown with those of the scores before them."""
    from deepvis.core.layers import stands_for

    units: dict[str, dict[int, None]] = {}
    for layer, some in chosen:
        name = stands_for(layers, layers.index(layer))
        if name != layer.name:
            print(f"{layer.name}: shown with the images of {name}, which are made")
        units.setdefault(name, {}).update(dict.fromkeys(some))
    return [(layer, list(units[layer.name])) for layer in layers if layer.name in units]
