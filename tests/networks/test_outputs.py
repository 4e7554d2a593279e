"""What a network returns: which of it are predictions, and whether they take a softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.networks.loading import from_module
from deepvis.networks.network import Network

SMALL = {"input": {"height": 24, "width": 24}}


def trunk(entries: int, *more: nn.Module, bias: float | None = None) -> nn.Sequential:
    """A classifier; with a bias its logits are nearly that."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, entries), *more
        )
    if bias is not None:
        nn.init.normal_(net[4].weight, std=1e-4)
        nn.init.constant_(net[4].bias, bias)
    return net


class Then(nn.Module):
    """A function behind a network."""

    def __init__(self, net: nn.Module, function: Callable) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x: Tensor) -> object:
        return self.function(self.net(x))


def scaled_by_thresholds(x: Tensor) -> Tensor:
    """Each probability's threshold becomes 0.5, in place, as networks of chest X-rays do it."""
    values, threshold, out = x.sigmoid(), 0.3, torch.zeros_like(x)
    low = values < threshold
    out[low] = values[low] / (2 * threshold)
    out[~low] = 1 - (1 - values[~low]) / (2 * (1 - threshold))
    return out


def shown(module: nn.Module, **given: object) -> Network:
    return from_module(module, "net", "cpu", given={**SMALL, **given})


def has_softmax(network: Network) -> bool:
    return type(getattr(network.module, "softmax", None)) is nn.Softmax


@pytest.mark.parametrize("module, softmax", [
    (trunk(6, nn.Sigmoid()), False),
    (trunk(18, nn.Sigmoid(), bias=-4.0), False),
    (trunk(18, nn.Hardsigmoid()), False),
    (Then(trunk(18), torch.sigmoid), False),
    (Then(trunk(18), lambda x: x.sigmoid_()), False),
    (Then(trunk(18), scaled_by_thresholds), False),
    (Then(trunk(6), lambda x: (x.tanh() + 1) / 2), False),
    (Then(trunk(6), lambda x: {"logits": x.sigmoid()}), False),
    (trunk(1, nn.Sigmoid()), False),
    (trunk(1), False),
    (trunk(6, nn.Softmax(dim=1)), False),
    (trunk(6), True),
    (trunk(6, bias=0.5), True),  # logits that lie between 0 and 1, whatever the input
    (trunk(2, bias=0.2), True),
    (trunk(6, nn.LogSoftmax(dim=1)), True),
    (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)), True),
    (Then(trunk(6), lambda x: x.sigmoid() * 5), True),
])  # fmt: skip
def test_which_vectors_take_a_softmax(module: nn.Module, softmax: bool) -> None:
    assert has_softmax(shown(module)) == softmax


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Softmax(dim=1), nn.Identity()])
@pytest.mark.parametrize("softmax", [True, False])
def test_the_model_yaml_decides(last: nn.Module, softmax: bool) -> None:
    assert has_softmax(shown(trunk(6, last), softmax=softmax)) == softmax


@pytest.mark.parametrize("value", [0, 128, 255])
def test_independent_probabilities_are_shown_as_they_are(value: int) -> None:
    """For every picture."""
    module = trunk(6, nn.Sigmoid())
    network = shown(module)
    frame = Frame(np.full((24, 24, 3), value, np.uint8), "photo", 0, False)
    scores = answer(network, Request(frame, False, network.layers[0].name)).scores
    np.testing.assert_allclose(scores, module(network.see(frame.image, False))[0].detach(), rtol=1e-4)


class Boxes(nn.Module):
    """As torchvision's detectors return it: boxes, labels and scores of each picture of a list."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(3, 4, 3), wrap

    def forward(self, x: Tensor) -> object:
        return self.wrap(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    "wrap, said",
    [
        (lambda v: [{"boxes": v, "scores": v[0]}], "a list of 1, its first a dict of boxes, scores"),
        (lambda v: {"boxes": None, "name": "cat"}, "a dict of boxes, name"),
        (lambda v: [], "a list of 0"),
        (lambda v: (), "a tuple of 0"),
        (lambda v: None, "a NoneType"),
        (lambda v: "cat", "a str"),
        (lambda v: 3.0, "a float"),
        (lambda v: {}, "a dict"),
        (lambda v: [[v]], "a list of 1, its first a list"),
        (lambda v: v.detach().numpy(), "a ndarray"),
    ],
)
def test_a_network_without_predictions_opens_and_says_why(wrap: Callable, said: str) -> None:
    network = shown(Boxes(wrap))
    assert [layer.name for layer in network.layers] == ["conv"]
    (note,) = network.notes
    assert note.startswith(f"no class predictions: the network returns {said}")
    frame = Frame(np.zeros((24, 24, 3), np.uint8), "photo", 0, False)
    result = answer(network, Request(frame, False, "conv"))
    assert result.scores is None and result.activations.shape == (4, 22, 22)


def test_a_network_with_predictions_says_nothing() -> None:
    assert shown(trunk(6)).notes == ()


@pytest.mark.parametrize("name, layers", [
    ("ssdlite320_mobilenet_v3_large", None), ("fasterrcnn_mobilenet_v3_large_320_fpn", {"last": "backbone.body.16"}),
])  # fmt: skip
def test_detectors_open(name: str, layers: dict[str, str] | None) -> None:
    import torchvision.models.detection as detection

    module = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=3)
    given = {"input": {"height": 64, "width": 64}} | ({"layers": layers} if layers else {})
    network = from_module(module, name, "cpu", given=given)
    assert network.layers and "no class predictions" in network.notes[0]
