"""Folding batch normalisation changes no value; where it would, it is left undone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.networks.capture import capture
from deepvis.networks.folding import fold_batchnorm


def randomised(make: Callable[[], nn.Module]) -> nn.Module:
    """In float64, with statistics that make a wrong fold visible."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make().double().eval().requires_grad_(False)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.3, 3)
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.3)
    return module


def picture(size: int) -> Tensor:
    return torch.rand(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def norms(module: nn.Module) -> list[str]:
    return [path for path, child in module.named_modules() if isinstance(child, nn.BatchNorm2d)]


def assert_same(folded: nn.Module, module: nn.Module, x: Tensor) -> None:
    want = module(x)
    torch.testing.assert_close(folded(x), want, rtol=1e-9, atol=1e-10 * float(want.abs().max()))


@pytest.mark.parametrize(
    "make", [torchvision.models.resnet18, lambda: timm.create_model("tf_efficientnet_lite0")], ids=["resnet18", "lite0"]
)
def test_folded_equals_unfolded(make: Callable[[], nn.Module]) -> None:
    module = randomised(make)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    folded = fold_batchnorm(module, picture(64))
    assert norms(module) and norms(folded) == []
    assert_same(folded, module, picture(96))
    assert module.state_dict().keys() == before.keys()  # the original is untouched
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_a_shown_norm_still_has_its_output() -> None:
    module = randomised(torchvision.models.resnet18)
    folded = fold_batchnorm(module, picture(64), keep=["layer1.0.bn1"])
    with capture(module, ["layer1.0.bn1"]) as want, capture(folded, ["layer1.0.bn1"]) as got:
        module(picture(64)), folded(picture(64))
    torch.testing.assert_close(got["layer1.0.bn1"], want["layer1.0.bn1"], rtol=1e-9, atol=1e-10)


def test_a_shown_convolution_is_left_alone() -> None:
    module = randomised(torchvision.models.resnet18)
    folded = fold_batchnorm(module, picture(64), keep=["layer2.0.conv1"])
    assert norms(folded) == ["layer2.0.bn1"]
    with capture(module, ["layer2.0.conv1"]) as want, capture(folded, ["layer2.0.conv1"]) as got:
        module(picture(64)), folded(picture(64))
    torch.testing.assert_close(got["layer2.0.conv1"], want["layer2.0.conv1"], rtol=1e-9, atol=1e-10)


def test_a_shown_activation_inside_a_norm_is_still_there() -> None:
    module = randomised(lambda: timm.create_model("tf_efficientnet_lite0"))
    folded = fold_batchnorm(module, picture(64), keep=["bn1.act"])
    with capture(module, ["bn1.act"]) as want, capture(folded, ["bn1.act"]) as got:
        module(picture(64)), folded(picture(64))
    torch.testing.assert_close(got["bn1.act"], want["bn1.act"], rtol=1e-9, atol=1e-10)


class Plain(nn.Module):
    """conv → norm → ReLU → logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.norm(self.conv(x))).mean((2, 3)))


class TwoReaders(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.fc((F.relu(self.norm(y)) + y).mean((2, 3)))


class InPlaceBetween(Plain):
    """The same tensor object reaches the norm, but no longer what the convolution computed."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(F.relu(self.conv(x), inplace=True)).mean((2, 3)))


class Between(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(F.relu(self.conv(x))).mean((2, 3)))


class ConvTwice(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.norm(self.conv(x)) + self.conv(x)).mean((2, 3)))


class NormTwice(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.norm(self.norm(self.conv(x)))).mean((2, 3)))


class NormOfBatch(Plain):
    """No running statistics: the norm depends on the input and cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


def test_a_plain_net_is_folded() -> None:
    module = randomised(Plain)
    folded = fold_batchnorm(module, picture(9))
    assert norms(folded) == []
    assert_same(folded, module, picture(12))


@pytest.mark.parametrize("net", [TwoReaders, InPlaceBetween, Between, ConvTwice, NormTwice])
def test_what_cannot_be_folded_is_left_alone(net: type[nn.Module]) -> None:
    module = randomised(net)
    folded = fold_batchnorm(module, picture(9))
    assert norms(folded) == ["norm"]
    assert torch.equal(folded(picture(12)), module(picture(12)))


def test_a_norm_without_running_statistics_is_left_alone() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = NormOfBatch().double().eval()
    assert norms(fold_batchnorm(module, picture(9))) == ["norm"]


def test_a_second_reader_is_noticed_at_a_shown_layer() -> None:
    """Probabilities near 1/N hide large differences of the logits before them."""

    class Flat(TwoReaders):
        def forward(self, x: Tensor) -> Tensor:
            return (super().forward(x) * 1e-3).softmax(1)

    module = randomised(Flat)
    assert norms(fold_batchnorm(module, picture(9), keep=["fc"])) == ["norm"]


def test_a_shown_block_that_ends_in_a_convolution_keeps_its_output() -> None:
    class Blocks(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(3, 6, 3))

    module = randomised(Blocks)
    folded = fold_batchnorm(module, picture(9), keep=["conv"])
    with capture(folded, ["conv"]) as got:
        folded(picture(9))
    torch.testing.assert_close(got["conv"], module.conv(picture(9)), rtol=1e-9, atol=1e-10)
