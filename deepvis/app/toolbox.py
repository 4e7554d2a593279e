"""The live toolbox: one loop that carries events to the state, the state to the engine, and the
newest result to the window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from deepvis.attribution.requests import Request, Result
from deepvis.core import interrupt, paths
from deepvis.core.errors import UserError
from deepvis.core.layers import stands_for, unit_id
from deepvis.core.receptive_field import ReceptiveField
from deepvis.core.runtime import giving_back
from deepvis.display.recorder import Recorder, save_snapshot
from deepvis.display.window import Close, Event, Key, Mouse, Resize, Window
from deepvis.inputs.bands import Reading
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.interface import commands
from deepvis.interface.commands import Facts
from deepvis.interface.layout import Layout, lay_out
from deepvis.interface.requests import (
    growth_wish,
    layer_images_wish,
    moments_wish,
    request_for,
    top_images_wish,
    unit_images_wish,
)
from deepvis.interface.settings import Settings
from deepvis.interface.state import PRESET_CYCLE, State
from deepvis.render import Renderer, Scene, Status
from deepvis.scan.index import index_folder
from deepvis.scan.moments import live_folder
from deepvis.store.original_folders import open_pictures
from deepvis.store.own_images import own_folder
from deepvis.store.unit_images import open_store
from deepvis.synthesis import recipe
from deepvis.workers.engine import Engine
from deepvis.workers.layer_images import LayerImagesWorker
from deepvis.workers.messages import TopPictures
from deepvis.workers.moments import MomentsWorker
from deepvis.workers.saving import Saving
from deepvis.workers.synthesizer import GrowthWorker, keep_grown
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.unit_images import UnitImagesWorker
from deepvis.workers.worker import MUCH_MEMORY, WishOf

COLLECT_EVERY = 0.1  # seconds between two live frames that are collected from, which costs a fifth of a pass more
BUSY_AFTER = 0.3  # seconds of silence after which the window says that it waits
ENOUGH = 2  # requests on their way or answered and not drawn, beyond which new frames wait
GLANCE = 0.004  # seconds to wait for a result before the window is looked after again
MESSAGE_SECONDS = 8.0
LEAVING = 0.5  # seconds that the end waits for threads which have nothing to save
SAVING = 60.0  # and for one that may be writing collected moments
RATE_SECONDS = 0.5  # how often the rates in the status bar change


@dataclass
class _Message:
    text: str = ""
    is_error: bool = False
    until: float = float("inf")


class Toolbox:
    """The running program. Everything but the network and the input happens in the main thread."""

    def __init__(self, settings: Settings, engine: Engine, feed: Feed, window: Window, start: State) -> None:
        self.settings, self.engine, self.feed, self.window = settings, engine, feed, window
        self.state = start
        self._scale = window.scale
        self.renderer = Renderer(self._layout(*window.size))
        self._bound = commands.bindings(settings.keys)
        self._help = commands.help_rows(self._bound)
        self._mouse: tuple[int, int] | None = None  # where it was last seen, in pixels of the picture
        self._moved = False
        self._asked: Request | None = None
        self._collected_at = 0.0
        self._silent_since = 0.0
        self._message = _Message()
        self._notice = 0
        self._note = ""
        self._result: Result | None = None
        self._shown: deque[float] = deque(maxlen=400)
        self._rates: tuple[float | None, float | None] = (None, None)
        self._next_rates = 0.0
        self._timings = ""
        self._moments = 0
        self._recorder: Recorder | None = None
        self._saving = Saving()
        self._unit_images = UnitImagesWorker(self._open_store)
        self._growth = GrowthWorker()
        self._recipes = self._read_recipes()
        self._top_images = TopImagesWorker(
            lambda network: index_folder(paths.PRECOMPUTED, network.name), settings.model
        )
        self._layer_images = LayerImagesWorker()
        self._moments_worker = MomentsWorker()

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Live until the user quits or closes the window.

        Raises:
            UserError: the network cannot be loaded.
        """
        try:
            while not self.state.quit:
                self.turn()
        finally:
            self._finish()

    def turn(self) -> None:
        """One turn: events, wishes, the newest result, the picture."""
        events = self.window.poll(self._patience())
        for event in events:
            self._react(event)
        reading = self.engine.network.input.reading if self.engine.network else Reading()
        self.feed.want(FeedWish(self.state.source, self.state.frozen, self.state.step, self.state.photo, reading))
        if self.engine.error and self.engine.network is None:
            raise UserError(self.engine.error)
        if self.engine.network:
            self.feed.show_bands(self.engine.network.input.places)
        self._listen(0 if events else GLANCE)  # the user does not wait for the network
        self._ask()
        self._tick()
        self._show(self._pointed(self._scene()))
        self._ask_for_pictures()  # last: photos that are decoded meanwhile would take the drawing's time, and the key has to be seen first

    def _patience(self) -> int:
        """How long to wait for events, in milliseconds: briefly while something is on its way."""
        live = self.feed.frame is not None and self.feed.frame.live and not self.state.frozen
        return 1 if live or not self.engine.idle or self.engine.network is None else 8

    def _react(self, event: Event) -> None:
        old, facts = self.state, self._facts()
        match event:
            case Key(name) if name is not None:
                self._message = _Message()
                self.state = commands.press(old, name, facts, self._bound)
            case Mouse("move", x, y):
                self._mouse, self._moved = (x, y), True
            case Mouse("click", x, y):
                self.state = commands.click(old, self.renderer.target_at(x, y, self._scene()), facts)
            case Mouse("wheel", x, y, steps):
                place = self.renderer.fraction_in_layer(x, y)
                if place and steps:
                    self.state = commands.wheel(old, steps, *place)
            case Resize(width, height):
                self.renderer.layout = self._layout(width, height)
            case Close():
                self.state = replace(old, quit=True)
        self._do_effects(old, self.state)

    def _pointed(self, scene: Scene) -> Scene:
        """The scene with what the mouse points at, found anew: keys, the wheel, sizes and answers change what is under it."""
        if self._mouse is None:
            return scene
        hover = self.renderer.target_at(*self._mouse, scene)
        if hover == scene.state.hover:
            return scene
        self.state = commands.point(self.state, hover)
        if (
            self._moved and hover is not None and not self._message.is_error
        ):  # who points at something wants to know of that
            self._message = _Message()
        self._moved = False
        return replace(scene, state=self.state)

    def _ask(self) -> None:
        """Hand the state's question to the engine.

        A new wish of the user goes out at once. A mere new frame waits until that is answered, and while the engine
        has enough to do: results that come faster than they are drawn would cost the drawing its time.
        """
        request = request_for(self.state, self.feed.frame, self._layers())
        if request is not None and request.peaks and not self._collects(request):
            request = replace(request, peaks=False)
        if request is None or request == self._asked:
            return
        if self._asked is not None and request.only_newer(self._asked):
            is_answered = self._result is not None and self._asked.only_newer(self._result.request)
            if self.engine.backlog > ENOUGH or not is_answered and not self.engine.idle:
                return
        if self.engine.idle:
            self._silent_since = time.monotonic()
        self.engine.want(request)
        self._asked = request
        if request.peaks:
            self._collected_at = time.monotonic()

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

    def _ask_for_pictures(self) -> None:
        """Say which stored pictures are shown, and which are to be made now."""
        layers = self._layers()
        if not layers:
            return
        state = self.state
        has_pictures = state.content in ("synthesized", "top images")
        cells, side = self.renderer.cells(self._scene()) if has_pictures else (range(0), 0)
        self._unit_images.want(unit_images_wish(state, layers, cells, side))
        growth = growth_wish(state, layers)
        self._growth.want(WishOf(self.engine.network, growth) if growth else None)
        top = top_images_wish(state, layers, self.engine.network.telling_backward, self._moments_worker.top)
        self._top_images.want(WishOf(self.engine.network, top))
        self._layer_images.want(WishOf(self._top_images.opened, layer_images_wish(state, layers, cells, side)))
        if state.moments:
            self._moments_worker.want(moments_wish(state, layers, cells, side, self._field()))

    def _field(self) -> ReceptiveField | None:
        """The receptive field of the selected layer's units, as soon as it is known; None for vectors."""
        scene = self._scene()
        return scene.result.receptive_field if scene.shows_layer and scene.layer.is_map else None

    def _open_store(self):
        network = self.engine.network
        return open_pictures(network.name, network.fingerprint, network.paths)

    def _listen(self, patience: float) -> None:
        """Take up what the engine and the feed have to say; wait so many seconds for a result."""
        result = self.engine.collect(patience)
        if result is not None:
            self._result, self._silent_since = result, time.monotonic()
            if result.peaks is not None and self.state.collecting:
                size = self.engine.network.input
                self._moments_worker.take(result, self._layers(), (size.width, size.height))
            if result.error:
                self._say(f"network: {result.error}", is_error=True)
        if self.engine.note != self._note:
            self._note = self.engine.note
            self._say(self._note)
        notice = self.feed.notice
        if notice is not None and notice.number != self._notice:
            self._notice = notice.number
            self._say(notice.text, notice.is_error)
            if notice.is_error and self.feed.source != "photo":
                self.state = replace(self.state, photo=None)  # could not be read
            if notice.is_error and self.state.source == "camera" and self.feed.source == "files":
                self.state = replace(self.state, source="files", frozen=False)  # the camera was given up
        while self._saving.said:
            self._say(*self._saving.said.popleft())
        if self._recorder and self._recorder.error:
            self._say(self._recorder.error, is_error=True)
            self.state = replace(self.state, recording=False)
            self._stop_recording()

    def _tick(self) -> None:
        now = time.monotonic()
        if now > self._message.until:
            self._message = _Message()
        if now >= self._next_rates:
            self._next_rates = now + RATE_SECONDS
            window = 2.0
            screen = sum(t > now - window for t in self._shown) / window
            network = self.engine.rate(window)
            self._rates = (network, screen) if self.engine.network else (None, None)
            self._timings = self._timing_words()
            self._moments = self._moments_worker.count

    def _show(self, scene: Scene) -> None:
        image, changed = self.renderer.compose(scene)
        if changed:
            self.window.show(image)
            self._shown.append(time.monotonic())
            if self._recorder:
                self._recorder.offer(image)

    def _finish(self) -> None:
        with ExitStack() as last:  # each of these happens even if another fails; in reverse order
            last.callback(self._stop_working)
            last.callback(self._moments_worker.close, SAVING)
            last.callback(self.window.close)
            last.callback(self._saving.join)
            last.callback(self._stop_recording)

    def _stop_working(self) -> None:
        """Tell all that have nothing to save to stop, and wait for them together, but for no more than a moment, since
        a pass or a camera that opens may take seconds; and not at all while the network loads, which always does."""
        workers = (self.engine, self.feed, self._unit_images, self._growth, self._top_images, self._layer_images)
        closing = [threading.Thread(target=worker.close, name="deepvis-close", daemon=True) for worker in workers]
        until = time.monotonic() + (LEAVING if self.engine.network else 0)
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()))

    def is_over(self) -> bool:
        """After `run`: no thread is in a pass of the network any more."""
        return all(one.close(0) for one in (self._growth, self._top_images))

    # -- what the loop is made of ---------------------------------------------------------------

    def _layers(self):
        return self.engine.network.layers if self.engine.network else ()

    def _facts(self) -> Facts:
        return Facts(self._layers(), self.renderer.layer_area, self.renderer.layout.scale, self._recipes)

    def _layout(self, width: int, height: int) -> Layout:
        return lay_out(self.settings.panes, width, height, self._scale)

    def _busy(self) -> bool:
        silent = time.monotonic() - self._silent_since > BUSY_AFTER
        return self.feed.busy or (self.engine.network is not None and not self.engine.idle and silent)

    def _scene(self) -> Scene:
        network = self.engine.network
        waiting = "" if network else f"loading {self.settings.model} …"
        if network and self.feed.frame is None:
            waiting = self._message.text or "waiting for the first picture …"
        return Scene(
            self.state, self._layers(), network.classes if network else (), self.feed.frame,
            self._result, self._busy(), waiting, self._help, self._status(),
            (network.input.height, network.input.width) if network else (224, 224),
            self._unit_images.answer, self._growth.answer,
            stands_for(network.layers, self.state.layer) if network else "",
            self._top_pictures(),
            self._moments_worker.cells if self.state.moments else self._layer_images.cells, self._layer_images.statistics,
        )  # fmt: skip

    def _top_pictures(self) -> TopPictures | None:
        """The selected unit's top images, or moments, with what flows back to them as soon as it is there."""
        pictures, state = self._top_images.answer, self.state
        is_moments = pictures is not None and bool(pictures.seen)
        if not state.moments:
            return None if is_moments else pictures
        moments = self._moments_worker.top
        same = (
            is_moments
            and not state.collecting
            and moments
            and (moments.layer, moments.unit) == (pictures.layer, pictures.unit)
        )
        return pictures if same else moments

    def _status(self) -> Status:
        network = self.engine.network
        message = self._message
        if not network and not message.text:
            message = _Message(f"loading {self.settings.model} …")
        return Status(
            model=self.settings.model,
            device=str(network.device) if network else "",
            network_rate=self._rates[0], screen_rate=self._rates[1],
            message=message.text, is_error=message.is_error,
            timings=self._timings if self.state.debug else "",
            recording=self._recorder is not None,
            moments=self._moments if self.state.moments else None,
        )  # fmt: skip

    def _timing_words(self) -> str:
        parts = dict((self._result.seconds or {}) if self._result else {})
        parts |= {f"draw {name}": seconds for name, seconds in self.renderer.seconds.items()}
        return "ms:  " + "  ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in parts.items())

    def _say(self, text: str, is_error: bool = False) -> None:
        self._message = _Message(text, is_error, time.monotonic() + MESSAGE_SECONDS * (2 if is_error else 1))

    # -- effects ------------------------------------------------------------------------------

    def _do_effects(self, old: State, new: State) -> None:
        if new.snapshots > old.snapshots:
            self._snapshot()
        if new.kept > old.kept:
            if new.recipe_name:
                self._save_recipe()
            else:
                (self._keep if new.growing else self._keep_moments)()
        if old.moments and not new.moments:
            self._moments_worker.forget()
        if new.recording and not old.recording:
            self._start_recording()
        elif old.recording and not new.recording:
            self._stop_recording()

    def _keep(self) -> None:
        """Put the images that are growing into one's own store."""
        grown, network = self._growth.answer, self.engine.network
        if grown is None or not grown.images:
            self._say("nothing to keep yet")
            return
        if self._saving.is_busy("keep"):
            self._say("those before are still being kept")
            return

        def keep() -> str:
            store = open_store(own_folder(paths.PRECOMPUTED, network.name), network.fingerprint, network.name)
            done = keep_grown(grown, store, network)
            self._unit_images.renew()
            return done

        self._saving.start("keep", keep)

    def _read_recipes(self) -> dict[str, recipe.Recipe]:
        """The presets and the saved recipes; of one that cannot be read the status bar says why."""
        found, files = {name: recipe.PRESETS[name] for name in PRESET_CYCLE}, {}
        try:
            files = recipe.saved()
        except UserError as error:
            self._say(str(error), is_error=True)
        for name, path in files.items():
            try:
                found.setdefault(name, recipe.PRESETS.get(name) or recipe.named(str(path)))
            except UserError as error:
                self._say(str(error), is_error=True)
        return found

    def _save_recipe(self) -> None:
        """Save the desk's chosen settings under the name that was given."""
        name, chosen = self.state.recipe_name, self.state.desk[-1]
        path = paths.RECIPES / f"{name}.yaml"
        unit = unit_id(stands_for(self._layers(), self.state.layer), self.state.unit)
        try:
            recipe.save(path, chosen.recipe, model=self.settings.model, unit=unit, seed=chosen.seed)
        except UserError as error:
            self._say(str(error), is_error=True)
            return
        self._recipes = {**self._recipes, name: chosen.recipe}
        self.state = replace(self.state, preset=name)
        seed = f" --seed {chosen.seed}" if chosen.seed else ""
        self._say(f"saved {path}; deepvis synthesize --units {unit} --preset {name}{seed} uses it, so does the key x")

    def _keep_moments(self) -> None:
        """Put the moments that were collected into a folder of their own."""
        network = self.engine.network
        if network is None:
            return
        folder = live_folder(paths.PRECOMPUTED, network.name) / self._stamp()
        self._moments_worker.save(
            folder, network.name, network.fingerprint, lambda *said: self._saving.said.append(said)
        )

    def _stamp(self) -> str:
        return f"deepvis-{datetime.now():%Y%m%d-%H%M%S}"

    def _snapshot(self) -> None:
        """Encoding so many large pictures takes a second, and they take memory until then: one at a time."""
        if self._saving.is_busy("snapshot"):
            self._say("the snapshot before is still being saved")
            return
        scene, window = self._scene(), self._picture()

        def save() -> str:
            with MUCH_MEMORY:
                path = save_snapshot(
                    Path(self.settings.output), self._stamp(), {"window": window, **self.renderer.pane_pictures(scene)}
                )
            return f"saved {path} and a picture of each pane"

        self._saving.start("snapshot", save)

    def _picture(self) -> np.ndarray:
        return self.renderer.compose(self._scene())[0].copy()

    def _start_recording(self) -> None:
        path = Path(self.settings.output, f"{self._stamp()}.mp4")
        try:
            self._recorder = Recorder(path, (self.renderer.layout.width, self.renderer.layout.height))
        except UserError as error:
            self._say(str(error), is_error=True)
            self.state = replace(self.state, recording=False)
            return
        self._recorder.offer(self._picture())
        self._say(f"recording {path}: the same key stops it")

    def _stop_recording(self) -> None:
        """The encoder may be seconds behind."""
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None

        def finish() -> str:
            summary = recorder.close()
            if recorder.error:
                raise UserError(recorder.error)
            return f"saved {summary.path}: {summary.seconds:.1f} s"

        self._saving.start("recording", finish)


def live(settings: Settings, engine: Engine, feed: Feed, start: State, probe: Callable[[], None]) -> bool:
    """Open the window and run the toolbox in it, until the user closes it.

    Called from the main thread, Ctrl-C, SIGTERM and SIGHUP close it too.

    Args:
        engine, feed: not started yet.
        probe: raises UserError if no window can be opened.
    Returns:
        Whether the network's threads have ended. If not, a pass or the loading takes longer than anyone wants
        to wait, and Python's own way out would abort in the midst of torch's threads.
    Raises:
        UserError: no display, or the network cannot be loaded.
    """
    probe()
    scale = settings.window.scale
    window = Window("deepvis", settings.window.width, settings.window.height, None if scale == "auto" else scale)
    toolbox = Toolbox(settings, engine, feed, window, start)
    with giving_back(), interrupt.calling(lambda *_: setattr(toolbox, "state", replace(toolbox.state, quit=True))):
        engine.start()
        feed.start()
        toolbox.run()
    return engine.close(0) and toolbox.is_over()
