"""Drawing the window's picture without a window: for servers, tests and the README."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from deepvis.app.opening import first_method, highest_of
from deepvis.app.scene import Findings, build_scene
from deepvis.app.unit_workers import UnitWorkers
from deepvis.attribution.passes import finished
from deepvis.attribution.requests import Result
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.interface import commands
from deepvis.interface.asking import renewed
from deepvis.interface.command import Answers, Facts
from deepvis.interface.commands import help_rows, keys_of
from deepvis.interface.layout import fit
from deepvis.interface.moving import goto
from deepvis.interface.opening import begun, gives_a_picture, opened, opened_at, with_other_backward
from deepvis.interface.requests import held_request, request_for
from deepvis.interface.saved_view import SavedView
from deepvis.interface.settings import DreamSettings, Settings, naming_options
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec, Network
from deepvis.render import LoadingScene, Renderer, Status
from deepvis.workers.messages import Grown

PATIENCE = 60.0  # seconds for an input to give its first picture, and for each worker
ENOUGH = 16  # steps after which growing images show something


def picture(
    settings: Settings,
    network: Network,
    camera: int | str | None,
    files: Path,
    start: State,
    unit: str | None = None,
    keys: Sequence[str] = (),
    view: SavedView | None = None,
) -> np.ndarray:
    """Return the picture that the window would show after these keys.

    Args:
        start: the state at the beginning.
        unit: id of a unit to select first, or auto; None for what the view or the settings say.
        keys: names of keys to press then, in order; also commands by name, with an option if wanted
            ("content=top_images": a line below stands for a space).
        view: to be opened before that; `start` holds what of it need not wait for the network.
    Returns:
        uint8 H×W×3 BGR.
    Raises:
        UserError: no such unit or key, or the input gives no picture.
    """
    screen = _Screen(settings, network, camera, files, start)
    try:
        state = start if view is None else view.selected(start, network.layers)
        if unit is not None or view is None or not view.unit:
            state = _opened(state, unit or settings.unit, screen.facts(state), network, screen.asked)
        return screen.picture(_pressed(state, keys, screen.facts, screen.bound))
    finally:
        for close in screen.workers.closing:
            close()


class _Screen:
    """What the window is made of, without a window.

    Attributes:
        bound: {key: name of its command}.
        workers: load and compute images and statistics of units.
        asked: what the network and the index say.
    """

    def __init__(
        self, settings: Settings, network: Network, camera: int | str | None, files: Path, start: State
    ) -> None:
        self._settings, self._network = settings, network
        self._size = settings.window.width, settings.window.height
        self._renderer = Renderer(fit(settings, start, *self._size))
        self.bound = commands.bindings(settings.keys)
        self.workers = UnitWorkers(lambda: network)
        self.asked = _StillAnswers(network, self.workers, camera, files)

    def facts(self, state: State) -> Facts:
        answers = lambda: self.asked.answers(state)  # noqa: E731, computed only for the commands that need it
        layout = self._renderer.layout
        return Facts(self._network.layers, self._renderer.layer_area, layout.scale, answers=answers)

    def picture(self, state: State) -> np.ndarray:
        """The window's picture for a state."""
        state = renewed(state, self.facts(state))
        self._renderer.layout = fit(self._settings, state, *self._size)
        self.workers.want_stored(state, self._network, (), 0)
        _wait(lambda: self.workers.input_weights.idle, "the unit's weights")  # the result has maps of what they name
        _wait(lambda: self.workers.top_images.idle, "the top images")  # as in `answers`
        result, held = self.asked.final(state)
        cells, side = self._renderer.cells(self._scene(state, result, held, Findings()))
        dreams = self._settings.dream
        found = _findings(state, self._network, self.workers, result.request.frame, dreams, cells, side)
        return self._renderer.compose(self._scene(state, result, held, found))[0]

    def _scene(self, state: State, result: Result, held: Result | None, findings: Findings) -> LoadingScene:
        options = naming_options(self._settings)
        return build_scene(
            state,
            self._network,
            frame=result.request.frame,
            result=result,
            held=held,
            findings=findings,
            facts=self.facts(state),
            help=help_rows(self.bound),
            keys=keys_of(self.bound),
            status=Status(model=self._settings.model, device=str(self._network.device), options=options),
        )


class _StillAnswers:
    """What the network and the index say for a state. Nothing is computed twice in a row."""

    def __init__(self, network: Network, workers: UnitWorkers, camera: int | str | None, files: Path) -> None:
        self._network, self._workers = network, workers
        self._frame = lru_cache(1)(lambda wish: _frame(camera, files, wish, network.input))
        self._answer = lru_cache(4)(lambda request: finished(network, request))

    def result(self, state: State) -> Result:
        """The result for the picture in view. Raises UserError if the input gives none, or there is no layer."""
        wish = FeedWish(state.source, step=state.step, photo=state.photo, reading=self._network.input.reading)
        request = request_for(state, self._frame(wish), self._network.layers, self._workers.input_weights.answer)
        if request is None:
            raise UserError(f"network {self._network.name} has no layer to show")
        return self._answer(request)

    def held(self, state: State) -> Result | None:
        """The result for the held picture; None if none is held."""
        request = held_request(state, self._network.layers)
        return None if request is None else self._answer(request)

    def final(self, state: State) -> tuple[Result, Result | None]:
        """Both with the receptive field, which only the picture needs; measuring it takes long."""
        result, held = self.result(state), self.held(state)
        field = self._network.receptive_field(result.request.layer)
        with_field = None if held is None else replace(held, receptive_field=field)
        return replace(result, receptive_field=field), with_field

    def answers(self, state: State) -> Answers:
        self._workers.want_stored(state, self._network, (), 0)  # opens the index
        top = self._workers.top_images
        _wait(lambda: top.idle, "the index")  # its passes over crops must not run beside the picture's
        opened = top.opened
        return Answers(self.result(state), self.held(state), opened.index, opened.note)


def _opened(state: State, unit: str, facts: Facts, network: Network, asked: _StillAnswers) -> State:
    """The state that the window opens with: with this unit or, for "auto", as the window chooses."""
    if unit == "auto":
        return _as_the_window(state, network, asked)
    state = goto(state, unit, facts)
    if state.message_is_error:
        raise UserError(f"--unit {unit!r}: {state.message}")
    return opened_at(state, state.layer, state.unit)


def _as_the_window(state: State, network: Network, asked: _StillAnswers) -> State:
    state = begun(state, network.layers)
    answers = asked.answers(replace(state, method=None))
    activations = None if answers.result is None else answers.result.activations
    if activations is None:
        return state
    highest = highest_of(answers.index, network.layers[state.layer].name)
    state = opened(state, network.layers, activations, highest, first_method(network))
    return state if _shows(state, asked) else with_other_backward(state, network.telling_backward)


def _shows(state: State, asked: _StillAnswers) -> bool:
    """Whether the backward method that the window opens with gives a picture; another one is the user's choice."""
    if state.method != state.home.method:
        return True
    try:
        return gives_a_picture(asked.result(state))
    except Exception:  # a network's code may raise anything
        return False


def _pressed(state: State, keys: Sequence[str], facts: Callable[[State], Facts], bound: Mapping[str, str]) -> State:
    """The state after some keys. Their effects (recording, saving) are not carried out."""
    for key in keys:
        if key in bound or state.typing is not None:
            state = commands.press(state, key, facts(state), bound).state
        else:
            state = _ran(state, key, facts(state), bound)
    return state


def _ran(state: State, call: str, facts: Facts, bound: Mapping[str, str]) -> State:
    """The state after a command by name, as "theme=light"."""
    name, _, option = call.partition("=")
    if name not in commands.COMMANDS:
        raise UserError(
            f"--keys: no key and no command {call!r}; keys: {' '.join(sorted(bound))}; "
            f"commands: {' '.join(commands.COMMANDS)}"
        )
    known = commands.COMMANDS[name].options(facts)
    spaced = option.replace("_", " ")
    state = commands.run(state, f"{name}={spaced if spaced in known else option}" if option else name, facts).state
    if option and state.message_is_error:
        raise UserError(f"--keys {call!r}: {state.message}")
    return state


def _findings(
    state: State,
    network: Network,
    workers: UnitWorkers,
    frame: Frame,
    dreams: DreamSettings,
    cells: Sequence[int],
    side: int,
) -> Findings:
    """What the window would show after loading and computing it all; of what has no end, the beginning."""
    workers.want_pictures(state, network, frame, dreams)
    workers.want_stored(state, network, cells, side)
    _wait(lambda: workers.unit_images.idle and workers.top_images.idle, "stored images and top images")
    _wait(lambda: workers.facets.idle, "the facets")
    workers.want_stored(state, network, cells, side)  # again, now that the index has been opened
    _wait(lambda: workers.layer_images.idle, "images and statistics of the layer")
    _wait(lambda: workers.remembered.idle and workers.curves.idle, "what is computed of the picture")
    workers.want_pictures(state, network, frame, dreams)  # again, now that the unit's images are there
    _wait(lambda: workers.prior_watch.idle, "the training of a prior")
    _wait(lambda: workers.nearest.idle, "the nearest photos")
    endless = state.dream_mode != "picture"  # of these the first picture will do
    _wait(lambda: workers.dreams.idle or endless and workers.dreams.answer is not None, "the dream")
    workers.want_growth(state, network)
    _wait(lambda: workers.growth.idle or _shows_growth(workers.growth.answer), "the growing images")
    return workers.findings()


def _shows_growth(grown: Grown | None) -> bool:
    return grown is not None and (bool(grown.error) or grown.steps >= ENOUGH)


def _wait(is_so: Callable[[], bool], what: str) -> None:
    """Wait until a worker has done its work; if that takes too long, say so."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            print(f"note: {what} took more than {PATIENCE:g} s; the picture shows what was there then", file=sys.stderr)
            return
        time.sleep(0.005)


def _frame(camera: int | str | None, files: Path, wish: FeedWish, taken: InputSpec) -> Frame:
    feed = Feed(camera, files)
    feed.show_bands(taken.places)
    feed.want(wish)  # before the feed starts, or it might show the first file
    with feed:
        frame = feed.wait_frame(None, PATIENCE)
        if frame is None:
            raise UserError(feed.notice.text if feed.notice else f"no picture from the input within {PATIENCE:g} s")
    if feed.notice is not None:
        print(f"note: {feed.notice.text}", file=sys.stderr)
    return frame
