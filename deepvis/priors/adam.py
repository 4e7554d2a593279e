"""Adam for many tensors at once. (Importing `torch.optim` takes seconds, for its compiler.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class ManyAdam:
    """Adam (Kingma & Ba 2015), descending.

    Attributes:
        rate: the learning rate.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, betas: tuple[float, float]) -> None:
        self._parameters, self.rate, self._betas, self._count = list(parameters), rate, betas, 0
        self._means = [torch.zeros_like(one) for one in self._parameters]
        self._squares = [torch.zeros_like(one) for one in self._parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by one step along their gradients, and forget these."""
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in self._parameters]
        self._count += 1
        (b1, b2), epsilon = self._betas, 1e-8
        torch._foreach_lerp_(self._means, grads, 1 - b1)
        torch._foreach_mul_(self._squares, b2)
        torch._foreach_addcmul_(self._squares, grads, grads, 1 - b2)
        sizes = torch._foreach_sqrt(self._squares)
        torch._foreach_div_(sizes, (1 - b2**self._count) ** 0.5)
        torch._foreach_add_(sizes, epsilon)
        torch._foreach_addcdiv_(self._parameters, self._means, sizes, -self.rate / (1 - b1**self._count))
        self.forget()

    def forget(self) -> None:
        """Remove the gradients."""
        for one in self._parameters:
            one.grad = None

    def state(self) -> dict[str, Any]:
        """All that a step depends on, but the rate."""
        copies = {"means": self._means, "squares": self._squares}
        return {"count": self._count, **{name: [one.clone() for one in parts] for name, parts in copies.items()}}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._count = int(state["count"])
        for mine, theirs in ((self._means, state["means"]), (self._squares, state["squares"])):
            for one, other in zip(mine, theirs, strict=True):
                one.copy_(other)
