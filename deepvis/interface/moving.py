"""Moving the selection: along layers and units, by pages, to a unit by its id."""

from __future__ import annotations

from dataclasses import replace

from deepvis.core.errors import UserError
from deepvis.core.layers import parse_unit, unit_id
from deepvis.interface.command import Action, Facts
from deepvis.interface.state import State
from deepvis.interface.unit_grid import PaneView, centred_on, place_of, unit_in

FAST = 10  # how many cells a fast move covers


def select(state: State, facts: Facts, layer: int, unit: int) -> State:
    """Select a unit; a magnified layer pane follows it. Another layer is seen whole, in the order of its units."""
    if not facts.layers:
        return state
    layer = min(max(layer, 0), len(facts.layers) - 1)
    unit = min(max(unit, 0), facts.layers[layer].units - 1)
    view, order = (state.view, state.order) if layer == state.layer else (PaneView(), None)
    if (layer, unit) != (state.layer, state.unit):
        state = replace(state, facet_count=0, facet_view=PaneView())
    state = replace(state, layer=layer, unit=unit, view=view, order=order, looked_at=None)
    if view.scale > 1 and not state.shown.is_matrix:
        grid = facts.grid(state)
        left, top, width, height = grid.box(unit)
        outside = left < 0 or top < 0 or left + width > facts.area[0] or top + height > facts.area[1]
        if outside:
            state = replace(state, view=centred_on(unit, grid, *facts.area, view.scale))
    return state


def _select_place(state: State, facts: Facts, place: int) -> State:
    """Select the unit at a place of the layer pane's grid, counted through all its pages."""
    if not facts.layers:
        return state
    place = min(max(place, 0), facts.layers[state.layer].units - 1)
    return select(state, facts, state.layer, unit_in(place, state.shown_order))


def _place(state: State) -> int:
    return place_of(state.unit, state.shown_order)


def along(delta: int) -> Action:
    """Left and right: along the layer list, or along the channels."""

    def do(state: State, facts: Facts) -> State:
        if state.in_channels:
            return _select_place(state, facts, _place(state) + delta)
        return select(state, facts, state.layer + delta, state.unit)

    return do


def across(rows: int) -> Action:
    """Up and down: between rows of channels; down from the layer list, up from the top row back to it."""

    def do(state: State, facts: Facts) -> State:
        if not facts.layers:
            return state
        if not state.in_channels:
            return replace(state, in_channels=True) if rows > 0 else state
        grid = facts.grid(state)
        row, column = divmod(_place(state), grid.columns)
        if rows < 0 and row == 0:
            return replace(state, in_channels=False)
        last = (facts.layers[state.layer].units - 1) // grid.columns  # rows are counted through all pages
        target = min(max(row + rows, 0), last)
        return _select_place(state, facts, target * grid.columns + column)

    return do


def turn_page(delta: int) -> Action:
    """Go to the same cell of the next or previous page, in a layer that is too large for the pane."""

    def do(state: State, facts: Facts) -> State:
        if not facts.layers:
            return state
        units, grid = facts.layers[state.layer].units, facts.grid(state)
        page = grid.columns * grid.rows
        if not 0 <= grid.first + delta * page < units:
            return state
        return _select_place(state, facts, _place(state) + delta * page)

    return do


def layer_by(delta: int) -> Action:
    """To another layer, with the same unit number."""
    return lambda state, facts: select(state, facts, state.layer + delta, state.unit)


def first_unit(state: State, facts: Facts) -> State:
    """To the layer's first unit."""
    return _select_place(state, facts, 0)


def last_unit(state: State, facts: Facts) -> State:
    """To the layer's last unit."""
    return _select_place(state, facts, facts.layers[state.layer].units - 1) if facts.layers else state


def goto(state: State, text: str, facts: Facts) -> State:
    """Select the unit with that id. If the id is wrong, keep the selection and say why in the message.

    A number alone is a unit of the current layer.
    """
    if not text.strip() or not facts.layers:
        return state
    text = text.strip()
    if text.isdecimal():
        text = unit_id(facts.layers[state.layer].name, int(text))
    try:
        layer, unit = parse_unit(text, facts.layers, layer_alone=True)
    except UserError as error:
        return replace(state, message=str(error), message_is_error=True)
    return replace(select(state, facts, layer, unit), in_channels=True, message="", message_is_error=False)
