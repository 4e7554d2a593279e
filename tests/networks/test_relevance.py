"""Layer-wise relevance propagation: against zennit, and against sums of contributions written by definition."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
import zennit.composites as theirs
from relevances import HIGH, LOW, noise, relevance, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from zennit.attribution import Gradient
from zennit.torchvision import ResNetCanonizer

from deepvis.core.errors import UserError
from deepvis.networks import composites
from deepvis.networks.composites import Composite, composite_of
from deepvis.networks.folding import fold_batchnorm
from deepvis.networks.relevance_sharing import keeping_copies

# ---------------------------------------------------------------- against zennit

NETWORKS = {"resnet18": 64, "vgg11_bn": 32, "alexnet": 64}


def with_small_head(name: str) -> nn.Module:
    """The network with few units in its linear layers, which would take most of the time."""
    if name == "resnet18":
        return torchvision.models.resnet18(num_classes=10)
    features = getattr(torchvision.models, name)
    with torch.device("meta"):  # its own large head is not made
        module = features()
    module.features = module.features.to_empty(device="cpu")
    for child in module.features.modules():
        if hasattr(child, "reset_parameters"):
            child.reset_parameters()
    size = module.classifier[0 if name == "vgg11_bn" else 1].in_features
    module.classifier = nn.Sequential(nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, 10))
    return module


@pytest.mark.parametrize("name", NETWORKS)
def test_as_zennit_on_the_same_folded_network(name: str) -> None:
    module = seeded(lambda: with_small_head(name))
    x = noise(1, 3, NETWORKS[name], NETWORKS[name])
    folded = fold_batchnorm(module, x)
    canonizers = [ResNetCanonizer()] if name == "resnet18" else []
    every = theirs.LayerMapComposite(
        [*theirs.layer_map_base(), ((theirs.Convolution, nn.Linear), theirs.Epsilon(0.25))], canonizers=canonizers
    )
    pairs = [
        (composites.PLUS_FLAT, theirs.EpsilonPlusFlat(canonizers=canonizers)),
        (composites.GAMMA_BOX, theirs.EpsilonGammaBox(LOW, HIGH, canonizers=canonizers)),
        (composites.ALPHA_BETA, theirs.EpsilonAlpha2Beta1Flat(canonizers=canonizers)),
        (composites.EPSILON, every),
    ]
    with torch.no_grad():
        unit = int(folded(x)[0].argmax())
    for mine, composite in pairs:
        got = relevance(folded, x, mine, unit)
        start = torch.zeros(1, 10).double()
        start[:, unit] = 1
        with Gradient(folded, composite) as attributor:
            _, want = attributor(x.clone(), start)
        # Shares of sums that almost cancel out enlarge the rounding, which differs with the order of summing.
        assert (got - want).abs().max() <= 5e-12 * want.abs().max(), mine
        unfolded = relevance(module, x, mine, unit)
        assert (unfolded - want).abs().max() <= 5e-12 * want.abs().max(), mine


# ---------------------------------------------------------------- by definition

STABLE = 1e-6


def stable(z: Tensor) -> Tensor:
    return torch.where(z < 0, z - STABLE, z + STABLE)


def matrix(run, like: Tensor) -> Tensor:
    """The matrix of a linear map without bias, inputs × outputs."""
    units = torch.eye(like.numel(), dtype=like.dtype).reshape(-1, *like.shape[1:])
    return run(units).reshape(like.numel(), -1)


def share(contributions: Tensor, biases: Tensor | float, above: Tensor) -> Tensor:
    """R_i = Σ_j z_ij / z_j R_j, where z_j = Σ_i z_ij + b_j."""
    return (contributions / stable(contributions.sum(0) + biases) * above).sum(1)


def zplus(x: Tensor, weights: Tensor, bias: Tensor, above: Tensor) -> Tensor:
    return share((x[:, None] * weights).clamp(min=0), bias.clamp(min=0), above)


def plain(x: Tensor, weights: Tensor, bias: Tensor | float, above: Tensor) -> Tensor:
    return share(x[:, None] * weights, bias, above)


LAYERS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "stride": lambda: nn.Conv2d(4, 6, 3, stride=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2),
    "same": lambda: nn.Conv2d(4, 6, 3, padding="same", bias=False),
    "circular": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1),
    "transposed, grouped": lambda: nn.ConvTranspose2d(4, 6, 2, groups=2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_convolutions_of_all_kinds_by_definition(name: str) -> None:
    """Behind a first layer; z⁺ and ε, with inputs of both signs."""
    layer = seeded(LAYERS[name])
    first = seeded(lambda: nn.Conv2d(3, 4, 1, bias=False))
    x = noise(1, 3, 5, 6)
    net = nn.Sequential(first, layer)
    with torch.no_grad():
        inner, out = first(x), net(x)
    above = noise(*out.shape, seed=2)
    weights = matrix(lambda one: layer(one) - layer(torch.zeros_like(one)), inner)
    zero = layer(torch.zeros_like(inner)).reshape(-1)
    wants = {
        "zplus": zplus(inner.reshape(-1), weights, zero, above.reshape(-1)),
        "epsilon 1e-6": plain(inner.reshape(-1), weights, zero, above.reshape(-1)),
    }
    back = matrix(first, x)
    for rule, middle in wants.items():
        got = relevance(net, x, Composite("epsilon 1e-6", rule), 0, above)
        want = plain(x.reshape(-1), back, 0.0, middle).reshape(x.shape)
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9 * float(want.abs().max()))


class Joined(nn.Module):
    """A skip addition in place, a difference, a gate, a constant factor, a concatenation, a saturated ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(20 * self.a(x))
        z = self.b(y)
        z += y
        z = 2 - z / 3
        z = z * self.b(y).mean((2, 3), keepdim=True).sigmoid()
        both = torch.cat([F.silu(z), F.max_pool2d(y, 3, 1, 1)], 1)
        return self.fc(F.adaptive_avg_pool2d(both, 1).flatten(1))


def test_joined_ways_by_definition() -> None:
    net, x = seeded(Joined), noise(1, 3, 4, 4)
    got = relevance(net, x, Composite("epsilon 1e-6", "epsilon 1e-6"), 1)
    with torch.no_grad():
        a = net.a(x)
        y = F.relu6(20 * a)
        by = net.b(y)
        z0 = by + y
        z1 = 2 - z0 / 3
        gate = by.mean((2, 3), keepdim=True).sigmoid()
        z2 = z1 * gate
        pooled, where = F.max_pool2d(y, 3, 1, 1, return_indices=True)
        both = torch.cat([F.silu(z2), pooled], 1)
        means = both.mean((2, 3)).reshape(-1)
        logit = net.fc(means)[1]
        assert (y == 6).any() and (z0.abs() > 1e-3).all()
        r_means = means * net.fc.weight[1] / stable(logit)
        r_both = both / 16 / stable(means).reshape(1, 8, 1, 1) * r_means.reshape(1, 8, 1, 1)
        r_z, r_pooled = r_both[:, :4], r_both[:, 4:]  # SiLU and the gate pass relevance on
        r_z = r_z * (-z0 / 3) / stable(z1)  # 2 keeps its share; the factor 3 takes none
        r_by, r_y = r_z * by / stable(z0), r_z * y / stable(z0)
        for channel in range(4):
            r_y[0, channel].view(-1).index_add_(0, where[0, channel].view(-1), r_pooled[0, channel].view(-1))
        r_y = r_y + torch.einsum("oi,bixy,boxy->bixy", net.b.weight[:, :, 0, 0], y, r_by / stable(by))
        # ReLU6, also where it is saturated, and the factor 20 pass relevance on
        want = torch.einsum("oi,bixy,boxy->bixy", net.a.weight[:, :, 0, 0], x, r_y / stable(a))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10 * float(want.abs().max()))


def test_a_normalisation_behind_a_layer_is_folded_and_one_before_is_shared_by_definition() -> None:
    first = lambda: (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    net = seeded(lambda: nn.Sequential(*first(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)))
    x = noise(1, 3, 3, 3)
    start = noise(1, 2, 3, 3, seed=4)
    got = relevance(net, x, Composite("epsilon 1e-6", "epsilon 1e-6"), 0, start)
    with torch.no_grad():
        gain = [n.weight * (n.running_var + n.eps).rsqrt() for n in (net[1], net[3])]
        y = net[1](net[0](x))
        z, out = net[3](y.relu()), net(x)
        r_z = torch.einsum("oi,bixy,boxy->bixy", net[4].weight[:, :, 0, 0], z, start / stable(out))
        r_y = r_z * y.relu() * gain[1].reshape(1, -1, 1, 1) / stable(z)
        folded = net[0].weight[:, :, 0, 0] * gain[0][:, None]
        want = torch.einsum("oi,bixy,boxy->bixy", folded, x, r_y / stable(y))
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-9 * float(want.abs().max()))


class Attending(nn.Module):
    """One block of a transformer, with attention written in three ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.norm, self.qkv, self.out = way, nn.LayerNorm(6), nn.Linear(6, 18), nn.Linear(6, 6)
        self.up, self.down = nn.Linear(6, 5), nn.Linear(5, 6)

    def attend(self, x: Tensor) -> Tensor:
        if self.way == "module":
            turned = x.transpose(0, 1)
            made = F.multi_head_attention_forward(
                turned, turned, turned, 6, 2, self.qkv.weight, self.qkv.bias, None, None, False, 0.0, self.out.weight,
                self.out.bias, training=False, need_weights=False)[0]  # fmt: skip
            return made.transpose(0, 1)
        q, k, v = self.qkv(x).reshape(1, -1, 3, 2, 3).permute(2, 0, 3, 1, 4)
        if self.way == "fused":
            made = F.scaled_dot_product_attention(q, k, v)
        else:
            made = ((q @ k.transpose(-2, -1)) / math.sqrt(3)).softmax(-1) @ v
        return self.out(made.transpose(1, 2).reshape(1, -1, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attend(self.norm(x))
        return self.down(F.gelu(self.up(x)))


def by_attnlrp(net: Attending, x: Tensor, above: Tensor) -> Tensor:
    """The same block, one token and one head at a time, by the propositions of AttnLRP."""
    tokens = x.flatten(2).transpose(1, 2)[0]
    normed, qkv = net.norm(tokens), net.qkv(net.norm(tokens))
    q, k, v = (qkv[:, i * 6 : i * 6 + 6].reshape(-1, 2, 3) for i in range(3))
    heads, r_q, r_k, r_v = torch.zeros_like(q), torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    scores = {h: q[:, h] @ k[:, h].T / math.sqrt(3) for h in range(2)}
    for h in range(2):
        heads[:, h] = scores[h].softmax(1) @ v[:, h]
    attended = net.out(heads.reshape(-1, 6))
    summed = tokens + attended
    hidden, out = net.up(summed), net.down(F.gelu(net.up(summed)))
    linear = lambda values, layer, result, r: values * ((r / stable(result)) @ layer.weight)  # noqa: E731
    r_hidden = linear(F.gelu(hidden), net.down, out, above[0])
    r_sum = linear(summed, net.up, hidden, r_hidden)
    r_tokens, r_attended = (r_sum * part / stable(summed) for part in (tokens, attended))
    r_heads = linear(heads.reshape(-1, 6), net.out, attended, r_attended).reshape(-1, 2, 3)
    for h in range(2):
        s = scores[h].softmax(1)
        per = r_heads[:, h] / stable(heads[:, h]) / 2
        r_v[:, h] = v[:, h] * (s.T @ per)
        r_s = s * (per @ v[:, h].T)
        r_scores = scores[h] * (r_s - s * r_s.sum(1, keepdim=True))
        product = q[:, h] @ k[:, h].T
        per = r_scores / stable(product) / 2
        r_q[:, h], r_k[:, h] = q[:, h] * (per @ k[:, h]), k[:, h] * (per.T @ q[:, h])
    r_qkv = torch.cat([part.reshape(-1, 6) for part in (r_q, r_k, r_v)], 1)
    r_normed = linear(normed, net.qkv, qkv, r_qkv)
    sigma = (tokens.var(1, correction=0, keepdim=True) + net.norm.eps).sqrt()
    slope = r_normed / stable(normed) * net.norm.weight / sigma
    r_tokens = r_tokens + tokens * (slope - slope.mean(1, keepdim=True))
    return r_tokens.T.reshape(x.shape)


@pytest.mark.parametrize("way", ["module", "fused", "by hand"])
def test_attention_by_the_propositions_of_attnlrp(way: str) -> None:
    """The rule for layers that take the pixels is ε too, so that all layers have the same."""
    net, x = seeded(lambda: Attending(way)), noise(1, 6, 2, 2)
    above = noise(1, 4, 6, seed=3)
    got = relevance(net, x, Composite("epsilon 1e-6", "epsilon 1e-6"), 0, above)
    with torch.no_grad():
        want = by_attnlrp(net, x, above)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7 * float(want.abs().max()))


class Transformer(nn.Module):
    """A patch embedding with a position embedding, group and instance norms, a query that is not the key."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.groups = nn.Conv2d(3, 8, 2, 2), nn.GroupNorm(2, 8)
        self.place = nn.InstanceNorm2d(8, affine=True)
        self.attention, self.token = nn.MultiheadAttention(8, 2, batch_first=True), nn.Parameter(torch.ones(1, 1, 8))
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.place(self.groups(self.embed(x))).flatten(2).transpose(1, 2) + 0.1
        seen, weights = self.attention(self.token + x[:, :1], x, x)
        return self.fc(seen[:, 0]).softmax(1) + 0 * weights.sum()


def test_every_rule_gives_finite_relevance_on_norms_and_cross_attention() -> None:
    net, x = seeded(Transformer), noise(1, 3, 8, 8)
    for composite in (composites.PLUS_FLAT, composites.GAMMA_BOX, composites.GAMMA, composites.CONSERVING):
        found = relevance(net, x, composite, 2)
        assert found.isfinite().all() and found.any()


# ---------------------------------------------------------------- conservation, places, writing in place


def test_without_biases_relevance_is_conserved_and_with_spread_biases_too() -> None:
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 2), nn.ReLU(),
                                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))  # fmt: skip
    x = noise(1, 3, 9, 9)
    with torch.no_grad():
        unit = int(net(x)[0].abs().argmax())
    linear = seeded(lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(245, 3)))
    spread = relevance(linear, x, Composite("epsilon 1e-6", "epsilon 1e-6", biases="spread"), unit)
    assert abs(float(spread.sum()) - 1) < 1e-3  # with ReLU, what is spread to dead units is lost
    kept = relevance(net, x, composites.PLUS_FLAT, unit)
    assert abs(float(kept.sum()) - 1) > 1e-3
    for layer in (net[0], net[3], net[7]):
        layer.bias.zero_()
    for composite in (composites.PLUS_FLAT, composites.GAMMA_BOX, Composite("epsilon 1e-6", "gamma 0.1")):
        assert abs(float(relevance(net, x, composite, unit).sum()) - 1) < 5e-3, composite


def test_shares_by_size_stay_bounded_where_a_sum_cancels_out() -> None:
    class Cancels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1] + x[:, 1:2]

    net, x = Cancels(), noise(1, 3, 2, 2)
    x[:, 1] = 1e-9 - x[:, 0]
    start = torch.ones(1, 1, 2, 2).double()
    signed, sizes = (
        relevance(net, x, Composite("epsilon 1e-6", "epsilon 1e-6", sums=sums), 0, start).abs().max()
        for sums in ("signed", "sizes")
    )
    assert signed > 1e4 > 100 > sizes


def test_a_network_that_writes_to_what_a_layer_has_read() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = self.b(y)
            y += 1
            return z * 1 + y

    net, x = seeded(Writes), noise(1, 3, 2, 2)
    start = torch.ones(1, 3, 2, 2).double()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        relevance(net, x, composites.EPSILON, 0, start)
    with keeping_copies():
        assert relevance(net, x, composites.EPSILON, 0, start).isfinite().all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"first": "flat"}, "needs a rule for convolution"),
        ({"first": "flat", "convolution": "gama 1"}, "rule 'gama 1': expected one of"),
        ({"first": "flat", "convolution": "gamma"}, "with numbers"),
        ({"first": "flat", "convolution": "gamma -1"}, "from 0"),
        ({"first": "flat", "convolution": "alpha-beta 2 2"}, "difference is 1"),
        ({"first": "flat", "convolution": "zplus", "biases": "gone"}, "expected absorb or spread"),
        ({"first": "flat", "convolution": "zplus", "last": "flat"}, "unknown part 'last'"),
    ],
)
def test_composites_that_are_wrong_say_what_is_expected(values: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        composite_of(values)


def test_a_composite_from_texts() -> None:
    assert composite_of({"first": "flat", "convolution": "zplus"}) == composites.PLUS_FLAT
