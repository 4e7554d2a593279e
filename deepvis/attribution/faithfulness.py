"""Which explanation is true? Methods measured by deletion and insertion, and by a network of random weights.

See `deepvis.attribution.curves` and `deepvis.attribution.randomised`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deepvis.attribution.curves import (
    AT_ONCE,
    BLOCK,
    block_means,
    blurred,
    class_layer,
    curves,
    explain,
    predicted,
    random_blocks,
)
from deepvis.attribution.methods import METHODS, check_known
from deepvis.attribution.randomised import mean_by_stage, randomised, rank_correlation, stages
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.networks.network import Network

NOTHING = "nothing comes back to the pixels"
RANDOM = "random"  # the floor: blocks in a random order
SAME = 0.7  # rank correlation above which a map is called the same after all weights were randomised,
ALIKE = 0.97  # and after those of the classes alone
COMPARED = 8  # pixels: the side of the blocks by which maps are compared
NO_SCORE = (math.nan, math.nan)


@dataclass(frozen=True)
class Score:
    """How a method did.

    Attributes:
        deletion, insertion: the mean probability on the way, and half of its 95 % interval over the images; a low
            deletion and a high insertion are good.
        better: by how much its deletion is below the random order's, and half of that difference's 95 % interval.
        same: rank correlation of its map with that after the weights were randomised down to each stage; () if that
            was not measured.
        missing: for so many images it gave no map; their blocks count in the random order.
        why_not: a text that says why it gave no map for any image; else empty.
    """

    deletion: tuple[float, float] = NO_SCORE
    insertion: tuple[float, float] = NO_SCORE
    better: tuple[float, float] = (0.0, 0.0)
    same: tuple[float, ...] = ()
    missing: int = 0
    why_not: str = ""

    @property
    def fails(self) -> str:
        """A text that says in what the method fails on this network; empty if it does not."""
        if self.why_not:
            return self.why_not
        found = []
        if self.better[0] <= self.better[1]:
            found.append("no better than random blocks")
        if self.same and self.same[-1] > SAME:
            found.append("hardly depends on the weights")
        if len(self.same) > 1 and self.same[0] > ALIKE:
            found.append("gives the same map for every class")
        return " and ".join(found)


@dataclass
class MethodTally:
    """What was measured of a method, of some images or of all so far. Plain values, which can be kept in a file.

    Attributes:
        areas: deletion and insertion of each image.
        same: for each image that was compared: the rank correlation at each stage.
        missing: for so many images it gave no map.
        note: what the method said last.
        broken: why it cannot be measured; empty if it can.
    """

    areas: list[list[float]] = field(default_factory=list)
    same: list[list[float]] = field(default_factory=list)
    missing: int = 0
    note: str = ""
    broken: str = ""

    def take(self, more: MethodTally) -> None:
        """Add what was measured of further images."""
        self.areas += more.areas
        self.same += more.same
        self.missing += more.missing
        self.note, self.broken = more.note, more.broken


Areas = Callable[[np.ndarray], list[list[float]]]  # how relevant each image's blocks are -> `MethodTally.areas`


@dataclass
class Measurement:
    """A measurement, some images after the others.

    Attributes:
        network: what is explained.
        methods: keys of METHODS.
        passes: as in `explain`.
        checked: on how many images maps are compared with those of networks with random weights.
        count: how many such networks there are, see `stages`.
        at_once: pictures in one pass.
        images: how many were measured.
    """

    network: Network
    methods: Sequence[str]
    passes: int = 16
    checked: int = 5
    count: int = 4
    at_once: int = AT_ONCE
    images: int = 0

    def __post_init__(self) -> None:
        self._layer = class_layer(self.network)
        self._tallies = {name: MethodTally() for name in (RANDOM, *self.methods)}
        self.stages = stages(self.network, self.count) if self.checked else []

    @cached_property
    def _random(self) -> list[Network]:
        return [randomised(self.network, lowest) for lowest in self.stages]

    def add(self, frames: Sequence[Frame]) -> Mapping[str, MethodTally]:
        """Measure all methods on some images at once, for the classes that the network predicts.

        Returns:
            What was measured of these images, for `take`.
        """
        x = torch.cat([self.network.see(frame.pixels, True) for frame in frames])
        units, hidden = predicted(self.network, x), blurred(x)
        shape = block_means(np.zeros(x.shape[2:]), BLOCK).shape
        floor = np.stack([random_blocks(shape, self.images + i) for i in range(len(frames))])

        def areas(blocks: np.ndarray) -> list[list[float]]:
            found: list[list[float]] = curves(
                self.network, x, hidden, units, blocks, BLOCK, self.at_once
            ).areas.tolist()
            return found

        measured = {RANDOM: MethodTally(areas(floor))}
        for name in self.methods:
            if not self._tallies[name].broken:
                measured[name] = self._measured(name, x, units, floor, areas)
        self.take(len(frames), measured)
        return measured

    def take(self, images: int, measured: Mapping[str, MethodTally]) -> None:
        """Add what was measured of some images, now or in an earlier run."""
        for name, tally in measured.items():
            self._tallies[name].take(tally)
        self.images += images

    def _measured(self, name: str, x: Tensor, units: Sequence[int], floor: np.ndarray, areas: Areas) -> MethodTally:
        """A method's measurement on some images. Where it gives no map, the blocks count in the random order."""
        try:
            values, note = explain(self.network, x, self._layer, units, name, self.passes)
        except (UserError, RuntimeError) as error:
            return MethodTally(broken=str(error))
        there = np.isfinite(values).all((1, 2)) & (values != 0).any((1, 2))
        blocks = np.where(there[:, None, None], block_means(np.nan_to_num(values), BLOCK), floor)
        same = self._compared(x[: max(0, self.checked - self.images)], units, name, values)
        note = "" if METHODS[name].passes > 1 else note  # theirs says only how far they are
        return MethodTally(areas(blocks), same, int((~there).sum()), note)

    def _compared(self, x: Tensor, units: Sequence[int], name: str, values: np.ndarray) -> list[list[float]]:
        """Compare maps with those of the networks with random weights; where nothing comes through, they differ.

        Returns:
            For each image the rank correlation at each stage.
        """
        if not len(x):
            return []
        ours, by_stage = block_means(np.nan_to_num(values), COMPARED), []
        for network in self._random:
            try:
                found = explain(network, x, self._layer, units[: len(x)], name, self.passes)[0]
            except (UserError, RuntimeError):
                found = np.zeros_like(values[: len(x)])
            others = block_means(np.nan_to_num(found), COMPARED)
            by_stage.append([float(rank_correlation(one, other)) for one, other in zip(ours, others)])
        return [list(one) for one in zip(*by_stage)]

    def scores(self) -> Mapping[str, Score]:
        """{method, or RANDOM: how it did so far}."""
        floor = np.array(self._tallies[RANDOM].areas)
        return {name: self._score(tally, floor) for name, tally in self._tallies.items()}

    def _score(self, tally: MethodTally, floor: np.ndarray) -> Score:
        if tally.broken or not self.images or tally.missing == self.images:
            return Score(missing=tally.missing, why_not=tally.broken or tally.note or NOTHING)
        values = np.array(tally.areas)
        means, errors = values.mean(0), half_intervals(values)
        better = floor[:, :1] - values[:, :1]
        deletion, insertion = ((float(mean), float(error)) for mean, error in zip(means, errors))
        above_floor = float(better.mean()), float(half_intervals(better)[0])
        return Score(deletion, insertion, above_floor, mean_by_stage(tally.same), tally.missing)


def half_intervals(values: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval of the mean over the first axis."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.inf)
    half: np.ndarray = 1.96 * values.std(0, ddof=1) / np.sqrt(len(values))
    return half


def known_methods(names: Sequence[str]) -> list[str]:
    """The names, or all methods if there are none. Raises UserError for an unknown one."""
    return list(dict.fromkeys(check_known(name) for name in names)) or list(METHODS)
