"""`deepvis render`: the window's picture in a file."""

from __future__ import annotations

import argparse
from dataclasses import replace

from deepvis.app.sources import first_state, sources
from deepvis.attribution.methods import METHODS, check_known
from deepvis.cli.options import (
    Commands,
    add_input,
    add_network,
    add_unit,
    add_view,
    asked_network,
    begun,
    consent_of,
    path_argument,
    settings_of,
    view_of,
)
from deepvis.core.errors import UserError


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("render", help="draw the same window into a file, without a screen")
    parser.set_defaults(run=_render)
    add_network(parser)
    add_input(parser)
    add_view(parser)
    add_unit(parser)
    parser.add_argument("--back", metavar="METHOD", help=f"backward method: {', '.join(METHODS)}, or one of your own")
    parser.add_argument(
        "--keys",
        default="",
        help='keys to press first, as in "right right down b"; or commands by name, as in "content=histograms"',
    )
    parser.add_argument("--size", default="", metavar="WxH", help="size of the picture (1500x930)")
    parser.add_argument("--out", required=True, type=path_argument, help="picture to write (png, jpg, webp)")


def _render(args: argparse.Namespace) -> None:
    from deepvis.app.offscreen import picture
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)  # a wrong name must fail before the work, not after it
    view = view_of(args)
    settings = settings_of(args, view)
    if settings.input == "camera" and args.input is None:
        settings = replace(settings, input="photos")  # without a screen there is rarely a camera
    if args.size:
        width, height = _size(args.size)
        settings = replace(settings, window=replace(settings.window, width=width, height=height))
    camera, files, first = sources(settings)
    start = begun(args, view, first_state(settings, first), files)
    start = replace(start, method=check_known(args.back) if args.back else start.method)
    network = asked_network(settings, consent_of(args))
    write(args.out, picture(settings, network, camera, files, start, args.unit, args.keys.split(), view))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 200 <= int(width) <= 10000 and 150 <= int(height) <= 10000):
        raise UserError(f"--size {text!r}: expected width x height in pixels, such as 1500x930")
    return int(width), int(height)
