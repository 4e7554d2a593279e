"""Requests to the network, and their results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from deepvis.attribution.methods import Progress
from deepvis.core.frames import Frame
from deepvis.core.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Request:
    """A request to run the network.

    Attributes:
        frame: the picture to run it on.
        crop: crop the centre of the frame (true) or stretch the frame (false) to the network's input.
        layer: name of the layer whose activations are shown.
        method: backward method (a key of `deepvis.attribution.methods.METHODS`), None for none.
        origin: (layer, unit) from which the backward pass starts; None without a method.
        layer_gradient: also return the backward values at `layer`.
        peaks: also return the largest activation of every unit of every layer, and its position.
        held: the frame is the held picture, with which the one in view is compared.
        others: (layer, unit) of other units whose maps are shown too.
        so_far: an unfinished result of a method of many passes, to which more passes are to be added.
    """

    frame: Frame
    crop: bool
    layer: str
    method: str | None = None
    origin: tuple[str, int] | None = None
    layer_gradient: bool = False
    peaks: bool = False
    held: bool = False
    others: tuple[tuple[str, int], ...] = ()
    so_far: Result | None = None

    def only_newer(self, other: Request) -> bool:
        """Whether this request differs from `other` only by a newer live frame; then the user does not wait for it."""
        return self.frame.live and other.frame.live and replace(self, frame=other.frame, peaks=other.peaks) == other


@dataclass(frozen=True, eq=False)
class Peaks:
    """The largest activation of each unit of each layer; the layers follow one another in network order.

    Attributes:
        value: float32 U, the unit's largest activation; NaN if an activation is NaN.
        cell: int32 U, its position on the map: row × width + column; the first one among equals.
    """

    value: np.ndarray
    cell: np.ndarray


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to a request. The result owns its arrays, and nothing writes to them any more.

    Attributes:
        request: the request.
        activations: float32 C×H×W of the request's layer (H = W = 1 for vectors); None on failure.
        scores: float32, the network's output vector (probabilities if it ends in a softmax); None if the output is
            not a vector.
        pixels: float32 H×W×3 RGB, the backward image at the network's input; None if not asked for.
        layer_gradient: float32 C×H×W, backward values at the layer; None if not asked for, or if
            the layer comes after the origin, where the backward pass does not get.
        receptive_field: that of the layer's units; None if it is not known, or not yet.
        peaks: the peaks of all layers; None if not asked for.
        seconds: {step: how long it took}.
        bad: number of activations that are NaN or infinite.
        others: for each of the request's other units its activations, float32 h×w.
        error: a message for the user that says what failed; empty on success.
        note: what the backward method says of its image.
        progress: what a method of many passes has computed so far; None if it is finished.
    """

    request: Request
    activations: np.ndarray | None = None
    scores: np.ndarray | None = None
    pixels: np.ndarray | None = None
    layer_gradient: np.ndarray | None = None
    receptive_field: ReceptiveField | None = None
    peaks: Peaks | None = None
    seconds: dict[str, float] | None = None
    bad: int = 0
    error: str = ""
    others: tuple[np.ndarray, ...] = ()
    note: str = ""
    progress: Progress | None = None

    @cached_property
    def responses(self) -> np.ndarray:
        """Float32 C: the largest activation of each unit; NaN if one is NaN. Empty on failure."""
        return np.empty(0, np.float32) if self.activations is None else self.activations.max(axis=(1, 2))


@lru_cache(maxsize=2)
def difference(result: Result, held: Result) -> np.ndarray | None:
    """How much the activations of a result are above those of another one, float32 C×H×W.

    None if they cannot be compared: one has failed, or they are of two layers or of pictures fitted in two ways.
    """
    one, other = result.activations, held.activations
    same = (result.request.layer, result.request.crop) == (held.request.layer, held.request.crop)
    if one is None or other is None or not same or one.shape != other.shape:
        return None
    values: np.ndarray = one - other
    return values
