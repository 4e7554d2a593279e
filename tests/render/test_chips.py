"""Tabs and chips: what is drawn lies where it is clicked, what is on is always seen, and a click runs the command."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.core.frames import Frame, Photo
from deepvis.core.layers import Layer
from deepvis.interface.command import Facts
from deepvis.interface.commands import COMMANDS, run
from deepvis.interface.contents import CONTENTS
from deepvis.interface.layout import lay_out
from deepvis.interface.pointing import click
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import Control, State
from deepvis.render import LoadingScene, Renderer, Scene
from deepvis.render.colors import DARK
from deepvis.render.draw import Canvas
from deepvis.render.panes import PANES
from deepvis.render.panes.chips import Chip, chip_at, draw_chips, placed
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe_grid import RecipeGrid

CHIPS = tuple(Chip(name, f"content={name}", f"show {name}", name == "histograms") for name in CONTENTS)
LAYERS = (Layer("stem", "Conv2d", 6, 8, 8), Layer("head", "Linear", 10))
HELP = (("view", "h", "help"),)
WIDE = Frame(np.zeros((20, 40, 3), np.uint8), "wide.png", 0, False)
SQUARE = Frame(np.zeros((20, 20, 3), np.uint8), "square.png", 0, False)
VIDEO = Frame(np.zeros((20, 40, 3), np.uint8), "film.mp4", 0, True)


def canvas(width: int = 900) -> Canvas:
    made = Canvas(np.empty((18, width, 3), np.uint8))
    made.fill()
    return made


def words(chips: tuple[Chip, ...]) -> list[str]:
    return [chip.words for chip in chips]


@pytest.mark.parametrize("width", [900, 300, 40])
@pytest.mark.parametrize("at_right", [False, True])
def test_a_chip_is_found_where_it_is_drawn(width: int, at_right: bool) -> None:
    on = canvas(width)
    found = placed(on, CHIPS, at_right)
    assert all(left >= 0 and left + w <= width for _, (left, _, w, _) in found)
    for chip, (left, top, w, h) in found:
        for x, y in ((left, top), (left + w - 1, top + h - 1)):
            assert chip_at(on, CHIPS, x, y, at_right) == Control(chip.call, chip.hint)
        assert chip_at(on, CHIPS, left + w, top, at_right) != Control(chip.call, chip.hint)
        assert chip_at(on, CHIPS, left, top + h, at_right) is None


def test_in_a_narrow_line_what_is_on_stays_and_an_arrow_leads_to_the_rest() -> None:
    assert [chip for chip, _ in placed(canvas(900), CHIPS)] == list(CHIPS)
    for width in (330, 200, 110):
        kept = [chip for chip, _ in placed(canvas(width), CHIPS)]
        assert "histograms" in words(tuple(kept)) and kept[-1].call == "content" and len(kept) < len(CHIPS)
        assert words(tuple(kept[:-1])) == [name for name in CONTENTS if name in words(tuple(kept))]
    assert placed(canvas(20), CHIPS) == []


def test_what_is_on_or_pointed_at_is_marked() -> None:
    on = canvas()
    draw_chips(on, CHIPS, Control("content=correlation", "show correlation"))
    boxes = {chip.words: box for chip, box in placed(on, CHIPS)}
    assert {
        name for name, (left, _, w, h) in boxes.items() if (on.image[h - 1, left : left + w] == DARK.accent).all()
    } == {"histograms"}
    assert {name for name, (left, *_) in boxes.items() if tuple(on.image[0, left]) == DARK.line} == {"correlation"}


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


# ---- the panes' chips ---------------------------------------------------------------------------


def chips(pane: str, state: State, frame: Frame | None = WIDE, loading: bool = False) -> tuple[Chip, ...]:
    of = PANES[pane].chips
    assert of is not None
    return of(LoadingScene(state, frame=frame) if loading else Scene(state, layers=LAYERS, frame=frame))


GRID = RecipeGrid("modern", PRESETS["modern"])
STATES = (
    State(),
    State(method="gradient"),
    State(source="camera", frozen=True),
    State(photo=Photo("/data", "a.jpg")),
    State(zoom="unit"),
    State(recipe_grids=(GRID, GRID)),
    State(help=True),
    State(content="histograms", method="deconv", layer_gradient=True),
)


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
@pytest.mark.parametrize("loading", [False, True])
def test_every_chip_is_a_command_and_not_shown_twice(state: State, loading: bool) -> None:
    for name, pane in PANES.items():
        for frame in (WIDE, SQUARE, VIDEO, None):
            shown = chips(name, state, frame, loading) if pane.chips else ()
            assert len(set(shown)) == len(shown)
            for chip in shown:
                command, _, option = chip.call.partition("=")
                assert command in COMMANDS and chip.words and chip.hint
                free = COMMANDS[command].by_name  # any text
                assert not option or free or option in COMMANDS[command].options(Facts(LAYERS))


def test_the_layer_pane_has_its_contents_as_tabs_and_the_way_back() -> None:
    there = lambda state: [chip.call.partition("=")[2] for chip in chips("layer", state) if "content=" in chip.call]
    assert there(State()) == [name for name in CONTENTS if name not in ("correlation, sorted", "difference", "prior")]
    assert there(State(content="correlation", held=SQUARE)) == [name for name in CONTENTS if name != "prior"]
    assert [chip.call for chip in chips("layer", State(content="correlation")) if chip.on] == ["content=correlation"]
    assert words(chips("layer", State(zoom="unit")))[-1] == "‹ all units"
    assert "desk_back" not in [chip.call for chip in chips("layer", State(recipe_grids=(GRID,)))]
    assert "desk_back" in [chip.call for chip in chips("layer", State(recipe_grids=(GRID, GRID)))]
    assert words(chips("layer", State(help=True, recipe_grids=(GRID,)))) == ["‹ close help"]


def test_the_backward_pane_has_filters_only_for_an_image() -> None:
    assert [chip.words for chip in chips("backward", State()) if chip.on] == ["off"]
    of = chips("backward", State(method="guided", filter="gray"))
    assert [chip.words for chip in of if chip.on] == ["guided", "gray"]
    assert [chip.call for chip in of if chip.words == "gray"] == ["filter"]  # a click takes the next one


def test_the_input_pane_has_only_what_does_something() -> None:
    assert words(chips("input", State())) == ["‹ previous", "next ›", "crop", "camera", "hold"]
    assert words(chips("input", State(), SQUARE)) == ["‹ previous", "next ›", "camera", "hold"]
    assert words(chips("input", State(), VIDEO)) == ["‹ previous", "next ›", "pause", "crop", "camera", "hold"]
    assert words(chips("input", State(source="camera"), SQUARE)) == ["freeze", "files", "hold"]
    assert words(chips("input", State(photo=Photo("/data", "a.jpg")), SQUARE)) == ["‹ back", "hold"]


@pytest.mark.parametrize("size", [(1500, 930), (1280, 720), (500, 300)])
@pytest.mark.parametrize("loading", [False, True])
def test_the_window_finds_each_chip_where_it_has_drawn_it(size: tuple[int, int], loading: bool) -> None:
    renderer = Renderer(lay_out(DEFAULT_PANES, *size, 1.0))
    for state in STATES:
        scene = (
            LoadingScene(state, frame=WIDE, help=HELP)
            if loading
            else Scene(state, layers=LAYERS, frame=WIDE, help=HELP)
        )
        before = renderer.compose(scene)[0].copy()
        for pane, boxes in renderer.chip_boxes(scene).items():
            for chip, (left, top, width, height) in boxes:
                hover = renderer.target_at(left + width // 2, top + height // 2, scene)
                assert hover == Control(chip.call, chip.hint), pane
        pointed = replace(scene, state=replace(state, hover=hover))
        after, changed = renderer.compose(pointed)
        rows, columns = np.nonzero((before != after).any(axis=2)[: renderer.layout.panes["status"][1]])
        assert changed and len(rows), "the chip is marked"
        assert (left <= columns).all() and (columns < left + width).all(), "and nothing else"
        assert (top <= rows).all() and (rows < top + height).all()
        renderer.compose(scene)
