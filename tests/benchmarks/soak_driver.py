"""Runs `deepvis live` as it is, and tells soak.py how it fares.

    python soak_driver.py FD GATE [arguments of deepvis …]

What the program writes goes into the folder of GATE, never into the repository. JSON lines are written to
the file descriptor FD; they add up to this:

    events    {"Key": 3, "click": 1, …}: how many of each kind the window has handed out
    commands  {name: [how often its key came, how often that changed the state]}
    state     what soak.py steers by
    size      [width, height] of the picture
    panes     {name: [left, top, width, height]}
    stale     what is shown and is not what the state asks for; None while input comes or the network loads
    error     of the network's last answer

A few times a second the longest turn of the loop since the last time is appended to turns.jsonl in that folder:
{seconds, cpu, starved, parts, events}; `cpu` is how long the thread itself worked, `starved` how long it could have
but had no core (on Linux), `parts` the seconds of what took longer than 10 ms.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from deepvis.core import runtime

runtime.tune()  # before anything imports torch

from deepvis.app import toolbox as toolbox_module
from deepvis.cli import main as command_line
from deepvis.core.layers import stands_for
from deepvis.display.window import Window
from deepvis.interface import commands, requests
from deepvis.interface.contents import Needs
from deepvis.render import Renderer

CALM = 0.3  # seconds without input after which what is shown is compared with what is asked for
TELL = 0.25  # seconds between two lines
SLOW = 0.1  # a turn that takes longer is told at once
PARTS = ("_react", "_press", "_listen", "_tick", "_show", "_want")
STEERING = ("typing", "naming", "frozen", "growing", "moments", "collecting", "source", "help", "zoom")


class Watch:
    def __init__(self, out, turns) -> None:
        self._out, self._turns = out, turns
        self._events: dict[str, int] = {}
        self._commands: dict[str, list[int]] = {}
        self._parts: dict[str, float] = {}
        self._came: list[str] = []
        self._longest: dict = {"seconds": 0.0}
        self._last_event = self._told_at = 0.0
        self._told: dict[str, object] = {}
        self._scene = None

    def watch(self) -> None:
        """Wrap what is to be watched. Nothing of it does anything else than before."""
        poll, compose, turn, press = Window.poll, Renderer.compose, toolbox_module.Toolbox.turn, commands.press

        def counted(window, milliseconds):
            start = time.perf_counter()
            events = poll(window, milliseconds)
            self._took("poll", time.perf_counter() - start)
            for event in events:
                kind = getattr(event, "kind", type(event).__name__)
                self._events[kind] = self._events.get(kind, 0) + 1
                self._came.append(str(getattr(event, "name", None) or kind))
                self._last_event = time.perf_counter()
            return events

        def watched_compose(renderer, scene):
            self._scene = scene
            return compose(renderer, scene)

        def watched_press(state, key, facts, bound):
            outcome = press(state, key, facts, bound)
            if state.typing is None and key in bound:
                count = self._commands.setdefault(bound[key], [0, 0])
                count[0] += 1
                changed = replace(outcome.state, hover=None) != replace(state, hover=None)
                count[1] += changed or bool(outcome.effects)
            return outcome

        def told(toolbox):
            self._parts, self._came = {}, []
            start, cpu, starved = time.perf_counter(), time.thread_time(), without_core()
            turn(toolbox)
            seconds = time.perf_counter() - start
            if seconds > self._longest["seconds"]:
                parts = {name: round(took, 3) for name, took in self._parts.items() if took > 0.01}
                self._longest = {
                    "seconds": round(seconds, 3),
                    "cpu": round(time.thread_time() - cpu, 3),
                    "starved": round(without_core() - starved, 3),
                    "parts": parts,
                    "events": self._came,
                }
            self.tell(toolbox)

        Window.poll, Renderer.compose, toolbox_module.Toolbox.turn, commands.press = (
            counted,
            watched_compose,
            told,
            watched_press,
        )
        for name in PARTS:
            setattr(toolbox_module.Toolbox, name, self._timed(name, getattr(toolbox_module.Toolbox, name)))

    def _timed(self, name, method):
        def timed(*args):
            start = time.perf_counter()
            try:
                return method(*args)
            finally:
                self._took(name, time.perf_counter() - start)

        return timed

    def _took(self, name: str, seconds: float) -> None:
        self._parts[name] = self._parts.get(name, 0.0) + seconds

    def tell(self, toolbox) -> None:
        """One line, if it is time for one."""
        now = time.perf_counter()
        if not self._came and self._longest["seconds"] < SLOW and now < self._told_at + TELL:
            return
        layout, state = toolbox.renderer.layout, toolbox.state
        facts = {
            "events": dict(self._events),
            "commands": {name: list(count) for name, count in self._commands.items()},
            "state": {name: getattr(state, name) for name in STEERING}
            | {
                "recipe_grids": len(state.recipe_grids),
                "recording": toolbox.effects.recording.is_on,
                "photo": state.photo is not None,
                "layer": state.layer,
                "unit": state.unit,
            },
            "size": [layout.width, layout.height],
            "panes": {name: list(box) for name, box in layout.panes.items()},
            "stale": stale(toolbox, self._scene) if now > self._last_event + CALM and toolbox.engine.network else None,
            "error": (toolbox.questions.result.error or "") if toolbox.questions.result else "",
        }
        self._out.write(json.dumps({k: v for k, v in facts.items() if self._told.get(k) != v}) + "\n")
        self._out.flush()
        if now > self._told_at + TELL or self._longest["seconds"] >= SLOW:
            self._turns.write(json.dumps(self._longest) + "\n")
            self._turns.flush()
            self._longest = {"seconds": 0.0}
        self._told, self._told_at = facts, now


def without_core() -> float:
    """Seconds that this thread has waited for a core so far; 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def stale(toolbox, scene) -> list[str]:
    """Names of what is not what the state asks for, or is drawn otherwise than it is."""
    state, layers, result = toolbox.state, toolbox._layers(), toolbox.questions.result
    asked = requests.request_for(state, toolbox.feed.frame, layers, toolbox.workers.input_weights.answer)
    of = (stands_for(layers, state.layer), state.unit)
    pictures, tops, growth = (
        toolbox.workers.unit_images.answer,
        toolbox.workers.findings_for(state).tops,
        requests.growth_wish(state, layers),
    )
    is_right = {
        "the network's answer": asked
        and result
        and replace(result.request, peaks=False) == replace(asked, peaks=False),
        "the engine": toolbox.engine.idle,
        "the input": not toolbox.feed.busy,
        "the synthesized images": toolbox.workers.unit_images.idle
        and (pictures is None or (pictures.layer, pictures.unit) == of),
        "the top images": toolbox.workers.top_images.idle and (tops is None or (tops.layer, tops.unit) == of),
        "the bundled index": toolbox.workers.top_images.opened.index is not None
        and Path(toolbox.workers.top_images.opened.index.root).is_dir(),
        "the overview": toolbox.workers.layer_images.idle,
        "the weights": toolbox.workers.input_weights.idle,
        "the statistics": state.shown.needs is not Needs.STATISTICS or scene.own_statistics is not None,
        "the moments": not state.moments or toolbox.workers.moments.idle,
        "the growing images": growth is None
        or (toolbox.workers.growth.answer is not None and scene.own_grown is not None),
        **{f"pane {name}": toolbox.renderer.is_drawn(name, scene) for name in toolbox.renderer.layout.panes},
    }
    return [name for name, holds in is_right.items() if not holds]


def main() -> int:
    out, gate = os.fdopen(int(sys.argv[1]), "w"), Path(sys.argv[2])
    faulthandler.register(signal.SIGUSR1)
    Watch(out, (gate.parent / "turns.jsonl").open("w")).watch()
    return command_line.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
