"""The class of a pane, and texts that several panes use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from deepvis.core.layers import Layer
from deepvis.interface.state import Target
from deepvis.render.draw import Canvas
from deepvis.render.panes.chips import Chip
from deepvis.render.scene import LoadingScene, Scene

Key = tuple[object, ...]


@dataclass(frozen=True)
class Pane:
    """One pane.

    Attributes:
        draw: draws the pane.
        loading: draws it while the network loads.
        key: returns everything that its picture depends on. The pane is redrawn when this changes, but only while
            `ready` says true.
        ready: says whether a new picture can be drawn. While the pane waits for a result, it keeps its picture and its
            title, which belong together.
        target: returns what is under a point, given in pixels of the pane.
        loading_target: the same while the network loads.
        chips: the tabs and chips in a thin line at the pane's edge; None: the pane has no such line.
        chips_at_top: the line is above the pane's title; else it is the pane's last line.
    """

    draw: Callable[[Canvas, Scene], None]
    loading: Callable[[Canvas, LoadingScene], None]
    key: Callable[[Scene], Key]
    ready: Callable[[Scene], bool] = lambda scene: True
    target: Callable[[Canvas, Scene, int, int], Target] = lambda canvas, scene, x, y: None
    chips: Callable[[LoadingScene], tuple[Chip, ...]] | None = None
    chips_at_top: bool = False
    loading_target: Callable[[Canvas, LoadingScene, int, int], Target] = lambda canvas, scene, x, y: None


def number(value: float) -> str:
    """A value as a short text."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.2f}".replace("-", "−")
    return f"{value:.1e}".replace("-", "−")


def extent_text(layer: Layer) -> str:
    return f"{layer.units} units of {layer.width}×{layer.height}" if layer.is_map else f"{layer.units} units"


def why_no_index(scene: Scene, note: str | None) -> str:
    """A text that says why something of the index is not shown.

    Args:
        note: the worker's; None if it has not answered yet.
    """
    return scene.scan_words or ("looking …" if note is None else note)


def why_not(scene: Scene) -> str:
    """A text that says why a pane has no result to show."""
    if scene.failed:
        return f"the network failed: {scene.failed}"
    if scene.frame is None:
        return scene.waiting or "no picture yet"
    return "the network is computing …"
