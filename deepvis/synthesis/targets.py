"""What to synthesize: reading unit ids, and choosing the canvas and the objective for units."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, find_layer, parse_unit
from deepvis.core.receptive_field import ReceptiveField
from deepvis.networks.network import Network
from deepvis.synthesis import objectives
from deepvis.synthesis.objectives import Objective


@dataclass(frozen=True)
class SynthesisCanvas:
    """The canvas on which a layer's units are optimized.

    Attributes:
        size: (height, width) of what the network sees.
        position: (row, column) of the map at which the unit is optimized; None for a vector.
        field: (left, top, width, height) of the unit's receptive field on the canvas; None for all of it.
    """

    size: tuple[int, int]
    position: tuple[int, int] | None = None
    field: tuple[int, int, int, int] | None = None


def canvas(network: Network, layer: Layer, field: ReceptiveField, true_size: bool = True) -> SynthesisCanvas:
    """The canvas for a layer's units: the receptive field if it is smaller than the input, else the whole input.

    "The images reflect the true sizes of the features" (Yosinski et al. 2015, Figure 5), and the layers below have much
    less to compute. The canvas is a multiple of the layer's stride, so that all layers below are aligned as on the
    whole input. If the network does not run on such a canvas (some check their input's size), it is the whole input.
    """
    spec = network.input
    whole = SynthesisCanvas((spec.height, spec.width), (layer.height // 2, layer.width // 2) if layer.is_map else None)
    if not (true_size and layer.is_map) or field.clipped:
        return whole
    down, right = field.stride
    if not (isinstance(down, int) and isinstance(right, int) and down > 0 and right > 0):  # an approximation
        return whole
    rows, top, height = _fitted(int(field.start[0]), down, field.height)
    columns, left, width = _fitted(int(field.start[1]), right, field.width)
    if height >= spec.height or width >= spec.width:
        return whole
    small = SynthesisCanvas((height, width), (rows, columns), (left, top, field.width, field.height))
    return small if _takes(network, layer, small) else whole


def draft(network: Network, layer: Layer, place: SynthesisCanvas) -> SynthesisCanvas:
    """A canvas of half the size, which takes a third of the time, in place of the whole input.

    The canvas stays as it is if it is smaller than the input already, or if the network takes no other size.
    """
    spec = network.input
    if place.field is not None or place.size != (spec.height, spec.width):
        return place
    height, width = (32 * max(1, round(side / 64 + 0.25)) for side in place.size)
    rows, columns = height / place.size[0], width / place.size[1]
    position = place.position and (int(place.position[0] * rows), int(place.position[1] * columns))
    small = SynthesisCanvas((height, width), position)
    fits = height < spec.height and width < spec.width and _takes(network, layer, small)
    return small if fits else place


def _fitted(start: int, stride: int, extent: int) -> tuple[int, int, int]:
    """For the first place whose receptive field lies inside the canvas: (place, start of its field, canvas size)."""
    place = max(0, math.ceil(-start / stride))
    first = start + place * stride
    return place, first, math.ceil((first + extent) / stride) * stride


def _takes(network: Network, layer: Layer, small: SynthesisCanvas) -> bool:
    """Whether the network runs on the canvas up to the layer, and the unit's position is on the layer's map."""
    x = torch.zeros(1, len(network.input.mean), *small.size, device=network.device, dtype=network.dtype)
    try:
        with torch.no_grad():
            map_ = network.up_to(layer.name, x)
    except Exception:  # user code may raise anything
        return False
    return map_.shape[:2] == (1, layer.units) and all(
        at < size for at, size in zip(small.position or (), map_.shape[2:])
    )


def cut(images: np.ndarray, place: SynthesisCanvas) -> np.ndarray:
    """The part of the images (B×H×W×C) in the unit's receptive field."""
    if place.field is None:
        return images
    left, top, width, height = place.field
    return np.ascontiguousarray(images[:, top : top + height, left : left + width])


def objective(layer: Layer, units: Sequence[int], canvas: SynthesisCanvas, kind: str = "unit") -> Objective:
    """The objective for a batch of images: image i is to excite unit `units[i]`.

    Args:
        kind: a key of OBJECTIVES.
    Raises:
        UserError: as in `check_objective`.
    """
    check_objective(layer, kind)
    made = OBJECTIVES[kind](layer.name, list(units), canvas)
    if kind == "unit" and _has_scores(layer):
        return replace(made, probability=objectives.probability(layer.name, list(units)))
    return made


def _has_scores(layer: Layer) -> bool:
    """Whether the layer's units are class scores, of which a softmax can be taken."""
    return not layer.is_map and layer.kind != "Softmax"


def check_objective(layer: Layer, kind: str) -> None:
    """Raise UserError if there is no such objective, or if it does not work for this layer."""
    if kind not in OBJECTIVES:
        raise UserError(f"objective {kind!r}: expected {', '.join(OBJECTIVES)}")
    if kind in _OF_LOGITS and not _has_scores(layer):
        what = "maps" if layer.is_map else "probabilities already"
        raise UserError(
            f"objective {kind}: layer {layer.name} has {what}; it needs a layer of class scores before the softmax"
        )


OBJECTIVES = {
    "unit": lambda layer, units, canvas: objectives.unit(layer, units, canvas.position),
    "channel": lambda layer, units, canvas: objectives.channel(layer, units),
    "probability": lambda layer, units, canvas: objectives.probability(layer, units),
    "log_probability": lambda layer, units, canvas: objectives.log_probability(layer, units),
    "abhorred": lambda layer, units, canvas: -objectives.unit(layer, units, canvas.position),
}


_OF_LOGITS = ("probability", "log_probability")


def parse_units(text: str, layers: Sequence[Layer]) -> list[tuple[Layer, list[int]]]:
    """Read a list of units: ``head:0-99,fc:130,probs:zebra,stem`` (a layer alone stands for all its units).

    Returns:
        Layers with their units, in the order in which they were named, without repetitions.
    Raises:
        UserError: unknown layer, or unit out of range; the message says what exists.
    """
    chosen: dict[str, dict[int, None]] = {}
    for item in _items(text, layers):
        name, units = _parse(item, layers)
        chosen.setdefault(name, {}).update(dict.fromkeys(units))
    if not chosen:
        raise UserError("no units: expected layer:number, layer:first-last or a layer's name, such as head:0-99")
    return [(layers[find_layer(name, layers)], list(units)) for name, units in chosen.items()]


def _items(text: str, layers: Sequence[Layer]) -> list[str]:
    """Split a list at its commas, but not at a comma inside a label ("fc:tench, Tinca tinca")."""
    labels = [label.lower() for layer in layers for label in layer.labels if "," in label]
    items: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        label = f"{items[-1].rpartition(':')[2]}, {part}".lower() if items else ""
        if label and any(one.startswith(label) for one in labels):
            items[-1] += f", {part}"
        else:
            items.append(part)
    return items


def _parse(item: str, layers: Sequence[Layer]) -> tuple[str, Sequence[int]]:
    names = [layer.name for layer in layers]
    name, _, units = item.rpartition(":")
    span = re.fullmatch(r"(\d+)\s*-\s*(\d+)", units.strip())
    if span and name:
        index, last = parse_unit(f"{name}:{span[2]}", layers)
        if int(span[1]) > last:
            raise UserError(f"units {item!r}: {span[1]} comes after {span[2]}")
        return layers[index].name, range(int(span[1]), last + 1)
    if item in names or not name:
        layer = layers[find_layer(item, layers)]
        return layer.name, range(layer.units)
    index, unit = parse_unit(item, layers)
    return layers[index].name, [unit]
