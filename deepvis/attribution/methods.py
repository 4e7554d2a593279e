"""The backward methods. METHODS is the table of them; to add a method, add a row.

The keys, the command line, the help screen, the titles of the panes and both kinds of backward pass use this table.
Reading it does not import torch, which is imported in the first pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from deepvis.core.errors import UserError
from deepvis.core.nearest import nearest
from deepvis.networks import composites
from deepvis.networks.composites import Composite, composite_of

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
        maps: {layer: its module's output}, of the layers that `RunForward` was asked for.
    """

    origin: Tensor
    shown: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)


class RunForward(Protocol):
    """Runs the forward pass, at least up to the question's layer."""

    def __call__(self, other: Tensor | None = None, maps: Collection[str] = ()) -> Reached:
        """
        Args:
            other: another input than the question's, of the same shape.
            maps: layers whose outputs are wanted too; from them on gradients are recorded in any case.
        """


@dataclass(frozen=True)
class Step:
    """A step on the path of integrated gradients.

    Attributes:
        place: its middle, 0 to 1.
        width: of the whole path's 1.
        value, slope: of the unit there, by the place.
    """

    place: float
    width: float
    value: float = 0.0
    slope: float = 0.0


@dataclass(frozen=True)
class PathSoFar:
    """What is known of a path: the unit's values at its ends, and its steps."""

    low: float = 0.0
    high: float = 0.0
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, eq=False)
class Progress:
    """What a method of many passes has computed so far.

    Attributes:
        passes: how many passes there were.
        total, shown: the sums of the values at the input and at the other layer.
        start: what each backward pass starts with.
        path: of integrated gradients.
        value, along: the unit's value in the last pass, and its gradient there along the question's input.
    """

    passes: int
    total: Tensor
    shown: Tensor | None
    start: Tensor
    path: PathSoFar = PathSoFar()
    value: float = 0.0
    along: float = 0.0


@dataclass(frozen=True, eq=False)
class Question:
    """The input of a backward method.

    Attributes:
        x: the network's input, B×channels×H×W.
        layer, unit: the unit that the backward pass starts from.
        run: runs the forward pass, on `x` if nothing else is said. Its first call must be on `x` and in the context
            that the method needs, unless there is a `so_far`.
        start: turns `Reached.origin` into the tensor that the backward pass starts with, of the same shape.
        at: the layer that the user looks at.
        so_far: what earlier passes for the same question have computed.
    """

    x: Tensor
    layer: str
    unit: int
    run: RunForward
    start: Callable[[Tensor], Tensor]
    at: str = ""
    so_far: Progress | None = None


@dataclass(frozen=True, eq=False)
class Backward:
    """A backward method's result.

    Attributes:
        pixels: values at the input, shaped like `Question.x`.
        shown: values at the other layer, shaped like `Reached.shown`; None if there are none.
        note: what the method says of them, for the user, or why they are all 0.
        progress: given to the next call as `Question.so_far`; None if the result is finished.
    """

    pixels: Tensor
    shown: Tensor | None = None
    note: str = ""
    progress: Progress | None = None


Compute = Callable[["Network", Question], Backward]


@dataclass(frozen=True)
class Method:
    """A backward method.

    Attributes:
        name: its name in settings, on the command line and in requests.
        label: its name in the window.
        compute: runs the forward and the backward pass. No other thread uses the network meanwhile.
        in_cycle: it is in the short cycle of key b; key n goes through all methods.
        shows: how its raw image is shown: "colors", with the colours of the input's channels; "shares", one signed
            value for each pixel, the sum over the channels; "map", heat over the picture.
        passes: how many passes it takes, of which the first gives a picture. If they are many, they run at a still
            picture only.
        is_own: it comes from the user's settings.
        short: its name where there is little room, if that is not `label`.
        rules: of relevance, if it propagates relevance.
    """

    name: str
    label: str
    compute: Compute
    in_cycle: bool = True
    shows: Literal["colors", "shares", "map"] = "colors"
    passes: int = 1
    is_own: bool = False
    short: str = ""
    rules: Composite | None = None


def whole(method: Method, network: Network, question: Question, most: int = 10**6) -> Backward:
    """A method's result after all its passes, or after at least `most` of them."""
    found = method.compute(network, question)
    while found.progress is not None and found.progress.passes < most:
        found = method.compute(network, replace(question, so_far=found.progress))
    return found


def by_rule(rule: str) -> Compute:
    """A method that computes a gradient with another rule at activation functions.

    Args:
        rule: a key of `deepvis.networks.activation_rules.RULES`.
    """

    def compute(network: Network, question: Question) -> Backward:
        from deepvis.networks.activation_rules import RULES, gradients_at

        question.x.requires_grad_(True)
        with network.under(RULES[rule]):
            reached = question.run()
            found = gradients_at(question.x, reached.shown, reached.origin, question.start(reached.origin))
        return Backward(*found)

    return compute


def _from(module: str, name: str, *args: object) -> Compute:
    """A function of another module of this room, which imports torch; `args` are for a function that makes it."""

    def compute(network: Network, question: Question) -> Backward:
        found: Any = getattr(import_module(f"deepvis.attribution.{module}"), name)
        answered: Backward = (found(*args) if args else found)(network, question)
        return answered

    return compute


def by_relevance(name: str, label: str, composite: Composite, in_cycle: bool = False) -> Method:
    """A row for layer-wise relevance propagation by a composite."""
    return Method(name, label, _from("relevance", "relevance", composite), in_cycle, "shares", rules=composite)


SMOOTH_PASSES, PATH_PASSES = 50, 64

METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method("gradient", "gradient", by_rule("gradient"), short="grad"),
        Method("deconv", "deconv", by_rule("deconv")),
        Method("guided", "guided", by_rule("guided")),
        by_relevance("lrp", "LRP", composites.PLUS_FLAT, in_cycle=True),
        Method("grad-cam", "Grad-CAM", _from("class_activation", "grad_cam"), shows="map", short="CAM"),
        by_relevance("lrp-gamma", "LRP γ", composites.GAMMA),
        by_relevance("lrp-box", "LRP γ, box", composites.GAMMA_BOX),
        by_relevance("lrp-epsilon", "LRP ε", composites.EPSILON),
        by_relevance("lrp-alpha-beta", "LRP α2 β1", composites.ALPHA_BETA),
        by_relevance("lrp-spread", "LRP, biases spread", composites.CONSERVING),
        Method("grad-cam++", "Grad-CAM++", _from("class_activation", "grad_cam_plus"), False, "map"),
        Method("layer-cam", "LayerCAM", _from("class_activation", "layer_cam"), False, "map"),
        Method("hires-cam", "HiResCAM", _from("class_activation", "hires_cam"), False, "map"),
        Method("gradient-x-input", "gradient × input", _from("averaged", "gradient_times_input"), False, "shares"),
        Method("smoothgrad", "SmoothGrad", _from("averaged", "smooth", SMOOTH_PASSES), False, passes=SMOOTH_PASSES),
        Method("integrated", "integrated gradients", _from("path", "integrated", PATH_PASSES), False, "shares",
               PATH_PASSES),
    )
}  # fmt: skip


def own_problem(name: str, rules: Mapping[str, object]) -> str:
    """What is wrong with a composite of the user and its name, in words; empty if nothing is."""
    try:
        composite_of(rules)
    except UserError as error:
        return str(error)
    if name in ("off", "random") or name in METHODS and not METHODS[name].is_own:
        return "is the name of something else: choose another"
    if not re.fullmatch("[a-z0-9][a-z0-9+-]{0,39}", name):
        return "allowed as a name: up to 40 small letters, digits, + and -"
    return ""


def take_in(own: Mapping[str, Composite]) -> None:
    """Add rows for the user's composites, {name of the method: composite}; they replace earlier ones of the user."""
    for name in [name for name, row in METHODS.items() if row.is_own]:
        del METHODS[name]
    METHODS.update({name: replace(by_relevance(name, name, one), is_own=True) for name, one in own.items()})


def check_known(name: str) -> str:
    """The name of a method, as it is. Raises UserError if there is none of that name."""
    if name not in METHODS:
        near = ", ".join(nearest(name, tuple(METHODS), 1))
        hint = f" (did you mean {near}?)" if near else ""
        raise UserError(f"--back {name!r}: unknown backward method{hint}; there are {', '.join(METHODS)}")
    return name


def label(name: str) -> str:
    """A method's name in the window; a name that is not in the table (from an older store) is returned as it is."""
    return METHODS[name].label if name in METHODS else name


def shows_of(name: str | None) -> str:
    """How a method's raw image is shown (`Method.shows`); "colors" for a name that is not in the table."""
    return METHODS[name].shows if name is not None and name in METHODS else "colors"
