"""What a scan found out about the units of a layer: their histograms, and how they go together."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.geometry import Box, resize
from deepvis.core.layers import unit_id
from deepvis.interface.state import GAMMAS, Hover, State
from deepvis.interface.unit_grid import Grid, PaneView, make_grid
from deepvis.render import colors, text
from deepvis.render.draw import Canvas, fill
from deepvis.render.mosaic import line_width
from deepvis.render.panes.pane import number
from deepvis.render.scene import Scene
from deepvis.scan.results import Statistics

BARS = (208, 204, 200)
DEAD, ALWAYS = colors.BAD, colors.FROZEN


# ---- histograms ---------------------------------------------------------------------------------


def histogram_words(statistics: Statistics) -> str:
    """How many units are never active and how many always, with the colours that they have."""
    dead, always = int(statistics.dead.sum()), int(statistics.always.sum())
    return "   ".join(
        [f"red: {dead:,} dead" if dead else "none dead", *([f"blue: {always:,} always on"] if always else [])]
    )


def draw_histograms(canvas: Canvas, scene: Scene, grid: Grid) -> None:
    """Each unit's histogram in its cell, and where in it the picture that is shown lies."""
    statistics = scene.own_statistics
    canvas.image[:] = _histograms(statistics, grid, canvas.width, canvas.height)
    if not scene.shows_layer:
        return
    line = line_width(grid)
    thick = 1 if grid.cell_width < canvas.px(40) else canvas.px(2)
    now = _at(statistics, colors.finite(scene.result.activations).max(axis=(1, 2)))
    seen = np.array([u for u in grid.units if _is_seen(grid.box(u), canvas.width, canvas.height)], int)
    row, column = np.divmod(seen - grid.first, grid.columns)
    left = grid.left + column * grid.cell_width + (now[seen] * (grid.cell_width - line - thick)).astype(int)
    ys = (grid.top + row * grid.cell_height)[:, None, None] + np.arange(grid.cell_height - line)[:, None]
    ys, xs = np.broadcast_arrays(ys, left[:, None, None] + np.arange(thick))
    inside = (ys >= 0) & (ys < canvas.height) & (xs >= 0) & (xs < canvas.width)
    canvas.image[ys[inside], xs[inside]] = colors.ACCENT  # all at once: a call for each takes ten times as long


def draw_histogram(canvas: Canvas, scene: Scene) -> None:
    """The selected unit's histogram, as large as the pane, with its axis."""
    s, unit = scene.own_statistics, scene.state.unit
    size, margin = canvas.px(12), canvas.px(14)
    line = text.line_height(size)
    words = [f"mean {number(float(s.mean[unit]))}", f"deviation {number(float(s.deviation[unit]))}",
             f"above 0 in {int(s.active[unit]):,} of {s.images:,} images"]  # fmt: skip
    marks = [(float(s.low[unit]), colors.DIM), (float(s.high[unit]), colors.DIM)]
    body = canvas.part(
        (margin, margin + line, canvas.width - 2 * margin, max(1, canvas.height - 2 * margin - 3 * line))
    )
    _draw_bars(body.image, _levels(s.counts[unit : unit + 1], body.width, body.height)[0], _ink(s, unit))
    span = max(s.high[unit] - s.low[unit], 1e-30)
    if s.low[unit] < 0 < s.high[unit]:
        marks.append((0.0, colors.DIM))
    if scene.shows_layer:
        marks.append((float(colors.finite(scene.channel).max()), colors.ACCENT))
    bottom = margin + line + body.height
    for value, ink in marks:
        x = int(min(max((value - s.low[unit]) / span, 0), 1) * (body.width - 1))
        said = number(value) if ink == colors.DIM else f"now {number(value)}"
        if ink == colors.ACCENT or value == 0:
            _clipped(body.image, x, 0, canvas.px(2) if ink == colors.ACCENT else 1, body.height, ink)
        at = min(
            max(canvas.px(2), margin + x - text.width(said, size) // 2),
            canvas.width - text.width(said, size) - canvas.px(2),
        )
        text.put(canvas.image, said, at, bottom + (line if ink == colors.ACCENT else 0), size, ink)
    words = text.shorten("   ".join(words), canvas.width - 2 * margin, size)
    text.put(canvas.image, words, margin, margin // 2, size, colors.TEXT)


@lru_cache(maxsize=2)
def _histograms(statistics: Statistics, grid: Grid, width: int, height: int) -> np.ndarray:
    """All cells, kept while only marks move: not to be written to."""
    picture = np.empty((height, width, 3), np.uint8)
    fill(picture, colors.GROUND)
    line = line_width(grid)
    w, h = max(1, grid.cell_width - line), max(1, grid.cell_height - line)
    seen = [u for u in grid.units if _is_seen(grid.box(u), width, height)]
    zero = _at(statistics, np.zeros(len(statistics.dead)))
    cell = np.empty((h, w, 3), np.uint8)
    for unit, bars in zip(seen, _levels(statistics.counts[seen], w, h)):
        left, top, *_ = grid.box(unit)
        fill(cell, colors.PANEL)
        if 0 < zero[unit] < 1:
            _clipped(cell, int(zero[unit] * (w - 1)), 0, 1, h, colors.LINE)
        _draw_bars(cell, bars, _ink(statistics, unit))
        if statistics.dead[unit]:
            cv2.rectangle(cell, (0, 0), (w - 1, h - 1), DEAD, 1)
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + w), min(height, top + h)
        picture[y0:y1, x0:x1] = cell[y0 - top : y1 - top, x0 - left : x1 - left]
    return picture


def _is_seen(box: Box, width: int, height: int) -> bool:
    left, top, w, h = box
    return -w < left < width and -h < top < height


def _ink(statistics: Statistics, unit: int) -> text.Color:
    return DEAD if statistics.dead[unit] else ALWAYS if statistics.always[unit] else BARS


def _levels(counts: np.ndarray, width: int, height: int) -> np.ndarray:
    """Heights of the bars for each column of pixels (int, n×width): logarithmic, a filled bin is never of height 0."""
    logs = np.log1p(counts)
    highest = np.maximum(logs.max(axis=1, keepdims=True), 1e-30)
    tall = np.where(counts > 0.01, np.ceil(logs / highest * (height - 1)), 0).astype(int)
    return tall[:, np.arange(width) * counts.shape[1] // width]


def _draw_bars(image: np.ndarray, tall: np.ndarray, ink: text.Color) -> None:
    """Columns of these heights, from the bottom up."""
    image[np.arange(len(image))[::-1, None] < tall[None]] = ink


def _at(statistics: Statistics, values: np.ndarray) -> np.ndarray:
    """Where each unit's value lies on the axis of its histogram, 0 … 1."""
    return np.clip((values - statistics.low) / np.maximum(statistics.high - statistics.low, 1e-30), 0, 1)


def _clipped(image: np.ndarray, left: int, top: int, width: int, height: int, color: text.Color) -> None:
    fill(image[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)], color)


# ---- correlation --------------------------------------------------------------------------------


def has_matrix(scene: Scene) -> bool:
    """The selected layer's correlations are there, in the order in which they are shown."""
    s = scene.own_statistics
    return (
        s is not None
        and s.correlation is not None
        and (s.order is not None or scene.state.content != "correlation, sorted")
    )


def matrix_box(width: int, height: int, view: PaneView) -> Box:
    """Where the square of units by units lies in a pane of that size; parts of it may lie outside."""
    return make_grid(1, 1, 1, width, height, view).box(0)


def matrix_order(statistics: Statistics, state: State) -> np.ndarray:
    """The units in the order of the rows."""
    return statistics.order if state.content == "correlation, sorted" else np.arange(len(statistics.correlation))


def pair_at(x: int, y: int, width: int, height: int, statistics: Statistics, state: State) -> tuple[int, int] | None:
    """The units of the row and of the column under a point of the pane."""
    left, top, side, _ = matrix_box(width, height, state.view)
    order = matrix_order(statistics, state)
    column, row = (x - left) * len(order) // side, (y - top) * len(order) // side
    inside = 0 <= column < len(order) and 0 <= row < len(order)
    return (int(order[row]), int(order[column])) if inside else None


def nearest_words(scene: Scene) -> str:
    """Which unit the selected one goes together with most."""
    layer, unit = scene.layer, scene.state.unit
    others = scene.own_statistics.correlation[unit].copy()
    others[unit] = -np.inf
    if len(others) < 2:
        return ""
    best = int(others.argmax())
    name = lambda u: layer.label(u) or str(u)  # noqa: E731
    if others[best] <= 0:
        return f"{name(unit)} goes with no other"
    return f"{name(unit)} goes most with {name(best)} ({number(float(others[best]))})"


def draw_partners(canvas: Canvas, scene: Scene) -> None:
    """The units that the selected one goes together with most, or least, as bars: white the same way, blue the other way."""
    layer, row = scene.layer, scene.own_statistics.correlation[scene.state.unit]
    size, margin = canvas.px(13), canvas.px(14)
    line = text.line_height(size) + canvas.px(6)
    order = np.argsort(-np.abs(row), kind="stable")
    order = order[order != scene.state.unit][: max(1, (canvas.height - 2 * margin) // line)]
    names = [" ".join(filter(None, (unit_id(layer.name, int(u)), layer.label(int(u))))) for u in order]
    wide = min(canvas.width // 2, max((text.width(name, size) for name in names), default=0))
    said = text.width("−0.00", size)
    room = max(1, canvas.width - wide - said - 4 * margin)
    longest = max((abs(float(row[u])) for u in order), default=0) or 1.0
    for i, (unit, name) in enumerate(zip(order, names)):
        r, y = float(row[unit]), margin + i * line
        text.put(canvas.image, text.shorten(name, wide, size), margin, y, size, colors.TEXT)
        length = max(1, round(abs(r) / longest * room))
        canvas.bar((2 * margin + wide, y, length, line - canvas.px(4)), BARS if r >= 0 else (255, 130, 40))
        text.put(canvas.image, number(r), 3 * margin + wide + length, y, size, colors.DIM)


@lru_cache(maxsize=4)
def brightest(statistics: Statistics) -> float:
    """The correlation that is shown at full brightness: few pairs of units have more."""
    few = np.abs(statistics.correlation[np.triu_indices(len(statistics.correlation), 1)])[::7]
    return max(0.1, round(float(np.quantile(few, 0.998)), 2)) if len(few) else 1.0


def draw_matrix(canvas: Canvas, scene: Scene) -> None:
    """Units by units, with the selected one's row and column and what is pointed at marked."""
    state, statistics = scene.state, scene.own_statistics
    is_sorted = state.content == "correlation, sorted"
    canvas.image[:] = _matrix(statistics, is_sorted, state.view, canvas.width, canvas.height, GAMMAS[state.gamma])
    left, top, side, _ = matrix_box(canvas.width, canvas.height, state.view)
    place = np.empty(len(statistics.correlation), int)
    place[matrix_order(statistics, state)] = np.arange(len(place))
    begin = lambda unit: place[unit] * side // len(place)  # noqa: E731
    extent = lambda unit: max(1, (place[unit] + 1) * side // len(place) - begin(unit))  # noqa: E731
    strong = colors.ACCENT if state.in_channels else (60, 130, 175)
    wide = extent(state.unit)
    around = (
        (begin(state.unit) - 1, wide + 2) if wide > 2 else (begin(state.unit), 1)
    )  # beside it, or over what is too thin to be seen
    _outline(canvas, (left - 1, top + around[0], side + 2, around[1]), strong)
    _outline(canvas, (left + around[0], top - 1, around[1], side + 2), strong)
    hover = scene.hover
    if isinstance(hover, Hover) and hover.layer == state.layer and hover.other is not None:
        row, column = hover.unit, hover.other
        _outline(
            canvas, (left + begin(column) - 2, top + begin(row) - 2, extent(column) + 4, extent(row) + 4), (20, 20, 20)
        )
        _outline(
            canvas,
            (left + begin(column) - 1, top + begin(row) - 1, extent(column) + 2, extent(row) + 2),
            (235, 235, 235),
        )


def _outline(canvas: Canvas, box: Box, color: text.Color) -> None:
    left, top, width, height = box
    cv2.rectangle(canvas.image, (left, top), (left + width - 1, top + height - 1), color, 1)


@lru_cache(maxsize=2)
def _matrix(
    statistics: Statistics, is_sorted: bool, view: PaneView, width: int, height: int, gamma: float
) -> np.ndarray:
    """The seen part of the matrix, kept while only marks move: not to be written to."""
    picture = np.empty((height, width, 3), np.uint8)
    fill(picture, colors.GROUND)
    left, top, side, _ = matrix_box(width, height, view)
    matrix = statistics.correlation
    n = len(matrix)
    rows, columns = (
        range(max(0, -start * n // side), min(n, -(-(room - start) * n // side)))
        for start, room in ((top, height), (left, width))
    )
    order = statistics.order if is_sorted else np.arange(n)
    seen = matrix[np.ix_(order[rows.start : rows.stop], order[columns.start : columns.stop])]
    painted = colors.paint(colors.to_levels(seen / brightest(statistics), True, gamma), True)
    x0, y0 = left + columns.start * side // n, top + rows.start * side // n
    w, h = left + columns.stop * side // n - x0, top + rows.stop * side // n - y0
    if w >= len(columns) and h >= len(rows):
        grown = cv2.resize(painted, (max(1, w), max(1, h)), interpolation=cv2.INTER_NEAREST)
    else:
        grown = resize(painted, max(1, w), max(1, h))
    cut = grown[max(0, -y0) : height - y0, max(0, -x0) : width - x0]
    picture[max(0, y0) : max(0, y0) + cut.shape[0], max(0, x0) : max(0, x0) + cut.shape[1]] = cut
    return picture
