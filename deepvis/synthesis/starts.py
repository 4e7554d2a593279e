"""Images to start from: a photo, a mean of photos, or a mixture of two, in place of a recipe's own start."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.core.geometry import cut, resize
from deepvis.inputs.decode import IMAGE_SUFFIXES, read_image

_SIDE = 512  # photos are averaged at this size


@dataclass(frozen=True, eq=False)
class StartImage:
    """An image to start from.

    Attributes:
        image: float32 N×N×3 RGB, 0 to 255, the photos' square middles.
        words: how it was made: the files' names, and how much of the second one is in it.
        mark: a check sum of its pixels, so that the same run can be told from another one later.
    """

    image: np.ndarray
    words: str
    mark: str

    def tensor(self, channels: int, size: tuple[int, int], count: int) -> Tensor:
        """`count` copies for `Ascent`'s start: count×channels×H×W, red first, 0 to 255.

        Networks with three channels get red, green and blue; others get the brightness in every channel.
        """
        image = torch.from_numpy(self.image).permute(2, 0, 1)[None]
        shrinks = size[0] < image.shape[2] or size[1] < image.shape[3]
        image = F.interpolate(image, size, mode="area" if shrinks else "bilinear")
        if channels != 3:
            image = image.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        return image.expand(count, -1, -1, -1).contiguous()


def read_start(files: Sequence[Path], mix: float | None = None) -> StartImage:
    """The image to start from.

    Args:
        files: one photo; or several, or a folder, whose mean is taken.
        mix: share of the second of two photos, 0 to 1 (an interpolation between them); None for the mean.
    Raises:
        UserError: a file cannot be read, a folder has no photos, or `mix` is given and there are not two photos.
    """
    if mix is not None and (len(files) != 2 or not 0 <= mix <= 1):
        raise UserError(f"--mix {mix:g} with {len(files)} start images: expected a share of 0 to 1, and two photos")
    found = [photo for file in files for photo in (_photos_of(file) if file.is_dir() else [file])]
    weights = [1 / len(found)] * len(found) if mix is None else [1 - mix, mix]
    total = np.zeros((_SIDE, _SIDE, 3), np.float32)
    for file, weight in zip(found, weights):
        total += weight * resize(cut(read_image(file), 1.0, True), _SIDE, _SIDE).astype(np.float32)
    names = ", ".join(file.name for file in files)
    share = "" if mix is None else f", {mix:.0%} of the second"
    return StartImage(total, names + share, f"{zlib.crc32(np.round(total).astype(np.uint8).tobytes()):08x}")


def _photos_of(folder: Path) -> list[Path]:
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not photos:
        raise UserError(f"{folder}: expected a photo to start from, or a folder of photos")
    return photos
