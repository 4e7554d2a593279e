"""Drawing the window's picture without a window: for servers, tests and the README."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepvis.app.opening import highest_of
from deepvis.app.scene import Findings, build_scene
from deepvis.app.unit_workers import UnitWorkers
from deepvis.attribution.passes import answer
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.interface import commands
from deepvis.interface.commands import Facts, help_rows
from deepvis.interface.layout import lay_out
from deepvis.interface.opening import begun, opened
from deepvis.interface.requests import request_for
from deepvis.interface.settings import Settings
from deepvis.interface.state import Home, State
from deepvis.networks.network import InputSpec, Network
from deepvis.render import LoadingScene, Renderer, Status
from deepvis.scan.index import index_folder
from deepvis.workers.top_images import open_index

PATIENCE = 60.0  # seconds for an input to give its first picture


def picture(
    settings: Settings,
    network: Network,
    camera: int | str | None,
    files: Path,
    start: State,
    unit: str | None = None,
    keys: Sequence[str] = (),
) -> np.ndarray:
    """Return the picture that the window would show after these keys.

    Args:
        start: the state at the beginning.
        unit: id of a unit to select first, or auto; None for what the settings say.
        keys: names of keys to press then, in order.
    Returns:
        uint8 H×W×3 BGR.
    Raises:
        UserError: no such unit or key, or the input gives no picture.
    """
    scale = 1.0 if settings.window.scale == "auto" else float(settings.window.scale)
    renderer = Renderer(lay_out(settings.panes, settings.window.width, settings.window.height, scale))
    bound = commands.bindings(settings.keys)
    facts = Facts(network.layers, renderer.layer_area, renderer.layout.scale)
    first = _frame(camera, files, start, network.input)
    state = _opened(start, unit or settings.unit, facts, network, first)
    state = _pressed(state, keys, facts, bound)
    frame = first if _wants_same_frame(start, state) else _frame(camera, files, state, network.input)
    request = request_for(state, frame, network.layers)
    if request is None:
        raise UserError(f"network {network.name} has no layer to show")

    def scene(findings: Findings) -> LoadingScene:
        return build_scene(
            state,
            network,
            frame=frame,
            result=result,
            findings=findings,
            help=help_rows(bound),
            status=Status(model=settings.model, device=str(network.device)),
        )

    result = answer(network, request, network.receptive_field(request.layer))
    cells, side = renderer.cells(scene(Findings()))
    return renderer.compose(scene(_findings(state, network, settings.model, cells, side)))[0]


def _opened(state: State, unit: str, facts: Facts, network: Network, frame: Frame) -> State:
    """The state that the window opens with: with this unit or, for "auto", as the window chooses."""
    if unit == "auto":
        return _as_the_window(state, network, frame)
    state = commands.goto(state, unit, facts)
    if state.message_is_error:
        raise UserError(f"--unit {unit!r}: {state.message}")
    return replace(state, home=Home(state.layer, state.unit))


def _as_the_window(state: State, network: Network, frame: Frame) -> State:
    state = begun(state, network.layers)
    layer, index = network.layers[state.layer].name, None
    with suppress(UserError):  # there is none, or it cannot be used: its pane will say so
        index = open_index(index_folder(paths.precomputed(), network.name), network)
    request = request_for(replace(state, method=None), frame, network.layers)
    activations = answer(network, request, None).activations if request is not None else None
    if activations is None:
        return state
    return opened(state, network.layers, activations, highest_of(index, layer), network.telling_backward)


def _wants_same_frame(one: State, other: State) -> bool:
    return (one.source, one.step) == (other.source, other.step)


def _pressed(state: State, keys: Sequence[str], facts: Facts, bound: Mapping[str, str]) -> State:
    """The state after some keys. Their effects (recording, saving) are not carried out."""
    for key in keys:
        if key not in bound and state.typing is None:
            raise UserError(f"--keys: no command has the key {key!r}; keys: {' '.join(sorted(bound))}")
        state = commands.press(state, key, facts, bound).state
    return state


def _findings(state: State, network: Network, model: str, cells: range, side: int) -> Findings:
    """The stored images, top images and statistics that the window would show after loading them all."""
    workers = UnitWorkers(model, lambda: network)
    try:
        workers.want_stored(state, network, cells, side)
        _wait(lambda: workers.unit_images.idle and workers.top_images.idle)
        workers.want_stored(state, network, cells, side)  # again, now that the index has been opened
        _wait(lambda: workers.layer_images.idle)
        return workers.findings()
    finally:
        for close in workers.closing:
            close()


def _wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)


def _frame(camera: int | str | None, files: Path, state: State, taken: InputSpec) -> Frame:
    feed = Feed(camera, files)
    feed.show_bands(taken.places)
    # Asked before the feed starts, or it might show the first file.
    feed.want(FeedWish(state.source, step=state.step, reading=taken.reading))
    with feed:
        frame = feed.wait_frame(None, PATIENCE)
        if frame is None:
            raise UserError(feed.notice.text if feed.notice else f"no picture from the input within {PATIENCE:g} s")
    if feed.notice is not None:
        print(f"note: {feed.notice.text}", file=sys.stderr)
    return frame
