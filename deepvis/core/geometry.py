"""Cropping and resizing of pictures. The network's input and the screen use the same functions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Box = tuple[int, int, int, int]  # left, top, width, height in pixels


@dataclass(frozen=True)
class RelativeBox:
    """A part of a picture, in shares of its width and height, 0 to 1."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    @classmethod
    def between(cls, one: tuple[float, float], other: tuple[float, float]) -> RelativeBox:
        """The box of two opposite corners (x, y), clipped at the picture's edges."""
        (left, right), (top, bottom) = (sorted(min(max(0.0, at), 1.0) for at in pair) for pair in zip(one, other))
        return cls(left, top, right, bottom)

    def in_pixels(self, height: int, width: int) -> Box:
        """The box in a picture of that size, at least one pixel large."""
        left, top = min(round(self.left * width), width - 1), min(round(self.top * height), height - 1)
        return left, top, max(1, round(self.right * width) - left), max(1, round(self.bottom * height) - top)


def contains(box: Box, x: int, y: int) -> bool:
    """Whether a pixel lies in a box."""
    left, top, width, height = box
    return left <= x < left + width and top <= y < top + height


def crop_box(height: int, width: int, aspect: float, part: float = 1.0) -> Box:
    """The largest centred box of the given aspect inside an image, times `part`.

    Args:
        height, width: of the image, in pixels.
        aspect: width / height of the box.
        part: fraction of the box's sides to keep (0.875 is ImageNet's usual central crop).
    """
    w = min(width, height * aspect) * part
    h = w / aspect
    w, h = max(1, round(w)), max(1, round(h))
    return (width - w) // 2, (height - h) // 2, w, h


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale a picture, antialiased when it shrinks, smooth when it grows."""
    if (width, height) == image.shape[1::-1]:
        return image
    if width < image.shape[1] and height > image.shape[0] or width > image.shape[1] and height < image.shape[0]:
        image = resize(
            image, min(width, image.shape[1]), min(height, image.shape[0])
        )  # INTER_AREA shrinks or grows, not both
    while (  # halving first is many times faster, except for whole factors, which INTER_AREA does fast by itself
        image.shape[1] >= 2 * width
        and image.shape[0] >= 2 * height
        and (image.shape[1] % width or image.shape[0] % height)
    ):
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        image = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if (width, height) == image.shape[1::-1]:
        return image
    shrinks = width < image.shape[1] or height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def with_side(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) scaled so that the longer side is `side`; neither is less than 1."""
    factor = side / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longer side is at most `side` pixels (0: the same picture)."""
    height, width = image.shape[:2]
    if not side or side >= max(height, width):
        return image
    return resize(np.ascontiguousarray(image), *with_side(width, height, side))


def cut(image: np.ndarray, aspect: float, crop: bool, part: float = 1.0) -> np.ndarray:
    """The part of a picture that is used: the centred crop of that aspect or, if `crop` is false, all of it."""
    if not crop:
        return image
    left, top, width, height = crop_box(image.shape[0], image.shape[1], aspect, part)
    return image[top : top + height, left : left + width]


def fit(image: np.ndarray, width: int, height: int, crop: bool, part: float = 1.0) -> np.ndarray:
    """Bring a picture to a size: crop its centre and resize it or, if `crop` is false, stretch all of it."""
    return resize(cut(image, width / height, crop, part), width, height)


def resize_for_screen(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Like `resize`, but eight times as fast where the eye sees no difference: if it shrinks by less than half."""
    if image.shape[1] < 2 * width and image.shape[0] < 2 * height:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return resize(image, width, height)
