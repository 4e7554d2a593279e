"""Images that excite two units at once (Nguyen et al. 2016, "Synthesizing the preferred inputs…", Figs S11 and S12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, parse_unit, unit_id
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


@dataclass(frozen=True)
class Pair:
    """Two units: an image is to excite both, or the first one and not the second.

    Attributes:
        sign: "+" or "-".
    """

    first: Chosen
    second: Chosen
    sign: str = "+"

    @property
    def name(self) -> str:
        """Such as logits:1+logits:5."""
        return self.sign.join(unit_id(layer.name, unit) for layer, unit in (self.first, self.second))


def parse_pairs(text: str, layers: Sequence[Layer]) -> list[Pair]:
    """Read ``logits:1+logits:5,logits:zebra-4c:12``; empty if the text names no pair.

    Raises:
        UserError: some of it are pairs, and some are not.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    found = [_pair(item, layers) for item in items]
    pairs = [pair for pair in found if pair is not None]
    if pairs and len(pairs) < len(items):
        other = next(item for item, pair in zip(items, found) if pair is None)
        raise UserError(f"--units {other!r}: expected pairs alone, such as logits:1+logits:5, or no pair at all")
    return pairs


def _pair(item: str, layers: Sequence[Layer]) -> Pair | None:
    """The pair of an item, whose labels may have a + or - of their own."""
    for at, sign in enumerate(item):
        first, second = item[:at], item[at + 1 :]
        if sign not in "+-" or ":" not in first or ":" not in second:
            continue
        try:
            (i, one), (j, other) = parse_unit(first, layers), parse_unit(second, layers)
        except UserError as error:
            if sign == "+":
                raise error
            continue
        if (i, one) == (j, other):
            raise UserError(f"--units {item!r}: is the same unit twice; expected two, such as logits:1+logits:5")
        return Pair((layers[i], one), (layers[j], other), sign)
    return None


def of_both(
    first: Objective, second: Objective, layers: tuple[Layer, Layer], gamma: float = 0.5, mixed: bool = False
) -> Objective:
    """What images of two units climb: side by side (`objectives.scene`), or mixed in one place (`objectives.both`).

    A unit of a map looks at the middle of the picture alone, so there is no room beside it: these are always mixed.
    """
    make = objectives.both if mixed or any(layer.is_map for layer in layers) else objectives.scene
    return make(first, second, gamma)


def together(
    network: Network,
    first: Chosen,
    others: Sequence[Chosen],
    recipe: Recipe,
    gamma: float = 0.5,
    seed: int = 0,
    mixed: bool = False,
) -> Iterator[Together]:
    """Yield an image for each of the other units alone, then one for the first unit and each of them.

    Args:
        gamma, mixed: see `of_both`.
    """
    wanted: list[tuple[Chosen, ...]] = [(other,) for other in others] + [(first, other) for other in others]
    with tqdm(total=len(wanted) * recipe.steps, unit="step") as bar:
        for units in wanted:
            aims = [_aim(network, one) for one in units]
            aim = aims[0]
            if len(units) > 1:
                aim = of_both(aims[0], aims[1], (units[0][0], units[1][0]), gamma, mixed)
            yield from _made(network, units, aims, aim, recipe, [image_seed(seed, units[-1][1], 0)], bar)


def of_pairs(
    network: Network,
    pairs: Sequence[Pair],
    recipe: Recipe,
    gamma: float = 0.5,
    seed: int = 0,
    count: int = 1,
    mixed: bool = False,
) -> Iterator[tuple[Pair, list[Together]]]:
    """Yield each pair with `count` images: of both (see `of_both`), or of a − b."""
    with tqdm(total=len(pairs) * recipe.steps, unit="step") as bar:
        for pair in pairs:
            seeds = [image_seed(seed, pair.first[1], number) for number in range(count)]
            bar.set_description(pair.name)
            one, other = aims = [_aim(network, unit) for unit in (pair.first, pair.second)]
            layers = pair.first[0], pair.second[0]
            aim = of_both(one, other, layers, gamma, mixed) if pair.sign == "+" else one - other
            yield pair, _made(network, (pair.first, pair.second), aims, aim, recipe, seeds, bar)


def between(
    network: Network, first: Chosen, second: Chosen, recipe: Recipe, count: int = 6, seed: int = 0
) -> list[Together]:
    """Images of mixtures of two units, from the first alone to the second alone: (1 − t) a + t b. All from one seed."""
    one, other = _aim(network, first), _aim(network, second)
    share = torch.linspace(0, 1, count, device=network.device)
    aim = Objective(one.layers | other.layers, lambda a: (1 - share) * one.value(a) + share * other.value(a))
    ascent = Ascent(network, aim, [recipe] * count, [image_seed(seed, first[1], 0)] * count)
    for _ in tqdm(range(recipe.steps), unit="step"):
        ascent.step()
    aims = [one, other]
    return [Together((first, second), image, _values(network, image, aims)) for image in ascent.images()]


def _made(
    network: Network,
    units: tuple[Chosen, ...],
    aims: Sequence[Objective],
    aim: Objective,
    recipe: Recipe,
    seeds: Sequence[int],
    bar: tqdm[NoReturn],
) -> list[Together]:
    ascent = Ascent(network, aim, [recipe] * len(seeds), seeds)
    for _ in range(recipe.steps):
        ascent.step()
        bar.update()
    return [Together(units, image, _values(network, image, aims)) for image in ascent.images()]


def _aim(network: Network, chosen: Chosen) -> Objective:
    layer, unit = chosen
    return objective(layer, [unit], canvas(network, layer, network.receptive_field(layer.name), true_size=False))


def _values(network: Network, image: np.ndarray, aims: Sequence[Objective]) -> tuple[float, ...]:
    names = frozenset[str]().union(*(aim.layers for aim in aims))
    with torch.no_grad(), network.capture(names) as captured:
        network.module(network.see(image, crop=True))
        activations = {name: network.units(name, captured[name]) for name in names}
        return tuple(float(aim(activations)[0]) for aim in aims)
