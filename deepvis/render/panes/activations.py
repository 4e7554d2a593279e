"""The layer's activations, or its backward values, in the layer pane."""

from __future__ import annotations

import numpy as np

from deepvis.attribution.methods import label
from deepvis.core.geometry import Box
from deepvis.interface.state import BOOSTS, GAMMAS
from deepvis.interface.unit_grid import Grid
from deepvis.render import colors, text
from deepvis.render.draw import Canvas, Legend
from deepvis.render.mosaic import Look, look, mosaic
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import draw_marks, layer_grid, page_text, unit_at
from deepvis.render.panes.legend import legend_of
from deepvis.render.panes.pane import extent_text, why_not
from deepvis.render.panes.unit import draw_unit
from deepvis.render.scene import Scene

TOP = 5  # how many of the strongest units are named where the cells are too small for names


def _draw_activations(canvas: Canvas, scene: Scene) -> None:
    layer, result = scene.layer, scene.own_result
    if result is None:
        canvas.caption(layer.name).words(why_not(scene), size=15)
        return
    if scene.state.zoom == "unit":
        draw_unit(canvas, scene)
        return
    seen = look(result)
    title = f"{layer.name}   {layer.kind}   {_extent(canvas, scene)}"
    body = canvas.caption(title, legend=_legend(canvas, scene, seen))
    draw_grid(body, scene, seen, gradient=False)


def _extent(canvas: Canvas, scene: Scene) -> str:
    """How many units the layer has and their size; which of them are on this page, if there are several pages."""
    layer, page = scene.layer, page_text(canvas, scene)
    size = f" of {layer.width}×{layer.height}" if layer.is_map else ""
    if scene.state.shown_order is not None:
        return f"{extent_text(layer)}   {page}"
    return page.replace("   ", f"{size}   ", 1) if page else extent_text(layer)


def _draw_layer_gradient(canvas: Canvas, scene: Scene) -> None:
    layer, result = scene.layer, scene.answered_gradient
    title = f"{layer.name}   {label(scene.state.method or '')} from {scene.origin_unit}"
    if result is None:
        canvas.caption(title).words(why_not(scene), size=15)
        return
    if result.layer_gradient is None:
        canvas.caption(title).words(
            f"The backward pass starts at {scene.origin_unit} and does not reach {layer.name}, a later layer. "
            f"Go to an earlier layer, or press d to start the backward pass from the selected unit.",
            size=15,
        )
        return
    seen = look(result, gradient=True)
    body = canvas.caption(f"{title}   {page_text(canvas, scene)}", legend=_legend(canvas, scene, seen))
    draw_grid(body, scene, seen, gradient=True)


def _legend(canvas: Canvas, scene: Scene, seen: Look) -> Legend:
    gamma, boost = GAMMAS[scene.state.gamma], BOOSTS[scene.state.boost]
    return legend_of(seen.low, seen.high, seen.signed, gamma, canvas.palette, boost > 0)


def draw_grid(canvas: Canvas, scene: Scene, seen: Look, gradient: bool) -> None:
    """Draw the units' maps in their cells, with the units' names and marks."""
    state, layer = scene.state, scene.layer
    grid = layer_grid(scene, canvas.width, canvas.height, canvas.scale)
    gamma, boost = GAMMAS[state.gamma], BOOSTS[state.boost]
    size, ground = (canvas.width, canvas.height), canvas.theme.ground
    canvas.image[:] = mosaic(seen, gradient, grid, *size, gamma, boost, ground, canvas.palette)
    if layer.labels:
        _draw_labels(canvas, scene, seen.maps[:, 0, 0], grid)
    draw_marks(canvas, scene, grid)


def _draw_labels(canvas: Canvas, scene: Scene, values: np.ndarray, grid: Grid) -> None:
    """Write the units' names in their cells, or beside the strongest units if the cells are too small."""
    size, layer = canvas.px(11), scene.layer
    if grid.cell_width >= canvas.px(66) and grid.cell_height >= canvas.px(24):
        for unit in grid.units:
            name, (left, top, width, height) = layer.label(unit), grid.box(unit)
            if left + width > 0 and top + height > 0 and left < canvas.width and top < canvas.height:
                blue, green, red = canvas.image[max(0, top), max(0, left)].tolist()  # before it is written on
                ink = colors.ink_on((blue, green, red))
                name = text.shorten(name, width - canvas.px(8), size)
                text.put(canvas.image, name, left + canvas.px(4), top + canvas.px(3), size, ink)
        return
    taken: list[Box] = []
    for cell in np.argsort(values[np.asarray(grid.units)])[::-1][:TOP]:
        unit = grid.units[int(cell)]
        left, top, width, height = grid.box(unit)
        name = text.shorten(layer.label(unit), canvas.px(180), size)
        w, h = text.width(name, size) + canvas.px(8), text.line_height(size) + canvas.px(2)
        x = left + width + canvas.px(2)
        x = x if x + w < canvas.width else left - w - canvas.px(2)
        y = min(max(0, top + (height - h) // 2), canvas.height - h)
        free = all(x + w < a or a + c < x or y + h < b or b + d < y for a, b, c, d in taken)
        if name and 0 <= x and x + w <= canvas.width and 0 <= top < canvas.height and free:
            taken.append((x, y, w, h))
            canvas.bar((x, y, w, h), canvas.theme.panel)
            text.put(canvas.image, name, x + canvas.px(4), y + canvas.px(1), size, canvas.theme.text)


ACTIVATIONS = BigView(_draw_activations, ready=lambda scene: scene.own_result is not None, at=unit_at)
LAYER_GRADIENT = BigView(_draw_layer_gradient, ready=lambda scene: scene.answered_gradient is not None, at=unit_at)
