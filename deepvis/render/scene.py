"""What the renderer is given: everything a picture of the window depends on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer, unit_id
from deepvis.interface.state import Hover, State, TopImage
from deepvis.scan.results import Statistics
from deepvis.synthesis.recipe import image_seed
from deepvis.synthesis.recipe_grid import SIDE, table
from deepvis.workers.messages import Cells, Grown, TopPictures, UnitPictures


@dataclass(frozen=True)
class Status:
    """The slow-changing words of the status bar; rates are per second. `moments`: how many were collected, None if that is off."""

    model: str = ""
    device: str = ""
    network_rate: float | None = None
    screen_rate: float | None = None
    message: str = ""
    is_error: bool = False
    timings: str = ""
    recording: bool = False
    moments: int | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """One moment of the window.

    Attributes:
        state: what the user wants to see.
        layers, classes: of the network; empty while it loads.
        input_size: height and width of the network's input, in pixels.
        frame: the newest picture of the input.
        result: the newest answer of the network, perhaps to an older question.
        busy: the network has been silent for longer than the eye takes for "at once".
        waiting: words for what is being waited for before there is anything to show.
        help: rows (group, keys, text) of the help screen.
        status: the words of the status bar.
        pictures: stored pictures of units, perhaps of another unit than the selected one.
        grown: images that are being synthesized, perhaps of another unit; None if none are.
        pictures_of: the layer whose pictures stand for the selected layer's.
        tops: top images, perhaps of another unit.
        cells: the top image of each unit, perhaps of another layer; None before any is there.
        statistics: of a layer's units, perhaps of another layer; None before they are there.
    """

    state: State
    layers: tuple[Layer, ...] = ()
    classes: tuple[str, ...] = ()
    frame: Frame | None = None
    result: Result | None = None
    busy: bool = False
    waiting: str = ""
    help: tuple[tuple[str, str, str], ...] = ()
    status: Status = field(default_factory=Status)
    input_size: tuple[int, int] = (224, 224)
    pictures: UnitPictures | None = None
    grown: Grown | None = None
    pictures_of: str = ""
    tops: TopPictures | None = None
    cells: Cells | None = None
    statistics: Statistics | None = None

    @property
    def hover(self) -> Hover | TopImage | None:
        """What the mouse points at, if this scene has such a thing: panes read this and not the state's, which may
        have been found in another picture, with another content, layer or network."""
        hover, state = self.state.hover, self.state
        if isinstance(hover, TopImage):
            return hover if self.own_tops is not None and 0 <= hover.number < len(self.own_tops.patches) else None
        if hover is None or not 0 <= hover.layer < len(self.layers):
            return None
        units = self.layers[hover.layer].units
        if any(unit is not None and not 0 <= unit < units for unit in (hover.unit, hover.other)):
            return None
        if hover.tile is not None:
            fits = bool(state.recipe_grids) and not state.help and 0 <= hover.tile < SIDE**2
            return hover if fits and (hover.layer, hover.unit) == (state.layer, state.unit) else None
        if hover.other is not None:
            return hover if state.has_matrix and hover.unit is not None and hover.layer == state.layer else None
        return hover

    @property
    def aspect(self) -> float:
        """Width / height of the network's input."""
        return self.input_size[1] / self.input_size[0]

    @property
    def layer(self) -> Layer | None:
        return self.layers[self.state.layer] if self.layers else None

    @property
    def own_pictures(self) -> UnitPictures | None:
        """The stored pictures, if they are the selected unit's."""
        p = self.pictures
        return p if p is not None and (p.layer, p.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def own_grown(self) -> Grown | None:
        """The growing images, if they are the selected unit's."""
        g = self.grown
        return g if g is not None and (g.wish.layer, g.wish.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def own_recipe_grid(self) -> Grown | None:
        """The growing images, if they are those of the selected unit and of the grid that is shown."""
        g = self.own_grown
        if g is None or not self.state.recipe_grids:
            return None
        shown = self.state.recipe_grids[-1]
        seed = image_seed(shown.seed, self.state.unit, 0)
        return g if g.wish.recipes == table(shown).recipes and g.wish.seeds[0] == seed else None

    @property
    def own_tops(self) -> TopPictures | None:
        """The top images, if they are the selected unit's."""
        t = self.tops
        return t if t is not None and (t.layer, t.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def own_cells(self) -> Cells | None:
        """The units' top images, if they are the selected layer's."""
        return self.cells if self.cells is not None and self.cells.layer == self.pictures_of else None

    @property
    def own_statistics(self) -> Statistics | None:
        """The statistics, if they are the selected layer's."""
        s = self.statistics
        return s if s is not None and self.layer and s.layer == self.layer.name else None

    @property
    def unit(self) -> str:
        """Id of the selected unit."""
        return unit_id(self.layer.name, self.state.unit) if self.layer else ""

    @property
    def origin_unit(self) -> str:
        """Id of the unit that the backward pass starts from."""
        layer, unit = self.state.backward_origin
        return unit_id(self.layers[layer].name, unit)

    @property
    def scores(self) -> np.ndarray | None:
        """The network's output vector; None if it has none or there is no result."""
        return self.result.scores if self.result else None

    @property
    def class_layer(self) -> int | None:
        """The layer whose units are the entries of the output vector: the last one of that size."""
        fitting = [
            i
            for i, a in enumerate(self.layers)
            if self.scores is not None and not a.is_map and a.units == len(self.scores)
        ]
        return fitting[-1] if fitting else None

    @property
    def shows_layer(self) -> bool:
        """The result is of the selected layer."""
        r = self.result
        return bool(r and self.layer and r.activations is not None and r.request.layer == self.layer.name)

    @property
    def shows_backward(self) -> bool:
        """The result's backward image is of the origin and the method that the user wants."""
        r = self.result
        if not (r and self.layers and r.pixels is not None):
            return False
        layer, unit = self.state.backward_origin
        return r.request.method == self.state.method and r.request.origin == (self.layers[layer].name, unit)

    @property
    def shows_layer_gradient(self) -> bool:
        """The result answers the question for backward values at the selected layer."""
        return self.shows_layer and self.shows_backward and self.result.request.layer_gradient

    @property
    def channel(self) -> np.ndarray:
        """Activations of the selected unit, float32 H×W; only if `shows_layer`."""
        return self.result.activations[self.state.unit]
