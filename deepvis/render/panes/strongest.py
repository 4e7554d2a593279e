"""The layer's strongest units in the picture in view, as a list in the layer pane."""

from __future__ import annotations

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.interface.state import GAMMAS, Hover
from deepvis.render import colors
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import look
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.pane import why_not
from deepvis.render.panes.rows import COUNT, UnitRow, draw_row, lay_out_rows, row_at
from deepvis.render.panes.unit import draw_unit
from deepvis.render.scene import Scene


def _rows(body: Canvas, scene: Scene, result: Result) -> list[UnitRow]:
    units = np.argsort(-result.responses, kind="stable")[:COUNT].tolist()
    layer = scene.layer
    aspects = [layer.width / layer.height] if layer.is_map else []
    return lay_out_rows(body, [(scene.state.layer, unit) for unit in units], aspects)


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
        for box in row.pictures:
            _draw_map(body.part(box), scene, row.unit)
        draw_row(body, scene, row, rank, value, abs(value) / largest)


def _draw_map(canvas: Canvas, scene: Scene, unit: int) -> None:
    """The unit's map by the layer's largest value, as in the grid."""
    if scene.own_result is None:
        return
    of = look(scene.own_result)
    (limit,) = colors.limits(of.maps[unit : unit + 1], 0, max(of.high, -of.low))
    levels = colors.to_levels(of.maps[unit] / limit, of.signed, GAMMAS[scene.state.gamma])
    canvas.picture(colors.paint(levels, of.signed, canvas.palette), exact=True)


def _strongest_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    return row_at(_rows(body, scene, scene.own_result), x, y) if scene.own_result is not None else None


STRONGEST = BigView(_draw_strongest, ready=lambda scene: scene.own_result is not None, at=_strongest_at)
