"""Layer-wise relevance propagation (Bach et al. 2015) as a backward method."""

from __future__ import annotations

import torch
from torch import Tensor

from deepvis.attribution.methods import Backward, Compute, Question
from deepvis.networks.activation_rules import gradients_at
from deepvis.networks.composites import Composite
from deepvis.networks.network import Network
from deepvis.networks.relevance_flow import RelevanceFlow
from deepvis.networks.relevance_sharing import keeping_copies

NOTHING_ARRIVES = "no relevance arrives at the pixels: it ends at inactive units, at detached code, or in ε and biases"


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
    start = question.start(reached.origin)
    start = torch.where(reached.origin.detach() < 0, -start, start)
    pixels, shown = gradients_at(question.x, reached.shown, reached.origin, start)
    note = share_words(float(pixels.sum()), float(start.sum())) if pixels.any() else NOTHING_ARRIVES
    return Backward(pixels, shown, note)


def _range(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest values that pixels can have at the network's input, 1×channels×1×1."""
    spec = network.input
    mean, std = (torch.tensor(values, dtype=x.dtype, device=x.device)[None, :, None, None] for values in
                 (spec.mean, spec.std))  # fmt: skip
    return -mean / std, (spec.range - mean) / std


def share_words(reached: float, started: float) -> str:
    """How much of the relevance has reached the pixels, in words; a network's biases keep what they have added."""
    share = 100 * reached / started if started else 0.0
    if not abs(share) < 1e6:
        return "relevance grew without bounds on the way to the pixels"
    shown = f"{share:.0f}" if abs(share) >= 1 or not share else f"{share:.2g}"
    return f"{shown.replace('-', '−')} % from pixels, the rest from biases"
