"""Layer-wise relevance propagation (Bach et al. 2015) as a backward method."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepvis.attribution.methods import Backward, Compute, Question, Reached
from deepvis.networks.activation_rules import gradients
from deepvis.networks.composites import Composite
from deepvis.networks.network import Network
from deepvis.networks.relevance_flow import RelevanceFlow
from deepvis.networks.relevance_sharing import keeping_copies


def relevance(composite: Composite) -> Compute:
    """A method that propagates relevance by the rules of a composite.

    It starts with the tensor that the other methods start with, with the sign of the unit's activation, so that
    positive relevance always speaks for the unit. Each pixel's share is relative to it.
    """

    def compute(network: Network, question: Question) -> Backward:
        question.x.requires_grad_(True)
        try:
            return _propagate(network, question, composite)
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            with keeping_copies():
                return _propagate(network, question, composite)

    return compute


def _propagate(network: Network, question: Question, composite: Composite) -> Backward:
    with RelevanceFlow(composite, *_range(network, question.x), write_back=network.drops_results):
        reached = question.run()
    inputs = [question.x] if reached.shown is None else [question.x, reached.shown]
    start = question.start(reached.origin)
    start = torch.where(reached.origin.detach() < 0, -start, start)
    pixels, *shown = _flown(reached, inputs, start)
    if pixels is None:
        return Backward(torch.zeros_like(question.x), *shown)
    return Backward(pixels, *shown, note=share_words(float(pixels.sum()), float(start.sum())))


def _flown(reached: Reached, inputs: Sequence[Tensor], start: Tensor) -> Sequence[Tensor | None]:
    return gradients(reached.origin, inputs, start)


def _range(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest values that pixels can have at the network's input, 1×channels×1×1."""
    spec = network.input
    mean, std = (torch.tensor(values, dtype=x.dtype, device=x.device)[None, :, None, None] for values in
                 (spec.mean, spec.std))  # fmt: skip
    return -mean / std, (spec.range - mean) / std


def share_words(reached: float, started: float) -> str:
    """How much of the relevance has reached the pixels, in words."""
    share = 100 * reached / started if started else 0.0
    if not abs(share) < 1e6:
        return "relevance grew without bounds on the way to the pixels"
    shown = f"{share:.0f}" if abs(share) >= 1 or not share else f"{share:.2g}"
    return f"{shown.replace('-', '−')} % of the score reached the pixels"
