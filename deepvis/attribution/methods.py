"""The backward methods. METHODS is the table of them; to add a method, add a row.

The keys, the command line, the help screen, the titles of the panes and both kinds of backward pass use this table.
Reading it does not import torch, which is imported in the first pass.
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
    """The layers' outputs in the forward pass that a backward method needs.

    Attributes:
        origin: the units of the layer that the backward pass starts from, B×C×H×W or B×N, differentiable.
        shown: the output of another layer whose backward values are asked for too; None if there is no such layer, or
            the origin does not depend on it.
    """

    origin: Tensor
    shown: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """The input of a backward method.

    Attributes:
        x: the network's input, B×channels×H×W.
        layer, unit: the unit that the backward pass starts from.
        run: runs the forward pass on `x`, at least up to `layer`. Call it once, in the context that the method needs.
        start: turns `Reached.origin` into the tensor that the backward pass starts with, of the same shape.
    """

    x: Tensor
    layer: str
    unit: int
    run: Callable[[], Reached]
    start: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Backward:
    """A backward method's result.

    Attributes:
        pixels: values at the input, shaped like `Question.x`.
        shown: values at the other layer, shaped like `Reached.shown`; None if there are none.
    """

    pixels: Tensor
    shown: Tensor | None = None


Compute = Callable[["Network", Question], Backward]


@dataclass(frozen=True)
class Method:
    """A backward method.

    Attributes:
        name: its name in settings, on the command line and in requests.
        label: its name in the window.
        compute: runs the forward and the backward pass. No other thread uses the network meanwhile.
        in_cycle: it is in the short cycle of key b; key n goes through all methods.
    """

    name: str
    label: str
    compute: Compute
    in_cycle: bool = True


def by_rule(rule: str) -> Compute:
    """A method that computes a gradient with another rule at activation functions.

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
    """A method's name in the window; a name that is not in the table (from an older store) is returned as it is."""
    return METHODS[name].label if name in METHODS else name
