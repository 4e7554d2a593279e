"""What the selected unit did lately: its largest activation in the live pictures of the last seconds."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.frames import Frame, Photo
from deepvis.interface.state import State
from deepvis.render.panes.unit import SECONDS
from deepvis.render.scene import Curve


@dataclass(frozen=True)
class _Strongest:
    """The strongest moment of one second: its frame is kept, those of the others are not."""

    second: int
    time: float
    value: float
    frame: Frame


class Lately:
    """Collects the selected unit's values from the results as they arrive, whole seconds at a time.

    Of each second one frame is kept, so that the strongest moment can be shown again after a stronger one has passed
    out of sight, and so that never more than SECONDS frames are kept.

    Attributes:
        curve: the values; None while there are none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: tuple[str, int, str] | None = None  # layer, unit, source of the values
        self._values: deque[tuple[float, float]] = deque()
        self._strongest: deque[_Strongest] = deque()
        self._last = -1  # the number of the newest frame
        self.curve: Curve | None = None

    def take(self, result: Result, layer: str, state: State) -> None:
        """Add a result's value, if it is of a new live frame; begin anew if it is of another unit or input.

        Args:
            layer: name of the selected layer.
        """
        request = result.request
        if result.activations is None or request.layer != layer or request.held or state.photo is not None:
            return
        of = layer, state.unit, request.frame.source if request.frame.live else ""
        if of != self._of or not request.frame.live:
            self._forget()
            self._of = of
        value = float(result.activations[state.unit].max())
        if request.frame.live and request.frame.index != self._last and math.isfinite(value):
            self._last = request.frame.index
            self._add(value, request.frame)
            self.curve = self._drawn(layer, state.unit)

    def _forget(self) -> None:
        self._values.clear()
        self._strongest.clear()
        self._last, self.curve = -1, None

    def _add(self, value: float, frame: Frame) -> None:
        now = self._clock()
        moment = _Strongest(int(now), now, value, frame)
        self._values.append((now, value))
        if not self._strongest or self._strongest[-1].second != moment.second:
            self._strongest.append(moment)
        elif value > self._strongest[-1].value:
            self._strongest[-1] = moment
        first = moment.second - SECONDS + 1
        while self._strongest[0].second < first:
            self._strongest.popleft()
        while self._values[0][0] < first:
            self._values.popleft()

    def _drawn(self, layer: str, unit: int) -> Curve:
        found = np.array(self._values, np.float64)
        best = max(self._strongest, key=lambda moment: moment.value)
        frame, newest = best.frame, found[-1, 0]
        name = f"{frame.name}, frame {frame.index}"  # frames of one camera have the same name
        photo = Photo("", name, frame.image) if frame.bands is None else None
        seconds = (found[:, 0] - newest).astype(np.float32)
        return Curve(layer, unit, seconds, found[:, 1].astype(np.float32), best.time - newest, best.value, photo)
