"""Networks small enough that an ascent takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepvis.core.layers import Layer, find_layer
from deepvis.networks.network import InputSpec, Network, prepare

SPEC = InputSpec(32, 32)
CLASSES = tuple(f"class-{i}" for i in range(10))


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class Small(nn.Module):
    """Three convolutions, of which the second halves the map, and a layer of ten classes."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(inplace=True)
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()
        self.conv3 = nn.Conv2d(8, 7, 3, padding=1)
        self.fc = nn.Linear(7, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        return self.fc(self.conv3(x).relu().mean((2, 3)))


class Flat(nn.Module):
    """Linear: whatever the image, each class has the same gradient."""

    def __init__(self, channels: int = 3, classes: int = 4, size: int = 12) -> None:
        super().__init__()
        self.fc = nn.Linear(channels * size * size, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def small(spec: InputSpec = SPEC, seed: int = 0) -> Network:
    return prepare("small", seeded(lambda: Small(len(spec.mean)), seed), spec, None, CLASSES)


def flat(spec: InputSpec | None = None, seed: int = 0) -> Network:
    spec = spec or InputSpec(12, 12)
    return prepare("flat", seeded(lambda: Flat(len(spec.mean)), seed), spec, None)


def layer(network: Network, name: str) -> Layer:
    return network.layers[find_layer(name, network.layers)]
