"""The class of a view in the layer pane: a content of the layer's units, the backward image, the help …"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deepvis.interface.state import Spot, Target
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Key
from deepvis.render.scene import Scene


@dataclass(frozen=True)
class BigView:
    """One view.

    Attributes:
        draw: draws the whole pane, with its title.
        ready: says whether everything that it needs has arrived; until then the pane keeps its picture.
        key: returns what its picture depends on, besides the things that all views depend on.
        at: returns the unit or photo under a point, given in pixels of the pane's body (the pane without its title).
        spot: returns where a box begins or ends that is drawn to a point of the body; None if no box can be drawn.
    """

    draw: Callable[[Canvas, Scene], None]
    ready: Callable[[Scene], bool] = lambda scene: True
    key: Callable[[Scene], Key] = lambda scene: ()
    at: Callable[[Canvas, Scene, int, int], Target] = lambda body, scene, x, y: None
    spot: Callable[[Canvas, Scene, int, int], Spot | None] = lambda body, scene, x, y: None
