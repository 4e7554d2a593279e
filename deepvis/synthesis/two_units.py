"""Images that excite two units at once (Nguyen et al. 2016, "Synthesizing the preferred inputs…", Figs S11 and S12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from deepvis.core.layers import Layer
from deepvis.networks.network import Network
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.recipe import Recipe, image_seed
from deepvis.synthesis.targets import canvas, objective

Chosen = tuple[Layer, int]  # a unit


@dataclass(frozen=True, eq=False)
class Together:
    """An image for one or two units.

    Attributes:
        units: the units.
        image: uint8 H×W×3 RGB.
        values: the units' own values for the image.
    """

    units: tuple[Chosen, ...]
    image: np.ndarray
    values: tuple[float, ...]


def together(
    network: Network, first: Chosen, others: Sequence[Chosen], recipe: Recipe, gamma: float = 0.5, seed: int = 0
) -> Iterator[Together]:
    """Yield an image for each of the other units alone, then one for the first unit and each of them.

    Args:
        gamma: weight of the distance between the two units' values (see `objectives.both`).
    """
    wanted: list[tuple[Chosen, ...]] = [(other,) for other in others] + [(first, other) for other in others]
    with tqdm(total=len(wanted) * recipe.steps, unit="step") as bar:
        for units in wanted:
            aims = [_aim(network, one) for one in units]
            aim = aims[0] if len(aims) == 1 else objectives.both(aims[0], aims[1], gamma)
            ascent = Ascent(network, aim, [recipe], [image_seed(seed, units[-1][1], 0)])
            for _ in range(recipe.steps):
                ascent.step()
                bar.update()
            image = ascent.images()[0]
            yield Together(units, image, _values(network, image, aims))


def _aim(network: Network, chosen: Chosen) -> Objective:
    layer, unit = chosen
    return objective(layer, [unit], canvas(network, layer, network.receptive_field(layer.name), true_size=False))


def _values(network: Network, image: np.ndarray, aims: Sequence[Objective]) -> tuple[float, ...]:
    names = frozenset[str]().union(*(aim.layers for aim in aims))
    with torch.no_grad(), network.capture(names) as captured:
        network.module(network.see(image, crop=True))
        activations = {name: network.units(name, captured[name]) for name in names}
        return tuple(float(aim(activations)[0]) for aim in aims)
