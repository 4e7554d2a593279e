"""What works beside the window: threads that begin with the first wish and end with `close`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class InTurn:
    """A lock that goes round: who waits longest has it next, so that one who wants it again and again keeps nobody out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    def __enter__(self) -> None:
        mine = object()
        with self._changed:
            self._queue.append(mine)
            self._changed.wait_for(lambda: self._queue[0] is mine)

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()


MUCH_MEMORY = InTurn()
"""Held beside the window for what takes hundreds of megabytes for a moment, such as a batch of images in the network.

One at a time, because the process keeps the most that was ever needed at once (see `deepvis.core.runtime`).
"""


class Background:
    """Base of what has threads of its own, all of them daemons: a driver that hangs holds no exit up.

    Whoever reads or writes what several threads share holds `_changed`, and never works meanwhile.
    The threads wait for it and look at `_stopping` when they wake.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def _begin(self, *works: Callable[[], None]) -> None:
        """Start a thread for each of these, if that has not been done; to be called with `_changed` held."""
        if not self._threads:
            name = f"deepvis-{type(self).__name__.lower()}"
            self._threads = [
                threading.Thread(target=work, name=f"{name}{work.__name__}", daemon=True) for work in works
            ]
            for thread in self._threads:
                thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop after the work in hand. Returns whether the threads have ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)
