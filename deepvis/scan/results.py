"""What is computed from an index: the statistics of a layer, and patches of photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of a layer's responses to a set of images. A unit's response to an image is its largest activation.

    Attributes:
        layer: the layer.
        images: number of images.
        counts: float32 U×B, number of images in each of B bins of equal width.
        low, high: float32 U, begin and end of each unit's bins.
        mean, deviation: float32 U, mean and standard deviation of the responses.
        active: int U, number of images with a response above 0.
        dead, always: bool U, units that are never above 0, and units that are above 0 everywhere in every image.
        correlation: float32 U×U, correlation of the responses, −1 … 1; None if it was not computed.
        order: int U, an order of the units in which correlated ones are neighbours; None if it was not asked for.
        note: a text that says why there are no statistics.
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
    """The patch of a photo in a unit's receptive field, at the place where the unit is strongest.

    Attributes:
        image: the photo's number in the index.
        name: the photo's name, relative to the index's folder of photos.
        row, column: the place on the layer's map.
        value: the unit's activation there.
        box: the receptive field in the network's input (left, top, width, height in pixels); a part may lie outside.
        pixels: uint8 RGB, gray outside of what the network saw; None if the photo cannot be read.
        error: why the photo cannot be read; else empty.
    """

    image: int
    name: str
    row: int
    column: int
    value: float
    box: tuple[int, int, int, int]
    pixels: np.ndarray | None
    error: str = ""
