"""What the layer pane shows besides activations: top images, histograms, correlation."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame, Photo
from deepvis.core.layers import Layer
from deepvis.interface.command import Facts
from deepvis.interface.contents import CONTENTS
from deepvis.interface.layout import lay_out
from deepvis.interface.pointing import click
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import Hover, State, TopImage
from deepvis.interface.unit_grid import PaneView
from deepvis.render import Renderer, Scene, Status, colors, text
from deepvis.render.draw import Canvas, inside, paste
from deepvis.render.panes.cells import layer_grid
from deepvis.render.panes.correlation import brightest, matrix_box
from deepvis.render.scene import Matrix
from deepvis.scan.results import Patch, Statistics
from deepvis.workers.messages import Cells, TopPictures, UnitPictures

UNITS = 12
LAYERS = (
    Layer("map", "Conv2d", UNITS, 5, 5),
    Layer("classes", "Linear", UNITS, labels=tuple(f"class number {i}" for i in range(UNITS))),
)
FRAME = Frame(np.zeros((20, 20, 3), np.uint8), "black.png", 0, False)
RNG = np.random.default_rng(0)


def statistics(layer: str = "map", units: int = UNITS, **other) -> Statistics:
    counts = RNG.integers(1, 50, (units, 32)).astype(np.float32)
    correlation = np.corrcoef(RNG.normal(size=(units, 20))).astype(np.float32)
    flags = {name: np.zeros(units, bool) for name in ("dead", "always")}
    flags["dead"][1] = flags["always"][2] = True
    low, high = np.full(units, -1, np.float32), np.full(units, 3, np.float32)
    known = Statistics(layer, 400, counts, low, high, low + 1, high, np.arange(units), correlation=correlation,
                       order=np.arange(units)[::-1], **flags)  # fmt: skip
    return replace(known, **other)


KNOWN = statistics()
PICTURES = {unit: np.full((6, 9, 3), (20 * unit, 250 - 20 * unit, 90), np.uint8) for unit in range(UNITS) if unit != 7}


def scene(content: str, layer: int = 0, **parts) -> Scene:
    state = State(layer=layer, content=content, **parts.pop("state", {}))
    of = LAYERS[layer]
    values = np.linspace(-1, 3, of.units, dtype=np.float32)[:, None, None] * np.ones(
        (1, of.height, of.width), np.float32
    )
    result = Result(Request(FRAME, True, of.name), values)
    return Scene(state, layers=LAYERS, frame=FRAME, result=result, pictures_of=of.name, **parts)


def renderer(width: int = 1280, height: int = 900) -> Renderer:
    return Renderer(lay_out(DEFAULT_PANES, width, height, 1.0))


def drawn(shown: Scene, width: int = 1280, height: int = 900) -> np.ndarray:
    """The layer pane without its title."""
    made = renderer(width, height)
    image, _ = made.compose(shown)
    left, top, w, h = made.layer_box
    return image[top : top + h, left : left + w].copy()


def words(shown: Scene, monkeypatch: pytest.MonkeyPatch, pane: str = "layer") -> str:
    said: list[str] = []
    put = text.put
    monkeypatch.setattr(text, "put", lambda image, words, *a, **k: (said.append(words), put(image, words, *a, **k))[1])
    renderer(1500, 930).pane_pictures(shown, 10)
    monkeypatch.undo()
    return " ".join(said)


# ---- top images ---------------------------------------------------------------------------------


def test_each_top_image_is_in_its_units_cell() -> None:
    pane = drawn(scene("top images", cells=Cells("map", PICTURES)))
    grid = layer_grid(scene("top images"), pane.shape[1], pane.shape[0], 1.0)
    for unit in range(UNITS):
        left, top, width, height = grid.box(unit)
        color = pane[top + height // 2, left + width // 2]
        expected = PICTURES[unit][0, 0, ::-1] if unit in PICTURES else colors.DARK.ground
        np.testing.assert_array_equal(color, expected)


# ---- histograms ---------------------------------------------------------------------------------


def test_each_column_of_a_cell_is_as_high_as_the_logarithm_of_its_bin() -> None:
    shown = replace(scene("histograms", statistics=KNOWN), result=None)  # without a mark of the present
    pane = drawn(shown)
    grid = layer_grid(shown, pane.shape[1], pane.shape[0], 1.0)
    for unit in range(3, UNITS):
        left, top, width, height = grid.box(unit)
        cell = pane[top : top + height - 3, left : left + width - 3]
        tall = (cell == (208, 204, 200)).all(2).sum(0)
        logs = np.log1p(KNOWN.counts[unit])
        expected = (logs / logs.max() * (len(cell) - 1))[np.arange(cell.shape[1]) * 32 // cell.shape[1]]
        assert np.abs(tall - expected)[2:-2].max() <= 2  # frames apart


def test_dead_units_and_those_always_on_have_their_colours_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene("histograms", statistics=KNOWN)
    pane = drawn(shown)
    grid = layer_grid(shown, pane.shape[1], pane.shape[0], 1.0)
    for unit, ink in ((1, colors.DARK.bad), (2, colors.DARK.frozen)):
        left, top, width, height = grid.box(unit)
        assert (pane[top : top + height, left : left + width] == ink).all(2).mean() > 0.2
    said = words(shown, monkeypatch)
    assert "red: 1 dead" in said and "blue: 1 always on" in said and "400 images" in said
    clean = statistics(dead=np.zeros(UNITS, bool), always=np.zeros(UNITS, bool))
    assert "none dead" in words(scene("histograms", statistics=clean), monkeypatch)


def test_a_mark_says_where_in_its_histogram_the_present_picture_lies() -> None:
    shown = scene("histograms", statistics=KNOWN)  # whose values go evenly over the axis from unit to unit
    pane = drawn(shown)
    grid = layer_grid(shown, pane.shape[1], pane.shape[0], 1.0)
    for unit in range(1, UNITS):
        left, top, width, height = grid.box(unit)
        marked = (pane[top + 4, left : left + width] == colors.DARK.accent).all(1).nonzero()[0]
        assert abs(marked.mean() - unit / (UNITS - 1) * (width - 4)) <= 2, unit


def test_the_selected_units_histogram_is_large_in_unit_zoom(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene("histograms", statistics=KNOWN, state={"zoom": "unit", "unit": 4})
    said = words(shown, monkeypatch)
    assert "map:4   histogram" in said and "above 0 in 4 of 400 images" in said and "now" in said
    assert ((drawn(shown) == (208, 204, 200)).all(2).mean()) > 0.2


# ---- correlation --------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [PaneView(), PaneView(2.5, 0.4, 0.6)])
@pytest.mark.parametrize("content", ["correlation", "correlation, sorted"])
@pytest.mark.parametrize("units", [UNITS, 1500])  # cells larger and smaller than a pixel
def test_each_point_of_the_matrix_is_what_the_mouse_says_and_has_its_colour(
    content: str, view: PaneView, units: int
) -> None:
    layers = (Layer("map", "Conv2d", units, 5, 5),)
    known = statistics(units=units)
    shown = Scene(State(content=content, view=view), layers=layers, pictures_of="map", statistics=known)
    pane, made = drawn(shown), renderer()
    left, top, *_ = made.layer_box
    box_left, box_top, side, _ = matrix_box(*made.layer_area, view)
    order = np.arange(units) if content == "correlation" else known.order
    for y in range(5, pane.shape[0], 37):
        for x in range(3, pane.shape[1], 41):
            inside = 0 <= x - box_left < side and 0 <= y - box_top < side
            target = made.target_at(left + x, top + y, shown)
            if not inside:
                assert target is None
                continue
            row, column = int(order[(y - box_top) * units // side]), int(order[(x - box_left) * units // side])
            assert target == Hover(0, row, column)
            middle = all(0.1 * side < at * units % side < 0.9 * side for at in (x - box_left, y - box_top))
            if units == UNITS and middle:  # not in a frame
                r = np.clip(known.correlation[row, column] / brightest(Matrix(known.correlation, known.order)), -1, 1)
                blue, _, red = pane[y, x].astype(int)
                places = (-1, -0.6, 0, 0.6, 1)  # light blue, blue, black, orange, light orange
                assert abs(blue - np.interp(r, places, (255, 255, 0, 0, 175))) < 4
                assert abs(red - np.interp(r, places, (175, 40, 0, 235, 255))) < 4


def test_hovering_names_both_units_and_a_click_selects_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    known = statistics("classes")
    shown = scene("correlation", layer=1, statistics=known, state={"hover": Hover(1, 3, 8)})
    said = words(shown, monkeypatch)
    assert "classes:3 class number 3   and   classes:8 class number 8" in said
    assert f"r = {known.correlation[3, 8]:.2f}".replace("-", "−") in said
    assert click(shown.state, shown.state.hover, Facts(LAYERS)).state.unit == 3


def test_the_title_names_what_the_selected_unit_goes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    known = statistics("classes")
    others = np.where(np.arange(UNITS) == 5, -2, known.correlation[5])
    said = words(scene("correlation", layer=1, statistics=known, state={"unit": 5}), monkeypatch)
    assert f"class number 5 goes most with class number {others.argmax()}" in said


def test_unit_zoom_lists_what_the_selected_unit_goes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    known = statistics("classes")
    said = words(scene("correlation", layer=1, statistics=known, state={"unit": 5, "zoom": "unit"}), monkeypatch)
    row = np.where(np.arange(UNITS) == 5, 0, known.correlation[5])
    places = [said.index(f"classes:{unit} class") for unit in np.argsort(-np.abs(row))[: UNITS - 1]]
    assert places == sorted(places) and f"{row[np.abs(row).argmax()]:.2f}".replace("-", "−") in said


def test_a_unit_that_never_changes_goes_with_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    still = KNOWN.correlation.copy()
    still[0] = still[:, 0] = 0
    assert "0 goes with no other" in words(
        scene("correlation", statistics=replace(KNOWN, correlation=still)), monkeypatch
    )


# ---- moments ------------------------------------------------------------------------------------


def test_moments_stand_where_top_images_do_and_can_be_clicked(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = Patch(4, "camera 0", 0, 0, 1.25, (0, 0, 6, 6), np.full((6, 6, 3), (250, 10, 20), np.uint8))
    tops = TopPictures("map", 0, "", (patch,), "deconv", (np.ones((6, 6, 3), np.float32),), seen=(patch.pixels,))
    shown = scene("top images", tops=tops, cells=Cells("map", PICTURES), state={"moments": True, "collecting": True})
    shown = replace(shown, status=Status(moments=1312))
    said = words(shown, monkeypatch)
    for expected in (
        "strongest moments",
        "once collecting stops (v)",
        "strongest moment of each unit",
        "collecting: 1,312 moments",
    ):
        assert expected in said
    large = drawn(replace(shown, state=replace(shown.state, zoom="unit")))
    assert (large == (20, 10, 250)).all(2).mean() > 0.3  # the only one, as large as a third of the pane at least
    stopped = replace(shown, state=replace(shown.state, collecting=False))
    said = words(stopped, monkeypatch)
    assert "once collecting stops" not in said and "collecting:" not in said and "1,312 moments" in said
    made = renderer()
    left, top, width, height = made.layout.panes["unit_images"]
    target = made.target_at(left + 20, top + height // 2 - 60, stopped)
    assert target == TopImage(0, Photo("", "camera 0, moment 4")) and target.photo.pixels is patch.pixels
    assert click(stopped.state, target, Facts(LAYERS)).state.photo is target.photo
    hovered = words(replace(stopped, state=replace(stopped.state, hover=target)), monkeypatch)
    assert "camera 0   1.25" in hovered and "a click shows the moment to the network" in hovered


# ---- why not ------------------------------------------------------------------------------------

WHY = "No images have been scanned for net yet: deepvis scan --images DIR"


@pytest.mark.parametrize("content", [*CONTENTS][2:6])
@pytest.mark.parametrize(("parts", "expected"), [
    ({}, "looking"),
    ({"cells": Cells("map", note=WHY), "statistics": Statistics("map", note=WHY)}, "deepvis scan --images DIR"),
    ({"cells": Cells("other", PICTURES), "statistics": statistics("other")}, "looking"),
])  # fmt: skip
def test_without_data_it_says_why_and_the_mouse_finds_nothing(content, parts, expected, monkeypatch) -> None:
    shown = scene(content, **parts)
    said = words(shown, monkeypatch)
    assert expected in said and "Press s" in said
    made = renderer()
    left, top, width, height = made.layout.panes["layer"]
    assert made.target_at(left + width // 2, top + height // 2, shown) is None


def test_a_matrix_whose_order_is_not_there_yet_is_being_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    unsorted = replace(KNOWN, order=None)
    why = "which units are active on the same images"  # instead of the matrix
    assert why in words(scene("correlation, sorted", statistics=unsorted), monkeypatch)
    assert why not in words(scene("correlation", statistics=unsorted), monkeypatch)


def test_an_index_without_correlations_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without = statistics(correlation=None, order=None)
    assert "--no-correlation" in words(scene("correlation", statistics=without), monkeypatch)
    assert "none dead" not in words(scene("histograms", statistics=without), monkeypatch)


@pytest.mark.parametrize("size", [(320, 240), (640, 420), (1280, 900)])
@pytest.mark.parametrize("content", [*CONTENTS][2:])
@pytest.mark.parametrize("zoom", ["layer", "unit"])
def test_every_content_can_be_drawn_at_any_size(content: str, size: tuple[int, int], zoom: str) -> None:
    for units in (1, 2, 24, 1280):
        layers = (Layer("map", "Conv2d", units, 3, 5),)
        known = statistics(units=max(units, 3))
        known = (
            known
            if units > 2
            else replace(
                known,
                **{
                    name: getattr(known, name)[:units]
                    for name in ("counts", "low", "high", "mean", "deviation", "active", "dead", "always", "order")
                },
                correlation=known.correlation[:units, :units],
            )
        )
        known = replace(known, order=np.arange(units))
        pictures = {unit: np.full((4, 4, 3), 200, np.uint8) for unit in range(units)}
        shown = Scene(
            State(content=content, zoom=zoom),
            layers=layers,
            pictures_of="map",
            statistics=known,
            cells=Cells("map", pictures),
        )
        assert cv2.countNonZero(cv2.cvtColor(drawn(shown, *size), cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize("content", ["synthesized", "top images", "histograms", "correlation, sorted", "activations"])
def test_a_magnified_pane_may_lie_anywhere(content: str) -> None:
    """A cell may end one pixel inside of the pane, or one pixel, the line between cells, outside of it."""
    cells = Cells("map", PICTURES, frozenset({7}))
    stored = UnitPictures("map", 0, cells=PICTURES, known=True)
    found = {"cells": cells, "statistics": KNOWN, "pictures": stored}
    whole = drawn(scene(content, **found, state={"view": PaneView(4.0, 0.5, 0.5), "unit": 5}), 700, 500)
    for step in range(240):  # by about a pixel each
        at = PaneView(4.0, 0.4 + step / 1700, 0.44 - step / 1700)
        moved = drawn(scene(content, **found, state={"view": at, "unit": 5}), 700, 500)
        assert moved.shape == whole.shape


@pytest.mark.parametrize("left, top", [(-9, -7), (-8, -6), (-7, 0), (0, 0), (3, 2), (19, 14), (20, 15), (40, 40)])
def test_pasting_cuts_off_what_lies_outside(left: int, top: int) -> None:
    image, picture = np.zeros((15, 20, 3), np.uint8), np.full((6, 8, 3), 200, np.uint8)
    expected = image.copy()
    for y in range(15):
        for x in range(20):
            if left <= x < left + 8 and top <= y < top + 6:
                expected[y, x] = 200
    paste(image, picture, left, top)
    assert (image == expected).all()
    box = (left, top, 8, 6)
    assert inside(image, box).size == expected.any(2).sum() * 3
    canvas = Canvas(np.zeros((15, 20, 3), np.uint8))
    canvas.bar(box, (200, 200, 200))
    canvas.shade(box)
    assert (canvas.image.any(2) == expected.any(2)).all()
