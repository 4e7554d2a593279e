"""How relevance is shared at single calls: layers with weights, sums, products, and smooth functions.

Each function below handles a kind of torch function for `deepvis.networks.relevance_flow.RelevanceFlow`: it gets the
flow, the torch function and the call's arguments, and returns the call's result, whose backward pass shares relevance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.networks.activation_rules import replaced
from deepvis.networks.relevance_rules import LayerCall, layer_rule, stable

if TYPE_CHECKING:
    from deepvis.networks.relevance_flow import RelevanceFlow

_TRANSPOSED = {F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
Sharing = Callable[[Sequence[Tensor], Tensor], Sequence["Tensor | None"]]
"""(inputs, relevance of the output) -> relevance of each input."""


class _Keeping(threading.local):
    """Whether inputs are kept as copies, for networks that write to the input of a layer after it was used."""

    copies = False


_keeping = _Keeping()


@contextmanager
def keeping_copies() -> Iterator[None]:
    """Within the block, calls keep copies of their inputs."""
    _keeping.copies = True
    try:
        yield
    finally:
        _keeping.copies = False


class _Shared(torch.autograd.Function):
    """`run(*inputs)`, whose backward pass shares relevance. Its node in the graph has the attribute `call`."""

    @staticmethod
    def forward(
        ctx: Any, run: Callable[..., Tensor], share: Sharing, call: LayerCall | None, *inputs: Tensor
    ) -> Tensor:
        ctx.share, ctx.call = share, call
        ctx.save_for_backward(*(x.clone() for x in inputs) if _keeping.copies else inputs)
        return run(*inputs)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Any, ...]:
        return None, None, None, *ctx.share(ctx.saved_tensors, relevance)


def shared(run: Callable[..., Tensor], share: Sharing, *inputs: Tensor, call: LayerCall | None = None) -> Tensor:
    """run(*inputs), with `share` in its backward pass."""
    out: Tensor = _Shared.apply(run, share, call, *inputs)
    return out


def has_gradient(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def in_sequences(args: Sequence[object]) -> Sequence[object]:
    return [one for arg in args if isinstance(arg, (list, tuple)) for one in arg]


# ---- layers with weights -------------------------------------------------------------------------


def weighted_layer(
    flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Tensor | None = None,
    *rest: Any, **keywords: Any,
) -> Tensor:  # fmt: skip
    if not input.requires_grad or weight.requires_grad:
        return proportional(flow, func, input, weight, bias, *rest, **keywords)
    if not flow.is_inner and sees_pixels(input):
        kind = "first"
    elif func is F.linear:
        kind = "tokens" if input.ndim > 2 else "linear"
    else:
        kind = "convolution"
    rule = layer_rule(getattr(flow.composite, kind))
    spreads = flow.composite.biases == "spread"
    call = LayerCall(func, weight, bias, rest, keywords, kind, rule, spreads, flow.low, flow.high)
    return shared(
        lambda x: func(x, weight, bias, *rest, **keywords),
        lambda inputs, relevance: [call.rule(call, inputs[0], relevance)],
        input,
        call=call,
    )


def sees_pixels(x: Tensor) -> bool:
    """Whether no layer with weights lies between the pixels and x."""
    todo: list[Any] = [x.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and getattr(node, "call", None) is not None:
            return False
        todo += [before for before, _ in node.next_functions] if node is not None else []
    return True


def batch_norm(
    flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, running_mean: Tensor | None,
    running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None, *rest: Any, **keywords: Any,
) -> Tensor:  # fmt: skip
    run = partial(with_input, func, (running_mean, running_var, weight, bias, *rest), keywords)
    call = _made_by(input)
    given = {"training": False, "eps": 1e-5, **dict(zip(("training", "momentum", "eps"), rest)), **keywords}
    if call is None or running_mean is None or running_var is None or given["training"] or call.function in _TRANSPOSED:
        return proportional(flow, run, input)
    scale = (running_var + given["eps"]).rsqrt() * (1 if weight is None else weight)
    call.fold(scale, (0 if bias is None else bias) - running_mean * scale)
    return replaced(input, run, lambda relevance: relevance)


def with_input(func: Callable[..., Tensor], rest: Sequence[Any], keywords: Mapping[str, Any], x: Tensor) -> Tensor:
    return func(x, *rest, **keywords)


def _made_by(x: Tensor) -> LayerCall | None:
    """The call of a layer whose output x is, perhaps copied for a capture."""
    node: Any = x.grad_fn
    while node is not None and node.name() == "CloneBackward0":
        node = node.next_functions[0][0]
    return getattr(node, "call", None)


# ---- sums and products ---------------------------------------------------------------------------


def proportional(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """R_x = x · f'(x) · R / f(x); for a linear f each input's share of the sum."""
    places = [i for i, arg in enumerate(args) if has_gradient(arg)]

    def run(*inputs: Tensor) -> Tensor:
        filled = list(args)
        for place, value in zip(places, inputs):
            filled[place] = value
        return func(*filled, **keywords)

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        with torch.enable_grad():
            copies = [value.detach().requires_grad_() for value in inputs]
            out = run(*copies)
            slopes = torch.autograd.grad(out, copies, relevance / stable(out.detach()), allow_unused=True)
        return [torch.zeros_like(x) if slope is None else x * slope for x, slope in zip(inputs, slopes)]

    return shared(run, share, *(args[place] for place in places)) if places else func(*args, **keywords)


def _to_shape(relevance: Tensor, like: Tensor) -> Tensor:
    return relevance.sum_to_size(like.shape) if relevance.shape != like.shape else relevance


def total(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, sign: int = 1, **keywords: Any) -> Tensor:
    """a + b, or a − b with `sign` −1."""
    one, other = args[:2]
    scale = sign * keywords.get("alpha", 1)

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        given = iter(inputs)
        a = next(given) if has_gradient(one) else one
        b = scale * (next(given) if has_gradient(other) else other)
        if flow.composite.biases == "spread" and len(inputs) == 1:
            return [_to_shape(relevance, inputs[0])]
        if flow.composite.sums == "sizes":
            a, b = abs(a), abs(b)
        per_output = relevance / stable(a + b)
        return [_to_shape(per_output * part, x) for part, x in zip(_chosen((a, b), args), inputs)]

    return _of_two(func, share, args, keywords)


def _chosen(parts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    return [part for part, arg in zip(parts, args) if has_gradient(arg)]


def reversed_difference(
    flow: RelevanceFlow, func: Callable[..., Tensor], x: Any, other: Any, **keywords: Any
) -> Tensor:
    """other − x, as in `1 - x`."""
    return total(flow, lambda a, b, **rest: func(b, a, **rest), other, x, sign=-1, **keywords)


def product(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """a · b: all to the larger one, as the other is a gate; half each to two of the same size."""

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        if len(inputs) == 1:
            return [_to_shape(relevance, inputs[0])]
        a, b = (value.numel() for value in inputs)
        weights = (0.5, 0.5) if a == b else (float(a > b), float(b > a))
        return [_to_shape(relevance * w, x) if w else torch.zeros_like(x) for w, x in zip(weights, inputs)]

    return _of_two(func, share, args, keywords)


def quotient(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """a / b: all to a, as b only scales it."""

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        whole = [_to_shape(relevance, inputs[0])] if has_gradient(args[0]) else []
        return [*whole, *(torch.zeros_like(x) for x in inputs[len(whole) :])]

    return _of_two(func, share, args, keywords)


def reversed_quotient(flow: RelevanceFlow, func: Callable[..., Tensor], x: Any, other: Any, **keywords: Any) -> Tensor:
    """other / x, as in `1 / x`."""
    return quotient(flow, lambda a, b, **rest: func(b, a, **rest), other, x, **keywords)


def _of_two(func: Callable[..., Tensor], share: Sharing, args: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor:
    """The call of two arguments, either of which may be a constant."""

    def run(*inputs: Tensor) -> Tensor:
        given = iter(inputs)
        return func(*[next(given) if has_gradient(arg) else arg for arg in args], **keywords)

    return shared(run, share, *(arg for arg in args if has_gradient(arg)))


def pass_first(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    """A function that scales each value by a constant, or flips all signs."""
    if not has_gradient(input):
        return func(input, *rest, **keywords)
    return replaced(input, lambda x: func(x, *rest, **keywords), lambda relevance: relevance)
