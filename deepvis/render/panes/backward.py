"""The backward pane: where in the picture the unit gets its signal from."""

from __future__ import annotations

import numpy as np

from deepvis.attribution.methods import METHODS, label
from deepvis.interface.state import FILTERS
from deepvis.render import colors
from deepvis.render.draw import Canvas
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.compared import draw_compared, held_key, ready_compared
from deepvis.render.panes.pane import Key, Pane, why_not
from deepvis.render.scene import LoadingScene, Scene


def _backward_ready(scene: Scene) -> bool:
    return scene.state.method is None or ready_compared(
        scene, lambda one: one.backward is not None or one.busy or bool(one.failed)
    )


def _backward_key(scene: Scene) -> Key:
    s = scene.state
    if s.method is None:
        return (None,)
    return (
        id(scene.result),
        _backward_ready(scene) and scene.busy,
        s.method,
        s.filter,
        s.backward_origin,
        s.origin,
        *held_key(scene),
    )


def _draw_off(canvas: Canvas, _scene: LoadingScene) -> None:
    """Say what the pane is for."""
    canvas.fill()
    canvas.caption("backward").words(
        "which pixels excite the unit\n\nb: gradient, deconv, guided backprop\nm: how it is shown"
    )


def draw_backward(canvas: Canvas, scene: Scene) -> None:
    """The backward image of the origin unit; two if two pictures are compared."""
    if scene.state.method is None:
        _draw_off(canvas, scene)
    else:
        draw_compared(canvas, scene, _draw_one)


def _draw_one(canvas: Canvas, scene: Scene) -> None:
    state = scene.state
    canvas.fill()
    frozen = "frozen" if state.origin else ""
    title = f"{'held · ' if scene.is_held else ''}{label(state.method or '')} from {scene.origin_unit}"
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


def _chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """The usual methods, also the one that is on, and the filters."""
    state = scene.state
    off = Chip("off", "method=off", "no backward image", state.method is None)
    methods = [
        Chip(row.label, f"method={row.name}", f"backward: {row.label}", row.name == state.method)
        for row in METHODS.values()
        if row.in_cycle or row.name == state.method
    ]
    filters = [
        Chip(name, f"filter={name}", f"show the backward image {name}", name == state.filter, apart=name == FILTERS[0])
        for name in FILTERS
    ]
    return (off, *methods, *(filters if state.method else ()))


BACKWARD = Pane(draw_backward, _draw_off, _backward_key, _backward_ready, chips=_chips)
