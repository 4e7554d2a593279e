"""What the panes show of questions: sorted cells, strongest units, two pictures compared, what a unit did lately."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from written import words

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame, Photo
from deepvis.core.layers import Layer
from deepvis.interface.command import Facts
from deepvis.interface.layout import lay_out
from deepvis.interface.pointing import click
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import Hover, LiveMoment, State
from deepvis.interface.unit_grid import Order, make_grid
from deepvis.render import Renderer, Scene, colors
from deepvis.render.mosaic import draw_maps
from deepvis.render.panes.cells import layer_grid
from deepvis.render.scene import Curve
from deepvis.scan.results import Statistics
from deepvis.workers.messages import Cells

UNITS = 12
LAYERS = (
    Layer("map", "Conv2d", UNITS, 5, 5),
    Layer("classes", "Linear", UNITS, labels=tuple(f"class number {i}" for i in range(UNITS))),
)
FRAME = Frame(np.zeros((20, 20, 3), np.uint8), "black.png", 0, False)
PICTURES = {unit: np.full((6, 9, 3), (20 * unit, 250 - 20 * unit, 90), np.uint8) for unit in range(UNITS)}
NONE = np.zeros(UNITS, np.float32)
COUNTS = np.random.default_rng(0).integers(1, 50, (UNITS, 32)).astype(np.float32)
KNOWN = Statistics("map", 400, COUNTS, NONE - 1, NONE + 3, NONE, NONE + 1, NONE, NONE > 1, NONE > 1)
MOMENT = Photo("", "camera 0, frame 4")
ORDER = Order(0, np.random.default_rng(5).permutation(UNITS), "activation", "activation in black.png")
HELD = Frame(np.full((20, 20, 3), 200, np.uint8), "white.png", 1, False)


def scene(content: str, layer: int = 0, **parts) -> Scene:
    state = State(layer=layer, content=content, **parts.pop("state", {}))
    return Scene(
        state, layers=LAYERS, frame=FRAME, result=result(FRAME, layer), pictures_of=LAYERS[layer].name, **parts
    )


def renderer() -> Renderer:
    return Renderer(lay_out(DEFAULT_PANES, 1280, 900, 1.0))


def drawn(shown: Scene) -> np.ndarray:
    """The layer pane without its title."""
    made = renderer()
    image, _ = made.compose(shown)
    left, top, width, height = made.layer_box
    return image[top : top + height, left : left + width].copy()


def result(of: Frame = FRAME, layer: int = 0, seed: int = 0, held: bool = False) -> Result:
    one = LAYERS[layer]
    values = np.random.default_rng(seed).normal(size=(one.units, one.height, one.width)).astype(np.float32)
    scores = values.max((1, 2)) if layer else np.linspace(0, 1, UNITS, dtype=np.float32)
    return Result(Request(of, True, one.name, held=held), values, scores)


def compared(content: str = "activations", layer: int = 0, **more) -> Scene:
    shown = scene(content, layer, state={"held": HELD, **more})
    return replace(shown, result=result(FRAME, layer), held=result(HELD, layer, 1, held=True))


def centre(made, pane: str, across: float = 0.5, down: float = 0.5) -> tuple[int, int]:
    left, top, width, height = made.layout.panes[pane]
    return left + int(across * width), top + int(down * height)


# ---- the order ----------------------------------------------------------------------------------------


def test_each_content_puts_its_units_in_the_order() -> None:
    sorted_ = {"state": {"order": ORDER}}
    pane = drawn(scene("top images", cells=Cells("map", PICTURES), **sorted_))
    plain = layer_grid(scene("top images"), pane.shape[1], pane.shape[0], 1.0)
    for cell, unit in enumerate(ORDER.units.tolist()):
        left, top, width, height = plain.box(cell)
        expected = PICTURES[unit][0, 0, ::-1] if unit in PICTURES else colors.DARK.ground
        seen = pane[top + height // 2, left + width // 2]
        np.testing.assert_array_equal(seen, expected)
    for content, more in (("activations", {}), ("histograms", {"statistics": KNOWN})):
        before, after = drawn(scene(content, **more)), drawn(scene(content, **more, **sorted_))
        for cell, unit in enumerate(ORDER.units.tolist()):
            if 0 in (cell, unit):  # the selected unit's frame
                continue
            here, there = (box_of(picture, plain.box(place)) for picture, place in ((after, cell), (before, unit)))
            np.testing.assert_array_equal(here, there)


def box_of(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, width, height = box
    return picture[top + 4 : top + height - 4, left + 4 : left + width - 4]


def test_maps_in_an_order_are_the_maps_put_in_that_order() -> None:
    for count in (12, 23, 400):
        maps = np.random.default_rng(count).normal(size=(count, 5, 4)).astype(np.float32)
        order = Order(0, np.random.default_rng(count).permutation(count), "", "")
        fast, slow = (np.zeros((90, 110, 3), np.uint8) for _ in range(2))
        draw_maps(fast, maps, make_grid(count, 5, 4, 110, 90, order=order, unit=int(order.units[0])), 1.0, 0.5)
        draw_maps(slow, maps[order.units], make_grid(count, 5, 4, 110, 90), 1.0, 0.5)
        np.testing.assert_array_equal(fast, slow)


def test_a_sorted_layer_says_so_redraws_and_is_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene("activations", state={"order": ORDER})
    assert "sorted by activation in black.png" in words(shown, monkeypatch)
    made = renderer()
    made.compose(scene("activations"))
    assert made.compose(shown)[1]
    left, top, *_ = made.layout.panes["layer"]
    grid = layer_grid(shown, *made.layer_area, 1.0)
    for unit in range(UNITS):
        x, y, width, height = grid.box(unit)
        assert made.target_at(left + x + width // 2, top + 20 + y + height // 2, shown) == Hover(0, unit)
    cells, _ = made.cells(scene("top images", state={"order": ORDER}))
    assert list(cells) == ORDER.units.tolist()


# ---- the strongest units ------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1])
def test_the_list_has_the_ten_strongest_units_which_a_click_selects(
    layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = replace(scene("strongest", layer), result=result(layer=layer))
    made = renderer()
    made.compose(shown)
    left, top, width, height = made.layout.panes["layer"]
    found = [made.target_at(left + width // 2, top + y, shown) for y in range(height)]
    units = list(dict.fromkeys(one.unit for one in found if isinstance(one, Hover)))
    expected = np.argsort(-shown.result.activations.max((1, 2)))[:10].tolist()
    assert units == expected
    state = click(shown.state, Hover(layer, units[3]), Facts(LAYERS)).state
    assert state.unit == units[3] and made.compose(replace(shown, state=state))[1]
    said = words(shown, monkeypatch)
    assert all(f"{LAYERS[layer].name}:{unit}" in said for unit in expected)
    assert layer == 0 or f"class number {expected[0]}" in said


def test_the_list_waits_for_the_layers_result(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = replace(scene("strongest"), result=result(layer=1))
    assert "computing" in words(shown, monkeypatch)


# ---- two pictures -------------------------------------------------------------------------------------


def test_the_difference_is_that_of_the_two_pictures_in_each_cell() -> None:
    shown = compared("difference", unit=3)
    pane = drawn(shown)
    slow = np.empty_like(pane)
    slow[:] = colors.DARK.ground
    grid = layer_grid(shown, pane.shape[1], pane.shape[0], 1.0)
    draw_maps(slow, shown.result.activations - shown.held.activations, grid, 1.0, 0.0)
    for unit in range(UNITS):
        np.testing.assert_array_equal(box_of(pane, grid.box(unit)), box_of(slow, grid.box(unit)))


def test_without_two_pictures_the_difference_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"hold": ";"}
    assert "; holds the picture" in words(replace(scene("difference"), keys=keys), monkeypatch)
    same = replace(scene("difference", state={"held": FRAME}), keys=keys)
    assert "look at another picture" in words(same, monkeypatch)
    waiting = replace(compared("difference"), held=None)
    assert "computing" in words(waiting, monkeypatch)


def test_both_pictures_stand_side_by_side_each_with_its_own_values(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = compared()
    said = words(shown, monkeypatch)
    assert "white.png" in said and "black.png" in said and "held · map:0" in said
    made = renderer()
    image, _ = made.compose(shown)
    left, top, width, height = made.layout.panes["input"]
    part = image[top + 20 : top + height // 2, left : left + width]
    assert (part[:, : width // 2] == 200).all(2).any() and not (part[:, width // 2 :] == 200).all(2).any()
    for across, scores in ((0.25, shown.held.scores), (0.75, shown.result.scores)):
        rows = [made.target_at(*centre(made, "input", across, down), shown) for down in np.linspace(0.1, 1, 60)]
        found = list(dict.fromkeys(one.unit for one in rows if isinstance(one, Hover)))
        assert found == np.argsort(scores)[::-1][:5].tolist()


def test_a_held_result_of_another_layer_or_picture_is_not_shown_as_the_held_ones() -> None:
    shown = compared()
    assert shown.of_held is not None and shown.of_held.own_result is shown.held
    assert shown.of_held.of_held is None
    late = replace(shown, held=result(HELD, layer=1, held=True))
    assert late.of_held.own_result is None
    before = replace(shown, held=result(FRAME, held=True))
    assert before.of_held.result is None
    assert scene("activations").of_held is None


def test_both_maps_have_one_scale() -> None:
    strong = result(HELD, held=True)
    strong = replace(strong, activations=np.abs(strong.activations) * 10)
    weak = replace(result(), activations=strong.activations / 10)
    shown = replace(compared(), result=weak, held=strong)
    made = renderer()
    image, _ = made.compose(shown)
    left, top, width, height = made.layout.panes["unit"]
    part = image[top + 30 : top + height - 10, left : left + width].max(2)
    assert part[:, : width // 2 - 4].max() > 5 * part[:, width // 2 + 4 : width - 4].max()


def test_the_panes_are_drawn_anew_when_the_held_result_comes() -> None:
    made, shown = renderer(), compared("difference")
    made.compose(replace(shown, held=None, busy=True))
    assert made.compose(shown)[1]
    assert not made.compose(shown)[1]
    assert made.compose(replace(shown, held=result(HELD, 0, 5, held=True)))[1]


# ---- what the unit did lately -------------------------------------------------------------------------


def curve(unit: int = 0, photo: Photo | None = MOMENT) -> Curve:
    seconds = np.linspace(-9, 0, 50, dtype=np.float32)
    values = np.sin(seconds).astype(np.float32)
    best = int(values.argmax())
    return Curve("map", unit, seconds, values, float(seconds[best]), float(values[best]), photo)


def test_the_curve_is_below_the_unit_and_a_click_shows_its_strongest_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = replace(scene("activations"), curve=curve())
    made = renderer()
    plain = made.compose(scene("activations"))[0].copy()
    image, changed = made.compose(shown)
    assert changed and (image != plain).any()
    target = made.target_at(*centre(made, "unit", down=0.95), shown)
    assert isinstance(target, LiveMoment) and made.target_at(*centre(made, "unit", down=0.5), shown) is None
    state = click(shown.state, target, Facts(LAYERS)).state
    assert state.photo is shown.curve.photo
    pointed = replace(shown, state=replace(shown.state, hover=target))
    assert "strongest moment: 1.00" in words(pointed, monkeypatch)
    assert made.compose(pointed)[1]
    passed = replace(pointed, curve=curve(photo=Photo("", "camera 0, frame 5")))
    assert passed.hover is None


def test_a_curve_of_another_unit_or_of_one_picture_is_not_shown() -> None:
    made = renderer()
    one = replace(curve(), seconds=np.zeros(1, np.float32), values=np.ones(1, np.float32))
    for wrong in (curve(unit=1), replace(curve(), layer="classes"), one):
        shown = replace(scene("activations"), curve=wrong)
        assert shown.own_curve is None
        assert made.target_at(*centre(made, "unit", down=0.95), shown) is None
