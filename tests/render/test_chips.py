"""Tabs and chips: what is drawn lies where it is clicked, and a click runs the command."""

from __future__ import annotations

import numpy as np
import pytest

from deepvis.interface.command import Facts
from deepvis.interface.commands import COMMANDS, click, run
from deepvis.interface.contents import CONTENTS
from deepvis.interface.state import Control, State
from deepvis.render.colors import DARK
from deepvis.render.draw import Canvas
from deepvis.render.panes.chips import Chip, chip_at, chip_boxes, draw_chips

CHIPS = tuple(Chip(name, f"content={name}", f"show {name}", name == "histograms") for name in CONTENTS)


def canvas(width: int = 900) -> Canvas:
    made = Canvas(np.empty((40, width, 3), np.uint8))
    made.fill()
    return made


@pytest.mark.parametrize("width", [900, 300, 40])
def test_a_chip_is_found_where_it_is_drawn(width: int) -> None:
    on = canvas(width)
    boxes = chip_boxes(on, CHIPS, left=10)
    assert all(left + w <= width for left, _, w, _ in boxes) and (len(boxes) == len(CHIPS)) == (width == 900)
    for chip, (left, top, w, h) in zip(CHIPS, boxes):
        for x, y in ((left, top), (left + w - 1, top + h - 1)):
            assert chip_at(on, CHIPS, x, y, left=10) == Control(chip.call, chip.hint)
        assert chip_at(on, CHIPS, left + w, top, left=10) != Control(chip.call, chip.hint)
        assert chip_at(on, CHIPS, left, top + h, left=10) is None


def test_what_is_on_or_pointed_at_is_marked() -> None:
    on = canvas()
    boxes = chip_boxes(on, CHIPS)
    draw_chips(on, CHIPS, Control("content=correlation", ""))
    marked = {
        chip.words: ink
        for chip, (left, _, w, h) in zip(CHIPS, boxes)
        for ink in (DARK.accent, DARK.dim)
        if (on.image[h - 1, left : left + w] == ink).all()
    }
    assert marked == {"histograms": DARK.accent, "correlation": DARK.dim}


def test_a_click_runs_the_command() -> None:
    done = click(State(), Control("content=top images", ""), Facts())
    assert done.state == State(content="top images") and not done.effects
    assert click(State(), Control("quit", ""), Facts()).effects


def test_every_option_of_every_command_can_be_chosen() -> None:
    facts = Facts()
    for name, command in COMMANDS.items():
        for option in command.options(facts):
            assert not run(State(), f"{name}={option}", facts).state.message_is_error


def test_an_unknown_option_says_what_there_is() -> None:
    state = run(State(), "content=histogram", Facts()).state
    assert state.message_is_error and "'histogram'" in state.message and "histograms" in state.message
    assert state.content == "activations"
