"""What a command wants done besides a new state: named values, which the loop carries out."""

from __future__ import annotations

from dataclasses import dataclass

from deepvis.interface.state import State
from deepvis.synthesis.recipe_grid import RecipeGrid


@dataclass(frozen=True)
class TakeSnapshot:
    """Save a picture of the window and of each pane."""


@dataclass(frozen=True)
class ToggleRecording:
    """Start to record the window, or end the recording that runs."""


@dataclass(frozen=True)
class KeepImages:
    """Put the images that are being synthesized into the user's own store."""


@dataclass(frozen=True)
class KeepMoments:
    """Save the moments that were collected."""


@dataclass(frozen=True)
class ForgetMoments:
    """End the collection; the next begins empty."""


@dataclass(frozen=True)
class SaveRecipe:
    """Save the grid's chosen settings as a recipe of that name."""

    name: str
    grid: RecipeGrid


@dataclass(frozen=True)
class Quit:
    """End the program."""


Effect = TakeSnapshot | ToggleRecording | KeepImages | KeepMoments | ForgetMoments | SaveRecipe | Quit


@dataclass(frozen=True)
class Outcome:
    """What has come of a key: the new state, and what is to be done, in order."""

    state: State
    effects: tuple[Effect, ...] = ()
