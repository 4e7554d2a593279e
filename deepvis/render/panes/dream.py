"""The dream of the picture in view."""

from __future__ import annotations

import cv2

from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.pane import Key, why_not
from deepvis.render.panes.remembered import part_words
from deepvis.render.scene import LoadingScene, Scene

_MODES = {"picture": "dream of the picture", "zoom": "endless zoom", "live": "live dream"}


def _draw_dream(canvas: Canvas, scene: Scene) -> None:
    found, state = scene.own_dream, scene.state
    title = f"{part_words(scene)}   {_MODES[state.dream_mode]}"
    if state.guided and state.held is not None:
        title += f", guided by {state.held.name}"
    if found is None or found.picture is None:
        waits = found.note if found is not None else ("falling asleep …" if state.dreaming else "")
        stopped = "" if state.dreaming else f"the dream is stopped: key {scene.keys.get('dream', '')} goes on"
        canvas.caption(title).words(waits or stopped or why_not(scene), size=15)
        return
    now = found.words if state.dreaming else f"{found.words}, stopped"
    body = canvas.caption(title, " · ".join(filter(None, (now, found.note))))
    body.picture(cv2.cvtColor(found.picture, cv2.COLOR_RGB2BGR))


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
    guide = (Chip("guided", "guide", "by the held picture / not", state.guided),) if state.held is not None else ()
    return (back, remembered, part, *modes, stop, *more, *guide)


def _key(scene: Scene) -> Key:
    state = scene.state
    return id(scene.own_dream), state.part, state.dream_mode, state.dreaming, state.guided


DREAM = BigView(_draw_dream, key=_key)
