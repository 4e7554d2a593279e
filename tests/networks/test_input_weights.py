"""The weights of the units that feed a unit, compared with the modules' own weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.core.weights import InputWeights
from deepvis.networks import loading
from deepvis.networks.input_weights import InputWeightsOf
from deepvis.networks.network import Network


class Block(nn.Module):
    """An expansion, a depthwise convolution, a projection, and the block's input added."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.norm = nn.Conv2d(6, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.project = nn.Conv2d(12, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.depthwise(F.relu6(self.norm(self.expand(x)))))
        return self.project(inner) + x


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(6, 6, 1), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.gated = nn.Conv2d(3, 6, 3, padding=1), Block(), Gated()
        self.pool = nn.MaxPool2d(2)
        self.left, self.right = nn.Conv2d(6, 4, 3, padding=1, groups=2), nn.Conv2d(6, 5, 1)
        self.relu, self.both = nn.ReLU(inplace=True), nn.Conv2d(9, 7, 1)
        self.alone = nn.Conv2d(7, 7, 3, padding=1, groups=7)
        self.classes, self.probs = nn.Linear(7, 4), nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.gated(self.block(self.stem(x))))
        joined = torch.cat([self.left(x), self.relu(self.right(x))], 1)
        return self.probs(self.classes(self.alone(self.both(joined)).relu().mean((2, 3))))


NAMES = ("stem", "block", "gated", "pool", "left", "right", "relu", "both", "alone", "classes", "probs")


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    net = Net().eval()
    nn.init.uniform_(net.block.norm.weight, 0.5, 2.0)
    nn.init.uniform_(net.block.norm.running_var, 0.5, 2.0)
    given = {"input": {"height": 16, "width": 16}, "layers": {name: name for name in NAMES}}
    return loading.from_module(net, "net", "cpu", given=given)


def input_weights(network: Network, layer: str, unit: int) -> InputWeights:
    return InputWeightsOf(network).of(layer, unit)


def kernels(found: InputWeights) -> dict[tuple[str, int], np.ndarray]:
    return {(one.layer, one.unit): one.kernel for one in found.inputs}


def module(network: Network, path: str) -> nn.Conv2d:
    return network.module.get_submodule(path)


def test_of_one_convolution_they_are_its_own_weights(network: Network) -> None:
    """Grouped, and with a branch beside it: only the two channels of the unit's own group feed it."""
    for unit, first in (0, 0), (3, 3):
        found = kernels(input_weights(network, "left", unit))
        weight = module(network, "left").weight[unit].numpy()
        assert set(found) == {("pool", first + i) for i in range(3)}
        for i in range(3):
            assert np.allclose(found["pool", first + i], weight[i], atol=1e-6)


def test_what_only_passes_on_a_channel_is_looked_through(network: Network) -> None:
    """A ReLU reads its convolution one to one: what feeds it is what feeds the convolution."""
    for layer in "right", "relu":
        found = kernels(input_weights(network, layer, 2))
        assert set(found) == {("pool", unit) for unit in range(6)}
        assert found["pool", 4][0, 0] == pytest.approx(float(module(network, "right").weight[2, 4, 0, 0]), rel=1e-5)


def test_a_concatenation_is_read_from_each_of_its_layers(network: Network) -> None:
    found = kernels(input_weights(network, "both", 1))
    weight = module(network, "both").weight[1, :, 0, 0].numpy()
    expected = {("left", i): weight[i] for i in range(4)} | {("relu", i): weight[4 + i] for i in range(5)}
    assert {key: float(kernel[0, 0]) for key, kernel in found.items()} == pytest.approx(expected, rel=1e-5)


def test_through_a_block_they_are_multiplied(network: Network) -> None:
    """By the formula: projection × depthwise kernel × expansion with its BatchNorm, and 1 for the block's own input."""
    found = input_weights(network, "block", 4)
    block = network.module.get_submodule("block")  # its normalisation is folded
    project, depthwise = block.project.weight[4, :, 0, 0], block.depthwise.weight[:, 0]
    expected = torch.einsum("h,hyx,hj->jyx", project, depthwise, block.expand.weight[:, :, 0, 0])
    expected[4, 1, 1] += 1
    assert len(found.inputs) == found.count == 6 and found.layers == ("stem",)
    for one in found.inputs:
        assert np.allclose(one.kernel, expected[one.unit].numpy(), atol=1e-5)
        assert one.weight == pytest.approx(float(expected[one.unit].sum()), abs=1e-4)
    sizes = [one.size for one in found.inputs]
    assert sizes == sorted(sizes, reverse=True)


def test_of_a_depthwise_convolution_it_is_the_one_kernel(network: Network) -> None:
    (one,) = input_weights(network, "alone", 5).inputs
    assert (one.layer, one.unit) == ("both", 5)
    assert np.allclose(one.kernel, module(network, "alone").weight[5, 0].numpy(), atol=1e-6)


def test_classes_read_the_units_before_the_average(network: Network) -> None:
    found = {one.unit: one.weight for one in input_weights(network, "classes", 3).inputs}
    weight = network.module.get_submodule("classes").weight[3]
    assert found == pytest.approx({unit: float(weight[unit]) for unit in range(7)}, rel=1e-4)


def test_weights_that_are_not_fixed_are_not_named(network: Network) -> None:
    for layer in "gated", "probs":
        found = input_weights(network, layer, 0)
        assert not found.inputs and "differ from picture to picture" in found.note


def test_the_first_layer_has_none(network: Network) -> None:
    assert "sees the pixels" in input_weights(network, "stem", 0).note


def test_units_of_a_concatenation_have_sources_of_their_own() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.conv(x)], 1)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Joined(), nn.Conv2d(7, 2, 1)).eval()
    layers = {"a": "0", "b": "1", "c": "2"}
    made = loading.from_module(net, "net", "cpu", given={"input": {"height": 9, "width": 9}, "layers": layers})
    weights = InputWeightsOf(made)
    for unit, count in (0, 1), (5, 4), (1, 1), (4, 4):
        found = weights.of("b", unit)
        assert found.layers == ("a",) and found.count == count
    assert weights.of("b", 1).inputs[0].unit == 1


def test_no_hook_stays(network: Network) -> None:
    input_weights(network, "both", 0)
    assert not any(module._forward_hooks for module in network.module.modules())


def test_attention_has_no_fixed_weights() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, stride=4)
            self.attends = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.classes = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.classes(self.attends(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

    made = loading.from_module(
        Attends().eval(),
        "attends",
        "cpu",
        given={"input": {"height": 16, "width": 16}, "layers": {"a": "patches", "b": "attends", "c": "classes"}},
    )
    assert "differ from picture to picture" in input_weights(made, "b", 0).note
    assert {one.layer for one in input_weights(made, "c", 0).inputs} == {"b"}
