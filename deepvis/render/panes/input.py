"""The input pane: the picture as the network gets it, and the most likely classes."""

from __future__ import annotations

import cv2
import numpy as np

from deepvis.frames import Frame
from deepvis.geometry import cut, resize_for_screen
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Pane
from deepvis.render.scene import Scene

TOP = 5


def _shown_frame(scene: Scene) -> Frame | None:
    """The picture that the other panes speak of; the newest one while the network is slow."""
    return scene.result.request.frame if scene.result and not scene.busy else scene.frame


def _crop(scene: Scene) -> bool:
    """How the shown picture was cut; as the user wants it, while the network is slow."""
    return scene.result.request.crop if scene.result and not scene.busy else scene.state.crop


def _input_key(scene: Scene) -> tuple:
    s = scene.state
    return (id(_shown_frame(scene)), id(scene.result), _crop(scene), scene.aspect, s.frozen, s.predictions, scene.waiting, bool(scene.layers))


def draw_input(canvas: Canvas, scene: Scene) -> None:
    """The picture as the network gets it, with the most likely classes under it (or over it)."""
    canvas.fill()
    frame, state = _shown_frame(scene), scene.state
    if frame is None:
        canvas.caption("input").words(scene.waiting or "no picture yet")
        return
    marks = [mark for mark, on in (("frozen", state.frozen), ("stretched", not _crop(scene))) if on]
    body = canvas.caption(frame.name, " · ".join(marks))
    line = text.line_height(body.px(12)) + body.px(2)
    bars = TOP * line + body.px(6) if state.predictions else 0
    beside = body.height - bars >= 0.6 * body.width
    room = body.height - (bars if beside else 0)
    width = max(1, min(body.width, round(room * scene.aspect)))
    height = max(1, min(room, round(width / scene.aspect)))
    left = (body.width - width) // 2
    picture = resize_for_screen(cut(frame.image, scene.aspect, _crop(scene)), width, height)
    body.image[:height, left : left + width] = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if state.predictions:
        box = (0, height if beside else body.height - bars, body.width, bars)
        if not beside:
            body.shade(box)
        _draw_predictions(body.part(box), scene, frame, line)


def _draw_predictions(canvas: Canvas, scene: Scene, frame: Frame, line: int) -> None:
    result = scene.result
    if result is None or result.scores is None or result.request.frame is not frame:
        if scene.layers and not (result and result.scores is not None):
            failed = result and result.error
            why = "waiting for the network" if not result else "the network failed" if failed else "this network has none"
            canvas.words(f"class predictions: {why}")
        return
    scores = result.scores
    best = np.argsort(scores)[::-1][:TOP]
    size, margin = canvas.px(12), canvas.px(6)
    for i, unit in enumerate(best):
        y = canvas.px(3) + i * line
        value = float(scores[unit])
        length = round(min(max(value, 0), 1) * (canvas.width - 2 * margin))
        canvas.bar((margin, y, length, line - canvas.px(2)), (104, 78, 40))
        name = scene.classes[unit] if unit < len(scene.classes) else f"class {unit}"
        color = colors.TEXT if i == 0 else (196, 192, 190)
        text.put(canvas.image, text.shorten(name, canvas.width - canvas.px(62), size), margin + canvas.px(4), y, size, color)
        shown = f"{value:.2f}" if not 0 < value < 0.01 else "<0.01"
        text.put(canvas.image, shown, canvas.width - margin - canvas.px(4) - text.width(shown, size), y, size, color)


INPUT = Pane(draw_input, _input_key)
