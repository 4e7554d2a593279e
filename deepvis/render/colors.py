"""Numbers to colours: activations, backward values and backward images as uint8 BGR."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[int, int, int]  # BGR


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
        bars, negative_bars: of diagrams.
        probability: the bars behind the names of classes.
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
    negative_bars: Color
    probability: Color


DARK = Theme(
    ground=(24, 21, 20),
    panel=(36, 32, 30),
    line=(62, 56, 52),
    text=(228, 226, 224),
    soft=(196, 192, 190),
    dim=(158, 150, 146),
    accent=(64, 186, 255),  # amber
    faint_accent=(60, 130, 175),
    on_accent=(20, 20, 20),
    pointed=(235, 235, 235),
    frozen=(255, 176, 84),  # sky blue
    good=(120, 200, 110),
    bad=(96, 96, 255),
    bars=(208, 204, 200),
    negative_bars=(255, 130, 40),
    probability=(104, 78, 40),
)
THEMES: dict[str, Theme] = {"dark": DARK}  # by the names in `deepvis.interface.state.THEMES`


def _ramp(negative: tuple[int, int, int], positive: tuple[int, int, int]) -> np.ndarray:
    """A table for signed values: −1 at 0, zero (black) at 127.5, +1 at 255."""
    v = np.linspace(-1, 1, 256)[:, None]
    table = np.where(v < 0, -v * np.array(negative), v * np.array(positive))
    levels: np.ndarray = table.round().astype(np.uint8)
    return levels[:, None]


_GRAY = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
_SIGNED = _ramp(negative=(255, 130, 40), positive=(255, 255, 255))  # blue … black … white
_GREEN_RED = _ramp(negative=(60, 50, 255), positive=(70, 255, 60))  # red … black … green


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


def paint(levels: np.ndarray, signed: bool, gradient: bool = False) -> np.ndarray:
    """Turn positions of a colour table into BGR: gray for unsigned values, blue–black–white for signed activations,
    red–black–green for backward values."""
    table = _GREEN_RED if gradient else _SIGNED if signed else _GRAY
    return cv2.applyColorMap(levels, table)


def backward_image(pixels: np.ndarray, filter: str) -> np.ndarray:
    """Turn a backward image (the result of a backward pass at the pixels) into a picture.

    Args:
        pixels: float32 H×W×3 RGB, any range.
        filter: "raw" (colours around mid-gray), "gray" (the mean over the colours), "norm" (the L2 norm over
            the colours, black to white), "blurred norm" (the norm smoothed by a Gaussian).
    Returns:
        uint8 H×W×3 BGR. The strongest 0.3 % of the values saturate. If all values are zero the picture is flat.
    """
    return FILTERS[filter](pixels)


def _raw(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(_about_gray(pixels), cv2.COLOR_RGB2BGR)


def _gray(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(_about_gray(pixels.mean(axis=2)), cv2.COLOR_GRAY2BGR)


def _norm(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(_from_black(np.sqrt(np.einsum("hwc,hwc->hw", pixels, pixels))), cv2.COLOR_GRAY2BGR)


def _blurred_norm(pixels: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.einsum("hwc,hwc->hw", pixels, pixels))
    sigma = pixels.shape[0] / 56  # 4 pixels in a picture of 224: about the width over which the eye blends such noise
    return cv2.cvtColor(_from_black(cv2.GaussianBlur(norm, (0, 0), sigma)), cv2.COLOR_GRAY2BGR)


FILTERS = {"raw": _raw, "gray": _gray, "norm": _norm, "blurred norm": _blurred_norm}


def _about_gray(values: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(np.clip(values / _strong(values), -1, 1), alpha=127.5, beta=127.5)


def _from_black(values: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(np.minimum(values / _strong(values), 1), alpha=255)


def _strong(values: np.ndarray) -> float:
    """The 99.7th percentile of the absolute values, estimated from a ninth of them to save time; never zero."""
    few = np.abs(values[::3, ::3]).ravel()
    rank = max(0, int(few.size * 0.997) - 1)
    strong = float(np.partition(few, rank)[rank]) or float(np.abs(values).max())
    return strong or 1.0
