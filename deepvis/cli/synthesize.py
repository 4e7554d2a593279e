"""`deepvis synthesize`, `sweep`, `search` and `montage`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepvis.cli.options import add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.synthesis.recipe import PRESETS

if TYPE_CHECKING:
    from deepvis.core.layers import Layer


def add(sub: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    make = sub.add_parser("synthesize", help="make the images that units prefer")
    make.add_argument("--units", default="", help="such as head:0-99,probs:zebra,stem (a layer alone: all its units)")
    make.add_argument("--layer", default="", help="layers, with commas, or all: all units of these")
    make.add_argument("--per-unit", type=count, default=1, metavar="N", help="images of each unit (1)")
    make.add_argument("--objective", default="unit", help="unit, channel, probability, log_probability, abhorred")
    make.add_argument(
        "--whole", action="store_true", help="on the whole input, not at the true size of the receptive field"
    )
    make.add_argument(
        "--side", type=count, default=0, metavar="PIXELS", help="shrink stored images to this longer side"
    )
    make.add_argument("--quality", type=count, default=80, help="of the stored WebP, 1 to 100 (80)")
    make.add_argument("--batch", default="auto", help="images at a time (auto)")
    make.add_argument("--out", type=path_argument, help="folder of the store (precomputed/MODEL/synthesized-own)")
    make.set_defaults(run=_synthesize)

    sweep = sub.add_parser("sweep", help="draw each regularizer alone, from none to strong, for a unit")
    sweep.add_argument("--unit", required=True, help="layer:number or layer:class")
    sweep.add_argument("--columns", type=count, default=8, help="strengths of each regularizer (8)")
    sweep.add_argument("--out", type=path_argument, required=True, help="picture to write")
    sweep.set_defaults(run=_sweep, preset_default="plain")

    search = sub.add_parser("search", help="search recipes at random, judged by another network")
    search.add_argument("--judge", required=True, help="model that judges (as --model); must know the same classes")
    search.add_argument("--layer", default="", help="the class layer (the last but probabilities)")
    search.add_argument("--trials", type=count, default=300, help="recipes to try (300, as in the paper)")
    search.add_argument("--classes", type=count, default=4, help="classes that each recipe is tried on (4)")
    search.add_argument("--out", type=path_argument, required=True, help="folder for the contact sheet and the recipes")
    search.set_defaults(run=_search, preset_default="yosinski-3")

    montage = sub.add_parser(
        "montage", help="one picture of a layer's stored images, or of several layers at true size"
    )
    montage.add_argument("--layer", default="", help="one layer: an image for each unit; several: some units of each")
    montage.add_argument("--out", type=path_argument, required=True, help="picture to write")
    montage.add_argument(
        "--side", type=count, default=0, metavar="PIXELS", help="longer side of each image (as stored)"
    )
    montage.add_argument("--units", type=count, default=4, metavar="N", help="with several layers: units of each (4)")
    montage.add_argument(
        "--store",
        type=path_argument,
        help="folder of the store (your own images in precomputed/MODEL, and the bundled ones)",
    )
    montage.set_defaults(run=_montage)

    for parser in (make, sweep, search):
        parser.add_argument(
            "--preset", help=f"{', '.join(PRESETS)}, the name of a recipe saved on the desk, or a recipe file"
        )
        parser.add_argument(
            "--set",
            nargs="*",
            action="extend",
            default=[],
            metavar="NAME=VALUE",
            help="parameters other than the preset's",
        )
        parser.add_argument("--seed", type=_seed, default=0, help="(0)")
    for parser in (make, sweep, search, montage):
        add_network(parser)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > 10**9:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 1000000000")
    return int(text)


def _recipe(args: argparse.Namespace, default: str):
    from deepvis.synthesis.recipe import named

    changes = {}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair!r}: expected NAME=VALUE, such as steps=128")
        changes[name] = value
    return named(args.preset or default, changes)


def _synthesize(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.store.own_images import bundled_store, own_folder
    from deepvis.store.unit_images import open_store
    from deepvis.synthesis.jobs import Plan, not_bundled, synthesize
    from deepvis.synthesis.targets import OBJECTIVES, parse_units

    recipe = _recipe(args, "modern")
    if args.objective not in OBJECTIVES:
        raise UserError(f"--objective {args.objective!r}: expected {', '.join(OBJECTIVES)}")
    if args.batch != "auto" and not (args.batch.isdecimal() and int(args.batch) > 0):
        raise UserError(f"--batch {args.batch!r}: expected auto or a number from 1")
    if not 1 <= args.quality <= 100:
        raise UserError(f"--quality {args.quality}: expected 1 to 100")
    layers = ",".join(layer.name for layer in network.layers) if args.layer == "all" else args.layer
    chosen = _standing(parse_units(",".join(filter(None, (args.units, layers))), network.layers), network.layers)
    folder = args.out or own_folder(paths.precomputed().own, network.name)
    store = open_store(folder, network.fingerprint, network.name)
    preset = args.preset or "modern"
    plan = Plan(recipe, preset, args.per_unit, args.seed, args.objective, not args.whole, args.side, args.quality)
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
            print(f"stopped. {folder} holds what is done; the same command goes on from there", flush=True)
            raise
    with_program = f", {bundled} come with the program" if bundled else ""
    failed = f", {counts['failed']} without a gradient (see the manifest)" if counts["failed"] else ""
    print(f"{folder}: {counts['made']} units made, {counts['found']} already there{with_program}{failed}")


def _standing(chosen: Sequence[tuple[Layer, list[int]]], layers: Sequence[Layer]) -> list[tuple[Layer, list[int]]]:
    """Class probabilities have no images of their own, but those of the scores before them: where the window looks for them."""
    from deepvis.core.layers import stands_for

    units: dict[str, dict[int, None]] = {}
    for layer, some in chosen:
        name = stands_for(layers, layers.index(layer))
        if name != layer.name:
            print(f"{layer.name}: shown with the images of {name}, which are made")
        units.setdefault(name, {}).update(dict.fromkeys(some))
    return [(layer, list(units[layer.name])) for layer in layers if layer.name in units]


def _sweep(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    network = load_network(args)
    from deepvis.core.layers import parse_unit
    from deepvis.render.figures import labelled
    from deepvis.synthesis.sweep import sweep

    index, unit = parse_unit(args.unit, network.layers)
    with interrupt.raised():
        recipe = _recipe(args, args.preset_default)
        rows, titles = sweep(network, network.layers[index], unit, recipe, args.columns, args.seed)
        write(args.out, labelled(rows, titles))
        print(f"saved {args.out}", flush=True)


def _search(args: argparse.Namespace) -> None:
    network = load_network(args)
    from deepvis.networks import loading, trust
    from deepvis.render.figures import labelled
    from deepvis.synthesis.search import search

    consent = trust.Consent(typed=True, trust=args.trust)
    trust.ask(args.judge, consent)
    judge = loading.load(args.judge, str(network.device), consent=consent)
    with interrupt.raised():
        best = search(
            network,
            judge,
            _recipe(args, args.preset_default),
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


def _montage(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    network = load_network(args)
    from deepvis.core.layers import find_layer, stands_for
    from deepvis.render.figures import montage, true_sizes
    from deepvis.store.own_images import open_both
    from deepvis.store.unit_images import open_store

    if args.store:
        store = open_store(args.store, network.fingerprint)
    else:
        store = open_both(paths.precomputed(), network.name, network.fingerprint, network.paths)
        print(store.note, end="\n" if store.note else "")
    names = [name.strip() for name in args.layer.split(",") if name.strip()] or [layer.name for layer in network.layers]
    indices = [
        find_layer(stands_for(network.layers, find_layer(name, network.layers)), network.layers) for name in names
    ]
    layers = [network.layers[index] for index in dict.fromkeys(indices)]
    if args.side and len(layers) > 1:
        raise UserError("--side is for one layer; several are drawn at their true sizes")
    picture = montage(store, layers[0], args.side) if len(layers) == 1 else true_sizes(store, layers, args.units)
    write(args.out, picture)
    print(f"saved {args.out}")
