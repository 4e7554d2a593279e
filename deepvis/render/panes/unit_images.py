"""The unit images pane: synthesized images, top images, and the deconv of the top images."""

from __future__ import annotations

from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Pane
from deepvis.render.scene import Scene

_BLOCKS = (
    ("synthesized", "images made by the network for this unit"),
    ("top images", "the images of a data set that excite this unit most"),
    ("deconv of the top images", "what in these images excites the unit"),
)


def _unit_images_key(scene: Scene) -> tuple:
    return (scene.state.unit_images, scene.unit)


def draw_unit_images(canvas: Canvas, scene: Scene) -> None:
    """Three blocks of nine: synthesized images, top images, deconv of the top images."""
    canvas.fill()
    if not scene.state.unit_images:
        canvas.words("unit images are off\n9 shows them")
        return
    edges = [round(i * canvas.height / len(_BLOCKS)) for i in range(len(_BLOCKS) + 1)]
    for (title, what), top, bottom in zip(_BLOCKS, edges, edges[1:]):
        block = canvas.part((0, top, canvas.width, bottom - top - canvas.px(2)))
        body = block.caption(title, scene.unit)
        body.words(f"{what}\n\nnone yet: this version of deepvis does not compute them")


UNIT_IMAGES = Pane(draw_unit_images, _unit_images_key)
