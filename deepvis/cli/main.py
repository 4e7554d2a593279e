"""The command line: `deepvis live`, `render`, `layers`, `doctor`, `keys`."""

from __future__ import annotations

from deepvis.app.sources import sources
from deepvis.core import interrupt, runtime

runtime.tune()  # before anything imports torch

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from deepvis import __version__
from deepvis.cli import scan
from deepvis.cli import synthesize as synthesis
from deepvis.cli.options import add_network, consent_of, path_argument, settings_of
from deepvis.core.errors import UserError, printable, words
from deepvis.interface.settings import Settings
from deepvis.interface.state import METHOD_CYCLE, State
from deepvis.networks import trust


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 after an error that the user can put right, or what a signal amounts to."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv.insert(0, "live")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no text
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except UserError as error:
        print(printable(f"deepvis: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        return interrupt.status(error)
    except SystemExit as error:  # of the network's code, with whatever status
        print(f"deepvis: {words(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deepvis", description="See, live, what a neural network sees.")
    parser.add_argument("--version", action="version", version=f"deepvis {__version__}")
    sub = parser.add_subparsers(required=True, metavar="COMMAND")
    live = sub.add_parser("live", help="open the toolbox in a window (the default)")
    live.set_defaults(run=_live)
    render = sub.add_parser("render", help="draw the same window into a file, without a screen")
    render.set_defaults(run=_render)
    layers = sub.add_parser("layers", help="print a network's layers: kind, shape, receptive field, parameters")
    layers.add_argument("name", nargs="?", metavar="MODEL", help="as --model")
    layers.set_defaults(run=_layers)
    doctor = sub.add_parser("doctor", help="print what a bug report needs")
    doctor.set_defaults(run=_doctor)
    for command in (live, render, layers, doctor):
        _add_settings(command)
    render.add_argument("--unit", help="the selected unit: layer:number or layer:class (head:151)")
    render.add_argument("--back", choices=[m for m in METHOD_CYCLE if m], help="backward method")
    render.add_argument("--keys", default="", help='keys to press first, as in "right right down b"')
    render.add_argument("--size", default="", metavar="WxH", help="size of the picture (1500x930)")
    render.add_argument("--out", required=True, type=path_argument, help="picture to write (png, jpg, webp)")
    synthesis.add(sub)
    scan.add(sub)
    echo = sub.add_parser("keys", help="print the keys and codes that the window receives")
    echo.set_defaults(run=_keys)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Options that override settings.yaml."""
    add_network(parser)
    parser.add_argument("--input", help="camera, camera index, video, stream address, folder, list file, image, photos")


def _live(args: argparse.Namespace) -> None:
    from deepvis.display.window import DisplayProbe

    probe = DisplayProbe()
    from deepvis.app.toolbox import live
    from deepvis.inputs.feed import Feed
    from deepvis.workers.engine import Engine

    settings, consent = settings_of(args), consent_of(args)
    camera, files, first = sources(settings)
    trust.ask(settings.model, consent)  # here and not where the network is loaded, which is in a thread
    start = State(source=first, crop=settings.crop)
    if not live(settings, Engine(lambda: _network(settings, consent)), Feed(camera, files), start, probe.check):
        sys.stdout.flush()
        os._exit(0)


def _network(settings: Settings, consent: trust.Consent):
    from deepvis.networks import loading

    return loading.load(settings.model, settings.device, settings.precision, settings.weights, consent=consent)


def _asked(settings: Settings, consent: trust.Consent):
    """The network, after the user was asked about its code where that must be."""
    trust.ask(settings.model, consent)
    return _network(settings, consent)


def _render(args: argparse.Namespace) -> None:
    from deepvis.app.offscreen import picture
    from deepvis.core.picture_files import check_suffix, write

    check_suffix(args.out)  # before the work, not after it
    settings = settings_of(args)
    if settings.input == "camera" and args.input is None:
        settings = replace(settings, input="photos")  # without a screen there is rarely a camera
    if args.size:
        settings = replace(settings, window=replace(settings.window, **_size(args.size)))
    camera, files, first = sources(settings)
    start = State(source=first, crop=settings.crop, method=args.back)
    write(
        args.out,
        picture(settings, _asked(settings, consent_of(args)), camera, files, start, args.unit, args.keys.split()),
    )


def _size(text: str) -> dict[str, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 200 <= int(width) <= 10000 and 150 <= int(height) <= 10000):
        raise UserError(f"--size {text!r}: expected width x height in pixels, such as 1500x930")
    return {"width": int(width), "height": int(height)}


def _layers(args: argparse.Namespace) -> None:
    args.model = args.name or args.model
    from deepvis.cli.reports import layers_table

    print(layers_table(_asked(settings_of(args), consent_of(args))))


def _doctor(args: argparse.Namespace) -> None:
    settings = settings_of(args)
    from deepvis.cli.reports import doctor

    for line in doctor(lambda: _asked(settings, consent_of(args))):
        print(line, flush=True)


def _keys(_args: argparse.Namespace) -> None:
    from deepvis.display.window import Close, DisplayProbe, Key, Window

    DisplayProbe().check()
    window = Window("deepvis keys", 480, 160)
    print("press keys in the window; q or the close button ends", flush=True)
    while True:
        for event in window.poll(20):
            if isinstance(event, Key):
                print(f"{event.name or '(no name)':12} code {event.code} = {event.code:#x}", flush=True)
            if isinstance(event, Close) or getattr(event, "name", None) == "q":
                window.close()
                return
