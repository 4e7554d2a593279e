"""How signals end the program: Ctrl-C, SIGTERM, and SIGHUP when the terminal closes.

Until a command has something to save, the process ends at once and silently. A KeyboardInterrupt would print a
traceback, and Python's own shutdown aborts if a thread is importing torch. This module is imported before all
others and must be small.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_TWICE = 0.5  # seconds within which a second Ctrl-C is ignored: torchrun passes the first one on as well


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that knows its signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def status(error: KeyboardInterrupt) -> int:
    """The exit status that a shell expects: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + getattr(error, "number", signal.SIGINT)


def end_at_once() -> None:
    """From now on these signals end the process silently, with the exit status that a shell expects."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup and in a shell's background jobs
            signal.signal(number, lambda number, _frame: os._exit(128 + number))


def until_stopped(items: Iterable[Item], what: str = "images, which are drawn") -> list[Item]:
    """All items, or after a signal those that there are; then a line says how many. Inside of `raised`.

    Raises:
        KeyboardInterrupt: there is none yet.
    """
    made: list[Item] = []
    try:
        for item in items:
            made.append(item)
    except KeyboardInterrupt:
        if not made:
            raise
        print(f"stopped after {len(made)} {what}", flush=True)
    return made


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
    """While the block runs, the first signal is noted for the block to ask for; a second Ctrl-C raises `Interrupted`.

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
    """While the block runs, these signals call `stop`. In other threads than the main thread it has no effect."""
    with _handled(stop):
        yield


class _Heard:
    """The first signal that came, and when."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._since = 0.0

    def counts(self, number: int) -> bool:
        """Note a signal; return whether it is the first one or a second Ctrl-C."""
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
