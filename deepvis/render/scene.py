"""The scene: everything that a picture of the window depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.frames import Frame, Photo
from deepvis.core.layers import Layer, stands_for, unit_id
from deepvis.core.receptive_field import ReceptiveField
from deepvis.core.weights import InputWeights
from deepvis.interface.palette import Entry
from deepvis.interface.requests import needs_still
from deepvis.interface.state import ComparedPhoto, Control, FacetPhoto, LiveMoment, State, Target, TopImage
from deepvis.scan.results import Statistics
from deepvis.store.watched_priors import WatchedPrior
from deepvis.synthesis.recipe import image_seed
from deepvis.synthesis.recipe_grid import SIDE, table
from deepvis.workers.messages import Cells, Grown, Scanning, TopPictures, UnitFacets, UnitPictures
from deepvis.workers.nearest_messages import NearestPhotos
from deepvis.workers.picture_messages import DreamView, MethodCurves, Remembered


@dataclass(frozen=True)
class Status:
    """The slow-changing words of the status bar; rates are per second.

    `moments`: how many were collected, None if that is off. `options`: the options that name the network and the folder
    of one's own data on the command line, each with a space before it.
    """

    model: str = ""
    device: str = ""
    network_rate: float | None = None
    screen_rate: float | None = None
    message: str = ""
    is_error: bool = False
    timings: str = ""
    recording: bool = False
    moments: int | None = None
    options: str = ""


@dataclass(frozen=True, eq=False)
class Matrix:
    """The correlation matrix of a layer.

    Attributes:
        correlation: float32 U×U, by the units' numbers.
        order: the units in the order of the rows.
    """

    correlation: np.ndarray
    order: np.ndarray


@dataclass(frozen=True, eq=False)
class Curve:
    """A unit's largest activation in the live pictures of the last seconds.

    Attributes:
        layer, unit: the unit.
        seconds: float32 n, when the pictures were seen, counted from the newest one: 0 or less.
        values: float32 n, the unit's largest activation in each.
        peak_seconds, peak: the largest of the values, and when it was.
        photo: the picture of that moment; None if it cannot be shown again.
    """

    layer: str
    unit: int
    seconds: np.ndarray
    values: np.ndarray
    peak_seconds: float
    peak: float
    photo: Photo | None = None


@dataclass(frozen=True, eq=False)
class LoadingScene:
    """Everything that one picture of the window shows while the network loads.

    Attributes:
        state: what the user wants to see.
        frame: the newest picture of the input.
        busy: the network has been computing for so long that the user should be told.
        waiting: a text that says what the program waits for, until there is something to show.
        help: rows (group, keys, text) of the help screen.
        keys: {command name: its keys}.
        status: what the status bar says besides the selection.
        found: the lines of the command palette; none if it is closed.
    """

    state: State
    _: KW_ONLY
    frame: Frame | None = None
    busy: bool = False
    waiting: str = ""
    help: tuple[tuple[str, str, str], ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    status: Status = field(default_factory=Status)
    found: tuple[Entry, ...] = ()


@dataclass(frozen=True, eq=False)
class Scene(LoadingScene):
    """Everything that one picture of the window shows.

    Attributes:
        layers: the network's layers, at least one.
        classes: names of the entries of its output.
        input_size: height and width of its input, in pixels.
        result: the newest result of the network; it may answer an older request.
        held: the same for the held picture; None if none is held.
        pictures: stored images; they may still be those of the unit selected before.
        grown: images that are being synthesized, perhaps still of the unit before; None if there are none.
        pictures_of: the layer whose images are shown for the selected layer (for class probabilities, the layer
            of the scores before them).
        tops: top images, perhaps still of the unit before.
        cells: the top image of each unit, perhaps still of the layer before; None before the first has arrived.
        statistics: histograms and correlation of units, perhaps still of the layer before; None before the first
            have arrived.
        curve: what a unit did lately, perhaps still the one before; None if there are no live pictures.
        is_held: this is the scene of the held picture (see `of_held`).
        filters: pictures of the layer's filters on the pixels, if the layer pane shows them.
        scanning: how far the scan is that the window makes by itself; None if it makes none.
        grows_by_itself: images that are not stored grow while nothing else is asked for.
        weights: of the units that feed the selected one, perhaps still of the unit before; None if not asked for.
        remembered: a picture rebuilt from a layer's code, perhaps still of the layer before.
        dream: a dream, perhaps still of the layer before.
        facets: facets, perhaps still of the unit before; None if they are not shown.
        doubts: {backward method: in what it fails on this network}, as far as that was measured.
        curves: of the backward methods, perhaps still on the picture before; None if they are not shown.
        prior: a layer's prior and how its training goes, perhaps still the layer before; None if it is not shown.
        nearest: the photos nearest to images, perhaps still those of the unit before; None if they are not shown.
    """

    _: KW_ONLY
    layers: tuple[Layer, ...]
    classes: tuple[str, ...] = ()
    input_size: tuple[int, int] = (224, 224)
    result: Result | None = None
    held: Result | None = None
    pictures: UnitPictures | None = None
    grown: Grown | None = None
    pictures_of: str = ""
    tops: TopPictures | None = None
    cells: Cells | None = None
    statistics: Statistics | None = None
    curve: Curve | None = None
    is_held: bool = False
    scanning: Scanning | None = None
    filters: UnitPictures | None = None
    weights: InputWeights | None = None
    remembered: Remembered | None = None
    dream: DreamView | None = None
    facets: UnitFacets | None = None
    grows_by_itself: bool = False
    doubts: Mapping[str, str] = field(default_factory=dict)
    curves: MethodCurves | None = None
    prior: WatchedPrior | None = None
    nearest: NearestPhotos | None = None

    @property
    def of_held(self) -> Scene | None:
        """The same scene of the held picture, in which the one in view is the other; None if none is held."""
        frame = self.state.held
        if frame is None or self.is_held:
            return None
        held = self.held if self.held is not None and self.held.request.frame is frame else None
        return replace(self, frame=frame, result=held, held=self.result, is_held=True)

    @property
    def hover(self) -> Target:
        """What the mouse points at, or None if it does not exist in this scene.

        Panes must read this and not `state.hover`, which was found in an earlier picture, perhaps with another
        content, layer or network.
        """
        hover, state = self.state.hover, self.state
        if isinstance(hover, TopImage):
            return hover if self.own_tops is not None and 0 <= hover.number < len(self.own_tops.patches) else None
        if isinstance(hover, Control):
            return hover
        if isinstance(hover, FacetPhoto):
            found = self.own_facets.laid_out if self.own_facets is not None else None
            return hover if found is not None and state.zoom == "facets" and hover.number < len(found.members) else None
        if isinstance(hover, ComparedPhoto):
            return hover if self.own_nearest is not None and state.zoom == "nearest" else None
        if isinstance(hover, LiveMoment):
            return hover if self.own_curve is not None and self.own_curve.photo == hover.photo else None
        if hover is None or not 0 <= hover.layer < len(self.layers):
            return None
        units = self.layers[hover.layer].units
        if any(unit is not None and not 0 <= unit < units for unit in (hover.unit, hover.other)):
            return None
        if hover.tile is not None:
            fits = bool(state.recipe_grids) and not state.help and 0 <= hover.tile < SIDE**2
            return hover if fits and (hover.layer, hover.unit) == (state.layer, state.unit) else None
        if hover.other is not None:
            is_pair = hover.unit is not None and hover.layer == state.layer
            return hover if state.shown.is_matrix and is_pair else None
        return hover

    @property
    def aspect(self) -> float:
        """Width / height of the network's input."""
        return self.input_size[1] / self.input_size[0]

    @property
    def layer(self) -> Layer:
        """The selected layer."""
        return self.layers[self.state.layer]

    @property
    def unit(self) -> str:
        """Id of the selected unit."""
        return unit_id(self.layer.name, self.state.unit)

    @property
    def origin_unit(self) -> str:
        """Id of the unit that the backward pass starts from."""
        layer, unit = self.state.backward_origin
        return unit_id(self.layers[layer].name, unit)

    # -- what the workers have found, if it is of the selected unit or layer ----------------------

    @property
    def own_pictures(self) -> UnitPictures | None:
        """The stored pictures, if they are the selected unit's."""
        p = self.pictures
        return p if p is not None and (p.layer, p.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def own_grown(self) -> Grown | None:
        """The growing images, if they are the selected unit's."""
        g = self.grown
        if g is None or (g.wish.layer, g.wish.unit) != (self.pictures_of, self.state.unit):
            return None
        return g if g.wish.also == (self.partner if self.state.growing else None) else None

    @property
    def partner(self) -> tuple[str, int] | None:
        """The unit that images made now are to excite, too."""
        also = self.state.partner
        return None if also is None or not self.layers else (stands_for(self.layers, also[0]), also[1])

    @property
    def own_recipe_grid(self) -> Grown | None:
        """The growing images, if they are those of the selected unit and of the current recipe grid."""
        g = self.own_grown
        if g is None or not self.state.recipe_grids:
            return None
        shown = self.state.recipe_grids[-1]
        seed = image_seed(shown.seed, self.state.unit, 0)
        return g if g.wish.recipes == table(shown).recipes and g.wish.seeds[0] == seed else None

    @property
    def own_facets(self) -> UnitFacets | None:
        """The facets, if they are the selected unit's."""
        f = self.facets
        return f if f is not None and (f.wish.layer, f.wish.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def own_tops(self) -> TopPictures | None:
        """The top images, if they are the selected unit's."""
        t = self.tops
        return t if t is not None and (t.layer, t.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def _part(self) -> tuple[str, int | None]:
        """The layer, and the unit if only its part is remembered or dreamed."""
        return self.layer.name, self.state.unit if self.state.part == "unit" else None

    @property
    def own_remembered(self) -> Remembered | None:
        """The rebuilt picture, if it is of the selected layer, and of the selected unit if only that is asked for."""
        r = self.remembered
        return r if r is not None and (r.wish.layer, r.wish.unit) == self._part else None

    @property
    def own_dream(self) -> DreamView | None:
        """The dream, if it is of the selected layer, and of the selected unit if only that is asked for."""
        d = self.dream
        is_own = d is not None and (d.wish.layer, d.wish.unit, d.wish.mode) == (*self._part, self.state.dream_mode)
        return d if is_own else None

    @property
    def own_curves(self) -> MethodCurves | None:
        """The curves of the backward methods, if they are of the picture in view."""
        c = self.curves
        return c if c is not None and (c.wish.frame, c.wish.crop) == (self.frame, self.state.crop) else None

    @property
    def own_prior(self) -> WatchedPrior | None:
        """The prior, if it is the selected layer's."""
        p = self.prior
        return p if p is not None and p.layer == self.layer.name else None

    @property
    def own_nearest(self) -> NearestPhotos | None:
        """The nearest photos, if they are those of the selected unit's images, by the selected layer."""
        n, own = self.nearest, (self.layer.name, (self.pictures_of, self.state.unit))
        return n if n is not None and (n.wish.layer, n.wish.of) == own else None

    @property
    def curves_need_still(self) -> bool:
        """Whether the picture moves, so that no curves are computed."""
        return self.frame is not None and self.frame.live and not self.state.frozen

    @property
    def scan_words(self) -> str:
        """A text that says how far the scan is that the window makes by itself; empty if it makes none."""
        return self.scanning.words if self.scanning is not None else ""

    @property
    def is_scanning(self) -> bool:
        """Whether the window scans by itself now, so that what the index has is renewed now and then."""
        return self.scanning is not None and not self.scanning.is_over

    @property
    def own_cells(self) -> Cells | None:
        """The units' top images, if they are the selected layer's."""
        return self.cells if self.cells is not None and self.cells.layer == self.pictures_of else None

    @property
    def own_weights(self) -> InputWeights | None:
        """The weights, if they are the selected unit's."""
        w = self.weights
        return w if w is not None and (w.layer, w.unit) == (self.pictures_of, self.state.unit) else None

    @property
    def own_statistics(self) -> Statistics | None:
        """The statistics, if they are the selected layer's."""
        s = self.statistics
        return s if s is not None and s.layer == self.layer.name else None

    @property
    def own_matrix(self) -> Matrix | None:
        """The selected layer's correlation matrix; None if it, or the sorted order that is needed, has not arrived."""
        statistics = self.own_statistics
        return None if statistics is None else _matrix(statistics, self.state.shown.is_sorted)

    @property
    def own_curve(self) -> Curve | None:
        """What the selected unit did lately; None if it was not seen in two live pictures yet."""
        c = self.curve
        return c if c and (c.layer, c.unit) == (self.layer.name, self.state.unit) and len(c.values) > 1 else None

    # -- the network's result, if it is of the selected layer --------------------------------------

    @property
    def failed(self) -> str:
        """A text that says why the newest pass failed; empty if it did not."""
        return self.result.error if self.result else ""

    @property
    def scores(self) -> np.ndarray | None:
        """The network's output vector; None if it has none or there is no result."""
        return self.result.scores if self.result else None

    @property
    def class_layer(self) -> int | None:
        """The layer whose units are the entries of the output vector: the last one of that size."""
        scores = self.scores
        if scores is None:
            return None
        fitting = [i for i, layer in enumerate(self.layers) if not layer.is_map and layer.units == len(scores)]
        return fitting[-1] if fitting else None

    @property
    def own_result(self) -> Result | None:
        """The result, if it holds the selected layer's activations."""
        r = self.result
        return r if r and r.activations is not None and r.request.layer == self.layer.name else None

    @property
    def other_result(self) -> Result | None:
        """The other picture's result, if two are compared and it holds the selected layer's activations."""
        r = self.held if self.state.held is not None else None
        return r if r and r.activations is not None and r.request.layer == self.layer.name else None

    @property
    def activations(self) -> np.ndarray | None:
        """Activations of the selected layer, float32 C×H×W; None if they have not arrived."""
        return self.own_result.activations if self.own_result else None

    @property
    def channel(self) -> np.ndarray | None:
        """Activations of the selected unit, float32 H×W; None if they have not arrived."""
        return None if self.activations is None else self.activations[self.state.unit]

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """The receptive field of the selected layer's units; None if it is not known yet."""
        return self.own_result.receptive_field if self.own_result else None

    @property
    def backward(self) -> np.ndarray | None:
        """The backward image, float32 H×W×3 RGB, if it has the origin and the method that the user has chosen."""
        r = self.result
        layer, unit = self.state.backward_origin
        if r is None or (r.request.method, r.request.origin) != (self.state.method, (self.layers[layer].name, unit)):
            return None
        return r.pixels

    @property
    def backward_note(self) -> str:
        """What the backward method says of its image; empty if it says nothing."""
        return self.result.note if self.result is not None and self.backward is not None else ""

    @property
    def needs_still(self) -> bool:
        """Whether the backward method waits for a still picture."""
        return needs_still(self.state, self.frame)

    @property
    def answered_gradient(self) -> Result | None:
        """The result, if it answers a request for backward values of the selected layer (it may have none)."""
        result = self.own_result if self.backward is not None else None
        return result if result and result.request.layer_gradient else None


@lru_cache(maxsize=4)
def _matrix(statistics: Statistics, is_sorted: bool) -> Matrix | None:
    """The matrix in these statistics, as the same object each time, so that drawings are cached."""
    correlation = statistics.correlation
    if correlation is None or is_sorted and statistics.order is None:
        return None
    order = statistics.order if is_sorted and statistics.order is not None else np.arange(len(correlation))
    return Matrix(correlation, order)
