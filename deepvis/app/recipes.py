"""The recipes that key 1 goes through: the presets, and those that the user has saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.interface.state import PRESET_CYCLE
from deepvis.synthesis import presets, recipe
from deepvis.synthesis.recipe_grid import RecipeGrid


class Recipes:
    """
    Attributes:
        known: {name: recipe}, in the order in which key 1 goes through them.
    """

    def __init__(self, say_error: Callable[[str], None]) -> None:
        """
        Args:
            say_error: called with a message for each saved recipe that cannot be read.
        """
        self.known: Mapping[str, recipe.Recipe] = _read(say_error)

    def save(self, name: str, grid: RecipeGrid, model: str, unit: str) -> Path:
        """Save a recipe grid's chosen settings, which were found on this unit of this model. Raises UserError."""
        path = paths.recipes() / f"{name}.yaml"
        recipe.save(path, grid.recipe, model=model, unit=unit, seed=grid.seed)
        self.known = {**self.known, name: grid.recipe}
        return path


def _read(say_error: Callable[[str], None]) -> dict[str, recipe.Recipe]:
    found = {name: presets.PRESETS[name] for name in PRESET_CYCLE}
    files: Mapping[str, Path] = {}
    try:
        files = presets.saved()
    except UserError as error:
        say_error(str(error))
    for name, path in files.items():
        try:
            found.setdefault(name, presets.PRESETS.get(name) or presets.named(str(path)))
        except UserError as error:
            say_error(str(error))
    return found
