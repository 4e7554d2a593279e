"""The unit pane: the selected channel enlarged."""

from __future__ import annotations

import numpy as np

from deepvis.interface.state import BOOSTS, GAMMAS
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import look
from deepvis.render.panes.pane import Key, Pane, number, why_not
from deepvis.render.scene import LoadingScene, Scene


def _unit_ready(scene: Scene) -> bool:
    return scene.own_result is not None or scene.busy or bool(scene.failed)


def _unit_key(scene: Scene) -> Key:
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


def _draw_loading(canvas: Canvas, _scene: LoadingScene) -> None:
    canvas.fill()
    canvas.caption("unit").words("the selected unit enlarged")


def draw_unit(canvas: Canvas, scene: Scene) -> None:
    """The selected unit's map, or its value and rank."""
    canvas.fill()
    layer, unit = scene.layer, scene.state.unit
    result, activations = scene.own_result, scene.activations
    if result is None or activations is None:
        canvas.caption(scene.unit).words(why_not(scene))
        return
    values = activations[unit]
    body = canvas.caption(scene.unit, f"max {number(float(values.max()))}" if layer.is_map else "")
    if not layer.is_map:
        _draw_number(body, layer.label(unit), activations[:, 0, 0], unit)
        return
    of = look(result)
    (limit,) = colors.limits(of.maps[unit : unit + 1], BOOSTS[scene.state.boost], max(of.high, -of.low))
    levels = colors.to_levels(of.maps[unit] / limit, of.signed, GAMMAS[scene.state.gamma])
    body.picture(colors.paint(levels, of.signed, canvas.palette), exact=True)


def _draw_number(canvas: Canvas, label: str, values: np.ndarray, unit: int) -> None:
    """Write a vector unit's value as large as the pane allows, with its name and its rank in the layer."""
    stronger = int((values > values[unit]).sum())
    big = max(canvas.px(18), min(canvas.px(72), canvas.height // 5, canvas.width // 8))
    middle, small = max(canvas.px(14), big // 2), max(canvas.px(11), big // 3)
    wrapped = text.wrap(label, canvas.width - canvas.px(16), middle)[:2] if label else ()
    lines = [
        *((line, middle, canvas.theme.text) for line in wrapped),
        (number(float(values[unit])), big, canvas.theme.accent),
        (f"rank {stronger + 1:,} of {len(values):,}", small, canvas.theme.dim),
    ]
    y = max(0, canvas.height - sum(text.line_height(size) for _, size, _ in lines)) // 2
    for words, size, color in lines:
        text.put(canvas.image, words, (canvas.width - text.width(words, size)) // 2, y, size, color)
        y += text.line_height(size)


UNIT = Pane(draw_unit, _draw_loading, _unit_key, _unit_ready)
