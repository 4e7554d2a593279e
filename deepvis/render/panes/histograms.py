"""The histograms of a layer's units in the layer pane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.geometry import Box
from deepvis.interface.state import Hover
from deepvis.interface.unit_grid import Grid
from deepvis.render import colors, text
from deepvis.render.colors import Theme
from deepvis.render.draw import Canvas, fill, inside, paste
from deepvis.render.mosaic import line_width
from deepvis.render.palettes import Color
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import (
    draw_marks,
    layer_grid,
    page_text,
    say_why,
    statistics_key,
    statistics_ready,
    unit_at,
)
from deepvis.render.panes.pane import number, why_no_index
from deepvis.render.scene import Scene
from deepvis.scan.results import Statistics


@dataclass(frozen=True, eq=False)
class Histograms:
    """The statistics of a layer's units that the histograms need; see `Statistics` for the arrays."""

    images: int
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    active: np.ndarray
    dead: np.ndarray
    always: np.ndarray


@lru_cache(maxsize=4)
def _histograms_of(statistics: Statistics) -> Histograms | None:
    """The histograms in these statistics, as the same object each time, so that drawings are cached; None if none."""
    names = ("counts", "low", "high", "mean", "deviation", "active", "dead", "always")
    arrays = {name: getattr(statistics, name) for name in names}
    if statistics.note or any(array is None for array in arrays.values()):
        return None
    return Histograms(statistics.images, **arrays)


def _own(scene: Scene) -> Histograms | None:
    """The selected layer's histograms; None if there are none."""
    return None if scene.own_statistics is None else _histograms_of(scene.own_statistics)


def _draw_histograms(canvas: Canvas, scene: Scene) -> None:
    """Draw the histogram of each unit's maxima in its cell; when zoomed, the selected unit's alone."""
    known, zoomed = _own(scene), scene.state.zoom == "unit"
    title = f"{scene.unit if zoomed else scene.layer.name}   {'histogram' if zoomed else 'histograms'}"
    if known is None:
        why = why_no_index(scene, None if scene.own_statistics is None else scene.own_statistics.note)
        say_why(canvas.caption(title), "Here each cell shows a histogram of its unit's maxima.", why)
        return
    title = f"{title} of the maxima in {known.images:,} images   {'' if zoomed else page_text(canvas, scene)}"
    body = canvas.caption(title, "log scale" if zoomed else histogram_words(known))
    if zoomed:
        draw_histogram(body, scene, known)
        return
    grid = layer_grid(scene, body.width, body.height, body.scale)
    draw_histograms(body, scene, known, grid)
    draw_marks(body, scene, grid)


def histogram_words(known: Histograms) -> str:
    """How many units are dead (never active) and how many always on, with the colours of their histograms."""
    dead, always = int(known.dead.sum()), int(known.always.sum())
    return "   ".join(
        [f"red: {dead:,} dead" if dead else "none dead", *([f"blue: {always:,} always on"] if always else [])]
    )


def draw_histograms(canvas: Canvas, scene: Scene, known: Histograms, grid: Grid) -> None:
    """Draw each unit's histogram in its cell, and mark the unit's maximum in the current picture."""
    canvas.image[:] = _histograms(known, grid, canvas.width, canvas.height, canvas.theme)
    activations = scene.activations
    if activations is None:
        return
    line = line_width(grid)
    thick = 1 if grid.cell_width < canvas.px(40) else canvas.px(2)
    now = _at(known, colors.finite(activations).max(axis=(1, 2)))
    seen = np.array([u for u in grid.units if _is_seen(grid.box(u), canvas.width, canvas.height)], int)
    places = seen if grid.order is None else grid.order.places[seen]
    row, column = np.divmod(places - grid.first, grid.columns)
    left = grid.left + column * grid.cell_width + (now[seen] * (grid.cell_width - line - thick)).astype(int)
    ys = (grid.top + row * grid.cell_height)[:, None, None] + np.arange(grid.cell_height - line)[:, None]
    ys, xs = np.broadcast_arrays(ys, left[:, None, None] + np.arange(thick))
    inside = (ys >= 0) & (ys < canvas.height) & (xs >= 0) & (xs < canvas.width)
    canvas.image[ys[inside], xs[inside]] = (
        canvas.theme.accent
    )  # all units at once: a call for each takes ten times as long


def draw_histogram(canvas: Canvas, scene: Scene, known: Histograms) -> None:
    """Draw the selected unit's histogram with its axis, as large as the pane."""
    s, unit, channel = known, scene.state.unit, scene.channel
    size, margin = canvas.px(12), canvas.px(14)
    line = text.line_height(size)
    words = [
        f"mean {number(float(s.mean[unit]))}",
        f"deviation {number(float(s.deviation[unit]))}",
        f"above 0 in {int(s.active[unit]):,} of {s.images:,} images",
    ]
    marks = [(float(s.low[unit]), canvas.theme.dim), (float(s.high[unit]), canvas.theme.dim)]
    body = canvas.part(
        (margin, margin + line, canvas.width - 2 * margin, max(1, canvas.height - 2 * margin - 3 * line))
    )
    _draw_bars(body.image, _levels(s.counts[unit : unit + 1], body.width, body.height)[0], _ink(s, unit, canvas.theme))
    span = max(s.high[unit] - s.low[unit], 1e-30)
    if s.low[unit] < 0 < s.high[unit]:
        marks.append((0.0, canvas.theme.dim))
    if channel is not None:
        marks.append((float(colors.finite(channel).max()), canvas.theme.accent))
    bottom = margin + line + body.height
    for value, ink in marks:
        x = int(min(max((value - s.low[unit]) / span, 0), 1) * (body.width - 1))
        said = number(value) if ink == canvas.theme.dim else f"now {number(value)}"
        if ink == canvas.theme.accent or value == 0:
            body.bar((x, 0, canvas.px(2) if ink == canvas.theme.accent else 1, body.height), ink)
        at = min(
            max(canvas.px(2), margin + x - text.width(said, size) // 2),
            canvas.width - text.width(said, size) - canvas.px(2),
        )
        text.put(canvas.image, said, at, bottom + (line if ink == canvas.theme.accent else 0), size, ink)
    said = text.shorten("   ".join(words), canvas.width - 2 * margin, size)
    text.put(canvas.image, said, margin, margin // 2, size, canvas.theme.text)


@lru_cache(maxsize=2)
def _histograms(known: Histograms, grid: Grid, width: int, height: int, theme: Theme) -> np.ndarray:
    """The picture of all cells, cached while only the marks move. Do not write to it."""
    picture = np.empty((height, width, 3), np.uint8)
    fill(picture, theme.ground)
    line = line_width(grid)
    w, h = max(1, grid.cell_width - line), max(1, grid.cell_height - line)
    seen = [u for u in grid.units if _is_seen(grid.box(u), width, height)]
    zero = _at(known, np.zeros(len(known.dead)))
    cell = np.empty((h, w, 3), np.uint8)
    for unit, bars in zip(seen, _levels(known.counts[seen], w, h), strict=True):
        left, top, *_ = grid.box(unit)
        fill(cell, theme.panel)
        if 0 < zero[unit] < 1:
            fill(inside(cell, (int(zero[unit] * (w - 1)), 0, 1, h)), theme.line)
        _draw_bars(cell, bars, _ink(known, unit, theme))
        if known.dead[unit]:
            cv2.rectangle(cell, (0, 0), (w - 1, h - 1), theme.bad, 1)
        paste(picture, cell, left, top)
    return picture


def _is_seen(box: Box, width: int, height: int) -> bool:
    left, top, w, h = box
    return -w < left < width and -h < top < height


def _ink(known: Histograms, unit: int, theme: Theme) -> Color:
    return theme.bad if known.dead[unit] else theme.frozen if known.always[unit] else theme.bars


def _levels(counts: np.ndarray, width: int, height: int) -> np.ndarray:
    """Heights of the bars for each column of pixels (int, n×width), logarithmic; a bin that is not empty is seen."""
    logs = np.log1p(counts)
    highest = np.maximum(logs.max(axis=1, keepdims=True), 1e-30)
    tall = np.where(counts > 0.01, np.ceil(logs / highest * (height - 1)), 0).astype(int)
    return tall[:, np.arange(width) * counts.shape[1] // width]


def _draw_bars(image: np.ndarray, tall: np.ndarray, ink: Color) -> None:
    """Columns of these heights, from the bottom up."""
    image[np.arange(len(image))[::-1, None] < tall[None]] = ink


def _at(known: Histograms, values: np.ndarray) -> np.ndarray:
    """Where each unit's value lies on the axis of its histogram, 0 … 1."""
    span = np.maximum(known.high - known.low, 1e-30)
    places: np.ndarray = np.clip((values - known.low) / span, 0, 1)
    return places


def _histogram_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    return unit_at(body, scene, x, y) if _own(scene) is not None else None


HISTOGRAMS = BigView(_draw_histograms, statistics_ready, statistics_key, at=_histogram_at)
