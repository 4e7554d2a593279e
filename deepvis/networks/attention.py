"""Attention as layers: each head's attention weights are the maps of a unit.

Fused attention does not return its weights. A `TorchFunctionMode` sees its calls and computes the weights from the
same queries and keys, which does not change the network's values at all. It does so only while they are captured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Attention(nn.Module):
    """A module that stands for a call of attention, so that its weights can be captured. The network does not use it.

    Args:
        from_first: show the weights of the first token, the class token; if false their average over
            all query tokens.
    """

    def __init__(self, from_first: bool) -> None:
        super().__init__()
        self.from_first = from_first

    def forward(self, weights: Tensor) -> Tensor:
        """B×heads×queries×keys, each query's weights adding up to 1 -> B×keys×heads."""
        return (weights[:, :, 0] if self.from_first else weights.mean(2)).transpose(1, 2)


class WithAttention(nn.Module):
    """A network whose calls of attention can be captured, at the paths `attention.<number of the call>`."""

    def __init__(self, net: nn.Module, attention: Mapping[int, Attention]) -> None:
        super().__init__()
        self.net = net
        self.attention = nn.ModuleDict({str(number): module for number, module in attention.items()})

    def forward(self, x: Tensor) -> object:
        wanted = {int(number): module for number, module in self.attention.items() if module._forward_hooks}
        if not wanted:
            return self.net(x)
        with AttentionCalls(lambda number, weights: wanted[number](weights()) if number in wanted else None):
            return self.net(x)


class AttentionCalls(TorchFunctionMode):
    """Within the block, `see(number, weights)` is called before every call of attention.

    Args:
        see: takes the call's number (0, 1, …) and a function that computes its weights, differentiable,
            B×heads×queries×keys.
    """

    def __init__(self, see: Callable[[int, Callable[[], Tensor]], object]) -> None:
        super().__init__()
        self._see = see
        self._count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _WEIGHTS:
            self._see(self._count, partial(_WEIGHTS[func], *args, **kwargs))
            self._count += 1
        return func(*args, **kwargs)


def _of_fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(QKᵀ/√d + mask), Vaswani et al. 2017, equation 1. The names are torch's own."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1)


def _of_multi_head(*args: Any, **kwargs: Any) -> Tensor:
    asked = {**kwargs, "need_weights": True, "average_attn_weights": False}
    return cast(Tensor, F.multi_head_attention_forward(*args, **asked)[1])  # None only if no weights are asked for


_WEIGHTS: Mapping[Callable[..., Any], Callable[..., Tensor]] = {
    F.scaled_dot_product_attention: _of_fused,
    F.multi_head_attention_forward: _of_multi_head,
}
