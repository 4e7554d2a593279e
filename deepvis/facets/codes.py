"""The codes of photos: what a layer of the network says of each (Algorithm 1, step 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepvis.core.layers import Layer, find_layer
from deepvis.facets.facet_map import Names
from deepvis.networks.network import Network
from deepvis.networks.outputs import shown


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network says of a photo.

    Attributes:
        code: float32 D.
        row, column: the place that the code is of (0 for a vector).
        value: the unit's activation there.
        called: the name of the most probable class; empty if the network has no names.
    """

    code: np.ndarray
    row: int
    column: int
    value: float
    called: str


def code_layer(network: Network, layer: Layer) -> Layer:
    """The layer whose features are compared: for units of maps their own; for classes the one before the scores."""
    if layer.is_map:
        return layer
    index = find_layer(layer.name, network.layers)
    before = [one for one in network.layers[:index] if one.units != layer.units or one.is_map]
    return before[-1] if before else layer


def look(
    network: Network, photo: np.ndarray, layer: Layer, unit: int, code: Layer, place: tuple[int, int] | None = None
) -> Seen:
    """Show the network a photo.

    The code of a class is the whole layer's, averaged over its positions; that of a map's unit is the column of
    features at one place (for a layer of another size, at the corresponding place).

    Args:
        photo: uint8 RGB or bands, of any size; the network sees its centred crop.
        place: (row, column) on the unit's map; None for where the unit is strongest (the first one among equals).
    """
    with torch.no_grad(), network.capture({layer.name, code.name}) as captured:
        scores = shown(network.module(network.see(photo, crop=True)))
        values = network.units(layer.name, captured[layer.name])[0, unit].float()
        features = network.units(code.name, captured[code.name])[0].float()
    if layer.is_map:
        row, column = place or divmod(int(values.argmax()), values.shape[1])
        value = float(values[row, column])
    else:
        row, column, value = 0, 0, float(values.max())
    names = named(network, scores, 1)
    vector = _column(features, row / layer.height, column / layer.width, layer.is_map)
    return Seen(vector.cpu().numpy().copy(), row, column, value, names[0][0][0] if names and names[0] else "")


def _column(features: Tensor, down: float, right: float, at_place: bool) -> Tensor:
    if features.ndim == 1:
        return features
    if not at_place:
        return features.flatten(1).mean(1)
    height, width = features.shape[1:]
    return features[:, int(down * height), int(right * width)]


def named(network: Network, scores: Tensor | None, most: int) -> list[Names]:
    """What the network calls each picture of a batch, by its output: the most probable names, with probabilities.

    Returns:
        An empty list if the network has no names for its output.
    """
    if scores is None or scores.ndim != 2 or scores.shape[1] != len(network.classes):
        return []
    values = scores.detach().float()
    are_probabilities = bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < 1e-3).all())
    best = (values if are_probabilities else values.softmax(1)).topk(min(most, values.shape[1]), dim=1)
    rows = zip(best.indices.tolist(), best.values.tolist())
    return [tuple((network.classes[i], round(p, 4)) for i, p in zip(*row)) for row in rows]


def names_of(network: Network, images: Sequence[np.ndarray], most: int = 3) -> list[Names]:
    """What the network calls images (uint8 RGB), those of a small receptive field resized to its input."""
    found: list[Names] = []
    for image in images:
        with torch.no_grad():
            found += named(network, shown(network.module(network.see(image, crop=True))), most) or [()]
    return found
