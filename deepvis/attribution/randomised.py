"""Does a map depend on the network's weights? Those are randomised from the top down (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from deepvis.networks.kept_tensors import copied
from deepvis.networks.network import Network


def weighted_modules(network: Network) -> list[str]:
    """The qualified names of the modules that have weights of their own, from the bottom up."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name, _ in network.module.named_parameters()))


def stages(network: Network, count: int) -> list[str]:
    """The modules down to which weights are randomised, one stage after the other: the topmost one, then evenly down to
    the first."""
    names = weighted_modules(network)
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)[::-1]
    return [names[place] for place in places]


def randomised(network: Network, lowest: str, seed: int = 0) -> Network:
    """The network with the values of each weight tensor shuffled, from the top down to the module `lowest`."""
    module = copied(network.module)
    names = weighted_modules(network)
    chosen = set(names[names.index(lowest) :])
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.named_parameters():
        if name.rpartition(".")[0] in chosen:
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.data = tensor.data.flatten()[order].reshape(tensor.shape)
    return replace(network, module=module)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, of the sizes of values in two maps; 0 if one of them is the same everywhere."""
    ranks = [_ranks(np.abs(values).ravel()) for values in (one, other)]
    if any(np.ptp(values) == 0 for values in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Equal values share the mean of their ranks: the many zeros of a class activation map are no order."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def mean_by_stage(found: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean over pictures of what was found at each stage, pictures × stages."""
    return tuple(float(value) for value in np.mean(found, 0)) if len(found) else ()
