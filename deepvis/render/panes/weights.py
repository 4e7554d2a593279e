"""The filters of a layer that sees pixels, in the layer pane."""

from __future__ import annotations

from deepvis.interface.state import Hover
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import draw_pictures, page_text, say_why, unit_at
from deepvis.render.panes.unit_images import draw_images
from deepvis.render.scene import Scene

_NONE = "The units of this layer see other units, not pixels. The filters of the first layers can be drawn as pictures."


def _draw_weights(canvas: Canvas, scene: Scene) -> None:
    filters = scene.filters
    title = f"{scene.layer.name}   filters on the pixels   {page_text(canvas, scene)}"
    if filters is None or not filters.known:
        say_why(canvas.caption(title), "Here each cell shows a unit's weights.", _NONE)
        return
    if scene.state.zoom == "unit":
        body = canvas.caption(f"{scene.unit}   its filter on the pixels", "gray is 0")
        draw_images(body, [filters.cells[scene.state.unit]])
        return
    draw_pictures(canvas.caption(title, "gray is 0; each in its own range"), scene, filters)


def _weights_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    return unit_at(body, scene, x, y) if scene.filters is not None and scene.filters.known else None


WEIGHTS = BigView(_draw_weights, key=lambda scene: (id(scene.filters),), at=_weights_at)
