"""The grid of a layer's units in the layer pane: where the cells lie, pictures in them, frames around them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.geometry import Box, resize_for_screen
from deepvis.interface.state import Hover
from deepvis.interface.unit_grid import Grid, make_grid
from deepvis.render import text
from deepvis.render.colors import Theme
from deepvis.render.draw import Canvas, inside, paste
from deepvis.render.mosaic import line_width
from deepvis.render.panes.pane import Key
from deepvis.render.scene import Scene
from deepvis.workers.messages import Cells, UnitPictures


def layer_grid(scene: Scene, width: int, height: int, scale: float) -> Grid:
    """The grid of the current layer in a picture of that size, on the page with the selected unit."""
    layer, state = scene.layer, scene.state
    return make_grid(
        layer.units, layer.height, layer.width, width, height, state.view, state.unit, scale, state.shown_order
    )


def unit_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    """The unit whose cell is under a point of the pane's body; None if there is none."""
    unit = layer_grid(scene, body.width, body.height, body.scale).at(x, y)
    return Hover(scene.state.layer, unit) if unit is not None else None


def page_text(canvas: Canvas, scene: Scene) -> str:
    """A text that says what the units are sorted by and which of them are on the page, in a pane with its title.

    It is empty if all units are on the page in the order of their numbers.
    """
    grid = layer_grid(scene, canvas.width, canvas.height - canvas.px_caption, canvas.scale)
    units, order = scene.layer.units, scene.state.shown_order
    words = [] if order is None else [f"sorted by {order.words}"]
    if grid.count < units:
        what = "units " if order is None else ""
        last = grid.first + grid.count - 1
        words = [f"{what}{grid.first:,}–{last:,} of {units:,}", *words, "keys , . turn the page"]
    return "   ".join(words)


def draw_marks(canvas: Canvas, scene: Scene, grid: Grid) -> None:
    """Frame the unit under the mouse, the selected unit and the unit that the backward pass starts from."""
    state, hover = scene.state, scene.hover
    if isinstance(hover, Hover) and hover.layer == state.layer and hover.unit is not None and hover.unit in grid:
        canvas.frame(_around(grid.box(hover.unit)), canvas.theme.pointed)
    strong = canvas.theme.accent if state.in_channels else canvas.theme.faint_accent
    canvas.frame(_around(grid.box(state.unit)), strong, 2)
    if state.origin and state.origin[0] == state.layer and state.origin[1] in grid:
        left, top, width, height = _around(grid.box(state.origin[1]))
        inset = canvas.px(2)  # inside the selection's frame, so that both are seen
        canvas.frame((left + inset, top + inset, width - 2 * inset, height - 2 * inset), canvas.theme.frozen, 2)


def _around(box: Box) -> Box:
    """The cell grown by a pixel at the left and top, so that a frame does not hide the map's first row and column."""
    left, top, width, height = box
    return left - 1, top - 1, width + 1, height + 1


def draw_pictures(canvas: Canvas, scene: Scene, owner: Cells | UnitPictures) -> None:
    """Draw the pictures that have arrived in their units' cells."""
    grid = layer_grid(scene, canvas.width, canvas.height, canvas.scale)
    canvas.image[:] = _pictures(owner, grid, canvas.width, canvas.height, canvas.scale, canvas.theme)
    draw_marks(canvas, scene, grid)


@lru_cache(maxsize=2)
def _pictures(
    owner: Cells | UnitPictures, grid: Grid, width: int, height: int, scale: float, theme: Theme
) -> np.ndarray:
    """The picture of all cells, cached while only the marks move. Do not write to it."""
    canvas = Canvas(np.empty((height, width, 3), np.uint8), scale, theme)
    canvas.fill()
    if isinstance(owner, Cells):
        _put_all(canvas.image, owner.pictures, grid)
        _say_dead(canvas, [unit for unit in owner.dead if unit in grid], grid)
    else:
        _put_all(canvas.image, owner.cells, grid)
    return canvas.image


def _put_all(image: np.ndarray, pictures: Mapping[int, np.ndarray], grid: Grid) -> None:
    line = line_width(grid)
    for unit, picture in pictures.items():
        if unit in grid:
            left, top, w, h = grid.box(unit)
            _put_inside(image, picture, left, top, max(1, w - line), max(1, h - line))


def _say_dead(canvas: Canvas, units: Collection[int], grid: Grid) -> None:
    size, word = canvas.px(12), "dead"
    width, height = text.width(word, size), text.line_height(size)
    for unit in units:
        left, top, w, h = grid.box(unit)
        if width < w and height < h:
            text.put(canvas.image, word, left + (w - width) // 2, top + (h - height) // 2, size, canvas.theme.dim)


def _put_inside(canvas: np.ndarray, image: np.ndarray, left: int, top: int, width: int, height: int) -> None:
    """Put a picture (RGB) in the middle of a box, with its proportions kept. The box may reach out of the canvas."""
    factor = min(width / image.shape[1], height / image.shape[0])
    w, h = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    x, y = left + (width - w) // 2, top + (height - h) // 2
    if inside(canvas, (x, y, w, h)).size:
        paste(canvas, cv2.cvtColor(resize_for_screen(image, w, h), cv2.COLOR_RGB2BGR), x, y)


def statistics_ready(scene: Scene) -> bool:
    """False while the statistics of a scan that still runs are being renewed: until then those before stay."""
    return scene.own_statistics is not None or not scene.is_scanning


def statistics_key(scene: Scene) -> Key:
    """What a drawing of the layer's statistics depends on."""
    known = scene.own_statistics
    return (id(known), scene.scan_words if known is None or known.note else "")


def say_why(canvas: Canvas, what: str, why: str) -> None:
    """Say in place of the cells what they would show, and why they cannot."""
    canvas.words(f"{what}\n\n{why}\n\nPress s for the next view.", size=15)
