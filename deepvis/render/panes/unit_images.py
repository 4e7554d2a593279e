"""The unit images pane: synthesized images, top images, and the deconv of the top images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from deepvis.geometry import resize_for_screen
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Pane, number
from deepvis.render.scene import Scene

_LATER = (
    ("top images", "the images of a data set that excite this unit most"),
    ("deconv of the top images", "what in these images excites the unit"),
)


def _unit_images_key(scene: Scene) -> tuple:
    s = scene.state
    return (s.unit_images, scene.unit, id(scene.own_pictures), id(scene.own_grown), s.growing, s.preset)


def draw_unit_images(canvas: Canvas, scene: Scene) -> None:
    """Three blocks: synthesized images, top images, deconv of the top images."""
    canvas.fill()
    if not scene.state.unit_images:
        canvas.words("unit images are off\n9 shows them")
        return
    edges = [round(i * canvas.height / 3) for i in range(4)]
    blocks = [canvas.part((0, top, canvas.width, bottom - top - canvas.px(2))) for top, bottom in zip(edges, edges[1:])]
    _draw_synthesized(blocks[0], scene)
    for block, (title, what) in zip(blocks[1:], _LATER):
        block.caption(title, scene.unit).words(f"{what}\n\nnone yet: this version of deepvis does not compute them")


def _draw_synthesized(canvas: Canvas, scene: Scene) -> None:
    """What is growing now, else what is stored; else in words how to get some."""
    if not scene.layers:
        canvas.caption("synthesized").words("images made by the network for a unit")
        return
    grown, pictures = scene.own_grown, scene.own_pictures
    if scene.state.growing:
        if grown is not None and grown.images:
            score = number(max(grown.scores))
            draw_images(canvas.caption(f"growing · {grown.wish.preset}", f"step {grown.steps} · {score}"), grown.images)
            return
        words = grown.error if grown is not None and grown.error else "the first images are on their way …"
        canvas.caption("growing", scene.unit).words(words)
        return
    if pictures is not None and pictures.synthesized:
        draw_images(canvas.caption("synthesized", scene.unit), pictures.synthesized)
        return
    why = pictures.note if pictures is not None and pictures.note else "none stored"
    canvas.caption("synthesized", scene.unit).words(
        f"images made by the network for this unit: {why}\n\nx makes some now; deepvis synthesize --units {scene.unit} stores them"
        if pictures is not None else "looking …"
    )  # fmt: skip


def draw_images(canvas: Canvas, images: Sequence[np.ndarray]) -> None:
    """Images (uint8 RGB of one size) as large as they fit side by side, in the middle."""
    height, width = images[0].shape[:2]
    gap = canvas.px(2)

    def side(columns: int) -> float:
        rows = math.ceil(len(images) / columns)
        return min((canvas.width - gap) / columns / width, (canvas.height - gap) / rows / height)

    columns = max(range(1, len(images) + 1), key=side)
    rows, factor = math.ceil(len(images) / columns), side(columns)
    w, h = max(1, int(width * factor) - gap), max(1, int(height * factor) - gap)
    left, top = (canvas.width - columns * (w + gap)) // 2, (canvas.height - rows * (h + gap)) // 2
    for i, image in enumerate(images):
        x, y = left + (i % columns) * (w + gap), max(0, top + (i // columns) * (h + gap))
        part = canvas.image[y : y + h, x : x + w]
        part[:] = cv2.cvtColor(resize_for_screen(image, w, h), cv2.COLOR_RGB2BGR)[: part.shape[0], : part.shape[1]]


UNIT_IMAGES = Pane(draw_unit_images, _unit_images_key)
