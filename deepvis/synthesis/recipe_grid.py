"""A grid of recipes: one unit, and 4×4 settings about a chosen one, to find a recipe by eye.

Two of a recipe's numbers span the grid, in geometric steps; everything else, the seed too, is the
same for all sixteen, so that what differs between two images is what the settings do. Without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from deepvis.synthesis.recipe import Recipe

SIDE = 4
FINEST = 4  # halvings of the step, beyond which the eye sees no difference
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
_NONE = {"scale_low": 1, "scale_high": 1}  # of the others 0


@dataclass(frozen=True)
class Axis:
    """One of a recipe's numbers, along one side of the grid.

    Attributes:
        name: of the parameter.
        words, short: what the window calls it, and on the small tiles.
        factor: between neighbours in the coarsest grid; of numbers with a `top`, of the odds
            value / (top − value), which keeps them between 0 and `top`.
        first: a middling value, for recipes in which it is 0.
    """

    name: str
    words: str
    short: str
    factor: float
    first: float
    top: float = math.inf

    def times(self, value: float, factor: float) -> float:
        """The value, moved by a factor (its odds, where there is a top), to three digits."""
        if math.isinf(self.top):
            return float(f"{value * factor:.3g}")
        value = min(value, (1 - 1e-6) * self.top)
        odds = value / (self.top - value) * factor
        small = self.top / (1 + max(odds, 1 / odds))  # three digits of what is missing to 0, or to the top
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

PAIRS: dict[str, tuple[tuple[Axis, Axis], ...]] = {  # by parameterization: (across, down)
    "fourier": ((_RATE, _POWER), (_SATURATION, _JITTER), (_VARIATION, _NOISE)),
    "pixels": ((_PIXEL_RATE, _BLUR), (_DECAY, _NORM), (_PIXEL_RATE, _CONTRIBUTION)),
}


@dataclass(frozen=True)
class RecipeGrid:
    """A grid of settings about a chosen one (the window calls it the desk).

    Attributes:
        preset: name of the recipe that it began with.
        recipe: the chosen settings, which the grid lies about.
        seed: of all sixteen images.
        pair: which two settings span the grid, a position in PAIRS.
        halvings: of the geometric step.
    """

    preset: str
    recipe: Recipe
    seed: int = 0
    pair: int = 0
    halvings: int = 0


@dataclass(frozen=True)
class Table:
    """The grid, row by row.

    Attributes:
        across, down: the two axes.
        columns, rows: their values.
        recipes: one for each tile.
        chosen: the tile that has the chosen settings.
    """

    across: Axis
    down: Axis
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    recipes: tuple[Recipe, ...]
    chosen: int


@lru_cache(maxsize=64)
def table(grid: RecipeGrid) -> Table:
    """The sixteen settings: the chosen one, one step less and up to two steps more of each number.

    Of a number that is 0 in the chosen settings the grid has 0 and three values from weak to strong.
    """
    across, down = PAIRS[grid.recipe.parameterization][grid.pair]
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
    """The grid about the settings of a tile, with half the step."""
    return replace(grid, recipe=table(grid).recipes[tile], halvings=min(grid.halvings + 1, FINEST))


def other_pair(grid: RecipeGrid) -> RecipeGrid:
    """The same settings, with another two of them along the sides, in coarse steps again."""
    pairs = PAIRS[grid.recipe.parameterization]
    return replace(grid, pair=(grid.pair + 1) % len(pairs), halvings=0)


def tile_text(table: Table, tile: int) -> str:
    """What a tile says: its two values."""
    row, column = divmod(tile, SIDE)
    return f"{table.across.text(table.columns[column])}  {table.down.text(table.rows[row])}"


def full_text(table: Table, tile: int) -> str:
    """All of a tile's settings but those that do nothing."""
    recipe = table.recipes[tile]
    of_pairs = [axis for pair in PAIRS[recipe.parameterization] for axis in pair]
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
