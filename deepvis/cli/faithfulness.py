"""`deepvis faithfulness`: which backward methods show what the network really looks at."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deepvis.cli.options import Commands, add_network, count, load_network, path_argument
from deepvis.core import interrupt, paths

if TYPE_CHECKING:
    from deepvis.attribution.faithfulness import Score


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("faithfulness", help="measure which backward methods show what the network looks at")
    parser.add_argument(
        "--images", type=path_argument, default=paths.PHOTOS, metavar="DIR", help="folder, list or archive (photos)"
    )
    parser.add_argument("--back", nargs="+", default=[], metavar="METHOD", help="the methods to measure (all)")
    parser.add_argument("--count", type=count, default=50, metavar="N", help="so many images, evenly chosen (50)")
    parser.add_argument("--passes", type=count, default=16, metavar="N", help="of methods of many passes (16)")
    parser.set_defaults(run=_faithfulness)
    add_network(parser)


def _faithfulness(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from deepvis.core.frames import Frame
    from deepvis.inputs.datasets import find_images

    images = find_images(args.images)
    network = load_network(args)
    from dataclasses import replace

    from deepvis.attribution.faithfulness import Measurement, known_methods
    from deepvis.store.doubts import write_doubts

    images = replace(images.without_arrays(), reading=network.input.reading)
    total = len(images.names)
    numbers = [i * total // min(total, args.count) for i in range(min(total, args.count))]
    measurement = Measurement(network, known_methods(args.back), args.passes)
    with interrupt.raised():
        for number in tqdm(numbers, unit="image"):
            measurement.add(Frame(images.read(number), images.names[number], number, False))
    scores = measurement.scores()
    print(table(scores, measurement.images))
    folder = paths.precomputed().own / network.name
    fails = {name: score.fails for name, score in scores.items() if name != "random"}
    print(f"saved {write_doubts(folder, network.fingerprint, fails)}: the window marks the methods that fail")


def table(scores: Mapping[str, Score], images: int) -> str:
    """The scores as a Markdown table, the best deletion first."""
    rows = [
        f"Mean probability of the predicted class over {images} images, ± the 95 % interval:",
        "",
        "| method | deletion (low is good) | insertion (high is good) | below random by | map with random weights | |",
        "|---|---|---|---|---|---|",
    ]
    unmeasured = lambda pair: (math.isnan(pair[1].deletion), pair[1].deletion)  # noqa: E731
    for name, one in sorted(scores.items(), key=unmeasured):
        pairs = ((one.deletion, one.deletion_error), (one.insertion, one.insertion_error), one.better)
        cells = [name, *(f"{value:.3f} ± {error:.3f}" for value, error in pairs), f"{one.same:.2f}"]
        rows.append(f"| {' | '.join(cells)} | {'' if name == 'random' else one.fails} |")
    return "\n".join(rows)
