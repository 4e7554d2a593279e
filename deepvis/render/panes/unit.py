"""The unit pane: the selected channel enlarged."""

from __future__ import annotations

from deepvis.render import colors
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Pane, number, why_not
from deepvis.render.scene import Scene
from deepvis.state import BOOSTS, GAMMAS


def _unit_ready(scene: Scene) -> bool:
    return scene.shows_layer or scene.busy or not scene.layers or bool(scene.result and scene.result.error)


def _unit_key(scene: Scene) -> tuple:
    s = scene.state
    return (id(scene.result), _unit_ready(scene) and scene.busy, s.layer, s.unit, s.gamma, s.boost, scene.waiting, id(scene.layers))


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
    label = layer.label(unit)
    body = canvas.caption(scene.unit, f"max {number(float(values.max()))}" if layer.is_map else "")
    if not layer.is_map:
        body.words(f"{label}\n{number(float(values[0, 0]))}".strip(), colors.TEXT, 20)
        return
    maps = colors.finite(scene.result.activations)
    signed = colors.is_signed(maps)
    limit = colors.limits(maps, BOOSTS[scene.state.boost])[unit]
    levels = colors.to_levels(maps[unit] / limit, signed, GAMMAS[scene.state.gamma])
    body.picture(colors.paint(levels, signed), exact=True)


UNIT = Pane(draw_unit, _unit_key, _unit_ready)
