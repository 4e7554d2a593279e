"""The renderer: (scene, layout) -> one picture. It never sees torch, a file or a thread."""

from __future__ import annotations

import time

import numpy as np

from deepvis.interface.layout import Layout
from deepvis.interface.state import Hover, TopImage
from deepvis.render import colors
from deepvis.render.draw import Canvas, fill
from deepvis.render.panes import PANES
from deepvis.render.panes.input import class_at
from deepvis.render.panes.layer import layer_grid, shows_units
from deepvis.render.panes.recipe_grid import tile_at
from deepvis.render.panes.statistics import pair_at
from deepvis.render.panes.strip import layer_boxes
from deepvis.render.panes.unit_images import top_image_at
from deepvis.render.scene import Scene, Status

__all__ = ["Renderer", "Scene", "Status"]

_GAP = 2  # between panes, in unscaled pixels
ENLARGED = 20.0  # times at most, of a pane's own picture: in a window of a few pixels its words would be thousands of pixels high


class Renderer:
    """Keeps the window's picture and draws those panes again whose content has changed.

    Attributes:
        layout: where the panes lie; set it to lay the window out anew.
        seconds: what each pane's last drawing took.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.seconds: dict[str, float] = {}

    @property
    def layout(self) -> Layout:
        return self._layout

    @layout.setter
    def layout(self, layout: Layout) -> None:
        self._layout = layout
        self._image = np.empty((layout.height, layout.width, 3), np.uint8)
        fill(self._image, colors.GROUND)
        self._keys: dict[str, tuple] = {}
        self._drawn: dict[str, Scene] = {}  # keys hold ids: what they name must live as long as the key

    def compose(self, scene: Scene) -> tuple[np.ndarray, bool]:
        """Draw what has changed.

        Returns:
            The picture (uint8 H×W×3 BGR, the renderer's own: copy it to keep it), and whether
            any of it is new.
        """
        changed = False
        for name in self.layout.panes:
            pane = PANES[name]
            key = pane.key(scene)
            if key == self._keys.get(name) or not (pane.ready(scene) or name not in self._keys):
                continue
            start = time.perf_counter()
            pane.draw(self._canvas(name), scene)
            self._keys[name], self._drawn[name] = key, scene
            self.seconds[name] = time.perf_counter() - start
            changed = True
        return self._image, changed

    def _canvas(self, name: str) -> Canvas:
        left, top, width, height = self.layout.panes[name]
        gap = self.layout.px(_GAP)
        width = width - gap if left + width < self.layout.width else width
        height = height - gap if top + height < self.layout.height else height
        return Canvas(self._image[top : top + max(1, height), left : left + max(1, width)], self.layout.scale)

    def pane_pictures(self, scene: Scene, longest: int = 1800) -> dict[str, np.ndarray]:
        """Each pane alone, drawn anew so large that its longer side has `longest` pixels (less of very small panes)."""
        pictures = {}
        for name, (_, _, width, height) in self.layout.panes.items():
            factor = min(max(1.0, longest / max(width, height)), ENLARGED)
            image = np.empty((round(height * factor), round(width * factor), 3), np.uint8)
            PANES[name].draw(Canvas(image, self.layout.scale * factor), scene)
            pictures[name] = image
        return pictures

    def cells(self, scene: Scene) -> tuple[range, int]:
        """The units that the layer pane shows at least in part, as far as rows go, and the longer side of a cell in pixels."""
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

    def target_at(self, x: int, y: int, scene: Scene) -> Hover | TopImage | None:
        """What layer, unit, class, top image or tile of the grid of recipes lies under a point of the picture."""
        name = self.layout.pane_at(x, y)
        if name is None or not scene.layers:
            return None
        left, top, *_ = self.layout.panes[name]
        canvas = self._canvas(name)
        x, y = x - left, y - top
        match name:
            case "layers":
                return self._layer_at(canvas, x, y, scene)
            case "layer":
                return self._unit_at(x, y - canvas.px_caption, scene)
            case "input":
                return class_at(canvas, scene, y)
            case "unit_images":
                return top_image_at(canvas, scene, x, y)
        return None

    def _layer_at(self, canvas: Canvas, x: int, y: int, scene: Scene) -> Hover | None:
        names = tuple(layer.name for layer in scene.layers)
        boxes = layer_boxes(names, scene.state.layer, canvas.width, canvas.height, canvas.scale)
        hit = [i for i, b in enumerate(boxes) if b and b[0] <= x < b[0] + b[2] and b[1] <= y < b[1] + b[3]]
        return Hover(hit[0]) if hit else None

    def _unit_at(self, x: int, y: int, scene: Scene) -> Hover | None:
        state = scene.state
        if state.recipe_grids and not state.help:
            tile = tile_at(x, y, *self.layer_area, self.layout.scale)
            return Hover(state.layer, state.unit, tile=tile) if tile is not None else None
        if state.help or state.zoom != "layer" or y < 0 or not shows_units(scene):
            return None
        if state.has_matrix:
            pair = pair_at(x, y, *self.layer_area, scene.own_statistics, state)
            return Hover(state.layer, *pair) if pair else None
        unit = layer_grid(scene, *self.layer_area, self.layout.scale).at(x, y)
        return Hover(state.layer, unit) if unit is not None else None

    def fraction_in_layer(self, x: int, y: int) -> tuple[float, float] | None:
        """A point of the picture as fractions of the layer pane's mosaic area; None outside it."""
        if self.layout.pane_at(x, y) != "layer":
            return None
        left, top, *_ = self.layout.panes["layer"]
        width, height = self.layer_area
        return (x - left) / width, (y - top - self._canvas("layer").px_caption) / height
