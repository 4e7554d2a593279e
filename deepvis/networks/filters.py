"""The filters of the convolution that sees the pixels, as pictures: the classic first look at a network's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from deepvis.networks.network import Network

_SIDE = 48  # least side of a picture; each weight is a square of it


def pixel_filters(network: Network, layer: str) -> dict[int, np.ndarray]:
    """A picture of each unit's filter, for a layer whose units are the channels of the convolution on the pixels.

    These layers are the convolution, and what follows it without mixing channels, such as its activation or a pooling.
    BatchNorm is folded into the weights, as everywhere in the live view. Each filter has the range of its own largest
    weight: mid-gray is 0. The function does not run the network.

    Returns:
        {unit: uint8 H×W×3 RGB}; empty for every other layer.
    """
    first = _first_convolution(network)
    if first is None or not _shows_channels_of(network, layer, *first):
        return {}
    weights = first[1].weight.detach().float().cpu().numpy()
    seen = weights[:, list(network.input.places)]  # red, green, blue; a single one is shown as gray
    if seen.shape[1] != 3:
        seen = np.repeat(seen[:, :1], 3, axis=1)
    largest = np.maximum(np.abs(seen).max((1, 2, 3), keepdims=True), 1e-30)
    pictures = np.round(127.5 + 127.5 * seen / largest).astype(np.uint8).transpose(0, 2, 3, 1)
    factor = max(1, -(-_SIDE // max(pictures.shape[1:3])))
    return {unit: picture.repeat(factor, 0).repeat(factor, 1) for unit, picture in enumerate(pictures)}


def _first_convolution(network: Network) -> tuple[str, nn.Conv2d] | None:
    """The convolution that sees all channels of the pixels, with its path: the first one of the network."""
    from torch import nn

    for path, module in network.module.named_modules():
        if isinstance(module, nn.Conv2d):
            fits = module.groups == 1 and module.in_channels == network.input.channels
            return (path, module) if fits else None
    return None


def _shows_channels_of(network: Network, layer: str, first: str, convolution: nn.Conv2d) -> bool:
    """Whether the layer, and all layers before it in the order in which they run, only pass on what `first` makes."""
    for one in network.layers:
        path = network.paths[one.name]
        if not one.is_map or not _passes_on(network.module.get_submodule(path), path, first):
            return False
        if one.name == layer:
            return one.units == convolution.out_channels
    return False


def _passes_on(module: nn.Module, path: str, first: str) -> bool:
    from torch import nn

    mixing = [
        f"{path}.{name}".rstrip(".")
        for name, inner in module.named_modules()
        if isinstance(inner, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.MultiheadAttention))
    ]
    return mixing in ([], [first])
