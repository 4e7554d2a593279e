"""The commands of two units at once, and of the photos nearest to a unit's images."""

from __future__ import annotations

from dataclasses import replace

from deepvis.core.layers import stands_for, unit_id
from deepvis.interface.command import Command, Facts, big_view
from deepvis.interface.state import State


def _and_this_one(state: State, facts: Facts) -> State:
    """Make images for the selected unit together with the one selected next; on that unit again: for each alone."""
    if not facts.layers or state.also == (state.layer, state.unit):
        return replace(state, also=None, message="images are made for one unit alone")
    name = unit_id(stands_for(facts.layers, state.layer), state.unit)
    message = f"images of any unit are made together with {name} now: select another one"
    return replace(state, also=(state.layer, state.unit), recipe_grids=(), message=message)


def _compare_again(state: State, facts: Facts, option: str) -> State:
    return replace(state, nearest_round=state.nearest_round + 1)


TOGETHER = {
    "and": Command(_and_this_one, ("~",), "and this one: x makes images of this and the next selected unit", "view"),
    "nearest": Command(
        big_view("nearest"),
        ("_",),
        "photos nearest to the unit's synthesized images / back",
        "view",
        lambda facts: ("again",),
        _compare_again,
    ),
}
