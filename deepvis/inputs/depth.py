"""Converting pixel values of other types to 8 bits, and guessing their value of full white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WHITES = (255, 1023, 4095, 16383, 65535)
"""What full white may be in a picture of 16 bits: sensors give 10, 12 or 14 of them."""

_BLOCK = 4_000_000  # values at a time


@dataclass(frozen=True)
class White:
    """What counts as full white in pictures of 16 bits.

    Attributes:
        said: the value that the user or the file gives; 0 to guess the smallest of `WHITES` that no pixel exceeds.
        note: called with a text that says what was guessed.
    """

    said: float = 0
    note: Callable[[str], None] = lambda text: None

    def of(self, name: str, most: float) -> float:
        """The white of the picture of that name, whose largest value is `most`."""
        if self.said:
            return self.said
        guess = self.guessed(most)
        if guess != WHITES[-1]:
            self.note(
                f"{name} has 16 bits and a largest value of {most:g}: white is taken to be {guess}. "
                "If that is wrong, set the right value in the model.yaml: input: {white: …}"
            )
        return guess

    @staticmethod
    def guessed(most: float) -> float:
        """The smallest of `WHITES` that is not below this value; the largest for a black picture."""
        return next((white for white in WHITES if 0 < most <= white), WHITES[-1])


GUESSED = White()
"""Nobody has said what is white, and nobody is told what is guessed."""


def gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    """H×W -> H×W×3."""
    return np.repeat(gray[..., None], 3, axis=2)


def uint16_to_uint8(values: np.ndarray, white: float) -> np.ndarray:
    """Scale 0 … `white` to 0 … 255, rounded; larger values become 255."""
    table = np.clip(np.round(np.arange(65536) * (255 / white)), 0, 255).astype(np.uint8)
    scaled: np.ndarray = table[values]
    return scaled


def wide_to_uint8(values: np.ndarray, white: float = 65535) -> np.ndarray:
    """Bring values of unknown range to 8 bits; one channel becomes three.

    uint8 stays as it is, and uint16 is scaled so that `white` becomes 255. For other types the range of the finite
    values decides: floats within 0 … 1 are scaled by 255, values within 0 … 255 stay, integers within
    0 … 65535 are scaled by 1/257, and all others are stretched from their minimum to their maximum. NaN becomes 0.
    """
    if values.dtype == np.uint16:
        values = uint16_to_uint8(values, white)
    elif values.dtype != np.uint8:
        values = _stretched(values)
    return gray_to_rgb(values) if values.ndim == 2 else values


def _stretched(values: np.ndarray) -> np.ndarray:
    """Scale as `wide_to_uint8` says, some rows at a time, because every step makes another array."""
    step = max(1, _BLOCK // max(1, values[0].size))
    parts = [values[top : top + step] for top in range(0, len(values), step)]
    finite = [part[np.isfinite(part)] for part in parts]
    lows, highs = ([float(limit(part)) for part in finite if part.size] for limit in (np.min, np.max))
    low, high = (min(lows), max(highs)) if lows else (0.0, 1.0)
    is_float = values.dtype.kind == "f"
    for full_scale in (1, 255) if is_float else (255, 65535):
        if low >= 0 and high <= full_scale:
            low, high = 0.0, float(full_scale)
            break
    out = np.empty(values.shape, np.uint8)
    for i, part in enumerate(parts):
        scaled = (part.astype(np.float64) - low) * (255 / max(high - low, 1e-300))
        out[i * step : i * step + len(part)] = np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).round()
    return out
