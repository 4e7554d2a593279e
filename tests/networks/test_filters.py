"""The filters on the pixels: whose they are, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deepvis.networks import loading
from deepvis.networks.filters import pixel_filters


class Net(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 5, padding=2)
        self.norm, self.act, self.pool = nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)
        self.second = nn.Conv2d(6, 6, 3)
        self.last = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.pool(self.act(self.norm(self.first(x))))))


def network(channels: int = 3, **given: object) -> object:
    torch.manual_seed(0)
    net = Net(channels).eval()
    net.norm.weight.data = torch.tensor([1.0, -2.0, 3.0, 0.5, 1.0, 1.0])
    return loading.from_module(net, "net", "cpu", given={"input": {"height": 24, "width": 24, **given}})


def test_layers_before_the_second_convolution_have_the_filters() -> None:
    made = network()
    have = {layer.name for layer in made.layers if pixel_filters(made, layer.name)}
    names = [layer.name for layer in made.layers]
    assert have == set(names[: names.index("second")]) and len(have) >= 2


def test_a_filter_is_what_excites_its_unit_most() -> None:
    """By the network itself: of all pictures of this size, the unit's own filter gives it the largest value."""
    made = network()
    layer = made.layers[0].name
    pictures = pixel_filters(made, layer)
    conv = made.module.get_submodule("first")
    for unit, picture in pictures.items():
        small = picture[4::10, 4::10].astype(float)  # each weight is a square of 10 pixels
        assert small.shape == (5, 5, 3)
        weight = conv.weight[unit].detach().numpy().transpose(1, 2, 0)
        expected = 127.5 + 127.5 * weight / np.abs(weight).max()
        assert np.abs(small - expected).max() <= 0.51


def test_channels_in_the_order_blue_green_red() -> None:
    usual, reverse = network(), network(order="bgr")
    name = usual.layers[0].name
    assert np.array_equal(pixel_filters(usual, name)[0], pixel_filters(reverse, name)[0][..., ::-1])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_numbers_of_channels(channels: int) -> None:
    made = network(channels, mean=[0.5] * channels, std=[0.5] * channels)
    assert {p.shape for p in pixel_filters(made, made.layers[0].name).values()} == {(50, 50, 3)}


def test_a_network_without_convolutions_has_none() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval()
    made = loading.from_module(net, "flat", "cpu", given={"input": {"height": 8, "width": 8}})
    assert not any(pixel_filters(made, layer.name) for layer in made.layers)
