"""The layer list: the layers' names in network order. If they do not fit it is a tree of the names, folded up to the
selected layer, with a thin bar that says where in the network one is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.geometry import Box, contains
from deepvis.interface.layer_tree import Node, tree_rows
from deepvis.interface.state import Hover, Target
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Key, Pane
from deepvis.render.scene import LoadingScene, Scene

_SIZE, _ROW, _LOW_ROW, _BAR = 13, 25, 18, 4  # of names, of a row, of a row where there is little room, of the bar


def _px(size: float, scale: float) -> int:
    return max(1, round(size * scale))


def _flow(words: Sequence[str], width: int, scale: float) -> list[tuple[int, int, int]]:
    """(left, row, width) of names that are set one after the other like text."""
    size, gap, edge = _px(_SIZE, scale), _px(3, scale), _px(4, scale)
    x, row = edge, 0
    places = []
    for name in words:
        # The current one is bold.
        w = max(text.width(name, size) + _px(16, scale), text.width(name, size, 600) + _px(10, scale))
        w = min(w, width - _px(20, scale))
        if x + w > width - _px(16, scale) and x > edge:  # the arrows stand at the right
            x, row = edge, row + 1
        places.append((x, row, w))
        x += w + gap
    return places


@lru_cache(maxsize=64)
def layer_boxes(names: tuple[str, ...], current: int, width: int, height: int, scale: float) -> tuple[Box | None, ...]:
    """The box of each layer's name in the layer list; None if it is scrolled out of sight."""
    row_height = _px(_ROW, scale)
    places = _flow(names, width, scale)
    visible = max(1, height // row_height)
    rows = places[-1][1] + 1
    first = min(max(0, places[current][1] - visible // 2), max(0, rows - visible))
    top = max(0, (height - min(rows, visible) * row_height) // 2)
    edge = _px(2, scale)
    return tuple(
        (x, top + (row - first) * row_height + edge, w, row_height - 2 * edge)
        if first <= row < first + visible
        else None
        for x, row, w in places
    )


@lru_cache(maxsize=64)
def node_boxes(
    names: tuple[str, ...], at: int, width: int, height: int, scale: float
) -> tuple[tuple[Node, Box | None], ...]:
    """The nodes of the tree and their boxes, None if out of sight. The innermost group has the rows that are left."""
    row_height = _px(_ROW, scale) if height >= 2 * _px(_ROW, scale) else max(_px(_LOW_ROW, scale), height // 2)
    count = max(1, height // row_height)
    rows = tree_rows(names, at, count)
    boxes: list[tuple[Node, Box | None]] = []
    for level, row in enumerate(rows):
        places = _flow([_node_words(node) for node in row], width, scale)
        lines = 1 if level < len(rows) - 1 else count - level
        middle = max(i for i, node in enumerate(row) if node.has(at))  # a member stands behind its group
        first = min(max(0, places[middle][1] - lines // 2), max(0, places[-1][1] + 1 - lines))
        for node, (x, line, w) in zip(row, places):
            box = (x, (level + line - first) * row_height + 1, w, row_height - 2)
            boxes.append((node, box if first <= line < first + lines else None))
    return tuple(boxes)


def _node_words(node: Node) -> str:
    return f"{node.words} {'↓' if node.is_open else '›'}" if node.is_group else node.words


def _layers_key(scene: Scene) -> Key:
    s = scene.state
    return (id(scene.layers), s.layer, s.in_channels, s.origin, s.looked_at, _hovered(scene))


def _hovered(scene: Scene) -> int | None:
    """The layer whose name the mouse points at."""
    return scene.hover.layer if isinstance(scene.hover, Hover) and scene.hover.unit is None else None


def _draw_loading(canvas: Canvas, _scene: LoadingScene) -> None:
    canvas.fill()
    low = canvas.height < canvas.px_caption + canvas.px(18)
    (canvas if low else canvas.caption("layers")).words("layers" if low else "in network order, once it is loaded")


def _names(scene: Scene) -> tuple[str, ...]:
    return tuple(layer.name for layer in scene.layers)


def _looked_at(scene: Scene) -> int:
    """The layer to keep in view: the selected one, or the one that the wheel has gone to."""
    at = scene.state.looked_at
    return scene.state.layer if at is None or at >= len(scene.layers) else at


def _boxes(canvas: Canvas, scene: Scene) -> tuple[tuple[Node, Box | None], ...]:
    """The layers and groups of layers in the list, and where they are."""
    names, at = _names(scene), _looked_at(scene)
    flat = layer_boxes(names, at, canvas.width, canvas.height, canvas.scale)
    if None in flat and any("." in name for name in names):
        return node_boxes(names, at, canvas.width, max(1, canvas.height - canvas.px(_BAR)), canvas.scale)
    return tuple((Node(name, i, i + 1, 1), box) for i, (name, box) in enumerate(zip(names, flat)))


def _is_whole(boxes: Sequence[tuple[Node, Box | None]]) -> bool:
    """Whether all layers are seen by themselves."""
    return all(box is not None and not node.is_group for node, box in boxes)


def _layer_at(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The layer under a point; of a group its first one, and in the bar the one that stands at this place."""
    boxes = _boxes(canvas, scene)
    if not _is_whole(boxes) and y >= canvas.height - canvas.px(_BAR):
        return Hover(min(len(scene.layers) - 1, x * len(scene.layers) // canvas.width))
    hit = [node for node, box in boxes if box and contains(box, x, y)]
    return Hover(hit[0].start) if hit else None


def draw_layers(canvas: Canvas, scene: Scene) -> None:
    """Draw the layers' names in network order; the current one is marked, brightly if the cursor is in the list."""
    canvas.fill()
    boxes = _boxes(canvas, scene)
    for node, box in boxes:
        if box is not None:
            _draw_node(canvas, scene, node, box)
    if _is_whole(boxes):
        return
    _draw_arrows(canvas, *_cut(boxes, _looked_at(scene)))
    _draw_position(canvas, scene)


def _cut(boxes: Sequence[tuple[Node, Box | None]], at: int) -> tuple[bool, bool]:
    """Whether names before and after the layer at position `at` are scrolled out of sight."""
    hidden = [node.start for node, box in boxes if box is None]
    return any(start < at for start in hidden), any(start > at for start in hidden)


def _draw_node(canvas: Canvas, scene: Scene, node: Node, box: Box) -> None:
    state, theme, size = scene.state, canvas.theme, canvas.px(_SIZE)
    left, top, width, height = box
    current, bright = node.has(state.layer), not state.in_channels
    if current and not node.is_group:
        fill, ink = theme.accent if bright else theme.faint_accent, theme.on_accent if bright else theme.text
    else:
        fill, ink = theme.line if node.is_open else theme.panel, theme.accent if current else theme.text
    canvas.bar(box, fill)
    weight = 600 if current else 400
    name = text.shorten(_node_words(node), width - canvas.px(8), size, weight)
    y = top + min(canvas.px(1), max(0, height - text.line_height(size)))
    text.put(canvas.image, name, left + canvas.px(8), y, size, ink, weight)
    if state.origin and node.has(state.origin[0]) and not node.is_open:
        canvas.frame(box, theme.frozen, 2)
    elif _hovered(scene) == node.start:
        canvas.frame(box, theme.dim)


def _draw_position(canvas: Canvas, scene: Scene) -> None:
    """The network as a thin bar, with the selected layer in it."""
    height, count = canvas.px(_BAR) - 1, len(scene.layers)
    top = canvas.height - height
    canvas.bar((0, top, canvas.width, height), canvas.theme.line)
    for layer, ink in ((_looked_at(scene), canvas.theme.dim), (scene.state.layer, canvas.theme.accent)):
        left = layer * canvas.width // count
        canvas.bar((left, top, max(canvas.px(4), canvas.width // count), height), ink)


def _draw_arrows(canvas: Canvas, above: bool, below: bool) -> None:
    """Small triangles at the right say that there are more rows."""
    size, x = canvas.px(4), canvas.width - canvas.px(8)
    for there, tip, base in (
        (above, canvas.px(5), canvas.px(5) + size),
        (below, canvas.height - canvas.px(8), canvas.height - canvas.px(8) - size),
    ):
        if there:
            cv2.fillPoly(
                canvas.image, [np.array([(x - size, base), (x + size, base), (x, tip)])], canvas.theme.dim, cv2.LINE_AA
            )


LAYERS = Pane(draw_layers, _draw_loading, _layers_key, target=_layer_at)
