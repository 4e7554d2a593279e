"""The commands for how the window looks: colours, heat, layouts. They are rows of COMMANDS, in the group "look"."""

from __future__ import annotations

from dataclasses import replace

from deepvis.interface.command import Command, Facts, choice, choosing, flip
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import COLORS, HEATS, LAYOUT_NAMES, OPACITIES, THEMES, State


def choose_heat(state: State, facts: Facts, heat: str) -> State:
    """Lay another heat over the picture; if no backward method is on, its heat switches the gradient on."""
    method = state.method or "gradient" if heat == "backward" else state.method
    return replace(state, heat=heat, method=method)


def enlarge(state: State, facts: Facts, pane: str = "layer") -> State:
    """Let a pane fill the window; if one does already, show all again."""
    return replace(state, enlarged=None if state.enlarged else pane)


LOOKS: dict[str, Command] = {
    "colors": choice("colors", COLORS, ("#",), "colours of values: blue–orange, viridis, inferno …", "look"),
    "heat": choosing(
        lambda facts: HEATS,
        lambda state: state.heat,
        choose_heat,
        ("\\",),
        "heat over the picture: where the unit is active, backward image",
        "look",
    ),
    "opacity": choosing(
        lambda facts: tuple(map(str, OPACITIES)),
        lambda state: str(state.opacity),
        lambda state, facts, value: replace(state, opacity=float(value)),
        ("|",),
        "opacity of the heat",
        "look",
    ),
    "theme": choice("theme", THEMES, ("*",), "dark / light", "look"),
    "layout": choice("layout", LAYOUT_NAMES, ("%",), "layout: standard / for a projector", "look"),
    "enlarge": Command(
        enlarge,
        ("$",),
        "enlarge the layer pane / back",
        "look",
        lambda facts: tuple(name for name in DEFAULT_PANES if name != "status"),
        enlarge,
    ),
    "fullscreen": Command(flip("full_screen"), ("f11",), "full screen / window", "look"),
}
