"""`deepvis train-prior`: a generator network that makes pictures from a layer's codes, trained on one's own photos."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path

from deepvis.cli.options import Commands, add_network, add_seed, count, load_network, path_argument
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.processes import share


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("train-prior", help="train a learned prior for preferred images on your photos")
    parser.add_argument(
        "--images", type=path_argument, default=paths.PHOTOS, metavar="DIR", help="the photos (the bundled ones)"
    )
    parser.add_argument("--layer", required=True, help="whose code the generator inverts")
    parser.add_argument("--size", type=count, default=128, help="side of the training pictures (128)")
    parser.add_argument("--minutes", type=float, help="at most so long (until it no longer helps)")
    parser.add_argument("--steps", type=count, help="at most so many steps (until it no longer helps)")
    parser.add_argument("--batch", default="auto", help="pictures in a step (auto)")
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate (0.0005)")
    parser.add_argument("--width", type=float, default=1.0, help="factor of the generator's channels (1)")
    parser.add_argument(
        "--adversarial",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of the adversarial loss (0.5); 0: none",
    )
    add_seed(parser)
    parser.add_argument("--out", type=path_argument, help="folder of the prior (precomputed/MODEL/priors/LAYER)")
    add_network(parser)
    parser.set_defaults(run=lambda args: _train(args, _command(parser, args)))


def _command(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """The command line that does the same, from any folder."""
    _rank, world = share()
    program = "deepvis" if world == 1 else f"torchrun --nproc-per-node {world} -m deepvis.cli"
    given = {name: value for name, value in vars(args).items() if name not in ("run", "command", "trust")}
    given = {name: value for name, value in given.items() if value != parser.get_default(name)}
    if isinstance(args.images, Path) and args.images.exists():
        given["images"] = args.images
    texts = {name: str(value.absolute() if isinstance(value, Path) else value) for name, value in given.items()}
    return " ".join([program, "train-prior", *(f"--{name} {shlex.quote(text)}" for name, text in texts.items())])


def _train(args: argparse.Namespace, command: str) -> None:
    from deepvis.inputs.datasets import find_images

    rank, _world = share()
    for name, low, high in (("minutes", 1e-3, 1e6), ("rate", 1e-7, 1), ("width", 0.1, 8), ("adversarial", 0, 100)):
        value = getattr(args, name)
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise UserError(f"--{name} {value:g}: expected {low:g} to {high:g}")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: expected 0 or more")
    if not 32 <= args.size <= 1024:
        raise UserError(f"--size {args.size}: expected 32 to 1024")
    if args.batch != "auto" and not (args.batch.isdecimal() and 0 < int(args.batch) <= 1024):
        raise UserError(f"--batch {args.batch!r}: expected auto or 1 to 1024")
    images = find_images(args.images).without_arrays()
    network = load_network(args)
    from deepvis.priors.jobs import Limits, train
    from deepvis.priors.photos import read_photos
    from deepvis.priors.training import TrainingPlan, sized_layer
    from deepvis.store.priors import PRIOR, RECONSTRUCTIONS, prior_folder

    layer = sized_layer(network, args.layer, args.size)

    def say(text: str) -> None:
        if not rank:
            print(f"note: {text}", file=sys.stderr, flush=True)

    pool = read_photos(images, args.size, network.device, say)
    batch = (64 if network.device.type == "cuda" else 16) if args.batch == "auto" else int(args.batch)
    plan = TrainingPlan(
        layer.name, args.size, batch, args.rate, args.width, adversarial=args.adversarial, seed=args.seed
    )
    folder = args.out or prior_folder(paths.precomputed().own, network.name, layer.name)
    if args.out is None:
        say(f"deepvis live shows how it goes: layer {layer.name}, tab prior (beside remembered)")
    try:
        made = train(network, pool, plan, Limits(args.steps or 0, args.minutes or 0.0), folder, command)
    except KeyboardInterrupt:
        print(f"\nstopped. {folder} holds what is done; run the same command again to go on", flush=True)
        raise
    if rank:
        return
    base, found = made.closed_form, made.generator
    print(f"{folder / PRIOR}: {made.steps:,} steps in {made.minutes:.1f} minutes; {made.why}")
    print(f"photos set aside: {found.psnr:.2f} dB, feature error {found.features:.3f}")
    print(f"the closed form:  {base.psnr:.2f} dB, feature error {base.features:.3f}; see {folder / RECONSTRUCTIONS}")
    if found.against(base) > 0.98:
        print("training adds almost nothing to the closed form: more photos would help")
