"""Figures of the papers as pictures: rows with titles, a layer's montage, units at their true sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.geometry import fit, resize, with_side
from deepvis.core.layers import Layer, unit_id
from deepvis.render import colors, text
from deepvis.render.colors import DARK
from deepvis.render.draw import fill
from deepvis.render.heat import cover, heat_of_pixels
from deepvis.render.palettes import USUAL
from deepvis.store.own_images import OwnFirst
from deepvis.store.unit_images import Store

GAP = 4  # pixels between images


WIDEST_TITLE = 200  # pixels


def labelled(rows: Sequence[np.ndarray], titles: Sequence[Sequence[str]], least: int = 110) -> np.ndarray:
    """Rows of RGB images with a title above each, of one line or several, as one BGR picture.

    Small images are drawn a whole number of times as large: `least` pixels wide or more, and as wide as their titles,
    up to WIDEST_TITLE.
    """
    size, step = 12, 18
    height, width = rows[0].shape[1:3]
    parts = [[title.split("\n") for title in words] for words in titles]
    widest = max(text.width(one, size) for words in parts for title in words for one in title)
    line = step * max(len(title) for words in parts for title in words)
    factor = max(1, math.ceil(max(least, min(widest, WIDEST_TITLE)) / width))
    height, width = height * factor, width * factor
    picture = np.empty((len(rows) * (height + line + GAP), len(rows[0]) * (width + GAP), 3), np.uint8)
    fill(picture, DARK.ground)
    for r, (images, words) in enumerate(zip(rows, parts)):
        for c, (image, title) in enumerate(zip(images, words)):
            x, y = c * (width + GAP), r * (height + line + GAP)
            for i, one in enumerate(title):
                text.put(picture, text.shorten(one, width, size), x, y + i * step, size, DARK.text)
            picture[y + line : y + line + height, x : x + width] = _scaled(image, width, height)[..., ::-1]
    return picture


def wrapped(
    images: Sequence[np.ndarray], titles: Sequence[str], columns: int
) -> tuple[list[np.ndarray], list[list[str]]]:
    """Images of one size as rows of `columns` for `labelled`; the last row is filled with empty ones."""
    columns = min(columns, len(images))
    missing = -len(images) % columns
    whole = [*images, *[np.full_like(images[0], DARK.ground)] * missing]
    words = [*titles, *[""] * missing]
    starts = range(0, len(whole), columns)
    return [np.stack(whole[i : i + columns]) for i in starts], [words[i : i + columns] for i in starts]


def near_rows(
    picture: np.ndarray, found: Mapping[str, Sequence[tuple[np.ndarray, float]]], side: int = 128
) -> tuple[list[np.ndarray], list[list[str]]]:
    """For `labelled`: a row for each space with the picture and the photos nearest to it, and their distances."""
    rows, titles = [], []
    most = max(len(near) for near in found.values())
    for name, near in found.items():
        photos = [fit(photo, side, side, True) for photo, _ in near]
        missing = most - len(near)
        empty = [np.full((side, side, 3), DARK.ground, np.uint8)] * missing
        rows.append(np.stack([fit(picture, side, side, True), *photos, *empty]))
        titles.append([name, *(f"{distance:.2f}" for _, distance in near), *[""] * missing])
    return rows, titles


def _scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return resize(np.ascontiguousarray(image), width, height)


def montage(store: Store | OwnFirst, layer: Layer, side: int = 0) -> np.ndarray:
    """Figure S1: the best image of every unit of a layer, row by row.

    Args:
        side: longer side of each image in pixels; 0: as stored.
    Returns:
        uint8 H×W×3 BGR. Units without an image stay dark.
    Raises:
        UserError: the store has no image of the layer.
    """
    images = {unit: found[0] for unit in range(layer.units) if (found := store.read(layer.name, unit))}
    if not images:
        raise UserError(
            f"{store.folder}: no stored images of layer {layer.name}: "
            f"make them with deepvis synthesize --layer {layer.name}"
        )
    height, width = next(iter(images.values())).shape[:2]
    if side:
        width, height = with_side(width, height, side)
    columns = math.ceil(math.sqrt(layer.units * 1.6 * height / width))
    rows = math.ceil(layer.units / columns)
    picture = np.empty((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), np.uint8)
    fill(picture, DARK.ground)
    for unit, image in images.items():
        y, x = (unit // columns) * (height + GAP), (unit % columns) * (width + GAP)
        picture[y : y + height, x : x + width] = _scaled(image, width, height)[..., ::-1]
    return picture


def true_sizes(store: Store | OwnFirst, layers: Sequence[Layer], units: int) -> np.ndarray:
    """Figure 5: a row for each layer with all images of its first stored units, at their true sizes; last layer on top.

    Args:
        units: number of units in a row.
    Raises:
        UserError: the store has no image of any of the layers.
    """
    rows = []
    for layer in reversed(layers):
        known = sorted(unit for name, unit in store.records if name == layer.name)
        stored = ((unit_id(layer.name, unit), images) for unit in known if (images := store.read(layer.name, unit)))
        blocks = list(islice(stored, units))
        if blocks:
            rows.append(_row(blocks))
    if not rows:
        names = ", ".join(layer.name for layer in layers)
        raise UserError(f"{store.folder}: no stored images of {names}: make them with deepvis synthesize")
    return _below_each_other(rows)


Block = tuple[str, Sequence[np.ndarray]]  # a unit's name and its images, uint8 H×W×3 RGB


def stacked(rows: Sequence[Sequence[Block]]) -> np.ndarray:
    """Rows of units with their images at their true sizes; the images of a row have one size. uint8 BGR."""
    return _below_each_other([_row(blocks) for blocks in rows])


def _below_each_other(rows: Sequence[np.ndarray]) -> np.ndarray:
    width = max(row.shape[1] for row in rows)
    picture = np.empty((sum(row.shape[0] + 2 * GAP for row in rows), width, 3), np.uint8)
    fill(picture, DARK.ground)
    y = 0
    for row in rows:
        picture[y : y + row.shape[0], : row.shape[1]] = row
        y += row.shape[0] + 2 * GAP
    return picture


def _row(blocks: Sequence[Block]) -> np.ndarray:
    """Units side by side, each a square of its images with its name above."""
    size, line, least = 12, 18, 60
    height, width = blocks[0][1][0].shape[:2]
    columns = math.ceil(math.sqrt(max(len(images) for _, images in blocks)))
    lines = max(math.ceil(len(images) / columns) for _, images in blocks)
    block_width = max(least, columns * (width + GAP)) + 2 * GAP
    picture = np.empty((line + lines * (height + GAP), len(blocks) * block_width, 3), np.uint8)
    fill(picture, DARK.ground)
    for b, (name, images) in enumerate(blocks):
        text.put(picture, text.shorten(name, block_width - GAP, size), b * block_width, 0, size, DARK.text)
        for i, image in enumerate(images):
            x, y = b * block_width + (i % columns) * (width + GAP), line + (i // columns) * (height + GAP)
            picture[y : y + height, x : x + width] = _scaled(image, width, height)[..., ::-1]
    return picture


def explained(values: np.ndarray, photo: np.ndarray, shows: str) -> np.ndarray:
    """What a backward method shows in a part of a photo.

    Args:
        values: float32 H×W×3 RGB, the method's backward image.
        photo: uint8 RGB of any size, the same part.
        shows: `deepvis.attribution.methods.Method.shows`; a map is laid over the photo.
    Returns:
        uint8 BGR.
    """
    if shows != "map" or not values.any():
        return colors.backward_image(values, "raw", USUAL, shows)
    picture = np.ascontiguousarray(photo[..., ::-1])
    heat = heat_of_pixels(values, shows)
    if heat is not None:
        cover(picture, heat, 0.5, USUAL)
    return picture


def blocks(columns: Sequence[tuple[str, Sequence[np.ndarray]]], side: int = 110) -> np.ndarray:
    """Blocks side by side, each a title and images (uint8 BGR) in rows of three, in the same places in each.

    Args:
        side: longer side of each image in pixels.
    """
    size, line, across = 14, 24, 3
    height, width = columns[0][1][0].shape[:2]
    width, height = with_side(width, height, side)
    rows = math.ceil(max(len(images) for _, images in columns) / across)
    block = across * (width + GAP) + 2 * GAP
    picture = np.empty((line + rows * (height + GAP), len(columns) * block - 2 * GAP, 3), np.uint8)
    fill(picture, DARK.ground)
    for b, (title, images) in enumerate(columns):
        text.put(picture, text.shorten(title, block - 2 * GAP, size), b * block, 0, size, DARK.text)
        for i, image in enumerate(images):
            x, y = b * block + (i % across) * (width + GAP), line + (i // across) * (height + GAP)
            picture[y : y + height, x : x + width] = _scaled(image, width, height)
    return picture
