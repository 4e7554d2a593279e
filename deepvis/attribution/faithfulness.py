"""Which explanation is true? Deletion and insertion curves, and whether a map depends on the network's weights.

Deletion: the blocks of a picture are blurred, those first that a method calls most relevant; the faster the class's
probability falls, the better the method knows what the network looks at (Samek et al. 2017; Petsiuk et al. 2018).
Insertion: the same from the blurred picture on. Weights: a map that stays as it is when the weights are randomised from
the top down cannot say what the network has learned (Adebayo et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from deepvis.attribution.methods import METHODS, shows_of
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.layers import find_layer, stands_for
from deepvis.networks.kept_tensors import copied
from deepvis.networks.network import Network

BLOCK = 16  # pixels: the side of what is blurred at once
STEPS = 10  # of a curve
RANDOM = "random"  # the floor: blocks in a random order
SAME = 0.7  # rank correlation above which a map is called the same


@dataclass(frozen=True, eq=False)
class Curves:
    """The class's probability on the way, float64 STEPS + 1; the last of the whole picture blurred, or shown."""

    deletion: np.ndarray
    insertion: np.ndarray


@dataclass(frozen=True)
class Score:
    """How a method did.

    Attributes:
        deletion, insertion: the mean probability on the way; a low deletion and a high insertion are good.
        deletion_error, insertion_error: half of the 95 % interval over the images.
        better: by how much its deletion is below the random order's, and half of that difference's 95 % interval.
        same: rank correlation of its map with that after all weights were randomised; NaN if not measured.
        why_not: a text that says why it gave no map for some image; else empty.
    """

    deletion: float
    deletion_error: float
    insertion: float
    insertion_error: float
    better: tuple[float, float] = (0.0, 0.0)
    same: float = float("nan")
    why_not: str = ""

    @property
    def fails(self) -> str:
        """A text that says in what the method fails on this network; empty if it does not."""
        if self.why_not:
            return self.why_not
        found = []
        if self.better[0] <= self.better[1]:
            found.append("no better than random blocks")
        if self.same > SAME:
            found.append("hardly depends on the weights")
        return " and ".join(found)


def class_layer(network: Network) -> str:
    """The layer of the class scores (before a softmax). Raises UserError if the network has none."""
    name = stands_for(network.layers, len(network.layers) - 1)
    if network.layers[find_layer(name, network.layers)].is_map:
        raise UserError(f"network {network.name} does not end in class scores: faithfulness is measured on a class")
    return name


def explain(network: Network, frame: Frame, layer: str, unit: int, method: str, passes: int = 10**6) -> np.ndarray:
    """A method's value for each pixel, float32 H×W: relevance if it gives shares, else strength.

    Args:
        passes: enough for a method of many passes.
    """
    request = Request(frame, True, layer, method, (layer, unit))
    result = answer(network, request)
    while result.progress is not None and result.progress.passes < passes:
        result = answer(network, replace(request, so_far=result))
    pixels = result.pixels
    if pixels is None or not np.isfinite(pixels).all() or not pixels.any():
        raise UserError(f"{method}: {result.error or result.note or 'gave nothing'}")
    signed: np.ndarray = np.abs(pixels) if shows_of(method) == "colors" else pixels
    summed: np.ndarray = signed.sum(2)
    return summed


def block_means(values: np.ndarray, side: int = BLOCK) -> np.ndarray:
    """The mean over each block, rows×columns; blocks at the right and lower edge may be smaller."""
    rows, columns = (range(0, extent, side) for extent in values.shape)
    return np.array([[values[y : y + side, x : x + side].mean() for x in columns] for y in rows])


def random_blocks(values: np.ndarray, seed: int) -> np.ndarray:
    """Random values in the same shape."""
    return np.random.default_rng(seed).random(values.shape)


def curves(network: Network, x: Tensor, unit: int, blocks: np.ndarray, side: int = BLOCK) -> Curves:
    """The curves of one picture.

    Args:
        x: the network's input, 1×channels×H×W.
        unit: the class.
        blocks: how relevant each block is, rows×columns.
    """
    hidden = _blurred(x)
    order = np.argsort(-blocks, axis=None, kind="stable")
    pictures = []
    for step in range(STEPS + 1):
        chosen = np.zeros(blocks.size, np.float32)
        chosen[order[: round(blocks.size * step / STEPS)]] = 1
        whole = np.kron(chosen.reshape(blocks.shape), np.ones((side, side), np.float32))
        mask = torch.from_numpy(whole[: x.shape[2], : x.shape[3]].copy()).to(x.device, x.dtype)
        pictures += [x * (1 - mask) + hidden * mask, hidden * (1 - mask) + x * mask]
    found = _probabilities(network, pictures, unit)
    return Curves(found[0::2], found[1::2])


def _blurred(x: Tensor) -> Tensor:
    """x smoothed until its objects cannot be told apart any more."""
    planes = [cv2.GaussianBlur(plane, (0, 0), max(x.shape[2:]) / 14) for plane in x[0].float().cpu().numpy()]
    return torch.from_numpy(np.stack(planes))[None].to(x.device, x.dtype)


def _probabilities(network: Network, pictures: Sequence[Tensor], unit: int) -> np.ndarray:
    """The class's probability in each picture, float64."""
    with torch.no_grad():
        found: np.ndarray = np.array([as_probabilities(_scores(network, picture))[unit] for picture in pictures])
    return found


def _scores(network: Network, x: Tensor) -> np.ndarray:
    out = network.module(x.clone())
    if not isinstance(out, Tensor) or out.ndim != 2:
        raise UserError(f"network {network.name} does not return class scores: faithfulness is measured on a class")
    scores: np.ndarray = out[0].double().cpu().numpy()
    return scores


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores as probabilities, if they are not probabilities already."""
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        return scores
    e = np.exp(scores - scores.max())
    shares: np.ndarray = e / e.sum()
    return shares


def predicted(network: Network, x: Tensor) -> int:
    """The class with the highest score."""
    with torch.no_grad():
        return int(_scores(network, x).argmax())


def randomised(network: Network, part: float = 1.0, seed: int = 0) -> Network:
    """The network with the values of its last weight tensors shuffled, from the top down.

    Args:
        part: fraction of the tensors.
    """
    module = copied(network.module)
    tensors = list(module.parameters())
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors[len(tensors) - round(part * len(tensors)) :]:
        order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
        tensor.data = tensor.data.flatten()[order].reshape(tensor.shape)
    return replace(network, module=module)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, of the sizes of values in two maps."""
    ranks = [np.argsort(np.argsort(np.abs(values), axis=None)).astype(float) for values in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


@dataclass
class Measurement:
    """A measurement, one image after the other.

    Attributes:
        network: what is explained.
        methods: keys of METHODS.
        passes: as in `explain`.
        checked: on how many images maps are compared with those of a network with random weights.
    """

    network: Network
    methods: Sequence[str]
    passes: int = 16
    checked: int = 5

    def __post_init__(self) -> None:
        self._layer = class_layer(self.network)
        self._random = randomised(self.network) if self.checked else self.network
        self._areas: dict[str, list[tuple[float, float]]] = {name: [] for name in (RANDOM, *self.methods)}
        self._same: dict[str, list[float]] = {name: [] for name in self.methods}
        self._why_not: dict[str, str] = {}
        self.images = 0

    def add(self, frame: Frame) -> None:
        """Measure all methods on one image, for the class that the network predicts."""
        x = self.network.see(frame.pixels, True)
        unit = predicted(self.network, x)
        floor = random_blocks(block_means(np.zeros(x.shape[2:])), self.images)
        self._areas[RANDOM].append(_areas(curves(self.network, x, unit, floor)))
        for name in self.methods:
            if name in self._why_not:
                continue
            try:
                values = explain(self.network, frame, self._layer, unit, name, self.passes)
                self._areas[name].append(_areas(curves(self.network, x, unit, block_means(values))))
                if self.images < self.checked:
                    self._same[name].append(self._compare(frame, unit, name, values))
            except (UserError, RuntimeError) as error:
                self._why_not[name] = str(error)
        self.images += 1

    def _compare(self, frame: Frame, unit: int, name: str, values: np.ndarray) -> float:
        try:
            others = explain(self._random, frame, self._layer, unit, name, self.passes)
        except UserError:  # nothing comes through a network of random weights: the map depends on them
            return 0.0
        return rank_correlation(block_means(values, 8), block_means(others, 8))

    def scores(self) -> Mapping[str, Score]:
        """{method, or RANDOM: how it did so far}."""
        floor = np.array(self._areas[RANDOM])
        found = {}
        for name, areas in self._areas.items():
            if name in self._why_not or not areas:
                why_not = self._why_not.get(name, "not measured")
                found[name] = Score(math.nan, math.nan, math.nan, math.nan, why_not=why_not)
                continue
            values = np.array(areas)
            (deletion, insertion), errors = values.mean(0), _errors(values)
            better = floor[:, 0] - values[:, 0]
            same = self._same.get(name)
            found[name] = Score(
                float(deletion), float(errors[0]), float(insertion), float(errors[1]),
                (float(better.mean()), float(_errors(better[:, None])[0])),
                float(np.mean(same)) if same else float("nan"),
            )  # fmt: skip
        return found


def _areas(found: Curves) -> tuple[float, float]:
    return float(found.deletion.mean()), float(found.insertion.mean())


def _errors(values: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval of the mean over the first axis."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.inf)
    half: np.ndarray = 1.96 * values.std(0, ddof=1) / np.sqrt(len(values))
    return half


def known_methods(names: Sequence[str]) -> list[str]:
    """The names, or all methods if there are none. Raises UserError for an unknown one."""
    for name in names:
        if name not in METHODS:
            raise UserError(f"unknown backward method {name!r}; there are {', '.join(METHODS)}")
    return list(names) or list(METHODS)
