"""Everything the user can do, as pure functions from a state to a new one and to the effects that are wanted.

COMMANDS is the one table of commands. It gives each command its default keys and its line on the
help screen. settings.yaml and `deepvis render --keys` call the commands by the names in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deepvis.attribution.methods import METHODS
from deepvis.interface import hints
from deepvis.interface.asking import SORTS, hold, sort_again, sort_by, sort_next, walk_strongest
from deepvis.interface.command import Action, Command, Facts, big_view, choosing, cycle, flip, next_value
from deepvis.interface.contents import CONTENTS
from deepvis.interface.dreaming import DREAMS
from deepvis.interface.effects import (
    CopyPicture,
    Effect,
    ForgetMoments,
    KeepDream,
    KeepImages,
    KeepMoments,
    Outcome,
    Quit,
    SaveNumbers,
    SaveRecipe,
    TakeSnapshot,
    TellLink,
    ToggleRecording,
)
from deepvis.interface.facet_commands import FACET_COMMANDS
from deepvis.interface.looks import LOOKS
from deepvis.interface.moving import FAST, across, along, first_unit, goto, last_unit, layer_by, turn_page
from deepvis.interface.palette import CommandPalette
from deepvis.interface.state import (
    BOOSTS,
    COMMON_BACKWARD,
    FILTERS,
    GAMMAS,
    PRESET_CYCLE,
    ZOOM_CYCLE,
    Source,
    State,
)
from deepvis.interface.together import TOGETHER
from deepvis.interface.unit_grid import PaneView
from deepvis.synthesis import recipe_grid
from deepvis.synthesis.recipe_grid import RecipeGrid


def _choose_zoom(state: State, facts: Facts, zoom: str) -> State:
    state = replace(state, recipe_grids=())
    if zoom == "backward" and state.method is None:  # there is no backward image yet: switch the gradient on
        state = replace(state, method="gradient")
    return replace(state, zoom=zoom)


def _cycle_backward(state: State, facts: Facts) -> State:
    now = state.method, state.filter
    if now not in COMMON_BACKWARD:  # with another filter: go on from the method
        now = next((pair for pair in COMMON_BACKWARD if pair[0] == state.method), COMMON_BACKWARD[0])
    method, filter = next_value(COMMON_BACKWARD, now)
    return _with_method(replace(state, filter=filter), method)


def _choose_filter(state: State, facts: Facts, filter: str) -> State:
    return replace(state, filter=filter, own_filter=filter)


def _choose_method(state: State, facts: Facts, method: str) -> State:
    return _with_method(state, None if method == OFF else method)


def _with_method(state: State, method: str | None) -> State:
    """Set the backward method; None also switches off what needs a backward pass."""
    if method is None:
        zoom = "layer" if state.zoom == "backward" else state.zoom
        heat = "off" if state.heat == "backward" else state.heat
        return replace(state, method=None, layer_gradient=False, zoom=zoom, heat=heat)
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


def _choose_content(state: State, facts: Facts, content: str) -> State:
    """Another content of the layer pane. The enlarged backward image or picture is closed.

    The magnification ends when a grid of units gives way to a correlation matrix, or a matrix to a grid.
    """
    zoom = state.zoom if state.zoom == "unit" else "layer"
    changed = replace(state, content=content, zoom=zoom, recipe_grids=())
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
    """Go back to the view that the window opened on, and keep the input.

    If the recipe grid is open or a pane is enlarged, only close that.
    """
    if state.recipe_grids:
        return replace(state, recipe_grids=())
    if state.enlarged is not None:
        return replace(state, enlarged=None)
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
        theme=state.theme,
        colors=state.colors,
        opacity=state.opacity,
        layout=state.layout,
        full_screen=state.full_screen,
        hints=state.hints,
        filter=state.own_filter,
        own_filter=state.own_filter,
    )
    return Outcome(begun, (ForgetMoments(),)) if state.moments else begun


def _grow(state: State, facts: Facts) -> State:
    return replace(state, growing=not state.growing, recipe_grids=())


def _choose_preset(state: State, facts: Facts, name: str) -> State:
    """Another recipe. An open recipe grid starts again from it, with the same seed."""
    grids = (RecipeGrid(name, facts.recipes[name], state.recipe_grids[-1].seed),) if state.recipe_grids else ()
    return replace(state, preset=name, recipe_grids=grids)


def _keep(state: State, facts: Facts) -> State | Outcome:
    """Keep the growing images or the moments; in the recipe grid, ask for a name to save the chosen settings."""
    if state.recipe_grids:
        return replace(state, typing=_free_name(state, facts), naming=True, help=False)
    if state.content == "dream":
        return Outcome(state, (KeepDream(),))
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


OFF = "off"  # the option of no backward method


def _ask_for(effect: Effect) -> Action:
    """A command that only has an effect and does not change the state."""
    return lambda state, facts: Outcome(state, (effect,))


def _start_typing(state: State, facts: Facts) -> State:
    return replace(state, typing="", help=False)


def _find(state: State, facts: Facts) -> State:
    """Open the command palette."""
    return replace(state, typing="", naming=False, finding=True, picked=0, help=False)


def _show_file(state: State, facts: Facts, name: str) -> State:
    """Show a file of the folder or list that is browsed."""
    steps = facts.files.names.index(name) - facts.files.position
    return replace(state, source="files", photo=None, frozen=False, step=state.step + steps)


def _backward_help() -> str:
    labels = [row.label for row in METHODS.values() if row.in_cycle]
    return f"backward: {', '.join(labels)}, blurred gradient, off"


COMMANDS: dict[str, Command] = {
    "left": Command(along(-1), ("left", "j"), "previous layer, or unit to the left", "move"),
    "right": Command(along(1), ("right", "l"), "next layer, or unit to the right", "move"),
    "up": Command(across(-1), ("up", "i"), "row above; from the top row back to the layer list", "move"),
    "down": Command(across(1), ("down", "k"), "into the channels; row below", "move"),
    "fast_left": Command(along(-FAST), ("[",), f"{FAST} to the left", "move"),
    "fast_right": Command(along(FAST), ("]",), f"{FAST} to the right", "move"),
    "fast_up": Command(across(-FAST), ("-",), f"{FAST} rows up", "move"),
    "fast_down": Command(across(FAST), ("=",), f"{FAST} rows down", "move"),
    "first": Command(first_unit, ("home",), "first unit of the layer", "move"),
    "last": Command(last_unit, ("end",), "last unit of the layer", "move"),
    "previous_layer": Command(layer_by(-1), ("u",), "previous layer, same unit number", "move"),
    "next_layer": Command(layer_by(1), ("o",), "next layer, same unit number", "move"),
    "previous_page": Command(turn_page(-1), (",",), "previous page of a layer with very many units", "move"),
    "next_page": Command(turn_page(1), (".",), "next page", "move"),
    "goto": Command(
        _start_typing,
        ("g",),
        "go to a unit: type its id (head:151, probs:zebra)",
        "move",
        choose=lambda state, facts, unit: goto(state, unit, facts),
        by_name=True,
    ),
    "find": Command(
        _find,
        ("/",),
        "find anything: a command, layer, unit, class, file",
        "move",
        choose=lambda state, facts, typed: replace(_find(state, facts), typing=typed),
        by_name=True,
    ),
    "strongest": Command(walk_strongest(1), ("tab",), "strongest unit of the layer; again: the next strongest", "move"),
    "stronger": Command(walk_strongest(-1), ("`",), "back to the stronger unit before", "move"),
    "switch_source": Command(_switch_source, ("c",), "camera / files", "input"),
    "freeze": Command(flip("frozen"), ("f", "space"), "freeze the camera, pause a video", "input"),
    "next_file": Command(
        _step(1), ("e", "pgdn"), "next file", "input", lambda facts: facts.files.names, _show_file, by_name=True
    ),
    "previous_file": Command(_step(-1), ("w", "pgup"), "previous file", "input"),
    "crop": Command(flip("crop"), ("0",), "fit the picture to the input: crop its centre / stretch it", "input"),
    "backward": Command(_cycle_backward, ("b",), _backward_help(), "backward"),
    "method": choosing(
        lambda facts: (OFF, *METHODS),
        lambda state: state.method or OFF,
        _choose_method,
        ("n",),
        "next backward method, same filter",
        "backward",
    ),
    "filter": choosing(
        lambda facts: FILTERS,
        lambda state: state.filter,
        _choose_filter,
        ("m",),
        "next filter: raw, gray, norm, blurred norm",
        "backward",
    ),
    "curves": Command(
        big_view("curves"), ("?",), "which backward method is true: deletion and insertion / back", "backward"
    ),
    "freeze_origin": Command(_freeze_origin, ("d",), "freeze the unit that the backward pass starts from", "backward"),
    "layer_gradient": Command(_layer_gradient, ("a",), "layer pane: activations / backward values", "backward"),
    "zoom": choosing(
        lambda facts: ZOOM_CYCLE,
        lambda state: state.zoom,
        _choose_zoom,
        ("z",),
        "big pane: layer, unit, backward image, picture with heat",
        "view",
    ),
    "content": choosing(
        lambda facts: tuple(CONTENTS),
        lambda state: state.content,
        _choose_content,
        ("s",),
        "layer pane: activations, images, histograms, correlation",
        "view",
    ),
    "synthesize": Command(_grow, ("x",), "synthesize the selected unit's preferred images now / stop", "view"),
    **TOGETHER,
    "preset": choosing(
        lambda facts: tuple(facts.recipes),
        lambda state: state.preset,
        _choose_preset,
        ("1",),
        "next recipe for x: modern, the papers', plain, saved",
        "view",
    ),
    "collect": Command(_collect, ("v",), "collect each unit's strongest moments of the input / stop", "view"),
    "keep": Command(_keep, ("enter",), "keep images, moments, the dream; in the recipe grid: save the recipe", "view"),
    "gamma": Command(cycle("gamma", range(len(GAMMAS))), ("t",), "contrast boost (gamma)", "view"),
    "boost": Command(cycle("boost", range(len(BOOSTS))), ("y",), "contrast boost per channel", "view"),
    "predictions": Command(flip("predictions"), ("8",), "class predictions on / off", "view"),
    "receptive_field": Command(
        flip("receptive_field"), ("7",), "receptive field at the unit's strongest place, on / off", "view"
    ),
    "unit_images": Command(flip("unit_images"), ("9",), "unit images on / off", "view"),
    "values": Command(flip("values"), ("6",), "values on the top images, on / off", "view"),
    "debug": Command(flip("debug"), ("5",), "timings on / off", "view"),
    "reset": Command(_reset, ("esc",), "reset the view", "view"),
    "sort": Command(
        sort_next,
        ("'",),
        "sort the units: activation now, maximum, similarity, difference, number",
        "view",
        lambda facts: tuple(SORTS),
        sort_by,
    ),
    "sort_again": Command(sort_again, ('"',), "sort anew, for the picture in view", "view"),
    "hold": Command(hold, (";",), "hold the picture in view and compare others with it / let go", "view"),
    **LOOKS,
    **DREAMS,
    **FACET_COMMANDS,
    "desk": Command(_desk, ("2",), "recipe grid: 16 settings on the selected unit / close", "recipe grid"),
    "desk_settings": Command(_on_grid(recipe_grid.other_pair), ("3",), "vary two other settings", "recipe grid"),
    "desk_seed": Command(_on_grid(lambda one: replace(one, seed=one.seed + 1)), ("4",), "another seed", "recipe grid"),
    "desk_back": Command(_desk_back, ("backspace",), "back to the grid before", "recipe grid"),
    "snapshot": Command(_ask_for(TakeSnapshot()), ("p",), "save a picture of the window and of each pane", "program"),
    "save_numbers": Command(
        _ask_for(SaveNumbers()), ("+",), "save the numbers (.npz, .csv) and the view, for --view", "program"
    ),
    "view_link": Command(_ask_for(TellLink()), ("&",), "a link that opens this view again, for --view", "program"),
    "copy": Command(_ask_for(CopyPicture()), ("@",), "copy the pane under the mouse, else the window", "program"),
    "record": Command(_ask_for(ToggleRecording()), ("r",), "record a video of the window / stop", "program"),
    "help": Command(flip("help"), ("h",), "this help", "program"),
    "quit": Command(_ask_for(Quit()), ("q",), "quit", "program"),
}


PALETTE = CommandPalette(COMMANDS)


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
    ("mouse", "double click", "enlarge a pane / back"),
    ("mouse", "click", "on the curve of the last seconds: its peak is the input"),
    ("mouse", "click", "a tab, a chip, a line of the palette: does what it says"),
    ("mouse", "drag", "move the facet map; a click on its photo: it is the input"),
    ("mouse", "drag", "in the dream: draw a box, which guides the dream"),
    ("mouse", "wheel", "magnify the layer pane; on a long list of layers: look further along"),
)


def help_rows(bound: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """The help screen's rows (group, keys, help text): COMMANDS with the bound keys, and the mouse."""
    keys = keys_of(bound)
    return (*((command.group, keys[name] or "—", command.help) for name, command in COMMANDS.items()), *_MOUSE_HELP)


def keys_of(bound: Mapping[str, str]) -> dict[str, str]:
    """{command name: its keys, separated by spaces; empty if it has none}."""
    return {name: " ".join(key for key, bound_name in bound.items() if bound_name == name) for name in COMMANDS}


def run(state: State, call: str, facts: Facts) -> Outcome:
    """Apply a command and clear the message of the command before it.

    Args:
        call: the command's name, or its name and one of its options: "content=histograms".
    """
    name, _, option = call.partition("=")
    command, state = COMMANDS[name], replace(state, message="", message_is_error=False)
    if not option:
        return _outcome(command.do(state, facts))
    options = command.options(facts)
    if option not in options and (options or not command.by_name):
        known = ", ".join(options) or "none"
        return Outcome(
            replace(state, message=f"{name}: no option {option!r}; there are: {known}", message_is_error=True)
        )
    return Outcome(command.choose(state, facts, option))


def _outcome(done: State | Outcome) -> Outcome:
    return done if isinstance(done, Outcome) else Outcome(done)


def press(state: State, key: str, facts: Facts, bound: Mapping[str, str]) -> Outcome:
    """Handle one key: it adds to the text being typed, runs its command, or does nothing."""
    if state.typing is not None:
        return _outcome(_type(state, state.typing, key, facts))
    return run(hints.after(state, bound[key]), bound[key], facts) if key in bound else Outcome(state)


def _type(state: State, typed: str, key: str, facts: Facts) -> State | Outcome:
    """Handle a key while the user types; `typed` is the text so far."""
    if key == "esc":
        return without_prompt(state)
    if state.finding and key in ("up", "down", "enter"):
        return _pick(state, key, facts)
    if key == "enter" and state.naming:
        return _name_recipe(state, typed, facts)
    if key == "enter":
        return goto(replace(state, typing=None), typed, facts)
    if key == "backspace":
        return replace(state, typing=typed[:-1], picked=0)
    text = " " if key == "space" else key
    return replace(state, typing=typed + text, picked=0) if len(text) == 1 else state


def without_prompt(state: State) -> State:
    """The state in which nothing is being typed."""
    return replace(state, typing=None, naming=False, finding=False, picked=0)


def _pick(state: State, key: str, facts: Facts) -> State | Outcome:
    """Choose another line of the palette, or do what the chosen one says."""
    found = PALETTE.found(state, facts)
    if not found:
        return state
    picked = min(state.picked, len(found) - 1)
    if key == "enter":
        return run(without_prompt(state), found[picked].call, facts)
    return replace(state, picked=(picked + (1 if key == "down" else -1)) % len(found))


def _name_recipe(state: State, name: str, facts: Facts) -> State | Outcome:
    """Save the recipe grid's chosen settings under a name; if the name is refused, say why and go on typing."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]*", name):
        return replace(state, message=f"{name!r}: a recipe's name has letters, digits, - and _", message_is_error=True)
    if name in facts.recipes:
        return replace(state, message=f"there is a recipe {name} already: give another name", message_is_error=True)
    state = replace(state, message="", message_is_error=False, typing=None, naming=False)
    return Outcome(state, (SaveRecipe(name, state.recipe_grids[-1]),))
