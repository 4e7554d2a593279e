"""Drawing the window's picture without a window: for servers, tests and the README."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from deepvis.app.opening import highest_of
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
from deepvis.interface.opening import begun, opened
from deepvis.interface.requests import held_request, request_for
from deepvis.interface.saved_view import SavedView
from deepvis.interface.settings import DreamSettings, Settings, naming_options
from deepvis.interface.state import Home, State
from deepvis.networks.network import InputSpec, Network
from deepvis.render import LoadingScene, Renderer, Status

PATIENCE = 60.0  # seconds for an input to give its first picture


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
    size = settings.window.width, settings.window.height
    renderer = Renderer(fit(settings, start, *size))
    bound = commands.bindings(settings.keys)
    workers = UnitWorkers(lambda: network)
    asked = _StillAnswers(network, workers, camera, files)

    def facts(state: State) -> Facts:
        answers = lambda: asked.answers(state)  # noqa: E731, computed only for the commands that need it
        return Facts(network.layers, renderer.layer_area, renderer.layout.scale, answers=answers)

    def scene(findings: Findings) -> LoadingScene:
        return build_scene(
            state,
            network,
            frame=result.request.frame,
            result=result,
            held=held,
            findings=findings,
            facts=facts(state),
            help=help_rows(bound),
            keys=keys_of(bound),
            status=Status(model=settings.model, device=str(network.device), options=naming_options(settings)),
        )

    try:
        state = start if view is None else view.selected(start, network.layers)
        if unit is not None or view is None or not view.unit:
            state = _opened(state, unit or settings.unit, facts(state), network, asked)
        state = _pressed(state, keys, facts, bound)
        state = renewed(state, facts(state))
        renderer.layout = fit(settings, state, *size)
        workers.want_stored(state, network, (), 0)
        _wait(lambda: workers.input_weights.idle)  # the result has maps of what they name
        result, held = asked.final(state)
        cells, side = renderer.cells(scene(Findings()))
        found = _findings(state, network, workers, result.request.frame, settings.dream, cells, side)
        return renderer.compose(scene(found))[0]
    finally:
        for close in workers.closing:
            close()


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
        _wait(lambda: self._workers.top_images.idle)
        opened = self._workers.top_images.opened
        return Answers(self.result(state), self.held(state), opened.index, opened.note)


def _opened(state: State, unit: str, facts: Facts, network: Network, asked: _StillAnswers) -> State:
    """The state that the window opens with: with this unit or, for "auto", as the window chooses."""
    if unit == "auto":
        return _as_the_window(state, network, asked)
    state = goto(state, unit, facts)
    if state.message_is_error:
        raise UserError(f"--unit {unit!r}: {state.message}")
    return replace(state, home=Home(state.layer, state.unit))


def _as_the_window(state: State, network: Network, asked: _StillAnswers) -> State:
    state = begun(state, network.layers)
    answers = asked.answers(replace(state, method=None))
    activations = None if answers.result is None else answers.result.activations
    if activations is None:
        return state
    highest = highest_of(answers.index, network.layers[state.layer].name)
    return opened(state, network.layers, activations, highest, network.telling_backward)


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
    """The stored images, top images and statistics that the window would show after loading them all."""
    workers.want_pictures(state, network, frame, dreams)
    workers.want_stored(state, network, cells, side)
    _wait(lambda: workers.unit_images.idle and workers.top_images.idle and workers.facets.idle)
    workers.want_stored(state, network, cells, side)  # again, now that the index has been opened
    _wait(lambda: workers.layer_images.idle and workers.remembered.idle and workers.curves.idle)
    endless = state.dream_mode != "picture"  # of these the first picture will do
    _wait(lambda: workers.dreams.idle or endless and workers.dreams.answer is not None)
    return workers.findings()


def _wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < end:
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
