"""The filters of a layer that sees pixels, in the layer pane."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deepvis.interface.state import Hover
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import draw_pictures, page_text, say_why, unit_at
from deepvis.render.panes.unit_images import draw_images
from deepvis.render.scene import Filters, Scene
from deepvis.workers.messages import UnitPictures

_NONE = "The units of this layer see other units, not pixels. The filters of the first layers can be drawn as pictures."


def _draw_weights(canvas: Canvas, scene: Scene) -> None:
    layer, filters = scene.layer, scene.filters
    title = f"{layer.name}   filters on the pixels   {page_text(canvas, scene)}"
    if not filters.pictures:
        say_why(canvas.caption(title), "Here each cell shows a unit's weights.", _NONE)
        return
    if scene.state.zoom == "unit":
        body = canvas.caption(f"{scene.unit}   its filter on the pixels", "gray is 0")
        draw_images(body, [filters.pictures[scene.state.unit]])
        return
    body = canvas.caption(title, "gray is 0; each in its own range")
    draw_pictures(body, scene, _stored(filters, layer.name))


@lru_cache(maxsize=4)
def _stored(filters: Filters, layer: str) -> UnitPictures:
    """The pictures as `draw_pictures` takes them, as the same object each time, so that drawings are cached."""
    cells: dict[int, np.ndarray] = filters.pictures
    return UnitPictures(layer, 0, cells=cells, known=True)


def _weights_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    return unit_at(body, scene, x, y) if scene.filters.pictures else None


WEIGHTS = BigView(_draw_weights, key=lambda scene: (id(scene.filters.pictures),), at=_weights_at)
