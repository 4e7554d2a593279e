"""Sending requests to the engine: a user's new request at once, the same request for a new frame if there is time."""

from __future__ import annotations

import time
from dataclasses import replace

from deepvis.attribution.requests import Request, Result
from deepvis.workers.engine import Engine

COLLECT_EVERY = 0.1  # seconds between two live frames to collect moments from; this makes a pass a fifth longer
BUSY_AFTER = 0.3  # seconds without a result after which the window shows that it waits
ENOUGH = 2  # new frames wait while more than this many requests are unanswered or results not drawn


class Questions:
    """Sends requests to the engine and takes its results.

    Attributes:
        result: the newest result; it may answer an older request.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked: Request | None = None
        self._collected_at = 0.0
        self._silent_since = 0.0
        self.result: Result | None = None

    def ask(self, request: Request | None) -> None:
        """Send the state's request (None if there is none) if it is a new one.

        If the user asks for something else, the request is sent at once. If only the frame is new, it is sent after
        the request before has been answered, and only while the engine has little to do: results that come faster
        than they are drawn would take time from the drawing.
        """
        if request is not None and request.peaks and not self._collects(request):
            request = replace(request, peaks=False)
        if request is None or request == self._asked or self._waits(request):
            return
        if self._engine.idle:
            self._silent_since = time.monotonic()
        self._engine.want(request)
        self._asked = request
        if request.peaks:
            self._collected_at = time.monotonic()

    def _waits(self, request: Request) -> bool:
        if self._asked is None or not request.only_newer(self._asked):
            return False
        is_answered = self.result is not None and self._asked.only_newer(self.result.request)
        return self._engine.backlog > ENOUGH or not is_answered and not self._engine.idle

    def _collects(self, request: Request) -> bool:
        """Whether moments are collected from this frame: from every photo, but only from a few live frames a second and
        never from two in a row. A moment that is shown again does not count."""
        asked = self._asked
        if not request.frame.live and not request.frame.source:  # neither a camera nor a file
            return False
        if not request.frame.live or asked is None:
            return True
        if asked.frame is request.frame:
            return asked.peaks
        return not asked.peaks and time.monotonic() - self._collected_at >= COLLECT_EVERY

    def collect(self, patience: float) -> Result | None:
        """Take a new result, None if there is none; wait for it up to `patience` seconds."""
        result = self._engine.collect(patience)
        if result is not None:
            self.result, self._silent_since = result, time.monotonic()
        return result

    @property
    def is_slow(self) -> bool:
        """Whether the network has been computing for longer than BUSY_AFTER."""
        silent = time.monotonic() - self._silent_since > BUSY_AFTER
        return self._engine.network is not None and not self._engine.idle and silent
