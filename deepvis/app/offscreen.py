"""The window's picture without a window: for servers, tests and the README."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepvis.attribution.passes import answer
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.layers import stands_for
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.interface import commands
from deepvis.interface.commands import Facts, help_rows
from deepvis.interface.layout import lay_out
from deepvis.interface.requests import layer_images_wish, request_for, top_images_wish, unit_images_wish
from deepvis.interface.settings import Settings
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec, Network
from deepvis.render import Renderer, Scene, Status
from deepvis.scan.index import index_folder
from deepvis.store.original_folders import open_pictures
from deepvis.workers.layer_images import LayerImagesWorker
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.unit_images import UnitImagesWorker
from deepvis.workers.worker import WishOf

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
    """Press keys on a window that nobody sees, and return its picture.

    Args:
        start: the state before `unit` is selected and the keys are pressed.
        unit: id of the unit to select.
        keys: names of keys, in order.
    Returns:
        uint8 H×W×3 BGR.
    Raises:
        UserError: no such unit or key, or the input gives no picture.
    """
    scale = 1.0 if settings.window.scale == "auto" else float(settings.window.scale)
    renderer = Renderer(lay_out(settings.panes, settings.window.width, settings.window.height, scale))
    facts = Facts(network.layers, renderer.layer_area, renderer.layout.scale)
    bound = commands.bindings(settings.keys)
    state = start
    if unit is not None:
        state = commands.goto(state, unit, facts)
        if state.message_is_error:
            raise UserError(f"--unit {unit!r}: {state.message}")
    for key in keys:
        if key not in bound and state.typing is None:
            raise UserError(f"--keys: no command has the key {key!r}; keys: {' '.join(sorted(bound))}")
        state = commands.press(state, key, facts, bound)
    frame = _frame(camera, files, state, network.input)
    result = answer(
        network, request_for(state, frame, network.layers), network.receptive_field(network.layers[state.layer].name)
    )
    status = Status(model=settings.model, device=str(network.device))
    scene = Scene(state, network.layers, network.classes, frame, result, help=help_rows(bound), status=status,
                  input_size=(network.input.height, network.input.width), pictures_of=stands_for(network.layers, state.layer))  # fmt: skip
    return renderer.compose(_with_unit_images(scene, renderer, network, settings.model))[0]


def _with_unit_images(scene: Scene, renderer: Renderer, network: Network, model: str) -> Scene:
    """The scene with what the store and the index have of its units: as the window has it when all of it has come in."""
    state, layers = scene.state, network.layers
    unit_images = UnitImagesWorker(lambda: open_pictures(network.name, network.fingerprint, network.paths))
    top_images = TopImagesWorker(lambda network: index_folder(paths.PRECOMPUTED, network.name), model)
    layer_images = LayerImagesWorker()
    cells, side = renderer.cells(scene) if state.content in ("synthesized", "top images") else (range(0), 0)
    try:
        unit_images.want(unit_images_wish(state, layers, cells, side))
        top_images.want(WishOf(network, top_images_wish(state, layers, network.telling_backward)))
        _wait(lambda: unit_images.idle and top_images.idle)
        layer_images.want(WishOf(top_images.opened, layer_images_wish(state, layers, cells, side)))
        _wait(lambda: layer_images.idle)
        return replace(
            scene,
            pictures=unit_images.answer,
            tops=top_images.answer,
            cells=layer_images.cells,
            statistics=layer_images.statistics,
        )
    finally:
        for worker in (unit_images, top_images, layer_images):
            worker.close()


def _wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)


def _frame(camera: int | str | None, files: Path, state: State, taken: InputSpec) -> Frame:
    feed = Feed(camera, files)
    feed.show_bands(taken.places)
    # Before it starts, or it might show the first file.
    feed.want(FeedWish(state.source, step=state.step, reading=taken.reading))
    with feed:
        frame = feed.wait_frame(None, PATIENCE)
        if frame is None:
            raise UserError(feed.notice.text if feed.notice else f"no picture from the input within {PATIENCE:g} s")
    if feed.notice is not None:
        print(f"note: {feed.notice.text}", file=sys.stderr)
    return frame
