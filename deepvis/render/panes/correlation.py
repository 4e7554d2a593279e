"""The correlation of a layer's units in the layer pane."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.geometry import Box, resize
from deepvis.core.layers import unit_id
from deepvis.interface.state import GAMMAS, Hover
from deepvis.interface.unit_grid import PaneView, make_grid
from deepvis.render import colors, text
from deepvis.render.colors import Theme
from deepvis.render.draw import Canvas, fill, paste
from deepvis.render.palettes import Color, Palette
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import say_why, statistics_key, statistics_ready
from deepvis.render.panes.legend import legend_of
from deepvis.render.panes.pane import number, why_no_index
from deepvis.render.scene import Matrix, Scene

_WITHOUT = "The index has no correlations: it was made with --no-correlation. Remove it and scan without it."


def _draw_correlation(canvas: Canvas, scene: Scene) -> None:
    """Draw the correlation matrix of the layer's units; when zoomed, the selected unit's strongest correlations."""
    statistics, matrix = scene.own_statistics, scene.own_matrix
    title = f"{scene.layer.name}   correlation{', sorted' if scene.state.shown.is_sorted else ''}"
    if statistics is None or matrix is None:
        is_known = statistics is not None and (statistics.note or statistics.correlation is None)
        why = why_no_index(scene, (statistics.note or _WITHOUT) if statistics is not None and is_known else None)
        say_why(canvas.caption(title), "Here the matrix shows which units are active on the same images.", why)
        return
    if scene.state.zoom == "unit":
        right = f"correlation over {statistics.images:,} images"
        draw_partners(canvas.caption(f"{scene.unit}   goes most with", right), scene, matrix)
        return
    most = brightest(matrix)
    legend = legend_of(-most, most, True, GAMMAS[scene.state.gamma], canvas.palette)
    body = canvas.caption(title, nearest_words(scene, matrix), legend=legend)
    draw_matrix(body, scene, matrix)


def matrix_box(width: int, height: int, view: PaneView) -> Box:
    """The box of the correlation matrix in a pane of that size; parts of it may lie outside the pane."""
    return make_grid(1, 1, 1, width, height, view).box(0)


def pair_at(x: int, y: int, width: int, height: int, matrix: Matrix, view: PaneView) -> tuple[int, int] | None:
    """The row's unit and the column's unit under a point of the pane; None outside the matrix."""
    left, top, side, _ = matrix_box(width, height, view)
    order = matrix.order
    column, row = (x - left) * len(order) // side, (y - top) * len(order) // side
    inside = 0 <= column < len(order) and 0 <= row < len(order)
    return (int(order[row]), int(order[column])) if inside else None


def nearest_words(scene: Scene, matrix: Matrix) -> str:
    """A sentence that names the unit with the highest correlation with the selected one."""
    layer, unit = scene.layer, scene.state.unit
    others = matrix.correlation[unit].copy()
    others[unit] = -np.inf
    if len(others) < 2:
        return ""
    best = int(others.argmax())
    name, other = (layer.label(u) or str(u) for u in (unit, best))
    if others[best] <= 0:
        return f"{name} goes with no other"
    return f"{name} goes most with {other} ({number(float(others[best]))})"


def draw_partners(canvas: Canvas, scene: Scene, matrix: Matrix) -> None:
    """Draw the selected unit's strongest correlations as bars in the colours of signed values."""
    layer, row = scene.layer, matrix.correlation[scene.state.unit]
    size, margin = canvas.px(13), canvas.px(14)
    line = text.line_height(size) + canvas.px(6)
    order = np.argsort(-np.abs(row), kind="stable")
    order = order[order != scene.state.unit][: max(1, (canvas.height - 2 * margin) // line)]
    names = [" ".join(filter(None, (unit_id(layer.name, int(u)), layer.label(int(u))))) for u in order]
    wide = min(canvas.width // 2, max((text.width(name, size) for name in names), default=0))
    said = text.width("−0.00", size)
    room = max(1, canvas.width - wide - said - 4 * margin)
    longest = max((abs(float(row[u])) for u in order), default=0) or 1.0
    for i, (unit, name) in enumerate(zip(order, names, strict=True)):
        r, y = float(row[unit]), margin + i * line
        text.put(canvas.image, text.shorten(name, wide, size), margin, y, size, canvas.theme.text)
        length = max(1, round(abs(r) / longest * room))
        canvas.bar(
            (2 * margin + wide, y, length, line - canvas.px(4)),
            canvas.palette.color(0.6 if r >= 0 else -0.6),
        )
        text.put(canvas.image, number(r), 3 * margin + wide + length, y, size, canvas.theme.dim)


@lru_cache(maxsize=4)
def brightest(matrix: Matrix) -> float:
    """The correlation that is shown at full brightness; 0.2 % of the pairs of units exceed it."""
    few = np.abs(matrix.correlation[np.triu_indices(len(matrix.correlation), 1)])[::7]
    return max(0.1, round(float(np.quantile(few, 0.998)), 2)) if len(few) else 1.0


def draw_matrix(canvas: Canvas, scene: Scene, matrix: Matrix) -> None:
    """Draw the correlation matrix; mark the selected unit's row and column and the pair under the mouse."""
    state = scene.state
    size, gamma = (canvas.width, canvas.height), GAMMAS[state.gamma]
    canvas.image[:] = _seen(matrix, state.view, *size, gamma, canvas.theme, canvas.palette)
    left, top, side, _ = matrix_box(canvas.width, canvas.height, state.view)
    place = np.argsort(matrix.order)  # the inverse of the permutation

    def begin(unit: int) -> int:
        return int(place[unit]) * side // len(place)

    def extent(unit: int) -> int:
        return max(1, (int(place[unit]) + 1) * side // len(place) - begin(unit))

    strong = canvas.theme.accent if state.in_channels else canvas.theme.faint_accent
    wide = extent(state.unit)
    around = (
        (begin(state.unit) - 1, wide + 2) if wide > 2 else (begin(state.unit), 1)
    )  # around the row, or over it if it is too thin
    _outline(canvas, (left - 1, top + around[0], side + 2, around[1]), strong)
    _outline(canvas, (left + around[0], top - 1, around[1], side + 2), strong)
    hover = scene.hover
    if isinstance(hover, Hover) and hover.unit is not None and hover.other is not None:
        row, column = hover.unit, hover.other
        _outline(
            canvas,
            (left + begin(column) - 2, top + begin(row) - 2, extent(column) + 4, extent(row) + 4),
            canvas.theme.on_accent,
        )
        _outline(
            canvas,
            (left + begin(column) - 1, top + begin(row) - 1, extent(column) + 2, extent(row) + 2),
            canvas.theme.pointed,
        )


def _outline(canvas: Canvas, box: Box, color: Color) -> None:
    left, top, width, height = box
    cv2.rectangle(canvas.image, (left, top), (left + width - 1, top + height - 1), color, 1)


@lru_cache(maxsize=2)
def _seen(
    matrix: Matrix, view: PaneView, width: int, height: int, gamma: float, theme: Theme, palette: Palette
) -> np.ndarray:
    """The picture of the matrix's visible part, cached while only the marks move. Do not write to it."""
    picture = np.empty((height, width, 3), np.uint8)
    fill(picture, theme.ground)
    left, top, side, _ = matrix_box(width, height, view)
    order, n = matrix.order, len(matrix.order)
    rows, columns = (
        range(max(0, -start * n // side), min(n, -(-(room - start) * n // side)))
        for start, room in ((top, height), (left, width))
    )
    seen = matrix.correlation[np.ix_(order[rows.start : rows.stop], order[columns.start : columns.stop])]
    painted = colors.paint(colors.to_levels(seen / brightest(matrix), True, gamma), True, palette)
    x0, y0 = left + columns.start * side // n, top + rows.start * side // n
    w, h = left + columns.stop * side // n - x0, top + rows.stop * side // n - y0
    if w >= len(columns) and h >= len(rows):
        grown = cv2.resize(painted, (max(1, w), max(1, h)), interpolation=cv2.INTER_NEAREST_EXACT)
    else:
        grown = resize(painted, max(1, w), max(1, h))
    paste(picture, grown, x0, y0)
    return picture


def _pair_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    matrix = scene.own_matrix
    pair = pair_at(x, y, body.width, body.height, matrix, scene.state.view) if matrix is not None else None
    return Hover(scene.state.layer, *pair) if pair else None


CORRELATION = BigView(_draw_correlation, statistics_ready, statistics_key, at=_pair_at)
