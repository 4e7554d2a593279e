"""A window, an input and an engine that are told what happens. No screen, no torch."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np

from deepvis.app.toolbox import Toolbox
from deepvis.attribution.requests import Peaks, Request, Result
from deepvis.core.frames import Files, Frame
from deepvis.core.layers import Layer
from deepvis.display.window import Close, Event, Key
from deepvis.inputs.bands import Reading
from deepvis.inputs.feed import FeedWish, Notice
from deepvis.interface.settings import Settings

LAYERS = (Layer("stem", "Conv2d", 6, 8, 8), Layer("head", "Linear", 10))
PHOTO = Frame(np.full((30, 40, 3), 90, np.uint8), "bear.jpg", 0, False, "photos/bear.jpg")


class FakeWindow:
    """Gives what the test puts into `events`, one list a turn; with none left it says Close."""

    scale = 1.0

    def __init__(self, log: list[str]) -> None:
        self.size = (400, 260)
        self.events: list[list[Event] | BaseException] = []
        self.pictures: list[np.ndarray] = []
        self.fills_screen = False
        self.log = log

    def fill_screen(self, on: bool) -> None:
        self.fills_screen = on

    def poll(self, milliseconds: int) -> list[Event]:
        events = self.events.pop(0) if self.events else [Close()]
        if isinstance(events, BaseException):
            raise events
        return events

    def show(self, image: np.ndarray) -> None:
        self.pictures.append(image.copy())

    def close(self) -> None:
        self.log.append("window")


class FakeFeed:
    def __init__(self, log: list[str]) -> None:
        self.frame: Frame | None = PHOTO
        self.source = "files"
        self.notice: Notice | None = None
        self.busy = False
        self.files = Files()
        self.wishes: list[FeedWish] = []
        self.log = log

    def start(self) -> None:
        self.log.append("feed starts")

    def want(self, wish: FeedWish) -> None:
        self.wishes.append(wish)

    def show_bands(self, shown: tuple[int, ...]) -> None:
        self.shown = shown

    def close(self) -> None:
        self.log.append("feed")


class FakeEngine:
    """Answers at once, unless `slow`."""

    def __init__(self, log: list[str]) -> None:
        self._closed = threading.Event()
        self.network = SimpleNamespace(
            name="fake",
            fingerprint="f",
            notes=(),
            layers=LAYERS,
            classes=(),
            device=SimpleNamespace(type="cpu"),
            input=SimpleNamespace(height=224, width=224, places=(0, 1, 2), reading=Reading()),
            telling_backward="deconv",
            replica=self._closed.wait,  # nothing is synthesized: no copy comes before the end
        )
        self.error = ""
        self.note = ""
        self.result: Result | None = None
        self.slow = False
        self.idle = True
        self.backlog = 0
        self.asked: list[Request] = []
        self.log = log

    def start(self) -> None:
        self.log.append("engine starts")

    def want(self, request: Request) -> None:
        self.asked.append(request)
        self.idle = not self.slow
        if not self.slow:
            layer = next(layer for layer in LAYERS if layer.name == request.layer)
            self.result = Result(
                request,
                np.ones((layer.units, layer.height, layer.width), np.float32),
                pixels=np.ones((8, 8, 3), np.float32) if request.method else None,
                peaks=Peaks(np.ones(16, np.float32), np.zeros(16, np.int32)) if request.peaks else None,
            )

    def collect(self, timeout: float = 0.0) -> Result | None:
        result, self.result = self.result, None
        return result

    def rate(self, window: float = 2.0) -> float:
        return 0.0

    def close(self, timeout: float = 5.0) -> bool:
        self._closed.set()
        if timeout:
            self.log.append("engine")
        return True


def quiet(**settings: object) -> Settings:
    """Settings with which nothing happens by itself, and the first unit is selected."""
    return Settings(unit="stem:0", scan="off", grow="off", **settings)


def press(box: Toolbox, *keys: str) -> None:
    """One turn for each key."""
    for key in keys:
        box.window.events = [[Key(key, 0)]]
        box.turn()


def idle(box: Toolbox, turns: int = 1) -> None:
    box.window.events = [[] for _ in range(turns)]
    for _ in range(turns):
        box.turn()
