"""The grid of recipes: sixteen settings about a chosen one."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest

from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe import Recipe, checked
from deepvis.synthesis.recipe_grid import (
    FINEST,
    PAIRS,
    SIDE,
    RecipeGrid,
    chosen,
    full_text,
    other_pair,
    pairs,
    table,
    tile_text,
)


def walks(preset: str):
    """Desks that a user comes to: each pair of settings, and each corner of its grid some clicks long."""
    for pair in range(len(pairs(PRESETS[preset]))):
        for corner in (0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1):
            one = RecipeGrid(preset, PRESETS[preset], pair=pair)
            for _ in range(FINEST + 2):
                yield one
                one = chosen(one, corner)


@pytest.mark.parametrize("preset", PRESETS)
def test_all_sixteen_are_recipes_of_one_batch_and_differ_in_two_numbers(preset: str) -> None:
    for one in walks(preset):
        grid = table(one)
        assert len(grid.recipes) == len(set(grid.recipes)) == SIDE * SIDE
        assert len({recipe.structure for recipe in grid.recipes}) == 1
        assert grid.recipes[grid.chosen] == one.recipe
        for tile, recipe in enumerate(grid.recipes):
            assert checked(asdict(recipe)) == recipe
            row, column = divmod(tile, SIDE)
            assert (getattr(recipe, grid.across.name), getattr(recipe, grid.down.name)) == (
                grid.columns[column],
                grid.rows[row],
            )
            others = {grid.across.name, grid.down.name, "blur_every"}
            assert {k: v for k, v in asdict(recipe).items() if k not in others} == {
                k: v for k, v in asdict(one.recipe).items() if k not in others
            }
        assert list(grid.columns) == sorted(grid.columns) and list(grid.rows) == sorted(grid.rows)


def test_what_the_phases_set_has_no_axis() -> None:
    axes = {axis.name for pair in pairs(PRESETS["center-biased"]) for axis in pair}
    assert axes and not axes & {"rate", "bregman", "window", "gradient_margin"}


def test_the_steps_are_geometric_and_each_click_takes_their_square_root() -> None:
    one = RecipeGrid("modern", PRESETS["modern"])
    rate = one.recipe.rate
    assert table(one).columns == (rate / 2, rate, rate * 2, rate * 4) and table(one).chosen == SIDE + 1
    finer = chosen(one, SIDE + 2)  # the row of the chosen one, the column after it
    assert (finer.recipe, finer.halvings) == (replace(one.recipe, rate=2 * rate), 1)
    assert table(finer).columns == pytest.approx([2 * rate * math.sqrt(2) ** i for i in (-1, 0, 1, 2)], rel=0.005)
    assert chosen(replace(one, halvings=FINEST), 0).halvings == FINEST


def test_percentages_move_by_their_odds_and_stay_below_a_hundred() -> None:
    one = RecipeGrid("yosinski-4", PRESETS["yosinski-4"], pair=2)  # clips 90 % of the contributions: odds of 9
    assert table(one).rows == pytest.approx([100 * odds / (1 + odds) for odds in (9 / 4, 9, 36, 144)], rel=0.005)
    for _ in range(60):
        one = chosen(one, SIDE * SIDE - 1)
    assert 90 < one.recipe.small_contribution < 100


def test_a_setting_that_is_off_starts_a_row_from_nothing_to_strong() -> None:
    one = RecipeGrid("plain", PRESETS["plain"])
    grid = table(one)
    assert grid.rows[0] == 0 and grid.chosen == 1 and grid.rows[1] < grid.rows[2] < grid.rows[3]
    assert grid.recipes[grid.chosen] == PRESETS["plain"]
    assert {recipe.blur_every for recipe in grid.recipes[SIDE:]} == {4}  # or it would never blur


def test_other_settings_along_the_sides_keep_what_was_chosen() -> None:
    one = chosen(RecipeGrid("yosinski-3", PRESETS["yosinski-3"], seed=3), 7)
    seen = [one]
    while (following := other_pair(seen[-1])).pair:
        seen.append(following)
        assert (following.recipe, following.seed, following.halvings) == (one.recipe, 3, 0)
    assert [each.pair for each in seen] == list(range(len(PAIRS["pixels"])))


def test_a_tile_names_its_two_values_and_in_full_all_of_them() -> None:
    grid = table(RecipeGrid("yosinski-1", Recipe(**{**asdict(PRESETS["yosinski-1"]), "rate": 3}), pair=1))
    assert tile_text(grid, grid.chosen) == "decay 0  norm 50%"
    words = full_text(grid, grid.chosen)
    for expected in (
        "decay 0",
        "norm 50",
        "rate 3",
        "blur 0.5",
        "contribution 0",
        "blur_every 4",
        "start_noise 10",
        "500 steps",
    ):
        assert expected in words.split(", ")
