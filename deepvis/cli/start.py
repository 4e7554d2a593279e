"""Where the program starts, before anything large is imported."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Set up signals, then import and run the command line; returns the exit status."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends silently, also during the imports below
    from deepvis.core import interrupt, runtime

    interrupt.end_at_once()
    runtime.own_modules_only()
    runtime.tune()  # before anything imports torch or OpenCV
    from deepvis.cli import main

    return main.main(argv)
