"""Random views: what the network sees of the canvas at each step.

One affine sampling does shift, turn and magnification at once, each image its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 5  # random numbers that a view takes


def view_matrix(draws: Tensor, jitter: Tensor, rotate: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The affine map of each view, in pixels about the middle.

    Args:
        draws: B×DRAWS from 0 to 1, uniform: along, down, turn, magnification, spare.
        jitter: [B] bound of the shift in pixels; rotate: [B] bound of the turn in degrees;
        low, high: [B] bounds of the magnification; it is uniform on a logarithmic scale.
    Returns:
        B×2×3, output pixel (x, y, 1) about the output's middle -> canvas pixel about its middle.
    """
    spread = 2 * draws - 1
    angle = spread[:, 2] * rotate * (math.pi / 180)
    scale = low * (high / low) ** draws[:, 3]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    shift = spread[:, :2] * jitter[:, None]
    return torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)


def sample(canvas: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """What each view sees: bilinear, the canvas mirrored where the view leaves it.

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
    """`F.affine_grid`, without its product of one row and three columns for every pixel, which takes as long as the
    sampling."""
    down, along = ((2 * torch.arange(n, device=theta.device, dtype=theta.dtype) + 1) / n - 1 for n in size)
    rows = theta[:, :, 1, None] * down + theta[:, :, 2, None]
    columns = theta[:, :, 0, None] * along
    return (rows[..., None] + columns[:, :, None]).permute(0, 2, 3, 1)


def middle(canvas: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of the canvas, B×C×height×width."""
    top, left = (canvas.shape[2] - size[0]) // 2, (canvas.shape[3] - size[1]) // 2
    return canvas[:, :, top : top + size[0], left : left + size[1]]
