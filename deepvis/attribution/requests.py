"""What is asked of a network, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepvis.core.frames import Frame
from deepvis.core.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Request:
    """One question to the network.

    Attributes:
        frame: the picture to look at.
        crop: cut the middle out of the frame (true) or stretch it (false) to the network's input.
        layer: name of the layer whose activations are shown.
        method: backward method (a key of `deepvis.attribution.methods.METHODS`), None for none.
        origin: (layer, unit) from which the backward pass starts; None without a method.
        layer_gradient: also return the backward values at `layer`.
        peaks: also return where every unit of every layer answers most.
    """

    frame: Frame
    crop: bool
    layer: str
    method: str | None = None
    origin: tuple[str, int] | None = None
    layer_gradient: bool = False
    peaks: bool = False

    def only_newer(self, other: Request) -> bool:
        """Whether this asks of a newer live frame what `other` asks of its own: then nobody waits for it."""
        return self.frame.live and other.frame.live and replace(self, frame=other.frame, peaks=other.peaks) == other


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where each unit of each layer answers most, layer after layer in the network's order.

    Attributes:
        value: float32 U, the unit's largest activation; NaN if it has one.
        cell: int32 U, where on its map: row × width + column, the first one among equals.
    """

    value: np.ndarray
    cell: np.ndarray


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to one request. All arrays are owned by the result and never written to again.

    Attributes:
        request: the question.
        activations: float32 C×H×W of the request's layer (H = W = 1 for vectors); None on failure.
        scores: float32, the network's output vector (probabilities, where it ends in a softmax).
        pixels: float32 H×W×3 RGB, the backward image at the network's input; None if not asked for.
        layer_gradient: float32 C×H×W, backward values at the layer; None if not asked for, or if
            the layer comes after the origin, where nothing flows.
        receptive_field: of the layer's units; None if it is not known, or not yet.
        peaks: of all layers; None if not asked for.
        seconds: time the worker took, by step.
        bad: how many of the activations are not a number or infinite.
        error: what went wrong, in words for the user; empty on success.
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
