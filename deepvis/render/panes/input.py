"""The input pane: the picture that the network gets, and the most likely classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.frames import Frame
from deepvis.core.geometry import Box, cut
from deepvis.interface.state import Hover, Target
from deepvis.render import colors, text
from deepvis.render.draw import Canvas, Legend
from deepvis.render.heat import cover, heat_of_input
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.compared import at_compared, draw_compared, held_key, ready_compared
from deepvis.render.panes.pane import Key, Pane, number
from deepvis.render.scene import LoadingScene, Scene

TOP = 5  # predictions
LEAST = 0.6  # height of the picture in widths of the pane, if there is room for a prediction below it


def _result(scene: LoadingScene) -> Result | None:
    return scene.result if isinstance(scene, Scene) else None


def picture_of(scene: LoadingScene, frame: Frame) -> np.ndarray:
    """The part of a frame that the network gets, uint8 RGB."""
    return cut(frame.image, _aspect(scene), _crop(scene))


def _aspect(scene: LoadingScene) -> float:
    """Width / height of the network's input; 1 while it loads."""
    return scene.aspect if isinstance(scene, Scene) else 1.0


def shown_frame(scene: LoadingScene) -> Frame | None:
    """The picture of the result that the other panes show; while the network is busy, the newest picture."""
    result = _result(scene)
    return result.request.frame if result and not scene.busy else scene.frame


def _crop(scene: LoadingScene) -> bool:
    """Whether the shown picture was cropped; while the network is busy, whether the user wants it cropped."""
    result = _result(scene)
    return result.request.crop if result and not scene.busy else scene.state.crop


def input_ready(scene: Scene) -> bool:
    """False while the result is not there yet, so that the receptive field's box and the heat do not flicker."""
    return ready_compared(scene, _is_there)


def _is_there(scene: Scene) -> bool:
    heat_waits = scene.state.heat == "backward" and scene.backward is None and not scene.needs_still
    return scene.own_result is not None and not heat_waits or scene.busy or scene.result is None or bool(scene.failed)


def _input_key(scene: Scene) -> Key:
    s = scene.state
    field = (s.layer, s.unit) if s.receptive_field else None
    return (picture_key(scene), s.frozen, s.photo, s.predictions, scene.waiting, field, *held_key(scene))


def picture_key(scene: Scene) -> Key:
    """What the picture with its heat depends on."""
    s = scene.state
    heat = None if s.heat == "off" else (s.heat, s.opacity, s.layer, s.unit, s.method, s.backward_origin)
    return (id(shown_frame(scene)), id(scene.result), _crop(scene), scene.input_size, heat)


def draw_input(canvas: Canvas, scene: Scene) -> None:
    """Draw the picture that the network gets, beside the held one if one is held."""
    draw_compared(canvas, scene, _draw_one)


def _draw_one(canvas: Canvas, scene: LoadingScene) -> None:
    """Draw a picture, with the most likely classes below it or over its lower part."""
    canvas.fill()
    frame, state = shown_frame(scene), scene.state
    if frame is None:
        canvas.caption("input").words(scene.waiting or "no picture yet")
        return
    held = isinstance(scene, Scene) and scene.is_held
    marks = {
        "held": held,
        "frozen": state.frozen and state.photo is None and not held,
        "stretched": not _crop(scene),
        "e: back": state.photo is not None and not held,
    }
    if frame.bands is not None:
        marks[f"{frame.bands.shape[2]} bands"] = True
    legend = heat_legend(canvas, scene) if isinstance(scene, Scene) else None
    body = canvas.caption(frame.name, " · ".join(mark for mark, on in marks.items() if on), legend=legend)
    place, bars = _places(body, scene)
    picture = body.part(place)
    picture.cover(picture_of(scene, frame))
    if isinstance(scene, Scene):
        draw_heat(picture, scene)
        if state.receptive_field:
            _draw_field(picture, scene, frame)
    if state.predictions:
        if place[1] + place[3] > bars[1]:
            body.shade(bars)
        _draw_predictions(body.part(bars), scene, frame, count_beside(body))


def _places(body: Canvas, scene: LoadingScene) -> tuple[Box, Box]:
    """The boxes of the picture and of the predictions below it; if there is little room they lie over the picture."""
    bars = count_beside(body) * _line(body) + body.px(6) if scene.state.predictions else 0
    beside = body.height - bars >= LEAST * body.width
    room = body.height - (bars if beside else 0)
    width = max(1, min(body.width, round(room * _aspect(scene))))
    height = max(1, min(room, round(width / _aspect(scene))))
    left, top = (body.width - width) // 2, max(0, room - height) // 2
    return (left, top, width, height), (0, top + height if beside else body.height - bars, body.width, bars)


def count_beside(body: Canvas) -> int:
    """How many predictions are shown: fewer than TOP if the picture would become small or be covered by them."""
    free = body.height - LEAST * body.width - body.px(6)
    return min(TOP, max(1, int(free / _line(body))))


def _line(canvas: Canvas) -> int:
    """Height of a prediction's bar."""
    return text.line_height(canvas.px(12)) + canvas.px(2)


def class_at(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The unit of the class whose prediction is under a point of the pane; None if there is none."""
    return at_compared(canvas, scene, x, y, _class_at)


def _class_at(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The unit of the class whose prediction is drawn at the height `y` of the pane; None if there is none."""
    if not scene.state.predictions or scene.scores is None or scene.class_layer is None:
        return None
    bars = _places(_body(canvas), scene)[1]
    row = (y - canvas.px_caption - bars[1] - canvas.px(3)) // _line(canvas)
    best = _best(scene.scores, count_beside(_body(canvas)))
    return Hover(scene.class_layer, int(best[row])) if 0 <= row < len(best) else None


def _body(canvas: Canvas) -> Canvas:
    return canvas.part((0, canvas.px_caption, canvas.width, canvas.height - canvas.px_caption))


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(scores)[::-1][:count]


def _draw_field(canvas: Canvas, scene: Scene, frame: Frame) -> None:
    """Frame the receptive field at the place of the map where the unit is strongest, unless it is the whole picture."""
    channel, of_unit = scene.channel, scene.receptive_field
    if channel is None or of_unit is None or not scene.layer.is_map or not _is_seen(scene, frame):
        return
    values = colors.finite(channel)
    if values.min() == values.max():  # no place is stronger than another
        return
    field = of_unit.box(*divmod(int(values.argmax()), scene.layer.width))
    box = _on_screen(field, scene.input_size, canvas)
    if box == (0, 0, canvas.width, canvas.height):
        return
    left, top, width, height = box
    line = canvas.px(1)
    canvas.frame(box, (20, 20, 20))  # a dark line beside the bright one: on any picture one of them can be seen
    canvas.frame((left + line, top + line, width - 2 * line, height - 2 * line), canvas.theme.accent)


def _is_seen(scene: Scene, frame: Frame) -> bool:
    """Whether the shown picture is the one that the newest result is about."""
    request = scene.result.request if scene.result else None
    return request is not None and request.frame is frame and request.crop == _crop(scene)


def _seen_heat(scene: Scene) -> np.ndarray | None:
    frame = shown_frame(scene)
    return heat_of_input(scene) if frame is not None and _is_seen(scene, frame) else None


def draw_heat(picture: Canvas, scene: Scene) -> None:
    """Lay the heat, if it is on, over the picture that fills the canvas."""
    heat = _seen_heat(scene)
    if heat is not None and picture.image.size:
        cover(picture.image, heat, scene.state.opacity, picture.palette)


def heat_legend(canvas: Canvas, scene: Scene) -> Legend | None:
    """A legend for the heat over the picture; None if there is none."""
    if _seen_heat(scene) is None:
        return None
    channel = scene.channel if scene.state.heat == "activation" else None
    most = "strong" if channel is None else number(float(colors.finite(channel).max()))
    return Legend("0", most, canvas.palette.heat.transpose(1, 0, 2))


def _on_screen(field: Box, input_size: tuple[int, int], canvas: Canvas) -> Box:
    """Turn a box in pixels of the network's input into a frame around it in the canvas, clipped at the edges."""
    (left, top, width, height), (high, wide) = field, input_size
    x, y, margin = canvas.width / wide, canvas.height / high, 2 * canvas.px(1)
    x0, x1 = (min(max(0, round(at * x) + out), canvas.width) for at, out in ((left, -margin), (left + width, margin)))
    y0, y1 = (min(max(0, round(at * y) + out), canvas.height) for at, out in ((top, -margin), (top + height, margin)))
    return x0, y0, x1 - x0, y1 - y0


def _draw_predictions(canvas: Canvas, scene: LoadingScene, frame: Frame, count: int) -> None:
    if not isinstance(scene, Scene) or scene.result is None:
        canvas.words("class predictions: waiting for the network")
    elif scene.scores is None:
        canvas.words(f"class predictions: {'the network failed' if scene.failed else 'this network has none'}")
    elif scene.result.request.frame is frame:
        _draw_bars(canvas, scene.scores, scene.classes, count)


def _draw_bars(canvas: Canvas, scores: np.ndarray, classes: Sequence[str], count: int) -> None:
    line = _line(canvas)
    size, margin = canvas.px(12), canvas.px(6)
    for i, unit in enumerate(_best(scores, count)):
        y = canvas.px(3) + i * line
        value = float(scores[unit])
        length = round(min(max(0, value), 1) * (canvas.width - 2 * margin))  # max(0, NaN) is 0
        canvas.bar((margin, y, length, line - canvas.px(2)), canvas.theme.probability)
        name = (classes[unit] if unit < len(classes) else "") or f"class {unit}"
        color = canvas.theme.text if i == 0 else canvas.theme.soft
        text.put(
            canvas.image, text.shorten(name, canvas.width - canvas.px(62), size), margin + canvas.px(4), y, size, color
        )
        shown = number(value) if not 0 < value < 0.01 else "<0.01"
        text.put(canvas.image, shown, canvas.width - margin - canvas.px(4) - text.width(shown, size), y, size, color)


def _chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """What changes the input, as far as it does something now."""
    state, frame = scene.state, scene.frame
    hold = _hold_chips(scene)
    if state.photo is not None:
        return (Chip("‹ back", "switch_source", "back to the input before"), *_crop_chips(scene), *hold)
    camera = state.source == "camera"
    live = camera or (frame is not None and frame.live)
    freeze = ("freeze", "hold the camera's picture / go on") if camera else ("pause", "pause the video / go on")
    steps = (Chip("‹ previous", "previous_file", "previous file"), Chip("next ›", "next_file", "next file"))
    return (
        *(() if camera else steps),
        *([Chip(freeze[0], "freeze", freeze[1], state.frozen)] if live else []),
        *_crop_chips(scene),
        Chip("files" if camera else "camera", "switch_source", f"show the {'files' if camera else 'camera'}"),
        *hold,
    )


def _hold_chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """The chip for holding the picture in view, once there is one."""
    if scene.frame is None or not isinstance(scene, Scene):
        return ()
    if scene.state.held is not None:
        return (Chip("let go", "hold", "let the held picture go", True),)
    return (Chip("hold", "hold", "hold this picture and compare others with it"),)


def _crop_chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """The chip for cropping, unless the picture has the input's proportions."""
    frame, crop = scene.frame, scene.state.crop
    if frame is None or abs(frame.image.shape[1] / frame.image.shape[0] / _aspect(scene) - 1) < 0.01:
        return ()
    return (
        Chip("crop", "crop", f"{'stretch the picture' if crop else 'crop the picture'} to the input's shape", crop),
    )


INPUT = Pane(draw_input, _draw_one, _input_key, input_ready, class_at, _chips)
