"""Where the units of a layer lie in the layer pane. Only this module says which cell belongs to which unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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


@dataclass(frozen=True)
class Grid:
    """Cells row by row.

    Attributes:
        first, count: the units on this page: `count` units from `first` on.
        left, top: where the first cell starts in the pane, in pixels.
    """

    first: int
    count: int
    columns: int
    rows: int
    cell_width: int
    cell_height: int
    left: int
    top: int

    @property
    def units(self) -> range:
        """The units of the page."""
        return range(self.first, self.first + self.count)

    def box(self, unit: int) -> Box:
        """The cell of a unit on this page, in pixels of the pane; it may lie outside the pane."""
        row, column = divmod(unit - self.first, self.columns)
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
        return self.first + cell if inside else None


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
    view: PaneView = PaneView(), unit: int = 0, scale: float = 1.0,
) -> Grid:  # fmt: skip
    """Lay out the cells of `count` units in a pane, in the maps' proportions.

    If the cells of all units would be too small to read, the units are split into pages, and the grid is the
    page with `unit`. All pages have cells of the same size and full rows, except for the last page.

    Args:
        map_height, map_width: size of one unit's map in positions.
        width, height: of the pane, in pixels.
        view: magnification and position.
        scale: size of text and marks; the smallest readable cell grows with it.
    """
    aspect = map_width / map_height
    smallest = (MAP_CELL if map_height * map_width > 1 else VECTOR_CELL) * scale
    page = _page(count, aspect, width, height, smallest)
    columns = columns_for(page, aspect, width, height)
    rows = -(-page // columns)
    page = min(columns * rows, count)
    first = unit // page * page
    base = min(width / columns, height / rows * aspect)
    cell_width = max(1, int(base * view.scale))
    cell_height = max(1, int(base / aspect * view.scale))
    left = _start(columns * cell_width, width, view.scale, view.x)
    top = _start(rows * cell_height, height, view.scale, view.y)
    return Grid(first, min(page, count - first), columns, rows, cell_width, cell_height, left, top)


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
    row, column = divmod(unit - grid.first, grid.columns)
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
