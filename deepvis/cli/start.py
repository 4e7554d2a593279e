"""Where the program begins, before anything large is imported."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Run the command line from its first moment; returns the exit status."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # silent too, until the next lines are through
    from deepvis.core import interrupt, runtime

    interrupt.end_at_once()
    runtime.own_modules_only()
    runtime.tune()  # before anything imports torch or OpenCV
    from deepvis.cli import main

    return main.main(argv)
