"""Rules of layer-wise relevance propagation (LRP) for layers with weights.

Each rule says how the relevance R of a layer's outputs is shared among its inputs. All but two have the form of
Bach et al. 2015: a contribution z_ij of input i to output j, and R_i = Σ_j z_ij / z_j · R_j, in which some rules use
only the positive or negative parts of inputs x, weights w and biases b. As in zennit, a small number of z's own sign
is added to each z_j before dividing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from deepvis.networks.composites import parsed

STABILIZER = 1e-6
Part = tuple[Tensor, Tensor, "Tensor | None"]  # input, weight, bias
LayerRule = Callable[["LayerCall", Tensor, Tensor], Tensor]
"""(call, input, relevance of the output) -> relevance of the input."""


@dataclass(eq=False)
class LayerCall:
    """One call of a convolution or a linear layer.

    Attributes:
        function: the torch function, which takes input, weight, bias, and then `rest` and `keywords`.
        kind: the place in a composite: "first", "convolution", "tokens" or "linear".
        rule: how it shares relevance.
        spreads: the bias's share is spread evenly over the inputs.
        low, high: for `box`, the smallest and largest values that pixels can have, 1×channels×1×1.
    """

    function: Callable[..., Tensor]
    weight: Tensor
    bias: Tensor | None
    rest: Sequence[Any]
    keywords: dict[str, Any]
    kind: str
    rule: LayerRule
    spreads: bool
    low: Tensor | None = None
    high: Tensor | None = None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with other inputs, weights and biases."""
        return self.function(x, weight, bias, *self.rest, **self.keywords)

    def fold(self, scale: Tensor, shift: Tensor) -> None:
        """Take in a normalisation that follows: from now on the layer is scale · (w·x + b) + shift."""
        self.weight = self.weight * scale.reshape(-1, *[1] * (self.weight.ndim - 1))
        self.bias = shift if self.bias is None else self.bias * scale + shift


def stable(z: Tensor, epsilon: float = STABILIZER) -> Tensor:
    """z with its size enlarged by epsilon; 0 becomes epsilon."""
    return z + torch.where(z < 0, -epsilon, epsilon)


def _shares(call: LayerCall, parts: Sequence[Part], relevance: Tensor, epsilon: float = STABILIZER) -> Tensor:
    """Σ_k x_k · w_kᵀ (R / Σ_k z_k), where z_k = w_k x_k + b_k: each input's share of the relevance."""
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_() for x, _, _ in parts]
        z = call(inputs[0], *parts[0][1:])
        for x, (_, weight, bias) in zip(inputs[1:], parts[1:]):
            z = z + call(x, weight, bias)
        per_output = relevance / stable(z.detach(), epsilon)
        slopes = torch.autograd.grad(z, inputs, per_output)
    total = torch.zeros_like(parts[0][0])
    for (x, _, bias), slope in zip(parts, slopes):
        total.addcmul_(x, slope)
        if call.spreads and bias is not None:
            total += flat(call, x, per_output * _along_channels(bias, call))
    return total


def _along_channels(bias: Tensor, call: LayerCall) -> Tensor:
    """A bias in the shape that it is added in: to the last axis of a linear layer, to the channels of a convolution."""
    return bias if call.weight.ndim == 2 else bias.reshape(-1, *[1] * (call.weight.ndim - 2))


def _signs(value: Tensor) -> tuple[Tensor, Tensor]:
    return value.clamp(min=0), value.clamp(max=0)


def _or_none(bias: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if bias is None else change(bias)


def _by_sign(x: Tensor, above: Tensor, bias: Tensor | None, below: Callable[[], Tensor]) -> list[Part]:
    """The inputs above 0 with one weight, and those below 0 with another, if there are any."""
    if float(x.amin()) >= 0:  # as behind most activation functions: half of the work
        return [(x, above, bias)]
    return [(x.clamp(min=0), above, bias), (x.clamp(max=0), below(), None)]


def epsilon(size: float) -> LayerRule:
    """z_ij = x_i w_ij, z_j = Σ_i z_ij + b_j, with `size` added to the size of z_j (Bach et al. 2015, eq. 58)."""
    return lambda call, x, relevance: _shares(call, [(x, call.weight, call.bias)], relevance, size)


def zplus(call: LayerCall, x: Tensor, relevance: Tensor) -> Tensor:
    """z_ij = (x_i w_ij)⁺, and the positive part of the bias (Montavon et al. 2017, eq. 8, also for inputs below 0)."""
    bias = _or_none(call.bias, lambda b: b.clamp(min=0))
    parts = _by_sign(x, call.weight.clamp(min=0), bias, lambda: call.weight.clamp(max=0))
    return _shares(call, parts, relevance)


def gamma(size: float) -> LayerRule:
    """z_ij = x_i w_ij + γ (x_i w_ij)⁺ where z_j > 0, + γ (x_i w_ij)⁻ where z_j < 0 (Andéol et al. 2021)."""

    def share(call: LayerCall, x: Tensor, relevance: Tensor) -> Tensor:
        up, down = _signs(call.weight)
        more, less = call.weight + size * up, call.weight + size * down
        with torch.no_grad():
            z = call(x, call.weight, call.bias)
        raised = _or_none(call.bias, lambda b: b + size * b.clamp(min=0))
        lowered = _or_none(call.bias, lambda b: b + size * b.clamp(max=0))
        positive = _shares(call, _by_sign(x, more, raised, lambda: less), relevance * (z > 0))
        if not bool(((z < 0) & (relevance != 0)).any()):
            return positive
        return positive + _shares(call, _by_sign(x, less, lowered, lambda: more), relevance * (z < 0))

    return share


def alpha_beta(alpha: float, beta: float) -> LayerRule:
    """α times the shares of the positive z_ij less β times those of the negative ones (Bach et al. 2015, eq. 60)."""

    def share(call: LayerCall, x: Tensor, relevance: Tensor) -> Tensor:
        up, down = _signs(call.weight)
        raised = _or_none(call.bias, lambda b: b.clamp(min=0))
        lowered = _or_none(call.bias, lambda b: b.clamp(max=0))
        positive = _shares(call, _by_sign(x, up, raised, lambda: down), relevance)
        if not beta:
            return alpha * positive
        return alpha * positive - beta * _shares(call, _by_sign(x, down, lowered, lambda: up), relevance)

    return share


def flat(call: LayerCall, x: Tensor, relevance: Tensor) -> Tensor:
    """z_ij = 1: the relevance is spread evenly over the inputs (Lapuschkin et al. 2019)."""
    with torch.enable_grad():
        ones = torch.ones_like(x).requires_grad_()
        z = call(ones, torch.ones_like(call.weight), None)
        (slope,) = torch.autograd.grad(z, ones, relevance / stable(z.detach()))
    return slope


def box(call: LayerCall, x: Tensor, relevance: Tensor) -> Tensor:
    """z_ij = x_i w_ij − low_i w_ij⁺ − high_i w_ij⁻ for inputs between low and high (Montavon et al. 2017, eq. 11)."""
    low, high = call.low, call.high
    if low is None or high is None or x.ndim != low.ndim or x.shape[1] != low.shape[1]:  # the pixels in another order
        low, high = x.amin(), x.amax()
    up, down = _signs(call.weight)
    with torch.enable_grad():
        inputs = [value.expand_as(x).clone().requires_grad_() for value in (x.detach(), low, high)]
        raised, lowered = (_or_none(call.bias, cut) for cut in (lambda b: b.clamp(min=0), lambda b: b.clamp(max=0)))
        of_x, of_low, of_high = inputs
        z = call(of_x, call.weight, call.bias) - call(of_low, up, raised) - call(of_high, down, lowered)
        slopes = torch.autograd.grad(z, inputs, relevance / stable(z.detach()))
    with torch.no_grad():  # the slopes of z have its signs
        return inputs[0] * slopes[0] + inputs[1] * slopes[1] + inputs[2] * slopes[2]


@lru_cache
def layer_rule(text: str) -> LayerRule:
    """The rule that a text such as "gamma 0.25" names (see `deepvis.networks.composites`)."""
    name, numbers = parsed(text)
    match name:
        case "epsilon":
            return epsilon(*numbers)
        case "gamma":
            return gamma(*numbers)
        case "alpha-beta":
            return alpha_beta(*numbers)
    return {"zplus": zplus, "flat": flat, "box": box}[name]
