"""Backward methods: gradient, deconv and guided backprop.

The methods differ only in the rule for the gradient at activation functions. The rule is applied by a
`torch.overrides.TorchFunctionMode`, which sees every call of an activation function: from a module,
functional, in place, or from a module that is called twice. Module hooks, which other libraries use,
miss functional calls and classes that they do not know (ReLU6).

What counts as an activation function is the table below: ReLU, its relatives and its smooth
versions. Sigmoid, hard sigmoid and tanh are not in it: networks use them as gates, whose
derivative says how a gate moves, not whether a unit is active. They keep their own derivative.

The forward values stay bit for bit those of the plain network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Rule = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]

# Activation functions that a rule applies to -> the same function out of place.
# First those like ReLU; what a rule does at the smooth ones is documented at the rule.
_ACTIVATIONS: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    F.relu: F.relu, torch.relu: torch.relu, Tensor.relu: torch.relu,
    F.relu_: torch.relu, torch.relu_: torch.relu, Tensor.relu_: torch.relu,
    F.relu6: F.relu6, F.hardtanh: F.hardtanh, F.hardtanh_: F.hardtanh,
    F.leaky_relu: F.leaky_relu, F.leaky_relu_: F.leaky_relu,
    F.prelu: F.prelu, Tensor.prelu: F.prelu,
    F.rrelu: F.rrelu, F.rrelu_: F.rrelu, torch.rrelu: F.rrelu, torch.rrelu_: F.rrelu,
    torch.clamp: torch.clamp, torch.clamp_: torch.clamp, Tensor.clamp: torch.clamp, Tensor.clamp_: torch.clamp,
    torch.clip: torch.clamp, torch.clip_: torch.clamp, Tensor.clip: torch.clamp, Tensor.clip_: torch.clamp,
    torch.clamp_min: torch.clamp_min, torch.clamp_min_: torch.clamp_min,
    Tensor.clamp_min: torch.clamp_min, Tensor.clamp_min_: torch.clamp_min,
    F.threshold: F.threshold, torch.threshold: F.threshold, torch.threshold_: F.threshold,
    F.threshold_: F.threshold,  # type: ignore[attr-defined]  # the stubs lack it
    F.elu: F.elu, F.elu_: F.elu,
    F.selu: F.selu, F.selu_: F.selu, torch.selu: F.selu, torch.selu_: F.selu,
    F.celu: F.celu, F.celu_: F.celu, torch.celu: F.celu, torch.celu_: F.celu,
    F.silu: F.silu, F.gelu: F.gelu, F.mish: F.mish, F.softplus: F.softplus,
    F.hardswish: F.hardswish,
}  # fmt: skip

# How many positional arguments come before `inplace` (input counted) in torch.nn.functional.
_INPLACE_POSITION = {F.relu: 1, F.relu6: 1, F.hardtanh: 3, F.leaky_relu: 2, F.elu: 2, F.selu: 1, F.celu: 2, F.rrelu: 4,
                     F.threshold: 3, F.silu: 1, F.mish: 1, F.hardswish: 1}  # fmt: skip


def _clips_at_zero(min: object = None, max: object = None) -> bool:  # the names are torch.clamp's own
    return isinstance(min, (int, float)) and min == 0


def _zero_below_zero(threshold: object = None, value: object = None, inplace: bool = False) -> bool:
    return bool(threshold == value == 0)


# Functions that are a ReLU only for some of their arguments, as in `x.clamp(min=0)`.
_ONLY_IF: dict[Callable[..., Tensor], Callable[..., bool]] = {
    **{f: _clips_at_zero for f, plain in _ACTIVATIONS.items() if plain in (torch.clamp, torch.clamp_min)},
    **{f: _zero_below_zero for f, plain in _ACTIVATIONS.items() if plain is F.threshold},
}


class _PositiveGradient(torch.autograd.Function):
    """Identity whose backward pass lets only positive values through.

    It returns a copy, because a view would lose the memory format and could not be changed in place by the network.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.clamp(min=0)


class _Replaced(torch.autograd.Function):
    """The function `f`, with `back` in its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, f: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return f(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(grad), None, None


def _positive(grad: Tensor) -> Tensor:
    return grad.clamp(min=0)


def gradient(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """The derivative itself (Simonyan et al. 2014, "Deep Inside Convolutional Networks")."""
    return f(x)


def deconv(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """Deconvolutional network (Zeiler & Fergus 2014, section 2.1).

    The signal is rectified in the backward pass; whether a unit was active in the forward pass does not matter.
    Max-pooling uses the switches of the forward pass, which is its ordinary gradient.
    """
    return replaced(x, f, _positive)


def guided(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """Guided backpropagation (Springenberg et al. 2015, equation in section 3.4).

    Rectified as in deconv, then multiplied by the derivative of the activation function, which
    is the mask of active units for a ReLU and the slope for smooth functions.
    """
    out: Tensor = _PositiveGradient.apply(f(x))
    return out


RULES: dict[str, Rule] = {"gradient": gradient, "deconv": deconv, "guided": guided}


def replaced(x: Tensor, f: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
    """f(x), with `back` in the backward pass in place of the derivative."""
    out: Tensor = _Replaced.apply(x, f, back)
    return out


class ActivationRule(TorchFunctionMode):
    """Within `with ActivationRule(rule):` every activation function uses the rule in its backward pass.

    Args:
        rule: a function of RULES, or another: (input, activation function out of place) -> output.
        replace: functions to replace by others, {function: its replacement}.
        write_back: let functions with `inplace=True` change their input, for networks that drop what these functions
            return (see `drops_results`). If false they return a new tensor and leave their input as it is, which
            saves two copies. Functions such as `relu_` always change their input.
    Threads: it only has effect in the thread that entered it.
    """

    def __init__(
        self,
        rule: Rule,
        replace: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
        write_back: bool = False,
    ) -> None:
        super().__init__()
        self._rule = rule
        self._replace = replace or {}
        self._write_back = write_back

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._replace:
            return self._replace[func](*args, **kwargs)
        if func not in _ACTIVATIONS or func in _ONLY_IF and not _ONLY_IF[func](*args[1:], **kwargs):
            return func(*args, **kwargs)
        plain, kwargs = _ACTIVATIONS[func], dict(kwargs)
        x = args[0] if args else kwargs.pop("input")
        rest, in_place = _out_of_place(plain, args[1:], kwargs)
        if func.__name__.endswith("_") or in_place and self._write_back:
            return x.copy_(self._rule(x.clone(), lambda value: plain(value, *rest, **kwargs)))
        return self._rule(x, lambda value: plain(value, *rest, **kwargs))


def _out_of_place(
    plain: Callable[..., Tensor], rest: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], bool]:
    """Arguments after the input, with any `inplace` taken out, and whether it was true."""
    before = _INPLACE_POSITION.get(plain, len(rest) + 1) - 1
    in_place = bool(kwargs.pop("inplace", False) or any(rest[before:]))
    return rest[:before], in_place


def drops_results(module: nn.Module, x: Tensor) -> bool:
    """Whether the network relies on an activation function to change its input, as in a line `self.relu(x)`.

    The network is run twice on `x`: as it is, and with `inplace=True` ignored.
    """
    with torch.no_grad():
        plain = module(x.clone())
        with ActivationRule(gradient):
            return not _same(plain, module(x.clone()))


def _same(one: object, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, Mapping):
        return all(_same(one[key], other[key]) for key in one)
    return not isinstance(one, Sequence) or isinstance(one, str) or all(map(_same, one, other))


def seed(activation: Tensor, unit: int) -> Tensor:
    """The tensor that the backward pass of a unit starts with, shaped like `activation` (1×C×H×W or 1×N).

    For a map it holds the unit's positive activations, as in the original toolbox, or 1 at the unit's strongest
    position if none is positive. For a vector it is 1 at the unit. It is 0 everywhere else.
    """
    start = torch.zeros_like(activation)
    if activation.ndim < 3:
        start[:, unit] = 1
        return start
    chosen = activation[:, unit].detach()
    strongest = (chosen == chosen.amax()).to(chosen.dtype)
    start[:, unit] = torch.where(chosen.amax() > 0, chosen.clamp(min=0), strongest)
    return start


def gradients(sent: Tensor, inputs: Sequence[Tensor], start: Tensor) -> Sequence[Tensor | None]:
    """The gradient of `sent`, weighted by `start`, at each input; None for an input that `sent` does not depend on.

    All are None if the network ran under `no_grad`.
    """
    if not sent.requires_grad:
        return [None] * len(inputs)
    return torch.autograd.grad(sent, inputs, start, allow_unused=True)


def gradients_at(x: Tensor, shown: Tensor | None, sent: Tensor, start: Tensor) -> tuple[Tensor, Tensor | None]:
    """The gradients of `sent`, weighted by `start`, at the network's input and at another layer's output.

    At the input it is 0 where `sent` does not depend on it; at the layer None, also if there is no such layer.
    """
    pixels, *others = gradients(sent, [x] if shown is None else [x, shown], start)
    return torch.zeros_like(x) if pixels is None else pixels, others[0] if others else None
