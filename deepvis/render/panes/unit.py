"""The unit pane: the selected channel enlarged."""

from __future__ import annotations

import numpy as np

from deepvis.interface.state import BOOSTS, GAMMAS
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import look
from deepvis.render.panes.pane import Pane, number, why_not
from deepvis.render.scene import Scene


def _unit_ready(scene: Scene) -> bool:
    return scene.shows_layer or scene.busy or not scene.layers or bool(scene.result and scene.result.error)


def _unit_key(scene: Scene) -> tuple:
    s = scene.state
    return (
        id(scene.result),
        _unit_ready(scene) and scene.busy,
        s.layer,
        s.unit,
        s.gamma,
        s.boost,
        scene.waiting,
        id(scene.layers),
    )


def draw_unit(canvas: Canvas, scene: Scene) -> None:
    canvas.fill()
    if not scene.layers:
        canvas.caption("unit").words("the selected unit enlarged")
        return
    layer, unit = scene.layer, scene.state.unit
    if not scene.shows_layer:
        canvas.caption(scene.unit).words(why_not(scene))
        return
    values = scene.channel
    body = canvas.caption(scene.unit, f"max {number(float(values.max()))}" if layer.is_map else "")
    if not layer.is_map:
        _draw_number(body, layer.label(unit), scene.result.activations[:, 0, 0], unit)
        return
    of = look(scene.result)
    (limit,) = colors.limits(of.maps[unit : unit + 1], BOOSTS[scene.state.boost], max(of.high, -of.low))
    levels = colors.to_levels(of.maps[unit] / limit, of.signed, GAMMAS[scene.state.gamma])
    body.picture(colors.paint(levels, of.signed), exact=True)


def _draw_number(canvas: Canvas, label: str, values: np.ndarray, unit: int) -> None:
    """A vector's unit: its value as large as the pane allows, with its name and its rank in the layer."""
    stronger = int((values > values[unit]).sum())
    big = max(canvas.px(18), min(canvas.px(72), canvas.height // 5, canvas.width // 8))
    middle, small = max(canvas.px(14), big // 2), max(canvas.px(11), big // 3)
    lines = [*((line, middle, colors.TEXT) for line in text.wrap(label, canvas.width - canvas.px(16), middle)[:2] if label),
             (number(float(values[unit])), big, colors.ACCENT),
             (f"rank {stronger + 1:,} of {len(values):,}", small, colors.DIM)]  # fmt: skip
    y = max(0, canvas.height - sum(text.line_height(size) for _, size, _ in lines)) // 2
    for words, size, color in lines:
        text.put(canvas.image, words, (canvas.width - text.width(words, size)) // 2, y, size, color)
        y += text.line_height(size)


UNIT = Pane(draw_unit, _unit_key, _unit_ready)
