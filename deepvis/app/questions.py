"""What the engine is asked, and when: a wish of the user at once, a mere new frame when there is room for it."""

from __future__ import annotations

import time
from dataclasses import replace

from deepvis.attribution.requests import Request, Result
from deepvis.workers.engine import Engine

COLLECT_EVERY = 0.1  # seconds between two live frames that are collected from, which costs a fifth of a pass more
BUSY_AFTER = 0.3  # seconds of silence after which the window says that it waits
ENOUGH = 2  # requests on their way or answered and not drawn, beyond which new frames wait


class Questions:
    """Hands requests to the engine and takes its answers.

    Attributes:
        result: the newest answer, perhaps to an older question.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked: Request | None = None
        self._collected_at = 0.0
        self._silent_since = 0.0
        self.result: Result | None = None

    def ask(self, request: Request | None) -> None:
        """Hand the state's question over, if it is another than before (None: there is none).

        A new wish of the user goes out at once. A mere new frame waits until that is answered, and while the engine
        has enough to do: results that come faster than they are drawn would cost the drawing its time.
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
        """Whether this frame is collected from: each photo, but of live frames a few a second, and never two in a row.
        A moment that is looked at again is no new one."""
        asked = self._asked
        if not request.frame.live and not request.frame.source:  # neither a camera nor a file
            return False
        if not request.frame.live or asked is None:
            return True
        if asked.frame is request.frame:
            return asked.peaks
        return not asked.peaks and time.monotonic() - self._collected_at >= COLLECT_EVERY

    def collect(self, patience: float) -> Result | None:
        """The answer that has come in, if one has; waits so many seconds for it."""
        result = self._engine.collect(patience)
        if result is not None:
            self.result, self._silent_since = result, time.monotonic()
        return result

    @property
    def is_slow(self) -> bool:
        """The network has been silent for longer than the eye takes for "at once"."""
        silent = time.monotonic() - self._silent_since > BUSY_AFTER
        return self._engine.network is not None and not self._engine.idle and silent
