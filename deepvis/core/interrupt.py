"""How the program ends before its work is done: Ctrl-C, SIGTERM, and SIGHUP where the terminal closes.

Until a command has something to save, the process ends at once and in silence: a KeyboardInterrupt would be a
traceback, and Python's own way out, while a thread imports torch, an abort. This module is imported before all
others and must be small.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_TWICE = 0.5  # seconds after which another Ctrl-C is one more wish of the user; torchrun passes the first on, too


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that knows its signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def status(error: KeyboardInterrupt) -> int:
    """The exit status that a shell expects: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + getattr(error, "number", signal.SIGINT)


def end_at_once() -> None:
    """From now on these signals end the process without a word, but with the status that a shell expects."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and a shell's background jobs
            signal.signal(number, lambda number, _frame: os._exit(128 + number))


@contextmanager
def raised() -> Iterator[None]:
    """While the block runs, these signals raise `Interrupted`, so that it can save what is done.

    Another Ctrl-C raises it again; other signals that follow do not, for they are no sign of impatience. Where the
    block ends well after a signal, having saved, `Interrupted` is raised behind it: the exit status is the signal's.
    """
    heard = _Heard()

    def act(number: int, _frame: FrameType | None) -> None:
        if heard.counts(number):
            raise Interrupted(number)

    with _handled(act):
        yield
    if heard.first is not None:
        raise Interrupted(heard.first)


@contextmanager
def postponed() -> Iterator[Callable[[], int | None]]:
    """While the block runs, a signal waits until the block asks for it; only another Ctrl-C raises `Interrupted`.

    Yields:
        A function that returns the signal's number, or None.
    """
    heard = _Heard()

    def act(number: int, _frame: FrameType | None) -> None:
        is_first = heard.first is None
        if heard.counts(number) and not is_first:
            raise Interrupted(number)

    with _handled(act):
        yield lambda: heard.first


@contextmanager
def calling(stop: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """While the block runs, these signals call `stop`; in the main thread, where alone Python lets it be."""
    with _handled(stop):
        yield


class _Heard:
    """The signals so far: the first, and when it came."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._since = 0.0

    def counts(self, number: int) -> bool:
        """Note a signal; whether it is the first, or a Ctrl-C that was pressed again."""
        if self.first is None:
            self.first, self._since = number, time.monotonic()
            return True
        return number == signal.SIGINT and time.monotonic() - self._since > _TWICE


@contextmanager
def _handled(act: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = {}
    try:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, act)
    except ValueError:  # not the main thread: no signal comes here
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
