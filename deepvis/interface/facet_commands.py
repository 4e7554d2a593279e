"""The commands for a unit's facets, and how the wheel and the mouse move their map.

The map fills the left part of the big pane; the facets stand beside it.
"""

from __future__ import annotations

from dataclasses import replace

from deepvis.interface.command import Action, Command, Facts, big_view
from deepvis.interface.effects import Outcome
from deepvis.interface.state import State
from deepvis.interface.unit_grid import PaneView, zoom_at

MAP_SHARE = 0.6  # of the pane's width
MOST = 12  # facets
SUGGESTED = "suggested"
USUAL = 4  # facets to count from while it is not known how many are shown


show_facets = big_view("facets")


def _by(delta: int) -> Action:
    def do(state: State, facts: Facts) -> State | Outcome:
        if state.zoom != "facets":
            return show_facets(state, facts)
        now = state.facet_count or facts.facets or USUAL
        return replace(state, facet_count=min(max(2, now + delta), MOST))

    return do


def _suggested(state: State, facts: Facts, option: str) -> State:
    return replace(state, facet_count=facts.suggested_facets, zoom="facets", recipe_grids=())


FACET_COMMANDS: dict[str, Command] = {
    "facets": Command(show_facets, ("^",), "facets: the different things the unit responds to / back", "facets"),
    "fewer_facets": Command(_by(-1), ("<",), "one facet less", "facets"),
    "more_facets": Command(_by(1), (">",), "one facet more", "facets", lambda facts: (SUGGESTED,), _suggested),
}


def turn_wheel(state: State, steps: int, x: float, y: float) -> State:
    """Magnify the map about a point given as fractions of the pane; beside the map nothing happens."""
    if x > MAP_SHARE:
        return state
    return replace(state, facet_view=zoom_at(state.facet_view, 1.25**steps, x / MAP_SHARE, y))


def drag(state: State, right: float, down: float) -> State:
    """Move the map by a way given as fractions of the pane."""
    if state.zoom != "facets" or state.recipe_grids:
        return state
    view = state.facet_view
    half = 0.5 / view.scale
    x, y = view.x - right / MAP_SHARE / view.scale, view.y - down / view.scale
    return replace(state, facet_view=PaneView(view.scale, min(max(half, x), 1 - half), min(max(half, y), 1 - half)))
