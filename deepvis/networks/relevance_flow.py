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

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.networks import relevance_attention as attention
from deepvis.networks import relevance_sharing as sharing
from deepvis.networks.activation_rules import ActivationRule, replaced
from deepvis.networks.composites import Composite
from deepvis.networks.relevance_sharing import has_gradient, in_sequences


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
        if not any(map(has_gradient, (*args, *kwargs.values(), *in_sequences(args)))):
            return func(*args, **kwargs)
        if func not in _WRITING:
            return handle(self, func, *args, **kwargs)
        return args[0].copy_(handle(self, _WRITING[func], args[0].clone(), *args[1:], **kwargs))

    def again(self) -> RelevanceFlow:
        """The same flow for a calculation inside a backward pass."""
        return RelevanceFlow(self.composite, is_inner=True)


def _whole(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """An activation function: the relevance is passed on whole."""
    return replaced(x, f, lambda relevance: relevance)


# ---- which function is handled how ----------------------------------------------------------------

Handler = Callable[..., Any]
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
                               "conv_transpose3d", "linear"), sharing.weighted_layer),
    **dict.fromkeys(_functions("batch_norm"), sharing.batch_norm),
    **dict.fromkeys(_functions("add", "add_", "__add__", "__radd__", "__iadd__"), sharing.total),
    **dict.fromkeys(_functions("sub", "sub_", "subtract", "__sub__", "__isub__"), partial(sharing.total, sign=-1)),
    **dict.fromkeys(_functions("rsub", "__rsub__"), sharing.reversed_difference),
    **dict.fromkeys(_functions("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"), sharing.product),
    **dict.fromkeys(_functions("div", "div_", "divide", "true_divide", "__div__", "__truediv__", "__idiv__",
                               "__itruediv__"), sharing.quotient),
    **dict.fromkeys(_functions("__rdiv__", "__rtruediv__"), sharing.reversed_quotient),
    **dict.fromkeys(_functions("mean", "sum", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
                               "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "interpolate",
                               "upsample", "grid_sample", "sigmoid", "tanh", "hardsigmoid", "logsigmoid", "softsign",
                               "exp", "log", "sqrt", "rsqrt", "cumsum", "glu", "logsumexp", "norm", "addmm", "baddbmm",
                               "bilinear", "std", "var"), sharing.proportional),
    **dict.fromkeys(_functions("neg", "__neg__", "negative", "abs", "pow", "__pow__", "square", "normalize",
                               "local_response_norm", "rms_norm",
                               "log_softmax"), sharing.pass_first),
    **dict.fromkeys(_functions("matmul", "__matmul__", "__rmatmul__", "bmm", "mm"), attention.matrix_product),
    **dict.fromkeys(_functions("einsum"), attention.einsum),
    **dict.fromkeys(_functions("softmax"), attention.softmax),
    **dict.fromkeys(_functions("scaled_dot_product_attention"), attention.attention),
    **dict.fromkeys(_functions("multi_head_attention_forward"), attention.multi_head),
    **dict.fromkeys(_functions("layer_norm"), attention.layer_norm),
    **dict.fromkeys(_functions("group_norm"), attention.group_norm),
    **dict.fromkeys(_functions("instance_norm"), attention.instance_norm),
}  # fmt: skip
