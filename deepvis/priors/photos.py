"""The photos that a prior is trained on: decoded once, kept on the device, and augmented in batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.core.geometry import cut, resize
from deepvis.core.runtime import cores
from deepvis.inputs.bands import is_bands
from deepvis.inputs.datasets import Images

MOST = 20_000  # photos; of more some are taken, evenly spread
LEAST = 64
FEW = 400
HELD_OUT = 100  # most photos set aside
DRAWS = 7  # random numbers for each augmented photo
LARGEST_PART = 2  # photos are kept at so many times the size of the training pictures
_TONES = 0.15  # largest relative change of brightness, contrast and saturation


@dataclass(frozen=True, eq=False)
class PhotoPool:
    """Photos on a device.

    Attributes:
        training, held_out: uint8 N×3×S×S, red first: the photos' square middles.
        names: of the training photos.
        size: sides of the pictures that are made of them.
    """

    training: Tensor
    held_out: Tensor
    names: tuple[str, ...]
    size: int

    def batch(self, numbers: Tensor, draws: Tensor) -> Tensor:
        """Augmented training photos: N×3×size×size, 0 to 255.

        Args:
            numbers: N.
            draws: N×DRAWS, uniform from 0 to 1.
        """
        device = self.training.device
        photos = self.training[_sent(numbers, device)].float()
        return augmented(photos, _sent(draws, device), self.size)

    def whole(self, photos: Tensor) -> Tensor:
        """Photos reduced to the training pictures' size."""
        return F.interpolate(photos.float(), (self.size, self.size), mode="area")


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device, without waiting for what it still computes."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def augmented(photos: Tensor, draws: Tensor, size: int) -> Tensor:
    """A random part of each photo, perhaps mirrored, with other tones.

    A part has between 1 and LARGEST_PART pixels of the photo for each of its own. It is sampled at twice the size and
    averaged, so that nothing is aliased.

    Args:
        photos: N×3×S×S, 0 to 255.
        draws: N×DRAWS, uniform from 0 to 1.
        size: side of the result.
    """
    least = min(1.0, size / photos.shape[2])
    part = least ** (1 - draws[:, 0])
    room = 1 - part
    matrix = torch.zeros(len(photos), 2, 3, device=photos.device)
    matrix[:, 0, 0] = part * torch.where(draws[:, 1] < 0.5, -1.0, 1.0)
    matrix[:, 1, 1] = part
    matrix[:, 0, 2], matrix[:, 1, 2] = (2 * draws[:, 2] - 1) * room, (2 * draws[:, 3] - 1) * room
    grid = F.affine_grid(matrix, [len(photos), 3, 2 * size, 2 * size], align_corners=False)
    large = F.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)
    return _toned(F.avg_pool2d(large, 2), draws[:, 4:])


def _toned(pictures: Tensor, draws: Tensor) -> Tensor:
    light, contrast, saturation = (1 + _TONES * (2 * draw.view(-1, 1, 1, 1) - 1) for draw in draws.unbind(1))
    gray = pictures.mean(1, keepdim=True)
    middle = pictures.mean((1, 2, 3), keepdim=True)
    colours = gray + saturation * (pictures - gray)
    return (light * (middle + contrast * (colours - middle))).clamp(0, 255)


def read_photos(
    images: Images, size: int, device: torch.device, say: Callable[[str], None], least: int = LEAST
) -> PhotoPool:
    """Decode the photos. One in ten, at most HELD_OUT, is set aside.

    Args:
        say: called with what the user should know.
        least: fewest photos that can be read.
    Raises:
        UserError: there are too few photos.
    """
    count = len(images.names)
    chosen = np.unique(np.linspace(0, count - 1, min(MOST, count)).astype(int))
    side = LARGEST_PART * size
    pixels = np.empty((len(chosen), side, side, 3), np.uint8)

    def read(place: int) -> str:
        try:
            photo = images.read(int(chosen[place]), (side, side))
            if is_bands(photo):
                return "it has other bands than red, green and blue"
            pixels[place] = resize(cut(photo, 1.0, True), side, side)
        except UserError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(min(32, cores())) as pool:
        failures = list(pool.map(read, range(len(chosen))))
    kept = np.array([place for place, why in enumerate(failures) if not why], int)
    if len(kept) < least:
        raise UserError(
            f"--images {images.root}: {len(kept)} photos that can be read: expected at least {least}, better 400 or "
            "more. Give another folder, or another preset than a learned prior, such as modern"
        )
    _tell(len(kept), count, [why for why in failures if why], say)
    aside = np.unique(np.linspace(0, len(kept) - 1, min(HELD_OUT, math.ceil(len(kept) / 10))).astype(int))
    others = np.setdiff1d(np.arange(len(kept)), aside)

    def tensor(places: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels[kept[places]]).permute(0, 3, 1, 2).contiguous().to(device)

    names = tuple(images.names[chosen[kept[place]]] for place in others)
    return PhotoPool(tensor(others), tensor(aside), names, size)


def _tell(kept: int, count: int, failures: list[str], say: Callable[[str], None]) -> None:
    if failures:
        say(f"{len(failures)} photos cannot be read: {failures[0]}{' …' if len(failures) > 1 else ''}")
    if count > MOST:
        say(f"{kept:,} of {count:,} photos are taken, evenly spread")
    if kept < FEW:
        say(
            f"{kept} photos: with so few the closed form stays in charge; expect little from {FEW} on, more from 10,000"
        )
