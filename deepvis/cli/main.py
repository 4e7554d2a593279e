"""The command line: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from deepvis import __version__
from deepvis.cli import (
    doctor,
    dream,
    export,
    facets,
    faithfulness,
    figure,
    invert,
    keys,
    layers,
    live,
    merge,
    montage,
    nearest,
    render,
    scan,
    search,
    sweep,
    synthesize,
    train_prior,
)
from deepvis.core import interrupt
from deepvis.core.errors import UserError, printable, words

COMMANDS = (
    live,
    render,
    layers,
    doctor,
    synthesize,
    facets,
    sweep,
    search,
    train_prior,
    invert,
    dream,
    montage,
    nearest,
    figure,
    scan,
    export,
    faithfulness,
    merge,
    keys,
)
"""A module each, whose `add` puts the command into the parser; `deepvis --help` lists them in this order."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 after an error that the user can put right, or a signal's."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv.insert(0, "live")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be valid UTF-8
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except UserError as error:
        print(printable(f"deepvis: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        return interrupt.status(error)
    except SystemExit as error:  # raised by the network's own code
        print(f"deepvis: {words(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deepvis", description="See, live, what a neural network sees.")
    parser.add_argument("--version", action="version", version=f"deepvis {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
