"""The legend: what the colours of values mean."""

from __future__ import annotations

import numpy as np

from deepvis.render import colors
from deepvis.render.draw import Legend
from deepvis.render.palettes import Palette
from deepvis.render.panes.pane import number


def legend_of(
    low: float, high: float, signed: bool, gamma: float, palette: Palette, is_by_unit: bool = False
) -> Legend:
    """A legend from the smallest to the largest value, with the colours that these values have.

    Args:
        gamma: as for `deepvis.render.colors.to_levels`.
        is_by_unit: each unit has a range of its own, so that no number holds for all.
    """
    if is_by_unit:
        low, high = -1.0 if signed else 0.0, 1.0
    most = max(abs(low), abs(high)) or 1.0
    scaled = np.linspace(low / most, high / most, 64, dtype=np.float32)[None]
    painted = colors.paint(colors.to_levels(scaled, signed, gamma), signed, palette)
    if is_by_unit:
        return Legend("−max" if signed else "0", "max by unit", painted)
    return Legend(number(low), number(high), painted)
