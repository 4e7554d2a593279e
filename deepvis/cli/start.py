"""Where the program starts, before anything large is imported."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Set up signals, then import and run the command line; returns the exit status."""
    # Built into Python: Ctrl-C would show a traceback while `signal` itself is imported.
    import _signal  # type: ignore[import-not-found]  # typeshed does not have it

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C ends silently, also during the imports below
    from deepvis.core import interrupt, runtime

    interrupt.end_at_once()
    runtime.own_modules_only()
    runtime.tune()  # before anything imports torch or OpenCV
    from deepvis.cli import main

    return main.main(argv)
