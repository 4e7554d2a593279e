"""The backward methods: METHODS is the one table of them, and adding one is adding a row.

The keys, the command line, the help screen, the titles of the panes and both kinds of backward pass go by it. It is
read without torch, which is imported with the first pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from deepvis.networks.network import Network


@dataclass(frozen=True, eq=False)
class Reached:
    """What the forward pass has come to.

    Attributes:
        origin: the units of the layer that the backward pass starts from, B×C×H×W or B×N, differentiable.
        shown: the output of another layer whose backward values are asked for too; None if none are, or if no
            gradient flows from it to the origin.
    """

    origin: Tensor
    shown: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """What a method is asked.

    Attributes:
        x: the network's input, B×channels×H×W.
        layer, unit: the unit from which the backward pass starts.
        run: runs the network forward on `x`, at least as far as `layer`. To be called once, in the context that the
            method needs.
        start: what that unit sends back: from `Reached.origin` to a tensor of the same shape.
    """

    x: Tensor
    layer: str
    unit: int
    run: Callable[[], Reached]
    start: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Backward:
    """A method's answer: values like `Question.x`, and like `Reached.shown` (None if nothing arrives there)."""

    pixels: Tensor
    shown: Tensor | None = None


Compute = Callable[["Network", Question], Backward]


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        name: what the settings, the command line and the requests call it.
        label: what the window calls it.
        compute: its passes, forward and backward. No other thread uses the network meanwhile.
        in_cycle: it is in the short cycle of the key b; the key n goes through all methods.
    """

    name: str
    label: str
    compute: Compute
    in_cycle: bool = True


def by_rule(rule: str) -> Compute:
    """A method that is a gradient in which activation functions have another backward.

    Args:
        rule: a key of `deepvis.networks.activation_rules.RULES`.
    """

    def compute(network: Network, question: Question) -> Backward:
        import torch

        from deepvis.networks.activation_rules import RULES, gradients

        question.x.requires_grad_(True)
        with network.under(RULES[rule]):
            reached = question.run()
            inputs = [question.x] if reached.shown is None else [question.x, reached.shown]
            pixels, *shown = gradients(reached.origin, inputs, question.start(reached.origin))
        return Backward(torch.zeros_like(question.x) if pixels is None else pixels, *shown)

    return compute


METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method("gradient", "gradient", by_rule("gradient")),
        Method("deconv", "deconv", by_rule("deconv")),
        Method("guided", "guided", by_rule("guided")),
    )
}


def label(name: str) -> str:
    """What the window calls a method; a name that is not in the table, as of an older store, stays as it is."""
    return METHODS[name].label if name in METHODS else name
