"""Runs `deepvis live` as it is, and tells the tests what goes on in it.

    python driver.py FD GATE [arguments of deepvis …]

Whenever something has changed, one JSON line with what is new is written to the file descriptor FD.
The lines add up to this:

    events   {"Key": 3, "click": 1, …}: how many of each kind the window has handed out
    state    the State
    layers   [{name, units, height, width, labels}, …], empty while the network loads
    size     [width, height] of the picture
    panes    {name: [left, top, width, height]}
    mosaic   [left, top, width, height] of the layer pane below its title
    chips    {pane: [{words, call, on, box}, …]}: the tabs and chips in the lines at the panes' edges
    words    {pane: [text, …]}: what is written in each pane, as it was drawn
    crc      {pane: CRC-32 of its pixels (RGB)} of the newest picture given to the window
    drawn    {pane: {layer, method, origin, frame}}: the network's answer that the pane shows
    frame    name of the input's newest picture
    network_rate
    settled  nothing more will change by itself, except for the rates in the status bar

GATE is a file: the network is not loaded before it exists, so that a test can look at the time before.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from deepvis.core import runtime

runtime.tune()  # before anything imports torch

from deepvis.app import toolbox
from deepvis.cli import live
from deepvis.cli import main as command_line
from deepvis.display.window import Window
from deepvis.interface import requests
from deepvis.render import Renderer, text
from deepvis.render.panes import PANES


class Teller:
    """Watches the program and writes the lines."""

    def __init__(self, out) -> None:
        self._out = out
        self._told: dict[str, object] = {}
        self._events: dict[str, int] = {}
        self._words: dict[str, list[str]] = {}
        self._drawing: list[str] | None = None
        self._crc: dict[str, int] = {}
        self._scene = None
        self._shown = False

    def watch(self) -> None:
        """Wrap what is to be watched. Nothing of it does anything else than before."""
        poll, show, compose, turn, put = Window.poll, Window.show, Renderer.compose, toolbox.Toolbox.turn, text.put

        def counted(window, milliseconds):
            events = poll(window, milliseconds)
            for event in events:
                kind = getattr(event, "kind", type(event).__name__)
                if getattr(event, "name", kind) is None:
                    kind = "nameless key"  # Shift by itself, on the way to a colon
                self._events[kind] = self._events.get(kind, 0) + 1
            return events

        def watched_show(window, image):
            self._shown = True
            return show(window, image)

        def watched_compose(renderer, scene):
            self._scene = scene
            return compose(renderer, scene)

        def watched_put(image, words, *args, **kwargs):
            if self._drawing is not None and words and threading.current_thread() is threading.main_thread():
                self._drawing.append(words)
            return put(image, words, *args, **kwargs)

        def told(toolbox):
            self._shown = False
            turn(toolbox)
            self.tell(toolbox)

        Window.poll, Window.show, Renderer.compose, toolbox.Toolbox.turn, text.put = (
            counted, watched_show, watched_compose, told, watched_put,
        )  # fmt: skip
        for name, pane in PANES.items():
            PANES[name] = replace(
                pane, draw=self._listened(name, pane.draw), loading=self._listened(name, pane.loading)
            )

    def _listened(self, name, draw):
        def listened(canvas, scene):
            if threading.current_thread() is not threading.main_thread():  # a snapshot being made
                return draw(canvas, scene)
            self._drawing = []
            draw(canvas, scene)
            self._words[name], self._drawing = self._drawing, None

        return listened

    def tell(self, toolbox) -> None:
        """One line, if there is news."""
        scene, renderer = self._scene, toolbox.renderer
        layout = renderer.layout
        if self._shown:
            image, _ = renderer.compose(scene)  # what was just shown: nothing has changed since
            self._crc = {name: crc(image, box) for name, box in layout.panes.items()}
        now = {
            "events": dict(self._events),
            "state": plain(asdict(toolbox.state)),
            "layers": [asdict(layer) for layer in toolbox._layers()],
            "size": [layout.width, layout.height],
            "panes": {name: list(box) for name, box in layout.panes.items()},
            "mosaic": mosaic(renderer),
            "chips": chips_of(renderer, scene),
            "words": dict(self._words),
            "crc": self._crc,
            "drawn": {name: answer(renderer._drawn[name]) for name in renderer._drawn},
            "frame": scene.frame.name if scene.frame else "",
            "network_rate": scene.status.network_rate,
            "settled": self._settled(toolbox),
        }
        news = {key: value for key, value in now.items() if self._told.get(key) != value}
        if news:
            self._told |= news
            self._out.write(json.dumps(news) + "\n")
            self._out.flush()

    def _settled(self, toolbox) -> bool:
        result = toolbox.questions.result
        asked = requests.request_for(
            toolbox.state, toolbox.feed.frame, toolbox._layers(), toolbox.workers.input_weights.answer
        )
        answered = asked is not None and result is not None and result.request == asked
        return (
            answered
            and not self._shown
            and toolbox.engine.idle
            and not toolbox.feed.busy
            and toolbox.workers.unit_images.idle
            and toolbox.workers.top_images.idle
            and toolbox.workers.layer_images.idle
            and toolbox.workers.input_weights.idle
        )


def plain(value):
    """The value with lists in place of arrays: numbers of a row, of a picture only its shape."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(one) for one in value)
    if isinstance(value, np.ndarray):
        return value.tolist() if value.ndim == 1 else list(value.shape)
    return value


def mosaic(renderer) -> list[int]:
    return list(renderer.layer_box)


def chips_of(renderer, scene) -> dict[str, list[dict[str, object]]]:
    """The tabs and chips in the lines at the panes' edges."""
    return {
        pane: [{"words": chip.words, "call": chip.call, "on": chip.on, "box": list(box)} for chip, box in boxes]
        for pane, boxes in renderer.chip_boxes(scene).items()
    }


def crc(image, box) -> int:
    left, top, width, height = box
    return zlib.crc32(image[top : top + height, left : left + width, ::-1].tobytes())


def answer(scene) -> dict[str, object]:
    """The request that the drawn result answers."""
    result = getattr(scene, "result", None)  # there is none while the network loads
    if result is None:
        return {}
    request = result.request
    return {"layer": request.layer, "method": request.method, "origin": request.origin, "frame": request.frame.name}


def main() -> int:
    out, gate = os.fdopen(int(sys.argv[1]), "w"), Path(sys.argv[2])
    load = live.network_of

    def gated(*what):
        while not gate.exists():
            time.sleep(0.01)
        return load(*what)

    live.network_of = gated
    Teller(out).watch()
    return command_line.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
