"""What the window asks of the workers, and what comes back.

Both are immutable. What the network itself is asked stands in `deepvis.attribution.requests`. Without torch and without
threads, so that what makes the wishes and what draws the answers may import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deepvis.core.receptive_field import ReceptiveField
from deepvis.scan.results import Patch, Statistics
from deepvis.synthesis.recipe import Recipe

# ---- stored images ------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnitImagesWish:
    """Which stored images the window shows.

    Attributes:
        layer, unit: the selected unit.
        cells: units whose best image is shown in the layer pane; empty if none is.
        side: longer side of these, in pixels.
    """

    layer: str
    unit: int
    cells: tuple[int, ...] = ()
    side: int = 0


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


# ---- the index ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerImagesWish:
    """What the layer pane shows of an index.

    Attributes:
        layer: whose statistics; empty for none.
        is_sorted: with the order of the units by similarity.
        pictures_of: whose units' top images.
        units: which of them; empty for none.
        side: longer side of these, in pixels.
    """

    layer: str = ""
    is_sorted: bool = False
    pictures_of: str = ""
    units: tuple[int, ...] = ()
    side: int = 0


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
class LayerImages:
    """What an index says of a layer; what has not been asked for yet is None."""

    cells: Cells | None = None
    statistics: Statistics | None = None


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
class TopImagesWish:
    """Whose top images are shown.

    Attributes:
        layer, unit: the unit.
        method: backward method, a key of `deepvis.networks.activation_rules.METHODS`.
        moments: of the unit, that were collected and are shown instead of the index's.
        or_deconv: where that method carries nothing back, as from behind a ReLU6 that is at its limit, deconv does.
    """

    layer: str
    unit: int
    method: str = "deconv"
    moments: TopPictures | None = None
    or_deconv: bool = False


# ---- moments of the live picture ----------------------------------------------------------------


@dataclass(frozen=True)
class MomentsWish:
    """Whose moments are shown.

    Attributes:
        layer, unit: the selected unit.
        field: the layer's receptive field; None: a moment is shown whole.
        units: of the layer, whose strongest moment is shown in the layer pane; empty if none is.
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
    """What has become of a `GrowthWish` so far: images (uint8 H×W×3 RGB each), steps, scores; or an error in words.

    `recipe`: of the first image. `done`: they grow no more.
    """

    wish: GrowthWish
    images: tuple[np.ndarray, ...] = ()
    scores: tuple[float, ...] = ()
    steps: int = 0
    error: str = ""
    recipe: Recipe | None = None
    done: bool = False
