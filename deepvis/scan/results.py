"""What is read from an index: patches of photos, and how a layer's units answer to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Statistics:
    """How a layer's units answer to a set of images. A unit's response to an image is its largest activation.

    Attributes:
        layer: whose they are.
        images: how many images there were.
        counts: float32 U×B, images in each of B even bins of the response.
        low, high: float32 U, where a unit's bins begin and end.
        mean, deviation: float32 U, of the responses.
        active: int U, in how many images the response is above 0.
        dead, always: bool U: never above 0; above 0 everywhere in every image.
        correlation: float32 U×U of the responses, −1 … 1; None if it was not computed.
        order: int U, the units so that those which correlate are neighbours; None before it was asked for.
        note: why there is nothing of all this, in words.
    """

    layer: str
    images: int = 0
    counts: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    active: np.ndarray | None = None
    dead: np.ndarray | None = None
    always: np.ndarray | None = None
    correlation: np.ndarray | None = None
    order: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Patch:
    """What a unit saw in one photo, where it answered most.

    Attributes:
        image: the photo's number in the index.
        name: the photo's name, relative to the index's folder of photos.
        row, column: on the layer's map.
        value: the unit's there.
        box: the receptive field in the network's input (left, top, width, height in pixels); parts
            may lie outside of it.
        pixels: uint8 RGB, gray where the field leaves what the network saw; None if the photo cannot
            be read.
        error: why not.
    """

    image: int
    name: str
    row: int
    column: int
    value: float
    box: tuple[int, int, int, int]
    pixels: np.ndarray | None
    error: str = ""
