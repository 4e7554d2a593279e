"""What the window asks of the engine, and what comes back.

Both are immutable. A result carries its request, so whether it still answers what the user
looks at is a comparison, not a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from deepvis.core.frames import Frame
from deepvis.synthesis.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """One question to the network.

    Attributes:
        frame: the picture to look at.
        crop: cut the middle out of the frame (true) or stretch it (false) to the network's input.
        layer: name of the layer whose activations are shown.
        method: backward method (a key of `deepvis.networks.activation_rules.METHODS`), None for none.
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
    receptive_field: "ReceptiveField | None" = None
    peaks: Peaks | None = None
    seconds: dict[str, float] | None = None
    bad: int = 0
    error: str = ""


@dataclass(frozen=True, eq=False)
class UnitPictures:
    """Stored pictures of the selected unit, and of the units that pattern mode shows.

    Attributes:
        layer, unit: whose they are.
        synthesized: uint8 H×W×3 RGB each, best first.
        cells: {unit: its best picture}, as far as they have been read.
        known: there are pictures of this layer in the store.
        note: why there are none of this unit, in words; empty if nobody has made any.
    """

    layer: str
    unit: int
    synthesized: tuple[np.ndarray, ...] = ()
    cells: Mapping[int, np.ndarray] = field(default_factory=dict)
    known: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class Cells:
    """One picture for each of a layer's units.

    Attributes:
        layer: whose they are.
        pictures: {unit: uint8 H×W×3 RGB}, as far as they have been made.
        dead: units that no picture excites.
        note: why there are none, in words.
    """

    layer: str
    pictures: Mapping[int, np.ndarray] = field(default_factory=dict)
    dead: frozenset[int] = frozenset()
    note: str = ""


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


@dataclass(frozen=True, eq=False)
class TopPictures:
    """The patches of photos that a unit answered to most, and what in them it answered to.

    Attributes:
        layer, unit: whose they are.
        root: the folder that the photos' names are relative to.
        patches: best first.
        method: the backward method.
        backward: for each patch the values carried back to its pixels, float32 h×w×3 RGB, None
            without a photo; empty until they are there.
        note: why there are no patches, in words.
        backward_note: why there are no backward images.
        seen: of moments that were collected, for each patch what the network saw, uint8 RGB; else empty.
    """

    layer: str
    unit: int
    root: str = ""
    patches: tuple[Patch, ...] = ()
    method: str = ""
    backward: tuple[np.ndarray | None, ...] = ()
    note: str = ""
    backward_note: str = ""
    seen: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Growth:
    """A wish: synthesize these units' images now, from these seeds.

    Attributes:
        layer, unit: the unit.
        preset: name of the recipe.
        seeds: one for each image.
        recipes: the desk's, one for each image, which then end at the recipes' steps and, on a
            CPU, are made at half the size where the network takes it; empty: all as the preset.
    """

    layer: str
    unit: int
    preset: str
    seeds: tuple[int, ...]
    recipes: tuple[Recipe, ...] = ()


@dataclass(frozen=True, eq=False)
class Grown:
    """What has become of a `Growth` so far: images (uint8 H×W×3 RGB each), steps, scores; or an error in words.

    `recipe`: of the first image. `done`: they grow no more.
    """

    wish: Growth
    images: tuple[np.ndarray, ...] = ()
    scores: tuple[float, ...] = ()
    steps: int = 0
    error: str = ""
    recipe: Recipe | None = None
    done: bool = False


@dataclass(frozen=True)
class ReceptiveField:
    """What part of the input the units of a layer depend on, in input pixels.

    Attributes:
        height, width: of one unit's field; may be more than the input's.
        clipped: the field reaches the border of the input all round the map, so that it may be larger.
        stride: how far the field moves (down, right) to the next (row, column) of the map. A fraction
            where it is only known to be even; 0 for a vector.
        start: (top, left) of the field of the unit at row 0, column 0; may be negative.
    """

    height: int
    width: int
    clipped: bool
    stride: tuple[float, float] = (0, 0)
    start: tuple[float, float] = (0, 0)

    @property
    def text(self) -> str:
        size = f"{self.width}×{self.height}"
        return f"{size} or more" if self.clipped else size

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of the field of the unit at a place of the map.

        Not clipped to the input: a part of it may lie outside.
        """
        top, left = (round(start + stride * i) for start, stride, i in zip(self.start, self.stride, (row, column)))
        return left, top, self.width, self.height
