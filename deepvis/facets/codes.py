"""The codes of photos: what a layer of the network says of each (Algorithm 1, step 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from deepvis.core.layers import Layer, find_layer
from deepvis.facets.facet_map import Names
from deepvis.inputs.datasets import batch_ranges
from deepvis.networks.network import Network
from deepvis.networks.outputs import shown
from deepvis.synthesis.jobs import auto_batch

Item = TypeVar("Item")


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
    network: Network,
    photos: Sequence[np.ndarray],
    layer: Layer,
    unit: int,
    code: Layer,
    places: Sequence[tuple[int, int] | None],
) -> list[Seen]:
    """Show the network a batch of photos.

    The code of a class is the whole layer's, averaged over its positions; that of a map's unit is the column of
    features at one place (for a layer of another size, at the corresponding place).

    Args:
        photos: uint8 RGB or bands, of any size; the network sees the centred crop of each.
        places: (row, column) on the unit's map for each photo; None for where the unit is strongest (the first one
            among equals).
    """
    with torch.no_grad(), network.capture({layer.name, code.name}) as captured:
        scores = shown(network.module(torch.cat([network.see(photo, crop=True) for photo in photos])))
        values = network.units(layer.name, captured[layer.name])[:, unit].float().cpu()
        features = network.units(code.name, captured[code.name]).float().cpu()
    names = named(network, scores, 1) or [()] * len(photos)
    found = []
    for value, feature, place, called in zip(values, features, places, names):
        row, column = (place or divmod(int(value.argmax()), value.shape[1])) if layer.is_map else (0, 0)
        strength = float(value[row, column] if layer.is_map else value.max())
        vector = _column(feature, row / layer.height, column / layer.width, layer.is_map)
        found.append(Seen(vector.numpy().copy(), row, column, strength, called[0][0] if called else ""))
    return found


def _column(features: Tensor, down: float, right: float, at_place: bool) -> Tensor:
    if features.ndim == 1:
        return features
    if not at_place:
        return features.flatten(1).mean(1)
    return features[(slice(None), *at_share(features, down, right))]


def at_share(features: Tensor, down: float, right: float) -> tuple[int, int]:
    """The (row, column) of a map that lies at these shares of its height and width."""
    height, width = features.shape[-2:]
    return int(down * height), int(right * width)


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
    for part in in_batches(network, images):
        with torch.no_grad():
            scores = shown(network.module(torch.cat([network.see(image, crop=True) for image in part])))
        found += named(network, scores, most) or [()] * len(part)
    return found


def in_batches(network: Network, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in batches of whole inputs of a good size for the network's device."""
    whole = network.input.height, network.input.width
    ranges = batch_ranges(len(items), auto_batch(network.device, whole, whole))
    return (items[first:last] for first, last in ranges)
