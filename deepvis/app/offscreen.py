"""Drawing the window's picture without a window: for servers, tests and the README."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from deepvis.app.scene import Findings, build_scene
from deepvis.app.unit_workers import UnitWorkers
from deepvis.attribution.passes import answer
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.commands import help_rows, keys_of
from deepvis.interface.layout import lay_out
from deepvis.interface.moving import goto
from deepvis.interface.requests import request_for
from deepvis.interface.saved_view import SavedView
from deepvis.interface.settings import Settings
from deepvis.interface.state import State
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
        unit: id of a unit to select first.
        keys: names of keys to press then, in order.
        view: to be opened before that; `start` holds what of it need not wait for the network.
    Returns:
        uint8 H×W×3 BGR.
    Raises:
        UserError: no such unit or key, or the input gives no picture.
    """
    scale = 1.0 if settings.window.scale == "auto" else float(settings.window.scale)
    renderer = Renderer(lay_out(settings.panes, settings.window.width, settings.window.height, scale))
    bound = commands.bindings(settings.keys)
    facts = Facts(network.layers, renderer.layer_area, renderer.layout.scale)
    begun = start if view is None else view.selected(start, network.layers)
    state = _pressed(_selected(begun, unit, facts), keys, facts, bound)
    frame = _frame(camera, files, state, network.input)
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
            keys=keys_of(bound),
            status=Status(model=settings.model, device=str(network.device)),
        )

    result = answer(network, request, network.receptive_field(request.layer))
    cells, side = renderer.cells(scene(Findings()))
    return renderer.compose(scene(_findings(state, network, settings.model, cells, side)))[0]


def _selected(state: State, unit: str | None, facts: Facts) -> State:
    if unit is None:
        return state
    state = goto(state, unit, facts)
    if state.message_is_error:
        raise UserError(f"--unit {unit!r}: {state.message}")
    return state


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
    feed.want(FeedWish(state.source, step=state.step, photo=state.photo, reading=taken.reading))
    with feed:
        frame = feed.wait_frame(None, PATIENCE)
        if frame is None:
            raise UserError(feed.notice.text if feed.notice else f"no picture from the input within {PATIENCE:g} s")
    if feed.notice is not None:
        print(f"note: {feed.notice.text}", file=sys.stderr)
    return frame
