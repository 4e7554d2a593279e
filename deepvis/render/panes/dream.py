"""The dream of the picture in view."""

from __future__ import annotations

import cv2

from deepvis.core.geometry import RelativeBox, contains, crop_box
from deepvis.interface.state import Spot
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.pane import Key, why_not
from deepvis.render.panes.remembered import part_words
from deepvis.render.scene import LoadingScene, Scene
from deepvis.workers.picture_messages import DreamView

_MODES = {"picture": "dream of the picture", "zoom": "endless zoom", "live": "live dream"}


def _draw_dream(canvas: Canvas, scene: Scene) -> None:
    found, state = scene.own_dream, scene.state
    title = f"{part_words(scene)}   {_MODES[state.dream_mode]}{_guide_words(scene)}"
    if found is None or found.picture is None:
        waits = found.note if found is not None else ("falling asleep …" if state.dreaming else "")
        stopped = "" if state.dreaming else f"the dream is stopped: key {scene.keys.get('dream', '')} goes on"
        canvas.caption(title).words(waits or stopped or why_not(scene), size=15)
        return
    now = found.words if state.dreaming else f"{found.words}, stopped"
    body = canvas.caption(title, " · ".join(filter(None, (now, found.note))))
    place = body.picture(cv2.cvtColor(found.picture, cv2.COLOR_RGB2BGR))
    box = state.new_box or state.guide_box
    if box is not None and state.dream_mode != "zoom" and (box.frame is found.wish.frame or found.wish.mode == "live"):
        _frame_box(body.part(place), box.box, _shown_part(found, scene))


def _guide_words(scene: Scene) -> str:
    """What guides the dream, for the title."""
    state = scene.state
    if state.guide_box is not None:
        return f", guided by a box of {state.guide_box.frame.name}"
    return f", guided by {state.held.name}" if state.guided and state.held is not None else ""


def _frame_box(picture: Canvas, box: RelativeBox, shown: RelativeBox) -> None:
    """Outline a drawn box in the dreamed picture, which fills the canvas."""
    wide, high = shown.right - shown.left, shown.bottom - shown.top
    corners = [
        ((x - shown.left) / wide, (y - shown.top) / high) for x, y in ((box.left, box.top), (box.right, box.bottom))
    ]
    left, top, width, height = RelativeBox.between(*corners).in_pixels(picture.height, picture.width)
    line = picture.px(1)
    picture.frame((left, top, width, height), (20, 20, 20))  # dark beside bright: on any picture one can be seen
    picture.frame((left + line, top + line, width - 2 * line, height - 2 * line), picture.theme.accent, 2)


def _shown_part(found: DreamView, scene: Scene) -> RelativeBox:
    """The part of the frame that the dreamed picture shows: a live dream is of what the network sees."""
    if found.wish.mode != "live" or not found.wish.crop:
        return RelativeBox()
    height, width = found.wish.frame.image.shape[:2]
    left, top, wide, high = crop_box(height, width, scene.input_size[1] / scene.input_size[0])
    return RelativeBox(left / width, top / height, (left + wide) / width, (top + high) / height)


def _spot(body: Canvas, scene: Scene, x: int, y: int) -> Spot | None:
    """Where a box begins or ends in the frame that is dreamed. None in an endless zoom, in which the picture moves away
    from under the box."""
    found = scene.own_dream
    if found is None or found.picture is None or scene.state.dream_mode == "zoom":
        return None
    left, top, width, height = body.fitted(found.picture.shape[1], found.picture.shape[0])
    shown = _shown_part(found, scene)
    right, down = (min(max(0.0, at), 1.0) for at in ((x - left) / width, (y - top) / height))
    along = shown.left + right * (shown.right - shown.left)
    below = shown.top + down * (shown.bottom - shown.top)
    return Spot(found.wish.frame, along, below, contains((left, top, width, height), x, y))


def dream_chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """What changes what is remembered or dreamed, as far as it does something now."""
    state = scene.state
    is_unit = state.part == "unit"
    other = "layer" if is_unit else "unit"
    part = Chip("unit alone", f"part={other}", "of the selected unit alone / of the layer", is_unit, apart=True)
    if state.content != "dream":
        return (part,)
    back = Chip("‹ contents", "content=activations", "back to the layer's other contents")
    remembered = Chip("remembered", "content=remembered", "layer pane: remembered")
    modes = tuple(
        Chip(name, f"dream_mode={name}", words, state.dream_mode == name, apart=name == "picture")
        for name, words in _MODES.items()
    )
    stop = Chip("stop" if state.dreaming else "go on", "dream", "stop the dream / go on", apart=True)
    more = (Chip("dream on", "dream_on", "dream on from the result"), Chip("save", "keep", "save the dreamed picture"))
    words = "by the drawn box / not" if state.guide_box is not None else "by the held picture, or a box: draw it / not"
    guide = Chip("guided", "guide", words, state.guide_box is not None or state.guided and state.held is not None)
    return (back, remembered, part, *modes, stop, *more, guide)


def _key(scene: Scene) -> Key:
    state = scene.state
    boxes = state.guide_box, state.new_box
    return id(scene.own_dream), state.part, state.dream_mode, state.dreaming, state.guided, *boxes


DREAM = BigView(_draw_dream, key=_key, spot=_spot)
