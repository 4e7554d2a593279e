"""The layer list: the layers' names in network order."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.geometry import Box, contains
from deepvis.interface.state import Hover, Target
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Key, Pane
from deepvis.render.scene import LoadingScene, Scene


@lru_cache(maxsize=64)
def layer_boxes(names: tuple[str, ...], current: int, width: int, height: int, scale: float) -> tuple[Box | None, ...]:
    """The box of each layer's name in the layer list; None if it is scrolled out of sight."""

    def px(size: float) -> int:
        return max(1, round(size * scale))

    size, row_height, gap = px(13), px(25), px(3)
    x, row = px(4), 0
    places: list[tuple[int, int, int]] = []
    for name in names:
        w = max(text.width(name, size) + px(16), text.width(name, size, 600) + px(10))  # the current one is bold
        w = min(w, width - px(20))
        if x + w > width - px(16) and x > px(4):  # the arrows stand at the right
            x, row = px(4), row + 1
        places.append((x, row, w))
        x += w + gap
    visible = max(1, height // row_height)
    rows = row + 1
    first = min(max(0, places[current][1] - visible // 2), max(0, rows - visible))
    top = max(0, (height - min(rows, visible) * row_height) // 2)
    return tuple(
        (x, top + (row - first) * row_height + px(2), w, row_height - px(4)) if first <= row < first + visible else None
        for x, row, w in places
    )


def _layers_key(scene: Scene) -> Key:
    s = scene.state
    return (id(scene.layers), s.layer, s.in_channels, s.origin, _hovered(scene))


def _hovered(scene: Scene) -> int | None:
    """The layer whose name the mouse points at."""
    return scene.hover.layer if isinstance(scene.hover, Hover) and scene.hover.unit is None else None


def _draw_loading(canvas: Canvas, _scene: LoadingScene) -> None:
    canvas.fill()
    low = canvas.height < canvas.px_caption + canvas.px(18)
    (canvas if low else canvas.caption("layers")).words("layers" if low else "in network order, once it is loaded")


def _boxes(canvas: Canvas, scene: Scene) -> tuple[Box | None, ...]:
    names = tuple(layer.name for layer in scene.layers)
    return layer_boxes(names, scene.state.layer, canvas.width, canvas.height, canvas.scale)


def _layer_at(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    hit = [i for i, b in enumerate(_boxes(canvas, scene)) if b and contains(b, x, y)]
    return Hover(hit[0]) if hit else None


def draw_layers(canvas: Canvas, scene: Scene) -> None:
    """Draw the layers' names in network order; the current one is marked, brightly if the cursor is in the list."""
    canvas.fill()
    state, hovered, size = scene.state, _hovered(scene), canvas.px(13)
    boxes = _boxes(canvas, scene)
    _draw_arrows(canvas, above=boxes[0] is None, below=boxes[-1] is None)
    for i, box in enumerate(boxes):
        if box is None:
            continue
        left, top, width, height = box
        current = i == state.layer
        fill = (
            (canvas.theme.accent if not state.in_channels else canvas.theme.faint_accent)
            if current
            else canvas.theme.panel
        )
        canvas.bar(box, fill)
        ink = canvas.theme.on_accent if current and not state.in_channels else canvas.theme.text
        weight = 600 if current else 400
        name = text.shorten(scene.layers[i].name, width - canvas.px(8), size, weight)
        text.put(canvas.image, name, left + canvas.px(8), top + canvas.px(1), size, ink, weight)
        if state.origin and state.origin[0] == i:
            canvas.frame(box, canvas.theme.frozen, 2)
        elif i == hovered:
            canvas.frame(box, canvas.theme.dim)


def _draw_arrows(canvas: Canvas, above: bool, below: bool) -> None:
    """Small triangles at the right say that there are more rows."""
    size, x = canvas.px(4), canvas.width - canvas.px(8)
    for there, tip, base in (
        (above, canvas.px(5), canvas.px(5) + size),
        (below, canvas.height - canvas.px(5), canvas.height - canvas.px(5) - size),
    ):
        if there:
            cv2.fillPoly(
                canvas.image, [np.array([(x - size, base), (x + size, base), (x, tip)])], canvas.theme.dim, cv2.LINE_AA
            )


LAYERS = Pane(draw_layers, _draw_loading, _layers_key, target=_layer_at)
