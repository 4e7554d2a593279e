"""Everything the user can do, as pure functions from a state to a new one and to the effects that are wanted.

COMMANDS is the one table of commands. It gives each command its default keys and its line on the
help screen. settings.yaml and `deepvis render --keys` call the commands by the names in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from deepvis.attribution.methods import METHODS
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, parse_unit, unit_id
from deepvis.interface.contents import CONTENTS
from deepvis.interface.effects import (
    Effect,
    ForgetMoments,
    KeepImages,
    KeepMoments,
    Outcome,
    Quit,
    SaveRecipe,
    TakeSnapshot,
    ToggleRecording,
)
from deepvis.interface.state import (
    BOOSTS,
    COMMON_BACKWARD,
    FILTERS,
    GAMMAS,
    METHOD_CYCLE,
    PRESET_CYCLE,
    ZOOMS,
    Hover,
    Source,
    State,
    TopImage,
)
from deepvis.interface.unit_grid import Grid, PaneView, centred_on, make_grid, zoom_at
from deepvis.synthesis import recipe_grid
from deepvis.synthesis.recipe import PRESETS, Recipe
from deepvis.synthesis.recipe_grid import RecipeGrid

FAST = 10  # how many cells a fast move covers


@dataclass(frozen=True)
class Facts:
    """What commands need to know besides the state.

    Attributes:
        layers: the network's layers; empty until it is loaded.
        area: width and height of the layer pane's picture, in pixels.
        scale: size of text and marks; it decides how many units fit on a page of a large layer.
        recipes: {name: recipe}, in the order in which key 1 goes through them.
    """

    layers: tuple[Layer, ...] = ()
    area: tuple[int, int] = (900, 800)
    scale: float = 1.0
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: {name: PRESETS[name] for name in PRESET_CYCLE})

    def grid(self, state: State) -> Grid:
        layer = self.layers[state.layer]
        return make_grid(layer.units, layer.height, layer.width, *self.area, state.view, state.unit, self.scale)


Action = Callable[[State, Facts], "State | Outcome"]  # an Outcome if there are also effects


@dataclass(frozen=True)
class Command:
    """One row of the table: what it does, the keys that call it, and what the help says."""

    do: Action
    keys: tuple[str, ...]
    help: str
    group: str


Value = TypeVar("Value")


def _next(values: Sequence[Value], value: Value) -> Value:
    return values[(values.index(value) + 1) % len(values)] if value in values else values[0]


def _select(state: State, facts: Facts, layer: int, unit: int) -> State:
    """Select a unit; a magnified layer pane follows it."""
    if not facts.layers:
        return state
    layer = min(max(layer, 0), len(facts.layers) - 1)
    unit = min(max(unit, 0), facts.layers[layer].units - 1)
    view = PaneView() if layer != state.layer else state.view
    state = replace(state, layer=layer, unit=unit, view=view)
    if view.scale > 1 and not state.shown.is_matrix:
        grid = facts.grid(state)
        left, top, width, height = grid.box(unit)
        outside = left < 0 or top < 0 or left + width > facts.area[0] or top + height > facts.area[1]
        if outside:
            state = replace(state, view=centred_on(unit, grid, *facts.area, view.scale))
    return state


def _along(delta: int) -> Action:
    """Left and right: along the layer list, or along the channels."""

    def do(state: State, facts: Facts) -> State:
        if state.in_channels:
            return _select(state, facts, state.layer, state.unit + delta)
        return _select(state, facts, state.layer + delta, state.unit)

    return do


def _across(rows: int) -> Action:
    """Up and down: between rows of channels; down from the layer list, up from the top row back to it."""

    def do(state: State, facts: Facts) -> State:
        if not facts.layers:
            return state
        if not state.in_channels:
            return replace(state, in_channels=True) if rows > 0 else state
        grid = facts.grid(state)
        row, column = divmod(state.unit, grid.columns)
        if rows < 0 and row == 0:
            return replace(state, in_channels=False)
        last = (facts.layers[state.layer].units - 1) // grid.columns  # rows are counted through all pages
        target = min(max(row + rows, 0), last)
        return _select(state, facts, state.layer, target * grid.columns + column)

    return do


def _turn_page(delta: int) -> Action:
    """Go to the same cell of the next or previous page, in a layer that is too large for the pane."""

    def do(state: State, facts: Facts) -> State:
        if not facts.layers:
            return state
        units, grid = facts.layers[state.layer].units, facts.grid(state)
        page = grid.columns * grid.rows
        if not 0 <= grid.first + delta * page < units:
            return state
        return _select(state, facts, state.layer, state.unit + delta * page)

    return do


def _layer_by(delta: int) -> Action:
    return lambda state, facts: _select(state, facts, state.layer + delta, state.unit)


def _first_unit(state: State, facts: Facts) -> State:
    return _select(state, facts, state.layer, 0)


def _last_unit(state: State, facts: Facts) -> State:
    return _select(state, facts, state.layer, facts.layers[state.layer].units - 1) if facts.layers else state


def _flip(name: str) -> Action:
    return lambda state, facts: _with(state, name, not getattr(state, name))


def _cycle(name: str, values: Sequence[object]) -> Action:
    return lambda state, facts: _with(state, name, _next(values, getattr(state, name)))


def _with(state: State, name: str, value: object) -> State:
    """The state with another value of this attribute."""
    changes: dict[str, Any] = {name: value}
    return replace(state, **changes)


def _cycle_zoom(state: State, facts: Facts) -> State:
    state = replace(state, recipe_grids=())
    zoom = _next(ZOOMS, state.zoom)
    if zoom == "backward" and state.method is None:  # there is no backward image yet: switch the gradient on
        state = replace(state, method="gradient")
    return replace(state, zoom=zoom)


def _cycle_backward(state: State, facts: Facts) -> State:
    method, filter = _next(COMMON_BACKWARD, (state.method, state.filter))
    return _with_method(replace(state, filter=filter), method)


def _cycle_method(state: State, facts: Facts) -> State:
    return _with_method(state, _next(METHOD_CYCLE, state.method))


def _with_method(state: State, method: str | None) -> State:
    """Set the backward method; None also switches off what needs a backward pass."""
    if method is None:
        zoom = "layer" if state.zoom == "backward" else state.zoom
        return replace(state, method=None, layer_gradient=False, zoom=zoom)
    return replace(state, method=method)


def _layer_gradient(state: State, facts: Facts) -> State:
    """Switch the layer pane's backward values on or off; if no backward method is on, the gradient is switched on."""
    if state.layer_gradient:
        return replace(state, layer_gradient=False)
    return replace(
        state,
        layer_gradient=True,
        method=state.method or "gradient",
        zoom="layer",
        content="activations",
        recipe_grids=(),
    )


def _cycle_content(state: State, facts: Facts) -> State:
    """Next content of the layer pane. The enlarged backward image is closed.

    The magnification ends when a grid of units gives way to a correlation matrix, or a matrix to a grid.
    """
    content = _next(tuple(CONTENTS), state.content)
    changed = replace(state, content=content, zoom="layer" if state.zoom == "backward" else state.zoom, recipe_grids=())
    return changed if changed.shown.is_matrix == state.shown.is_matrix else replace(changed, view=PaneView())


def _freeze_origin(state: State, facts: Facts) -> State:
    if state.origin is not None:
        return replace(state, origin=None)
    return replace(state, origin=(state.layer, state.unit))


def _switch_source(state: State, facts: Facts) -> State:
    if state.photo is not None:
        return replace(state, photo=None)
    source: Source = "files" if state.source == "camera" else "camera"
    return replace(state, source=source, frozen=False)


def _step(delta: int) -> Action:
    """Next or previous file. From the camera it switches to the files; from a top image back to the input before it."""

    def do(state: State, facts: Facts) -> State:
        if state.photo is not None:
            return replace(state, photo=None)
        if state.source == "camera":
            return replace(state, source="files", frozen=False)
        return replace(state, step=state.step + delta, frozen=False)

    return do


def _reset(state: State, facts: Facts) -> State | Outcome:
    """Go back to the view that the window opened on, and keep the input. If the recipe grid is open, only close it."""
    if state.recipe_grids:
        return replace(state, recipe_grids=())
    home = state.home
    begun = State(
        layer=home.layer,
        unit=home.unit,
        method=home.method,
        home=home,
        source=state.source,
        frozen=state.frozen,
        crop=state.crop,
        step=state.step,
        photo=state.photo,
        preset=state.preset,
    )
    return Outcome(begun, (ForgetMoments(),)) if state.moments else begun


def _grow(state: State, facts: Facts) -> State:
    return replace(state, growing=not state.growing, recipe_grids=())


def _preset(state: State, facts: Facts) -> State:
    """The next recipe. An open recipe grid starts again from it, with the same seed."""
    name = _next(tuple(facts.recipes), state.preset)
    grids = (RecipeGrid(name, facts.recipes[name], state.recipe_grids[-1].seed),) if state.recipe_grids else ()
    return replace(state, preset=name, recipe_grids=grids)


def _keep(state: State, facts: Facts) -> State | Outcome:
    """Keep the growing images or the moments; in the recipe grid, ask for a name to save the chosen settings."""
    if state.recipe_grids:
        return replace(state, typing=_free_name(state, facts), naming=True, help=False)
    if state.growing:
        return Outcome(state, (KeepImages(),))
    return Outcome(state, (KeepMoments(),)) if state.moments else state


def _free_name(state: State, facts: Facts) -> str:
    unit = re.sub("[^a-z0-9]+", "-", facts.layers[state.layer].name.lower()).strip("-") if facts.layers else ""
    name = f"{state.recipe_grids[-1].preset}-{unit}-{state.unit}"
    numbers = range(2, len(facts.recipes) + 3)
    return next(free for free in (name, *(f"{name}-{i}" for i in numbers)) if free not in facts.recipes)


def _desk(state: State, facts: Facts) -> State:
    """Open the recipe grid around the recipe that key 1 selected, or close it."""
    if state.recipe_grids or not facts.layers:
        return replace(state, recipe_grids=())
    name = state.preset if state.preset in facts.recipes else PRESET_CYCLE[0]
    return replace(state, recipe_grids=(RecipeGrid(name, facts.recipes[name]),), preset=name, growing=False, help=False)


def _on_grid(change: Callable[[RecipeGrid], RecipeGrid]) -> Action:
    """Show another grid of settings; `desk_back` returns to the one before."""

    def do(state: State, facts: Facts) -> State:
        if not state.recipe_grids:
            return replace(state, message="this key works in the recipe grid: 2 opens it")
        return replace(state, recipe_grids=(*state.recipe_grids, change(state.recipe_grids[-1])))

    return do


def _desk_back(state: State, facts: Facts) -> State:
    return replace(state, recipe_grids=state.recipe_grids[:-1] or state.recipe_grids)


def _collect(state: State, facts: Facts) -> State:
    """Start or stop collecting moments. They stay visible after the stop, until the view is reset."""
    return replace(state, collecting=not state.collecting, moments=True)


def _ask_for(effect: Effect) -> Action:
    """A command that only has an effect and does not change the state."""
    return lambda state, facts: Outcome(state, (effect,))


def _start_typing(state: State, facts: Facts) -> State:
    return replace(state, typing="", help=False)


def _backward_help() -> str:
    labels = [row.label for row in METHODS.values() if row.in_cycle]
    return f"backward: {', '.join(labels)}, blurred gradient, off"


COMMANDS: dict[str, Command] = {
    "left": Command(_along(-1), ("left", "j"), "previous layer, or unit to the left", "move"),
    "right": Command(_along(1), ("right", "l"), "next layer, or unit to the right", "move"),
    "up": Command(_across(-1), ("up", "i"), "row above; from the top row back to the layer list", "move"),
    "down": Command(_across(1), ("down", "k"), "into the channels; row below", "move"),
    "fast_left": Command(_along(-FAST), ("[",), f"{FAST} to the left", "move"),
    "fast_right": Command(_along(FAST), ("]",), f"{FAST} to the right", "move"),
    "fast_up": Command(_across(-FAST), ("-",), f"{FAST} rows up", "move"),
    "fast_down": Command(_across(FAST), ("=",), f"{FAST} rows down", "move"),
    "first": Command(_first_unit, ("home",), "first unit of the layer", "move"),
    "last": Command(_last_unit, ("end",), "last unit of the layer", "move"),
    "previous_layer": Command(_layer_by(-1), ("u",), "previous layer, same unit number", "move"),
    "next_layer": Command(_layer_by(1), ("o",), "next layer, same unit number", "move"),
    "previous_page": Command(_turn_page(-1), (",",), "previous page of a layer with very many units", "move"),
    "next_page": Command(_turn_page(1), (".",), "next page", "move"),
    "goto": Command(_start_typing, ("g",), "go to a unit: type its id (head:151, probs:zebra)", "move"),
    "switch_source": Command(_switch_source, ("c",), "camera / files", "input"),
    "freeze": Command(_flip("frozen"), ("f", "space"), "freeze the camera, pause a video", "input"),
    "next_file": Command(_step(1), ("e", "pgdn"), "next file", "input"),
    "previous_file": Command(_step(-1), ("w", "pgup"), "previous file", "input"),
    "crop": Command(_flip("crop"), ("0",), "fit the picture to the input: crop its centre / stretch it", "input"),
    "backward": Command(_cycle_backward, ("b",), _backward_help(), "backward"),
    "method": Command(_cycle_method, ("n",), "next backward method, same filter", "backward"),
    "filter": Command(_cycle("filter", FILTERS), ("m",), "next filter: raw, gray, norm, blurred norm", "backward"),
    "freeze_origin": Command(_freeze_origin, ("d",), "freeze the unit that the backward pass starts from", "backward"),
    "layer_gradient": Command(_layer_gradient, ("a",), "layer pane: activations / backward values", "backward"),
    "zoom": Command(_cycle_zoom, ("z",), "big pane: layer, selected unit, backward image", "view"),
    "content": Command(_cycle_content, ("s",), "layer pane: activations, images, histograms, correlation", "view"),
    "synthesize": Command(_grow, ("x",), "synthesize the selected unit's preferred images now / stop", "view"),
    "preset": Command(_preset, ("1",), "next recipe for x: modern, the paper's four, plain, saved", "view"),
    "collect": Command(_collect, ("v",), "collect each unit's strongest moments of the input / stop", "view"),
    "keep": Command(_keep, ("enter",), "keep images or moments; in the recipe grid: save the recipe", "view"),
    "gamma": Command(_cycle("gamma", range(len(GAMMAS))), ("t",), "contrast boost (gamma)", "view"),
    "boost": Command(_cycle("boost", range(len(BOOSTS))), ("y",), "contrast boost per channel", "view"),
    "predictions": Command(_flip("predictions"), ("8",), "class predictions on / off", "view"),
    "receptive_field": Command(
        _flip("receptive_field"), ("7",), "receptive field at the unit's strongest place, on / off", "view"
    ),
    "unit_images": Command(_flip("unit_images"), ("9",), "unit images on / off", "view"),
    "values": Command(_flip("values"), ("6",), "values on the top images, on / off", "view"),
    "debug": Command(_flip("debug"), ("5",), "timings on / off", "view"),
    "reset": Command(_reset, ("esc",), "reset the view", "view"),
    "desk": Command(_desk, ("2",), "recipe grid: 16 settings on the selected unit / close", "recipe grid"),
    "desk_settings": Command(_on_grid(recipe_grid.other_pair), ("3",), "vary two other settings", "recipe grid"),
    "desk_seed": Command(_on_grid(lambda one: replace(one, seed=one.seed + 1)), ("4",), "another seed", "recipe grid"),
    "desk_back": Command(_desk_back, ("backspace",), "back to the grid before", "recipe grid"),
    "snapshot": Command(_ask_for(TakeSnapshot()), ("p",), "save a picture of the window and of each pane", "program"),
    "record": Command(_ask_for(ToggleRecording()), ("r",), "record a video of the window / stop", "program"),
    "help": Command(_flip("help"), ("h",), "this help", "program"),
    "quit": Command(_ask_for(Quit()), ("q",), "quit", "program"),
}


def bindings(overrides: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """{key name: command name}.

    Args:
        overrides: {command name: its keys}, in place of the keys in the table. If a key is given to one
            command here and is the default of another, the other command loses it.
    """
    overrides = overrides or {}
    bound = {key: name for name, command in COMMANDS.items() if name not in overrides for key in command.keys}
    return bound | {key: name for name, keys in overrides.items() for key in keys}


_MOUSE_HELP = (
    ("mouse", "hover", "show a unit's name and value"),
    ("mouse", "click", "select a unit, a layer, a class, a tile of the recipe grid"),
    ("mouse", "click", "on a top image: its whole photo or moment is the input"),
    ("mouse", "wheel", "magnify the layer pane"),
)


def help_rows(bound: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    """The help screen's rows (group, keys, help text): COMMANDS with the bound keys, and the mouse."""
    rows = []
    for name, command in COMMANDS.items():
        keys = [key for key, bound_name in bound.items() if bound_name == name]
        rows.append((command.group, " ".join(keys) or "—", command.help))
    return (*rows, *_MOUSE_HELP)


def run(state: State, command: str, facts: Facts) -> Outcome:
    """Apply the command of that name and clear the message of the command before it."""
    return _outcome(COMMANDS[command].do(replace(state, message="", message_is_error=False), facts))


def _outcome(done: State | Outcome) -> Outcome:
    return done if isinstance(done, Outcome) else Outcome(done)


def press(state: State, key: str, facts: Facts, bound: Mapping[str, str]) -> Outcome:
    """Handle one key: it adds to the text being typed, runs its command, or does nothing."""
    if state.typing is not None:
        return _outcome(_type(state, state.typing, key, facts))
    return run(state, bound[key], facts) if key in bound else Outcome(state)


def _type(state: State, typed: str, key: str, facts: Facts) -> State | Outcome:
    """Handle a key while the user types; `typed` is the text so far."""
    if key == "esc":
        return replace(state, typing=None, naming=False)
    if key == "enter" and state.naming:
        return _name_recipe(state, typed, facts)
    if key == "enter":
        return goto(replace(state, typing=None), typed, facts)
    if key == "backspace":
        return replace(state, typing=typed[:-1])
    text = " " if key == "space" else key
    return replace(state, typing=typed + text) if len(text) == 1 else state


def _name_recipe(state: State, name: str, facts: Facts) -> State | Outcome:
    """Save the recipe grid's chosen settings under a name; if the name is refused, say why and go on typing."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]*", name):
        return replace(state, message=f"{name!r}: a recipe's name has letters, digits, - and _", message_is_error=True)
    if name in facts.recipes:
        return replace(state, message=f"there is a recipe {name} already: give another name", message_is_error=True)
    state = replace(state, message="", message_is_error=False, typing=None, naming=False)
    return Outcome(state, (SaveRecipe(name, state.recipe_grids[-1]),))


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
        layer, unit = parse_unit(text, facts.layers)
    except UserError as error:
        return replace(state, message=str(error), message_is_error=True)
    return replace(_select(state, facts, layer, unit), in_channels=True, message="", message_is_error=False)


def point(state: State, hover: Hover | TopImage | None) -> State:
    """The mouse has moved onto something, or off everything."""
    return state if hover == state.hover else replace(state, hover=hover)


def click(state: State, target: Hover | TopImage | None, facts: Facts) -> State:
    """Select the clicked layer, unit, class or recipe grid tile; a clicked top image's photo becomes the input."""
    if target is None or not facts.layers:
        return state
    if isinstance(target, TopImage):
        return replace(state, photo=target.photo) if target.photo else state
    if target.tile is not None:
        return (
            replace(state, recipe_grids=(*state.recipe_grids, recipe_grid.chosen(state.recipe_grids[-1], target.tile)))
            if state.recipe_grids
            else state
        )
    if target.unit is None:
        return replace(_select(state, facts, target.layer, state.unit), in_channels=False)
    return replace(_select(state, facts, target.layer, target.unit), in_channels=True)


def wheel(state: State, steps: int, x: float, y: float) -> State:
    """Magnify the layer pane about a point given as fractions of the pane."""
    return state if state.recipe_grids else replace(state, view=zoom_at(state.view, 1.25**steps, x, y))
