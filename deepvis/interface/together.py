"""The command of two units at once."""

from __future__ import annotations

from dataclasses import replace

from deepvis.core.layers import stands_for, unit_id
from deepvis.interface.command import Command, Facts
from deepvis.interface.state import State


def _and_this_one(state: State, facts: Facts) -> State:
    """Make images for the selected unit together with the one selected next; on that unit again: for each alone."""
    if not facts.layers or state.also == (state.layer, state.unit):
        return replace(state, also=None, message="images are made for one unit alone")
    name = unit_id(stands_for(facts.layers, state.layer), state.unit)
    message = f"images of any unit are made together with {name} now: select another one"
    return replace(state, also=(state.layer, state.unit), recipe_grids=(), message=message)


TOGETHER = {
    "and": Command(_and_this_one, ("~",), "and this one: x makes images of this and the next selected unit", "view"),
}
