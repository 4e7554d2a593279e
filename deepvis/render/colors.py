"""The interface's colours, and numbers to colours: activations, backward values and backward images as uint8 BGR."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deepvis.render.palettes import Color, Palette


@dataclass(frozen=True)
class Theme:
    """The interface's own colours. Pictures, maps and heat have theirs elsewhere.

    Attributes:
        ground: behind pictures, between panes.
        panel: behind titles and the status bar.
        line: thin lines.
        text, soft, dim: of words, from the most to the least important.
        accent, faint_accent: the selection; the selection while the cursor is elsewhere.
        on_accent: of words on the accent.
        pointed: a frame around what the mouse points at.
        frozen: a frozen origin.
        good, bad: of good and bad news.
        bars: of diagrams.
        probability: the bars behind the names of classes.
        is_light: the ground is bright.
    """

    ground: Color
    panel: Color
    line: Color
    text: Color
    soft: Color
    dim: Color
    accent: Color
    faint_accent: Color
    on_accent: Color
    pointed: Color
    frozen: Color
    good: Color
    bad: Color
    bars: Color
    probability: Color
    is_light: bool = False


DARK = Theme(
    ground=(24, 21, 20),
    panel=(36, 32, 30),
    line=(62, 56, 52),
    text=(228, 226, 224),
    soft=(196, 192, 190),
    dim=(158, 150, 146),
    accent=(64, 186, 255),  # amber
    faint_accent=(30, 90, 125),
    on_accent=(20, 20, 20),
    pointed=(235, 235, 235),
    frozen=(255, 176, 84),  # sky blue
    good=(120, 200, 110),
    bad=(96, 96, 255),
    bars=(208, 204, 200),
    probability=(104, 78, 40),
)
LIGHT = Theme(
    ground=(240, 238, 236),
    panel=(226, 224, 222),
    line=(196, 192, 188),
    text=(30, 28, 26),
    soft=(58, 54, 50),
    dim=(96, 90, 84),
    accent=(0, 72, 138),  # dark amber
    faint_accent=(140, 200, 240),
    on_accent=(255, 255, 255),
    pointed=(30, 28, 26),
    frozen=(180, 84, 0),  # strong blue
    good=(36, 96, 12),
    bad=(30, 20, 180),
    bars=(100, 94, 88),
    probability=(240, 214, 184),
    is_light=True,
)
THEMES: dict[str, Theme] = {"dark": DARK, "light": LIGHT}  # by the names in `deepvis.interface.state.THEMES`


def _luminance(color: Color) -> float:
    """WCAG 2.2's relative luminance, 0 to 1."""
    parts = [value / 255 for value in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]


def contrast(one: Color, other: Color) -> float:
    """WCAG 2.2's contrast ratio of two colours, 1 to 21; text of ordinary size is easy to read from 4.5 on."""
    dark, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def ink_on(ground: Color) -> Color:
    """The colour of words on any ground: black or white, whichever has more contrast: at least √21 = 4.58."""
    inks: tuple[Color, Color] = (0, 0, 0), (255, 255, 255)
    return max(inks, key=lambda ink: contrast(ink, ground))


def finite(maps: np.ndarray) -> np.ndarray:
    """The maps with NaN and infinity as zero."""
    return maps if np.isfinite(maps).all() else np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)


def is_signed(maps: np.ndarray) -> bool:
    """Whether a layer has negative values that are large enough to be shown in a colour of their own."""
    low, high = float(maps.min(initial=0)), float(maps.max(initial=0))
    return low < -0.02 * max(high, -low)


def limits(maps: np.ndarray, boost: float, strongest: float | None = None) -> np.ndarray:
    """The value of each channel that is shown at full brightness.

    Args:
        maps: float32 C×H×W.
        boost: 0 takes the layer's largest absolute value, 1 each channel's own; values in between mix the two.
        strongest: the layer's largest absolute value, if `maps` is only a part of the layer.
    Returns:
        float32 C, nowhere zero.
    """
    own = np.maximum(maps.max(axis=(1, 2)), -maps.min(axis=(1, 2)))
    mixed = (1 - boost) * (own.max(initial=0) if strongest is None else strongest) + boost * own
    positive: np.ndarray = np.maximum(mixed, np.finfo(np.float32).tiny * 1e6)
    return positive.astype(np.float32)


def to_levels(scaled: np.ndarray, signed: bool, gamma: float) -> np.ndarray:
    """Turn values in −1…1 (or 0…1) into positions 0…255 of a colour table; gamma is applied to the absolute value.

    If `signed` is false, negative values count as zero.
    """
    if gamma != 1.0:
        size = cv2.pow(np.abs(scaled), gamma)
        scaled = np.copysign(size, scaled)
    if signed:
        clipped: np.ndarray = np.clip(scaled, -1, 1)
        return cv2.convertScaleAbs(clipped, alpha=127.5, beta=127.5)
    clipped = np.clip(scaled, 0, 1)
    return cv2.convertScaleAbs(clipped, alpha=255)


def paint(levels: np.ndarray, signed: bool, palette: Palette) -> np.ndarray:
    """Turn positions of a colour table into BGR."""
    return cv2.applyColorMap(levels, palette.signed if signed else palette.unsigned)


def backward_image(pixels: np.ndarray, filter: str, palette: Palette, shows: str = "colors") -> np.ndarray:
    """Turn a backward image (the result of a backward pass at the pixels) into a picture.

    Args:
        shows: what its method gives (`deepvis.attribution.methods.Method.shows`): "colors"; "shares", whose raw picture
            is their sum over the colours, painted as signed values; "map", painted as unsigned values.
        pixels: float32 H×W×3 RGB, any range.
        filter: "raw" (colours around mid-gray), "gray" (the mean over the colours), "norm" (the L2 norm over
            the colours), "blurred norm" (the norm smoothed by a Gaussian). The norms are painted as unsigned values.
    Returns:
        uint8 H×W×3 BGR in the picture's own range, see `_strong`. If all values are zero the picture is flat.
    """
    if shows == "map":
        filter = "norm" if filter == "raw" else filter
    if filter == "raw" and shows == "shares":
        total = pixels.sum(axis=2)
        return paint(to_levels(total / _strong(total), True, 1.0), True, palette)
    if filter == "raw":
        return cv2.cvtColor(_about_gray(pixels), cv2.COLOR_RGB2BGR)
    if filter == "gray":
        return cv2.cvtColor(_about_gray(pixels.mean(axis=2)), cv2.COLOR_GRAY2BGR)
    how = "map" if shows == "map" else "colors"
    return paint(cv2.convertScaleAbs(strength(pixels, filter == "blurred norm", how), alpha=255), False, palette)


def strength(pixels: np.ndarray, blurred: bool = True, shows: str = "colors") -> np.ndarray:
    """How strong a backward image is at each pixel, float32 H×W from 0 to 1.

    Of colours the L2 norm over them, of shares what speaks for the unit, of a map its values.
    """
    if shows == "map":
        values: np.ndarray = np.maximum(pixels.mean(axis=2), 0)
        return values / (float(values.max()) or 1.0)
    norm = np.maximum(pixels.sum(axis=2), 0) if shows == "shares" else np.sqrt(np.einsum("hwc,hwc->hw", pixels, pixels))
    if blurred:  # 4 pixels in a picture of 224: about the width over which the eye blends such noise
        norm = cv2.GaussianBlur(norm, (0, 0), pixels.shape[0] / 56)
    strong: np.ndarray = np.minimum(norm / _strong(norm), 1)
    return strong


def _about_gray(values: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(np.clip(values / _strong(values), -1, 1), alpha=127.5, beta=127.5)


# A normal distribution then has its range at 2.5 standard deviations.
_RANGE = 2.0


def _strong(values: np.ndarray) -> float:
    """The size of a value that is shown at full strength; never zero.

    It is twice the mean size of the values, each weighted by its own size, Σv² / Σ|v|. Empty parts of a picture have no
    weight, so that the range is that of the part where the values are, and a few extreme values do not stretch it much.
    """
    total = cv2.norm(values, cv2.NORM_L1)
    typical = cv2.norm(values, cv2.NORM_L2SQR) / total if total else 0.0
    return min(_RANGE * typical, cv2.norm(values, cv2.NORM_INF)) or 1.0
