"""What one view of the big pane is: a content of the layer's units, the backward image, the help …"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deepvis.interface.state import Hover
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import Key
from deepvis.render.scene import Scene


@dataclass(frozen=True)
class BigView:
    """One view.

    Attributes:
        draw: draws the whole pane, its title too.
        ready: what it needs is there; until then the pane keeps its picture.
        key: what the drawing depends on, besides what that of all views does.
        at: which unit lies under a point, given in pixels of the pane's body, which is the pane without its title.
    """

    draw: Callable[[Canvas, Scene], None]
    ready: Callable[[Scene], bool] = lambda scene: True
    key: Callable[[Scene], Key] = lambda scene: ()
    at: Callable[[Canvas, Scene, int, int], Hover | None] = lambda body, scene, x, y: None
