"""Pointing in the real window: every tab and chip is clicked, the palette is typed into and clicked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from desktop import Program, Screen

from deepvis.core import paths
from deepvis.interface.contents import CONTENTS
from deepvis.interface.state import FILTERS


@pytest.fixture(scope="module")
def started(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(screen, tmp_path_factory.mktemp("pointing"), "--input", "photos") as program:
        program.ready()
        yield program


@pytest.fixture
def program(started: Program) -> Program:
    started.reset()
    return started


def chips(program: Program, pane: str) -> dict[str, dict]:
    """{call: the chip} of a pane."""
    return {chip["call"]: chip for chip in program.now["chips"][pane]}


def click(program: Program, pane: str, call: str) -> None:
    left, top, width, height = chips(program, pane)[call]["box"]
    program.point(left + width / 2, top + height / 2)
    program.wait(lambda: (program.state["hover"] or {}).get("call") == call, f"the mouse is on {call}")
    program.click(left + width / 2, top + height / 2)
    program.settle()


def title_chip(program: Program, call: str, block: int) -> None:
    """Click a chip in the title of a block of the unit images, which is found by moving the mouse along the title."""
    left, top, width, height = program.now["panes"]["unit_images"]
    y = top + block * (height // 3) + 9
    for x in range(left + width - 4, left, -8):
        program.point(x, y)
        if (program.state["hover"] or {}).get("call") == call:
            program.click(x, y)
            return
    raise AssertionError(f"no chip {call}")


def test_every_tab_shows_its_content_and_is_marked(program):
    program.press("semicolon")  # with a held picture there is a difference
    for name in (*list(CONTENTS)[1:], "activations"):
        click(program, "layer", f"content={name}")
        assert program.state["content"] == name
        on = [call for call, chip in chips(program, "layer").items() if chip["on"]]
        assert [call for call in on if call.startswith("content=")] == ([] if name == "dream" else [f"content={name}"])
        if name not in ("remembered", "dream"):  # these go on changing
            program.picture()  # and it is on the screen
    program.press("semicolon")


def test_hovering_says_what_a_chip_does_and_its_key(program):
    left, top, width, height = chips(program, "layer")["content=histograms"]["box"]
    program.point(left + width / 2, top + height / 2)
    program.wait(lambda: "histograms   key s" in program.words("status"), "the status bar says it")
    assert program.state["content"] == "activations"


def test_the_unit_is_enlarged_and_back(program):
    program.go("5a:3")
    click(program, "layer", "zoom=unit")
    assert program.state["zoom"] == "unit"
    click(program, "layer", "zoom=layer")
    assert program.state["zoom"] == "layer"
    click(program, "layer", "layer_gradient")
    assert program.state["layer_gradient"] and program.state["method"] == "gradient"


def test_methods_and_filters(program):
    program.go("5a:3")
    for method in ("gradient", "deconv", "guided"):
        click(program, "backward", f"method={method}")
        assert program.state["method"] == method
    for name in FILTERS[1:]:
        click(program, "backward", "filter")
        assert program.state["filter"] == name
    click(program, "backward", "method=off")
    assert program.state["method"] is None and "filter" not in chips(program, "backward")


def test_the_input_goes_on_and_back_and_to_the_camera(program):
    first = program.now["frame"]
    click(program, "input", "next_file")
    program.wait(lambda: program.now["frame"] != first, "the next photo")
    click(program, "input", "previous_file")
    program.wait(lambda: program.now["frame"] == first, "the photo before")
    click(program, "input", "switch_source")
    program.wait(lambda: program.state["source"] == "files" and "camera" in program.words("status"), "no camera")


def test_growing_values_moments_and_the_grid(program):
    program.go("5a:3")
    title_chip(program, "preset", 0)
    assert program.state["preset"] == "yosinski-1"
    title_chip(program, "synthesize", 0)
    assert program.state["growing"]
    title_chip(program, "synthesize", 0)
    assert not program.state["growing"]
    title_chip(program, "values", 1)
    assert program.state["values"]
    title_chip(program, "collect", 1)
    assert program.state["collecting"]
    title_chip(program, "collect", 1)
    title_chip(program, "desk", 0)
    assert program.state["recipe_grids"]
    program.wait(lambda: "desk_seed" in chips(program, "layer"), "the grid's chips")
    click(program, "layer", "desk_seed")
    click(program, "layer", "desk_settings")
    assert len(program.state["recipe_grids"]) == 3
    click(program, "layer", "desk_back")
    assert len(program.state["recipe_grids"]) == 2
    click(program, "layer", "desk")
    assert not program.state["recipe_grids"]


def test_the_palette_finds_a_class_a_command_and_a_file(program):
    program.press("slash")
    program.type("zebra")
    program.wait(lambda: "class, probs:340" in program.words("layer"), "the class is listed")
    program.press("Return")
    assert program.unit == "probs:340"
    program.press("slash")
    program.type("histo")
    program.wait(lambda: "content: histograms" in program.words("layer"), "the option is listed")
    program.press("Escape")
    assert program.state["content"] == "activations" and not program.state["finding"]
    name = sorted(path.name for path in paths.PHOTOS.glob("*.jpg"))[5]
    program.press("slash")
    program.type(name.removesuffix(".jpg").replace("-", " "))
    program.press("Return")
    program.wait(lambda: program.now["frame"] == name, f"{name} is shown")


def test_the_mouse_chooses_in_the_palette(program):
    program.press("slash")
    program.type("content:")
    left, top, width, _ = program.now["mosaic"]
    for y in range(top + 30, top + 200, 8):
        program.point(left + width / 2, y)
        if (program.state["hover"] or {}).get("call") == "content=top images":
            program.click(left + width / 2, y)
            break
    assert program.state["content"] == "top images" and not program.state["finding"]


def test_the_hint_line_goes_and_help_brings_it_back(program):
    program.press("h", "h")
    program.wait(lambda: "where it looks" in program.words("status"), "the hint line")
    program.press("Right", "Down", "b")
    program.wait(lambda: "where it looks" not in program.words("status"), "it is gone")
    assert "find anything" in program.words("status")
    program.press("h")
    program.wait(lambda: "where it looks" in program.words("status"), "it is back")
    click(program, "layer", "help")
    assert not program.state["help"]
