"""What the mouse does, as pure functions from a state to a new one, like the commands."""

from __future__ import annotations

from dataclasses import replace

from deepvis.interface import hints
from deepvis.interface.command import Facts
from deepvis.interface.commands import run, without_prompt
from deepvis.interface.effects import Outcome
from deepvis.interface.facet_commands import turn_wheel
from deepvis.interface.looks import enlarge
from deepvis.interface.moving import select
from deepvis.interface.state import ComparedPhoto, Control, FacetPhoto, Hover, LiveMoment, State, Target, TopImage
from deepvis.interface.unit_grid import zoom_at
from deepvis.synthesis import recipe_grid


def point(state: State, hover: Target) -> State:
    """The mouse has moved onto something, or off everything."""
    return state if hover == state.hover else replace(state, hover=hover)


def click(state: State, target: Target, facts: Facts) -> Outcome:
    """Select the clicked layer, unit, class or tile, show a top image's photo, or run a tab's or chip's command."""
    if state.finding:
        state = without_prompt(state)
    if isinstance(target, Control):
        return run(hints.after(state, target.call), target.call, facts)
    return Outcome(_clicked(state, target, facts) if target is not None and facts.layers else state)


def double_click(state: State, target: Target, pane: str | None, before: State, facts: Facts) -> Outcome:
    """Enlarge a pane or show all again. On a tab, a chip or a tile it is a second click.

    Args:
        pane: the pane under the mouse.
        before: the state before the first of the two clicks, whose selection is taken back.
    """
    if isinstance(target, Control) or isinstance(target, Hover) and target.tile is not None:
        return click(state, target, facts)
    if pane is None or pane == "status":
        return Outcome(state)
    undone = replace(state, layer=before.layer, unit=before.unit, in_channels=before.in_channels, photo=before.photo)
    return Outcome(enlarge(undone, facts, pane))


def _clicked(state: State, target: Hover | TopImage | LiveMoment | FacetPhoto | ComparedPhoto, facts: Facts) -> State:
    if isinstance(target, LiveMoment | FacetPhoto | ComparedPhoto):
        return replace(state, photo=target.photo)
    if isinstance(target, TopImage):
        return replace(state, photo=target.photo) if target.photo else state
    if target.tile is not None:
        if not state.recipe_grids:
            return state
        chosen = recipe_grid.chosen(state.recipe_grids[-1], target.tile)
        return replace(state, recipe_grids=(*state.recipe_grids, chosen))
    if target.unit is None:
        return replace(select(state, facts, target.layer, state.unit), in_channels=False)
    return replace(select(state, facts, target.layer, target.unit), in_channels=True)


def wheel(state: State, steps: int, x: float, y: float) -> State:
    """Magnify the layer pane about a point given as fractions of the pane; in the palette, go to another line."""
    if state.finding:
        return replace(state, picked=max(0, state.picked - steps))
    if state.zoom == "facets" and not state.recipe_grids:
        return turn_wheel(state, steps, x, y)
    return state if state.recipe_grids else replace(state, view=zoom_at(state.view, 1.25**steps, x, y))


def scroll_layers(state: State, steps: int, facts: Facts) -> State:
    """Look along the layer list without selecting another layer; towards its end if `steps` is negative."""
    last = len(facts.layers) - 1
    if last < 0:
        return state
    stride = max(1, len(facts.layers) // 40)
    at = state.layer if state.looked_at is None else state.looked_at
    return replace(state, looked_at=min(max(0, at - steps * stride), last))
