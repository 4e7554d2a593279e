"""Gradient ascent looked at on its way: after each phase of a recipe, and from starts between two photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from deepvis.core.layers import Layer
from deepvis.networks.network import Network
from deepvis.synthesis.ascent import Ascent, canvas_size
from deepvis.synthesis.phases import moment
from deepvis.synthesis.recipe import Recipe, image_seed
from deepvis.synthesis.starts import StartImage, read_start
from deepvis.synthesis.targets import canvas, cut, objective


def after_each_phase(
    network: Network, layer: Layer, unit: int, one: Recipe, seed: int = 0, start: StartImage | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the image after each phase of the recipe, with its step (Nguyen et al. 2016, Fig. S7); uint8 H×W×3 RGB."""
    place = canvas(network, layer, network.receptive_field(layer.name))
    first = None if start is None else start.tensor(network.input.channels, canvas_size(one, place.size), 1)
    seeds = [image_seed(seed, unit, 0)]
    ascent = Ascent(network, objective(layer, [unit], place), [one], seeds, place.size, first)
    phase = 0
    for step in tqdm(range(one.steps), unit="step"):
        now = moment(one.phases, one.steps, step).phase if one.phases else 0
        if now != phase:
            yield f"phase {phase + 1}, step {step}", cut(ascent.images(), place)[0]
            phase = now
        ascent.step()
    yield f"phase {phase + 1}, step {one.steps}", cut(ascent.images(), place)[0]


def between_photos(
    network: Network, layer: Layer, unit: int, one: Recipe, photos: Sequence[Path], count: int = 8, seed: int = 0
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield for each of `count` mixtures of two photos its words, the start and the image that comes of it (Fig. S1).

    Raises:
        UserError: there are not two photos, or one cannot be read.
    """
    place = canvas(network, layer, network.receptive_field(layer.name))
    shares = np.linspace(0, 1, max(2, count))
    starts = [read_start(photos, float(share)) for share in shares]
    size = canvas_size(one, place.size)
    first = torch.cat([start.tensor(network.input.channels, size, 1) for start in starts])
    many = len(starts)
    seeds = [image_seed(seed, unit, 0)] * many
    ascent = Ascent(network, objective(layer, [unit] * many, place), [one] * many, seeds, place.size, first)
    begun = cut(ascent.images(raised=False), place)
    for _ in tqdm(range(one.steps), unit="step"):
        ascent.step()
    for share, before, after in zip(shares, begun, cut(ascent.images(), place)):
        yield f"{share:.0%} of the second", before, after
