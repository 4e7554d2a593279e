"""Where each pane lies: LAYOUTS is the table of layouts; fractions of the window become pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepvis.core.geometry import Box, contains
from deepvis.interface.settings import DEFAULT_PANES, Rectangle, Settings
from deepvis.interface.state import State

CAPTION = 20  # height of a pane's title line, in unscaled pixels
CHIP_LINE = 18  # height of a line of tabs or chips
NARROW = 0.85  # windows below this width / height are portraits
_USUAL = (1500, 930)  # the window, longer side first, in which the type has its standard size
_GROWTH = 0.8  # exponent: in a window twice as large the type is 1.74 times as large, and there is room for more
_STATUS = 0.0484  # height of the status bar below an enlarged pane
_HELP = 700  # unscaled pixels: in a window whose layer pane is less high, the help takes the whole window


@dataclass(frozen=True)
class Arrangement:
    """A layout.

    Attributes:
        landscape, portrait: {pane: its place in fractions of the window}.
        scale: how much larger its type is than usual.
    """

    landscape: Mapping[str, Rectangle]
    portrait: Mapping[str, Rectangle]
    scale: float = 1.0


LAYOUTS: dict[str, Arrangement] = {  # by the names in `deepvis.interface.state.LAYOUT_NAMES`
    "standard": Arrangement(
        landscape=DEFAULT_PANES,
        portrait={
            "input": (0, 0, 0.4, 0.3),
            "unit": (0.4, 0, 0.3, 0.184),
            "backward": (0.7, 0, 0.3, 0.184),
            "layers": (0.4, 0.184, 0.6, 0.116),
            "layer": (0, 0.3, 1, 0.46),
            "unit_images": (0, 0.76, 1, 0.21),
            "status": (0, 0.97, 1, 0.03),
        },
    ),
    "projector": Arrangement(  # large type, few panes
        landscape={
            "input": (0, 0, 0.3, 0.56),
            "backward": (0, 0.56, 0.3, 0.37),
            "layer": (0.3, 0, 0.7, 0.6),
            "unit_images": (0.3, 0.6, 0.7, 0.33),
            "status": (0, 0.93, 1, 0.07),
        },
        portrait={
            "input": (0, 0, 0.55, 0.36),
            "backward": (0.55, 0, 0.45, 0.36),
            "layer": (0, 0.36, 1, 0.38),
            "unit_images": (0, 0.74, 1, 0.22),
            "status": (0, 0.96, 1, 0.04),
        },
        scale=1.5,
    ),
}


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


def fit(settings: Settings, state: State, width: int, height: int, screen: float = 1.0) -> Layout:
    """The layout that the user has chosen, in a window of that size.

    An enlarged pane fills the window, and so does the help in a small one. The settings' own panes come before the
    standard layout, but not before another.

    Args:
        screen: the factor by which the desktop enlarges text; used if the settings leave the scale to the program.
    """
    chosen, is_narrow = LAYOUTS[state.layout], width < NARROW * height
    panes = chosen.portrait if is_narrow else chosen.landscape
    if state.layout == "standard" and settings.panes != DEFAULT_PANES:
        panes = settings.panes
    if state.enlarged is not None:
        panes = _alone(state.enlarged)
    scale = settings.window.scale
    scale = growing_scale(width, height, screen) if scale == "auto" else scale
    layout = lay_out(panes, width, height, scale * chosen.scale)
    if state.help and "layer" in layout.panes and layout.panes["layer"][3] < layout.px(_HELP):
        return lay_out(_alone("layer"), width, height, scale)
    return layout


def _alone(pane: str) -> Mapping[str, Rectangle]:
    """A pane that fills the window."""
    return {pane: (0, 0, 1, 1 - _STATUS), "status": (0, 1 - _STATUS, 1, _STATUS)}


def growing_scale(width: int, height: int, screen: float) -> float:
    """The size of type that suits a window: it grows with the window, and is never below the desktop's own."""
    long, short = _USUAL
    times = min(max(width, height) / (long * screen), min(width, height) / (short * screen))
    return float(screen * max(1.0, times) ** _GROWTH)


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
    carried = max(1.0, min(max(width, height) / 750, min(width, height) / 465))
    return Layout(width, height, min(scale, carried), boxes)
