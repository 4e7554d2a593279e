"""Two pictures side by side: the held one at the left, the one in view at the right, each drawn as if it were alone."""

from __future__ import annotations

from collections.abc import Callable

from deepvis.interface.state import Target
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Key
from deepvis.render.scene import Scene

Draw = Callable[[Canvas, Scene], None]
At = Callable[[Canvas, Scene, int, int], Target]


def _halves(canvas: Canvas) -> tuple[Canvas, Canvas, int]:
    """The two halves, and where the right one begins."""
    gap, half = canvas.px(2), canvas.width // 2
    left = canvas.part((0, 0, max(1, half - gap), canvas.height))
    return left, canvas.part((half, 0, canvas.width - half, canvas.height)), half


def draw_compared(canvas: Canvas, scene: Scene, draw: Draw) -> None:
    """Draw a pane, or the pane for each of the two pictures if one is held."""
    held = scene.of_held
    if held is None:
        draw(canvas, scene)
        return
    canvas.fill()
    left, right, _ = _halves(canvas)
    draw(left, held)
    draw(right, scene)


def at_compared(canvas: Canvas, scene: Scene, x: int, y: int, at: At) -> Target:
    """What is under a point of a pane that `draw_compared` has drawn."""
    held = scene.of_held
    if held is None:
        return at(canvas, scene, x, y)
    left, right, start = _halves(canvas)
    return at(right, scene, x - start, y) if x >= start else at(left, held, x, y)


def ready_compared(scene: Scene, ready: Callable[[Scene], bool]) -> bool:
    """Whether a pane can be drawn, for each of the two pictures if one is held."""
    held = scene.of_held
    return ready(scene) and (held is None or ready(held))


def held_key(scene: Scene) -> Key:
    """What the held picture's half depends on."""
    return scene.state.held, id(scene.held)
