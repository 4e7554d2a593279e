"""Effects: what a command does besides changing the state. They are plain values, which the loop carries out."""

from __future__ import annotations

from dataclasses import dataclass

from deepvis.interface.state import State
from deepvis.synthesis.recipe_grid import RecipeGrid


@dataclass(frozen=True)
class TakeSnapshot:
    """Save a picture of the window and of each pane."""


@dataclass(frozen=True)
class ToggleRecording:
    """Start or stop recording the window."""


@dataclass(frozen=True)
class KeepImages:
    """Put the growing images into the user's own store."""


@dataclass(frozen=True)
class KeepMoments:
    """Save the collected moments."""


@dataclass(frozen=True)
class ForgetMoments:
    """Drop the collected moments."""


@dataclass(frozen=True)
class SaveRecipe:
    """Save the recipe grid's chosen settings under this name."""

    name: str
    grid: RecipeGrid


@dataclass(frozen=True)
class KeepDream:
    """Save the dreamed picture."""


@dataclass(frozen=True)
class Quit:
    """End the program."""


@dataclass(frozen=True)
class SaveNumbers:
    """Save the numbers of the picture in view, and the view."""


@dataclass(frozen=True)
class TellLink:
    """Say a link that opens this view again."""


@dataclass(frozen=True)
class CopyPicture:
    """Copy the pane under the mouse, or the whole window, to the clipboard."""


Effect = (
    TakeSnapshot | ToggleRecording | KeepImages | KeepMoments | ForgetMoments | SaveRecipe | Quit
    | SaveNumbers | TellLink | CopyPicture | KeepDream
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command: the new state, and the effects in order."""

    state: State
    effects: tuple[Effect, ...] = ()
