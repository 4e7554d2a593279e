"""Top images: patches of photos, cut out by the unit's receptive field.

Without torch, because the window cuts them out when a unit is selected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.geometry import Box, crop_box, reduced, resize, with_side
from deepvis.core.receptive_field import ReceptiveField
from deepvis.inputs.bands import as_colours
from deepvis.inputs.datasets import Photos
from deepvis.inputs.decode import BACKDROP
from deepvis.scan.index import Index
from deepvis.scan.results import Patch


def places(index: Index, layer: str, unit: int, least: bool = False) -> list[tuple[int, int, int, float]]:
    """A unit's top images as (image, row, column, value), best first; `least`: its bottom images, weakest first."""
    ranked, row = (index.bottom if least else index.top), index.row(layer, unit)
    fields = (ranked.image, ranked.row, ranked.column, ranked.value)
    return [(int(i), int(r), int(c), float(v)) for i, r, c, v in zip(*(array[row] for array in fields)) if i >= 0]


def patches(
    index: Index,
    layer: str,
    unit: int,
    photos: Photos,
    least: bool = False,
    side: int = 0,
    map: Callable[..., Iterable[Patch]] = map,
) -> list[Patch]:
    """Cut out a unit's top images (`least`: its bottom images).

    If a photo cannot be read, its patch has an `error`.

    Args:
        photos: the index's photos.
        side: reduce patches to this longer side, in pixels; 0 does not reduce them.
        map: called like the built-in `map`; that of a thread pool reads photos in parallel.
    Raises:
        UserError: the index does not have this layer.
    """
    whole = (int(index.settings["width"]), int(index.settings["height"]))
    field, shown = index.receptive_fields.get(layer), index.shown_bands

    def patch(place: tuple[int, int, int, float]) -> Patch:
        image, row, column, value = place
        box = field_box(field, row, column, whole)
        try:
            pixels, error = reduced(cut_out(as_colours(photos.read(image), shown), box, whole), side), ""
        except UserError as why:
            pixels, error = None, str(why)
        return Patch(image, index.files[image], row, column, value, box, pixels, error)

    return list(map(patch, places(index, layer, unit, least)))


def as_cell(patch: np.ndarray, box: Box, side: int) -> np.ndarray:
    """A patch resized to the proportions of its box, with this longer side. (A receptive field of 3×3 pixels is a
    square, even if it is 4×5 pixels in the photo.)"""
    return resize(np.ascontiguousarray(patch), *with_side(*box[2:], side))


def field_box(field: ReceptiveField | None, row: int, column: int, whole: tuple[int, int]) -> Box:
    """The receptive field at a place of the map, in input pixels, not larger than the input `whole` (width, height)."""
    if field is None:
        return 0, 0, *whole
    left, top, width, height = field.box(row, column)
    if width >= whole[0]:
        left, width = 0, whole[0]
    if height >= whole[1]:
        top, height = 0, whole[1]
    return left, top, width, height


def cut_out(photo: np.ndarray, box: Box, whole: tuple[int, int]) -> np.ndarray:
    """Cut a box, given in the network's input, out of the photo (whose centred crop was the input).

    Args:
        photo: uint8 RGB.
        box: in input pixels.
        whole: width and height of the input.
    Returns:
        uint8 RGB, at the photo's resolution; `BACKDROP` gray outside of the crop.
    """
    height, width = photo.shape[:2]
    x, y, w, h = crop_box(height, width, whole[0] / whole[1])
    seen, scale = photo[y : y + h, x : x + w], (w / whole[0], h / whole[1])
    left, top = round(box[0] * scale[0]), round(box[1] * scale[1])
    right, bottom = round((box[0] + box[2]) * scale[0]), round((box[1] + box[3]) * scale[1])
    return cut_padded(seen, (left, top, max(1, right - left), max(1, bottom - top)), BACKDROP)


def cut_padded(image: np.ndarray, box: Box, ground: float) -> np.ndarray:
    """Cut a box out of an image (H×W×channels); parts outside of the image are filled with `ground`."""
    left, top, width, height = box
    out = np.full((height, width, *image.shape[2:]), ground, image.dtype)
    rows = slice(max(top, 0), min(top + height, image.shape[0]))
    columns = slice(max(left, 0), min(left + width, image.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    return out


def tiled(tiles: Sequence[np.ndarray | None], columns: int, side: tuple[int, int], gap: int = 1) -> np.ndarray:
    """A grid of pictures (uint8 RGB; None is black) with black lines, each resized to `side` (width, height)."""
    width, height = side
    rows = -(-len(tiles) // columns)
    out = np.zeros((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), np.uint8)
    for i, tile in enumerate(tiles):
        if tile is not None:
            y, x = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
            out[y : y + height, x : x + width] = resize(np.ascontiguousarray(tile), width, height)
    return out
