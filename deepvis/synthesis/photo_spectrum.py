"""The magnitudes of photographs' Fourier coefficients, which a maco image has."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.synthesis.parameterizations import color_mix

TABLE = Path(__file__).with_name("photo_spectrum.npz")
STEEP = 1.2  # beyond the table's frequencies the magnitudes fall with this power of the frequency, as within it


def measured(photos: list[np.ndarray]) -> np.ndarray:
    """The table: root mean square over photos of the magnitudes, so that the contrast is the photos' own.

    Args:
        photos: uint8 N×N×3 RGB, all of one even size.
    Returns:
        float32 3×N×(N/2+1) in decorrelated colours, divided by the number of pixels; the mean colour counts as 0.
    """
    to_planes = torch.linalg.inv(color_mix(torch.ones(1))[0])
    total = torch.zeros(3, photos[0].shape[0], photos[0].shape[1] // 2 + 1)
    for photo in photos:
        rgb = torch.from_numpy(photo.astype(np.float32)).permute(2, 0, 1)
        planes = torch.einsum("kc,chw->khw", to_planes, rgb)
        total += torch.fft.rfft2(planes, norm="forward").abs().square()
    total[:, 0, 0] = 0
    return np.asarray((total / len(photos)).sqrt().numpy())


@lru_cache(maxsize=16)
def photo_magnitudes(channels: int, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Magnitudes for a canvas, and the matrix that mixes its channels to colours.

    Frequencies are counted in periods along a side: photographs look alike at every scale.

    Args:
        size: (height, width) of the canvas.
    Returns:
        channels×H×(W/2+1) for `torch.fft.irfft2`; and 3×3, or None if the image does not have three channels, all of
        which then have the magnitudes of brightness.
    """
    with np.load(TABLE) as file:
        table = torch.from_numpy(file["magnitudes"].astype(np.float32))
    return on_canvas(table, channels, size)


def on_canvas(table: Tensor, channels: int, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """The same of a table that `measured` made."""
    side, (height, width) = table.shape[1], size
    rows = (torch.fft.fftfreq(height) * height).abs()[:, None].expand(-1, width // 2 + 1)
    columns = torch.arange(width // 2 + 1.0)[None].expand(height, -1)
    half = table[:, : side // 2 + 1]  # the other rows have the opposite frequencies
    limit = float(side // 2)
    over = (torch.maximum(rows, columns) / limit).clamp(min=1)  # beyond the table along a ray from the origin
    at = torch.stack([columns / over, rows / over], -1) / limit * 2 - 1
    found = F.grid_sample(half[None], at[None], align_corners=True)[0] / over**STEEP
    found[:, 0, 0] = 0
    magnitudes = found * (height * width)
    if channels == 3:
        return magnitudes, color_mix(torch.ones(1))[0]
    return magnitudes[:1].expand(channels, -1, -1), None
