"""The command palette: a few letters find a command, an option, a layer, a unit, a class or a file; Enter does it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepvis.core.frames import Files, Photo
from deepvis.core.layers import Layer
from deepvis.interface.command import Command, Facts
from deepvis.interface.commands import COMMANDS, PALETTE, bindings, press, run
from deepvis.interface.effects import Quit
from deepvis.interface.palette import SHOWN, CommandPalette
from deepvis.interface.pointing import click, wheel
from deepvis.interface.state import Control, Hover, State

LABELS = tuple(f"thing {i}" for i in range(998)) + ("zebra", "tabby, tabby cat")
LAYERS = (
    Layer("stem", "Conv2d", 32, 112, 112),
    Layer("head", "Conv2d", 1280, 7, 7),
    Layer("logits", "Linear", 1000, labels=LABELS),
    Layer("probs", "Softmax", 1000, labels=LABELS),
)
FACTS = Facts(LAYERS, files=Files(("bear.jpg", "cat.jpg", "sub/zoo.png"), 1))
BOUND = bindings()
START = State()


def typed(text: str, state: State = START, facts: Facts = FACTS) -> State:
    state = press(state, "/", facts, BOUND).state
    for letter in text:
        state = press(state, "space" if letter == " " else letter, facts, BOUND).state
    return state


def calls(text: str, facts: Facts = FACTS, **of: object) -> list[str]:
    return [entry.call for entry in PALETTE.found(typed(text, replace(State(), **of), facts), facts)]


def chosen(text: str, *keys: str) -> State:
    state = typed(text)
    for key in (*keys, "enter"):
        state = press(state, key, FACTS, BOUND).state
    assert not state.finding and state.typing is None
    return state


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("recept", "receptive_field"),
        ("histog", "content=histograms"),
        ("deconv", "method=deconv"),
        ("head:151", "goto=head:151"),
        ("he:7", "goto=head:7"),
        ("zebra", "goto=probs:998"),
        ("stem", "goto=stem:0"),
        ("zoo.p", "next_file=sub/zoo.png"),
        ("blurred norm", "filter=blurred norm"),
        ("cat.jpg", "next_file=cat.jpg"),
    ],
)
def test_a_few_letters_find_it(text: str, call: str) -> None:
    assert call in calls(text)[:2]


def test_a_number_is_a_unit_of_the_layer_in_view() -> None:
    assert calls("17", layer=1)[0] == "goto=head:17" and "goto=stem:32" not in calls("32")


def test_letters_that_stand_together_and_initials_come_before_scattered_ones() -> None:
    def row(words: str) -> Command:
        return Command(lambda state, facts: state, (), words, "view")

    rows = ("sort any data", "use and do", "spade", "mask dark", "see a dog", "sad song", "some sad thing")
    table = {str(i): row(words) for i, words in enumerate(rows)}
    found = CommandPalette(table).found(State(finding=True, typing="sad"), Facts())
    assert [entry.words for entry in found] == ["sad song", "some sad thing", "sort any data", "see a dog", *rows[1:3]]
    assert [entry.words for entry in CommandPalette(table).found(State(finding=True, typing="ask"), Facts())] == [
        "mask dark"
    ]


def test_all_words_have_to_be_there_and_nothing_is_found_for_nonsense() -> None:
    assert calls("content hist") == ["content=histograms", "content"]
    assert calls("xqzxqz") == [] and press(typed("xqzxqz"), "enter", FACTS, BOUND).state.finding


def test_matches_are_few_and_computed_once() -> None:
    first = PALETTE.found(typed("e"), FACTS)
    assert len(first) == SHOWN and PALETTE.found(typed("e"), FACTS) is first


def test_enter_does_the_line_that_the_arrows_chose() -> None:
    assert chosen("head:151").layer == 1 and chosen("head:151").unit == 151
    assert chosen("content: hist").content == "histograms"
    second = PALETTE.found(typed("content"), FACTS)[1].call
    assert replace(chosen("content", "down"), hints=()) == run(State(), second, FACTS).state
    last = PALETTE.found(typed("content"), FACTS)[-1].call
    assert replace(chosen("content", "up"), hints=()) == run(State(), last, FACTS).state
    assert press(typed("quit"), "enter", FACTS, BOUND).effects == (Quit(),)


def test_another_letter_goes_back_to_the_first_line() -> None:
    assert press(press(typed("con"), "down", FACTS, BOUND).state, "t", FACTS, BOUND).state.picked == 0


def test_a_file_is_shown_wherever_the_input_is_now() -> None:
    for state in (State(step=5), State(step=5, source="camera", frozen=True), State(step=5, photo=Photo("/d", "a"))):
        after = run(state, "next_file=sub/zoo.png", FACTS).state
        assert after == State(step=6)
    assert run(State(step=5), "next_file=bear.jpg", FACTS).state.step == 4


def test_escape_and_a_click_elsewhere_close_it_and_the_wheel_walks() -> None:
    opened = typed("con")
    assert not press(opened, "esc", FACTS, BOUND).state.finding
    assert not click(opened, None, FACTS).state.finding
    after = click(opened, Hover(1, 5), FACTS).state
    assert not after.finding and (after.layer, after.unit) == (1, 5)
    assert click(opened, Control("content=histograms", ""), FACTS).state.content == "histograms"
    assert wheel(opened, -1, 0.5, 0.5).picked == 1 and wheel(opened, -1, 0.5, 0.5).view == opened.view


def test_before_there_is_a_network_commands_are_found() -> None:
    assert "quit" in calls("quit", Facts()) and calls("12", Facts()) == []


def test_every_entry_can_be_done() -> None:
    for text in ("", "a", "e", "o", "t:1", "1", "jpg", "prob", "thing 1", *COMMANDS):
        for entry in PALETTE.found(typed(text), FACTS):
            said = run(State(), entry.call, FACTS).state.message  # some need a network's answer
            assert "no option" not in said and "unknown" not in said
