"""Step sizes of gradient ascent: policies for η of equation (2), for each image separately, and Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Numbers = Mapping[str, Tensor]  # a recipe's numbers by name, [B] each


def constant(numbers: Numbers, score: Tensor, grad: Tensor, first: Tensor) -> Tensor:
    """η = rate."""
    return numbers["rate"]


def relative(numbers: Numbers, score: Tensor, grad: Tensor, first: Tensor) -> Tensor:
    """η = rate / (root mean square of the first gradient).

    It is constant over the run. The first step changes the image's values by a root mean square of `rate`, whatever
    the scale of the network's input and of its units.
    """
    return numbers["rate"] / first


def normalized(numbers: Numbers, score: Tensor, grad: Tensor, first: Tensor) -> Tensor:
    """η = rate / (mean absolute value of this step's gradient), so that each step changes values by `rate` on average.

    The step of Nguyen et al. 2016 (their code) and of DeepDream.
    """
    return numbers["rate"] / grad.flatten(1).abs().mean(1).clamp(min=1e-30)


def progress(numbers: Numbers, score: Tensor, grad: Tensor, first: Tensor) -> Tensor:
    """The η with which the objective gains `progress`; the gradient predicts a gain of η·|∇|² (original tool)."""
    return torch.minimum(numbers["progress"] / _square(grad), numbers["max_rate"])


def progress01(numbers: Numbers, score: Tensor, grad: Tensor, first: Tensor) -> Tensor:
    """As `progress`, for objectives of at most 1: the gain shrinks with the distance to 1 (original tool)."""
    wanted = torch.minimum(numbers["late_progress"] * (1 - score), numbers["progress"])
    return torch.minimum(wanted / _square(grad), numbers["max_rate"])


def _square(grad: Tensor) -> Tensor:
    return grad.flatten(1).square().sum(1).clamp(min=1e-30)


POLICIES: dict[str, Callable[[Numbers, Tensor, Tensor, Tensor], Tensor]] = {
    "constant": constant,
    "relative": relative,
    "normalized": normalized,
    "progress": progress,
    "progress01": progress01,
}


class Adam:
    """Adam (Kingma & Ba 2015) for ascent, with a learning rate for each image."""

    def __init__(self, values: Tensor, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        self._mean, self._square = torch.zeros_like(values), torch.zeros_like(values)
        self._betas, self._epsilon, self._count = betas, epsilon, 0

    def move(self, values: Tensor, grad: Tensor, rate: Tensor) -> None:
        """Change `values` in place by one step; rate [B]."""
        self._count += 1
        b1, b2 = self._betas
        self._mean.lerp_(grad, 1 - b1)
        self._square.mul_(b2).addcmul_(grad, grad, value=1 - b2)
        unbiased = (1 - b2**self._count) ** 0.5
        size = self._square.sqrt().add_(self._epsilon * unbiased)
        rate = (rate * unbiased / (1 - b1**self._count)).view(-1, *[1] * (values.ndim - 1))
        values.addcdiv_(self._mean * rate, size)
