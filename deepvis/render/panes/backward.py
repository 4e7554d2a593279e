"""The backward pane: where in the picture the unit gets its signal from."""

from __future__ import annotations

import numpy as np

from deepvis.attribution.methods import label
from deepvis.render import colors
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Pane, why_not
from deepvis.render.scene import Scene


def _backward_ready(scene: Scene) -> bool:
    off = scene.state.method is None or not scene.layers
    return off or scene.shows_backward or scene.busy or bool(scene.result and scene.result.error)


def _backward_key(scene: Scene) -> tuple:
    s = scene.state
    if s.method is None or not scene.layers:
        return (None, bool(scene.layers))
    return (id(scene.result), _backward_ready(scene) and scene.busy, s.method, s.filter, s.backward_origin, s.origin)


def draw_backward(canvas: Canvas, scene: Scene) -> None:
    """The backward image of the origin unit."""
    canvas.fill()
    state = scene.state
    if state.method is None or not scene.layers:
        canvas.caption("backward").words(
            "which pixels excite the unit\n\nb: gradient, deconv, guided backprop\nm: how it is shown"
        )
        return
    frozen = "frozen" if state.origin else ""
    title = f"{label(state.method)} from {scene.origin_unit}"
    body = canvas.caption(
        title, f"{frozen + ' · ' if frozen else ''}{state.filter}", colors.FROZEN if frozen else colors.TEXT
    )
    if not scene.shows_backward:
        body.words(why_not(scene))
        return
    pixels = scene.result.pixels
    if not np.isfinite(pixels).all():
        body.words("the backward pass gave NaN or infinite values")
    elif not pixels.any():
        body.words(f"nothing flows back from {scene.origin_unit}: all paths to the pixels are inactive in this picture")
    else:
        body.picture(colors.backward_image(pixels, state.filter))


BACKWARD = Pane(draw_backward, _backward_key, _backward_ready)
