"""Which cell is which unit, against brute force."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from deepvis.interface.unit_grid import MAP_CELL, VECTOR_CELL, Grid, PaneView, columns_for, make_grid, zoom_at

SHAPES = [  # units, height and width of a map
    (1, 1, 1), (1, 112, 112), (2, 7, 7), (3, 224, 224), (7, 40, 3), (7, 3, 40), (32, 112, 112), (320, 7, 7),
    (1000, 1, 1), (21843, 1, 1), (5, 1, 900),
]  # fmt: skip
PANES = [(900, 800), (300, 90), (90, 700)]


def pages(count: int, h: int, w: int, *pane: int, **more) -> list[Grid]:
    """All pages of a layer, in order."""
    found = []
    while not found or found[-1].units[-1] < count - 1:
        found.append(make_grid(count, h, w, *pane, unit=found[-1].units[-1] + 1 if found else 0, **more))
    return found


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
@pytest.mark.parametrize("pane", PANES)
def test_all_cells_lie_in_the_pane_and_do_not_overlap(count: int, h: int, w: int, pane: tuple[int, int]) -> None:
    for grid in pages(count, h, w, *pane):
        assert grid.columns * grid.rows >= grid.count
        for unit in {grid.first, grid.first + min(grid.columns, grid.count) - 1, *grid.units[-1:]}:
            left, top, width, height = grid.box(unit)
            assert width > 0 and height > 0
            assert 0 <= left and left + width <= pane[0]
            assert 0 <= top and top + height <= pane[1]
        assert len({grid.box(unit)[:2] for unit in grid.units}) == grid.count


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
@pytest.mark.parametrize("pane", PANES)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_pages_cover_all_units_once_in_whole_rows_of_the_same_cells(
    count: int, h: int, w: int, pane: tuple[int, int], scale: float
) -> None:
    found = pages(count, h, w, *pane, scale=scale)
    assert [unit for grid in found for unit in grid.units] == list(range(count))
    for grid in found:
        assert {make_grid(count, h, w, *pane, unit=unit, scale=scale) for unit in (grid.units[0], grid.units[-1])} == {
            grid
        }
        assert replace(grid, first=0, count=found[0].count) == found[0]
        assert grid.first % grid.columns == 0
    # A full page has no room for half as many again of the smallest cells, and is not crowded.
    if len(found) > 1:
        least = (MAP_CELL if h * w > 1 else VECTOR_CELL) * scale
        assert min(found[0].cell_width, found[0].cell_height) + 1 >= min(least, *pane, pane[0] * h / w, pane[1] * w / h)


def test_a_layer_that_can_be_read_as_a_whole_is_one_page() -> None:
    for count, h, w in ((4096, 1, 1), (1000, 1, 1), (2048, 7, 7), (1280, 7, 7), (64, 512, 512)):
        assert len(pages(count, h, w, 900, 808)) == 1, count
    assert [grid.count for grid in pages(21843, 1, 1, 900, 808)] == [7290, 7290, 7263]
    assert len(pages(4096, 1, 1, 900, 808, scale=2.0)) > 1


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
def test_at_is_the_inverse_of_box(count: int, h: int, w: int) -> None:
    dice = random.Random(count)
    for view in (PaneView(), PaneView(3.3, 0.1, 0.9), PaneView(17.0, 0.55, 0.4)):
        grid = make_grid(count, h, w, 900, 800, view, count // 2)
        for unit in {grid.units[0], grid.units[-1], *(dice.choice(grid.units) for _ in range(20))}:
            left, top, width, height = grid.box(unit)
            for x, y in ((left, top), (left + width - 1, top), (left, top + height - 1), (left + width // 2, top)):
                assert grid.at(x, y) == unit
        for _ in range(50):
            x, y = dice.randrange(-50, 950), dice.randrange(-50, 850)
            unit = grid.at(x, y)
            if unit is not None:
                left, top, width, height = grid.box(unit)
                assert left <= x < left + width and top <= y < top + height


def test_nothing_is_at_places_without_a_unit() -> None:
    grid = make_grid(7, 1, 1, 300, 300)  # 3 × 3 with two cells left over
    assert (grid.columns, grid.rows) == (3, 3)
    left, top, width, height = grid.box(6)
    assert grid.at(left + width, top) is None  # after the last unit
    assert grid.at(grid.left - 1, 10) is None
    assert grid.at(grid.left + 3 * width, 10) is None
    assert grid.at(10, grid.top - 1) is None
    assert grid.at(10, grid.top + 3 * height) is None


@pytest.mark.parametrize("aspect", [1.0, 0.3, 2.5])
@pytest.mark.parametrize("pane", PANES)
def test_columns_make_the_cells_largest(aspect: float, pane: tuple[int, int]) -> None:
    width, height = pane
    for count in (1, 2, 3, 5, 10, 37, 64, 100):
        areas = {}
        for columns in range(1, count + 1):
            rows = (count + columns - 1) // columns
            w = width / columns  # as wide as the columns allow, unless that is too high for the rows
            if w / aspect * rows > height:
                w = height / rows * aspect
            areas[columns] = w * w / aspect
        assert areas[columns_for(count, aspect, width, height)] == pytest.approx(max(areas.values()))


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
def test_cells_have_the_maps_proportions(count: int, h: int, w: int) -> None:
    grid = make_grid(count, h, w, 2000, 2000, PaneView(8.0))
    if min(grid.cell_width, grid.cell_height) > 20:
        assert grid.cell_width / grid.cell_height == pytest.approx(w / h, rel=0.06)


def test_views_never_scroll_past_the_ends() -> None:
    dice = random.Random(5)
    for _ in range(500):
        count, h, w = dice.choice(SHAPES)
        pane = dice.choice(PANES)
        view = PaneView(1 + 39 * dice.random() ** 3, dice.random(), dice.random())
        grid = make_grid(count, h, w, *pane, view)
        for start, extent, room in (
            (grid.left, grid.columns * grid.cell_width, pane[0]), (grid.top, grid.rows * grid.cell_height, pane[1]),
        ):  # fmt: skip
            if extent <= room:
                assert abs(start - (room - extent - start)) <= 1  # in the middle
            else:
                assert start <= 0 and start + extent >= room


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
@pytest.mark.parametrize("pane", PANES)
def test_zooming_keeps_the_point_under_the_mouse(count: int, h: int, w: int, pane: tuple[int, int]) -> None:
    """…unless an end of the mosaic stops it; rounding of cells to whole pixels is allowed for."""
    width, height = pane
    dice = random.Random(7)
    for _ in range(30):
        view = PaneView()
        for _ in range(dice.randrange(4, 12)):
            view = zoom_at(view, 1.25, dice.random(), dice.random())
        x, y = dice.random(), dice.random()
        old = make_grid(count, h, w, width, height, view)
        new = make_grid(count, h, w, width, height, zoom_at(view, 1.25, x, y))
        for point, room, cells, a, b in (
            (x * width, width, old.columns, (old.left, old.cell_width), (new.left, new.cell_width)),
            (y * height, height, old.rows, (old.top, old.cell_height), (new.top, new.cell_height)),
        ):
            stopped = any(start >= 0 or start + cells * cell <= room for start, cell in (a, b))
            if not stopped:
                before, after = ((point - start) / (cells * cell) for start, cell in (a, b))
                assert abs(before - after) * cells * b[1] <= 1.5 * cells + 2


def test_zoom_limits() -> None:
    assert zoom_at(PaneView(), 0.5, 0.1, 0.1) == PaneView()
    assert zoom_at(PaneView(2.0, 0.3, 0.3), 0.4, 0.9, 0.9) == PaneView()
    view = PaneView()
    for _ in range(40):
        view = zoom_at(view, 1.25, 0.0, 1.0)
    assert view.scale == 40
    assert view.x == pytest.approx(0.0125) and view.y == pytest.approx(1 - 0.0125)
    assert zoom_at(PaneView(), 100, 0.5, 0.5, limit=7).scale == 7
