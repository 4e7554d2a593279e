"""Reading the original toolbox's JPEG folders as stored images of units.

    precomputed/<model>/regularized_opt/<layer>/<layer>_<unit>_montage.jpg   synthesized images
                        max_im/<layer>/<layer>_<unit>.jpg                    the nine top images as one picture
                        max_deconv/<layer>/<layer>_<unit>.jpg                their deconv images

`deepvis export` writes these folders too. They do not say for which weights they were made. Without torch, because
the window reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np

from deepvis.core import paths
from deepvis.core.files import folder_name
from deepvis.store.own_images import OwnFirst, open_both
from deepvis.store.unit_images import Key, Store, store_folder

SYNTHESIZED, TOP, DECONV = "regularized_opt", "max_im", "max_deconv"
_SUFFIX = {SYNTHESIZED: "_montage", TOP: "", DECONV: ""}
SMALL, LARGE = 1, 2  # pixels around each picture of a montage, and around each block of nine
_EDGE = SMALL + LARGE
# For units of these layers the original toolbox shows the pictures of the convolution before them.
BELOW = {"pool1": "conv1", "norm1": "conv1", "pool2": "conv2", "norm2": "conv2", "pool5": "conv5"}


def folder_of(method: str) -> str:
    """The folder of the top images' backward images by a method; the original toolbox has DECONV only."""
    return f"max_{method}"


def jpeg_path(root: Path, folder: str, layer: str, unit: int) -> Path:
    """The path of a unit's picture; `folder` is SYNTHESIZED, TOP, DECONV or another of `folder_of`."""
    name = folder_name(layer)
    return root / folder / name / f"{name}_{unit:04d}{_SUFFIX.get(folder, '')}.jpg"


def montage(blocks: np.ndarray) -> np.ndarray:
    """2×2 blocks of 3×3 pictures as one: uint8 4×9×side×side×3 -> H×W×3, both 2·(3·side + 10)."""
    framed = np.pad(blocks, ((0, 0), (0, 0), (SMALL, SMALL), (SMALL, SMALL), (0, 0)))
    whole = np.pad(_tiled(framed, 3), ((0, 0), (LARGE, LARGE), (LARGE, LARGE), (0, 0)))
    tiled: np.ndarray = _tiled(whole[None], 2)[0]
    return tiled


def _tiled(pictures: np.ndarray, columns: int) -> np.ndarray:
    """…×columns²×h×w×3 -> …×(columns·h)×(columns·w)×3."""
    n, _, h, w, _ = pictures.shape
    return pictures.reshape(n, columns, columns, h, w, 3).swapaxes(2, 3).reshape(n, columns * h, columns * w, 3)


def shown_block(picture: np.ndarray) -> list[np.ndarray]:
    """The nine pictures in the lower left block of a montage, which is the block that the original toolbox shows.

    A picture that is not a montage is returned as it is.
    """
    half, odd = divmod(picture.shape[0], 2)
    gap = 2 * SMALL if (half - 2 * _EDGE) % 3 == 1 else SMALL  # lines between pictures are two borders wide, or one
    side, rest = divmod(half - 2 * _EDGE - 2 * gap, 3)
    if picture.shape[0] != picture.shape[1] or odd or rest or side < 1:
        return [picture]
    block = picture[half + _EDGE : -_EDGE, _EDGE : half - _EDGE]
    corners = [(row * (side + gap), column * (side + gap)) for row in range(3) for column in range(3)]
    return [np.ascontiguousarray(block[top : top + side, left : left + side]) for top, left in corners]


def thirds(picture: np.ndarray) -> list[np.ndarray]:
    """The nine pictures of a 3×3 grid (H×W×3), row by row, including the lines between them."""
    rows, columns = ([round(i * length / 3) for i in range(4)] for length in picture.shape[:2])
    return [
        np.ascontiguousarray(picture[top:bottom, left:right])
        for top, bottom in zip(rows, rows[1:]) for left, right in zip(columns, columns[1:])
    ]  # fmt: skip


def read_jpeg(root: Path, folder: str, layer: str, unit: int) -> np.ndarray | None:
    """A unit's JPEG, uint8 H×W×3 RGB; None if it is missing or broken."""
    for name in (layer, BELOW.get(layer)):
        path = name and jpeg_path(root, folder, name, unit)
        if path and path.is_file():
            picture: np.ndarray | None = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
            return picture
    return None


class JpegFolders:
    """Pictures of units, read like a `Store`: those of the stores, else those of the folders under `root`."""

    def __init__(self, root: Path, store: Store | OwnFirst) -> None:
        self._root, self._store = root, store
        self.note = getattr(store, "note", "")  # says why some pictures are not shown

    @cached_property
    def records(self) -> Mapping[Key, dict[str, Any]]:
        """{(layer, unit): how its images were made}; empty records for JPEGs, about which nothing is known."""
        found: dict[Key, dict[str, Any]] = {}
        for path in self._root.glob(f"{SYNTHESIZED}/*/*_montage.jpg"):
            match = re.fullmatch(rf"{re.escape(path.parent.name)}_(\d+)_montage\.jpg", path.name)
            if match:
                found[unquote(path.parent.name), int(match[1])] = {}
        above: dict[Key, dict[str, Any]] = {
            (top, unit): {} for top, layer in BELOW.items() for name, unit in found if name == layer
        }
        return {**above, **found, **dict(self._store.records)}

    def read(self, layer: str, unit: int) -> list[np.ndarray]:
        """The unit's images, uint8 H×W×3 RGB each; empty if there are none."""
        stored = self._store.read(layer, unit)
        if stored:
            return stored
        picture = read_jpeg(self._root, SYNTHESIZED, layer, unit)
        return [] if picture is None else shown_block(picture)


def open_pictures(model: str, fingerprint: str, modules: Mapping[str, str]) -> JpegFolders:
    """All stored images of a network's units: the user's own, the bundled ones, the original toolbox's.

    Args and errors as in `open_both`.
    """
    return JpegFolders(
        store_folder(paths.precomputed().own, model).parent, open_both(paths.precomputed(), model, fingerprint, modules)
    )
