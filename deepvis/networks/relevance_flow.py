"""Layer-wise relevance propagation through any network: what flows back is relevance in place of a gradient.

As with the other backward methods a `TorchFunctionMode` sees every call, from a module, functional or in place, and
from modules that are called twice. Each call keeps its value bit for bit, and gets a backward pass that shares the
relevance of its output among its inputs:

- layers with weights: by a composite's rules (`deepvis.networks.relevance_rules`). A batch normalisation behind one is
  taken into its weights;
- activation functions: passed on whole, also by a saturated ReLU6;
- a + b: by a/(a + b) and b/(a + b);
- a · b: a factor that is a constant or smaller (a gate) gets nothing; two of the same size get half each;
- means, average pooling, interpolation, and all smooth functions: R_x = x · f'(x) · R / f(x);
- attention by the rules of AttnLRP (Achtibat et al. 2024): softmax R_x = x · (R − s ΣR), products of matrices half for
  each, LayerNorm with its standard deviation as a constant;
- all others (views, concatenation, max-pooling, indexing) as the gradient, which moves values and changes none.

Wherever values can cancel out, a rule keeps R/x bounded for small x, so that a sum of almost 0 cannot make relevance
explode.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.networks.activation_rules import ActivationRule, replaced
from deepvis.networks.composites import Composite
from deepvis.networks.relevance_rules import LayerCall, layer_rule, stable

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


def _has_gradient(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


class RelevanceFlow(ActivationRule):
    """Within the block every call shares relevance; its start goes into `torch.autograd.grad` in place of a gradient.

    Args:
        low, high: the smallest and the largest values of pixels, 1×channels×1×1, for the rule "box".
        write_back: as in `ActivationRule`.
        is_inner: what flows is not from the pixels, so that no layer is a first one.
    Threads: as with `ActivationRule`.
    """

    def __init__(
        self,
        composite: Composite,
        low: Tensor | None = None,
        high: Tensor | None = None,
        write_back: bool = False,
        is_inner: bool = False,
    ) -> None:
        super().__init__(_whole, write_back=write_back)
        self.composite, self.low, self.high, self.is_inner = composite, low, high, is_inner

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        handle = _HANDLERS.get(func)
        if handle is None:
            return super().__torch_function__(func, types, args, kwargs)
        kwargs = dict(kwargs or {})
        if not any(map(_has_gradient, (*args, *kwargs.values(), *_inside(args)))):
            return func(*args, **kwargs)
        if func not in _WRITING:
            return handle(self, func, *args, **kwargs)
        return args[0].copy_(handle(self, _WRITING[func], args[0].clone(), *args[1:], **kwargs))

    def again(self) -> RelevanceFlow:
        """The same flow for a calculation inside a backward pass."""
        return RelevanceFlow(self.composite, is_inner=True)


def _inside(args: Sequence[object]) -> Sequence[object]:
    return [one for arg in args if isinstance(arg, (list, tuple)) for one in arg]


def _whole(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """An activation function: the relevance is passed on whole."""
    return replaced(x, f, lambda relevance: relevance)


# ---- layers with weights -------------------------------------------------------------------------


def _layer(
    flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Tensor | None = None,
    *rest: Any, **keywords: Any,
) -> Tensor:  # fmt: skip
    if not input.requires_grad or weight.requires_grad:
        return _proportional(flow, func, input, weight, bias, *rest, **keywords)
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


def _batch_norm(
    flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, running_mean: Tensor | None,
    running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None, *rest: Any, **keywords: Any,
) -> Tensor:  # fmt: skip
    run = partial(_with_input, func, (running_mean, running_var, weight, bias, *rest), keywords)
    call = _made_by(input)
    given = {"training": False, "eps": 1e-5, **dict(zip(("training", "momentum", "eps"), rest)), **keywords}
    if call is None or running_mean is None or running_var is None or given["training"] or call.function in _TRANSPOSED:
        return _proportional(flow, run, input)
    scale = (running_var + given["eps"]).rsqrt() * (1 if weight is None else weight)
    call.fold(scale, (0 if bias is None else bias) - running_mean * scale)
    return replaced(input, run, lambda relevance: relevance)


def _with_input(func: Callable[..., Tensor], rest: Sequence[Any], keywords: Mapping[str, Any], x: Tensor) -> Tensor:
    return func(x, *rest, **keywords)


def _made_by(x: Tensor) -> LayerCall | None:
    """The call of a layer whose output x is, perhaps copied for a capture."""
    node: Any = x.grad_fn
    while node is not None and node.name() == "CloneBackward0":
        node = node.next_functions[0][0]
    return getattr(node, "call", None)


# ---- sums and products ---------------------------------------------------------------------------


def _proportional(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """R_x = x · f'(x) · R / f(x); for a linear f each input's share of the sum."""
    places = [i for i, arg in enumerate(args) if _has_gradient(arg)]

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


def _sum(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, sign: int = 1, **keywords: Any) -> Tensor:
    """a + b, or a − b with `sign` −1."""
    one, other = args[:2]
    scale = sign * keywords.get("alpha", 1)

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        given = iter(inputs)
        a = next(given) if _has_gradient(one) else one
        b = scale * (next(given) if _has_gradient(other) else other)
        if flow.composite.biases == "spread" and len(inputs) == 1:
            return [_to_shape(relevance, inputs[0])]
        if flow.composite.sums == "sizes":
            a, b = abs(a), abs(b)
        per_output = relevance / stable(a + b)
        return [_to_shape(per_output * part, x) for part, x in zip(_chosen((a, b), args), inputs)]

    return _of_two(func, share, args, keywords)


def _chosen(parts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    return [part for part, arg in zip(parts, args) if _has_gradient(arg)]


def _reversed_difference(
    flow: RelevanceFlow, func: Callable[..., Tensor], x: Any, other: Any, **keywords: Any
) -> Tensor:
    """other − x, as in `1 - x`."""
    return _sum(flow, lambda a, b, **rest: func(b, a, **rest), other, x, sign=-1, **keywords)


def _product(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """a · b: all to the larger one, as the other is a gate; half each to two of the same size."""

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        if len(inputs) == 1:
            return [_to_shape(relevance, inputs[0])]
        a, b = (value.numel() for value in inputs)
        weights = (0.5, 0.5) if a == b else (float(a > b), float(b > a))
        return [_to_shape(relevance * w, x) if w else torch.zeros_like(x) for w, x in zip(weights, inputs)]

    return _of_two(func, share, args, keywords)


def _quotient(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """a / b: all to a, as b only scales it."""

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        whole = [_to_shape(relevance, inputs[0])] if _has_gradient(args[0]) else []
        return [*whole, *(torch.zeros_like(x) for x in inputs[len(whole) :])]

    return _of_two(func, share, args, keywords)


def _reversed_quotient(flow: RelevanceFlow, func: Callable[..., Tensor], x: Any, other: Any, **keywords: Any) -> Tensor:
    """other / x, as in `1 / x`."""
    return _quotient(flow, lambda a, b, **rest: func(b, a, **rest), other, x, **keywords)


def _of_two(func: Callable[..., Tensor], share: Sharing, args: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor:
    """The call of two arguments, either of which may be a constant."""

    def run(*inputs: Tensor) -> Tensor:
        given = iter(inputs)
        return func(*[next(given) if _has_gradient(arg) else arg for arg in args], **keywords)

    return shared(run, share, *(arg for arg in args if _has_gradient(arg)))


def _pass_first(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    """A function that scales each value by a constant, or flips all signs."""
    if not _has_gradient(input):
        return func(input, *rest, **keywords)
    return replaced(input, lambda x: func(x, *rest, **keywords), lambda relevance: relevance)


# ---- attention and normalisation -----------------------------------------------------------------


def _matrix_product(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """A product of matrices: half for each factor that is no constant (Achtibat et al. 2024, proposition 3.3)."""
    factors = [arg for arg in (*args, *_inside(args)) if _has_gradient(arg)]
    out = _proportional(flow, func, *args, **keywords)
    return out if len(factors) < 2 else replaced(out, lambda x: x.clone(), lambda relevance: relevance / 2)


def _einsum(flow: RelevanceFlow, func: Callable[..., Tensor], equation: str, *operands: Any) -> Tensor:
    flattened = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    return _matrix_product(flow, partial(func, equation), *flattened)


def _softmax(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    """R_x = x · (R − s ΣR) (Achtibat et al. 2024, proposition 3.1). A vector's softmax, the network's last step, passes
    relevance on, so that a probability's relevance is that of its score."""
    run = partial(_with_input, func, rest, keywords)
    if input.ndim < 3:
        return replaced(input, run, lambda relevance: relevance)
    dim = keywords.get("dim", rest[0] if rest else -1)

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        x = inputs[0]
        finite = x.masked_fill(x.isinf(), 0)  # masked places have no relevance
        return [finite * (relevance - run(x) * relevance.sum(dim, keepdim=True))]

    return shared(run, share, input)


def _layer_norm(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    given = {**dict(zip(("normalized_shape", "weight", "bias", "eps"), rest)), **keywords}
    run = partial(_with_input, func, rest, keywords)
    axes = len(given["normalized_shape"])
    return _normalised(run, input, (*input.shape[: input.ndim - axes], -1), given.get("weight"), given.get("eps", 1e-5))


def _group_norm(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    given = {**dict(zip(("num_groups", "weight", "bias", "eps"), rest)), **keywords}
    return _of_channels(func, input, rest, keywords, given, given["num_groups"])


def _instance_norm(
    flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any
) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
    return _of_channels(func, input, rest, keywords, {**dict(zip(names, rest)), **keywords}, input.shape[1])


def _of_channels(
    func: Callable[..., Tensor],
    input: Tensor,
    rest: Sequence[Any],
    keywords: Mapping[str, Any],
    given: Mapping[str, Any],
    groups: int,
) -> Tensor:
    weight = given.get("weight")
    gain = None if weight is None else weight.reshape(-1, *[1] * (input.ndim - 2))
    run = partial(_with_input, func, rest, keywords)
    return _normalised(run, input, (len(input), groups, -1), gain, given.get("eps", 1e-5))


def _normalised(
    run: Callable[[Tensor], Tensor], input: Tensor, shape: Sequence[int], gain: Tensor | None, eps: float
) -> Tensor:
    """A normalisation y = γ (x − mean) / σ + β: R_x = x · ∂/∂x (y · R/y) with σ as a constant.

    Args:
        shape: that of the input, with all values that are normalised together on the last axis.
        gain: γ, in the shape in which it is multiplied.
    """

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        x, per_output = inputs[0], relevance / stable(run(inputs[0]))
        sigma = (x.reshape(shape).var(-1, correction=0, keepdim=True) + eps).sqrt()
        slope = (per_output if gain is None else per_output * gain).reshape(shape) / sigma
        return [x * (slope - slope.mean(-1, keepdim=True)).reshape(x.shape)]

    return shared(run, share, input)


def _again(
    decomposed: Callable[..., Tensor],
    run: Callable[..., Tensor],
    flow: RelevanceFlow,
    *inputs: Tensor,
) -> Tensor:
    """run(*inputs), whose relevance flows as through `decomposed(*inputs)`, the same in simple steps."""

    def share(saved: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        copies = [x.detach().requires_grad_() for x in saved]
        with torch.enable_grad(), flow.again():
            out = decomposed(*copies)
        return torch.autograd.grad(out, copies, relevance, allow_unused=True)

    return shared(run, share, *inputs)


def _attention(
    flow: RelevanceFlow, func: Callable[..., Tensor], query: Tensor, key: Tensor, value: Tensor, *rest: Any,
    **keywords: Any,
) -> Tensor:  # fmt: skip
    """softmax(QKᵀ/√d + mask) V."""
    names = ("attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    options = {**dict(zip(names, rest)), **keywords}

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if options.get("enable_gqa"):
            times = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
        return _weights(options, query, key) @ value

    return _again(attend, lambda q, k, v: func(q, k, v, *rest, **keywords), flow, query, key, value)


def _weights(options: Mapping[str, Any], query: Tensor, key: Tensor) -> Tensor:
    scale = options.get("scale")
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    mask = options.get("attn_mask")
    if options.get("is_causal"):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def _multi_head(flow: RelevanceFlow, func: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """`torch.nn.MultiheadAttention`'s function: projections, attention, projection. L×B×E throughout."""
    given = {**dict(zip(_MULTI_HEAD, args)), **keywords}
    query, key, value = given["query"], given["key"], given["value"]
    unusual = given.get("bias_k") is not None or given.get("add_zero_attn") or given.get("use_separate_proj_weight")
    if unusual or query.ndim != 3 or key is not value or given.get("key_padding_mask") is not None:
        return func(*args, **keywords)

    def run(place: int, *inputs: Tensor) -> Tensor:
        found: Tensor = func(**{**given, "query": inputs[0], "key": inputs[-1], "value": inputs[-1]})[place]
        return found

    inputs = (query,) if key is query else (query, key)
    out = _again(partial(_attend_in_heads, given), partial(run, 0), flow, *inputs)
    if not given.get("need_weights", True):
        return out, None
    return out, _again(partial(_weights_in_heads, given), partial(run, 1), flow, *inputs)


def _projected(given: Mapping[str, Any], *inputs: Tensor) -> list[Tensor]:
    """Queries, keys and values, B·heads × L × size."""
    size, found = inputs[0].shape[-1], []
    for i, x in enumerate((inputs[0], inputs[-1], inputs[-1])):
        rows = slice(i * size, (i + 1) * size)
        bias = None if given["in_proj_bias"] is None else given["in_proj_bias"][rows]
        projected = F.linear(x, given["in_proj_weight"][rows], bias)
        found.append(projected.reshape(len(x), -1, size // given["num_heads"]).transpose(0, 1))
    return found


def _attend_in_heads(given: Mapping[str, Any], *inputs: Tensor) -> Tensor:
    query, key, value = _projected(given, *inputs)
    attended = _weights(given, query, key) @ value
    joined = attended.transpose(0, 1).reshape(inputs[0].shape)
    return F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])


def _weights_in_heads(given: Mapping[str, Any], *inputs: Tensor) -> Tensor:
    query, key, _ = _projected(given, *inputs)
    weights = _weights(given, query, key)
    each = weights.reshape(inputs[0].shape[1], given["num_heads"], *weights.shape[1:])
    return each.mean(1) if given.get("average_attn_weights", True) else each


# ---- which function is handled how ----------------------------------------------------------------

Handler = Callable[..., Any]
_TRANSPOSED = {F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
_MULTI_HEAD = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
    "attn_mask",
)  # fmt: skip
_WRITING: dict[Callable[..., Any], Callable[..., Tensor]] = {  # functions that write -> the same out of place
    Tensor.add_: torch.add, Tensor.__iadd__: torch.add, Tensor.sub_: torch.sub, Tensor.__isub__: torch.sub,
    Tensor.mul_: torch.mul, Tensor.__imul__: torch.mul, Tensor.div_: torch.div, Tensor.__idiv__: torch.div,
    Tensor.__itruediv__: torch.div,
}  # fmt: skip


def _functions(*names: str) -> list[Callable[..., Any]]:
    """All functions of these names in torch, its functional module and its tensors."""
    places = (torch, F, Tensor, torch.special)
    return [found for name in names for place in places if (found := getattr(place, name, None)) is not None]


_HANDLERS: dict[Callable[..., Any], Handler] = {
    **dict.fromkeys(_functions("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                               "conv_transpose3d", "linear"), _layer),
    **dict.fromkeys(_functions("batch_norm"), _batch_norm),
    **dict.fromkeys(_functions("add", "add_", "__add__", "__radd__", "__iadd__"), _sum),
    **dict.fromkeys(_functions("sub", "sub_", "subtract", "__sub__", "__isub__"), partial(_sum, sign=-1)),
    **dict.fromkeys(_functions("rsub", "__rsub__"), _reversed_difference),
    **dict.fromkeys(_functions("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"), _product),
    **dict.fromkeys(_functions("div", "div_", "divide", "true_divide", "__div__", "__truediv__", "__idiv__",
                               "__itruediv__"), _quotient),
    **dict.fromkeys(_functions("__rdiv__", "__rtruediv__"), _reversed_quotient),
    **dict.fromkeys(_functions("mean", "sum", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
                               "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "interpolate",
                               "upsample", "grid_sample", "sigmoid", "tanh", "hardsigmoid", "logsigmoid", "softsign",
                               "exp", "log", "sqrt", "rsqrt", "cumsum", "glu",
                               "logsumexp", "norm", "addmm", "baddbmm", "bilinear", "std", "var"), _proportional),
    **dict.fromkeys(_functions("neg", "__neg__", "negative", "abs", "pow", "__pow__", "square", "normalize",
                               "local_response_norm", "rms_norm",
                               "log_softmax"), _pass_first),
    **dict.fromkeys(_functions("matmul", "__matmul__", "__rmatmul__", "bmm", "mm"), _matrix_product),
    **dict.fromkeys(_functions("einsum"), _einsum),
    **dict.fromkeys(_functions("softmax"), _softmax),
    **dict.fromkeys(_functions("scaled_dot_product_attention"), _attention),
    **dict.fromkeys(_functions("multi_head_attention_forward"), _multi_head),
    **dict.fromkeys(_functions("layer_norm"), _layer_norm),
    **dict.fromkeys(_functions("group_norm"), _group_norm),
    **dict.fromkeys(_functions("instance_norm"), _instance_norm),
}  # fmt: skip
