"""Where the units of a layer lie in the layer pane. Only this module says which cell belongs to which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from deepvis.core.geometry import Box

MAP_CELL, VECTOR_CELL = 16, 9  # sides of the smallest cells that can be read, in unscaled pixels


@dataclass(frozen=True)
class PaneView:
    """The visible part of the layer pane's mosaic.

    Attributes:
        scale: magnification, 1 shows all of it.
        x, y: the point of the mosaic in the middle of the pane, as fractions of the pane at scale 1.
    """

    scale: float = 1.0
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True, eq=False)
class Order:
    """An order of a layer's units. Orders are compared by identity, because a layer may have very many units.

    Attributes:
        layer: position in the network's layers.
        units: int U, the units in this order.
        by: what they are sorted by, an option of the command `sort`.
        words: the same in words, with the picture or the unit: "activation in zebra.jpg".
        of: the picture that their values are of, as `deepvis.interface.asking` tells pictures apart; None if it
            is of no picture.
    """

    layer: int
    units: np.ndarray
    by: str
    words: str
    of: tuple[object, ...] | None = None

    @cached_property
    def places(self) -> np.ndarray:
        """The place of each unit in this order."""
        return np.argsort(self.units)  # the inverse of the permutation


@dataclass(frozen=True)
class Grid:
    """Cells row by row, and the units in them.

    Attributes:
        first, count: the cells on this page: `count` cells from number `first` on, counted through all pages.
        left, top: where the first cell starts in the pane, in pixels.
        order: the order of the units in the cells; None for the order of their numbers.
    """

    first: int
    count: int
    columns: int
    rows: int
    cell_width: int
    cell_height: int
    left: int
    top: int
    order: Order | None = None

    @cached_property
    def units(self) -> Sequence[int]:
        """The units of the page."""
        if self.order is None:
            return range(self.first, self.first + self.count)
        return tuple(self.order.units[self.first : self.first + self.count].tolist())

    def place(self, unit: int) -> int:
        """The number of a unit's cell, counted through all pages."""
        return place_of(unit, self.order)

    def __contains__(self, unit: int) -> bool:
        """Whether the unit is on this page."""
        return self.first <= self.place(unit) < self.first + self.count

    def box(self, unit: int) -> Box:
        """The cell of a unit on this page, in pixels of the pane; it may lie outside the pane."""
        row, column = divmod(self.place(unit) - self.first, self.columns)
        return (
            self.left + column * self.cell_width,
            self.top + row * self.cell_height,
            self.cell_width,
            self.cell_height,
        )

    def at(self, x: int, y: int) -> int | None:
        """The unit under a point of the pane, None if there is none."""
        column, row = (x - self.left) // self.cell_width, (y - self.top) // self.cell_height
        cell = row * self.columns + column
        inside = 0 <= column < self.columns and 0 <= cell < self.count
        return self.units[cell] if inside else None


def place_of(unit: int, order: Order | None) -> int:
    """The place of a unit in an order, None for the order of the numbers."""
    return unit if order is None else int(order.places[unit])


def unit_in(place: int, order: Order | None) -> int:
    """The unit at a place in an order, None for the order of the numbers."""
    return place if order is None else int(order.units[place])


@lru_cache(maxsize=256)
def columns_for(count: int, aspect: float, width: int, height: int) -> int:
    """Number of columns that makes the cells largest.

    Args:
        aspect: width / height of a cell.
    """

    def cell(columns: int) -> float:
        rows = -(-count // columns)
        return min(width / columns, height / rows * aspect)

    return max(range(1, count + 1), key=lambda columns: (cell(columns), -columns))


@lru_cache(maxsize=256)
def make_grid(
    count: int, map_height: int, map_width: int, width: int, height: int,
    view: PaneView = PaneView(), unit: int = 0, scale: float = 1.0, order: Order | None = None,
) -> Grid:  # fmt: skip
    """Lay out the cells of `count` units in a pane, in the maps' proportions.

    If the cells of all units would be too small to read, the units are split into pages, and the grid is the
    page with `unit`. All pages have cells of the same size and full rows, except for the last page.

    Args:
        map_height, map_width: size of one unit's map in positions.
        width, height: of the pane, in pixels.
        view: magnification and position.
        scale: size of text and marks; the smallest readable cell grows with it.
        order: the order of the units; None for the order of their numbers.
    """
    aspect = map_width / map_height
    smallest = (MAP_CELL if map_height * map_width > 1 else VECTOR_CELL) * scale
    page = _page(count, aspect, width, height, smallest)
    columns = columns_for(page, aspect, width, height)
    rows = -(-page // columns)
    page = min(columns * rows, count)
    first = place_of(unit, order) // page * page
    base = min(width / columns, height / rows * aspect)
    cell_width = max(1, int(base * view.scale))
    cell_height = max(1, int(base / aspect * view.scale))
    left = _start(columns * cell_width, width, view.scale, view.x)
    top = _start(rows * cell_height, height, view.scale, view.y)
    return Grid(first, min(page, count - first), columns, rows, cell_width, cell_height, left, top, order)


def _page(count: int, aspect: float, width: int, height: int, smallest: float) -> int:
    """How many units a page has: no more than fit at a readable size, and about the same on every page."""
    cell_width = min(smallest * max(1.0, aspect), width, height * aspect)
    fitting = max(1, int(width / cell_width)) * max(1, int(height * aspect / cell_width))
    return -(-count // -(-count // fitting))


def _start(extent: int, room: int, scale: float, middle: float) -> int:
    """Where the mosaic begins: centred if it fits, else scrolled, never past its ends."""
    if extent <= room:
        return (room - extent) // 2
    return min(0, max(room - extent, round((room - extent) / 2 + scale * room * (0.5 - middle))))


def centred_on(unit: int, grid: Grid, width: int, height: int, scale: float) -> PaneView:
    """The view at that scale with a unit as near to the middle of the pane as the mosaic's edges allow."""
    row, column = divmod(grid.place(unit) - grid.first, grid.columns)
    x = ((column + 0.5) - grid.columns / 2) * grid.cell_width / (scale * width)
    y = ((row + 0.5) - grid.rows / 2) * grid.cell_height / (scale * height)
    half = 0.5 / scale
    return PaneView(scale, min(max(half, 0.5 + x), 1 - half), min(max(half, 0.5 + y), 1 - half))


def zoom_at(view: PaneView, factor: float, x: float, y: float, limit: float = 40.0) -> PaneView:
    """Magnify about a point.

    Args:
        x, y: the point, as fractions of the pane; it stays (nearly) where it is.
    """
    scale = min(max(1.0, view.scale * factor), limit)
    if scale == 1.0:
        return PaneView()
    point_x = view.x + (x - 0.5) / view.scale
    point_y = view.y + (y - 0.5) / view.scale
    half = 0.5 / scale
    return PaneView(
        scale,
        min(max(half, point_x - (x - 0.5) / scale), 1 - half),
        min(max(half, point_y - (y - 0.5) / scale), 1 - half),
    )
