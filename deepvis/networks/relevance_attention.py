"""How relevance is shared in attention and in normalisations, by AttnLRP (Achtibat et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.networks.activation_rules import replaced
from deepvis.networks.relevance_rules import stable
from deepvis.networks.relevance_sharing import has_gradient, in_sequences, proportional, shared, with_input

if TYPE_CHECKING:
    from deepvis.networks.relevance_flow import RelevanceFlow

_MULTI_HEAD = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
    "attn_mask",
)  # fmt: skip


def matrix_product(flow: RelevanceFlow, func: Callable[..., Tensor], *args: Any, **keywords: Any) -> Tensor:
    """A product of matrices: half for each factor that is no constant (Achtibat et al. 2024, proposition 3.3)."""
    factors = [arg for arg in (*args, *in_sequences(args)) if has_gradient(arg)]
    out = proportional(flow, func, *args, **keywords)
    return out if len(factors) < 2 else replaced(out, lambda x: x.clone(), lambda relevance: relevance / 2)


def einsum(flow: RelevanceFlow, func: Callable[..., Tensor], equation: str, *operands: Any) -> Tensor:
    flattened = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    return matrix_product(flow, partial(func, equation), *flattened)


def softmax(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    """R_x = x · (R − s ΣR) (Achtibat et al. 2024, proposition 3.1). A vector's softmax, the network's last step, passes
    relevance on, so that a probability's relevance is that of its score."""
    run = partial(with_input, func, rest, keywords)
    if input.ndim < 3:
        return replaced(input, run, lambda relevance: relevance)
    dim = keywords.get("dim", rest[0] if rest else -1)

    def share(inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        x = inputs[0]
        finite = x.masked_fill(x.isinf(), 0)  # masked places have no relevance
        return [finite * (relevance - run(x) * relevance.sum(dim, keepdim=True))]

    return shared(run, share, input)


def layer_norm(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    given = {**dict(zip(("normalized_shape", "weight", "bias", "eps"), rest)), **keywords}
    run = partial(with_input, func, rest, keywords)
    axes = len(given["normalized_shape"])
    return _normalised(run, input, (*input.shape[: input.ndim - axes], -1), given.get("weight"), given.get("eps", 1e-5))


def group_norm(flow: RelevanceFlow, func: Callable[..., Tensor], input: Tensor, *rest: Any, **keywords: Any) -> Tensor:
    given = {**dict(zip(("num_groups", "weight", "bias", "eps"), rest)), **keywords}
    return _of_channels(func, input, rest, keywords, given, given["num_groups"])


def instance_norm(
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
    run = partial(with_input, func, rest, keywords)
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


def again(
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


def attention(
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

    return again(attend, lambda q, k, v: func(q, k, v, *rest, **keywords), flow, query, key, value)


def _weights(options: Mapping[str, Any], query: Tensor, key: Tensor) -> Tensor:
    scale = options.get("scale")
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    mask = options.get("attn_mask")
    if options.get("is_causal"):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def multi_head(flow: RelevanceFlow, func: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
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
    out = again(partial(_attend_in_heads, given), partial(run, 0), flow, *inputs)
    if not given.get("need_weights", True):
        return out, None
    return out, again(partial(_weights_in_heads, given), partial(run, 1), flow, *inputs)


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
