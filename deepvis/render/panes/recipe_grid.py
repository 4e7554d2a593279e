"""The recipe grid in the layer pane: images of one unit by sixteen settings, growing side by side."""

from __future__ import annotations

import cv2
import numpy as np

from deepvis.core.geometry import Box, contains, resize_for_screen
from deepvis.interface.state import Hover, State
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.pane import number
from deepvis.render.scene import Scene
from deepvis.synthesis import recipe_grid
from deepvis.synthesis.recipe_grid import SIDE

_HINT = "click the best: the grid narrows around it"


def grid_chips(state: State) -> tuple[Chip, ...]:
    """The commands of the recipe grid."""
    back = Chip("back", "desk_back", "back to the grid before")
    return (
        Chip("‹ close grid", "desk", "close the recipe grid"),
        *([back] if len(state.recipe_grids) > 1 else []),
        Chip("other settings", "desk_settings", "vary two other settings", apart=True),
        Chip("other seed", "desk_seed", "the same settings with another seed"),
        Chip(state.preset, "preset", "start anew from the next recipe"),
        Chip("save", "keep", "save the chosen settings as a recipe", apart=True),
    )


def _words_height(scale: float) -> int:
    """Height of a tile's line of text, in pixels."""
    return text.line_height(max(1, round(11 * scale))) + max(1, round(3 * scale))


def tile_boxes(width: int, height: int, scale: float) -> list[Box]:
    """The boxes of the tiles, each with its line of text, in a pane of that size below its title."""
    foot = _words_height(scale * 12 / 11)
    h = max(1, (height - foot) // SIDE)
    w = max(1, min(width // SIDE, max(h, round(190 * scale))))  # so wide that the words fit
    left = (width - SIDE * w) // 2
    return [(left + column * w, row * h, w, h) for row in range(SIDE) for column in range(SIDE)]


def tile_at(x: int, y: int, width: int, height: int, scale: float) -> int | None:
    """The tile under a point of the pane (below its title), None if there is none."""
    hit = [i for i, box in enumerate(tile_boxes(width, height, scale)) if contains(box, x, y)]
    return hit[0] if hit else None


def recipe_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    """The tile under a point of the pane's body; None if there is none."""
    tile = tile_at(x, y, body.width, body.height, body.scale)
    return None if tile is None else Hover(scene.state.layer, scene.state.unit, tile=tile)


def draw_recipe_grid(canvas: Canvas, scene: Scene) -> None:
    """Draw the current recipe grid, with its images as far as they have grown."""
    shown, grown = scene.state.recipe_grids[-1], scene.own_recipe_grid
    table = recipe_grid.table(shown)
    name = " ".join(filter(None, (scene.unit, scene.layer.label(scene.state.unit))))
    title = f"recipe grid   {shown.preset}, seed {shown.seed}   → {table.across.words}   ↓ {table.down.words}   {name}"
    steps = f"step {grown.steps} of {table.recipes[0].steps}" if grown and grown.images else "making the first images …"
    body = canvas.caption(title, "" if grown and grown.error else steps)
    if grown and grown.error:
        body.words(grown.error, size=15)
        return
    hovered = scene.hover.tile if isinstance(scene.hover, Hover) else None
    best = int(np.nanargmax(grown.scores)) if grown and np.isfinite(grown.scores).any() else None
    for tile, box in enumerate(tile_boxes(body.width, body.height, body.scale)):
        cell = body.part(box)
        image = grown.images[tile] if grown and grown.images else None
        frame = _put(cell, image)
        if tile == hovered:
            cell.frame(frame, cell.theme.pointed)
        if tile == table.chosen:
            cell.frame(frame, cell.theme.accent, 2)
        if grown and tile == best:
            _badge(cell.part(frame), "best", number(grown.scores[tile]))
        _label(cell, recipe_grid.tile_text(table, tile), tile == table.chosen)
    size = body.px(12)
    hint = text.shorten(_HINT, body.width - body.px(12), size)
    y = body.height - text.line_height(size) - body.px(1)
    text.put(body.image, hint, (body.width - text.width(hint, size)) // 2, y, size, body.theme.dim)


def _put(cell: Canvas, image: np.ndarray | None) -> Box:
    """Draw the image (uint8 RGB) in the middle above the text, or a dark square; return the box around it."""
    room_width, room_height = (
        max(1, cell.width - cell.px(6)),
        max(1, cell.height - _words_height(cell.scale) - cell.px(4)),
    )
    height, width = image.shape[:2] if image is not None else (1, 1)
    factor = min(room_width / width, room_height / height)
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    left, top = (cell.width - w) // 2, cell.px(2) + (room_height - h) // 2
    if image is None:
        cell.bar((left, top, w, h), cell.theme.panel)
    else:
        part = cell.image[top : top + h, left : left + w]
        part[:] = cv2.cvtColor(resize_for_screen(image, w, h), cv2.COLOR_RGB2BGR)[: part.shape[0], : part.shape[1]]
    edge = cell.px(2)
    return left - edge, top - edge, w + 2 * edge, h + 2 * edge


def _badge(tile: Canvas, word: str, score: str) -> None:
    """Mark the image with the highest score, in its corner; without the score if there is no room for it."""
    size, inset = tile.px(11), tile.px(2)
    words = f"{word} {score}"
    if text.width(words, size, 600) + tile.px(12) > tile.width:
        words = text.shorten(word, tile.width - tile.px(12), size, 600)
    width, height = text.width(words, size, 600) + tile.px(8), text.line_height(size)
    tile.bar((inset, inset, width, height), tile.theme.ground)
    text.put(tile.image, words, inset + tile.px(4), inset, size, tile.theme.good, 600)


def _label(cell: Canvas, words: str, chosen: bool) -> None:
    """Write the tile's settings below its image."""
    size, weight = cell.px(11), 600 if chosen else 400
    words = text.shorten(words, cell.width - cell.px(4), size, weight)
    x = (cell.width - text.width(words, size, weight)) // 2
    y = cell.height - _words_height(cell.scale)
    text.put(cell.image, words, x, y, size, cell.theme.accent if chosen else cell.theme.text, weight)


def tile_words(scene: Scene, tile: int) -> str:
    """The score and all settings of a tile, for the status bar."""
    grown = scene.own_recipe_grid
    score = f"score {number(grown.scores[tile])}   " if grown and grown.scores else ""
    return score + recipe_grid.full_text(recipe_grid.table(scene.state.recipe_grids[-1]), tile)
