"""The renderer: (scene, layout) -> one picture. It uses no torch, no files and no threads."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from deepvis.core.geometry import Box
from deepvis.interface.layout import Layout
from deepvis.interface.state import Spot, Target
from deepvis.render.colors import DARK, THEMES, Theme
from deepvis.render.draw import Canvas, fill
from deepvis.render.palettes import USUAL, Palette, palette
from deepvis.render.panes import PANES
from deepvis.render.panes.cells import layer_grid
from deepvis.render.panes.chips import Chip, chip_at, draw_chips, placed, pointed_at, split
from deepvis.render.panes.layer import spot_in_layer
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
        self._chip_keys: dict[str, Key] = {}
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
            changed |= self._draw_chips(name, pane, scene)
            key = _key(pane, scene)
            if key == before or before is not None and not _ready(pane, scene):
                continue
            start = time.perf_counter()
            _draw(pane, _parts(pane, self._canvas(name))[1], scene)
            self._keys[name], self._drawn[name] = key, scene
            self.seconds[name] = time.perf_counter() - start
            changed = True
        return self._image, changed

    def _draw_chips(self, name: str, pane: Pane, scene: LoadingScene) -> bool:
        """Draw the pane's tabs or chips if they have changed. They do not wait for what the pane waits for."""
        chips = pane.chips(scene) if pane.chips else ()
        key = (chips, pointed_at(chips, scene.state.hover))
        if not pane.chips or key == self._chip_keys.get(name):
            return False
        _draw_line(pane, self._canvas(name), scene)
        self._chip_keys[name] = key
        return True

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
            canvas = Canvas(image, self.layout.scale * factor, *_colors_of(scene))
            _draw_line(PANES[name], canvas, scene)
            _draw(PANES[name], _parts(PANES[name], canvas)[1], scene)
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
        _, _, width, height = self.layer_box
        return max(1, width), max(1, height)

    @property
    def layer_box(self) -> Box:
        """Where the layer pane's mosaic lies in the picture; empty if there is no such pane."""
        if "layer" not in self.layout.panes:
            return 0, 0, 0, 0
        left, top, *_ = self.layout.panes["layer"]
        canvas = self._canvas("layer")
        line, body = _parts(PANES["layer"], canvas)
        above = (line.height if line else 0) + body.px_caption
        return left, top + above, body.width, body.height - body.px_caption

    def chip_boxes(self, scene: LoadingScene) -> dict[str, list[tuple[Chip, Box]]]:
        """{pane: the tabs and chips in the line at its edge, and their boxes in the picture}."""
        found = {}
        for name, (left, top, *_) in self.layout.panes.items():
            pane, canvas = PANES[name], self._canvas(name)
            line, _body = _parts(pane, canvas)
            if line is not None and pane.chips is not None:
                down = top if pane.chips_at_top else top + canvas.height - line.height
                chips = placed(line, pane.chips(scene))
                found[name] = [(chip, (left + x, down + y, w, h)) for chip, (x, y, w, h) in chips]
        return found

    def target_at(self, x: int, y: int, scene: LoadingScene) -> Target:
        """What lies under a point of the picture: a unit, a layer, a class, a tile, a chip …; None if there is none."""
        name = self.layout.pane_at(x, y)
        if name is None:
            return None
        left, top, *_ = self.layout.panes[name]
        pane, x, y = PANES[name], x - left, y - top
        line, body = _parts(pane, self._canvas(name))
        if line is not None and pane.chips is not None:
            at_line = y if pane.chips_at_top else y - body.height
            if 0 <= at_line < line.height:
                return chip_at(line, pane.chips(scene), x, at_line)
            y -= line.height if pane.chips_at_top else 0
        return pane.target(body, scene, x, y) if isinstance(scene, Scene) else pane.loading_target(body, scene, x, y)

    def fraction_in_layer(self, x: int, y: int) -> tuple[float, float] | None:
        """A point of the picture as fractions of the layer pane's mosaic area; None outside the layer pane."""
        if self.layout.pane_at(x, y) != "layer":
            return None
        left, top, width, height = self.layer_box
        return (x - left) / max(1, width), (y - top) / max(1, height)

    def spot_in_layer(self, x: int, y: int, scene: LoadingScene) -> Spot | None:
        """Where a box in the layer pane begins or ends that is drawn to a point, which may lie outside of the pane;
        None if no box can be drawn."""
        if "layer" not in self.layout.panes or not isinstance(scene, Scene):
            return None
        left, top, *_ = self.layout.panes["layer"]
        line, canvas = _parts(PANES["layer"], self._canvas("layer"))
        return spot_in_layer(canvas, scene, x - left, y - top - (line.height if line else 0))


def _parts(pane: Pane, canvas: Canvas) -> tuple[Canvas | None, Canvas]:
    """The line of the pane's chips, None if it has none, and the rest of the pane."""
    return split(canvas, pane.chips_at_top) if pane.chips else (None, canvas)


def _draw_line(pane: Pane, canvas: Canvas, scene: LoadingScene) -> None:
    line, _ = _parts(pane, canvas)
    if line is not None and pane.chips is not None:
        line.fill()
        draw_chips(line, pane.chips(scene), scene.state.hover)


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
