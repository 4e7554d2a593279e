"""The layer's activations, or its backward values, in the layer pane."""

from __future__ import annotations

import numpy as np

from deepvis.attribution.methods import label
from deepvis.interface.state import BOOSTS, GAMMAS, Hover
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

TOP = 5  # how many of the strongest units are named in the title if the cells are too small for names


def _draw_activations(canvas: Canvas, scene: Scene) -> None:
    layer, result = scene.layer, scene.own_result
    if result is None:
        canvas.caption(layer.name).words(why_not(scene), size=15)
        return
    if scene.state.zoom == "unit":
        draw_unit(canvas, scene)
        return
    seen = look(result)
    title = _with_strongest(canvas, scene, seen, f"{layer.name}   {layer.kind}   {_extent(canvas, scene)}")
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
    if why := _why_no_values(scene, result.layer_gradient):
        canvas.caption(title).words(why, size=15)
        return
    seen = look(result, gradient=True)
    body = canvas.caption(f"{title}   {page_text(canvas, scene)}", legend=_legend(canvas, scene, seen))
    draw_grid(body, scene, seen, gradient=True)


def _why_no_values(scene: Scene, values: np.ndarray) -> str:
    """Why a grid of backward values would be empty; no text if it is not."""
    units = np.flatnonzero(values.reshape(len(values), -1).any(1))
    layer, unit = scene.state.backward_origin
    if not len(units):
        return f"Nothing flows back from {scene.origin_unit} to {scene.layer.name} in this picture."
    if layer == scene.state.layer and units.tolist() == [unit]:
        key = scene.keys.get("freeze_origin", "d")
        return (
            f"The backward pass starts in this layer, at {scene.origin_unit}, and all other units are 0 here. Go to an "
            f"earlier layer after {key}, which freezes the unit that the pass starts from."
        )
    return ""


def _gradient_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    result = scene.answered_gradient
    values = None if result is None else result.layer_gradient
    return None if values is None or _why_no_values(scene, values) else unit_at(body, scene, x, y)


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
    if layer.labels and _has_room_for_labels(canvas, grid):
        _draw_labels(canvas, scene, grid)
    draw_marks(canvas, scene, grid)


def _has_room_for_labels(canvas: Canvas, grid: Grid) -> bool:
    return grid.cell_width >= canvas.px(66) and grid.cell_height >= canvas.px(24)


def _draw_labels(canvas: Canvas, scene: Scene, grid: Grid) -> None:
    """Write the units' names in their cells."""
    size, layer = canvas.px(11), scene.layer
    for unit in grid.units:
        name, (left, top, width, height) = layer.label(unit), grid.box(unit)
        if left + width > 0 and top + height > 0 and left < canvas.width and top < canvas.height:
            blue, green, red = canvas.image[max(0, top), max(0, left)].tolist()  # before it is written on
            ink = colors.ink_on((blue, green, red))
            name = text.shorten(name, width - canvas.px(8), size)
            text.put(canvas.image, name, left + canvas.px(4), top + canvas.px(3), size, ink)


def _with_strongest(canvas: Canvas, scene: Scene, seen: Look, title: str) -> str:
    """The title and, if the cells are too small for names, the names of the strongest units that fit beside it."""
    grid = layer_grid(scene, canvas.width, canvas.height - canvas.px_caption, canvas.scale)
    if not scene.layer.labels or _has_room_for_labels(canvas, grid):
        return title
    room, size, joint = canvas.width - canvas.px(220), canvas.px(12), "   strongest: "
    for unit in np.argsort(-seen.maps[:, 0, 0], kind="stable")[:TOP].tolist():
        longer = f"{title}{joint}{scene.layer.label(unit)}"
        if text.width(longer, size) > room:
            break
        title, joint = longer, ", "
    return title


ACTIVATIONS = BigView(_draw_activations, ready=lambda scene: scene.own_result is not None, at=unit_at)
LAYER_GRADIENT = BigView(_draw_layer_gradient, ready=lambda scene: scene.answered_gradient is not None, at=_gradient_at)
