"""What the layer remembers: the picture in view beside the one that is rebuilt from the layer's code."""

from __future__ import annotations

import math

import cv2
import numpy as np

from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.pane import number, why_not
from deepvis.render.scene import Scene
from deepvis.workers.picture_messages import Remembered


def part_words(scene: Scene) -> str:
    """What of the layer is remembered or dreamed: its name, or the unit's id."""
    return scene.unit if scene.state.part == "unit" else scene.layer.name


def _draw_remembered(canvas: Canvas, scene: Scene) -> None:
    found = scene.own_remembered
    words = "what this unit remembers" if scene.state.part == "unit" else "what this layer remembers"
    title = f"{part_words(scene)}   {words}"
    if found is None or found.picture is None or found.seen is None:
        waits = found.note if found is not None else "looking for what it remembers …"
        canvas.caption(title).words(waits or why_not(scene), size=15)
        return
    body = canvas.caption(f"{title} of {found.wish.frame.name}", found.note)
    line = text.line_height(body.px(13)) + body.px(6)
    half, height = body.width // 2, body.height - 3 * line
    boxes = [(i * half + body.px(6), line, half - 2 * body.px(6), max(1, height)) for i in range(2)]
    for box, picture, name in zip(boxes, (found.seen, found.picture), ("the picture", _how(found))):
        left, top, width, high = _shown(body.part(box), picture)
        place = box[0] + left, box[1] + top
        size = body.px(13)
        text.put(body.image, text.shorten(name, width, size), place[0], place[1] - line, size, body.theme.dim)
        if picture is found.picture:
            text.put(body.image, _numbers(found), place[0], place[1] + high + body.px(4), size, body.theme.text)
            if not math.isnan(found.held_out):
                usual = f"closed form, photos it was not learned from: {found.held_out:.1f} dB"
                under = place[1] + high + body.px(4) + line
                text.put(body.image, text.shorten(usual, width, size), place[0], under, size, body.theme.dim)


def _shown(canvas: Canvas, picture: np.ndarray) -> tuple[int, int, int, int]:
    return canvas.picture(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _how(found: Remembered) -> str:
    if not found.steps:
        return "rebuilt from its code, in closed form"
    return f"rebuilt from its code, {found.steps} steps{'' if found.done else ' …'}"


def _numbers(found: Remembered) -> str:
    return f"{found.psnr:.1f} dB · code error {number(found.error)}"


REMEMBERED = BigView(_draw_remembered, key=lambda scene: (id(scene.own_remembered), scene.state.part))
