"""What a command is, what it knows besides the state, and the makers of simple commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from deepvis.attribution.requests import Result
from deepvis.core.frames import Files
from deepvis.core.layers import Layer
from deepvis.interface.effects import Outcome
from deepvis.interface.state import PRESET_CYCLE, State
from deepvis.interface.unit_grid import Grid, make_grid
from deepvis.scan.index import Index
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network and the index say.

    Attributes:
        result: the newest result, which may answer an older request.
        held: the same for the held picture; None if none is held.
        index: the network's index; None if there is none.
        note: a text that says why there is no index.
    """

    result: Result | None = None
    held: Result | None = None
    index: Index | None = None
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What commands need to know besides the state.

    Attributes:
        layers: the network's layers; empty until it is loaded.
        area: width and height of the layer pane's picture, in pixels.
        scale: size of text and marks; it decides how many units fit on a page of a large layer.
        recipes: {name: recipe}, in the order in which key 1 goes through them.
        answers: returns what the network and the index say; called only by the commands that need it.
        files: the files that the input goes through.
        facets: how many facets of the selected unit are shown; 0 if that is not known.
        suggested_facets: how many fit its photos best; 0 if that is not known.
    """

    layers: tuple[Layer, ...] = ()
    area: tuple[int, int] = (900, 800)
    scale: float = 1.0
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: {name: PRESETS[name] for name in PRESET_CYCLE})
    answers: Callable[[], Answers] = Answers
    files: Files = Files()
    facets: int = 0
    suggested_facets: int = 0

    def grid(self, state: State) -> Grid:
        layer = self.layers[state.layer]
        return make_grid(
            layer.units, layer.height, layer.width, *self.area, state.view, state.unit, self.scale, state.shown_order
        )


Action = Callable[[State, Facts], "State | Outcome"]  # an Outcome if there are also effects


@dataclass(frozen=True)
class Command:
    """One row of the table of commands.

    Attributes:
        do: what it does.
        keys: the keys that call it.
        help: what the help screen says.
        group: the part of the help screen where it stands.
        options: returns the values that can be chosen directly (by a click or by name); none for most commands.
        choose: chooses one of these values.
        by_name: the palette finds the options in another way (units, files). If there are no `options`, any text may be
            given, and `choose` says what is wrong with it.
    """

    do: Action
    keys: tuple[str, ...]
    help: str
    group: str
    options: Callable[[Facts], Sequence[str]] = lambda facts: ()
    choose: Callable[[State, Facts, str], State] = lambda state, facts, option: state
    by_name: bool = False


Value = TypeVar("Value")


def next_value(values: Sequence[Value], value: Value) -> Value:
    """The value after this one; after the last comes the first."""
    return values[(values.index(value) + 1) % len(values)] if value in values else values[0]


def flip(name: str) -> Action:
    """A command that switches an attribute of the state on or off."""
    return lambda state, facts: with_value(state, name, not getattr(state, name))


def big_view(zoom: str) -> Action:
    """A command that shows something in the big pane, or goes back to the layer's units."""

    def do(state: State, facts: Facts) -> State:
        shown = state.zoom == zoom and not state.recipe_grids
        return replace(state, zoom="layer" if shown else zoom, recipe_grids=(), help=False)

    return do


def cycle(name: str, values: Sequence[object]) -> Action:
    """A command that goes through the values of an attribute of the state."""
    return lambda state, facts: with_value(state, name, next_value(values, getattr(state, name)))


def with_value(state: State, name: str, value: object) -> State:
    """The state with another value of this attribute."""
    changes: dict[str, Any] = {name: value}
    return replace(state, **changes)


def choosing(
    options: Callable[[Facts], Sequence[str]],
    now: Callable[[State], str],
    choose: Callable[[State, Facts, str], State],
    keys: tuple[str, ...],
    help: str,
    group: str,
) -> Command:
    """A command that goes through options; each can also be chosen directly.

    Args:
        now: returns the option that is chosen now.
        choose: chooses another.
    """

    def do(state: State, facts: Facts) -> State:
        return choose(state, facts, next_value(options(facts), now(state)))

    return Command(do, keys, help, group, options, choose)


def choice(name: str, values: Sequence[str], keys: tuple[str, ...], help: str, group: str) -> Command:
    """A command that goes through the values of an attribute of the state; each can also be chosen directly."""

    def choose(state: State, facts: Facts, value: str) -> State:
        return with_value(state, name, value)

    return choosing(lambda facts: values, lambda state: str(getattr(state, name)), choose, keys, help, group)
