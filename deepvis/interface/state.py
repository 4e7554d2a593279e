"""The state: everything that the user has chosen to see. It is kept nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deepvis.attribution.methods import METHODS
from deepvis.core.frames import Frame, Photo
from deepvis.core.geometry import RelativeBox
from deepvis.interface.contents import CONTENTS, Content
from deepvis.interface.unit_grid import Order, PaneView
from deepvis.synthesis.recipe_grid import RecipeGrid

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
    "tv",
    "tv-jitter",
    "blur-jitter",
    "center-biased",
    "maco",
    "modern-2025",
    "generator",
    "generator-modern",
)  # key 1, before saved recipes
Source = Literal["camera", "files"]
THEMES = ("dark", "light")  # the colours of the interface
COLORS = ("blue-orange", "viridis", "inferno", "cividis", "turbo")  # of values; key #
HEATS = ("off", "activation", "backward")  # over the picture; key backslash
OPACITIES = (0.3, 0.5, 0.7)  # key |
LAYOUT_NAMES = ("standard", "projector")
PARTS = ("layer", "unit")  # key (: what of the code is remembered or dreamed
DREAM_MODES = ("picture", "zoom", "live")  # key {
ZOOM_CYCLE = ("layer", "unit", "backward", "picture")  # key z
ZOOMS = (*ZOOM_CYCLE, "facets", "curves", "nearest")  # what the big pane shows


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
class Control:
    """What the mouse points at: a tab or a chip, which stands for a command.

    Attributes:
        call: the command that a click runs, as `deepvis.interface.commands.run` takes it.
        words: what it does, in words.
    """

    call: str
    words: str


@dataclass(frozen=True)
class Ranking:
    """The way from a layer's strongest unit to weaker ones.

    Attributes:
        order: the units, strongest first, as they were when the way began.
        rank: how many of them come before the selected unit.
    """

    order: Order
    rank: int


@dataclass(frozen=True)
class LiveMoment:
    """What the mouse points at: the strongest moment of what the selected unit did lately.

    Attributes:
        photo: the picture of that moment.
    """

    photo: Photo


@dataclass(frozen=True)
class FacetPhoto:
    """What the mouse points at: a photo of the facet map.

    Attributes:
        number: of the map's member.
        photo: the photo.
    """

    number: int
    photo: Photo


@dataclass(frozen=True)
class ComparedPhoto:
    """What the mouse points at: a photo near an image of the selected unit.

    Attributes:
        row, column: where it is shown.
        photo: the photo.
    """

    row: int
    column: int
    photo: Photo


@dataclass(frozen=True)
class Spot:
    """A place in a picture in which a box can be drawn, under a point of the screen.

    Attributes:
        frame: the picture.
        x, y: in shares of its sides; the nearest one if the point is outside of what is shown of the picture.
        is_inside: whether the point is in it.
    """

    frame: Frame
    x: float
    y: float
    is_inside: bool


@dataclass(frozen=True)
class DrawnBox:
    """A part of a picture that the user has drawn with the mouse.

    Attributes:
        frame: the picture.
        box: the part, in shares of its sides.
    """

    frame: Frame
    box: RelativeBox


Target = Hover | TopImage | Control | LiveMoment | FacetPhoto | ComparedPhoto | None  # what lies under a point


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
        theme, colors: the colours of the interface and of values, from THEMES and COLORS.
        heat, opacity: what is laid over the picture as heat, one of HEATS, and how opaque it is.
        layout: where the panes lie, one of LAYOUT_NAMES.
        enlarged: the pane that fills the window; None if all are shown.
        full_screen: the window fills the screen.
        order: the order of the layer's units in the layer pane; None for the order of their numbers.
        ranking: where the user is on the way from the layer's strongest unit to weaker ones; None if not on it.
        held: the picture that the one in view is compared with; None if none is held.
        home: what the window opened on.
        finding: the command palette is open; `typing` is the text in it.
        picked: the line of the palette that Enter does.
        looked_at: the layer that the wheel has brought into view in the layer list; None: the selected one.
        hints: the commands of the hint line that were used.
        part: what is remembered or dreamed: the whole layer, or the selected unit alone; one of PARTS.
        dream_mode: what is dreamed, one of DREAM_MODES.
        dreaming: the dream goes on; if false it stands still.
        dream_rounds: how often the user has asked to dream on from the result.
        guided: the held picture guides the dream.
        facet_count: how many facets are asked for; 0 for as many as are stored, or as the silhouette suggests.
        facet_view: the visible part of the facet map.
        own_filter: the filter that the user has chosen by itself, to which reset goes back.
        guide_box: the drawn box that guides the dream in place of the held picture; None if there is none.
        new_box: the box that is being drawn; None if none is.
        also: (layer, unit) that images made now are to excite together with the selected unit; None for that alone.
        nearest_round: how often the user has asked to compare growing images with the photos again.
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
    hover: Target = None
    growing: bool = False
    preset: str = PRESET_CYCLE[0]
    recipe_grids: tuple[RecipeGrid, ...] = ()
    collecting: bool = False
    moments: bool = False
    values: bool = False
    photo: Photo | None = None
    theme: str = THEMES[0]
    colors: str = COLORS[0]
    heat: str = HEATS[0]
    opacity: float = OPACITIES[1]
    layout: str = LAYOUT_NAMES[0]
    enlarged: str | None = None
    full_screen: bool = False
    order: Order | None = None
    ranking: Ranking | None = None
    held: Frame | None = None
    home: Home = Home()
    finding: bool = False
    picked: int = 0
    looked_at: int | None = None
    hints: tuple[str, ...] = ()
    part: str = PARTS[0]
    dream_mode: str = DREAM_MODES[0]
    dreaming: bool = True
    dream_rounds: int = 0
    guided: bool = False
    facet_count: int = 0
    facet_view: PaneView = field(default=PaneView())
    own_filter: str = FILTERS[0]
    guide_box: DrawnBox | None = None
    new_box: DrawnBox | None = None
    also: tuple[int, int] | None = None
    nearest_round: int = 0

    @property
    def shown_order(self) -> Order | None:
        """The order of the units in the layer pane's grid; None for the order of their numbers."""
        order = self.order
        return order if order is not None and order.layer == self.layer and not self.shown.is_matrix else None

    @property
    def shown(self) -> Content:
        """The row of CONTENTS that the layer pane shows."""
        return CONTENTS[self.content]

    @property
    def partner(self) -> tuple[int, int] | None:
        """The unit that images made now are to excite, too; None if it is the selected one."""
        return None if self.also == (self.layer, self.unit) else self.also

    @property
    def backward_origin(self) -> tuple[int, int]:
        """(layer, unit) from which the backward pass starts."""
        return self.origin or (self.layer, self.unit)
