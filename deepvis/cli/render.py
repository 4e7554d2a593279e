"""`deepvis render`: the window's picture in a file."""

from __future__ import annotations

import argparse
from dataclasses import replace

from deepvis.app.sources import sources
from deepvis.cli.options import (
    Commands,
    add_input,
    add_network,
    add_unit,
    asked_network,
    consent_of,
    path_argument,
    settings_of,
)
from deepvis.core.errors import UserError
from deepvis.interface.state import METHOD_CYCLE, State


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("render", help="draw the same window into a file, without a screen")
    parser.set_defaults(run=_render)
    add_network(parser)
    add_input(parser)
    add_unit(parser)
    parser.add_argument("--back", choices=[m for m in METHOD_CYCLE if m], help="backward method")
    parser.add_argument("--keys", default="", help='keys to press first, as in "right right down b"')
    parser.add_argument("--size", default="", metavar="WxH", help="size of the picture (1500x930)")
    parser.add_argument("--out", required=True, type=path_argument, help="picture to write (png, jpg, webp)")


def _render(args: argparse.Namespace) -> None:
    from deepvis.app.offscreen import picture
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)  # a wrong name must fail before the work, not after it
    settings = settings_of(args)
    if settings.input == "camera" and args.input is None:
        settings = replace(settings, input="photos")  # without a screen there is rarely a camera
    if args.size:
        settings = replace(settings, window=replace(settings.window, **_size(args.size)))
    camera, files, first = sources(settings)
    start = State(source=first, crop=settings.crop, method=args.back)
    network = asked_network(settings, consent_of(args))
    write(args.out, picture(settings, network, camera, files, start, keys=args.keys.split()))


def _size(text: str) -> dict[str, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 200 <= int(width) <= 10000 and 150 <= int(height) <= 10000):
        raise UserError(f"--size {text!r}: expected width x height in pixels, such as 1500x930")
    return {"width": int(width), "height": int(height)}
