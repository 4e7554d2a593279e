"""What the window asks of the engine, and what comes back.

Both are immutable. A result carries its request, so whether it still answers what the user
looks at is a comparison, not a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deepvis.scan.results import Patch
from deepvis.synthesis.recipe import Recipe


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
