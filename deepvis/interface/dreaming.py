"""The commands for what a layer remembers and dreams, which are rows of COMMANDS in the group "dream", and the box that
the user draws with the mouse, so that it guides the dream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from deepvis.core.geometry import RelativeBox
from deepvis.interface.command import Command, Facts, choosing, with_value
from deepvis.interface.state import DREAM_MODES, PARTS, DrawnBox, Spot, State

LEAST_BOX = 0.02  # least side of a drawn box, as a share of the picture's; less is a slip of the hand


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
    """Let the held picture guide the dream; if anything guides it, let that go."""
    if state.guide_box is not None:
        return replace(state, guide_box=None, guided=False)
    if state.held is None:
        words = "draw a box in the dream with the mouse, or hold a picture (key ;): it guides the dream"
        return replace(state, guided=False, message=words)
    return replace(state, guided=not state.guided)


def draw_box(state: State, begin: Spot, end: Spot) -> State:
    """Draw a box of the picture that is dreamed, from one corner to another."""
    return replace(state, new_box=DrawnBox(begin.frame, RelativeBox.between((begin.x, begin.y), (end.x, end.y))))


def end_box(state: State) -> State:
    """The mouse button is let go: the box that was drawn guides the dream."""
    new = state.new_box
    if new is None:
        return state
    box = new.box
    if min(box.right - box.left, box.bottom - box.top) < LEAST_BOX:
        return replace(state, new_box=None, message="the box is too small to guide the dream: draw a larger one")
    return replace(state, new_box=None, guide_box=new, guided=False, dreaming=True)


def _choice(
    name: str, values: Sequence[str], key: str, help: str, words: Mapping[str, str], seen: Collection[str]
) -> Command:
    """A command that goes through the values of an attribute. Where its effect is not seen, it is said.

    Args:
        words: what each value means.
        seen: the contents of the layer pane that show it.
    """

    def choose(state: State, facts: Facts, value: str) -> State:
        state = with_value(state, name, value)
        if state.content in seen:
            return state
        tabs = " and ".join(f"“{content}”" for content in seen)
        return replace(state, message=f"{words[value]}: seen in the tab{'s' if len(seen) > 1 else ''} {tabs}")

    return choosing(lambda facts: values, lambda state: str(getattr(state, name)), choose, (key,), help, "dream")


_OF = {"layer": "what the whole layer remembers or dreams", "unit": "what the selected unit alone remembers or dreams"}
_MODES = {"picture": "a dream of the picture", "zoom": "an endless zoom", "live": "a live dream"}

DREAMS: dict[str, Command] = {
    "dream": Command(_dream, ("!",), "dream the picture in view: show, stop, go on", "dream"),
    "dream_mode": _choice("dream_mode", DREAM_MODES, "{", "dream: the picture, endless zoom, live", _MODES, ("dream",)),
    "dream_on": Command(_dream_on, (":",), "dream on from the result", "dream"),
    "part": _choice(
        "part", PARTS, "(", "remembered, dream: the whole layer / the selected unit", _OF, ("remembered", "dream")
    ),
    "guide": Command(_guide, (")",), "the held picture guides the dream / nothing does", "dream"),
}
