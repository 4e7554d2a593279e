"""The state: everything that the user has chosen to see. It is kept nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deepvis.attribution.methods import METHODS
from deepvis.core.frames import Photo
from deepvis.interface.contents import CONTENTS, Content
from deepvis.interface.unit_grid import PaneView
from deepvis.synthesis.recipe_grid import RecipeGrid

METHOD_CYCLE = (None, *METHODS)  # key n
FILTERS = ("raw", "gray", "norm", "blurred norm")  # key m
COMMON_BACKWARD = (  # key b: (method, filter)
    (None, "raw"),
    *((method.name, "raw") for method in METHODS.values() if method.in_cycle),
    ("gradient", "blurred norm"),
)
GAMMAS = (1.0, 0.7, 0.5, 0.35, 0.25)  # key t: exponent of the normalised activation
BOOSTS = (0.0, 0.5, 0.8, 1.0)  # key y: 0 normalises over the layer, 1 each channel by itself
PRESET_CYCLE = (
    "modern",
    "yosinski-1",
    "yosinski-2",
    "yosinski-3",
    "yosinski-4",
    "plain",
)  # key 1, before saved recipes
Source = Literal["camera", "files"]
ZOOMS = ("layer", "unit", "backward")  # key z: what the big pane shows


@dataclass(frozen=True)
class Hover:
    """What the mouse points at: a layer, one of its units, a pair of its units (in the correlation matrix),
    or a tile of the recipe grid, which shows that unit.

    Attributes:
        layer: position in the network's layers.
        other: the second unit of the pair.
        tile: number of the recipe grid's tile.
    """

    layer: int
    unit: int | None = None
    other: int | None = None
    tile: int | None = None


@dataclass(frozen=True)
class TopImage:
    """What the mouse points at: a top image of the selected unit.

    Attributes:
        number: counted from the best.
        photo: the photo or the moment that it is cut from; None if that is not known.
    """

    number: int
    photo: Photo | None


@dataclass(frozen=True)
class Home:
    """What the window opened on: a unit, and the backward method that was on. The command reset goes back to it."""

    layer: int = 0
    unit: int = 0
    method: str | None = None


@dataclass(frozen=True)
class State:
    """Everything that the user has chosen to see; every command returns a new state.

    Attributes:
        layer, unit: the selection; `layer` is a position in the network's layers.
        in_channels: the cursor is among the channels (true) or in the layer list (false).
        zoom: what the big pane shows, one of ZOOMS.
        content: what the layer pane shows of each unit, one of CONTENTS.
        method, filter: backward method (None: off) and how its image is shown.
        origin: frozen (layer, unit) that the backward pass starts from; if None it starts from the selection.
        layer_gradient: backward values instead of activations in the layer pane.
        gamma, boost: positions in GAMMAS and BOOSTS.
        view: the visible part of the layer pane's mosaic.
        predictions, unit_images, receptive_field, help, debug: shown or not.
        source: "camera" or "files".
        frozen: the camera stands still, or the video pauses.
        crop: the centre of the picture is cropped to the input's aspect; if false the picture is stretched.
        step: number of the current file, counted from the first.
        typing: the text typed so far, None when not typing. It is a unit's id or, with `naming`, the name
            under which the recipe grid's chosen settings are to be saved.
        message: what the last command says; `message_is_error` if the command failed.
        hover: what the mouse points at.
        values: each top image's value is written on it.
        photo: a top image's whole photo or moment, which is the input in place of the source.
        growing: the selected unit's preferred images are synthesized now, with the recipe named `preset`.
        collecting: the strongest moments of the input are collected for every unit.
        moments: the top images shown are the collected moments, not those of a data set.
        recipe_grids: the recipe grids visited so far, the last of which is shown; empty if the recipe grid is closed.
        home: what the window opened on.
    """

    layer: int = 0
    unit: int = 0
    in_channels: bool = False
    zoom: str = "layer"
    content: str = "activations"
    method: str | None = None
    filter: str = "raw"
    origin: tuple[int, int] | None = None
    layer_gradient: bool = False
    gamma: int = 0
    boost: int = 0
    view: PaneView = field(default=PaneView())
    predictions: bool = True
    unit_images: bool = True
    receptive_field: bool = True
    help: bool = False
    debug: bool = False
    source: Source = "files"
    frozen: bool = False
    crop: bool = True
    step: int = 0
    typing: str | None = None
    naming: bool = False
    message: str = ""
    message_is_error: bool = False
    hover: Hover | TopImage | None = None
    growing: bool = False
    preset: str = PRESET_CYCLE[0]
    recipe_grids: tuple[RecipeGrid, ...] = ()
    collecting: bool = False
    moments: bool = False
    values: bool = False
    photo: Photo | None = None
    home: Home = Home()

    @property
    def shown(self) -> Content:
        """The row of CONTENTS that the layer pane shows."""
        return CONTENTS[self.content]

    @property
    def backward_origin(self) -> tuple[int, int]:
        """(layer, unit) from which the backward pass starts."""
        return self.origin or (self.layer, self.unit)
