"""`deepvis faithfulness`: which backward methods show what the network really looks at."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError

if TYPE_CHECKING:
    from deepvis.attribution.faithfulness import Measurement, Score
    from deepvis.core.frames import Frame
    from deepvis.inputs.datasets import Images
    from deepvis.store.journal import Journal


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
    from deepvis.inputs.datasets import find_images

    images = find_images(args.images)
    network = load_network(args)
    from deepvis.attribution.curves import AT_ONCE
    from deepvis.attribution.faithfulness import Measurement, known_methods
    from deepvis.store.doubts import write_doubts
    from deepvis.store.journal import journal

    images = replace(images.without_arrays(), reading=network.input.reading)
    total = len(images.names)
    numbers = [i * total // min(total, args.count) for i in range(min(total, args.count))]
    at_once = AT_ONCE if args.batch > 1 else 1  # a network that takes only one picture at a time
    measurement = Measurement(network, known_methods(args.back), args.passes, count=args.stages, at_once=at_once)
    folder = paths.precomputed().own / network.name
    with journal(folder / "faithfulness", _about(args, measurement, images, numbers)) as done:
        broken = _measure(measurement, images, numbers, args.batch, done)
        if not measurement.images:
            raise UserError(f"--images {args.images}: none of {len(numbers)} images can be read")
        scores = measurement.scores()
        print(table(scores, measurement.images, measurement.stages))
        if broken:
            print(f"{broken} image{'s' if broken > 1 else ''} could not be read and left out")
        if measurement.images < LEAST:
            print(f"{measurement.images} images are too few to mark methods by: nothing is saved. Give {LEAST} or more")
        else:
            fails = {name: score.fails for name, score in scores.items() if name != "random"}
            saved = write_doubts(folder, network.fingerprint, fails)
            print(f"saved {saved}: the window marks the methods that fail")
    done.remove()


def _about(
    args: argparse.Namespace, measurement: Measurement, images: Images, numbers: Sequence[int]
) -> dict[str, object]:
    """All that decides what is measured."""
    from deepvis.attribution.methods import METHODS

    network = measurement.network
    names = [images.names[number].encode("utf-8", "surrogateescape").hex() for number in numbers]
    return {
        "network": network.fingerprint,
        "computed": f"{network.device.type} {network.dtype}",
        "images": [str(images.root).encode("utf-8", "surrogateescape").hex(), *names],
        "methods": [f"{name} {METHODS[name].rules}" for name in measurement.methods],
        "options": [args.passes, args.stages, args.batch],
    }


def _measure(measurement: Measurement, images: Images, numbers: Sequence[int], batch: int, done: Journal) -> int:
    """Measure the images batch by batch, on from where an earlier run was stopped. Returns how many cannot be read."""
    from tqdm import tqdm

    from deepvis.attribution.faithfulness import MethodTally

    broken = 0
    for part in done.parts:
        measurement.take(part["images"], {name: MethodTally(**one) for name, one in part["measured"].items()})
        broken += part["broken"]
    begun = len(done.parts) * batch
    with interrupt.raised(), tqdm(total=len(numbers), initial=min(begun, len(numbers)), unit="image") as bar:
        try:
            for first in range(begun, len(numbers), batch):
                some = numbers[first : first + batch]
                frames = _frames(images, some)
                measured = measurement.add(frames) if frames else {}
                left_out = len(some) - len(frames)
                tallies = {name: asdict(one) for name, one in measured.items()}
                done.add({"images": len(frames), "broken": left_out, "measured": tallies})
                broken += left_out
                bar.update(len(some))
        except KeyboardInterrupt:
            tqdm.write(f"stopped after {measurement.images} images; the same command goes on")
            raise
    return broken


def _frames(images: Images, numbers: Sequence[int]) -> list[Frame]:
    """The images that can be read; the others are named in the terminal."""
    from tqdm import tqdm

    from deepvis.core.frames import Frame

    frames = []
    for number in numbers:
        try:
            frames.append(Frame(images.read(number), images.names[number], number, False))
        except UserError as error:
            tqdm.write(f"left out: {error}")
    return frames


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
