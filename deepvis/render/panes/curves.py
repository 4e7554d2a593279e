"""Which backward method is true? Deletion and insertion curves for the picture in view, in the big pane."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from deepvis.attribution.methods import label
from deepvis.core.geometry import Box, contains
from deepvis.interface.state import Control, Target
from deepvis.render import text
from deepvis.render.colors import Theme
from deepvis.render.draw import Canvas
from deepvis.render.palettes import Color
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.pane import Key, why_not
from deepvis.render.scene import Scene
from deepvis.workers.picture_messages import RANDOM_BLOCKS, MethodCurve, MethodCurves

PLOTS = 0.44  # of the pane's height
_TITLES = {
    "deletion": "deletion   falling fast is good   the most relevant blocks are blurred first",
    "insertion": "insertion   rising fast is good   they appear first",
}
_SIZE, _MARGIN, _NAMES = 12, 12, 190  # of words; around plots; of the column of names; unscaled pixels


def _draw_curves(canvas: Canvas, scene: Scene) -> None:
    own, title = scene.own_curves, "which backward method is true?"
    if scene.curves_need_still:
        key = scene.keys.get("freeze", "").split()
        words = f"the curves take some seconds and need a still picture: {key[0] if key else 'freeze'} freezes it"
        canvas.caption(title).words(words, size=15)
        return
    if own is None or not own.curves:
        canvas.caption(title).words((own.note if own else "") or why_not(scene), size=15)
        return
    name = scene.classes[own.unit] if own.unit < len(scene.classes) else f"{own.layer}:{own.unit}"
    words = f"{title}   {name} {own.probability:.2f}   {own.wish.frame.name}"
    done = f"{len(own.curves) - 1} of {len(own.wish.methods)} methods"
    body = canvas.caption(words, "" if own.done else f"{done} …")
    plots, table = _parts(body)
    shown = _sorted(own)
    for plot, way in zip(plots, _TITLES):
        _draw_plot(body.part(plot), scene, own, way)
    _draw_table(body.part(table), scene, shown)


def _parts(body: Canvas) -> tuple[tuple[Box, Box], Box]:
    """The places of the two plots, and that of the table below them."""
    half, high = body.width // 2, round(body.height * PLOTS)
    return ((0, 0, half, high), (half, 0, body.width - half, high)), (0, high, body.width, body.height - high)


def _sorted(own: MethodCurves) -> list[MethodCurve]:
    """The methods, the best deletion first; those without curves last."""
    return sorted(own.curves, key=lambda one: (not one.deletion, one.areas[0]))


def _ink(canvas: Canvas, scene: Scene, name: str) -> Color:
    if name == scene.state.method:
        return canvas.theme.accent
    if isinstance(scene.hover, Control) and scene.hover.call == f"method={name}":
        return canvas.theme.pointed
    return canvas.theme.bad if name == RANDOM_BLOCKS else canvas.theme.dim


def _draw_plot(canvas: Canvas, scene: Scene, own: MethodCurves, way: str) -> None:
    if canvas.width < 4 * canvas.px(_MARGIN) or canvas.height < 4 * canvas.px(_SIZE) + 2 * canvas.px(_MARGIN):
        return
    canvas.image[:] = _plain_plot(own, way, canvas.width, canvas.height, canvas.scale, canvas.theme)
    box, most = _axes(canvas), _most(own, way)
    for one in own.curves:
        if (ink := _ink(canvas, scene, one.name)) != canvas.theme.dim and getattr(one, way):
            _polyline(canvas, box, getattr(one, way), most, ink, canvas.px(2))


def _axes(canvas: Canvas) -> Box:
    """Where the curves of a plot lie."""
    size, margin = canvas.px(_SIZE), canvas.px(_MARGIN)
    line, left = text.line_height(size), margin + text.width("0.00", size) + canvas.px(4)
    return left, margin // 2 + line + canvas.px(4), canvas.width - left - margin, canvas.height - 2 * line - 2 * margin


def _most(own: MethodCurves, way: str) -> float:
    return max(0.01, *(max(getattr(one, way), default=0.0) for one in own.curves))


@lru_cache(maxsize=4)
def _plain_plot(own: MethodCurves, way: str, width: int, height: int, scale: float, theme: Theme) -> np.ndarray:
    """A plot in which no method stands out, cached while the mouse moves. Do not write to it."""
    canvas = Canvas(np.empty((height, width, 3), np.uint8), scale, theme)
    canvas.fill()
    size, margin, most = canvas.px(_SIZE), canvas.px(_MARGIN), _most(own, way)
    title = text.fitting_parts(_TITLES[way], width - 2 * margin, size)
    text.put(canvas.image, title, margin, margin // 2, size, theme.soft)
    box = x, top, wide, high = _axes(canvas)
    canvas.bar(box, theme.panel)
    for share in (0.0, 0.5, 1.0):
        y, words = top + round((1 - share) * (high - 1)), f"{share * most:.2f}"
        canvas.bar((x, y, wide, 1), theme.line)
        left = x - text.width(words, size) - canvas.px(4)
        text.put(canvas.image, words, left, y - text.line_height(size) // 2, size, theme.dim)
    for share, words in ((0.0, "0"), (0.5, "half of the blocks"), (1.0, "all")):
        at = x + round(share * (wide - text.width(words, size)))
        text.put(canvas.image, words, at, top + high + canvas.px(2), size, theme.dim)
    for one in own.curves:
        if values := getattr(one, way):
            _polyline(canvas, box, values, most, theme.dim, 1)
    return canvas.image


def _polyline(canvas: Canvas, box: Box, values: Sequence[float], most: float, ink: Color, thick: int) -> None:
    left, top, width, height = box
    across = left + np.linspace(0, width - 1, len(values))
    down = top + (1 - np.array(values) / most) * (height - 1)
    points = np.round(np.stack([across, down], 1)).astype(np.int32)
    cv2.polylines(canvas.image, [points], False, ink, thick, cv2.LINE_AA)


def _rows(table: Canvas, count: int) -> list[Box]:
    margin, head = table.px(_MARGIN), text.line_height(table.px(_SIZE)) + table.px(4)
    height = max(1, min(table.px(26), (table.height - head - margin) // max(1, count)))
    return [(margin, head + i * height, max(1, table.width - 2 * margin), height) for i in range(count)]


def _columns(table: Canvas, row: Box) -> tuple[int, int, int]:
    """Where the two columns of bars begin, and their width."""
    first = row[0] + min(table.px(_NAMES), row[2] // 3)
    wide = max(1, (row[0] + row[2] - first) // 2)
    return first, first + wide, wide


def _draw_table(table: Canvas, scene: Scene, shown: Sequence[MethodCurve]) -> None:
    """A line for each method: its name, and the mean probability on both ways as bars."""
    rows = _rows(table, len(shown))
    first, second, wide = _columns(table, rows[0])
    size = table.px(_SIZE)
    for x, words in ((rows[0][0], "method"), (first, "deletion (low is good)"), (second, "insertion (high is good)")):
        text.put(table.image, text.shorten(words, wide, size), x, 0, size, table.theme.dim)
    most = max(0.01, *(max(one.areas) for one in shown if one.deletion))
    for one, row in zip(shown, rows):
        _draw_row(table, scene, one, row, most)


def _draw_row(table: Canvas, scene: Scene, one: MethodCurve, row: Box, most: float) -> None:
    left, top, width, height = row
    first, second, wide = _columns(table, row)
    size = min(table.px(_SIZE), max(table.px(8), height - table.px(2)))
    middle, ink = top + max(0, height - text.line_height(size)) // 2, _ink(table, scene, one.name)
    doubt = " ?" if one.name in scene.doubts else ""
    words = "blocks in a random order" if one.name == RANDOM_BLOCKS else f"{label(one.name)}{doubt}"
    text.put(table.image, text.shorten(words, first - left - table.px(6), size), left, middle, size,
             table.theme.text if ink == table.theme.dim else ink)  # fmt: skip
    if not one.deletion:
        text.put(table.image, text.shorten(one.note, 2 * wide, size), first, middle, size, table.theme.dim)
        return
    for x, value in zip((first, second), one.areas):
        room = wide - text.width("0.000", size) - table.px(20)
        length = max(1, round(value / most * room))
        thick = max(1, height // 2)
        table.bar((x, top + (height - thick) // 2, length, thick), table.theme.bars if ink == table.theme.dim else ink)
        text.put(table.image, f"{value:.3f}", x + length + table.px(6), middle, size, table.theme.soft)


def _at(body: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The method whose line is under a point; a click shows it."""
    own = scene.own_curves
    if own is None or not own.curves or scene.curves_need_still:
        return None
    _, (left, top, width, height) = _parts(body)
    shown = _sorted(own)
    for one, row in zip(shown, _rows(body.part((left, top, width, height)), len(shown))):
        if one.name != RANDOM_BLOCKS and contains(row, x - left, y - top):
            return Control(f"method={one.name}", f"backward: {label(one.name)}")
    return None


def _key(scene: Scene) -> Key:
    hover = scene.hover if isinstance(scene.hover, Control) and scene.hover.call.startswith("method=") else None
    return id(scene.own_curves), scene.curves_need_still, hover, id(scene.doubts)


def curves_chips() -> tuple[Chip, ...]:
    """The way back."""
    return (Chip("‹ all units", "curves", "back to all units of the layer"),)


CURVES = BigView(_draw_curves, key=_key, at=_at)
