"""Backward images of a unit's top images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch

from deepvis.attribution.methods import METHODS, Question, Reached, whole
from deepvis.attribution.passes import rgb
from deepvis.core.geometry import Box
from deepvis.networks.activation_rules import seed
from deepvis.networks.network import Network
from deepvis.scan.patches import cut_padded

FEW = 8  # passes for small pictures, of which nine are waited for


def patch_backward(
    network: Network,
    photos: Sequence[np.ndarray],
    layer: str,
    unit: int,
    method: str,
    boxes: Sequence[Box],
    places: Sequence[tuple[int, int]] | None = None,
    hear: Callable[[np.ndarray], None] = lambda activations: None,
    passes: int = FEW,
) -> list[np.ndarray]:
    """The backward images of a unit for several photos, cut to boxes; one pass for all photos.

    Args:
        network: must not be used by another thread meanwhile.
        photos: uint8 RGB or bands, of any sizes; the network sees their centred crops.
        method: a key of `deepvis.attribution.methods.METHODS`.
        boxes: a box for each photo, in input pixels (`Patch.box`).
        places: for each photo the (row, column) at which the backward pass starts with 1, as in the original toolbox;
            None starts it as in the live window (`deepvis.networks.activation_rules.seed`).
        passes: enough for a method of many passes.
        hear: called with the unit's activations on each photo, float32 rows×columns (1×1 for a vector).
    Returns:
        For each photo float32 height×width×3 RGB, of its box's size; 0 outside of the input.
    """
    if not photos:
        return []
    x = torch.cat([network.see(photo, crop=True) for photo in photos])

    def start(sent: torch.Tensor) -> torch.Tensor:
        for map_ in sent.detach()[:, unit].float().cpu().numpy():
            hear(np.array(np.atleast_2d(map_)))
        if places is None or sent.ndim < 4:
            return torch.cat([seed(one[None], unit) for one in sent])
        sparse = torch.zeros_like(sent)
        for i, (row, column) in enumerate(places):
            sparse[i, unit, row, column] = 1
        return sparse

    def run(other: torch.Tensor | None = None, maps: Collection[str] = ()) -> Reached:
        origin, outputs = network.reach(layer, x if other is None else other, maps)
        return Reached(origin, maps=outputs)

    pixels = whole(METHODS[method], network, Question(x, layer, unit, run, start), passes).pixels
    return [cut_padded(rgb(network, one[None]), box, 0) for one, box in zip(pixels, boxes)]
