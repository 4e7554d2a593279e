"""Commands are pure functions: state in, state out. No key, window or network is needed here."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from deepvis.attribution.methods import METHODS
from deepvis.core.frames import Photo
from deepvis.core.layers import Layer
from deepvis.display.key_codes import NAMES
from deepvis.interface import pointing
from deepvis.interface.command import Facts
from deepvis.interface.commands import COMMANDS, bindings, press, run
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
from deepvis.interface.moving import FAST, goto
from deepvis.interface.pointing import click, double_click, point, wheel
from deepvis.interface.requests import growth_wish
from deepvis.interface.state import (
    BOOSTS,
    COMMON_BACKWARD,
    FILTERS,
    GAMMAS,
    PRESET_CYCLE,
    ZOOM_CYCLE,
    ZOOMS,
    Control,
    Hover,
    State,
    TopImage,
)
from deepvis.interface.unit_grid import PaneView
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe_grid import chosen

LAYERS = (
    Layer("stem", "Conv2d", 32, 112, 112),
    Layer("tall", "Conv2d", 7, 40, 3),
    Layer("one", "Conv2d", 1, 8, 8),
    Layer("wide", "Conv2d", 320, 7, 7),
    Layer("head", "Linear", 1000, labels=tuple(f"class {i}" for i in range(990)) + ("tabby, tabby cat",)),
)
FACTS = Facts(LAYERS, (900, 800))
NOTHING = Facts((), (900, 800))
BOUND = bindings()
IN = State(layer=3, unit=50, in_channels=True)  # among the channels of "wide"


def do(state: State, *names: str, facts: Facts = FACTS) -> State:
    """Run commands one after the other; each must leave the state that it was given alone."""
    for name in names:
        before = repr(state)
        after = run(state, name, facts).state
        assert repr(state) == before
        state = after
    return state


def keys(state: State, *names: str, facts: Facts = FACTS) -> State:
    for name in names:
        state = press(state, name, facts, BOUND).state
    return state


def effects(state: State, *names: str, facts: Facts = FACTS) -> tuple[Effect, ...]:
    """All that some keys want done."""
    wanted: tuple[Effect, ...] = ()
    for name in names:
        outcome = press(state, name, facts, BOUND)
        state, wanted = outcome.state, wanted + outcome.effects
    return wanted


def columns(layer: int) -> int:
    return FACTS.grid(State(layer=layer)).columns


# ---- moving ---------------------------------------------------------------------------------


def test_left_and_right_walk_the_layer_list_and_stop_at_its_ends() -> None:
    assert do(State(), "left") == State()
    assert do(State(), "right", "right") == State(layer=2)
    assert do(State(layer=2), "left") == State(layer=1)
    assert do(State(layer=4), "right") == State(layer=4)
    assert do(State(layer=4), "fast_left") == State()
    assert do(State(), "fast_right") == State(layer=4)


def test_left_and_right_walk_the_channels_and_stop_at_their_ends() -> None:
    assert do(IN, "left").unit == 49 and do(IN, "right").unit == 51
    assert do(IN, "fast_left").unit == 50 - FAST and do(IN, "fast_right").unit == 50 + FAST
    assert do(replace(IN, unit=0), "left").unit == 0
    assert do(replace(IN, unit=3), "fast_left").unit == 0
    assert do(replace(IN, unit=319), "right").unit == 319
    assert do(replace(IN, unit=315), "fast_right").unit == 319
    assert {do(IN, name).layer for name in ("left", "right", "fast_left", "fast_right")} == {3}


def test_down_enters_the_channels_and_up_from_the_top_row_leaves_them() -> None:
    listed = State(layer=3, unit=5)
    assert do(listed, "down") == replace(listed, in_channels=True)
    assert do(listed, "fast_down") == replace(listed, in_channels=True)
    assert do(listed, "up") == do(listed, "fast_up") == listed
    assert do(listed, "down", "up") == listed


def test_up_and_down_keep_the_column() -> None:
    wide = columns(3)
    assert do(IN, "down").unit == 50 + wide and do(IN, "up").unit == 50 - wide
    top = replace(IN, unit=5)
    assert do(top, "fast_down").unit == 5 + FAST * wide
    assert do(top, "down", "up") == top


def test_a_fast_move_up_stops_in_the_top_row_before_it_leaves() -> None:
    wide = columns(3)
    third = replace(IN, unit=2 * wide + 4)
    assert do(third, "fast_up") == replace(IN, unit=4)
    assert do(third, "fast_up", "fast_up") == replace(IN, unit=4, in_channels=False)


def test_down_into_a_short_last_row_takes_its_last_unit_and_stays_there() -> None:
    wide = columns(3)
    rows = -(-320 // wide)
    assert 320 % wide not in (0, wide - 1), "the layer must have a short last row for this test"
    above = replace(IN, unit=(rows - 1) * wide - 1)  # the end of the last full row
    assert do(above, "down").unit == 319
    assert do(above, "down", "down").unit == 319
    assert do(replace(IN, unit=(rows - 1) * wide), "down").unit == (rows - 1) * wide


def test_first_and_last() -> None:
    assert do(IN, "last").unit == 319 and do(IN, "first").unit == 0
    assert do(State(layer=2), "last").unit == 0


def test_layer_change_clips_the_unit_and_the_cursor_stays() -> None:
    for name, layer in (("previous_layer", 2), ("next_layer", 4)):
        assert do(IN, name) == replace(IN, layer=layer, unit=min(50, LAYERS[layer].units - 1))
    assert do(replace(IN, in_channels=False), "next_layer").in_channels is False
    assert do(replace(IN, layer=4, unit=999), "previous_layer").unit == 319
    assert do(State(), "previous_layer") == State()
    assert do(State(layer=4), "next_layer") == State(layer=4)


# ---- the magnified view ---------------------------------------------------------------------


@pytest.mark.parametrize("layer", range(len(LAYERS)))
@pytest.mark.parametrize("scale", [1.5, 4.0, 20.0])
def test_the_magnified_view_follows_the_selection(layer: int, scale: float) -> None:
    state = State(layer=layer, in_channels=True, view=PaneView(scale, 0.5, 0.5))
    for unit in {0, LAYERS[layer].units // 3, LAYERS[layer].units - 1}:
        moved = goto(state, str(unit), FACTS)
        assert moved.view.scale == scale
        left, top, width, height = FACTS.grid(moved).box(unit)
        for start, size, room in ((left, width, 900), (top, height, 800)):
            if size <= room:
                assert 0 <= start and start + size <= room
            else:  # larger than the pane: it fills the pane
                assert start <= 0 and start + size >= room


def test_the_view_stays_where_it_is_while_the_selection_is_seen() -> None:
    state = wheel(IN, 3, 0.5, 0.5)
    seen = [u for u in range(320) if (b := FACTS.grid(state).box(u))[0] >= 0 and b[1] >= 0
            and b[0] + b[2] <= 900 and b[1] + b[3] <= 800]  # fmt: skip
    assert 20 < len(seen) < 320
    assert all(goto(state, str(unit), FACTS).view == state.view for unit in seen)


def test_another_layer_is_seen_whole() -> None:
    state = replace(IN, view=PaneView(4.0, 0.3, 0.3))
    assert do(state, "next_layer").view == PaneView()
    assert do(replace(state, layer=4), "next_layer").view.scale == 4.0  # there is none


def test_wheel_forth_and_back_is_no_change() -> None:
    state = wheel(IN, 1, 0.2, 0.7)
    assert state.view.scale == 1.25
    assert wheel(state, -1, 0.2, 0.7) == IN
    assert wheel(IN, -3, 0.2, 0.7) == IN


# ---- cycles and switches --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attribute", "values"),
    [
        ("gamma", "gamma", range(len(GAMMAS))),
        ("boost", "boost", range(len(BOOSTS))),
        ("filter", "filter", FILTERS),
        ("method", "method", (None, *METHODS)),
        ("zoom", "zoom", ZOOM_CYCLE),
        ("content", "content", CONTENTS),
        *(
            (flag, attribute, (False, True))
            for flag, attribute in (
                ("help", "help"),
                ("debug", "debug"),
                ("freeze", "frozen"),
            )
        ),
        *((flag, flag, (True, False)) for flag in ("crop", "predictions", "unit_images")),
        ("values", "values", (False, True)),
    ],
)
def test_a_cycle_visits_its_values_in_order_and_returns(name: str, attribute: str, values) -> None:
    state, seen = State(), []
    for _ in values:
        seen.append(getattr(state, attribute))
        state = do(state, name)
    assert seen == list(values)
    assert replace(state, method=None, heat="off") == State()  # zoom has switched them on, see below
    assert name == "zoom" or state == State()


def test_zoom_to_a_backward_image_that_is_off_switches_the_gradient_on() -> None:
    state = do(State(), "zoom", "zoom")
    assert (state.zoom, state.method) == ("backward", "gradient")
    assert do(State(method="deconv"), "zoom", "zoom").method == "deconv"


def test_b_cycles_the_common_backward_modes() -> None:
    state, seen = State(), []
    for _ in range(8):
        seen.append((state.method, state.filter))
        state = do(state, "backward")
    assert seen == [(None, "raw"), ("gradient", "raw"), ("deconv", "raw"), ("guided", "raw"), ("lrp", "raw"),
                    ("grad-cam", "raw"), ("gradient", "blurred norm"), (None, "raw")]  # fmt: skip
    assert tuple(seen[:7]) == COMMON_BACKWARD


@pytest.mark.parametrize("name", ["backward", "method"])
def test_without_a_method_nothing_that_needs_one_stays_on(name: str) -> None:
    state = State(method="guided", filter="raw", zoom="backward", layer_gradient=True)
    for _ in (None, *METHODS):
        if state.method is not None:
            state = do(state, name)
    assert (state.method, state.zoom, state.layer_gradient) == (None, "layer", False)
    assert do(State(method="guided", zoom="unit"), name, "backward").zoom == "unit"


def test_n_changes_the_method_alone_and_m_the_filter_alone() -> None:
    state = State(method="gradient", filter="norm")
    assert do(state, "method") == replace(state, method="deconv")
    assert do(state, "filter") == replace(state, filter="blurred norm", own_filter="blurred norm")


def test_d_freezes_the_origin_where_it_is_and_lets_it_go() -> None:
    state = do(IN, "freeze_origin")
    assert state.origin == (3, 50)
    walked = do(state, "previous_layer", "last", "freeze_origin", "freeze_origin")
    assert do(state, "next_layer", "first").backward_origin == (3, 50)
    assert walked.origin == (2, 0)
    assert do(state, "right", "freeze_origin").backward_origin == (3, 51)


def test_a_shows_backward_values_and_needs_a_method_for_them() -> None:
    state = do(State(zoom="backward", method="deconv"), "layer_gradient")
    assert (state.layer_gradient, state.method, state.zoom) == (True, "deconv", "layer")
    assert do(State(), "layer_gradient").method == "gradient"
    assert do(State(), "layer_gradient", "layer_gradient") == State(method="gradient")


# ---- input ----------------------------------------------------------------------------------


def test_c_switches_camera_and_files_and_thaws() -> None:
    assert do(State(source="camera", frozen=True), "switch_source") == State(source="files")
    assert do(State(source="files", frozen=True), "switch_source") == State(source="camera")


def test_e_and_w_step_through_files_and_leave_the_camera_first() -> None:
    assert do(State(), "next_file", "next_file", "previous_file").step == 1
    assert do(State(), "previous_file").step == -1
    assert do(State(frozen=True), "next_file").frozen is False
    for name in ("next_file", "previous_file"):
        assert do(State(source="camera", frozen=True, step=4), name) == State(source="files", step=4)


def test_a_top_images_photo_becomes_the_input_until_it_is_left() -> None:
    photo = Photo("/data", "a.jpg")
    for before in (State(step=3, unit=4), State(source="camera", frozen=True)):
        shown = click(before, TopImage(2, photo), FACTS).state
        assert shown == replace(before, photo=photo)
        for name in ("next_file", "previous_file", "switch_source"):
            assert do(shown, name) == before


def test_esc_resets_the_view_and_keeps_the_input() -> None:
    kept = {
        "source": "camera",
        "frozen": True,
        "crop": False,
        "step": 7,
        "photo": Photo("/data", "a.jpg"),
        "preset": "plain",
        "theme": "light",
        "colors": "viridis",
        "opacity": 0.7,
        "layout": "projector",
        "full_screen": True,
    }
    state = State(layer=3, unit=9, in_channels=True, zoom="backward", method="guided", filter="norm", origin=(1, 1),
                  gamma=2, boost=1, view=PaneView(3.0), predictions=False, unit_images=False, help=True, debug=True,
                  content="histograms", layer_gradient=True, hover=Hover(1, 2), message="x", heat="backward",
                  **kept)  # fmt: skip
    assert keys(state, "esc") == State(**kept)


def test_esc_keeps_a_filter_that_was_chosen_by_itself() -> None:
    for call in "filter", "filter=gray":
        chosen = do(State(method="guided"), call)
        assert chosen.filter == do(chosen, "reset").filter == "gray"
    by_the_way = State()
    while by_the_way.filter == "raw":  # key b: a method and a filter together
        by_the_way = do(by_the_way, "backward")
    assert do(by_the_way, "reset") == State()


def test_a_matrix_and_a_grid_do_not_share_a_magnified_view() -> None:
    state = replace(State(view=PaneView(3.0, 0.2, 0.2)), content="top images")
    assert do(state, "content").view == state.view  # histograms have the same cells
    matrix = do(state, "content", "content")
    assert matrix.shown.is_matrix and matrix.view == PaneView()
    magnified = replace(matrix, view=PaneView(3.0, 0.2, 0.2))
    assert do(magnified, "content").view == magnified.view  # the same matrix, sorted
    assert do(magnified, "content", "content").view == PaneView()
    assert do(magnified, "last").view == magnified.view  # the grid's cells are elsewhere: it does not follow them


def test_the_pane_of_a_content_is_not_hidden_by_the_backward_image_and_a_goes_to_backward_values() -> None:
    assert do(State(zoom="backward", method="gradient"), "content").zoom == "layer"
    assert do(State(content="histograms"), "layer_gradient").content == "activations"


# ---- program --------------------------------------------------------------------------------


def test_snapshot_record_help_and_quit() -> None:
    assert do(State(), "help").help and do(State(), "help", "help") == State()
    for name, effect in (("snapshot", TakeSnapshot()), ("record", ToggleRecording()), ("quit", Quit())):
        assert run(IN, name, FACTS) == Outcome(IN, (effect,))
    assert effects(State(), "p", "h", "p", "r", "q") == (TakeSnapshot(), TakeSnapshot(), ToggleRecording(), Quit())


def test_the_next_command_clears_the_message() -> None:
    said = State(message="no such unit", message_is_error=True)
    assert do(said, "gamma") == State(gamma=1)


# ---- go to a unit ---------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "layer", "unit"), [
    ("head:151", 4, 151), (" head : 151 ", 4, 151), ("HEAD:0", 4, 0), ("head:class 7", 4, 7), ("one", 2, 0),
    ("head:Tabby, Tabby Cat", 4, 990), ("12", 3, 12), ("319", 3, 319),
])  # fmt: skip
def test_goto_by_id_label_layer_and_number(text: str, layer: int, unit: int) -> None:
    state = goto(replace(IN, in_channels=False, message="old", message_is_error=True), text, FACTS)
    assert state == State(layer=layer, unit=unit, in_channels=True)


@pytest.mark.parametrize(("text", "named"), [
    ("nowhere:3", "nowhere"), ("head:1000", "0 to 999"), ("320", "0 to 319"), ("head:dog", "dog"), ("stem:-1", "-1"),
    ("head:", "0 to 999"), (":", "stem"), ("head:1:2", "head:1"), ("²", "²"),
])  # fmt: skip
def test_goto_a_wrong_id_says_so_and_moves_nothing(text: str, named: str) -> None:
    state = goto(IN, text, FACTS)
    assert state.message_is_error and named in state.message
    assert replace(state, message="", message_is_error=False) == IN


def test_goto_nothing_is_nothing() -> None:
    assert goto(IN, "", FACTS) == goto(IN, "   ", FACTS) == IN
    assert goto(State(), "head:3", NOTHING) == State()


def test_keys_are_text_while_typing() -> None:
    state = keys(IN, "h", "g", *"head:15x", "backspace", "1", "pgup", "tab", "left")
    assert state == replace(IN, typing="head:151")  # h opened the help, g closed it; q, e … would be commands
    assert keys(state, "enter") == State(layer=4, unit=151, in_channels=True)
    assert keys(state, "esc") == IN
    assert keys(IN, "g", *"qq", "space", *"z").typing == "qq z"
    assert effects(IN, "g", *"qq") == ()
    assert keys(IN, "g", "backspace").typing == ""
    assert keys(IN, "g", "enter") == keys(IN, "g", "esc") == IN


def test_a_typed_label_with_a_comma_and_a_space() -> None:
    assert keys(IN, "g", *"head:tabby,", "space", *"tabby", "space", *"cat", "enter").unit == 990


def test_a_wrong_typed_id_ends_typing_with_a_message() -> None:
    state = keys(IN, "g", *"heat:3", "enter")
    assert state.typing is None and state.message_is_error and "Did you mean head" in state.message


# ---- the mouse ------------------------------------------------------------------------------


def test_click_selects_a_layer_or_a_unit() -> None:
    assert click(IN, Hover(0), FACTS).state == State(layer=0, unit=31)
    assert click(State(), Hover(4, 77), FACTS).state == State(layer=4, unit=77, in_channels=True)
    assert click(IN, None, FACTS).state == IN


def test_point_changes_only_what_is_pointed_at() -> None:
    assert point(IN, Hover(3, 4)) == replace(IN, hover=Hover(3, 4))
    same = point(IN, Hover(3, 4))
    assert point(same, Hover(3, 4)) is same
    assert point(same, None) == IN


# ---- keys -----------------------------------------------------------------------------------

ORIGINAL = {  # of the issue: what fingers know
    "f": "freeze", "c": "switch_source", "e": "next_file", "pgdn": "next_file", "w": "previous_file",
    "pgup": "previous_file", "0": "crop", "h": "help", "5": "debug", "q": "quit", "esc": "reset",
    "left": "left", "j": "left", "right": "right", "l": "right", "up": "up", "i": "up", "down": "down", "k": "down",
    "u": "previous_layer", "o": "next_layer", "z": "zoom", "s": "content", "b": "backward", "n": "method",
    "m": "filter", "d": "freeze_origin", "a": "layer_gradient", "t": "gamma", "8": "predictions", "9": "unit_images",
    "p": "snapshot", "r": "record", "g": "goto",
}  # fmt: skip


def test_keys_keep_the_meaning_that_the_issue_gives_them() -> None:
    assert {key: BOUND.get(key) for key in ORIGINAL} == ORIGINAL


def test_every_command_has_a_key_of_its_own_that_exists() -> None:
    given = [key for command in COMMANDS.values() for key in command.keys]
    assert len(given) == len(set(given))
    assert all(command.keys and command.help and command.group for command in COMMANDS.values())
    assert set(given) <= set(NAMES)
    assert len(BOUND) == len(given)


def test_overrides_replace_the_keys_and_take_them_from_their_owner() -> None:
    bound = bindings({"quit": ("}", "h"), "zoom": ()})
    assert bound["}"] == bound["h"] == "quit"
    assert "q" not in bound and "z" not in bound and "help" not in bound.values()
    assert {k: v for k, v in bound.items() if k not in "}h"} == {k: v for k, v in BOUND.items() if k not in "qzh"}


def test_an_unbound_key_does_nothing() -> None:
    assert keys(IN, "}") == IN


def test_and_this_one() -> None:
    """A unit is taken as the other one; images are made for it and each unit selected next; again: no more."""
    taken = keys(IN, "~")
    assert taken.also == (IN.layer, IN.unit) and taken.partner is None and "together with" in taken.message
    growing = keys(taken, "right", "x")
    assert growing.partner == (IN.layer, IN.unit)
    wish = growth_wish(growing, LAYERS)
    assert wish is not None and wish.also == (LAYERS[IN.layer].name, IN.unit) and wish.unit == growing.unit
    assert growth_wish(keys(taken, "x"), LAYERS).also is None
    assert keys(growing, "left", "~").also is None and keys(growing, "~").also == (growing.layer, growing.unit)
    assert keys(growing, "esc").also is None


def test_images_that_grow_are_kept_only_while_they_grow() -> None:
    assert keys(IN, "enter") == IN
    growing = keys(IN, "x")
    assert growing.growing and keys(growing, "x") == IN
    assert effects(growing, "enter") == (KeepImages(),) and effects(IN, "enter") == ()
    assert keys(IN, *["1"] * len(PRESET_CYCLE)) == IN != keys(IN, "1")


# ---- the desk -------------------------------------------------------------------------------

CLASS = State(layer=4, unit=3, in_channels=True)
TILE = Hover(4, 3, tile=7)


def test_the_desk_opens_about_the_recipe_of_key_1_and_closes() -> None:
    grids = keys(CLASS, "2").recipe_grids
    assert [(one.preset, one.recipe, one.seed) for one in grids] == [("modern", PRESETS["modern"], 0)]
    assert keys(CLASS, "1", "1", "2").recipe_grids[-1].recipe == PRESETS["yosinski-2"]
    assert keys(CLASS, "2", "2") == CLASS
    assert keys(CLASS, "t", "2", "esc") == keys(CLASS, "t") and keys(CLASS, "t", "2", "esc", "esc") == State()
    assert keys(State(), "2", facts=NOTHING) == State()


@pytest.mark.parametrize("key", ["x", "s", "z", "a"])
def test_what_fills_the_big_pane_takes_turns_with_the_desk(key: str) -> None:
    assert keys(CLASS, "2", key) == keys(CLASS, key)
    assert keys(CLASS, "x", "2").growing is False


def test_a_click_closes_in_on_a_tile_and_backspace_goes_back() -> None:
    state = keys(CLASS, "2")
    clicked = click(state, TILE, FACTS).state
    assert clicked == replace(state, recipe_grids=(*state.recipe_grids, chosen(state.recipe_grids[0], 7)))
    twice = click(clicked, TILE, FACTS).state
    assert keys(twice, "backspace") == clicked and keys(twice, "backspace", "backspace") == state
    assert keys(state, "backspace") == state
    assert click(CLASS, TILE, FACTS).state == CLASS  # of a desk that has just been closed
    assert wheel(clicked, 3, 0.5, 0.5) == clicked


def test_the_desk_takes_other_settings_other_seeds_and_other_recipes() -> None:
    state = click(keys(CLASS, "2"), TILE, FACTS).state
    after = keys(state, "3", "4", "4").recipe_grids
    assert [(one.pair, one.seed) for one in after] == [(0, 0), (0, 0), (1, 0), (1, 1), (1, 2)]
    assert {one.recipe for one in after[1:]} == {after[1].recipe}
    begun = keys(replace(state, recipe_grids=after), "1")
    assert [(one.preset, one.recipe, one.seed) for one in begun.recipe_grids] == [
        ("yosinski-1", PRESETS["yosinski-1"], 2)
    ]
    for key in ("3", "4"):
        assert keys(CLASS, key) == replace(CLASS, message="this key works in the recipe grid: 2 opens it")


def test_the_desk_stays_when_one_walks_to_another_unit() -> None:
    state = keys(CLASS, "2")
    assert keys(state, "right") == replace(state, unit=4, hints=("right",)) and keys(state, "u") == replace(
        state, layer=3
    )


def test_enter_asks_for_a_name_and_saves_the_chosen_settings() -> None:
    asking = keys(CLASS, "2", "enter")
    assert (asking.typing, asking.naming) == ("modern-head-3", True) and effects(CLASS, "2", "enter") == ()
    typed = [*["backspace"] * len("head-3"), *"fur", "enter"]
    saved = keys(asking, *typed)
    assert (saved.typing, saved.naming) == (None, False)
    assert effects(asking, *typed) == (SaveRecipe("modern-fur", asking.recipe_grids[-1]),)
    assert keys(asking, "esc") == keys(CLASS, "2") != keys(asking, "g")
    assert keys(asking, "esc", "g", *"wide:3", "enter").layer == 3


def test_a_recipes_name_must_be_one_and_be_free() -> None:
    facts = Facts(LAYERS, (900, 800), recipes={**FACTS.recipes, "modern-head-3": PRESETS["plain"]})
    asking = keys(CLASS, "2", "enter", facts=facts)
    assert asking.typing == "modern-head-3-2"
    for typed, said in ((["backspace", "backspace"], "already"), (["/"], "letters"), (["backspace"] * 30, "letters")):
        state = keys(asking, *typed, "enter", facts=facts)
        assert said in state.message and state.message_is_error and state.naming
        assert effects(asking, *typed, "enter", facts=facts) == ()
        (saved,) = effects(state, *["backspace"] * 30, "a", "enter", facts=facts)
        assert saved == SaveRecipe("a", state.recipe_grids[-1])
    assert (
        keys(CLASS, *["1"] * len(PRESET_CYCLE), "2", facts=facts).recipe_grids[0].recipe == PRESETS["plain"]
    )  # a saved one


def test_what_was_collected_stays_until_the_view_is_reset() -> None:
    collecting = keys(IN, "v")
    assert collecting.collecting and collecting.moments
    stopped = keys(collecting, "v")
    assert not stopped.collecting and stopped.moments and keys(stopped, "v") == collecting
    assert effects(stopped, "enter") == effects(collecting, "enter") == (KeepMoments(),)
    over = keys(stopped, "esc")
    assert not over.moments and not over.collecting and effects(over, "enter") == ()
    assert effects(stopped, "esc") == (ForgetMoments(),) and effects(IN, "esc") == ()


# ---- everything at once ---------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_survives_a_network_that_is_not_there_yet(name: str) -> None:
    for state in (State(), State(in_channels=True), State(typing="head:3"), State(zoom="unit", view=PaneView(3.0))):
        after = do(state, name, facts=NOTHING)
        assert (after.layer, after.unit) == (0, 0)
        assert click(after, Hover(2, 3), NOTHING).state == replace(
            after, typing=None if after.finding else after.typing, finding=False
        )


def check(state: State, facts: Facts) -> None:
    assert 0 <= state.layer < len(facts.layers)
    assert 0 <= state.unit < facts.layers[state.layer].units
    assert state.zoom in ZOOMS and state.method in (None, *METHODS) and state.filter in FILTERS
    assert state.method or (state.zoom != "backward" and not state.layer_gradient)
    assert 0 <= state.gamma < len(GAMMAS) and 0 <= state.boost < len(BOOSTS)
    assert not (state.recipe_grids and state.growing) and (state.typing is not None or not state.naming)
    assert 1 <= state.view.scale <= 40 and 0 <= state.view.x <= 1 and 0 <= state.view.y <= 1
    if state.origin:
        assert 0 <= state.origin[1] < facts.layers[state.origin[0]].units
    assert bool(state.message) or not state.message_is_error
    hash(state)


def test_random_walks_keep_the_invariants() -> None:
    dice = random.Random(2)
    pressable = [*BOUND, *"x1234:", "tab", "enter", "backspace", "space"]
    pressable.remove("q")
    for area in ((900, 800), (170, 90), (1, 1)):
        facts, state = Facts(LAYERS, area), State()
        for _ in range(1700):
            kind = dice.random()
            if kind < 0.85:
                state = press(state, dice.choice(pressable), facts, BOUND).state
            elif kind < 0.9:
                layer = dice.randrange(len(LAYERS))
                unit = dice.choice([None, dice.randrange(LAYERS[layer].units)])
                tile = dice.choice([None, dice.randrange(16)]) if unit is not None else None
                state = pointing.click(state, Hover(layer, unit, tile), facts).state
            elif kind < 0.95:
                state = wheel(state, dice.randint(-3, 5), dice.random(), dice.random())
            elif state.typing is None:
                state = goto(state, f"{dice.choice(LAYERS).name}:{dice.randrange(400)}", facts)
            check(state, facts)


# ---- pages of a layer that is too large for the pane ------------------------------------------------


MANY = Facts((Layer("small", "Conv2d", 4, 3, 3), Layer("many", "Linear", 21843)))


def page(state: State) -> range:
    return MANY.grid(state).units


def test_the_page_keys_keep_the_place_and_stop_at_the_ends() -> None:
    state = State(layer=1, unit=137, in_channels=True)
    size = len(page(state))
    seen = [state]
    for _ in range(4):
        seen.append(run(seen[-1], "next_page", MANY).state)
    assert [s.unit for s in seen] == [137, 137 + size, 137 + 2 * size, 137 + 2 * size, 137 + 2 * size]
    assert run(seen[-1], "previous_page", MANY).state.unit == 137 + size
    assert run(State(layer=1, unit=5), "previous_page", MANY).state.unit == 5
    on_last = run(State(layer=1, unit=2 * size - 1), "next_page", MANY).state
    assert on_last.unit == 21842  # where the last page has no such place, its last unit


def test_the_cursor_walks_over_the_end_of_a_page() -> None:
    state = State(layer=1, in_channels=True)
    last, columns = page(state)[-1], MANY.grid(state).columns
    assert run(replace(state, unit=last), "right", MANY).state.unit == last + 1
    assert run(replace(state, unit=last), "down", MANY).state.unit == last + columns
    above = run(replace(state, unit=last + 1), "up", MANY).state
    assert above.unit == last + 1 - columns and above.in_channels
    assert run(replace(state, unit=3), "up", MANY).state.in_channels is False
    assert page(run(state, "last", MANY).state)[-1] == 21842
    assert page(run(replace(state, unit=9000), "first", MANY).state)[0] == 0


def test_on_a_layer_of_one_page_and_without_layers_the_page_keys_do_nothing() -> None:
    for command in ("next_page", "previous_page"):
        assert run(State(unit=2), command, MANY).state == State(unit=2)
        assert run(State(), command, Facts()).state == State()


# ---- how it looks -----------------------------------------------------------------------------


def test_heat_of_the_backward_image_switches_the_gradient_on_and_ends_with_it() -> None:
    assert do(State(), "heat") == State(heat="activation")
    assert do(State(), "heat", "heat") == State(heat="backward", method="gradient")
    assert do(State(method="guided"), "heat=backward").method == "guided"
    assert do(State(method="guided", heat="backward"), "method=off") == State()
    assert do(State(method="guided", heat="activation"), "method=off").heat == "activation"


def test_the_enlarged_picture_has_heat_and_gives_way_to_a_content() -> None:
    state = do(State(), "zoom=picture")
    assert (state.zoom, state.heat) == ("picture", "off")
    assert do(State(heat="backward", method="deconv"), "zoom=picture").heat == "backward"
    assert do(state, "content").zoom == "layer"


def test_a_double_click_enlarges_a_pane_and_comes_back() -> None:
    before = State(layer=2, unit=5, in_channels=True)
    clicked = replace(before, layer=3, unit=1, photo=Photo("/data", "a.jpg"))
    large = double_click(clicked, Hover(3, 1), "layer", before, FACTS).state
    assert large == replace(before, enlarged="layer")  # what the first click selected is taken back
    assert double_click(large, None, "layer", large, FACTS).state == before
    assert keys(large, "esc") == before
    assert double_click(before, None, "status", before, FACTS).state == before
    assert double_click(before, None, None, before, FACTS).state == before


def test_a_quick_second_click_on_a_tab_or_a_tile_is_a_click() -> None:
    state = double_click(State(), Control("crop", "crop"), "input", State(), FACTS).state
    assert state == do(State(), "crop")
    desk = keys(CLASS, "2")
    assert double_click(desk, TILE, "layer", desk, FACTS) == click(desk, TILE, FACTS)
