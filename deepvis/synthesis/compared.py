"""Images side by side: a unit by several recipes (Nguyen et al. 2016, "Multifaceted Feature Visualization", Fig. S3),
and several units by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from deepvis.core.layers import Layer
from deepvis.networks.network import Network
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.recipe import Recipe, image_seed
from deepvis.synthesis.targets import canvas, cut, objective

_GROUND = 24  # gray below transparent images


def compared(
    network: Network, layer: Layer, unit: int, recipes: Mapping[str, Recipe], count: int = 1, seed: int = 0
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each recipe's name and image, uint8 H×W×3 RGB; an image of held magnitudes also with its transparency.

    The name says so if no gradient reached the image.

    Args:
        count: images of each recipe, from the seeds that `deepvis synthesize` would take.
    """
    place = canvas(network, layer, network.receptive_field(layer.name))
    seeds = [image_seed(seed, unit, number) for number in range(count)]
    with tqdm(total=sum(one.steps for one in recipes.values()), unit="step") as bar:
        for name, one in recipes.items():
            bar.set_description(name)
            ascent = Ascent(network, objective(layer, [unit] * count, place), [one] * count, seeds, place.size)
            for _ in range(one.steps):
                ascent.step()
                bar.update()
            images = cut(ascent.images(), place)
            dead = ascent.dead.tolist()
            yield from ((f"{name}: no gradient" if none else name, image) for image, none in zip(images, dead))
            if (opacity := ascent.importance()) is not None:
                shown = cut(opacity[..., None], place)
                for image, share in zip(images, shown):
                    yield f"{name}, transparent", np.round(image * share + _GROUND * (1 - share)).astype(np.uint8)


def several(network: Network, units: Sequence[tuple[Layer, int]], one: Recipe, seed: int = 0) -> list[np.ndarray]:
    """An image of the whole input's size for each of some units of any layers, uint8 H×W×3 RGB, by one recipe."""
    made: dict[tuple[str, int], np.ndarray] = {}
    for layer in dict.fromkeys(layer for layer, _ in units):
        mine = [unit for of, unit in units if of is layer]
        place = canvas(network, layer, network.receptive_field(layer.name), true_size=False)
        seeds = [image_seed(seed, unit, 0) for unit in mine]
        ascent = Ascent(network, objective(layer, mine, place), [one] * len(mine), seeds, place.size)
        for _ in tqdm(range(one.steps), unit="step", desc=f"{layer.name} by {one.prior or one.parameterization}"):
            ascent.step()
        made |= {(layer.name, unit): image for unit, image in zip(mine, ascent.images())}
    return [made[layer.name, unit] for layer, unit in units]
