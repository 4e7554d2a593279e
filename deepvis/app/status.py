"""The contents of the status bar: the last message for some seconds, and the rates, which change twice a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepvis.render import Status

if TYPE_CHECKING:
    from deepvis.networks.network import Network

MESSAGE_SECONDS = 8.0  # and twice as long for an error
RATE_SECONDS = 0.5  # how often the rates change
WINDOW = 2.0  # seconds over which they are counted


@dataclass(frozen=True)
class Message:
    """A message, and the time until which it is shown (`time.monotonic`)."""

    text: str = ""
    is_error: bool = False
    until: float = float("inf")


class StatusBar:
    """Keeps the message and the rates.

    Attributes:
        message: the message that is shown; its text is empty if there is none.
    """

    def __init__(self, model: str, options: str = "") -> None:
        self._model, self._options = model, options
        self.message = Message()
        self._shown: deque[float] = deque(maxlen=400)  # when pictures were shown
        self._rates: tuple[float | None, float | None] = (None, None)
        self.next_rates = 0.0
        self._timings = ""
        self._moments = 0

    def say(self, text: str, is_error: bool = False) -> None:
        """Show a message for MESSAGE_SECONDS, or twice as long if it is an error."""
        self.message = Message(text, is_error, time.monotonic() + MESSAGE_SECONDS * (2 if is_error else 1))

    def clear(self) -> None:
        """Remove the message."""
        self.message = Message()

    def count_picture(self) -> None:
        """Count a picture that has been shown, for the screen's rate."""
        self._shown.append(time.monotonic())

    def drop_old_message(self) -> None:
        """Remove the message if its time is over."""
        if time.monotonic() > self.message.until:
            self.clear()

    def are_rates_due(self) -> bool:
        """Whether it is time to call `set_rates`."""
        return time.monotonic() >= self.next_rates

    def set_rates(self, network_rate: float | None, seconds: Mapping[str, float], moments: int) -> None:
        """
        Args:
            network_rate: passes per second; None while the network loads.
            seconds: {step: how long it took last}.
            moments: number of collected moments.
        """
        now = time.monotonic()
        self.next_rates = now + RATE_SECONDS
        screen = sum(t > now - WINDOW for t in self._shown) / WINDOW
        self._rates = (network_rate, screen if network_rate is not None else None)
        self._timings = "ms:  " + "  ".join(f"{name} {took * 1000:.1f}" for name, took in seconds.items())
        self._moments = moments

    def status(self, network: Network | None, *, debug: bool, recording: bool, moments: bool) -> Status:
        """The status for the scene.

        Args:
            debug: include the timings.
            recording: the window is being recorded.
            moments: include the number of collected moments.
        """
        message = self.message
        if not network and not message.text:
            message = Message(f"loading {self._model} …")
        return Status(
            model=self._model,
            options=self._options,
            device=str(network.device) if network else "",
            network_rate=self._rates[0],
            screen_rate=self._rates[1],
            message=message.text,
            is_error=message.is_error,
            timings=self._timings if debug else "",
            recording=recording,
            moments=self._moments if moments else None,
        )
