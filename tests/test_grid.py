"""Which cell is which unit, against brute force."""

from __future__ import annotations

import random

import pytest

from deepvis.grid import View, columns_for, make_grid, zoom_at

SHAPES = [  # units, height and width of a map
    (1, 1, 1), (1, 112, 112), (2, 7, 7), (3, 224, 224), (7, 40, 3), (7, 3, 40), (32, 112, 112), (320, 7, 7),
    (1000, 1, 1), (21843, 1, 1), (5, 1, 900),
]  # fmt: skip
PANES = [(900, 800), (300, 90), (90, 700)]


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
@pytest.mark.parametrize("pane", PANES)
def test_all_cells_lie_in_the_pane_and_do_not_overlap(count: int, h: int, w: int, pane: tuple[int, int]) -> None:
    if count > pane[0] * pane[1]:
        pytest.skip("fewer pixels than units")
    grid = make_grid(count, h, w, *pane)
    assert grid.columns * grid.rows >= count > grid.columns * (grid.rows - 1)
    for unit in {0, grid.columns - 1, count // 2, count - 1}:
        left, top, width, height = grid.box(unit)
        assert width > 0 and height > 0
        assert 0 <= left and left + width <= pane[0]
        assert 0 <= top and top + height <= pane[1]
    assert len({grid.box(unit)[:2] for unit in range(count)}) == count


@pytest.mark.parametrize(("count", "h", "w"), SHAPES)
def test_at_is_the_inverse_of_box(count: int, h: int, w: int) -> None:
    dice = random.Random(count)
    for view in (View(), View(3.3, 0.1, 0.9), View(17.0, 0.55, 0.4)):
        grid = make_grid(count, h, w, 900, 800, view)
        for unit in {0, count - 1, *(dice.randrange(count) for _ in range(20))}:
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
    grid = make_grid(count, h, w, 2000, 2000, View(8.0))
    if min(grid.cell_width, grid.cell_height) > 20:
        assert grid.cell_width / grid.cell_height == pytest.approx(w / h, rel=0.06)


def test_views_never_scroll_past_the_ends() -> None:
    dice = random.Random(5)
    for _ in range(500):
        count, h, w = dice.choice(SHAPES)
        pane = dice.choice(PANES)
        view = View(1 + 39 * dice.random() ** 3, dice.random(), dice.random())
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
        view = View()
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
    assert zoom_at(View(), 0.5, 0.1, 0.1) == View()
    assert zoom_at(View(2.0, 0.3, 0.3), 0.4, 0.9, 0.9) == View()
    view = View()
    for _ in range(40):
        view = zoom_at(view, 1.25, 0.0, 1.0)
    assert view.scale == 40
    assert view.x == pytest.approx(0.0125) and view.y == pytest.approx(1 - 0.0125)
    assert zoom_at(View(), 100, 0.5, 0.5, limit=7).scale == 7
