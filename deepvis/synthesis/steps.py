"""Step sizes of gradient ascent, for each image separately: policies for η of equation (2), and optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

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

    The step of Nguyen et al. 2016 (their code) and of DeepDream. Only values with a gradient count: what lies outside
    of the view, or in the gradient's margin, does not make the step longer.
    """
    size = grad.flatten(1).abs()
    return numbers["rate"] * (size > 0).sum(1) / size.sum(1).clamp(min=1e-30)


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


class Optimizer(Protocol):
    """Changes the values of all images by a step, with the memory of the steps before."""

    def move(self, values: Tensor, grad: Tensor, rate: Tensor) -> None:
        """Change `values` in place by one step upwards; rate [B]."""


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


_MOMENTUM = 0.9


class Momentum:
    """Steps of the gradient × rate × number of pixels, with momentum (Mahendran & Vedaldi 2014).

    The factor makes the steps the same for all sizes of images if the objective is a mean over pixels. When the rate
    changes, the momentum begins anew, as in the authors' code.
    """

    def __init__(self, values: Tensor) -> None:
        self._speed = torch.zeros_like(values)
        self._rate: Tensor | None = None

    def move(self, values: Tensor, grad: Tensor, rate: Tensor) -> None:
        self._renew(rate)
        self._speed.mul_(_MOMENTUM).add_(self._length(grad, rate))
        values.add_(self._speed)

    def _renew(self, rate: Tensor) -> None:
        if self._rate is None or not torch.equal(self._rate, rate):
            self._rate = rate.clone()
            self._speed.zero_()

    def _length(self, grad: Tensor, rate: Tensor) -> Tensor:
        return grad * (rate * grad[0, 0].numel()).view(-1, *[1] * (grad.ndim - 1))


class ForgettingAdagrad(Momentum):
    """AdaGrad whose sum of squares forgets, with momentum (the code of Mahendran & Vedaldi 2016)."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(values)
        self._squares = torch.zeros_like(values)

    def _length(self, grad: Tensor, rate: Tensor) -> Tensor:
        self._squares.mul_(_MOMENTUM).addcmul_(grad, grad)
        largest = (rate * grad[0, 0].numel()).view(-1, *[1] * (grad.ndim - 1))
        return grad / (1 / largest + self._squares.sqrt())


OPTIMIZERS: dict[str, Callable[[Tensor], Optimizer]] = {
    "adam": Adam,
    "momentum": Momentum,
    "adagrad": ForgettingAdagrad,
}
