"""The commands for what a layer remembers and dreams. They are rows of COMMANDS, in the group "dream"."""

from __future__ import annotations

from dataclasses import replace

from deepvis.interface.command import Command, Facts, choice
from deepvis.interface.state import DREAM_MODES, PARTS, State


def _dream(state: State, facts: Facts) -> State:
    """Show the dream and let it go on; if it is shown, stop it or let it go on."""
    if state.content != "dream" or state.zoom != "layer" or state.recipe_grids:
        return replace(state, content="dream", zoom="layer", recipe_grids=(), help=False, dreaming=True)
    return replace(state, dreaming=not state.dreaming)


def _dream_on(state: State, facts: Facts) -> State:
    """Dream on from the result."""
    if state.content != "dream":
        return replace(state, message="this key works in the dream: ! shows it")
    return replace(state, dreaming=True, dream_rounds=state.dream_rounds + 1)


def _guide(state: State, facts: Facts) -> State:
    if state.held is None:
        return replace(state, guided=False, message="hold a picture first (key ;): it guides the dream of another one")
    return replace(state, guided=not state.guided)


DREAMS: dict[str, Command] = {
    "dream": Command(_dream, ("!",), "dream the picture in view: show, stop, go on", "dream"),
    "dream_mode": choice("dream_mode", DREAM_MODES, ("{",), "dream: the picture, endless zoom, live", "dream"),
    "dream_on": Command(_dream_on, (":",), "dream on from the result", "dream"),
    "part": choice("part", PARTS, ("(",), "remembered, dream: the whole layer / the selected unit", "dream"),
    "guide": Command(_guide, (")",), "the held picture guides the dream / no longer", "dream"),
}
