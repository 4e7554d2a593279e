"""Requests to the workers, and their answers; all are immutable.

Requests to the network itself are in `deepvis.attribution.requests`, those about the picture in view in
`deepvis.workers.picture_messages`. Without torch and threads, so that the rooms that
make requests and that draw answers may import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deepvis.core.receptive_field import ReceptiveField
from deepvis.facets.facet_map import FacetMap
from deepvis.scan.results import Patch, Statistics
from deepvis.synthesis.recipe import Recipe

# ---- stored images ------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnitImagesWish:
    """A request for stored images.

    Attributes:
        layer, unit: the selected unit.
        cells: the units whose best image the layer pane shows; empty if it shows none.
        side: longer side of these images, in pixels.
    """

    layer: str
    unit: int
    cells: tuple[int, ...] = ()
    side: int = 0


@dataclass(frozen=True, eq=False)
class UnitPictures:
    """Stored images of the selected unit, and the best one of each unit in the layer pane.

    Attributes:
        layer, unit: the selected unit.
        synthesized: its images, uint8 H×W×3 RGB each, best first.
        cells: {unit: its best image}, as far as they have been read.
        known: the store has images of this layer.
        note: a text that says why the unit has no images; empty if none have been made.
        is_dead: images of the unit were to be made, and could not.
    """

    layer: str
    unit: int
    synthesized: tuple[np.ndarray, ...] = ()
    cells: Mapping[int, np.ndarray] = field(default_factory=dict)
    known: bool = False
    note: str = ""
    is_dead: bool = False


# ---- the index ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerImagesWish:
    """A request for what the layer pane shows from an index.

    Attributes:
        layer: the layer whose statistics are asked for; empty for none.
        is_sorted: the order of its units by similarity is asked for too.
        pictures_of: the layer whose units' top images are asked for.
        units: the units of that layer whose top image is asked for; empty for none.
        side: longer side of these images, in pixels.
    """

    layer: str = ""
    is_sorted: bool = False
    pictures_of: str = ""
    units: tuple[int, ...] = ()
    side: int = 0


@dataclass(frozen=True, eq=False)
class Cells:
    """The top image or strongest moment of each unit of a layer.

    Attributes:
        layer: the layer.
        pictures: {unit: uint8 H×W×3 RGB}, as far as they have been cut.
        dead: units that no image excites.
        note: a text that says why there are none.
    """

    layer: str
    pictures: Mapping[int, np.ndarray] = field(default_factory=dict)
    dead: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True, eq=False)
class LayerImages:
    """What an index has about a layer; parts that have not been requested are None."""

    cells: Cells | None = None
    statistics: Statistics | None = None


@dataclass(frozen=True, eq=False)
class TopPictures:
    """A unit's top images (patches of photos or of moments) and their backward images.

    Attributes:
        layer, unit: the unit.
        root: the folder that the photos' names are relative to.
        patches: the top images, strongest first.
        method: the backward method.
        backward: for each patch its backward image, float32 h×w×3 RGB, or None if its photo is missing; empty
            until they have been computed.
        maps: for each patch the unit's activations on its whole photo, float32 h×w, or None; empty like `backward`.
        note: a text that says why there are no patches.
        backward_note: a text that says why there are no backward images.
        seen: for collected moments: for each patch the whole picture that the network saw, uint8 RGB; else empty.
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
    maps: tuple[np.ndarray | None, ...] = ()


@dataclass(frozen=True)
class TopImagesWish:
    """A request for a unit's top images.

    Attributes:
        layer, unit: the unit.
        method: backward method, a key of `deepvis.attribution.methods.METHODS`.
        moments: the unit's collected moments, to show in place of the index's top images; None for the index.
        or_deconv: use deconv if `method` gives only zeros, as it does after a ReLU6 that is at its limit.
    """

    layer: str
    unit: int
    method: str = "deconv"
    moments: TopPictures | None = None
    or_deconv: bool = False


@dataclass(frozen=True)
class Scanning:
    """How far the scan is that the window makes by itself.

    Attributes:
        done, total: number of images.
        is_over: it has ended.
        error: a text that says why it failed; empty if it did not.
    """

    done: int = 0
    total: int = 0
    is_over: bool = False
    error: str = ""

    @property
    def words(self) -> str:
        """What to say in place of what it will find; empty if it has found all."""
        if self.error:
            return f"The photos cannot be scanned: {self.error}"
        if self.is_over:
            return ""
        return f"scanning {self.so_far} …" if self.done else "preparing to scan the photos …"

    @property
    def so_far(self) -> str:
        return f"{self.done:,} of {self.total:,} photos"


# ---- the weights of a unit -----------------------------------------------------------------------


@dataclass(frozen=True)
class InputWeightsWish:
    """A request for the weights of the units that feed a unit. The answer is a `deepvis.core.weights.InputWeights`."""

    layer: str
    unit: int


# ---- moments of the live picture ----------------------------------------------------------------


@dataclass(frozen=True)
class MomentsWish:
    """A request for collected moments to show.

    Attributes:
        layer, unit: the selected unit.
        field: the layer's receptive field; None if not known: then whole moments are shown.
        units: the units whose strongest moment the layer pane shows; empty if it shows none.
        side: longer side of these, in pixels.
    """

    layer: str
    unit: int
    field: ReceptiveField | None = None
    units: tuple[int, ...] = ()
    side: int = 0


@dataclass(frozen=True, eq=False)
class Moments:
    """The selected unit's strongest moments, and the strongest one of each unit of the layer pane."""

    top: TopPictures
    cells: Cells


# ---- images that grow ---------------------------------------------------------------------------


@dataclass(frozen=True)
class GrowthWish:
    """Images that are to be synthesized now, from these seeds.

    Attributes:
        layer, unit: the unit.
        preset: name of the recipe.
        seeds: one for each image.
        recipes: for the recipe grid: a recipe for each image. These images end after their recipes' steps and, on
            a CPU, are made at half the size if the network takes that. Empty: all images use the preset and grow
            until the request changes.
        by_itself: nobody asked for these images. They end after BY_ITSELF steps and are kept in the user's own store.
        also: (layer, unit) that the images are to excite, too; None for the unit alone.
    """

    layer: str
    unit: int
    preset: str
    seeds: tuple[int, ...]
    recipes: tuple[Recipe, ...] = ()
    by_itself: bool = False
    also: tuple[str, int] | None = None


@dataclass(frozen=True, eq=False)
class Grown:
    """The images of a `GrowthWish` so far: images (uint8 H×W×3 RGB each), steps, scores; or an error message.

    Attributes:
        wish: the request.
        images: uint8 H×W×3 RGB each.
        scores: the objective's value of each image.
        steps: how many steps were made.
        error: a text that says why it failed; empty if it did not.
        recipe: the recipe of the first image.
        done: the images are finished.
    """

    wish: GrowthWish
    images: tuple[np.ndarray, ...] = ()
    scores: tuple[float, ...] = ()
    steps: int = 0
    error: str = ""
    recipe: Recipe | None = None
    done: bool = False


# ---- facets -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FacetsWish:
    """A request for a unit's facets.

    Attributes:
        layer, unit: the unit.
        k: how many facets; 0 for as many as the stored ones are, or else as the silhouette suggests.
        top: how many of the photos that excite the unit most are laid out.
    """

    layer: str
    unit: int
    k: int = 0
    top: int = 60


@dataclass(frozen=True, eq=False)
class Thumbs:
    """The photos of a facet map, small: uint8 H×W×3 RGB each, None for one that cannot be read."""

    pictures: tuple[np.ndarray | None, ...] = ()


@dataclass(frozen=True, eq=False)
class UnitFacets:
    """The facets of a `FacetsWish` so far.

    Attributes:
        wish: the request.
        laid_out: the map, the same object while the facets grow.
        found: the same map with the facets as they are now; None until the photos have been laid out.
        thumbs: the photos of the map.
        steps, total: how many steps were made, and how many there will be.
        is_stored: they were read, not made now.
        done: there is no more to come.
        note: a text that says how far it is, or why there are none.
    """

    wish: FacetsWish
    laid_out: FacetMap | None = None
    found: FacetMap | None = None
    thumbs: Thumbs = Thumbs()
    steps: int = 0
    total: int = 0
    is_stored: bool = False
    done: bool = False
    note: str = ""
