"""The recipe grid: images of one unit with 4×4 settings around a chosen one, to find a recipe by eye.

Two parameters of the recipe vary along the sides, in geometric steps. Everything else, also the seed, is the same for
all sixteen images, so that they differ only by these two settings. Without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from deepvis.synthesis.recipe import Recipe

SIDE = 4
FINEST = 4  # most halvings of the step; smaller steps make no visible difference
_OTHER = (
    "start_noise",
    "noise",
    "margin",
    "jitter",
    "rotate",
    "scale_low",
    "scale_high",
    "blur_every",
    "edge",
    "frequency_penalty",
)
_NONE = {"scale_low": 1, "scale_high": 1}  # values that have no effect; 0 for the other parameters


@dataclass(frozen=True)
class Axis:
    """A parameter of the recipe that varies along a side of the grid.

    Attributes:
        name: the parameter's name.
        words, short: its description in the title, and its short name on the tiles.
        factor: the factor between neighbours in the coarsest grid. For a parameter with a `top` it is the factor of
            the odds value / (top − value), so that the value stays between 0 and `top`.
        first: a medium value, for recipes in which the parameter is 0.
        top: the largest possible value.
    """

    name: str
    words: str
    short: str
    factor: float
    first: float
    top: float = math.inf

    def times(self, value: float, factor: float) -> float:
        """The value (or its odds, if there is a top) times a factor, rounded to three digits."""
        if math.isinf(self.top):
            return float(f"{value * factor:.3g}")
        value = min(value, (1 - 1e-6) * self.top)
        odds = value / (self.top - value) * factor
        small = self.top / (1 + max(odds, 1 / odds))  # the distance to 0 or to the top, whichever is smaller
        small = float(f"{small:.3g}")
        return small if odds < 1 else round(self.top - small, 9)

    def text(self, value: float) -> str:
        return f"{self.short} {value:g}" + ("%" if self.top == 100 else "")


_RATE = Axis("rate", "rate (size of the steps)", "rate", 2.0, 1.0)
_POWER = Axis("power", "power (falloff of high frequencies)", "power", 1.35, 1.0)
_SATURATION = Axis("saturation", "saturation (colours against brightness)", "saturation", 2.0, 1.0)
_JITTER = Axis("jitter", "jitter (random shifts)", "jitter", 2.0, 8.0)
_VARIATION = Axis("total_variation", "total variation (penalty)", "variation", 4.0, 10.0)
_NOISE = Axis("noise", "noise (added at each step)", "noise", 2.5, 10.0)
_PIXEL_RATE = replace(_RATE, factor=4.0)
_BLUR = Axis("blur_width", "blur width", "blur", 1.6, 0.8)
_DECAY = Axis("decay", "L2 decay", "decay", 10.0, 0.01, 1.0)
_NORM = Axis("small_norm", "clipping of small norms", "norm", 3.0, 50.0, 100.0)
_CONTRIBUTION = Axis("small_contribution", "clipping of small contributions", "contribution", 4.0, 70.0, 100.0)
_BREGMAN = Axis("bregman", "weight against total variation (small: smooth)", "bregman", 3.0, 0.3)
_DETAIL = Axis("detail", "detail (fine, gray levels)", "detail", 2.0, 16.0, 255.0)
_ROTATE = Axis("rotate", "rotation (random, degrees)", "rotate", 2.0, 5.0, 360.0)

PAIRS: dict[str, tuple[tuple[Axis, Axis], ...]] = {  # by parameterization: (across, down)
    "fourier": ((_RATE, _POWER), (_SATURATION, _JITTER), (_VARIATION, _NOISE)),
    "pixels": ((_PIXEL_RATE, _BLUR), (_DECAY, _NORM), (_PIXEL_RATE, _CONTRIBUTION), (_BREGMAN, _JITTER)),
    "maco": ((_RATE, _NOISE), (_JITTER, _ROTATE)),
    "generator": ((_RATE, _DECAY), (_DETAIL, _VARIATION), (_JITTER, _NOISE)),
}


def pairs(recipe: Recipe) -> tuple[tuple[Axis, Axis], ...]:
    """The pairs for a recipe, without numbers that its phases set: the recipe's own values would have no effect."""
    set_by_phases = {name for phase in recipe.phases for name, *_ in phase.numbers}
    return tuple(pair for pair in PAIRS[recipe.parameterization] if not set_by_phases & {axis.name for axis in pair})


@dataclass(frozen=True)
class RecipeGrid:
    """A grid of settings around a chosen one.

    Attributes:
        preset: name of the recipe that the user started from.
        recipe: the chosen settings, around which the grid lies.
        seed: the seed of all sixteen images.
        pair: which two parameters vary, a position in the recipe's `pairs`.
        halvings: how often the geometric step was halved.
    """

    preset: str
    recipe: Recipe
    seed: int = 0
    pair: int = 0
    halvings: int = 0


@dataclass(frozen=True)
class Table:
    """The settings in a recipe grid.

    Attributes:
        across, down: the two axes.
        columns, rows: their values.
        recipes: a recipe for each tile, row by row.
        chosen: the tile with the chosen settings.
    """

    across: Axis
    down: Axis
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    recipes: tuple[Recipe, ...]
    chosen: int


@lru_cache(maxsize=64)
def table(grid: RecipeGrid) -> Table:
    """The sixteen settings: for each of the two parameters one step less, the chosen value, one and two steps more.

    If the chosen value is 0, the values are 0 and three values from weak to strong.
    """
    across, down = pairs(grid.recipe)[grid.pair]
    columns, column = _values(across, getattr(grid.recipe, across.name), grid.halvings)
    rows, row = _values(down, getattr(grid.recipe, down.name), grid.halvings)
    recipes = tuple(_with(grid.recipe, {across.name: x, down.name: y}) for y in rows for x in columns)
    return Table(across, down, columns, rows, recipes, row * SIDE + column)


def _values(axis: Axis, value: float, halvings: int) -> tuple[tuple[float, ...], int]:
    """The values along an axis, and which of them is the chosen one."""
    factor = axis.factor ** (0.5**halvings)
    if value == 0:
        return (0.0, *(axis.times(axis.first, factor**i) for i in (-1, 0, 1))), 0
    return (axis.times(value, 1 / factor), value, axis.times(value, factor), axis.times(value, factor**2)), 1


def _with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    made = replace(recipe, **values)
    return replace(made, blur_every=4) if made.blur_width and not made.blur_every else made  # as often as in the paper


def chosen(grid: RecipeGrid, tile: int) -> RecipeGrid:
    """The grid around the settings of a tile, with half the step."""
    return replace(grid, recipe=table(grid).recipes[tile], halvings=min(grid.halvings + 1, FINEST))


def other_pair(grid: RecipeGrid) -> RecipeGrid:
    """The grid around the same settings in which the next two parameters vary, with coarse steps again."""
    return replace(grid, pair=(grid.pair + 1) % len(pairs(grid.recipe)), halvings=0)


def tile_text(table: Table, tile: int) -> str:
    """The text on a tile: its two values."""
    row, column = divmod(tile, SIDE)
    return f"{table.across.text(table.columns[column])}  {table.down.text(table.rows[row])}"


def full_text(table: Table, tile: int) -> str:
    """All settings of a tile that have an effect."""
    recipe = table.recipes[tile]
    of_pairs = [axis for pair in pairs(recipe) for axis in pair]
    axes = dict.fromkeys(
        (
            table.across,
            table.down,
            *(axis for axis in of_pairs if axis.name not in (table.across.name, table.down.name)),
        )
    )
    words = [f"{axis.short} {getattr(recipe, axis.name):g}" for axis in axes]
    known = {axis.name for axis in axes}
    words += [
        f"{name} {getattr(recipe, name):g}"
        for name in _OTHER
        if name not in known and getattr(recipe, name) != _NONE.get(name, 0)
    ]
    return ", ".join([*words, f"{recipe.steps} steps"])
