"""Dreams that move: an endless zoom into a picture, and a dream that follows a camera or a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from deepvis.synthesis.dream import (
    Dreamed,
    Dreamer,
    DreamPlan,
    Pull,
    as_array,
    as_bytes,
    as_values,
    climbed,
    dream,
    random_shift,
)

# ---- endless zoom -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Zoom:
    """How the picture moves from frame to frame of an endless zoom.

    Attributes:
        zoom: by what share it grows.
        turn: degrees, anticlockwise.
        drift: (right, down) in pixels.
    """

    zoom: float = 0.05
    turn: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)


def zoomed(picture: np.ndarray, zoom: Zoom) -> np.ndarray:
    """The picture enlarged about its middle, turned and moved, at the same size; bilinear, mirrored at the edges."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), zoom.turn, 1 + zoom.zoom)
    matrix[:, 2] += np.array(zoom.drift)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


ZOOM_PLAN = DreamPlan(octaves=2, iterations=(4, 2))


def endless(
    dreamer: Dreamer,
    picture: np.ndarray,
    zoom: Zoom = Zoom(),  # noqa: B008
    plan: DreamPlan = ZOOM_PLAN,
    pulls: Sequence[Pull] = (),
    each: int = 50,
) -> Iterator[Dreamed]:
    """Dream, enlarge, dream on: yields frames without end.

    Args:
        pulls: to walk through, `each` frames with one; empty: the dreamer's own.
    """
    current, frame = np.ascontiguousarray(picture, np.float32), 0
    while True:
        if pulls:
            dreamer.pull = pulls[frame // each % len(pulls)]
        *_, done = dream(dreamer, current, replace(plan, seed=plan.seed + frame))
        yield done
        frame += 1
        current = zoomed(done.picture, zoom)


# ---- live ---------------------------------------------------------------------------------------


class LiveDream:
    """Dreams a little in each frame of a moving picture; what was added is carried along by optical flow."""

    def __init__(self, dreamer: Dreamer, step: float = 3.0, steps: int = 1, keep: float = 0.9, seed: int = 0) -> None:
        """
        Args:
            steps: in each frame, of mean change `step`.
            keep: the share of what was added that stays from frame to frame.
        """
        self._dreamer, self._step, self._steps, self._keep = dreamer, step, steps, keep
        self._draw = np.random.default_rng(seed)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._before: tuple[np.ndarray, np.ndarray] | None = None  # gray picture, what was added

    def next(self, picture: np.ndarray) -> np.ndarray:
        """The dream of the next frame (uint8 H×W×3 RGB, all of one size); uint8."""
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        base: np.ndarray = picture.astype(np.float32)
        detail: np.ndarray = np.zeros_like(base)
        if self._before is not None and self._before[0].shape == gray.shape:
            detail = (
                carried(self._before[1], self._flow.calc(gray, self._before[0], np.zeros((*gray.shape, 2), np.float32)))
                * self._keep
            )
        values = as_values(np.clip(base + detail, 0, 255)).to(self._dreamer.network.device)
        for _ in range(self._steps):
            values = climbed(self._dreamer, values, self._step, random_shift(self._draw, 16)).values
        current = as_array(values)
        self._before = gray, current - base
        return as_bytes(current)


def carried(detail: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What was added to the frame before, where it lies in this one; nothing where the picture has just come into view.

    Args:
        flow: H×W×2, from each pixel of this frame to where it was in the frame before, (x, y).
    """
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(detail, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
