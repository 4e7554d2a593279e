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
        held: the newest result of the held picture; None if none is held.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked: Request | None = None
        self._collected_at = 0.0
        self._silent_since = 0.0
        self._held: Request | None = None  # the request for the held picture that was sent and not answered yet
        self.result: Result | None = None
        self.held: Result | None = None

    def ask(self, request: Request | None, held: Request | None = None) -> None:
        """Send the state's request (None if there is none) if it is a new one.

        If the user asks for something else, the request is sent at once. If only the frame is new, it is sent after
        the request before has been answered, and only while the engine has little to do: results that come faster
        than they are drawn would take time from the drawing.

        Args:
            held: the request for the held picture, None if none is held. It is sent if it is a new one, after the
                user's new request has been answered, and no new frame takes its place before it has been answered.
        """
        if held is None:
            self.held = self._held = None
        if request is not None and request.peaks and not self._collects(request):
            request = replace(request, peaks=False)
        if request is None:
            return
        if held is not None and self._is_due(held, request):
            self._send(held)
            self._held = held
        elif request != self._asked and not self._waits(request):
            self._send(request)
            self._asked, self._held = request, None  # if it took the held picture's place, that is asked for again
            if request.peaks:
                self._collected_at = time.monotonic()
        elif (result := self.result) is not None and self._wants_more(result, request):
            self._send(replace(request, peaks=False, so_far=result))

    def _wants_more(self, result: Result, request: Request) -> bool:
        """Whether a method of many passes is to go on, because nothing else is asked."""
        is_of_it = replace(result.request, peaks=request.peaks) == request
        return result.progress is not None and is_of_it and self._engine.idle

    def _send(self, request: Request) -> None:
        if self._engine.idle:
            self._silent_since = time.monotonic()
        self._engine.want(request)

    def _waits(self, request: Request) -> bool:
        if self._asked is None or not request.only_newer(self._asked):
            return False
        is_answered = self.result is not None and self._asked.only_newer(self.result.request)
        return self._engine.backlog > ENOUGH or not (is_answered and self._held is None) and not self._engine.idle

    def _is_due(self, held: Request, request: Request) -> bool:
        """Whether it is time to ask for the held picture: the answer to the user's newest request is there."""
        asked, result = self._asked, self.result
        if asked is None or result is None or (self.held is not None and self.held.request == held):
            return False
        is_answered = asked == result.request or asked.only_newer(result.request)
        is_asked_again = request == asked or request.only_newer(asked)
        return is_answered and is_asked_again and (self._held != held or self._engine.idle)

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
        if result is None:
            return None
        self._silent_since = time.monotonic()
        if result.request.held:
            self.held, self.result, self._held = result, _with_field(self.result, result), None
        else:
            self.result, self.held = result, _with_field(self.held, result)
        return result

    @property
    def is_slow(self) -> bool:
        """Whether the network has been computing for longer than BUSY_AFTER."""
        silent = time.monotonic() - self._silent_since > BUSY_AFTER
        return self._engine.network is not None and not self._engine.idle and silent


def _with_field(known: Result | None, newer: Result) -> Result | None:
    """A result with the receptive field that has come with a newer one: it belongs to the layer, not to the picture."""
    if known is None or known.receptive_field is not None or newer.receptive_field is None:
        return known
    same = known.request.layer == newer.request.layer
    return replace(known, receptive_field=newer.receptive_field) if same else known
