"""What the images of a unit's facets climb: the unit, and what tells a cluster's photos from those of the others.

The unit alone soon leads all facets to the same image. A recipe may add up to three terms, each times the standard
deviation of the unit's activation over its photos, so that a weight means much the same for classes and hidden units
(not their mean: that of a hidden unit is most of what it can reach, and that of a class little):

    cluster   the cosine of the image's code with the mean code of the cluster's photos minus that of the others'
    texture   the same of the layer halfway to the unit's, averaged over the whole map: colours and textures
    unlike    minus the similarity of the image to the unit's other facets at that layer (see `objectives.unlike`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.layers import find_layer
from deepvis.facets.codes import at_share, in_batches
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.making import Ground, Points
from deepvis.networks.network import Network
from deepvis.scan.patches import as_cell
from deepvis.synthesis.objectives import Objective, towards, unlike
from deepvis.synthesis.parameterizations import mean_color, network_scale
from deepvis.synthesis.recipe import Recipe
from deepvis.synthesis.targets import SynthesisCanvas, objective

Where = tuple[str, tuple[int, int] | None]  # a layer, and (row, column) of its map; None for the mean over the map


@dataclass(frozen=True, eq=False)
class Clusters:
    """A unit's photos in clusters, from which its facets grow.

    Attributes:
        points: the photos.
        found: the same photos in clusters.
    """

    points: Points
    found: FacetMap


def facet_objective(network: Network, ground: Ground, units: Sequence[Clusters], recipe: Recipe) -> Objective:
    """The objective for the facets of some units of a layer, all in one batch: the first unit's facets come first."""
    numbers = [one.found.unit for one in units for _ in one.found.facets]
    aim, halfway = objective(ground.layer, numbers, ground.place), halfway_to(network, ground)
    strength = _strengths(units).to(network.device)
    layer = _code_layer(network, ground, units[0].found.code)
    terms = [(recipe.cluster, (layer, _place_of_code(network, ground, layer))), (recipe.texture, (halfway, None))]
    used = [(weight, where) for weight, where in terms if weight]
    directions = _directions(network, ground, units, [where for _, where in used]) if used else []
    for (weight, (name, place)), direction in zip(used, directions):
        aim += _scaled(towards(name, direction, place), weight * strength)
    if recipe.unlike:
        groups = [number for number, one in enumerate(units) for _ in one.found.facets]
        aim += _scaled(unlike(halfway, groups), recipe.unlike * strength)
    return aim


def halfway_to(network: Network, ground: Ground) -> str:
    """The layer halfway from the first one to the unit's."""
    return network.layers[find_layer(ground.layer.name, network.layers) // 2].name


def _strengths(units: Sequence[Clusters]) -> Tensor:
    """For each facet the standard deviation of its unit's activation over the photos."""
    spreads = [np.std([member.value for member in one.found.members]) for one in units for _ in one.found.facets]
    return torch.tensor(spreads, dtype=torch.float32)


def _scaled(term: Objective, factors: Tensor) -> Objective:
    return Objective(term.layers, lambda a: term.value(a) * factors)


def _code_layer(network: Network, ground: Ground, code: str) -> str:
    """The layer whose features are compared; the unit's own if the canvas is too small for a later one."""
    is_later = find_layer(code, network.layers) > find_layer(ground.layer.name, network.layers)
    return ground.layer.name if is_later and ground.place.field is not None else code


def _place_of_code(network: Network, ground: Ground, layer: str) -> tuple[int, int] | None:
    """Where on the canvas's map of this layer the unit's code is; None for a class, whose code is the mean."""
    position = ground.place.position
    if position is None:
        return None
    blank = torch.zeros(1, network.input.channels, *ground.place.size, device=network.device, dtype=network.dtype)
    with torch.no_grad():
        height, width = network.up_to(ground.layer.name, blank).shape[2:]
        features = network.up_to(layer, blank)
    return at_share(features, position[0] / height, position[1] / width) if features.ndim > 2 else None


def _directions(network: Network, ground: Ground, units: Sequence[Clusters], places: Sequence[Where]) -> list[Tensor]:
    """For each facet, in which direction of a layer's features its photos lie, seen from the others': B×C for each of
    the places."""
    found: list[list[Tensor]] = [[] for _ in places]
    for one in units:
        cluster, count = torch.tensor([member.cluster for member in one.found.members]), len(one.found.facets)
        for parts, codes in zip(found, _codes(network, ground, one.points, places)):
            means = torch.stack([codes[cluster == number].mean(0) for number in range(count)])
            others = (means.sum(0) - means) / max(1, count - 1)
            parts.append(means - others)
    return [torch.cat(parts).to(network.device) for parts in found]


def _codes(network: Network, ground: Ground, made: Points, places: Sequence[Where]) -> list[Tensor]:
    """A layer's features for each photo, each of length 1: N×C on the CPU for each of the places."""
    found: list[list[Tensor]] = [[] for _ in places]
    spec, device, dtype = network.input, network.device, network.dtype
    mean, scale = mean_color(spec)[:, None, None], network_scale(spec)[:, None, None]
    for patches in in_batches(network, made.patches):
        x = (on_canvas(patches, ground.place, ground.place.size, spec.channels) - mean) * scale
        x = x.flip(1) if spec.order == "bgr" else x
        with torch.no_grad():
            all_ = network.units_of(
                {name for name, _ in places}, x.to(device, dtype, memory_format=torch.channels_last)
            )
        for parts, (name, place) in zip(found, places):
            features = all_[name].detach()
            if features.ndim > 2:
                features = features.flatten(2).mean(2) if place is None else features[(..., *place)]
            parts.append(features.float().cpu())
    return [F.normalize(torch.cat(parts), dim=1) for parts in found]


def on_canvas(pictures: Sequence[np.ndarray], place: SynthesisCanvas, size: tuple[int, int], channels: int) -> Tensor:
    """Pictures of what a unit sees, each at the place of the receptive field, reflected beyond it.

    Args:
        size: (height, width) of the canvas, which may have a margin around the place's own.
    Returns:
        B×channels×H×W, red first, 0 to 255; networks without three channels get the brightness in each.
    """
    height, width = size
    top, left = (height - place.size[0]) // 2, (width - place.size[1]) // 2
    field = place.field or (0, 0, place.size[1], place.size[0])
    placed = []
    for picture in pictures:
        image = picture if picture.shape[:2] == (field[3], field[2]) else as_cell(picture, field, max(field[2:]))
        above, before = top + field[1], left + field[0]
        below, after = height - above - image.shape[0], width - before - image.shape[1]
        placed.append(cv2.copyMakeBorder(image, above, below, before, after, cv2.BORDER_REFLECT))
    made = torch.from_numpy(np.stack(placed)).permute(0, 3, 1, 2).float()
    return made if channels == 3 else made.mean(1, keepdim=True).expand(-1, channels, -1, -1).contiguous()
