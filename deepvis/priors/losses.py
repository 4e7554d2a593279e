"""What a generator is trained by: the features of the network itself, and a discriminator that looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from deepvis.core.layers import Layer
from deepvis.networks.network import Network
from deepvis.synthesis.parameterizations import network_scale

MOST_LAYERS = 5  # whose features count
_WIDTH = 64  # channels of the discriminator
_SLOPE = 0.2
_GRAY = 64.0

Features = Mapping[str, Tensor]


def feature_layers(layers: Sequence[Layer], code: str) -> tuple[str, ...]:
    """The layers whose features count: the last one of each size of map, and the code's own."""
    last = {(layer.height, layer.width): layer.name for layer in layers if layer.is_map}
    return tuple(dict.fromkeys([*list(last.values())[-MOST_LAYERS:], code]))


class Eyes:
    """The network as it looks at training pictures."""

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self.network, self.names = network, tuple(names)
        self._scale = network_scale(network.input).to(network.device)[:, None, None]
        order = [layer.name for layer in network.layers]
        self._last = max(self.names, key=order.index)

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        """The features of pictures B×3×H×W about the mean colour, differentiable: {layer: B×C×h×w or B×C}."""
        x = pictures * self._scale
        x = x.flip(1) if self.network.input.order == "bgr" else x
        x = x.to(self.network.dtype, memory_format=torch.channels_last)
        others = [name for name in self.names if name != self._last]
        found: dict[str, Tensor] = {}
        with self.network.capture(others) as captured:
            found[self._last] = self.network.up_to(self._last, x)
        return found | {name: self.network.units(name, captured[name]) for name in others}


class FeatureSpread:
    """The mean square of each layer's features about their mean, over training pictures: the unit of their errors."""

    def __init__(self) -> None:
        self._sums: dict[str, list[Tensor]] = {}

    def add(self, features: Features) -> None:
        for name, values in features.items():
            self._sums.setdefault(name, []).append(values.float().var(0, unbiased=False).mean())

    def spreads(self) -> dict[str, Tensor]:
        """{layer: a number}."""
        return {name: torch.stack(parts).mean().clamp(min=1e-12) for name, parts in self._sums.items()}


def feature_error(seen: Features, real: Features, spreads: Mapping[str, Tensor]) -> Tensor:
    """The mean over layers of the squared distance of features, in units of their spread: 1 for a constant picture."""
    errors = [(seen[name].float() - real[name].float()).square().mean() / spread for name, spread in spreads.items()]
    return torch.stack(errors).mean()


class Discriminator(nn.Module):
    """Tells generated pictures from photos by the network's own features, layer by layer, and by pixels.

    The network stays as it is, which needs few photos (Sauer et al. 2021, "Projected GANs Converge Faster").
    """

    def __init__(self, channels: Mapping[str, int], spreads: Mapping[str, Tensor]) -> None:
        """
        Args:
            channels: {layer: number of units}, of the layers that are maps.
        """
        super().__init__()
        self._spreads = {name: spreads[name].sqrt() for name in channels}
        self.names = tuple(channels)
        self.heads = nn.ModuleList(_head(count) for count in channels.values())
        self.pixels = nn.Sequential(
            _conv(3, 32, 4, 2), nn.LeakyReLU(_SLOPE), _conv(32, _WIDTH, 4, 2), nn.LeakyReLU(_SLOPE), _head(_WIDTH)
        )

    def forward(self, pictures: Tensor, features: Features) -> list[Tensor]:
        """Maps of numbers for each layer, and for pixels: above 0 for photos."""
        with torch.autocast(pictures.device.type, enabled=False):  # the spectral norm does not work in half precision
            inputs = [features[name].float() / self._spreads[name] for name in self.names]
            return [head(x) for head, x in zip(self.heads, inputs)] + [self.pixels(pictures / _GRAY)]


def _conv(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, side, stride, padding=side // 2))


def _head(units: int) -> nn.Module:
    first, second = _conv(units, _WIDTH, 1), _conv(_WIDTH, _WIDTH, 3)
    return nn.Sequential(first, nn.LeakyReLU(_SLOPE), second, nn.LeakyReLU(_SLOPE), _conv(_WIDTH, 1, 1))


def judged_real(answers: Sequence[Tensor]) -> Tensor:
    """What the generator climbs: the mean of the answers for its pictures."""
    return torch.stack([answer.mean() for answer in answers]).mean()


def hinge(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The discriminator's loss."""
    losses = [F.relu(1 - one).mean() + F.relu(1 + other).mean() for one, other in zip(real, fake)]
    return torch.stack(losses).mean()


def accuracy(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The share of answers that are right."""
    shares = [(one > 0).float().mean() + (other < 0).float().mean() for one, other in zip(real, fake)]
    return torch.stack(shares).mean() / 2
