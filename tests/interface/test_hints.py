"""The hint line goes when a few of its keys were used, and the help brings it back."""

from __future__ import annotations

from deepvis.interface.command import Facts
from deepvis.interface.commands import COMMANDS, bindings, keys_of, press
from deepvis.interface.hints import HINTS, shown, text_of
from deepvis.interface.pointing import click
from deepvis.interface.state import Control, State

BOUND = bindings()


def after(*keys: str) -> State:
    state = State()
    for key in keys:
        state = press(state, key, Facts(), BOUND).state
    return state


def test_it_names_the_keys() -> None:
    said = [text_of(hint, keys_of(BOUND)) for hint in HINTS]
    assert said == ["← → layers", "↓ units", "b where it looks", "/ find anything", "h help"]
    assert text_of(HINTS[2], {}) == "where it looks"
    assert all(name in COMMANDS for hint in HINTS for name in hint.commands)


def test_it_goes_after_three_different_ones_and_help_brings_it_back() -> None:
    assert shown(after("right", "right", "right", "x", "s")) == HINTS
    gone = after("right", "down", "b")
    assert [hint.words for hint in shown(gone)] == ["find anything", "help"]
    assert shown(press(gone, "esc", Facts(), BOUND).state) != HINTS
    assert shown(press(gone, "h", Facts(), BOUND).state) == HINTS
    state = State()
    for name in ("right", "down", "backward"):
        state = click(state, Control(name, ""), Facts()).state
    assert shown(state) != HINTS
