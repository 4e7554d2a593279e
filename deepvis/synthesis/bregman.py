"""Total variation by split Bregman: the image near a given one that has little variation.

It solves the problem of Rudin, Osher & Fatemi (1992),

    minimize over u   Σ |∇u|  +  weight / 2 · Σ (u − f)²,

by the split Bregman method (Goldstein & Osher 2009), as Getreuer (2012), "Rudin–Osher–Fatemi Total Variation Denoising
using Split Bregman", describes it. Nguyen, Yosinski & Clune (2016), section S2.1, regularize each step of gradient
ascent with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

RULES = ("shrinkage", "scikit-image")


class SplitBregman:
    """Reduces the total variation of a batch of images; starts each time from where it ended the last time.

    Rows and columns are coupled (isotropic variation), colours are not.

    Two rules for the step in which the gradient is shrunk:

    - "shrinkage": t ↦ max(|t| − 1/λ, 0) · t/|t|, which solves the problem above.
    - "scikit-image": t ↦ λ|t| / (λ|t| + 1) · t, the rule of `skimage.restoration.denoise_tv_bregman`, which the authors
      of the paper used. It does not solve the problem; at small weights it smooths less. As there, what lies beyond the
      edges is the mirror image of the picture that is given, and does not change.
    """

    def __init__(self, rule: str = "shrinkage") -> None:
        if rule not in RULES:
            raise ValueError(f"rule {rule!r}: expected {' or '.join(RULES)}")
        self._rule = rule
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None  # the result; the gradient's variable and Bregman's

    def reduce(self, image: Tensor, weight: Tensor, iterations: int = 5) -> Tensor:
        """The images with less variation.

        Args:
            image: B×C×H×W, any range; the weight's effect depends on it (the paper's weights are for 0 to 255).
            weight: [B], more than 0; a smaller weight smooths more. An image of weight 0 stays as it is.
            iterations: more come nearer to the solution; from a kept state few suffice, from none about 100.
        """
        weight = weight.to(image)[:, None, None, None]
        on, mu = weight > 0, weight.clamp(min=1e-12)
        lam = 2 * mu
        if self._kept is None or self._kept[0].shape != image.shape:
            nothing = torch.zeros(*image.shape[:2], 2, *image.shape[2:]).to(image)
            self._kept = image, nothing, nothing
        u, split, bregman = self._kept
        board = _chessboard(image)
        edges = _Edges(image) if self._rule == "scikit-image" else None
        for _ in range(iterations):
            gradient = _gradient(u, edges)
            right = mu * image - lam * _divergence(split - bregman)
            for field in (board, ~board):  # Gauss–Seidel: the neighbours of a black field are all white
                around, count = _neighbours(u, edges)
                u = torch.where(field, (right + lam * around) / (mu + lam * count), u)
            gradient = _gradient(u, edges)
            wanted = gradient + bregman
            split = self._shrunk(wanted, lam[:, :, None])
            bregman = wanted - split
        self._kept = u, split, bregman
        return torch.where(on, u, image)

    def _shrunk(self, t: Tensor, lam: Tensor) -> Tensor:
        size = t.square().sum(2, keepdim=True).sqrt()
        if self._rule == "scikit-image":
            return t * (size * lam / (size * lam + 1))
        return t * ((size - 1 / lam).clamp(min=0) / size.clamp(min=1e-30))


class _Edges:
    """The mirror images of a picture's second and last but one rows and columns, as scikit-image puts them outside."""

    def __init__(self, image: Tensor) -> None:
        self.top, self.bottom = image[:, :, 1:2], image[:, :, -2:-1]
        self.left, self.right = image[..., 1:2], image[..., -2:-1]


def _chessboard(image: Tensor) -> Tensor:
    height, width = image.shape[2:]
    rows, columns = torch.arange(height, device=image.device)[:, None], torch.arange(width, device=image.device)
    return (rows + columns) % 2 == 0


def _gradient(u: Tensor, edges: _Edges | None) -> Tensor:
    """Forward differences along the rows and down the columns, B×C×2×H×W; beyond the edge 0, or to the mirror image."""
    along, down = torch.zeros_like(u), torch.zeros_like(u)
    torch.sub(u[..., 1:], u[..., :-1], out=along[..., :-1])
    torch.sub(u[:, :, 1:], u[:, :, :-1], out=down[:, :, :-1])
    if edges is not None:
        along[..., -1:] = edges.right - u[..., -1:]
        down[:, :, -1:] = edges.bottom - u[:, :, -1:]
    return torch.stack([along, down], 2)


def _divergence(field: Tensor) -> Tensor:
    """Backward differences, the negative adjoint of `_gradient`: B×C×2×H×W → B×C×H×W."""
    along, down = field[:, :, 0], field[:, :, 1]
    divergence = along + down
    divergence[..., 1:] -= along[..., :-1]
    divergence[:, :, 1:] -= down[:, :, :-1]
    return divergence


def _neighbours(u: Tensor, edges: _Edges | None) -> tuple[Tensor, Tensor]:
    """The sum of each pixel's neighbours inside the picture (or its mirror image), and how many they are."""
    total = torch.zeros_like(u)
    total[..., 1:] += u[..., :-1]
    total[..., :-1] += u[..., 1:]
    total[:, :, 1:] += u[:, :, :-1]
    total[:, :, :-1] += u[:, :, 1:]
    count = torch.full(u.shape[2:], 4.0, device=u.device, dtype=u.dtype)
    if edges is not None:
        total[..., :1] += edges.left
        total[..., -1:] += edges.right
        total[:, :, :1] += edges.top
        total[:, :, -1:] += edges.bottom
        return total, count
    count[0] -= 1
    count[-1] -= 1
    count[:, 0] -= 1
    count[:, -1] -= 1
    return total, count
