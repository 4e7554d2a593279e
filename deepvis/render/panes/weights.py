"""The weights in the layer pane: the filters of a layer that sees pixels, else the units that feed the selected one."""

from __future__ import annotations

import cv2
import numpy as np

from deepvis.core.weights import InputWeights
from deepvis.interface.state import GAMMAS, Hover
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import draw_pictures, page_text, say_why, unit_at
from deepvis.render.panes.pane import Key
from deepvis.render.panes.rows import COUNT, UnitRow, draw_row, lay_out_rows, names_width, row_at
from deepvis.render.panes.unit import draw_unit
from deepvis.render.panes.unit_images import draw_images
from deepvis.render.scene import Scene
from deepvis.workers.messages import UnitPictures

_WHAT = "Here are the units of earlier layers that feed the selected unit most, with their weights."


def _draw_weights(canvas: Canvas, scene: Scene) -> None:
    filters = scene.filters
    if filters is not None and filters.known:
        _draw_filters(canvas, scene, filters)
    elif scene.state.zoom == "unit":
        draw_unit(canvas, scene)
    else:
        _draw_inputs(canvas, scene)


def _draw_filters(canvas: Canvas, scene: Scene, filters: UnitPictures) -> None:
    if scene.state.zoom == "unit":
        body = canvas.caption(f"{scene.unit}   its filter on the pixels", "gray is 0")
        draw_images(body, [filters.cells[scene.state.unit]])
        return
    title = f"{scene.layer.name}   filters on the pixels   {page_text(canvas, scene)}"
    draw_pictures(canvas.caption(title, "gray is 0; each in its own range"), scene, filters)


# ---- the units that feed the selected one ---------------------------------------------------------


def _draw_inputs(canvas: Canvas, scene: Scene) -> None:
    known = scene.own_weights
    if known is None or not known.inputs:
        why = "the network is computing …" if known is None else known.note
        say_why(canvas.caption(f"{scene.unit}   weights"), _WHAT, why)
        return
    layers = ", ".join(known.layers[:3]) + (" …" if len(known.layers) > 3 else "")
    shown = min(COUNT, len(known.inputs))
    count = f"{shown} of {known.count:,}" if known.count > shown else f"{known.count}"
    body = canvas.caption(f"{scene.unit}   fed most by these units of {layers}", count)
    rows, columns = _rows(body, scene, known)
    largest = max(one.size for one in known.inputs)
    for rank, (row, one) in enumerate(zip(rows, known.inputs), 1):
        for column, box in zip(columns, row.pictures, strict=True):
            _DRAWN[column](body.part(box), scene, known, rank - 1)
        draw_row(body, scene, row, rank, one.weight, one.size / largest)
    _draw_heads(body, rows[0], columns)


def _rows(body: Canvas, scene: Scene, known: InputWeights) -> tuple[list[UnitRow], list[str]]:
    """The lines, and the names of their columns of pictures."""
    shown, positions = known.inputs[:COUNT], {layer.name: i for i, layer in enumerate(scene.layers)}
    first = scene.layers[positions[shown[0].layer]]
    aspects = {
        "kernel": 1.0 if any(np.ptp(one.kernel) > 1e-3 * np.abs(one.kernel).max() for one in shown) else 0.0,
        "now": first.width / first.height if first.is_map else 0.0,
        "top image": 1.0 if scene.cells is not None and scene.cells.layer == first.name and scene.cells.pictures else 0,
    }
    columns = [name for name, aspect in aspects.items() if aspect]
    units = [(positions[one.layer], one.unit) for one in shown]
    return lay_out_rows(body, units, [aspects[name] for name in columns], above=_heads_height(body)), columns


def _heads_height(body: Canvas) -> int:
    return text.line_height(body.px(11))


def _draw_heads(body: Canvas, row: UnitRow, columns: list[str]) -> None:
    """Write above the columns what they show."""
    size, top = body.px(11), body.px(4)
    names = names_width(row, body)
    end = row.names + names + body.px(10)
    heads = [*((x, width, name) for name, (x, _, width, _) in zip(columns, row.pictures, strict=True))]
    heads += [(row.names, names, "unit"), (end, body.width - end, "weights: size as a bar, and their sum")]
    for x, room, words in heads:
        text.put(body.image, text.shorten(words, room + body.px(8), size), x, top, size, body.theme.dim)


def _draw_kernel(canvas: Canvas, scene: Scene, known: InputWeights, number: int) -> None:
    """The weights of the places around the unit's own, in the range of all that are shown."""
    largest = max(float(np.abs(one.kernel).max()) for one in known.inputs[:COUNT])
    levels = colors.to_levels(known.inputs[number].kernel / max(largest, 1e-30), True, 1.0)
    canvas.picture(colors.paint(levels, True, canvas.palette), exact=True)


def _draw_now(canvas: Canvas, scene: Scene, known: InputWeights, number: int) -> None:
    """The unit's map in the picture in view, in the range of all that are shown; nothing until it has arrived."""
    maps = _maps(scene, known)
    if maps is None:
        canvas.fill(canvas.theme.panel)
        return
    signed = any(colors.is_signed(one) for one in maps)
    largest = max(float(np.abs(one).max()) for one in maps)
    levels = colors.to_levels(maps[number] / max(largest, 1e-30), signed, GAMMAS[scene.state.gamma])
    canvas.picture(colors.paint(levels, signed, canvas.palette), exact=True)


def _maps(scene: Scene, known: InputWeights) -> tuple[np.ndarray, ...] | None:
    result = scene.own_result
    units = tuple((one.layer, one.unit) for one in known.inputs[:COUNT])
    if result is None or result.request.others != units:
        return None
    return tuple(map(colors.finite, result.others))


def _draw_top_image(canvas: Canvas, scene: Scene, known: InputWeights, number: int) -> None:
    one = known.inputs[number]
    cells = scene.cells if scene.cells is not None and scene.cells.layer == one.layer else None
    picture = cells.pictures.get(one.unit) if cells is not None else None
    if picture is None:
        canvas.fill(canvas.theme.panel)
    else:
        canvas.picture(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


_DRAWN = {"kernel": _draw_kernel, "now": _draw_now, "top image": _draw_top_image}


def _weights_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    if scene.filters is not None and scene.filters.known:
        return unit_at(body, scene, x, y)
    known = scene.own_weights
    return row_at(_rows(body, scene, known)[0], x, y) if known is not None and known.inputs else None


def _ready(scene: Scene) -> bool:
    """False while the weights of another unit are on their way: until then those before stay."""
    return scene.filters is not None and scene.filters.known or scene.own_weights is not None


def _key(scene: Scene) -> Key:
    hover = scene.hover if isinstance(scene.hover, Hover) else None
    return (id(scene.filters), id(scene.own_weights), id(scene.cells), hover)


WEIGHTS = BigView(_draw_weights, _ready, _key, _weights_at)
