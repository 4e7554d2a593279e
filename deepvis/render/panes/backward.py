"""The backward pane: where in the picture the unit gets its signal from."""

from __future__ import annotations

import numpy as np

from deepvis.attribution.methods import label
from deepvis.render import colors
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Key, Pane, why_not
from deepvis.render.scene import LoadingScene, Scene


def _backward_ready(scene: Scene) -> bool:
    return scene.state.method is None or scene.backward is not None or scene.busy or bool(scene.failed)


def _backward_key(scene: Scene) -> Key:
    s = scene.state
    if s.method is None:
        return (None,)
    return (id(scene.result), _backward_ready(scene) and scene.busy, s.method, s.filter, s.backward_origin, s.origin)


def _draw_off(canvas: Canvas, _scene: LoadingScene) -> None:
    """Say what the pane is for."""
    canvas.fill()
    canvas.caption("backward").words(
        "which pixels excite the unit\n\nb: gradient, deconv, guided backprop\nm: how it is shown"
    )


def draw_backward(canvas: Canvas, scene: Scene) -> None:
    """The backward image of the origin unit."""
    state = scene.state
    if state.method is None:
        _draw_off(canvas, scene)
        return
    canvas.fill()
    frozen = "frozen" if state.origin else ""
    title = f"{label(state.method)} from {scene.origin_unit}"
    body = canvas.caption(
        title, f"{frozen + ' · ' if frozen else ''}{state.filter}", canvas.theme.frozen if frozen else canvas.theme.text
    )
    pixels = scene.backward
    if pixels is None:
        body.words(why_not(scene))
    elif not np.isfinite(pixels).all():
        body.words("the backward pass gave NaN or infinite values")
    elif not pixels.any():
        body.words(f"nothing flows back from {scene.origin_unit}: all paths to the pixels are inactive in this picture")
    else:
        body.picture(colors.backward_image(pixels, state.filter, canvas.palette))


BACKWARD = Pane(draw_backward, _draw_off, _backward_key, _backward_ready)
