"""The photos nearest to a picture, in pixels and in each layer's code.

Does a synthesized image only repeat a photo (Nguyen et al. 2016, "Synthesizing the preferred inputs…", Fig. S22)?
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepvis.inputs.datasets import Images, batch_ranges, batches

if TYPE_CHECKING:
    from torch import Tensor

    from deepvis.networks.network import Network

PIXELS = "pixels"  # the space of the network's input
_BATCH = 8
_DECODERS = 2  # threads


@dataclass(frozen=True)
class Near:
    """A photo near the picture.

    Attributes:
        number: the photo, by its place among the images.
        distance: Euclidean, divided by the length of the picture's own code: 0 for the same code.
    """

    number: int
    distance: float


def nearest(
    network: Network,
    picture: np.ndarray,
    images: Images,
    layers: Sequence[str],
    count: int = 5,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[dict[str, list[Near]], dict[int, str]]:
    """The photos nearest to a picture: `nearest_to_each` for one picture."""
    (found,), broken = nearest_to_each(network, [picture], images, layers, count, progress)
    return found, broken


def nearest_to_each(
    network: Network,
    pictures: Sequence[np.ndarray],
    images: Images,
    layers: Sequence[str],
    count: int = 5,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[list[dict[str, list[Near]]], dict[int, str]]:
    """The photos nearest to each of some pictures, each photo being seen once.

    Args:
        pictures: uint8 H×W×3 RGB; their centred crops are compared with those of the photos.
        layers: in whose codes; the pixels are always among the spaces.
        progress: called with the number of photos seen so far; what it raises ends the search.
    Returns:
        {PIXELS or layer: the nearest photos, nearest first} for each picture, and {number of a photo that cannot be
        read: why}.
    """
    import torch

    owns = [_codes(network, network.see(picture, crop=True), layers) for picture in pictures]  # 1×values each
    sizes = [{name: float(code.norm().clamp(min=1e-30)) for name, code in own.items()} for own in owns]
    heaps: list[dict[str, list[tuple[float, int]]]] = [{name: [] for name in own} for own in owns]
    broken: dict[int, str] = {}
    ranges = batch_ranges(len(images.names), _BATCH)
    for batch in batches(ranges, lambda number: network.input.seen(images.read(number), crop=True), _DECODERS):
        broken |= batch.broken
        if batch.numbers:
            x = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).to(network.device, network.dtype)
            for name, codes in _codes(network, x, layers).items():
                for own, size, heap in zip(owns, sizes, heaps):
                    for number, distance in zip(batch.numbers, (codes - own[name]).norm(dim=1).tolist()):
                        _keep(heap[name], distance / size[name], number, count)
        progress(batch.last)
    return [{name: _sorted(one) for name, one in heap.items()} for heap in heaps], broken


def _codes(network: Network, x: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
    """{space: N×values, float64}."""
    import torch

    with torch.no_grad(), network.capture(layers) as captured:
        network.module(x)
        codes = {name: network.units(name, captured[name]) for name in layers}
    return {name: code.flatten(1).double() for name, code in {PIXELS: x, **codes}.items()}


def _sorted(heap: Sequence[tuple[float, int]]) -> list[Near]:
    return [Near(-number, -distance) for distance, number in sorted(heap, reverse=True)]


def _keep(heap: list[tuple[float, int]], distance: float, number: int, count: int) -> None:
    """Keep the nearest ones; of photos at the same distance the first."""
    entry = (-distance if math.isfinite(distance) else -math.inf), -number
    if len(heap) < count:
        heapq.heappush(heap, entry)
    elif entry > heap[0]:
        heapq.heapreplace(heap, entry)
