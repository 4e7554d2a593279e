"""The renderer: (scene, layout) -> one picture. It uses no torch, no files and no threads."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from deepvis.interface.layout import Layout
from deepvis.interface.state import Target
from deepvis.render.colors import DARK, THEMES, Theme
from deepvis.render.draw import Canvas, fill
from deepvis.render.palettes import USUAL, Palette, palette
from deepvis.render.panes import PANES
from deepvis.render.panes.cells import layer_grid
from deepvis.render.panes.pane import Key, Pane
from deepvis.render.scene import LoadingScene, Scene, Status

__all__ = ["LoadingScene", "Renderer", "Scene", "Status"]

_GAP = 2  # between panes, in unscaled pixels
# How many times a saved pane is enlarged at most: in a tiny window its text would become thousands of pixels high.
ENLARGED = 20.0


class Renderer:
    """Keeps the window's picture and redraws the panes whose content has changed.

    Attributes:
        layout: where the panes lie; assigning a new one redraws everything.
        seconds: {pane: how long its last drawing took}.
    """

    def __init__(self, layout: Layout) -> None:
        self._theme, self._palette = DARK, USUAL
        self.layout = layout
        self.seconds: dict[str, float] = {}

    @property
    def layout(self) -> Layout:
        return self._layout

    @layout.setter
    def layout(self, layout: Layout) -> None:
        self._layout = layout
        self._image = np.empty((layout.height, layout.width, 3), np.uint8)
        self._forget()

    def _forget(self) -> None:
        """Forget what was drawn, so that everything is drawn anew, also the gaps between the panes."""
        fill(self._image, self._theme.ground)
        self._keys: dict[str, Key] = {}
        self._drawn: dict[str, LoadingScene] = {}  # keeps alive the objects whose ids are in the keys

    def compose(self, scene: LoadingScene) -> tuple[np.ndarray, bool]:
        """Redraw the panes that have changed.

        Returns:
            The picture (uint8 H×W×3 BGR; the renderer draws into it again, so copy it to keep it), and whether
            any pane was redrawn.
        """
        changed = False
        chosen = _colors_of(scene)
        if chosen != (self._theme, self._palette):
            self._theme, self._palette = chosen
            self._forget()
        for name in self.layout.panes:
            pane, before = PANES[name], self._keys.get(name)
            key = _key(pane, scene)
            if key == before or before is not None and not _ready(pane, scene):
                continue
            start = time.perf_counter()
            _draw(pane, self._canvas(name), scene)
            self._keys[name], self._drawn[name] = key, scene
            self.seconds[name] = time.perf_counter() - start
            changed = True
        return self._image, changed

    def is_drawn(self, name: str, scene: LoadingScene) -> bool:
        """Whether a pane shows the current scene."""
        return self._keys.get(name) == _key(PANES[name], scene)

    def _canvas(self, name: str) -> Canvas:
        left, top, width, height = self.layout.panes[name]
        gap = self.layout.px(_GAP)
        width = width - gap if left + width < self.layout.width else width
        height = height - gap if top + height < self.layout.height else height
        part = self._image[top : top + max(1, height), left : left + max(1, width)]
        return Canvas(part, self.layout.scale, self._theme, self._palette)

    def pane_pictures(self, scene: LoadingScene, longest: int = 1800) -> dict[str, np.ndarray]:
        """Each pane drawn as a picture of its own, with `longest` pixels on its longer side (fewer if it is tiny)."""
        pictures = {}
        for name, (_, _, width, height) in self.layout.panes.items():
            factor = min(max(1.0, longest / max(width, height)), ENLARGED)
            image = np.empty((round(height * factor), round(width * factor), 3), np.uint8)
            _draw(PANES[name], Canvas(image, self.layout.scale * factor, *_colors_of(scene)), scene)
            pictures[name] = image
        return pictures

    def cells(self, scene: LoadingScene) -> tuple[Sequence[int], int]:
        """The units in the rows that the layer pane shows at least in part, and a size for their images.

        The size is the longer side of a cell in pixels, rounded up to a power of two. If the layer pane does not show
        images of units, there are no units.
        """
        if not isinstance(scene, Scene) or not scene.state.shown.has_pictures:
            return range(0), 0
        width, height = self.layer_area
        grid = layer_grid(scene, width, height, self.layout.scale)
        first = max(0, -grid.top // grid.cell_height)
        last = min(grid.rows, -(-(height - grid.top) // grid.cell_height))
        units = grid.units[first * grid.columns : last * grid.columns]
        return units, 1 << (max(grid.cell_width, grid.cell_height) - 1).bit_length()

    @property
    def layer_area(self) -> tuple[int, int]:
        """Width and height of the layer pane's mosaic, in pixels."""
        if "layer" not in self.layout.panes:
            return 1, 1
        body = self._canvas("layer")
        return max(1, body.width), max(1, body.height - body.px_caption)

    def target_at(self, x: int, y: int, scene: LoadingScene) -> Target:
        """The layer, unit, class, top image or recipe grid tile under a point of the picture; None if there is none."""
        name = self.layout.pane_at(x, y)
        if name is None or not isinstance(scene, Scene):
            return None
        left, top, *_ = self.layout.panes[name]
        return PANES[name].target(self._canvas(name), scene, x - left, y - top)

    def fraction_in_layer(self, x: int, y: int) -> tuple[float, float] | None:
        """A point of the picture as fractions of the layer pane's mosaic area; None outside the layer pane."""
        if self.layout.pane_at(x, y) != "layer":
            return None
        left, top, *_ = self.layout.panes["layer"]
        width, height = self.layer_area
        return (x - left) / width, (y - top - self._canvas("layer").px_caption) / height


def _colors_of(scene: LoadingScene) -> tuple[Theme, Palette]:
    theme = THEMES[scene.state.theme]
    return theme, palette(scene.state.colors, theme.is_light)


def _draw(pane: Pane, canvas: Canvas, scene: LoadingScene) -> None:
    if isinstance(scene, Scene):
        pane.draw(canvas, scene)
    else:
        pane.loading(canvas, scene)


def _key(pane: Pane, scene: LoadingScene) -> Key:
    if isinstance(scene, Scene):
        return ("ready", *pane.key(scene))
    return ("loading", scene.state, id(scene.frame), scene.busy, scene.waiting, id(scene.help), scene.status)


def _ready(pane: Pane, scene: LoadingScene) -> bool:
    return pane.ready(scene) if isinstance(scene, Scene) else True
