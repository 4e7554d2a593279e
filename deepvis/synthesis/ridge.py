"""Ridge regression from sums alone, so that the samples need not be kept: they come batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from deepvis.core.errors import UserError


class RidgeSums:
    """The sums that ridge regression needs (normal equations), in float64.

    Sums are taken about the first batch's mean, so that a large mean does not cost the digits of a small spread.

    Attributes:
        count: number of samples so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._shifts: tuple[Tensor, Tensor] | None = None
        self._sums: tuple[Tensor, Tensor] | None = None
        self._squares: tuple[Tensor, Tensor] | None = None  # XᵀX and XᵀY

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add samples: x N×F, y N×P. Products are computed in their own precision."""
        if self._shifts is None:
            self._shifts = x.mean(0), y.mean(0)
        x, y = x - self._shifts[0], y - self._shifts[1]
        sums = x.double().sum(0), y.double().sum(0)
        squares = (x.T @ x).double(), (x.T @ y).double()
        self.count += len(x)
        if self._sums is None or self._squares is None:
            self._sums, self._squares = sums, squares
            return
        for total, more in zip((*self._sums, *self._squares), (*sums, *squares)):
            total += more

    @property
    def mean(self) -> Tensor:
        """The mean of x [F]."""
        shifts, sums, _ = self._all()
        return shifts[0].double() + sums[0] / self.count

    @property
    def variance(self) -> float:
        """The variance of x, its mean over the features."""
        _, sums, squares = self._all()
        each = squares[0].diagonal() / self.count - (sums[0] / self.count).square()
        return float(each.clamp(min=0).mean())

    def solve(self, penalty: float, columns: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """The weights F×P and offsets [P] that minimise |y − xW − b|² + penalty · |W|²; float64.

        Args:
            penalty: more than 0; the offsets are not penalised.
            columns: for these targets only.
        """
        shifts, sums, squares = self._all()
        means = sums[0] / self.count, sums[1][columns] / self.count
        spread = squares[0] - self.count * torch.outer(means[0], means[0])
        spread.diagonal().add_(penalty)
        common = squares[1][:, columns] - self.count * torch.outer(*means)
        weights = torch.cholesky_solve(common, torch.linalg.cholesky(spread))
        offsets = shifts[1].double()[columns] + means[1] - (shifts[0].double() + means[0]) @ weights
        return weights, offsets

    def _all(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        if self._shifts is None or self._sums is None or self._squares is None:
            raise UserError("no samples: expected at least one picture to learn from")
        return self._shifts, self._sums, self._squares
