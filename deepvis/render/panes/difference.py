"""How much the layer's units differ between two pictures, in the layer pane."""

from __future__ import annotations

from functools import lru_cache

from deepvis.attribution.requests import Result, difference
from deepvis.interface.state import BOOSTS, GAMMAS, Hover
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import Look, look_at
from deepvis.render.panes.activations import draw_grid
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.cells import page_text, say_why, unit_at
from deepvis.render.panes.legend import legend_of
from deepvis.render.panes.pane import why_not
from deepvis.render.scene import Scene

_WHAT = "Here each cell shows how much its unit is more active in one picture than in another."


@lru_cache(maxsize=2)
def _look(result: Result, held: Result) -> Look | None:
    """The differences, as the same object each time, so that drawings are cached; None if there are none."""
    values = difference(result, held)
    return None if values is None else look_at(values)


def _seen(scene: Scene) -> Look | None:
    """The differences between the picture in view and the held one, in the selected layer; None if not known yet."""
    held = scene.of_held.own_result if scene.of_held is not None else None
    result = scene.own_result
    return None if result is None or held is None else _look(result, held)


def _why(scene: Scene) -> str:
    """Why there are no differences; empty if there are."""
    hold, held, result = scene.keys.get("hold", ""), scene.state.held, scene.own_result
    if held is None:
        return f"{hold} holds the picture in view; then look at another one."
    if result is not None and result.request.frame is held:
        return f"{held.name} is held and is also in view: look at another picture, or {hold} lets go."
    return "" if _seen(scene) is not None else why_not(scene)


def _draw_difference(canvas: Canvas, scene: Scene) -> None:
    title, why, seen, held = f"{scene.layer.name}   difference", _why(scene), _seen(scene), scene.state.held
    if why or seen is None or held is None:
        say_why(canvas.caption(title), _WHAT, why)
        return
    gamma, boost = GAMMAS[scene.state.gamma], BOOSTS[scene.state.boost]
    legend = legend_of(seen.low, seen.high, seen.signed, gamma, canvas.palette, boost > 0)
    words = f"{title} from {held.name}, below 0: less active than there   {page_text(canvas, scene)}"
    body = canvas.caption(words, legend=legend)
    draw_grid(body, scene, seen, gradient=False)


def _difference_at(body: Canvas, scene: Scene, x: int, y: int) -> Hover | None:
    return None if _why(scene) else unit_at(body, scene, x, y)


DIFFERENCE = BigView(
    _draw_difference,
    ready=lambda scene: scene.state.held is None or _seen(scene) is not None,
    at=_difference_at,
)
