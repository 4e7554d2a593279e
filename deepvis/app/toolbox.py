"""The live toolbox: a loop that turns events into a new state, sends the state's requests to the workers, and draws
the newest result in the window."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from deepvis.app.effects import Effects
from deepvis.app.lately import Lately
from deepvis.app.opening import Opening, what_runs_where
from deepvis.app.questions import Questions
from deepvis.app.scene import build_scene
from deepvis.app.sources import files_of
from deepvis.app.status import StatusBar
from deepvis.app.unit_workers import UnitWorkers
from deepvis.core import interrupt
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.core.runtime import giving_back
from deepvis.display.window import Close, Event, Key, Mouse, Resize, Window
from deepvis.inputs.bands import Reading
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.interface import commands, pointing
from deepvis.interface.asking import renewed
from deepvis.interface.command import Answers, Facts
from deepvis.interface.dreaming import draw_box, end_box
from deepvis.interface.effects import Outcome, Quit
from deepvis.interface.facet_commands import drag
from deepvis.interface.layout import Layout, fit
from deepvis.interface.requests import held_request, request_for
from deepvis.interface.saved_view import SavedView
from deepvis.interface.settings import Settings, naming_options
from deepvis.interface.state import FacetPhoto, Spot, State
from deepvis.render import LoadingScene, Renderer, Scene
from deepvis.workers.engine import Engine
from deepvis.workers.layer_images import OpenIndex

if TYPE_CHECKING:
    from deepvis.networks.network import Network

STEADY = 4  # pixels that the mouse must go with the button down to drag, and not to click
GLANCE = 0.004  # seconds to wait for a result in one turn of the loop
LEAVING = 0.5  # seconds to wait at the end for threads that have nothing to save …
SAVING = 60.0  # … and for the one that may be writing collected moments


class Toolbox:
    """The running program. Everything but the network and the input happens in the main thread.

    Attributes:
        state: what the user wants to see.
        questions: sends the requests to the engine.
        lately: what the selected unit did in the last seconds.
        workers: the threads that load or compute images and statistics of units.
        bar: messages and rates in the status bar.
        effects: carries out what keys do besides changing the state.
        opening: what is selected at first.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        feed: Feed,
        window: Window,
        start: State,
        view: SavedView | None = None,
    ) -> None:
        self.settings, self.engine, self.feed, self.window = settings, engine, feed, window
        self.state = start
        self._size = window.size
        self._laid_out = self._for_layout()
        self.renderer = Renderer(self._layout())
        self.bar = StatusBar(settings.model, naming_options(settings))
        self.questions = Questions(engine)
        self.lately = Lately()
        self.workers = UnitWorkers(
            lambda: engine.network,
            lambda: not engine.idle,
            lambda: engine.fields,
            settings.grow == "auto",
        )
        self.opening = Opening(settings, start)
        self.effects = Effects(settings, self.workers, self.bar, self.renderer, self._pane_pointed_at)
        self._bound = commands.bindings(settings.keys)
        self._help, self._keys = commands.help_rows(self._bound), commands.keys_of(self._bound)
        self._mouse: tuple[int, int] | None = None  # its last position, in pixels of the picture
        self._moved = False
        self._pressed: Spot | None = None  # where the left button went down, if a box can be drawn there
        self._before_click = start
        self._photo: tuple[FacetPhoto, int, int] | None = None  # a photo under the left button, and where
        self._notice = 0  # the number of the feed's last notice that was shown
        self._note = ""
        files = files_of(settings)
        self._folder = files if files.is_dir() else None
        self._introduction: str | None = None  # what runs where; None until that is known
        self._is_over = False
        self._view = view  # to be opened as soon as the network is there

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Run until the user quits or closes the window.

        Raises:
            UserError: the network cannot be loaded.
        """
        try:
            while not self._is_over:
                self.turn()
        finally:
            self.finish()

    def quit(self) -> None:
        """End the loop after the current turn; may be called by a signal handler."""
        self._is_over = True

    def turn(self) -> None:
        """One turn of the loop: events, requests, the newest result, the picture."""
        events = self.window.poll(self._patience())
        for event in events:
            self._react(event)
            self._fit()
        network = self.engine.network
        reading = network.input.reading if network else Reading()
        self.feed.want(FeedWish(self.state.source, self.state.frozen, self.state.step, self.state.photo, reading))
        if self.engine.error and network is None:
            raise UserError(self.engine.error)
        if network:
            self.feed.show_bands(network.input.places)
            if self._view is not None:
                self._open_view(self._view, network)
        self._listen(0 if events else GLANCE)  # the user does not wait for the network
        layers = self._layers()
        self._open(network)
        request = request_for(self.state, self.feed.frame, layers, self.workers.input_weights.answer)
        self.questions.ask(request, held_request(self.state, layers))
        self._tick()
        scene = self._pointed(self.scene())
        self._show(scene)
        # Last, so that decoding photos does not slow down the drawing that a key waits for.
        self._want(scene)

    def _open_view(self, view: SavedView, network: Network) -> None:
        """Select what the view that the user asked for selects, and nothing else."""
        self.state, self._view = view.selected(self.state, network.layers), None
        self.opening.is_over = self.opening.is_over or bool(view.unit)

    def _open(self, network: Network | None) -> None:
        """Select something at first, and then say once what runs where."""
        index = self.workers.top_images.opened
        self.state = self.opening.turn(self.state, network, self.questions.result, index)
        if self.opening.error:
            self.state = replace(self.state, message=self.opening.error, message_is_error=True)  # until the next key
            self.opening.error = ""
        if network is None or not self.opening.is_over or index == OpenIndex() or self._introduction == "":
            return
        if self._introduction is None:
            scans = self.settings.scan == "auto"
            self._introduction = what_runs_where(network, self.settings, self.state, index, scans)
        if not self.bar.message.text:  # else that is read first
            self.bar.say(self._introduction)
            self._introduction = ""

    @property
    def _is_live(self) -> bool:
        """Whether new pictures come by themselves."""
        return self.feed.frame is not None and self.feed.frame.live and not self.state.frozen

    def _patience(self) -> int:
        """How long to wait for events, in milliseconds: shorter while frames or results are expected."""
        return 1 if self._is_live or not self.engine.idle or self.engine.network is None else 8

    def _react(self, event: Event) -> None:
        match event:
            case Key(name) if name is not None:
                self.bar.clear()
                self._press(name)
            case Mouse("move", x, y):
                self._mouse, self._moved = (x, y), True
            case Mouse("drag", x, y):
                self._drag(x, y)
            case Mouse("click", x, y):
                spot = self.renderer.spot_in_layer(x, y, self.scene())
                self._pressed = spot if spot is not None and spot.is_inside else None
                target, self._before_click = self.renderer.target_at(x, y, self.scene()), self.state
                self._photo = (target, x, y) if isinstance(target, FacetPhoto) else None
                if self._photo is None:  # else where the map can be dragged: what it means is seen later
                    self._apply(pointing.click(self.state, target, self._facts()))
            case Mouse("release"):
                self.state = end_box(self.state)
                if self._photo is not None:
                    self._apply(pointing.click(self.state, self._photo[0], self._facts()))
                self._photo = None
            case Mouse("double", x, y):
                target, pane = self.renderer.target_at(x, y, self.scene()), self.renderer.layout.pane_at(x, y)
                before = self._before_click
                self._apply(pointing.double_click(self.state, target, pane, before, self._facts()))
            case Mouse("wheel", x, y, steps):
                self._turn_wheel(x, y, steps)
            case Resize(width, height):
                self._size = (width, height)
            case Close():
                self.quit()

    def _drag(self, x: int, y: int) -> None:
        """Move what lies in the layer pane by the way that the mouse has gone, or draw a box there."""
        if self._photo is not None:
            _, pressed_x, pressed_y = self._photo
            if max(abs(x - pressed_x), abs(y - pressed_y)) < STEADY:
                return
            self._photo = None
        before, place = self._mouse, self.renderer.fraction_in_layer(x, y)
        self._mouse = (x, y)
        began = self.renderer.fraction_in_layer(*before) if before is not None else None
        if place is not None and began is not None:
            self.state = drag(self.state, place[0] - began[0], place[1] - began[1])
        corner = self.renderer.spot_in_layer(x, y, self.scene()) if self._pressed is not None else None
        if self._pressed is not None and corner is not None:
            self.state = draw_box(self.state, self._pressed, corner)

    def _turn_wheel(self, x: int, y: int, steps: int) -> None:
        """Magnify the layer pane, or scroll the layer list."""
        place = self.renderer.fraction_in_layer(x, y)
        if place and steps:
            self.state = pointing.wheel(self.state, steps, *place)
        elif steps and self.renderer.layout.pane_at(x, y) == "layers":
            self.state = pointing.scroll_layers(self.state, steps, self._facts())

    def _press(self, key: str) -> None:
        self._apply(commands.press(self.state, key, self._facts(), self._bound))

    def _apply(self, outcome: Outcome) -> None:
        """Take the new state, then carry out the effects in order."""
        self.state = outcome.state
        for effect in outcome.effects:
            if isinstance(effect, Quit):
                self.quit()
            else:
                self.state = self.effects.do(effect, self.state, self.engine.network, self.scene)

    def _fit(self) -> None:
        """Lay out the panes anew, if the user has chosen another layout or the window has another size."""
        self.window.fill_screen(self.state.full_screen)
        wanted = self._for_layout()
        if wanted != self._laid_out:
            self._laid_out, self.renderer.layout = wanted, self._layout()

    def _for_layout(self) -> tuple[object, ...]:
        """What the layout depends on."""
        return self.state.layout, self.state.enlarged, self.state.help, self._size

    def _pane_pointed_at(self) -> str | None:
        return self.renderer.layout.pane_at(*self._mouse) if self._mouse is not None else None

    def _pointed(self, scene: LoadingScene) -> LoadingScene:
        """The scene with what the mouse points at now: keys, the wheel, a new size or a result may have changed it."""
        if self._mouse is None:
            return scene
        hover = self.renderer.target_at(*self._mouse, scene)
        if hover == scene.state.hover:
            return scene
        self.state = pointing.point(self.state, hover)
        if self._moved and hover is not None and not self.bar.message.is_error:
            self.bar.clear()  # a user who moves the mouse wants to read about what it points at
        self._moved = False
        return replace(scene, state=self.state)

    def _want(self, scene: LoadingScene) -> None:
        """Send the workers their requests: stored images, top images, statistics, moments, images to synthesize."""
        network = self.engine.network
        if network is None or not isinstance(scene, Scene):
            return
        cells, side = self.renderer.cells(scene)
        self.workers.want_stored(self.state, network, cells, side)
        self.workers.want_pictures(self.state, network, self.feed.frame, self.settings.dream)
        field = scene.receptive_field if scene.layer.is_map else None
        self.workers.leisure.is_live = self._is_live
        if scene.result is None and not self.engine.idle:  # the first picture comes first
            return
        fills = self.opening.is_over and scene.result is not None
        if fills and self.settings.scan == "auto":
            self.workers.want_scan(network, self._folder if self.state.source == "files" else None)
        self.workers.want_made(self.state, network, cells, side, field, fills)

    def _listen(self, patience: float) -> None:
        """Take what is new from the engine, the feed and the jobs; wait up to `patience` seconds for a result."""
        result = self.questions.collect(patience)
        if result is not None:
            if result.peaks is not None and self.state.collecting and self.engine.network:
                self.workers.collect(result, self.engine.network)
            if result.error:
                self.bar.say(f"network: {result.error}", is_error=True)
            if layers := self._layers():
                self.lately.take(result, layers[self.state.layer].name, self.state)
                self.state = renewed(self.state, self._facts())
        if self.engine.note != self._note:
            self._note = self.engine.note
            self.bar.say(self._note)
        self._take_notice()
        while self.effects.saving.said:
            self.bar.say(*self.effects.saving.said.popleft())
        self.effects.recording.check()

    def _take_notice(self) -> None:
        """Show the feed's new notice; if it gave up a photo or the camera, the state no longer asks for it."""
        notice = self.feed.notice
        if notice is None or notice.number == self._notice:
            return
        self._notice = notice.number
        gave_way = notice.is_error and self.state.source == "camera" and self.feed.source == "files"
        self.bar.say(notice.text, notice.is_error and not gave_way)  # no camera, but pictures: no error
        if notice.is_error and self.feed.source != "photo":
            self.state = replace(self.state, photo=None)  # could not be read
        if gave_way:
            self.state = replace(self.state, source="files", frozen=False)  # the camera was given up

    def _tick(self) -> None:
        self.bar.drop_old_message()
        if self.bar.are_rates_due():
            result = self.questions.result
            seconds = dict((result.seconds or {}) if result else {})
            seconds |= {f"draw {name}": took for name, took in self.renderer.seconds.items()}
            rate = self.engine.rate() if self.engine.network else None
            self.bar.set_rates(rate, seconds, self.workers.moments.count)

    def _show(self, scene: LoadingScene) -> None:
        image, changed = self.renderer.compose(scene)
        if changed:
            self.window.show(image)
            self.bar.count_picture()
            self.effects.recording.offer(image)

    # -- the end ------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Close everything; files that are being saved are completed first."""
        for close in (self.workers.own_scan.close, *self.workers.closing):
            close(0)  # told before any is waited for, so that none computes while another one saves
        with ExitStack() as last:  # called in reverse order, each even if another fails
            last.callback(self._stop_working)
            last.callback(self.workers.moments.close, SAVING)
            last.callback(self.workers.own_scan.close, SAVING)
            last.callback(self.window.close)
            last.callback(self.effects.saving.join)
            last.callback(self.effects.recording.stop)

    def _stop_working(self) -> None:
        """Stop the workers that have nothing to save, and wait for them at most LEAVING seconds altogether.

        A pass, or a camera that opens, may take longer. While the network loads there is no waiting at all.
        """
        closers: tuple[Callable[[], object], ...] = (self.engine.close, self.feed.close, *self.workers.closing)
        closing = [threading.Thread(target=close, name="deepvis-close", daemon=True) for close in closers]
        until = time.monotonic() + (LEAVING if self.engine.network else 0)
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()))

    def is_over(self) -> bool:
        """Whether no thread runs the network any more; to be called after `run`."""
        return self.workers.are_over

    # -- what the loop is made of ---------------------------------------------------------------

    def _layers(self) -> tuple[Layer, ...]:
        return self.engine.network.layers if self.engine.network else ()

    def _facts(self) -> Facts:
        layout, recipes = self.renderer.layout, self.effects.recipes.known
        facets = self.workers.facets.answer
        found = facets.found if facets is not None else None
        counts = (len(found.facets), found.suggested) if found is not None else ()
        return Facts(
            self._layers(), self.renderer.layer_area, layout.scale, recipes, self._answers, self.feed.files, *counts
        )

    def _answers(self) -> Answers:
        opened = self.workers.top_images.opened
        return Answers(self.questions.result, self.questions.held, opened.index, opened.note)

    def _layout(self) -> Layout:
        return fit(self.settings, self.state, *self._size, self.window.scale)

    def scene(self) -> LoadingScene:
        """The scene to show now."""
        network, state = self.engine.network, self.state
        return build_scene(
            state,
            network,
            frame=self.feed.frame,
            result=self.questions.result,
            held=self.questions.held,
            curve=self.lately.curve,
            findings=self.workers.findings_for(state),
            facts=self._facts(),
            help=self._help,
            keys=self._keys,
            status=self.bar.status(
                network, debug=state.debug, recording=self.effects.recording.is_on, moments=state.moments
            ),
            busy=self.feed.busy or self.questions.is_slow,
            waiting=self._waiting(network),
        )

    def _waiting(self, network: Network | None) -> str:
        if network is None:
            return f"loading {self.settings.model} …"
        return self.bar.message.text or "waiting for the first picture …" if self.feed.frame is None else ""


def live(
    settings: Settings,
    engine: Engine,
    feed: Feed,
    start: State,
    probe: Callable[[], None],
    view: SavedView | None = None,
) -> bool:
    """Open the window and run the toolbox in it until the user closes it.

    If called from the main thread, Ctrl-C, SIGTERM and SIGHUP also close it.

    Args:
        engine, feed: must not be started yet.
        probe: raises UserError if no window can be opened.
        view: to be opened; `start` holds what of it need not wait for the network.
    Returns:
        Whether the network's threads have ended. If not (a pass or the loading takes too long to wait for), Python's
        normal exit would abort among torch's running threads.
    Raises:
        UserError: no display, the network cannot be loaded, or it has no such layer or unit as the view's.
    """
    probe()
    scale = settings.window.scale
    window = Window("deepvis", settings.window.width, settings.window.height, None if scale == "auto" else scale)
    toolbox = Toolbox(settings, engine, feed, window, start, view)
    with giving_back(), interrupt.calling(lambda *_: toolbox.quit()):
        engine.start()
        feed.start()
        toolbox.run()
    return engine.close(0) and toolbox.is_over()
