"""The backward pane: where in the picture the unit gets its signal from."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from deepvis.attribution.methods import METHODS, Method, label, shows_of
from deepvis.interface.state import FILTERS
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.heat import cover, heat_of_pixels
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.compared import draw_compared, held_key, ready_compared
from deepvis.render.panes.input import picture_of
from deepvis.render.panes.pane import Key, Pane, why_not
from deepvis.render.scene import LoadingScene, Scene


def _backward_ready(scene: Scene) -> bool:
    return scene.state.method is None or ready_compared(
        scene, lambda one: one.backward is not None or one.busy or bool(one.failed) or one.needs_still
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
        s.opacity,
        scene.needs_still,
        *held_key(scene),
    )


def _draw_off(canvas: Canvas, _scene: LoadingScene) -> None:
    """Say what the pane is for."""
    canvas.fill()
    canvas.caption("backward").words(
        "which pixels excite the unit\n\nb: gradient, deconv, guided backprop, LRP, Grad-CAM\n"
        "n: all methods\n?: which of them is true\nm: how it is shown"
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
    ink = canvas.theme.frozen if frozen else canvas.theme.text
    title = f"{'held · ' if scene.is_held else ''}{label(state.method or '')} from {scene.origin_unit}"
    body = canvas.caption(title, f"{frozen + ' · ' if frozen else ''}{state.filter}", ink)
    pixels, note = scene.backward, scene.backward_note
    if doubt := scene.doubts.get(state.method or ""):
        note = f"measured for classes, it fails: {doubt}" + (f"; {note}" if note else "")
    if pixels is None:
        body.words(_why_not_yet(scene))
    elif not np.isfinite(pixels).all():
        body.words(f"{label(state.method or '')} gave NaN or infinite values; {note}".rstrip("; "))
    elif not pixels.any():
        nothing = f"nothing flows back from {scene.origin_unit}: all paths to the pixels are inactive in this picture"
        body.words(note or nothing)
    else:
        _draw_image(_above(body, note), scene, pixels)


def _draw_image(body: Canvas, scene: Scene, pixels: np.ndarray) -> None:
    """Draw a backward image; a map as heat over the picture."""
    state, result = scene.state, scene.result
    shows = shows_of(state.method)
    heat = heat_of_pixels(pixels, shows) if shows == "map" and state.filter == "raw" else None
    if heat is None or result is None:
        body.picture(colors.backward_image(pixels, state.filter, body.palette, shows))
        return
    box = body.picture(cv2.cvtColor(picture_of(scene, result.request.frame), cv2.COLOR_RGB2BGR))
    cover(body.part(box).image, heat, state.opacity, body.palette)


def _above(body: Canvas, note: str) -> Canvas:
    """Write what the method says of its image at the lower edge; returns the room that is left above."""
    if not note:
        return body
    size, margin = body.px(11), body.px(6)
    line, room = text.line_height(size), body.width - 2 * margin
    lines, most = list(text.wrap(note, room, size)), max(1, body.height // 4 // line)
    if len(lines) > most:
        lines[most - 1 :] = [text.shorten(" ".join(lines[most - 1 :]), room, size)]
    top = body.height - len(lines) * line
    for i, words in enumerate(lines):
        text.put(body.image, words, margin, top + i * line, size, body.theme.soft)
    return body.part((0, 0, body.width, top))


def _why_not_yet(scene: Scene) -> str:
    if not scene.needs_still:
        return why_not(scene)
    method, keys = METHODS[scene.state.method or ""], scene.keys.get("freeze", "").split()
    freeze = f"{keys[0]} freezes the picture" if keys else "freeze the picture"
    return f"{method.label} takes {method.passes} passes, which need a still picture: {freeze}"


def _chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """The usual methods, also the one that is on; all methods; which is true; the filter, of which a click takes the
    next one. A click on what is on switches it off, which saves the room of a chip."""
    state = scene.state
    doubts = scene.doubts if isinstance(scene, Scene) else {}
    rows = [row for row in METHODS.values() if row.in_cycle or row.name == state.method]
    more = Chip("…", "find=method: ", "all backward methods, to choose from", stays=True)
    true = Chip("?", "curves", "which backward method is true for this picture", state.zoom == "curves", stays=True)
    if state.method is None:
        off = Chip("off", "method=off", "no backward image", True)
        return (off, *(_method_chip(row, doubts, False) for row in rows), more, true)
    how = Chip(state.filter, "filter", f"how it is shown: {', '.join(FILTERS)}", True, apart=True)
    return (*(_method_chip(row, doubts, row.name == state.method) for row in rows), more, true, how)


def _method_chip(row: Method, doubts: Mapping[str, str], on: bool) -> Chip:
    doubt = f", which fails, measured for classes: {doubts[row.name]}" if row.name in doubts else ""
    words = f"{row.short or row.label}{'?' if doubt else ''}"
    if on:
        return Chip(words, "method=off", f"switch {row.label} off{doubt}", True)
    return Chip(words, f"method={row.name}", f"backward: {row.label}{doubt}")


BACKWARD = Pane(draw_backward, _draw_off, _backward_key, _backward_ready, chips=_chips)
