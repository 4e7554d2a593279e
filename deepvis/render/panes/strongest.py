"""The layer's strongest units in the picture in view, as a list in the layer pane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.geometry import Box, contains
from deepvis.core.layers import unit_id
from deepvis.interface.state import GAMMAS, Hover
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import look
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.pane import number, why_not
from deepvis.render.panes.unit import draw_unit
from deepvis.render.scene import Scene

COUNT = 10


@dataclass(frozen=True)
class StrongRow:
    """One line of the list: the unit's place in the pane's body, and the part of it for the map (none for a vector)."""

    unit: int
    box: Box
    map: Box | None


def _rows(body: Canvas, scene: Scene, result: Result) -> list[StrongRow]:
    units = np.argsort(-result.responses, kind="stable")[:COUNT].tolist()
    margin, gap = body.px(8), body.px(4)
    height = max(body.px(14), min(body.px(76), (body.height - margin) // COUNT))
    layer, rows = scene.layer, []
    for i, unit in enumerate(units):
        box = (margin, margin + i * height, max(1, body.width - 2 * margin), height - gap)
        side = max(1, min(box[3] * layer.width // layer.height, body.width // 4))
        rows.append(StrongRow(unit, box, (margin + body.px(28), box[1], side, box[3]) if layer.is_map else None))
    return rows


def _draw_strongest(canvas: Canvas, scene: Scene) -> None:
    """Draw the strongest units with their maps, names, values as bars; when zoomed, only the selected unit."""
    result, layer = scene.own_result, scene.layer
    title = f"{layer.name}   strongest units"
    if result is None:
        canvas.caption(title).words(why_not(scene), size=15)
        return
    if scene.state.zoom == "unit":
        draw_unit(canvas, scene)
        return
    keys = " ".join(filter(None, (scene.keys.get("strongest", ""), scene.keys.get("stronger", ""))))
    body = canvas.caption(
        f"{title} in {result.request.frame.name}   {f'keys {keys} go through them' if keys else ''}",
        f"{COUNT} of {layer.units:,}" if layer.units > COUNT else "",
    )
    rows = _rows(body, scene, result)
    values = np.nan_to_num(result.responses[[row.unit for row in rows]])
    largest = max(float(np.abs(values).max(initial=0)), 1e-30)
    for rank, (row, value) in enumerate(zip(rows, values.tolist(), strict=True), 1):
        _draw_row(body, scene, row, rank, value, value / largest)


def _draw_row(body: Canvas, scene: Scene, row: StrongRow, rank: int, value: float, share: float) -> None:
    (left, top, width, height), layer, theme = row.box, scene.layer, body.theme
    size = min(body.px(15), max(body.px(9), int(height / 2.6)))
    line = text.line_height(size)
    middle = top + max(0, height - line) // 2
    text.put(body.image, str(rank), left, middle, size, theme.dim)
    x = left + body.px(28)
    if row.map is not None:
        _draw_map(body.part(row.map), scene, row.unit)
        x += row.map[2] + body.px(10)
    names = max(1, min(body.px(240), width // 3))
    words = [unit_id(layer.name, row.unit), layer.label(row.unit)]
    if 2 * line <= height and words[1]:
        text.put(body.image, text.shorten(words[1], names, size), x, middle - line // 2, size, theme.text)
        text.put(body.image, text.shorten(words[0], names, size), x, middle - line // 2 + line, size, theme.dim)
    else:
        text.put(body.image, text.shorten(" ".join(filter(None, words)), names, size), x, middle, size, theme.text)
    x += names + body.px(10)
    said = number(value)
    room = max(1, left + width - x - body.px(14) - text.width("−0.0e+00", size))
    length, thick = max(1, round(abs(share) * room)), max(2, min(line, height // 2))
    ink = theme.bars if value >= 0 else body.palette.color(-0.6)
    body.bar((x, top + (height - thick) // 2, length, thick), theme.accent if row.unit == scene.state.unit else ink)
    text.put(body.image, said, x + length + body.px(8), middle, size, theme.text)
    hover = scene.hover
    if isinstance(hover, Hover) and (hover.layer, hover.unit) == (scene.state.layer, row.unit):
        body.frame((left - body.px(4), top - body.px(2), width + body.px(8), height + body.px(4)), theme.pointed)
    elif row.unit == scene.state.unit:
        body.frame((left - body.px(4), top - body.px(2), width + body.px(8), height + body.px(4)), theme.faint_accent)


def _draw_map(canvas: Canvas, scene: Scene, unit: int) -> None:
    """The unit's map by the layer's largest value, as in the grid."""
    if scene.own_result is None:
        return
    of = look(scene.own_result)
    (limit,) = colors.limits(of.maps[unit : unit + 1], 0, max(of.high, -of.low))
    levels = colors.to_levels(of.maps[unit] / limit, of.signed, GAMMAS[scene.state.gamma])
    canvas.picture(colors.paint(levels, of.signed, canvas.palette), exact=True)


def _strongest_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    rows = _rows(body, scene, scene.own_result) if scene.own_result is not None else []
    return next((Hover(scene.state.layer, row.unit) for row in rows if contains(row.box, x, y)), None)


STRONGEST = BigView(_draw_strongest, ready=lambda scene: scene.own_result is not None, at=_strongest_at)
