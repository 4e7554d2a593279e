"""The input pane: the picture as the network gets it, and the most likely classes."""

from __future__ import annotations

import numpy as np

from deepvis.core.frames import Frame
from deepvis.core.geometry import Box, cut
from deepvis.interface.state import Hover
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Pane, number
from deepvis.render.scene import Scene

TOP = 5


def _shown_frame(scene: Scene) -> Frame | None:
    """The picture that the other panes speak of; the newest one while the network is slow."""
    return scene.result.request.frame if scene.result and not scene.busy else scene.frame


def _crop(scene: Scene) -> bool:
    """How the shown picture was cut; as the user wants it, while the network is slow."""
    return scene.result.request.crop if scene.result and not scene.busy else scene.state.crop


def _input_ready(scene: Scene) -> bool:
    """Not between two layers, where the box of the receptive field would flicker."""
    r = scene.result
    return scene.shows_layer or scene.busy or not scene.layers or r is None or bool(r.error)


def _input_key(scene: Scene) -> tuple:
    s = scene.state
    field = (s.layer, s.unit) if s.receptive_field else None
    return (
        id(_shown_frame(scene)), id(scene.result), _crop(scene), scene.input_size, s.frozen, s.photo, s.predictions, scene.waiting,
        bool(scene.layers), field,
    )  # fmt: skip


def draw_input(canvas: Canvas, scene: Scene) -> None:
    """The picture as the network gets it, with the most likely classes under it (or over it)."""
    canvas.fill()
    frame, state = _shown_frame(scene), scene.state
    if frame is None:
        canvas.caption("input").words(scene.waiting or "no picture yet")
        return
    marks = {
        "frozen": state.frozen and state.photo is None,
        "stretched": not _crop(scene),
        "e: back": state.photo is not None,
    }
    if frame.bands is not None:
        marks[f"{frame.bands.shape[2]} bands"] = True
    body = canvas.caption(frame.name, " · ".join(mark for mark, on in marks.items() if on))
    place, bars = _places(body, scene)
    picture = body.part(place)
    picture.cover(cut(frame.image, scene.aspect, _crop(scene)))
    if state.receptive_field:
        _draw_field(picture, scene, frame)
    if state.predictions:
        if place[1] + place[3] > bars[1]:
            body.shade(bars)
        _draw_predictions(body.part(bars), scene, frame)


def _places(body: Canvas, scene: Scene) -> tuple[Box, Box]:
    """Of the picture, and of the predictions under it; where there is little room they lie on it."""
    bars = TOP * _line(body) + body.px(6) if scene.state.predictions else 0
    beside = body.height - bars >= 0.6 * body.width
    room = body.height - (bars if beside else 0)
    width = max(1, min(body.width, round(room * scene.aspect)))
    height = max(1, min(room, round(width / scene.aspect)))
    left, top = (body.width - width) // 2, max(0, room - height) // 2
    return (left, top, width, height), (0, top + height if beside else body.height - bars, body.width, bars)


def _line(canvas: Canvas) -> int:
    """Height of a prediction's bar."""
    return text.line_height(canvas.px(12)) + canvas.px(2)


def class_at(canvas: Canvas, scene: Scene, y: int) -> Hover | None:
    """The unit of the class whose prediction stands at that height of the pane."""
    if not scene.state.predictions or scene.scores is None or scene.class_layer is None:
        return None
    bars = _places(canvas.part((0, canvas.px_caption, canvas.width, canvas.height - canvas.px_caption)), scene)[1]
    row = (y - canvas.px_caption - bars[1] - canvas.px(3)) // _line(canvas)
    best = _best(scene.scores)
    return Hover(scene.class_layer, int(best[row])) if 0 <= row < len(best) else None


def _best(scores: np.ndarray) -> np.ndarray:
    return np.argsort(scores)[::-1][:TOP]


def _draw_field(canvas: Canvas, scene: Scene, frame: Frame) -> None:
    """Frame what the unit sees from the place of its map where it is strongest; nothing if that is all."""
    r = scene.result
    if not (scene.shows_layer and scene.layer.is_map and r.receptive_field):
        return
    if r.request.frame is not frame or r.request.crop != _crop(scene):
        return
    values = colors.finite(scene.channel)
    if values.min() == values.max():  # no place is stronger than another
        return
    field = r.receptive_field.box(*divmod(int(values.argmax()), scene.layer.width))
    box = _on_screen(field, scene.input_size, canvas)
    if box == (0, 0, canvas.width, canvas.height):
        return
    left, top, width, height = box
    line = canvas.px(1)
    canvas.frame(box, (20, 20, 20))  # a dark line beside the bright one: one of the two is seen on any picture
    canvas.frame((left + line, top + line, width - 2 * line, height - 2 * line), colors.ACCENT)


def _on_screen(field: Box, input_size: tuple[int, int], canvas: Canvas) -> Box:
    """A box in pixels of the network's input -> the frame around it in the picture, cut off at its edges."""
    (left, top, width, height), (high, wide) = field, input_size
    x, y, margin = canvas.width / wide, canvas.height / high, 2 * canvas.px(1)
    x0, x1 = (min(max(0, round(at * x) + out), canvas.width) for at, out in ((left, -margin), (left + width, margin)))
    y0, y1 = (min(max(0, round(at * y) + out), canvas.height) for at, out in ((top, -margin), (top + height, margin)))
    return x0, y0, x1 - x0, y1 - y0


def _draw_predictions(canvas: Canvas, scene: Scene, frame: Frame) -> None:
    result, scores, line = scene.result, scene.scores, _line(canvas)
    if scores is None or result.request.frame is not frame:
        if scores is None:
            failed = result and result.error
            why = (
                "waiting for the network" if not result else "the network failed" if failed else "this network has none"
            )
            canvas.words(f"class predictions: {why}")
        return
    size, margin = canvas.px(12), canvas.px(6)
    for i, unit in enumerate(_best(scores)):
        y = canvas.px(3) + i * line
        value = float(scores[unit])
        length = round(min(max(0, value), 1) * (canvas.width - 2 * margin))  # 0 comes first: it wins over NaN
        canvas.bar((margin, y, length, line - canvas.px(2)), (104, 78, 40))
        name = (scene.classes[unit] if unit < len(scene.classes) else "") or f"class {unit}"
        color = colors.TEXT if i == 0 else (196, 192, 190)
        text.put(
            canvas.image, text.shorten(name, canvas.width - canvas.px(62), size), margin + canvas.px(4), y, size, color
        )
        shown = number(value) if not 0 < value < 0.01 else "<0.01"
        text.put(canvas.image, shown, canvas.width - margin - canvas.px(4) - text.width(shown, size), y, size, color)


INPUT = Pane(draw_input, _input_key, _input_ready)
