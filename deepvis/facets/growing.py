"""The images of facets: Algorithm 1 from the clusters' mean images on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from deepvis.core.geometry import resize
from deepvis.facets.aims import Clusters, facet_objective, on_canvas
from deepvis.facets.codes import names_of
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.making import Ground
from deepvis.networks.network import Network
from deepvis.synthesis import photo_spectrum
from deepvis.synthesis.ascent import Ascent, canvas_size
from deepvis.synthesis.recipe import Recipe, image_seed
from deepvis.synthesis.targets import cut, objective


class FacetAscent:
    """The facets of some units of a layer while they grow, in one batch.

    Attributes:
        steps: number of steps done.
    """

    def __init__(
        self, network: Network, ground: Ground, units: Sequence[Clusters], recipe: Recipe, seed: int = 0
    ) -> None:
        self._network, self._place, self.recipe = network, ground.place, recipe
        self._maps = [one.found for one in units]
        facets = [(found.unit, number) for found in self._maps for number in range(len(found.facets))]
        self._unit = objective(ground.layer, [unit for unit, _ in facets], self._place)
        size, channels = canvas_size(recipe, self._place.size), network.input.channels
        means = [facet.mean for found in self._maps for facet in found.facets]
        start = on_canvas(means, self._place, size, channels)
        spectrum = _spectra(units, channels, size) if recipe.parameterization == "maco" else None
        seeds = [image_seed(seed, unit, number) for unit, number in facets]
        aim = facet_objective(network, ground, units, recipe)
        self._ascent = Ascent(network, aim, [recipe] * len(facets), seeds, self._place.size, start, spectrum)
        self._first = [0.0] * len(facets)

    @property
    def steps(self) -> int:
        return self._ascent.count

    def dead(self) -> list[bool]:
        """For each unit, whether no gradient has reached its images."""
        if self.steps < self.recipe.redirect:
            return [False] * len(self._maps)
        dead = iter(self._ascent.dead.tolist())
        return [all([next(dead) for _ in found.facets]) for found in self._maps]

    def step(self) -> None:
        if not self.steps:
            self._first = self._ascent.scores_by(self._unit).tolist()
        self._ascent.step()

    def now(self, final: bool = False) -> list[FacetMap]:
        """The units' maps with the facets as they are now.

        Args:
            final: with the unit's activations, and with what the network calls the images.
        """
        images = cut(self._ascent.images(), self._place)
        scores = self._ascent.scores_by(self._unit).tolist() if final else [0.0] * len(images)
        names = names_of(self._network, list(images)) if final else [()] * len(images)
        rows, made = iter(zip(images, scores, self._first, names)), []
        for found in self._maps:
            facets = tuple(
                replace(facet, image=image, score=_short(score), mean_score=_short(first), called=called)
                for facet, (image, score, first, called) in zip(found.facets, rows)
            )
            made.append(replace(found, facets=facets))
        return made


def _spectra(units: Sequence[Clusters], channels: int, size: tuple[int, int]) -> Tensor:
    """For each facet the magnitudes of its own photos' Fourier coefficients, on a canvas of this (height, width)."""
    found = []
    for one in units:
        height, width = one.points.patches[0].shape[:2]
        side = max(2, min(height, width) // 2 * 2)
        squares = [resize(patch, side, side) for patch in one.points.patches]
        for number in range(len(one.found.facets)):
            own = [square for square, member in zip(squares, one.found.members) if member.cluster == number]
            found.append(photo_spectrum.on_canvas(torch.from_numpy(photo_spectrum.measured(own)), channels, size)[0])
    return torch.stack(found)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
