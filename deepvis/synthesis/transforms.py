"""Random transforms of the canvas in each step.

Shift, rotation and magnification are done by a single affine sampling, different for each image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 5  # random numbers for each view
HALF = 1.6  # how much more a view of half of the canvas is magnified


def view_matrix(draws: Tensor, jitter: Tensor, rotate: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The affine transform of each view, in pixels relative to the centre.

    Args:
        draws: B×DRAWS, uniform from 0 to 1: shift along x, shift along y, rotation, magnification, one unused.
        jitter: [B], largest shift in pixels.
        rotate: [B], largest rotation in degrees.
        low, high: [B], limits of the magnification, which is uniform on a logarithmic scale.
    Returns:
        B×2×3, from an output pixel (x, y, 1) to a canvas pixel, both relative to their centres.
    """
    spread = 2 * draws - 1
    angle = spread[:, 2] * rotate * (math.pi / 180)
    scale = low * (high / low) ** draws[:, 3]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    shift = spread[:, :2] * jitter[:, None]
    return torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)


def windowed(draws: Tensor, window: Tensor, room: tuple[float, float]) -> Tensor:
    """Random shifts that favour the middle of the canvas (Nguyen et al. 2016, section S2.3).

    Args:
        draws: B×DRAWS, as in `view_matrix`; the first two are used.
        window: [B], standard deviation of the shift as a share of the largest possible one.
        room: the largest possible shift along x and y, in pixels.
    Returns:
        B×2, in pixels; views lie on whole pixels of the canvas.
    """
    most = draws.new_tensor(room)
    normal = math.sqrt(2) * torch.erfinv((2 * draws[:, :2] - 1).clamp(-1 + 1e-6, 1 - 1e-6))
    shift = torch.maximum(torch.minimum(normal * window[:, None] * most, most), -most)
    return (shift + most).round() - most


def of_half(matrix: Tensor, side: int, width: int) -> Tensor:
    """The transforms of views of the left (-1) or right (1) half of an image of so many pixels: HALF times magnified,
    about the middle of that half."""
    made = matrix.clone()
    made[:, :, :2] /= HALF
    made[:, 0, 2] += side * width / 4
    return made


def sample(canvas: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample each view bilinearly; outside of the canvas its mirror image is sampled.

    Args:
        canvas: B×C×H×W.
        matrix: B×2×3 of `view_matrix`.
        size: (height, width) of the result.
    """
    height, width = canvas.shape[2:]
    extent = canvas.new_tensor([width / 2, height / 2])
    out = canvas.new_tensor([size[1] / 2, size[0] / 2, 1])
    theta = matrix.to(canvas) * out / extent[:, None]
    grid = _grid(theta, size)
    return F.grid_sample(canvas, grid, padding_mode="reflection", align_corners=False)


def _grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """Like `F.affine_grid`, but without its matrix product for every pixel, which takes as long as the sampling."""
    down, along = ((2 * torch.arange(n, device=theta.device, dtype=theta.dtype) + 1) / n - 1 for n in size)
    rows = theta[:, :, 1, None] * down + theta[:, :, 2, None]
    columns = theta[:, :, 0, None] * along
    return (rows[..., None] + columns[:, :, None]).permute(0, 2, 3, 1)


def middle(canvas: Tensor, size: tuple[int, int]) -> Tensor:
    """The central part of the canvas, B×C×height×width."""
    top, left = (canvas.shape[2] - size[0]) // 2, (canvas.shape[3] - size[1]) // 2
    return canvas[:, :, top : top + size[0], left : left + size[1]]
