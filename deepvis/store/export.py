"""Export images of units to the JPEG folders that the original toolbox reads (see original_folders.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import write_whole, writing
from deepvis.core.geometry import resize, with_side
from deepvis.inputs.bands import as_colours
from deepvis.inputs.datasets import Images, Photos
from deepvis.networks.network import Network
from deepvis.scan.index import Index
from deepvis.scan.patch_backward import patch_backward
from deepvis.scan.patches import cut_out, field_box, places, tiled
from deepvis.store.original_folders import SYNTHESIZED, TOP, folder_of, jpeg_path, montage
from deepvis.store.own_images import OwnFirst
from deepvis.store.unit_images import Store

GRID = 3


def around_gray(values: np.ndarray, _patch: np.ndarray) -> np.ndarray:
    """float32 -> uint8, 0 at middle gray, the largest magnitude at full black or white."""
    most = np.abs(values).max()
    scaled = values / most if most > 0 else values
    return np.clip(127.5 + 127.5 * scaled, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class BackwardImages:
    """Which backward images are written beside the top images.

    Attributes:
        method: a key of `deepvis.attribution.methods.METHODS`.
        draw: (backward image, float32 RGB; the same part of the photo, uint8 RGB of any size) -> uint8 RGB.
    """

    method: str = "deconv"
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray] = around_gray


def export(
    network: Network,
    index: Index,
    out: Path,
    layers: Sequence[str],
    store: Store | OwnFirst | None = None,
    side: int = 0,
    root: Path | None = None,
    backward: BackwardImages = BackwardImages(),
) -> int:
    """Write the folders. Existing files are skipped, so a stopped export can be resumed.

    Args:
        store: the store of synthesized images; None writes no `regularized_opt`.
        side: side of each patch in pixels; 0 takes the layer's receptive field, at most the input.
        root: the folder of the photos, if they have moved since the scan.
    Returns:
        The number of files written.
    Raises:
        UserError: a photo cannot be read, a file cannot be written, or a layer is not in the index.
    """
    photos = Photos(Images(Path(root or index.root), tuple(index.files), reading=index.reading))
    written = 0
    for layer in layers:
        for unit in range(index.span(layer).units):
            written += _export_unit(network, index, out, layer, unit, photos, side, backward)
            if store is not None and (stored := store.read(layer, unit)):
                written += _write(jpeg_path(out, SYNTHESIZED, layer, unit), _montage(stored))
    return written


def _export_unit(
    network: Network,
    index: Index,
    out: Path,
    layer: str,
    unit: int,
    photos: Photos,
    side: int,
    backward: BackwardImages,
) -> int:
    pictures, backs = (jpeg_path(out, folder, layer, unit) for folder in (TOP, folder_of(backward.method)))
    if pictures.exists() and backs.exists():
        return 0
    found = places(index, layer, unit)[: GRID * GRID]
    whole = (network.input.width, network.input.height)
    boxes = [field_box(index.receptive_fields.get(layer), row, column, whole) for _, row, column, _ in found]
    seen = [photos.read(image) for image, *_ in found]
    cells = [(row, column) for _, row, column, _ in found]
    back = patch_backward(network, seen, layer, unit, backward.method, boxes, cells)
    size = (side, side) if side else boxes[0][2:] if boxes else whole
    patches = [cut_out(as_colours(photo, index.shown_bands), box, whole) for photo, box in zip(seen, boxes)]
    drawn = [backward.draw(values, patch) for values, patch in zip(back, patches)]
    return _write(pictures, _grid(patches, size)) + _write(backs, _grid(drawn, size))


def _grid(tiles: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return tiled([*tiles, *[None] * (GRID * GRID - len(tiles))], GRID, size)


def _montage(images: Sequence[np.ndarray]) -> np.ndarray:
    """A montage as the original toolbox reads it: four blocks for four recipes, all with the same images here."""
    side = max(images[0].shape[:2])
    nine = np.stack([_square(images[i % len(images)], side) for i in range(GRID * GRID)])
    return montage(np.broadcast_to(nine, (4, *nine.shape)))


def _square(image: np.ndarray, side: int) -> np.ndarray:
    """The image as large as fits in the middle of a gray square."""
    width, height = with_side(image.shape[1], image.shape[0], side)
    square = np.full((side, side, 3), 127, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = resize(image, width, height)
    return square


def _write(path: Path, image: np.ndarray) -> int:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise UserError(
            f"{path}: {image.shape[1]}×{image.shape[0]} pixels are too many for a JPEG; give a smaller --side"
        )
    with writing(path, "Make room and run the same command again to resume."):
        write_whole(path, data.tobytes())
    return 1
