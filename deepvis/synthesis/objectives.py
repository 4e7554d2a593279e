"""Objectives: what is to become large. Functions of activations that add, subtract and scale.

An objective says which layers it looks at and turns their activations into one number per image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Activations = Mapping[str, Tensor]  # layer name -> B×C×H×W, or B×N


@dataclass(frozen=True)
class Objective:
    """`value(activations)` is [B], one number per image of the batch; `layers` are those it reads."""

    layers: frozenset[str]
    value: Callable[[Activations], Tensor]

    def __call__(self, activations: Activations) -> Tensor:
        return self.value(activations)

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.layers | other.layers, lambda a: self.value(a) + other.value(a))

    def __mul__(self, factor: float) -> Objective:
        return Objective(self.layers, lambda a: self.value(a) * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        """What a unit abhors."""
        return self * -1

    def __sub__(self, other: Objective) -> Objective:
        return self + -other


Units = int | Sequence[int]  # one for all images of the batch, or one for each


def unit(layer: str, units: Units, position: tuple[int, int] | None = None) -> Objective:
    """A unit at one position of its map (row, column; None: the middle), or an entry of a vector."""

    def value(a: Activations) -> Tensor:
        chosen = _pick(a[layer], units)
        if chosen.ndim == 1:
            return chosen
        row, column = position or (chosen.shape[1] // 2, chosen.shape[2] // 2)
        return chosen[:, row, column]

    return Objective(frozenset([layer]), value)


def channel(layer: str, units: Units) -> Objective:
    """The mean of a unit's whole map."""
    return Objective(frozenset([layer]), lambda a: _mean(_pick(a[layer], units)))


def probability(layer: str, units: Units) -> Objective:
    """The softmax probability of a class, `layer` being its logits."""
    return Objective(frozenset([layer]), lambda a: _mean(_pick(F.softmax(a[layer], 1), units)))


def log_probability(layer: str, units: Units) -> Objective:
    """The logarithm of a class's probability, `layer` being the logits."""
    return Objective(frozenset([layer]), lambda a: _mean(_pick(F.log_softmax(a[layer], 1), units)))


def direction(layer: str, vector: Tensor) -> Objective:
    """The mean over positions of the activations' dot product with a vector over the units [C]."""

    def value(a: Activations) -> Tensor:
        return _mean((a[layer] * vector.to(a[layer]).view(1, -1, *[1] * (a[layer].ndim - 2))).sum(1))

    return Objective(frozenset([layer]), value)


def whole_layer(layer: str) -> Objective:
    """Half the mean square of a whole layer, which enhances what is there (DeepDream, Mordvintsev et al. 2015)."""
    return Objective(frozenset([layer]), lambda a: a[layer].flatten(1).square().mean(1) / 2)


def diversity(layer: str) -> Objective:
    """How much the images of the batch differ: minus the mean cosine of their layers' Gram matrices
    to the other images' (Olah et al. 2017, section "Diversity"). 0 for a batch of one."""

    def value(a: Activations) -> Tensor:
        flat = a[layer].flatten(2) if a[layer].ndim > 2 else a[layer][..., None]
        gram = F.normalize(torch.bmm(flat, flat.transpose(1, 2)).flatten(1), dim=1)
        cosines = gram @ gram.T
        others = len(gram) - 1
        return -(cosines.sum(1) - cosines.diagonal()) / max(1, others)

    return Objective(frozenset([layer]), value)


def _pick(activations: Tensor, units: Units) -> Tensor:
    """B×C×… -> B×…: each image's own unit."""
    if isinstance(units, int):
        return activations[:, units]
    chosen = torch.as_tensor(units, device=activations.device)
    return activations[torch.arange(len(activations), device=activations.device), chosen]


def _mean(chosen: Tensor) -> Tensor:
    return chosen if chosen.ndim == 1 else chosen.flatten(1).mean(1)
