"""Deletion and insertion curves: how fast a class's probability falls and rises by the order that a map gives.

Deletion: the blocks of a picture are blurred, those first that a map calls most relevant; the faster the class's
probability falls, the better the map tells what the network looks at (Samek et al. 2017; Petsiuk et al. 2018).
Insertion: the same from the blurred picture on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from deepvis.attribution.methods import METHODS, Backward, Question, Reached, shows_of, whole
from deepvis.core.errors import UserError
from deepvis.core.layers import find_layer, stands_for
from deepvis.networks.network import Network

BLOCK = 16  # pixels: the side of what is blurred at once
STEPS = 10  # of a curve
AT_ONCE = 22  # pictures in one pass: both curves of a picture


@dataclass(frozen=True, eq=False)
class Curves:
    """The class's probability on the way for each picture, float64 B×(STEPS + 1).

    The last value is that of the whole picture blurred, or shown.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        """The mean probability on the way of deletion and of insertion, B×2."""
        return np.stack([self.deletion.mean(1), self.insertion.mean(1)], 1)


def class_layer(network: Network) -> str:
    """The layer of the class scores (before a softmax). Raises UserError if the network has none."""
    name = stands_for(network.layers, len(network.layers) - 1)
    if network.layers[find_layer(name, network.layers)].is_map:
        raise UserError(f"network {network.name} does not end in class scores: faithfulness is measured on a class")
    if network.layers[find_layer(name, network.layers)].units < 2:
        raise UserError(f"network {network.name} has one score alone: faithfulness needs two classes or more")
    return name


def explain(
    network: Network, x: Tensor, layer: str, units: Sequence[int], method: str, passes: int = 10**6
) -> tuple[np.ndarray, str]:
    """A method's value for each pixel: relevance if it gives shares, else strength.

    Args:
        x: the network's input, B×channels×H×W.
        layer: a layer of vectors.
        units: the unit for each picture.
        passes: enough for a method of many passes.
    Returns:
        float32 B×H×W, and what the method says.
    """
    rows, seen = torch.arange(len(units), device=x.device), x.detach()

    def start(sent: Tensor) -> Tensor:
        chosen = torch.zeros_like(sent)
        chosen[rows, torch.tensor(list(units), device=x.device)] = 1
        return chosen

    def run(other: Tensor | None = None, maps: Collection[str] = ()) -> Reached:
        origin, outputs = network.reach(layer, seen if other is None else other, maps)
        return Reached(origin, maps=outputs)

    found: Backward = whole(METHODS[method], network, Question(seen, layer, units[0], run, start), passes)
    pixels = found.pixels.detach().float()
    values: np.ndarray = (pixels.abs() if shows_of(method) == "colors" else pixels).sum(1).cpu().numpy()
    return values, found.note


def block_means(values: np.ndarray, side: int = BLOCK) -> np.ndarray:
    """The mean over each block, …×H×W -> …×rows×columns; blocks at the right and lower edge may be smaller."""
    height, width = values.shape[-2:]
    tops, lefts = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(values.astype(float), tops, -2), lefts, -1)
    means: np.ndarray = sums / np.outer(np.diff([*tops, height]), np.diff([*lefts, width]))
    return means


def random_blocks(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random values for the blocks of a picture."""
    return np.random.default_rng(seed).random(shape)


def blurred(x: Tensor) -> Tensor:
    """x smoothed until its objects cannot be told apart any more."""
    pictures = x.float().cpu().numpy()
    smooth = [[cv2.GaussianBlur(plane, (0, 0), max(x.shape[2:]) / 14) for plane in picture] for picture in pictures]
    return torch.from_numpy(np.array(smooth)).to(x.device, x.dtype)


def curves(
    network: Network,
    x: Tensor,
    hidden: Tensor,
    units: Sequence[int],
    blocks: np.ndarray,
    side: int = BLOCK,
    at_once: int = AT_ONCE,
) -> Curves:
    """The curves of some pictures.

    Args:
        x, hidden: the network's input, B×channels×H×W, and the same blurred.
        units: the class for each picture.
        blocks: how relevant each block is, B×rows×columns.
        side: of a block in pixels.
        at_once: how many pictures the network gets in one pass.
    """
    places = _places(blocks).repeat(side, 1).repeat(side, 2)[:, : x.shape[2], : x.shape[3]]
    order = torch.from_numpy(places).to(x.device)
    counts = [round(blocks[0].size * step / STEPS) for step in range(STEPS + 1)]
    wanted = [(b, count, inserts) for b in range(len(x)) for count in counts for inserts in (False, True)]
    found: list[np.ndarray] = []
    for first in range(0, len(wanted), at_once):
        picks, count, inserts = (torch.tensor(list(one), device=x.device) for one in zip(*wanted[first:][:at_once]))
        # Within the chosen blocks the picture is hidden, or outside of them.
        is_hidden = (order[picks] < count[:, None, None]) ^ inserts[:, None, None]
        found.append(probabilities(network, torch.where(is_hidden[:, None], hidden[picks], x[picks])))
    rows = [units[b] for b, *_ in wanted]
    values = np.concatenate(found)[np.arange(len(rows)), rows].reshape(len(x), STEPS + 1, 2)
    return Curves(values[..., 0], values[..., 1])


def _places(blocks: np.ndarray) -> np.ndarray:
    """Each block's place in the order of its picture's blocks, the most relevant first: 0, 1 …"""
    order = np.argsort(-blocks.reshape(len(blocks), -1), axis=1, kind="stable")
    places: np.ndarray = np.argsort(order, axis=1).reshape(blocks.shape)
    return places


def probabilities(network: Network, x: Tensor) -> np.ndarray:
    """The probability of each class for some pictures, float64 B×classes."""
    with torch.no_grad():
        out = network.module(x.clone())
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        raise UserError(f"network {network.name} does not return class scores: faithfulness is measured on a class")
    if not bool(out.isfinite().all()):
        raise UserError(
            f"network {network.name} gives class scores that are not finite: expected numbers. Check its weights, and "
            "the scaling of its input"
        )
    return as_probabilities(out.double().cpu().numpy())


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Rows of scores as probabilities, if they are not probabilities already."""
    if scores.min() >= 0 and (abs(scores.sum(-1) - 1) < 1e-3).all():
        return scores
    e = np.exp(scores - scores.max(-1, keepdims=True))
    shares: np.ndarray = e / e.sum(-1, keepdims=True)
    return shares


def predicted(network: Network, x: Tensor) -> list[int]:
    """The class with the highest score for each picture."""
    return [int(unit) for unit in probabilities(network, x).argmax(1)]
