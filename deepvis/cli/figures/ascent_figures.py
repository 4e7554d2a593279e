"""`deepvis figure phases` and `interpolated`: an ascent looked at on its way (Nguyen et al. 2016, Fig. S7 and S1)."""

from __future__ import annotations

import argparse

from deepvis.cli.options import Commands, add_synthesized_figure, count, load_network, path_argument, recipe_of
from deepvis.core import interrupt
from deepvis.core.errors import UserError


def add(figures: Commands) -> None:
    """Add the figures to the command line."""
    phases = figures.add_parser("phases", help="one unit's image after each phase of a recipe (Fig. S7)")
    phases.add_argument(
        "--start", nargs="+", type=path_argument, metavar="PHOTO", help="photos whose mean it starts from"
    )
    between = figures.add_parser("interpolated", help="images from starts between two photos (Fig. S1)")
    between.add_argument("--photos", nargs=2, type=path_argument, required=True, metavar="PHOTO", help="two photos")
    between.add_argument("--images", type=count, default=8, help="starts, the two photos with them (8)")
    for parser, draw in ((phases, _draw_phases), (between, _draw_between)):
        parser.add_argument("--unit", required=True, help="layer:number or layer:class")
        add_synthesized_figure(parser, draw)


def _draw_phases(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    one = recipe_of(args, "center-biased")
    if len(one.phases) < 2:
        raise UserError(f"--preset {args.preset}: it has no phases; expected one with some, such as center-biased")
    from deepvis.synthesis.starts import read_start

    start, network = read_start(args.start) if args.start else None, load_network(args)
    from deepvis.core.layers import parse_unit
    from deepvis.render.figures import labelled, wrapped
    from deepvis.synthesis.stages import after_each_phase

    index, unit = parse_unit(args.unit, network.layers)
    with interrupt.raised():
        found = list(after_each_phase(network, network.layers[index], unit, one, args.seed, start))
    write(args.out, labelled(*wrapped([image for _, image in found], [words for words, _ in found], len(found))))
    print(f"saved {args.out}", flush=True)


def _draw_between(args: argparse.Namespace) -> None:
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)
    one = recipe_of(args, "facet")
    network = load_network(args)
    import numpy as np

    from deepvis.core.layers import parse_unit
    from deepvis.render.figures import labelled
    from deepvis.synthesis.stages import between_photos

    index, unit = parse_unit(args.unit, network.layers)
    with interrupt.raised():
        found = list(between_photos(network, network.layers[index], unit, one, args.photos, args.images, args.seed))
    rows = [np.stack([start for _, start, _ in found]), np.stack([image for _, _, image in found])]
    write(args.out, labelled(rows, [[words for words, _, _ in found], [""] * len(found)]))
    print(f"saved {args.out}", flush=True)
