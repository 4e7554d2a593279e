"""What a pane is, and words that several panes use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from deepvis.core.layers import Layer
from deepvis.render.draw import Canvas
from deepvis.render.scene import Scene


@dataclass(frozen=True)
class Pane:
    """One pane: `draw` on a canvas; redrawn when `key` changes, and only while `ready`."""

    draw: Callable[[Canvas, Scene], None]
    key: Callable[[Scene], tuple]
    ready: Callable[[Scene], bool] = lambda scene: True


def number(value: float) -> str:
    """A value in few characters."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.2f}".replace("-", "−")
    return f"{value:.1e}".replace("-", "−")


def extent_text(layer: Layer) -> str:
    return f"{layer.units} units of {layer.width}×{layer.height}" if layer.is_map else f"{layer.units} units"


def why_not(scene: Scene) -> str:
    """Words for a pane whose answer is not there."""
    if scene.result is not None and scene.result.error:
        return f"the network failed: {scene.result.error}"
    if scene.frame is None:
        return scene.waiting or "no picture yet"
    return "the network is computing …"
