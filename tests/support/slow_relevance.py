"""Layer-wise relevance propagation written by definition, for whole networks: slow, and independent of the package.

A network is traced into single steps by torch.fx. Its values are kept, and the relevance goes back step by step: at
layers with weights by the contributions z_ij = x_i w_ij themselves, R_i = Σ_j z_ij / z_j R_j. The rules are those of
EpsilonPlusFlat (flat at the pixels, z⁺ at convolutions, ε at linear layers), or ε at all layers; a, b of a + b get
a/(a + b) and b/(a + b); attention, softmax and LayerNorm follow Achtibat et al. 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

STABLE = 1e-6
PASSING = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Dropout, nn.Identity)


def stable(z: Tensor) -> Tensor:
    return torch.where(z < 0, z - STABLE, z + STABLE)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d | nn.LayerNorm) or super().is_leaf_module(m, name)


class _Keep(fx.Interpreter):
    """Runs the network and keeps the value of each step."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


class SlowRelevance:
    """The relevance of the pixels.

    Args:
        plus: EpsilonPlusFlat; else ε at all layers.
    """

    def __init__(self, module: nn.Module, plus: bool) -> None:
        for child in module.modules():
            if isinstance(getattr(child, "inplace", None), bool):
                child.inplace = False
        graph = _Tracer().trace(module)
        self.module, self.plus = fx.GraphModule(module, graph), plus

    def __call__(self, x: Tensor, unit: int) -> Tensor:
        with torch.no_grad():
            keep = _Keep(self.module)
            out = keep.run(x)
            self.values = keep.values
            self.relevance: dict[fx.Node, Tensor] = {}
            nodes = list(self.module.graph.nodes)
            self._reaches = {nodes[0]}  # what depends on the pixels
            self._weighted: set[fx.Node] = set()  # behind a layer with weights
            for node in nodes[1:]:
                before = set(node.all_input_nodes)
                self._reaches |= {node} if before & self._reaches else set()
                own = self._module(node)
                has_weights = isinstance(own, nn.Conv2d | nn.Linear | nn.MultiheadAttention)
                self._weighted |= {node} if has_weights or before & self._weighted else set()
            start = torch.zeros_like(out)
            start[:, unit] = 1
            last = nodes[-1].args[0]
            self.relevance[last] = start
            for node in reversed(nodes[1:-1]):
                if node in self.relevance and node in self._reaches:
                    self._back(node, self.relevance[node])
            return self.relevance[nodes[0]]

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.module.get_submodule(node.target) if node.op == "call_module" else None

    def _give(self, node: fx.Node, relevance: Tensor) -> None:
        if node in self._reaches:
            self.relevance[node] = self.relevance[node] + relevance if node in self.relevance else relevance

    def _back(self, node: fx.Node, r: Tensor) -> None:
        own, v = self._module(node), self.values
        if own is not None:
            (source, *_) = node.args
            x, y = v[source], v[node]
            if isinstance(own, nn.Conv2d | nn.Linear):
                self._give(source, self._layer(node, own, x, r))
            elif isinstance(own, nn.BatchNorm2d):
                self._give(source, self._batch_norm(source, own, x, r))
            elif isinstance(own, nn.LayerNorm):
                self._give(source, _layer_norm(own, x, y, r))
            elif isinstance(own, nn.MultiheadAttention):
                self._give(source, _attention(own, x, r))
            elif isinstance(own, PASSING) or type(own).__name__ == "StochasticDepth":
                self._give(source, r)
            elif isinstance(own, nn.MaxPool2d):
                self._give(source, _largest(own, x, r))
            elif isinstance(own, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
                self._give(source, _by_size(own, x, y, r))
            else:
                self._give(source, _moved(own, x, r))
        elif node.target is getattr:
            raise NotImplementedError(node.format_node())
        else:
            self._function(node, r)

    def _function(self, node: fx.Node, r: Tensor) -> None:
        name = node.target if isinstance(node.target, str) else node.target.__name__
        args = [self.values.get(one, one) if isinstance(one, fx.Node) else one for one in node.args]
        if name in ("add", "iadd", "mul", "imul"):
            a, b = node.args
            x, y = args
            parts = (x, y) if "add" in name else None
            if parts is None:  # a scale: what is shown gets all
                small = [one for one in (a, b) if one in self._reaches]
                assert len(small) == 1, node.format_node()
                self._give(small[0], r)
                return
            for one, part in zip((a, b), parts):
                if isinstance(one, fx.Node):
                    share = part / stable(x + y) * r
                    self._give(one, share.sum_to_size(part.shape))
        elif name in ("relu", "relu_", "dropout", "stochastic_depth"):
            self._give(node.args[0], r)
        elif name in ("mean", "adaptive_avg_pool2d"):
            run = lambda x: _call(node, x)  # noqa: E731
            self._give(node.args[0], _by_size(run, args[0], self.values[node], r))
        elif name in ("cat", "concat"):
            inputs, dim = node.args[0], node.args[1] if len(node.args) > 1 else node.kwargs["dim"]
            for one, part in zip(inputs, r.split([self.values[one].shape[dim] for one in inputs], dim)):
                self._give(one, part)
        elif isinstance(args[0], tuple):  # attention's first result; the second one, its weights, is not used
            self._give(node.args[0], r)
        else:  # views
            self._give(node.args[0], _moved(lambda x: _call(node, x, self.values), args[0], r))

    def _layer(self, node: fx.Node, own: nn.Conv2d | nn.Linear, x: Tensor, r: Tensor) -> Tensor:
        weight, bias = own.weight, own.bias if own.bias is not None else torch.zeros(len(own.weight), dtype=x.dtype)
        norms = [self._module(user) for user in node.users]
        if len(norms) == 1 and isinstance(norms[0], nn.BatchNorm2d):  # it is part of the layer
            norm = norms[0]
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = weight * gain[:, None, None, None]
            bias = (bias - norm.running_mean) * gain + norm.bias
        is_first = node.args[0] not in self._weighted
        if isinstance(own, nn.Linear):
            rows = [_share(one[:, None] * weight.T, bias, above)
                    for one, above in zip(x.reshape(-1, x.shape[-1]), r.reshape(-1, r.shape[-1]))]  # fmt: skip
            return torch.stack(rows).reshape(x.shape)
        return _convolution(own, weight, bias, x, r, ("flat" if is_first else "plus") if self.plus else "epsilon")

    def _batch_norm(self, source: fx.Node, own: nn.BatchNorm2d, x: Tensor, r: Tensor) -> Tensor:
        if isinstance(self._module(source), nn.Conv2d) and len(source.users) == 1:
            return r
        gain = (own.weight / (own.running_var + own.eps).sqrt())[:, None, None]
        shift = own.bias[:, None, None] - own.running_mean[:, None, None] * gain
        return x * gain / stable(x * gain + shift) * r


def _call(node: fx.Node, x: Tensor, values: dict[fx.Node, Any] | None = None) -> Tensor:
    get = lambda one: (values or {}).get(one, one) if isinstance(one, fx.Node) else one  # noqa: E731
    args = fx.node.map_arg(node.args[1:], lambda one: get(one))
    kwargs = fx.node.map_arg(node.kwargs, lambda one: get(one))
    return getattr(x, node.target)(*args, **kwargs) if node.op == "call_method" else node.target(x, *args, **kwargs)


def _share(z: Tensor, bias: Tensor, above: Tensor) -> Tensor:
    """R_i = Σ_j z_ij / z_j R_j for contributions inputs × outputs."""
    return (z / stable(z.sum(0) + bias) * above).sum(1)


def _convolution(own: nn.Conv2d, weight: Tensor, bias: Tensor, x: Tensor, r: Tensor, rule: str) -> Tensor:
    """Window by window: the contributions of a window's values to the outputs at its place."""
    assert own.padding_mode == "zeros" and not isinstance(own.padding, str)
    options = {"dilation": own.dilation, "padding": own.padding, "stride": own.stride}
    size = weight.shape[2:]
    total = []
    for group in range(own.groups):
        ins, outs = (slice(group * n // own.groups, (group + 1) * n // own.groups) for n in (x.shape[1], len(weight)))
        w = weight[outs].flatten(1)[..., None]  # outputs × window × 1
        windows = F.unfold(x[:, ins], size, **options)  # 1 × window × places
        above = r[0, outs].flatten(1)
        if rule == "flat":
            there = F.unfold(torch.ones_like(x[:, ins]), size, **options)[0]  # not the padding
            back = there * (above.sum(0) / stable(there.sum(0)))
        else:
            z, b = w * windows, bias[outs]
            if rule == "plus":
                z, b = z.clamp(min=0), b.clamp(min=0)
            back = (z / stable(z.sum(1) + b[:, None])[:, None] * above[:, None]).sum(0)
        total.append(F.fold(back[None], x.shape[2:], size, **options))
    return torch.cat(total, 1)


def _largest(own: nn.MaxPool2d, x: Tensor, r: Tensor) -> Tensor:
    _, where = F.max_pool2d(x, own.kernel_size, own.stride, own.padding, return_indices=True)
    flat = torch.zeros_like(x).flatten(2)
    return flat.scatter_add(2, where.flatten(2), r.flatten(2)).reshape(x.shape)


def _by_size(run: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """Of means: each value's part of the sum, value by value."""
    out = torch.zeros(x.numel(), dtype=x.dtype)
    per_output = (r / stable(y)).flatten()
    for i, value in enumerate(x.flatten()):
        one = torch.zeros(x.numel(), dtype=x.dtype)
        one[i] = 1
        out[i] = (run(one.reshape(x.shape)).flatten() * value * per_output).sum()
    return out.reshape(x.shape)


def _moved(run: Callable[[Tensor], Tensor], x: Tensor, r: Tensor) -> Tensor:
    """Of views: each value goes back to where it came from."""
    places = run(torch.arange(x.numel(), dtype=torch.float64).reshape(x.shape)).long().flatten()
    return torch.zeros_like(x).flatten().index_add(0, places, r.flatten()).reshape(x.shape)


def _layer_norm(own: nn.LayerNorm, x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """R_x = x · ∂/∂x (y R/y) with the standard deviation as a constant."""
    turn = type(own) is not nn.LayerNorm  # torchvision's of maps: over the channels
    x, y, r = (one.permute(0, 2, 3, 1) if turn else one for one in (x, y, r))
    sigma = (x.var(-1, correction=0, keepdim=True) + own.eps).sqrt()
    slope = r / stable(y) * own.weight / sigma
    back = x * (slope - slope.mean(-1, keepdim=True))
    return back.permute(0, 3, 1, 2) if turn else back


def _attention(own: nn.MultiheadAttention, x: Tensor, r: Tensor) -> Tensor:
    """Self-attention, head by head and token by token (Achtibat et al. 2024, propositions 3.1 to 3.3)."""
    tokens, above, size, heads = x[0], r[0], own.embed_dim, own.num_heads
    d = size // heads
    weights, biases = own.in_proj_weight.split(size), own.in_proj_bias.split(size)
    parts = [F.linear(tokens, weight, bias) for weight, bias in zip(weights, biases)]
    q, k, v = (part.reshape(-1, heads, d).transpose(0, 1) for part in parts)
    scale = 1 / math.sqrt(d)
    attends = [(q[h] @ k[h].T * scale).softmax(-1) for h in range(heads)]
    joined = torch.stack([attends[h] @ v[h] for h in range(heads)]).transpose(0, 1).reshape(-1, size)
    linear = lambda values, w, b, one: torch.stack(  # noqa: E731
        [_share(value[:, None] * w.T, b, part) for value, part in zip(values, one)]
    )
    r_joined = linear(joined, own.out_proj.weight, own.out_proj.bias, above).reshape(-1, heads, d).transpose(0, 1)
    back = [torch.zeros_like(part) for part in (q, k, v)]
    for h in range(heads):
        s, out = attends[h], attends[h] @ v[h]
        per = r_joined[h] / stable(out) / 2
        back[2][h] = v[h] * (s.T @ per)
        r_s = s * (per @ v[h].T)
        scores = q[h] @ k[h].T * scale
        r_scores = scores * (r_s - s * r_s.sum(1, keepdim=True))
        per = r_scores / stable(q[h] @ k[h].T) / 2
        back[0][h], back[1][h] = q[h] * (per @ k[h]), k[h] * (per.T @ q[h])
    total = torch.zeros_like(tokens)
    for part, weight, bias in zip(back, weights, biases):
        total += linear(tokens, weight, bias, part.transpose(0, 1).reshape(-1, size))
    return total[None]
