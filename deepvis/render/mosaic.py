"""A layer's maps tiled into one picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from deepvis.attribution.requests import Result
from deepvis.interface.unit_grid import Grid
from deepvis.render import colors
from deepvis.render.colors import DARK
from deepvis.render.draw import fill, inside, paste
from deepvis.render.palettes import USUAL, Color, Palette


@dataclass(frozen=True, eq=False)
class Look:
    """The maps of a layer and their range.

    Attributes:
        maps: float32 C×H×W without NaN and infinity.
        low, high: smallest and largest value of all maps.
        signed: negative values are shown in a colour of their own.
    """

    maps: np.ndarray
    low: float
    high: float
    signed: bool


@lru_cache(maxsize=4)
def look(result: Result, gradient: bool = False) -> Look:
    """The activations of a result, or its backward values. Cached, because reading a large layer takes long."""
    values = result.layer_gradient if gradient else result.activations
    if values is None:
        raise ValueError("a result without such values cannot be looked at")
    return look_at(values, gradient)


def look_at(values: np.ndarray, gradient: bool = False) -> Look:
    """Maps (float32 C×H×W) and their range."""
    maps = colors.finite(values)
    return Look(maps, float(maps.min()), float(maps.max()), gradient or colors.is_signed(maps))


@lru_cache(maxsize=2)
def mosaic(
    seen: Look,
    gradient: bool,
    grid: Grid,
    width: int,
    height: int,
    gamma: float,
    boost: float,
    ground: Color,
    palette: Palette,
) -> np.ndarray:
    """The maps in the cells of the grid, uint8 height×width×3 BGR.

    Cached while only the marks move. Do not write to it.
    """
    picture = np.empty((height, width, 3), np.uint8)
    fill(picture, ground)
    draw_maps(picture, seen.maps, grid, gamma, boost, gradient, ground, palette)
    return picture


def draw_maps(
    canvas: np.ndarray,
    maps: np.ndarray,
    grid: Grid,
    gamma: float,
    boost: float,
    gradient: bool = False,
    ground: Color = DARK.ground,
    palette: Palette = USUAL,
) -> None:
    """Draw the maps into the canvas in the cells of the grid; only the visible cells are drawn.

    All cells are scaled at once: a resize for each would take five times as long.

    Args:
        canvas: uint8 H×W×3 BGR, the pane's picture, already filled with the ground colour.
        maps: float32 C×h×w.
        gamma: exponent of the normalised values; below 1 it brightens weak values.
        boost: 0 normalises over the layer, 1 over each channel.
        gradient: the maps are backward values, which are always signed.
        ground: the colour between the cells.
        palette: the colours of the values.
    """
    height, width = canvas.shape[:2]
    rows = range(max(0, -grid.top // grid.cell_height), min(grid.rows, -(-(height - grid.top) // grid.cell_height)))
    columns = range(
        max(0, -grid.left // grid.cell_width), min(grid.columns, -(-(width - grid.left) // grid.cell_width))
    )
    if not rows or not columns:
        return
    signed = gradient or colors.is_signed(maps)
    tiles = _tiles(maps, colors.limits(maps, boost), grid, rows, columns)
    levels = colors.to_levels(tiles, signed, gamma)
    size = (len(columns) * grid.cell_width, len(rows) * grid.cell_height)
    # Each position of a map stays visible as a square; colouring before enlarging saves time. Plain INTER_NEAREST
    # rounds so that at some sizes a cell's first row shows the cell before it.
    picture = cv2.resize(colors.paint(levels, signed, palette), size, interpolation=cv2.INTER_NEAREST_EXACT)
    _separate(picture, grid, ground)
    paste(canvas, picture, grid.left + columns.start * grid.cell_width, grid.top + rows.start * grid.cell_height)
    _cover_rest(canvas, grid, ground)


def _tiles(maps: np.ndarray, limits: np.ndarray, grid: Grid, rows: range, columns: range) -> np.ndarray:
    """The visible cells as one float32 picture, values divided by the limits.

    Its resolution is that of the maps, or that of the cells if it is lower.
    """
    h, w = maps.shape[1:] if maps.shape[2] <= grid.cell_width else (grid.cell_height, grid.cell_width)
    tiles = np.zeros((len(rows), h, len(columns), w), np.float32)
    inverse = (1 / limits)[:, None, None]
    for i, row in enumerate(rows):
        first = grid.first + row * grid.columns + columns.start
        cells = slice(first, min(first + len(columns), grid.first + grid.count))
        if cells.start < cells.stop:
            part = cells if grid.order is None else grid.order.units[cells]
            seen = maps[part]
            if seen.shape[1:] != (h, w):
                stack = seen.reshape(-1, seen.shape[2])  # maps one below the other, resized in one call
                seen = cv2.resize(stack, (w, len(seen) * h), interpolation=cv2.INTER_AREA).reshape(-1, h, w)
            np.multiply(seen, inverse[part], out=tiles[i, :, : cells.stop - cells.start].transpose(1, 0, 2))
    return tiles.reshape(len(rows) * h, len(columns) * w)


def line_width(grid: Grid) -> int:
    """Width of the line between cells, taken from the end of each cell; 0 if the cells are too small."""
    side = min(grid.cell_width, grid.cell_height)
    return 0 if side < 6 else 1 if side < 40 else 2 if side < 90 else 3


def _separate(picture: np.ndarray, grid: Grid, ground: Color) -> None:
    height, width = picture.shape[:2]
    line = line_width(grid)
    if line:
        for y in range(grid.cell_height, height + 1, grid.cell_height):
            fill(picture[y - line : y], ground)
        for x in range(grid.cell_width, width + 1, grid.cell_width):
            fill(picture[:, x - line : x], ground)


def _cover_rest(canvas: np.ndarray, grid: Grid, ground: Color) -> None:
    """Fill the cells after the last unit with the ground colour, so that they are not taken for units of value zero."""
    row, cells = divmod(grid.count, grid.columns)
    bottom, right = grid.top + grid.rows * grid.cell_height, grid.left + grid.columns * grid.cell_width
    top = grid.top + row * grid.cell_height
    left = grid.left + cells * grid.cell_width
    fill(inside(canvas, (left, top, right - left, grid.cell_height)), ground)
    top += grid.cell_height
    fill(inside(canvas, (0, top, right, bottom - top)), ground)
