"""Heat over a picture: where the selected unit is active, or where its backward image is strong."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from deepvis.attribution.methods import shows_of
from deepvis.attribution.requests import Result
from deepvis.core.geometry import Box
from deepvis.core.receptive_field import ReceptiveField
from deepvis.render import colors
from deepvis.render.palettes import Palette
from deepvis.render.scene import Scene
from deepvis.workers.messages import TopPictures

SIDE = 160  # longest side of a heat in pixels: it is smooth and can be enlarged, and maps are rarely finer
_FULL = 0.5  # from this strength on heat has its full opacity; below it fades


def heat_of_input(scene: Scene) -> np.ndarray | None:
    """The heat over the picture that the network sees, uint8 h×w from 0 to 255.

    None if it is off, if what it shows has not arrived, or if there is nothing to show in this picture.
    """
    state, result = scene.state, scene.own_result
    if state.heat == "activation" and result is not None and scene.layer.is_map:
        return _of_activation(result, state.unit, scene.input_size)
    if state.heat == "backward" and scene.backward is not None and scene.result is not None:
        return _of_backward(scene.result)
    return None


def heat_of_tops(scene: Scene, tops: TopPictures) -> tuple[np.ndarray | None, ...]:
    """The same for each top image of the selected unit; empty if there is none for any of them."""
    if scene.state.heat == "activation" and scene.layer.is_map:
        return _of_patches(tops, scene.receptive_field, scene.input_size)
    return _of_patch_passes(tops) if scene.state.heat == "backward" else ()


def heat_words(scene: Scene) -> str:
    """What the heat shows, or why there is none; empty if it is off."""
    heat, key = scene.state.heat, scene.keys.get("heat", "")
    if heat == "activation" and not scene.layer.is_map:
        return f"{scene.unit} is one number, which has no place in the picture; key {key} shows the backward heat"
    if heat == "activation" and scene.own_result is not None and heat_of_input(scene) is None:
        return f"no heat: {scene.unit} is active nowhere in this picture"
    if heat == "activation":
        return f"heat: where {scene.unit} is active"
    return f"heat: backward from {scene.origin_unit}" if heat == "backward" else ""


def cover(picture: np.ndarray, heat: np.ndarray, opacity: float, palette: Palette) -> None:
    """Lay heat over a picture.

    Args:
        picture: uint8 H×W×3 BGR, written to.
        heat: uint8 h×w from 0 to 255, spread over the whole picture.
        opacity: of the heat where it is strong, 0 to 1. Weak heat is more transparent.
    """
    height, width = picture.shape[:2]
    if not picture.size:
        return
    levels = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    hot, rest = _mixing(opacity, palette)
    dimmed = cv2.multiply(picture, cv2.applyColorMap(levels, rest), scale=1 / 255)
    cv2.add(dimmed, cv2.applyColorMap(levels, hot), dst=picture)


@lru_cache(maxsize=8)
def _mixing(opacity: float, palette: Palette) -> tuple[np.ndarray, np.ndarray]:
    """Tables from levels to what heat adds to a picture, and to how much of the picture it leaves (255: all).

    Mixing with bytes takes half the time of mixing with floats.
    """
    alpha = (np.minimum(np.arange(256) / 255 / _FULL, 1) * opacity)[:, None, None]
    hot = (palette.heat * alpha).round().astype(np.uint8)
    rest = np.repeat((255 * (1 - alpha)).round().astype(np.uint8), 3, axis=2)
    return hot, rest


def spread(
    channel: np.ndarray, field: ReceptiveField | None, input_size: tuple[int, int], box: Box
) -> np.ndarray | None:
    """A unit's positive activations spread over a part of the network's input.

    Each place of the map lies at the middle of its receptive field; between them the values are interpolated.

    Args:
        channel: float32 rows×columns.
        field: the receptive field; if it is not known, or has no stride, the map is stretched over the input.
        input_size: height and width of the network's input.
        box: the part, in pixels of the input; it may reach out of the input, where there is no heat.
    Returns:
        uint8 h×w from 0 to 255 (the map's largest value); None if no activation is positive.
    """
    positive = np.maximum(colors.finite(channel), 0)
    most = float(positive.max())
    if most <= 0:
        return None
    left, top, width, height = box
    factor = min(1.0, SIDE / max(width, height))
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    xs, ys = (start + (np.arange(n) + 0.5) * extent / n for start, extent, n in ((left, width, w), (top, height, h)))
    (down, right), (first_row, first_column) = _places(field, input_size, channel.shape)
    matrix = np.array(
        [[width / w / right, 0, (xs[0] - first_column) / right], [0, height / h / down, (ys[0] - first_row) / down]]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    values = cv2.warpAffine(positive / most, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    values[(ys < 0) | (ys > input_size[0])] = 0
    values[:, (xs < 0) | (xs > input_size[1])] = 0
    return cv2.convertScaleAbs(np.clip(values, 0, 1), alpha=255)


def _places(
    field: ReceptiveField | None, input_size: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a map lies on the input: the steps (down, right) between its places, and the middle of the first one."""
    if field is not None and all(field.stride):
        return field.stride, (field.start[0] + field.height / 2, field.start[1] + field.width / 2)
    down, right = input_size[0] / shape[0], input_size[1] / shape[1]
    return (down, right), (down / 2, right / 2)


@lru_cache(maxsize=4)
def _of_activation(result: Result, unit: int, input_size: tuple[int, int]) -> np.ndarray | None:
    if result.activations is None:
        return None
    height, width = input_size
    return spread(result.activations[unit], result.receptive_field, input_size, (0, 0, width, height))


@lru_cache(maxsize=4)
def _of_backward(result: Result) -> np.ndarray | None:
    return None if result.pixels is None else heat_of_pixels(result.pixels, shows_of(result.request.method))


def heat_of_pixels(pixels: np.ndarray, shows: str) -> np.ndarray | None:
    """The heat of a backward image, uint8 H×W from 0 to 255; None if it is empty or not finite."""
    if not np.isfinite(pixels).all() or not pixels.any():
        return None
    return cv2.convertScaleAbs(colors.strength(pixels, shows=shows), alpha=255)


@lru_cache(maxsize=2)
def _of_patches(
    tops: TopPictures, field: ReceptiveField | None, input_size: tuple[int, int]
) -> tuple[np.ndarray | None, ...]:
    return tuple(
        None if channel is None else spread(channel, field, input_size, patch.box)
        for channel, patch in zip(tops.maps, tops.patches)
    )


@lru_cache(maxsize=2)
def _of_patch_passes(tops: TopPictures) -> tuple[np.ndarray | None, ...]:
    shows = shows_of(tops.method)
    return tuple(None if pixels is None else heat_of_pixels(pixels, shows) for pixels in tops.backward)
