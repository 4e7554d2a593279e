"""The desk in the big pane: sixteen settings of one unit's image, growing side by side."""

from __future__ import annotations

import cv2
import numpy as np

from deepvis import desk
from deepvis.desk import SIDE
from deepvis.geometry import Box, resize_for_screen
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import number
from deepvis.render.scene import Scene

_HINT = "click the best: the grid closes in on it      3  other settings      4  other seed      backspace  back      enter  save      2  close"


def _cell(width: int, height: int, scale: float) -> tuple[int, int, int]:
    """Width and height of a tile with its words, and the height of the words alone, in pixels."""
    px = lambda size: max(1, round(size * scale))
    words, foot = text.line_height(px(11)) + px(3), text.line_height(px(12)) + px(4)
    return max(1, width // SIDE), max(1, (height - foot) // SIDE), words


def tile_at(x: int, y: int, width: int, height: int, scale: float) -> int | None:
    """The tile under a point of the pane (below its title), None if there is none."""
    cell_width, cell_height, _ = _cell(width, height, scale)
    column, row = x // cell_width, y // cell_height
    return row * SIDE + column if 0 <= column < SIDE and 0 <= row < SIDE else None


def draw_desk(canvas: Canvas, scene: Scene) -> None:
    """The grid of the state's desk, with the images as far as they have grown."""
    shown, grown = scene.state.desk[-1], scene.own_desk
    table = desk.table(shown)
    name = " ".join(filter(None, (scene.unit, scene.layer.label(scene.state.unit))))
    title = f"desk   {name}   {shown.preset}, seed {shown.seed}   → {table.across.words}   ↓ {table.down.words}"
    steps = f"step {grown.steps} of {table.recipes[0].steps}" if grown and grown.images else "the first images are on their way …"
    body = canvas.caption(title, "" if grown and grown.error else steps)
    if grown and grown.error:
        body.words(grown.error, size=15)
        return
    best = int(np.nanargmax(grown.scores)) if grown and np.isfinite(grown.scores).any() else None
    cell_width, cell_height, words = _cell(body.width, body.height, body.scale)
    for tile in range(SIDE * SIDE):
        row, column = divmod(tile, SIDE)
        cell = body.part((column * cell_width, row * cell_height, cell_width, cell_height))
        image = grown.images[tile] if grown and grown.images else None
        frame = _put(cell, image, words)
        if scene.state.hover and scene.state.hover.tile == tile:
            cell.frame(frame, (235, 235, 235))
        if tile == table.chosen:
            cell.frame(frame, colors.ACCENT, 2)
        score = f"best {number(grown.scores[tile])}" if tile == best else ""
        _label(cell, desk.tile_text(table, tile), score, words, tile == table.chosen)
    size = body.px(12)
    hint = text.shorten(_HINT, body.width - body.px(12), size)
    text.put(body.image, hint, (body.width - text.width(hint, size)) // 2, SIDE * cell_height + body.px(2), size, colors.DIM)


def _put(cell: Canvas, image: np.ndarray | None, words: int) -> Box:
    """The image (uint8 RGB) in the middle above the words, or a dark square; the box about it."""
    room_width, room_height = max(1, cell.width - cell.px(6)), max(1, cell.height - words - cell.px(4))
    height, width = image.shape[:2] if image is not None else (1, 1)
    factor = min(room_width / width, room_height / height)
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    left, top = (cell.width - w) // 2, cell.px(2) + (room_height - h) // 2
    if image is None:
        cell.bar((left, top, w, h), colors.PANEL)
    else:
        part = cell.image[top : top + h, left : left + w]
        part[:] = cv2.cvtColor(resize_for_screen(image, w, h), cv2.COLOR_RGB2BGR)[: part.shape[0], : part.shape[1]]
    edge = cell.px(2)
    return left - edge, top - edge, w + 2 * edge, h + 2 * edge


def _label(cell: Canvas, words: str, score: str, height: int, chosen: bool) -> None:
    """The tile's values, and which has the best score, below the image."""
    size, margin, y = cell.px(11), cell.px(4), cell.height - height
    weight = 600 if chosen else 400
    end = text.width(score, size, 600)
    words = text.shorten(words, max(0, cell.width - 2 * margin - (end + margin if score else 0)), size, weight)
    x = max(margin, (cell.width - text.width(words, size, weight) - (end + 2 * margin if score else 0)) // 2)
    x = text.put(cell.image, words, x, y, size, colors.ACCENT if chosen else colors.TEXT, weight)
    text.put(cell.image, score, x + 2 * margin, y, size, colors.GOOD, 600)


def hover_text(scene: Scene) -> str:
    """All settings of the tile that the mouse points at, with its score."""
    tile, grown = scene.state.hover.tile, scene.own_desk
    if not scene.state.desk:
        return ""
    score = f"score {number(grown.scores[tile])}   " if grown and grown.scores else ""
    return score + desk.full_text(desk.table(scene.state.desk[-1]), tile)
