"""The first seconds after the network is there: what the window selects, and what it says about itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from deepvis.app.sources import files_of
from deepvis.attribution.requests import Result
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.layers import parse_unit
from deepvis.core.runtime import cores
from deepvis.interface.opening import begun, first_backward, gives_a_picture, opened, opened_at, with_other_backward
from deepvis.interface.settings import Settings
from deepvis.interface.state import State
from deepvis.scan.index import Index, index_folder, scan_folder
from deepvis.store.doubts import doubts_of
from deepvis.workers.layer_images import OpenIndex

if TYPE_CHECKING:
    from deepvis.networks.network import Network

PATIENCE = 0.5  # seconds to wait, after the first result, for the index


class Opening:
    """Opens the view once: call `turn` in each turn of the loop.

    Attributes:
        is_over: the view is open.
        error: why the setting `unit` cannot be followed; empty if it can.
    """

    def __init__(self, settings: Settings, start: State) -> None:
        """
        Args:
            start: the state at the beginning; if it selects a unit, this unit stays selected.
        """
        self._unit = settings.unit
        self.is_over = (start.layer, start.unit) != (0, 0)
        self.error = ""
        self._has_begun = False
        self._since: float | None = None
        self._is_on_trial = False  # whether the backward method gives a picture is not known yet

    def turn(self, state: State, network: Network | None, result: Result | None, index: OpenIndex) -> State:
        """The state with what is selected at first, as soon as that is known."""
        if network is None:
            return state
        if self._is_on_trial:
            return self._tried(state, network, result)
        if self.is_over:
            return state
        if not self._has_begun:
            self._has_begun = True
            return self._begin(state, network)
        layer = network.layers[state.home.layer].name
        if result is None or result.activations is None or result.request.layer != layer:
            self.is_over = (state.layer, state.unit) != (state.home.layer, 0)  # the user was faster
            return state
        self._since = self._since or time.monotonic()
        if index == OpenIndex() and time.monotonic() < self._since + PATIENCE:
            return state
        self.is_over = self._is_on_trial = True
        highest = highest_of(index.index, layer)
        return opened(state, network.layers, result.activations, highest, first_method(network))

    def _tried(self, state: State, network: Network, result: Result | None) -> State:
        """The state with the usual backward method, if the one that was opened with gives no picture."""
        if result is None or result.request.method is None:
            self._is_on_trial = state.method == state.home.method
            return state
        self._is_on_trial = False
        if result.request.method != state.home.method or gives_a_picture(result):
            return state
        return with_other_backward(state, network.telling_backward)

    def _begin(self, state: State, network: Network) -> State:
        if (state.layer, state.unit) != (0, 0):  # the user was faster
            self.is_over = True
            return state
        if self._unit != "auto":
            try:
                layer, unit = parse_unit(self._unit, network.layers, layer_alone=True)
                self.is_over = True
                return opened_at(state, layer, unit)
            except UserError as error:
                self.error = f"unit {self._unit!r}: {error}"
        return begun(state, network.layers)


def first_method(network: Network) -> str:
    """The backward method that the window opens with on this network."""
    doubts = doubts_of(paths.precomputed(), network.name, network.fingerprint)
    return first_backward(doubts, network.telling_backward)


def highest_of(index: Index | None, layer: str) -> np.ndarray | None:
    """The maximum of each unit of a layer over the index's images; None if the index does not have them."""
    if index is None or not index.count or layer not in {span.name for span in index.spans}:
        return None
    return index.top.value[index.span(layer).rows, 0]


def what_runs_where(network: Network, settings: Settings, state: State, index: OpenIndex, scans: bool) -> str:
    """A line that says what runs where, and where the pictures and the top images come from.

    Args:
        scans: top images that are missing are being looked for.
    """
    parts = (f"{network.name} on {_device(network)}", _pictures(settings, state), _tops(network, index, scans))
    return "  ·  ".join((*parts, *network.notes))


def _device(network: Network) -> str:
    if network.device.type != "cpu":
        return str(network.device)
    return f"{cores()} CPU core{'' if cores() == 1 else 's'}"


def _pictures(settings: Settings, state: State) -> str:
    if state.source == "camera":
        camera = settings.input if settings.input != "camera" else settings.camera
        return f"camera: {camera}"
    path = files_of(settings)
    if path == paths.PHOTOS:
        return f"photos: the {sum(1 for _ in path.glob('*.jpg'))} bundled ones"
    return f"{'folder' if path.is_dir() else 'file'}: {path.name or path}"


def _tops(network: Network, index: OpenIndex, scans: bool) -> str:
    if index.index is None:
        return "top images: none yet, the photos are being scanned" if scans else "top images: none"
    own = index_folder(paths.precomputed(), network.name) == scan_folder(paths.precomputed().own, network.name)
    return f"top images: {'your' if own else 'bundled'} scan of {index.index.count:,} photos"
