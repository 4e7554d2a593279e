"""Where each pane lies: fractions of the window -> pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepvis.core.geometry import Box, contains

CAPTION = 20  # height of a pane's title line, in unscaled pixels


@dataclass(frozen=True)
class Layout:
    """Pixel boxes of the visible panes for one window size.

    Attributes:
        width, height: of the window's picture.
        scale: size of text and marks; 1 on an ordinary screen, limited where the window is too
            small for more.
        panes: {name: (left, top, width, height)}.
    """

    width: int
    height: int
    scale: float
    panes: Mapping[str, Box]

    def px(self, size: float) -> int:
        """An unscaled length in this layout's pixels."""
        return max(1, round(size * self.scale))

    def pane_at(self, x: int, y: int) -> str | None:
        return next((name for name, box in self.panes.items() if contains(box, x, y)), None)


def lay_out(panes: Mapping[str, tuple[float, float, float, float]], width: int, height: int, scale: float) -> Layout:
    """Turn fractions of the window into pixel boxes; neighbours share an edge and leave no gap.

    Args:
        panes: {name: (left, top, width, height)} as fractions of the window; None or an empty
            width hides a pane.
    """
    boxes = {}
    for name, fractions in panes.items():
        if not fractions:
            continue
        left, top, w, h = fractions
        x0, y0 = round(left * width), round(top * height)
        x1, y1 = round((left + w) * width), round((top + h) * height)
        boxes[name] = (x0, y0, max(1, x1 - x0), max(1, y1 - y0))
    carried = max(1.0, min(width / 750, height / 465))
    return Layout(width, height, min(scale, carried), boxes)
