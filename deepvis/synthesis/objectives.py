"""Objectives, which gradient ascent maximizes. They can be added, subtracted and scaled.

An objective names the layers that it reads, and turns their activations into a number for each image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError

Activations = Mapping[str, Tensor]  # layer name -> B×C×H×W, or B×N


@dataclass(frozen=True)
class Objective:
    """An objective.

    Attributes:
        layers: the layers that it reads.
        value: activations -> [B], a number for each image.
        probability: the objective in its place in a recipe's phases that climb a class's probability; None if there is
            none, and for sums and multiples.
        halves: of a scene, what the left and the right half of the image are to show (see `scene`); else None.
    """

    layers: frozenset[str]
    value: Callable[[Activations], Tensor]
    probability: Objective | None = None
    halves: tuple[Objective, Objective] | None = None

    def of_side(self, side: int) -> Objective:
        """What a view of the left (-1) or right (1) half of the canvas climbs; of all of it (0) this objective."""
        return self.halves[side > 0] if self.halves and side else self

    def __call__(self, activations: Activations) -> Tensor:
        return self.value(activations)

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.layers | other.layers, lambda a: self.value(a) + other.value(a))

    def __mul__(self, factor: float) -> Objective:
        return Objective(self.layers, lambda a: self.value(a) * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        """The negative objective, whose images the unit likes least."""
        return self * -1

    def __sub__(self, other: Objective) -> Objective:
        return self + -other


Units = int | Sequence[int]  # a unit for all images of the batch, or a unit for each image


def unit(layer: str, units: Units, position: tuple[int, int] | None = None) -> Objective:
    """The activation of a unit at a position of its map (row, column; None for the middle), or an entry of a vector."""

    def value(a: Activations) -> Tensor:
        chosen = _pick(a[layer], units)
        if chosen.ndim == 1:
            return chosen
        row, column = position or (chosen.shape[1] // 2, chosen.shape[2] // 2)
        return chosen[:, row, column]

    return Objective(frozenset([layer]), value)


def channel(layer: str, units: Units) -> Objective:
    """The mean over a unit's whole map."""
    return Objective(frozenset([layer]), lambda a: _mean(_pick(a[layer], units)))


def probability(layer: str, units: Units) -> Objective:
    """The softmax probability of a class; `layer` has the logits."""
    return Objective(frozenset([layer]), lambda a: _mean(_pick(F.softmax(a[layer], 1), units)))


def log_probability(layer: str, units: Units) -> Objective:
    """The logarithm of a class's softmax probability; `layer` has the logits."""
    return Objective(frozenset([layer]), lambda a: _mean(_pick(F.log_softmax(a[layer], 1), units)))


def direction(layer: str, vector: Tensor) -> Objective:
    """The mean over positions of the activations' dot product with a vector over the units [C]."""

    def value(a: Activations) -> Tensor:
        return _mean((a[layer] * vector.to(a[layer]).view(1, -1, *[1] * (a[layer].ndim - 2))).sum(1))

    return Objective(frozenset([layer]), value)


def whole_layer(layer: str) -> Objective:
    """Half the mean square of a layer, which amplifies all its activations (DeepDream, Mordvintsev et al. 2015)."""
    return Objective(frozenset([layer]), lambda a: a[layer].flatten(1).square().mean(1) / 2)


def code_distance(layer: str, code: Tensor, units: Sequence[int] = ()) -> Objective:
    """Minus the squared distance of a layer's code from this one, divided by this one's square: 0 for the same code
    (Mahendran & Vedaldi 2014, equation (1)).

    Args:
        code: 1×C×H×W or 1×N; or B×…, a code for each image of the batch.
        units: of these units alone; empty for all.
    Raises:
        UserError: the code is zero.
    """
    aim = _of(code, units)
    size = _size(layer, aim)
    return Objective(frozenset([layer]), lambda a: -(_of(a[layer], units) - aim).flatten(1).square().sum(1) / size)


def code_strength(layer: str, code: Tensor, units: Sequence[int] = ()) -> Objective:
    """The dot product of a layer's code with this one, divided by this one's square: what is there already, stronger
    (caricatures, Mahendran & Vedaldi 2016, section 3.3). Arguments as in `code_distance`."""
    aim = _of(code, units)
    size = _size(layer, aim)
    return Objective(frozenset([layer]), lambda a: (_of(a[layer], units) * aim).flatten(1).sum(1) / size)


def _of(code: Tensor, units: Sequence[int]) -> Tensor:
    return code[:, list(units)] if units else code


def _size(layer: str, code: Tensor) -> Tensor:
    """Each code's square, [B]."""
    size = code.flatten(1).square().sum(1)
    wrong = [one for one in size.tolist() if not 0 < one < float("inf")]
    if wrong:
        raise UserError(
            f"layer {layer} keeps nothing of this picture: its code is {'zero' if wrong[0] == 0 else 'not finite'}. "
            "Choose another layer, unit or picture"
        )
    return size


def both(first: Objective, second: Objective, gamma: float | Tensor = 0.5) -> Objective:
    """Two objectives at once, neither of which may run ahead: a + b − γ |a − b| (Nguyen et al. 2016, "Synthesizing the
    preferred inputs…", supplement, equation (2); its λ‖y‖ is the recipe's decay). With γ = 0 it is their sum.
    Each image may have a γ of its own.
    """

    def value(a: Activations) -> Tensor:
        one, other = first.value(a), second.value(a)
        return one + other - gamma * (one - other).abs()

    return Objective(first.layers | second.layers, value)


def scene(first: Objective, second: Objective, gamma: float | Tensor = 0.5) -> Objective:
    """Two objectives in one image, side by side: `both` for views of the whole image; and every other pair of views is
    of its left half, for the first objective, and of its right half, for the second."""
    return replace(both(first, second, gamma), halves=(2 * first, 2 * second))


def diversity(layer: str) -> Objective:
    """How much the images of a batch differ: minus the mean cosine similarity of an image's Gram matrix at the layer
    to those of the other images (Olah et al. 2017, section "Diversity"). 0 for a batch of one."""

    def value(a: Activations) -> Tensor:
        flat = a[layer].flatten(2) if a[layer].ndim > 2 else a[layer][..., None]
        gram = F.normalize(torch.bmm(flat, flat.transpose(1, 2)).flatten(1), dim=1)
        cosines = gram @ gram.T
        others = len(gram) - 1
        return -(cosines.sum(1) - cosines.diagonal()) / max(1, others)

    return Objective(frozenset([layer]), value)


def towards(layer: str, codes: Tensor, position: tuple[int, int] | None = None) -> Objective:
    """The cosine of a layer's code with each image's own direction.

    Args:
        codes: B×C.
        position: (row, column) of the features that are the code; None for the mean over the layer's map.
    """

    def value(a: Activations) -> Tensor:
        code = a[layer][(..., *position)] if position else _mean_code(a[layer])
        return F.cosine_similarity(code, codes.to(code), dim=1)

    return Objective(frozenset([layer]), value)


def unlike(layer: str, groups: Sequence[int]) -> Objective:
    """How little each image resembles the others of its group, which count as given: minus the mean cosine similarity
    of a layer's features at the same positions. 0 for an image that is alone.

    Args:
        groups: the number of each image's group.
    """

    def value(a: Activations) -> Tensor:
        maps = F.normalize(a[layer].flatten(2) if a[layer].ndim > 2 else a[layer][..., None], dim=1)
        flat = maps.flatten(1) / maps.shape[2] ** 0.5
        number = torch.as_tensor(groups, device=flat.device)
        others = (number[:, None] == number).float().fill_diagonal_(0)
        alike: Tensor = (flat @ flat.detach().T * others).sum(1) / others.sum(1).clamp(min=1)
        return -alike

    return Objective(frozenset([layer]), value)


def _mean_code(activations: Tensor) -> Tensor:
    """B×C×… -> B×C."""
    return activations if activations.ndim == 2 else activations.flatten(2).mean(2)


def _pick(activations: Tensor, units: Units) -> Tensor:
    """B×C×… -> B×…: each image's own unit."""
    if isinstance(units, int):
        return activations[:, units]
    chosen = torch.as_tensor(units, device=activations.device)
    return activations[torch.arange(len(activations), device=activations.device), chosen]


def _mean(chosen: Tensor) -> Tensor:
    return chosen if chosen.ndim == 1 else chosen.flatten(1).mean(1)
