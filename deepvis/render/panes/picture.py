"""The picture that the network sees in the layer pane, with heat over it."""

from __future__ import annotations

from dataclasses import replace

from deepvis.render.draw import Canvas
from deepvis.render.heat import heat_words
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.input import draw_heat, heat_legend, input_ready, picture_key, picture_of, shown_frame
from deepvis.render.panes.pane import why_not
from deepvis.render.scene import Scene


def _with_heat(scene: Scene) -> Scene:
    """The scene with the heat of the unit's activation, if the user has chosen none: this view is about heat."""
    state = scene.state
    return scene if state.heat != "off" else replace(scene, state=replace(state, heat="activation"))


def _draw_picture(canvas: Canvas, scene: Scene) -> None:
    scene = _with_heat(scene)
    frame = shown_frame(scene)
    if frame is None:
        canvas.caption("picture").words(why_not(scene), size=15)
        return
    words = heat_words(scene) or f"no heat: key {scene.keys.get('heat', '')}"
    body = canvas.caption(f"{frame.name}   {words}", legend=heat_legend(canvas, scene))
    height, width = scene.input_size
    factor = min(body.width / width, body.height / height)
    w, h = max(1, int(width * factor)), max(1, int(height * factor))
    picture = body.part(((body.width - w) // 2, (body.height - h) // 2, w, h))
    picture.cover(picture_of(scene, frame))
    draw_heat(picture, scene)


PICTURE = BigView(_draw_picture, ready=input_ready, key=lambda scene: picture_key(_with_heat(scene)))
