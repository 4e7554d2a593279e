"""What heads look at, against softmax(QKᵀ/√d) worked out by hand in float64 from the block's own weights."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.networks.activation_rules import RULES
from deepvis.networks.attention import AttentionCalls
from deepvis.networks.loading import from_module
from deepvis.networks.network import InputSpec, Network, prepare

FRAME = Frame(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), "noise", 0, False)


def timm_net(**more) -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=24, num_heads=3, num_classes=5, **more
    )


def torchvision_net() -> nn.Module:
    return torchvision.models.VisionTransformer(64, 16, 2, 3, 24, 48, num_classes=5)


def network(make=timm_net, **keywords) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = make()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
    return prepare("net", module, InputSpec(64, 64), keywords.pop("layers", None), dtype=torch.float64, **keywords)


def by_hand(tokens: Tensor, weight: Tensor, bias: Tensor, heads: int) -> Tensor:
    """heads×queries×keys for one picture's normalised tokens, N×D; rows of `weight`: queries, keys, values."""
    count, width = tokens.shape
    q, k, _ = (tokens @ weight.T + bias).reshape(count, 3, heads, width // heads).permute(1, 2, 0, 3)
    scores = torch.einsum("hqd,hkd->hqk", q, k) / (width // heads) ** 0.5
    powers = torch.exp(scores - scores.amax(2, keepdim=True))
    return powers / powers.sum(2, keepdim=True)


def tokens_of(net: Network, path: str) -> Tensor:
    """The inputs of the block's attention, after its normalisation."""
    with torch.inference_mode(), net.capture([path]) as captured:
        net.module(net.see(FRAME.image, True))
    return captured[path][0]


@pytest.mark.parametrize("block", [0, 1])
def test_timm(block: int) -> None:
    net = network(layers={"norm": f"blocks.{block}.norm1", "heads": f"blocks.{block}/attention"})
    attention = net.module.net.blocks[block].attn
    want = by_hand(tokens_of(net, "norm"), attention.qkv.weight, attention.qkv.bias, 3)
    got = answer(net, Request(FRAME, True, "heads")).activations
    np.testing.assert_allclose(got, want[:, 0, 1:].reshape(3, 4, 4).numpy(), rtol=1e-5)  # of the class token


@pytest.mark.parametrize("block", [0, 1])
def test_torchvision(block: int) -> None:
    path = f"encoder.layers.encoder_layer_{block}"
    net = network(torchvision_net, layers={"norm": f"{path}.ln_1", "heads": f"{path}/attention"})
    attention = net.module.net.get_submodule(f"{path}.self_attention")
    want = by_hand(tokens_of(net, "norm"), attention.in_proj_weight, attention.in_proj_bias, 3)
    got = answer(net, Request(FRAME, True, "heads")).activations
    np.testing.assert_allclose(got, want[:, 0, 1:].reshape(3, 4, 4).numpy(), rtol=1e-5)


def test_without_a_class_token_it_is_the_average_over_all_that_look() -> None:
    layers = {"norm": "blocks.1.norm1", "heads": "blocks.1/attention"}
    net = network(lambda: timm_net(class_token=False, global_pool="avg"), layers=layers)
    attention = net.module.net.blocks[1].attn
    want = by_hand(tokens_of(net, "norm"), attention.qkv.weight, attention.qkv.bias, 3)
    got = answer(net, Request(FRAME, True, "heads")).activations
    np.testing.assert_allclose(got, want.mean(1).reshape(3, 4, 4).numpy(), rtol=1e-5)


@pytest.mark.parametrize("make", [timm_net, torchvision_net])
def test_attention_is_found_at_its_place_among_the_layers(make) -> None:
    net = network(make)
    names = [layer.name for layer in net.layers]
    heads = [layer for layer in net.layers if layer.name.endswith("/attention")]
    assert [layer.shape_text for layer in heads] == ["3×4×4"] * 2 and {layer.kind for layer in heads} == {"Attention"}
    assert all(names.index(layer.name) < len(names) - 1 for layer in heads)
    assert net.receptive_field(heads[0].name).text == "64×64 or more"
    assert net.replica().module.attention.keys() == net.module.attention.keys()


@pytest.mark.parametrize("make", [timm_net, torchvision_net])
def test_the_network_computes_what_it_did(make) -> None:
    net = network(make)
    x = net.see(FRAME.image, True)
    with torch.inference_mode():
        want = net.module.net(x)
        with net.capture([layer.name for layer in net.layers]):
            got = net.module(x)
    assert torch.equal(got, want)
    assert torch.equal(net.module(x), want)


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("make", [timm_net, torchvision_net])
def test_backward_from_a_head(make, method: str) -> None:
    net = network(make)
    name = [layer.name for layer in net.layers if layer.name.endswith("/attention")][1]
    plain = answer(net, Request(FRAME, True, name))
    result = answer(net, Request(FRAME, True, name, method, (name, 2), True))
    assert np.array_equal(result.activations, plain.activations) and np.array_equal(result.scores, plain.scores)
    np.testing.assert_array_equal(result.layer_gradient[2], result.activations[2])  # the seed: all weights are positive
    assert not result.layer_gradient[:2].any() and result.pixels.any() and np.isfinite(result.pixels).all()

    if method == "gradient":  # of half the sum of squares, by differences
        x, step = net.see(FRAME.image, True), 1e-5
        direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
        ahead, behind = (net.up_to(name, x + s * step * direction)[0, 2].square().sum() / 2 for s in (1, -1))
        along = float((torch.from_numpy(result.pixels).permute(2, 0, 1) * direction[0]).sum())
        assert along == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-4)


def test_nothing_flows_back_into_attention_from_behind() -> None:
    """The weights are worked out beside the network: what comes later does not hang on them."""
    net = network()
    result = answer(net, Request(FRAME, True, "blocks.0/attention", "gradient", ("head", 2), True))
    assert result.layer_gradient is None and result.pixels.any()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.rand(6, 6) > 0.3},
        {"attn_mask": torch.randn(2, 1, 6, 6)},
        {"enable_gqa": True},
    ],
)
def test_weights_are_those_that_the_fused_function_uses(more: dict) -> None:
    """With the identity for values, its output is the weights."""
    generator = torch.Generator().manual_seed(4)
    q = torch.randn(2, 4, 6, 8, generator=generator, dtype=torch.float64)
    k = torch.randn(2, 2 if "enable_gqa" in more else 4, 6, 8, generator=generator, dtype=torch.float64)
    mask = more.get("attn_mask")
    if mask is not None:
        more = {"attn_mask": mask.fill_diagonal_(True) if mask.dtype == torch.bool else mask.double()}
    seen = []
    with AttentionCalls(lambda number, weights: seen.append((number, weights()))):
        out = F.scaled_dot_product_attention(
            q, k, torch.eye(6, dtype=torch.float64).expand(2, k.shape[1], 6, 6), **more
        )
    ((number, weights),) = seen
    assert number == 0
    torch.testing.assert_close(weights, out)


def test_nothing_is_worked_out_unless_it_is_captured(monkeypatch) -> None:
    from deepvis.networks import attention

    net, calls = network(), []
    counted = lambda *_, **__: calls.append(1) or torch.zeros(1, 3, 17, 17)  # noqa: E731
    monkeypatch.setitem(attention._WEIGHTS, F.scaled_dot_product_attention, counted)
    answer(net, Request(FRAME, True, "norm"))
    assert calls == []
    answer(net, Request(FRAME, True, "blocks.1/attention"))
    assert calls == [1]


def test_heads_by_name_in_a_network_with_probabilities() -> None:
    given = {"input": {"height": 64, "width": 64}, "layers": {"heads": "blocks.1/attention", "scores": "softmax"}}
    net = from_module(timm_net(), "net", "cpu", given=given)
    assert [(layer.name, layer.shape_text) for layer in net.layers] == [("heads", "3×4×4"), ("scores", "5")]
    with pytest.raises(UserError, match="module 'blocks.7/attention' does not exist"):
        from_module(timm_net(), "net", "cpu", given=given | {"layers": {"heads": "blocks.7/attention"}})


def test_windows_of_attention_are_left_out() -> None:
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=112, depths=(2, 2), num_heads=(1, 2), embed_dim=8)
    net = prepare("swin", swin, InputSpec(112, 112), None)
    assert not any(layer.name.endswith("/attention") for layer in net.layers)
