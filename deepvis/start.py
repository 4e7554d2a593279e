"""Where the program begins, before anything large is imported."""

from __future__ import annotations

import os
import sys


def begin() -> None:
    """What must hold before anything else is imported: signals end the program in silence, and its modules are its own."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the next line is through
    from deepvis import interrupt

    interrupt.end_at_once()
    # `python -m` looks for modules in the current folder first: a numpy.py in a download would be run.
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        here = os.getcwd()
    except OSError:  # it has been removed
        here = ""
    if sys.path and sys.path[0] in ("", here) and os.path.realpath(here) != os.path.realpath(root):
        del sys.path[0]


def main(argv: list[str] | None = None) -> int:
    """Run the command line from its first moment; returns the exit status."""
    begin()
    from deepvis import cli

    return cli.main(argv)
