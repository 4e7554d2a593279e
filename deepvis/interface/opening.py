"""What the window opens on: a unit of a middle layer that answers much to the picture in view. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.layers import Layer
from deepvis.interface.state import Home, State

FAINT = 0.1  # units whose maximum is below this part of the layer's largest count as if they had this maximum
FIRST_BACKWARD = "lrp"  # the truest of the methods that are fast enough for a camera: docs/attribution.md
NEAR = 50  # activations within a fiftieth of their maxima are compared by their values


def opening_layer(layers: Sequence[Layer]) -> int:
    """Position of the middle one of the layers whose units are maps; the network's output is not counted.

    Units in the middle answer to parts of objects, and their receptive fields show a part of the picture. In a network
    without such layers it is the middle one of all.
    """
    inner = range(max(1, len(layers) - 1))
    maps = [i for i in inner if layers[i].is_map and layers[i].units > 1] or list(inner)
    return maps[(len(maps) - 1) // 2]


def strongest(activations: np.ndarray, highest: np.ndarray | None) -> int:
    """The unit that answers most to a picture: relative to its maximum over a data set or, without one, by its value.

    Args:
        activations: C×H×W.
        highest: C, the maxima; None if they are not known.
    """
    values = np.nan_to_num(activations.reshape(len(activations), -1), nan=-np.inf).max(1)
    if highest is None or not np.isfinite(highest).all() or highest.max() <= 0:
        return int(values.argmax())
    relative = np.round(values / np.maximum(highest, FAINT * highest.max()) * NEAR)
    return int(np.lexsort((values, relative))[-1])


def begun(state: State, layers: Sequence[Layer]) -> State:
    """The state when the network is there and has not seen the picture yet: the middle layer."""
    layer = opening_layer(layers)
    return replace(state, layer=layer, unit=0, home=Home(layer))


def first_backward(doubts: Collection[str], usual: str) -> str:
    """The backward method that the window opens with.

    Args:
        doubts: methods that fail on this network.
        usual: the method in its place.
    """
    return usual if FIRST_BACKWARD in doubts else FIRST_BACKWARD


def gives_a_picture(result: Result | None) -> bool:
    """Whether a backward method has an image for the picture in view."""
    pixels = None if result is None or result.error else result.pixels
    return pixels is not None and bool(np.isfinite(pixels).all() and pixels.any())


def with_other_backward(state: State, method: str) -> State:
    """The state, opened anew with another backward method; one that the user has chosen since stays."""
    chosen = method if state.method == state.home.method else state.method
    return replace(state, method=chosen, home=replace(state.home, method=method))


def opened(
    state: State, layers: Sequence[Layer], activations: np.ndarray, highest: np.ndarray | None, method: str
) -> State:
    """The state on which the window opens: the unit that answers most to the picture, with its backward image.

    If the user has selected something since `begun`, it stays selected.

    Args:
        activations: those of the layer that `begun` selected, C×H×W.
        highest: as in `strongest`.
        method: the backward method, see `first_backward`.
    """
    home = Home(state.home.layer, strongest(activations, highest), method)
    state = replace(state, home=home)
    if (state.layer, state.unit) != (home.layer, 0):
        return state
    return replace(state, unit=home.unit, method=state.method or method)


def opened_at(state: State, layer: int, unit: int) -> State:
    """The state on which the window opens if the user has named a unit: that one, with the method of the user's."""
    return replace(state, layer=layer, unit=unit, home=Home(layer, unit))
