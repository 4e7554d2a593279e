"""The unit pane: the selected channel enlarged."""

from __future__ import annotations

import cv2
import numpy as np

from deepvis.interface.state import BOOSTS, GAMMAS, LiveMoment, Target
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import look
from deepvis.render.panes.compared import draw_compared, held_key, ready_compared
from deepvis.render.panes.pane import Key, Pane, number, why_not
from deepvis.render.scene import Curve, LoadingScene, Scene

SECONDS = 10  # of the curve of what the unit did lately


def _unit_ready(scene: Scene) -> bool:
    return ready_compared(scene, lambda one: one.own_result is not None or one.busy or bool(one.failed))


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
        *held_key(scene),
        id(scene.own_curve),
        isinstance(scene.hover, LiveMoment),
    )


def _draw_loading(canvas: Canvas, _scene: LoadingScene) -> None:
    canvas.fill()
    canvas.caption("unit").words("the selected unit enlarged")


def draw_unit(canvas: Canvas, scene: Scene) -> None:
    """The selected unit's map, or its value and rank; two if two pictures are compared."""
    draw_compared(canvas, scene, _draw_one)


def _draw_pane(canvas: Canvas, scene: Scene) -> None:
    """Draw the unit and, below it, what it did lately."""
    unit, curve = _parts(canvas, scene)
    draw_unit(unit, scene)
    if curve is not None and scene.own_curve is not None:
        draw_curve(curve, scene.own_curve, isinstance(scene.hover, LiveMoment))


def _parts(canvas: Canvas, scene: Scene) -> tuple[Canvas, Canvas | None]:
    """The parts of the pane for the unit and for its curve, if it has one and there is room."""
    height = canvas.px(48)
    if scene.own_curve is None or canvas.height < 3 * height:
        return canvas, None
    top = canvas.height - height
    return canvas.part((0, 0, canvas.width, top)), canvas.part((0, top, canvas.width, height))


def draw_curve(canvas: Canvas, curve: Curve, is_pointed: bool) -> None:
    """Draw the values of the last seconds, the newest at the right, with a dot at the largest."""
    canvas.fill(canvas.theme.panel)
    size, radius = canvas.px(11), canvas.px(3)
    line = text.line_height(size)
    top, bottom, right = line + radius, canvas.height - radius - 1, canvas.width - radius - 1
    low = float(curve.values.min())
    span = max(curve.peak - low, 1e-30)

    def at(seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
        x = right + seconds / SECONDS * (canvas.width - 2 * radius)
        y = bottom - (values - low) / span * (bottom - top)
        return np.stack([x, y], axis=1).round().astype(np.int32)

    cv2.polylines(canvas.image, [at(curve.seconds, curve.values)], False, canvas.theme.bars, 1, cv2.LINE_AA)
    ((x, y),) = at(np.array([curve.peak_seconds]), np.array([curve.peak])).tolist()
    cv2.circle(canvas.image, (x, y), radius, canvas.theme.accent, cv2.FILLED, cv2.LINE_AA)
    words = text.shorten(f"last {SECONDS} s   {number(low)} … {number(curve.peak)}", canvas.width - canvas.px(8), size)
    text.put(canvas.image, words, canvas.px(4), 0, size, canvas.theme.text if is_pointed else canvas.theme.dim)
    if is_pointed:
        canvas.frame((0, 0, canvas.width, canvas.height), canvas.theme.pointed)


def _curve_at(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The strongest moment, under any point of the curve."""
    unit, curve = _parts(canvas, scene)
    photo = scene.own_curve.photo if scene.own_curve is not None else None
    return LiveMoment(photo) if curve is not None and photo is not None and y >= unit.height else None


def _draw_one(canvas: Canvas, scene: Scene) -> None:
    canvas.fill()
    layer, unit = scene.layer, scene.state.unit
    result, activations = scene.own_result, scene.activations
    title = f"held · {scene.unit}" if scene.is_held else scene.unit
    if result is None or activations is None:
        canvas.caption(title).words(why_not(scene))
        return
    values = activations[unit]
    body = canvas.caption(title, f"max {number(float(values.max()))}" if layer.is_map else "")
    if not layer.is_map:
        _draw_number(body, layer.label(unit), activations[:, 0, 0], unit)
        return
    of, other = look(result), look(scene.other_result or result)  # both pictures' maps have one scale
    maps = np.stack([of.maps[unit], other.maps[unit]])
    largest = max(of.high, -of.low, other.high, -other.low)
    limit = float(colors.limits(maps, BOOSTS[scene.state.boost], largest).max())
    signed = of.signed or other.signed
    levels = colors.to_levels(of.maps[unit] / limit, signed, GAMMAS[scene.state.gamma])
    body.picture(colors.paint(levels, signed, canvas.palette), exact=True)


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


UNIT = Pane(_draw_pane, _draw_loading, _unit_key, _unit_ready, _curve_at)
