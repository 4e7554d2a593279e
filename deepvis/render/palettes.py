"""The colours of values: tables of 256 colours that people with any colour vision can tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from deepvis.interface.state import COLORS

Color = tuple[int, int, int]  # BGR

# OpenCV's tables of unsigned values, by the names in COLORS. The first row of COLORS has plain gray in place of one.
_MAPS = {
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
}
_HEAT = "inferno"  # of heat over a picture, where unsigned values are gray

# Signed values from −1 to 1: blue below zero, orange above. The sizes of both lose or gain brightness alike, so that
# the order of sizes is seen without colours too. Colours are BGR.
_PLACES = (-1.0, -0.6, 0.0, 0.6, 1.0)
_ON_DARK: tuple[Color, ...] = ((255, 220, 175), (255, 120, 40), (0, 0, 0), (0, 125, 235), (175, 228, 255))
_ON_LIGHT: tuple[Color, ...] = ((110, 36, 4), (225, 120, 45), (252, 252, 252), (15, 125, 225), (0, 50, 110))


@dataclass(frozen=True, eq=False)
class Palette:
    """Tables from the levels 0 … 255 to colours, uint8 256×1×3 BGR.

    Attributes:
        signed: −1 at 0, zero at 127.5, +1 at 255.
        unsigned: zero at 0.
        heat: of heat over a picture; zero at 0.
    """

    signed: np.ndarray
    unsigned: np.ndarray
    heat: np.ndarray

    def color(self, value: float) -> Color:
        """The colour of a signed value from −1 to 1."""
        blue, green, red = self.signed[round(127.5 + 127.5 * value), 0].tolist()
        return blue, green, red


@lru_cache(maxsize=16)
def palette(name: str, is_light: bool) -> Palette:
    """The palette of that name, as the same object each time; zero is dark, or light on a light ground.

    Args:
        name: one of `deepvis.interface.state.COLORS`.
    """
    signed = _through(_ON_LIGHT if is_light else _ON_DARK)
    if name in _MAPS:
        table = _opencv(name)
        return Palette(signed, table, table)
    gray = np.linspace(252, 8, 256) if is_light else np.linspace(0, 255, 256)
    return Palette(signed, np.repeat(gray.round().astype(np.uint8)[:, None, None], 3, axis=2), _opencv(_HEAT))


def _through(anchors: tuple[Color, ...]) -> np.ndarray:
    """A table of signed values that goes straight from one colour to the next."""
    values, colors = np.linspace(-1, 1, 256), np.array(anchors, float)
    channels = [np.interp(values, _PLACES, colors[:, i]) for i in range(3)]
    table: np.ndarray = np.stack(channels, axis=1).round().astype(np.uint8)[:, None]
    return table


def _opencv(name: str) -> np.ndarray:
    return cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], _MAPS[name])


USUAL = palette(COLORS[0], False)
