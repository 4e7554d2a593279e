"""`deepvis faithfulness`: which backward methods show what the network really looks at."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError

if TYPE_CHECKING:
    from deepvis.attribution.faithfulness import Score


LEAST = 10  # images, for methods to be marked as failing


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("faithfulness", help="measure which backward methods show what the network looks at")
    parser.add_argument(
        "--images", type=path_argument, default=paths.PHOTOS, metavar="DIR", help="folder, list or archive (photos)"
    )
    parser.add_argument("--back", nargs="+", default=[], metavar="METHOD", help="the methods to measure (all)")
    parser.add_argument("--count", type=count, default=50, metavar="N", help="so many images, evenly chosen (50)")
    parser.add_argument("--passes", type=count, default=16, metavar="N", help="of methods of many passes (16)")
    parser.add_argument(
        "--stages",
        type=count,
        default=4,
        metavar="N",
        help="in so many steps weights are randomised from the top down, on five images (4)",
    )
    parser.add_argument("--batch", type=count, default=4, help="images at a time (4)")
    parser.set_defaults(run=_faithfulness)
    add_network(parser)


def _faithfulness(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from deepvis.core.frames import Frame
    from deepvis.inputs.datasets import find_images

    images = find_images(args.images)
    network = load_network(args)
    from dataclasses import replace

    from deepvis.attribution.curves import AT_ONCE
    from deepvis.attribution.faithfulness import Measurement, known_methods
    from deepvis.store.doubts import write_doubts

    images = replace(images.without_arrays(), reading=network.input.reading)
    total = len(images.names)
    numbers = [i * total // min(total, args.count) for i in range(min(total, args.count))]
    at_once = AT_ONCE if args.batch > 1 else 1  # a network that takes only one picture at a time
    broken = 0
    measurement = Measurement(network, known_methods(args.back), args.passes, count=args.stages, at_once=at_once)
    with interrupt.raised(), tqdm(total=len(numbers), unit="image") as bar:
        for first in range(0, len(numbers), args.batch):
            some = numbers[first : first + args.batch]
            frames = []
            for number in some:
                try:
                    frames.append(Frame(images.read(number), images.names[number], number, False))
                except UserError as error:
                    broken += 1
                    tqdm.write(f"left out: {error}")
            if frames:
                measurement.add(frames)
            bar.update(len(some))
    if not measurement.images:
        raise UserError(f"--images {args.images}: none of {len(numbers)} images can be read")
    scores = measurement.scores()
    print(table(scores, measurement.images, measurement.stages))
    if broken:
        print(f"{broken} image{'s' if broken > 1 else ''} could not be read and left out")
    if measurement.images < LEAST:
        print(f"{measurement.images} images are too few to mark methods by: nothing is saved. Give {LEAST} or more")
        return
    folder = paths.precomputed().own / network.name
    fails = {name: score.fails for name, score in scores.items() if name != "random"}
    print(f"saved {write_doubts(folder, network.fingerprint, fails)}: the window marks the methods that fail")


def table(scores: Mapping[str, Score], images: int, stages: Sequence[str] = ()) -> str:
    """The scores as a Markdown table, the best deletion first.

    Args:
        stages: the modules down to which weights were randomised.
    """
    heads = ["method", "deletion (low is good)", "insertion (high is good)", "below random by"]
    heads += [f"random down to {name}" for name in stages] + [""]
    rows = [
        f"Mean probability of the predicted class over {images} images, ± half of the 95 % interval"
        + ("; then the rank correlation with the map of a network with random weights:" if stages else ":"),
        "",
        _row(heads),
        _row(["---"] * len(heads)),
    ]
    unmeasured = lambda pair: (math.isnan(pair[1].deletion[0]), pair[1].deletion[0])  # noqa: E731
    for name, one in sorted(scores.items(), key=unmeasured):
        pairs = (one.deletion, one.insertion, one.better)
        same = [f"{value:.2f}" for value in one.same] or [""] * len(stages)
        rows.append(_row([name, *(f"{value:.3f} ± {error:.3f}" for value, error in pairs), *same, _said(name, one)]))
    return "\n".join(rows)


def _said(name: str, score: Score) -> str:
    missing = f"no map for {score.missing} images" if score.missing and not score.why_not else ""
    return "; ".join(part for part in ("" if name == "random" else score.fails, missing) if part)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
