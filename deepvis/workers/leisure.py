"""How work that nobody has asked for keeps out of the way of the live view."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SHARE = 0.08  # of a core, which a thread takes while the picture is live: the live view keeps more than 90 %
LEAST = 0.004  # seconds of work after which a thread rests
LONGEST = 1.0  # seconds of a rest
GAP = 0.05  # seconds to wait for a moment between two passes, while the picture is live
SLICE = 0.01  # seconds between two looks whether a rest is over


class Leisure:
    """Says when such work may go on.

    While the picture is live (a camera, a video) the work takes a small share of a core, and goes on between two passes
    of the network where there is time between them. While the picture stands still it takes what is free, and pauses
    only while the network answers a key.

    Attributes:
        is_live: set by the loop: new pictures come by themselves.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        """
        Args:
            is_busy: whether the network computes for the live view.
        """
        self._is_busy = is_busy
        self._own = threading.local()  # how much of its core's time each thread had used after its last rest
        self.is_live = False

    def rest(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Wait for as long as the thread that calls owes the live view; to be called every few milliseconds of work.

        Args:
            is_over: ends the waiting when it returns true.
        """
        used = time.thread_time() - getattr(self._own, "since", 0.0)
        if used < LEAST:
            return
        start = time.monotonic()
        rested = start + (min(LONGEST, used / SHARE - used) if self.is_live else 0.0)
        latest = rested + (GAP if self.is_live else LONGEST)
        while not is_over():
            now = time.monotonic()
            if now >= latest or now >= rested and not self._is_busy():
                break
            time.sleep(min(SLICE, max(0.001, rested - now)))
        self._own.since = time.thread_time()
