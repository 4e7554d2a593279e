"""Composites of layer-wise relevance propagation: which rule stands at which kind of layer.

Plain data without torch; `deepvis.networks.relevance_rules` holds the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from deepvis.core.errors import UserError

RULES: Mapping[str, int] = {"epsilon": 1, "zplus": 0, "gamma": 1, "alpha-beta": 2, "flat": 0, "box": 0}
"""The names of the layers' rules, and how many numbers follow each (ε; γ; α and β)."""
BIASES = ("absorb", "spread")
SUMS = ("signed", "sizes")


@dataclass(frozen=True)
class Composite:
    """A rule for each kind and place of layer, as text: a name of RULES and its numbers ("gamma 0.25").

    Attributes:
        first: layers that take the pixels.
        convolution: other convolutions.
        tokens: other linear layers that take several tokens or places.
        linear: other linear layers.
        biases: "absorb": a bias keeps its share of the relevance; "spread": its share is spread evenly over the
            layer's inputs.
        sums: how a + b shares relevance: "signed", by a/(a + b) and b/(a + b); "sizes", by |a| and |b|, which cannot
            explode where a + b is almost 0.
    """

    first: str
    convolution: str
    tokens: str = "epsilon 1e-6"
    linear: str = "epsilon 1e-6"
    biases: str = BIASES[0]
    sums: str = SUMS[0]


PLUS_FLAT = Composite("flat", "zplus")
GAMMA_BOX = Composite("box", "gamma 0.25")
EPSILON = Composite("epsilon 0.25", "epsilon 0.25", "epsilon 0.25", "epsilon 0.25")
GAMMA = Composite("gamma 0.1", "gamma 0.1", "gamma 0.05")
ALPHA_BETA = Composite("flat", "alpha-beta 2 1")
CONSERVING = Composite("flat", "zplus", biases="spread", sums="sizes")


def parsed(rule: str) -> tuple[str, tuple[float, ...]]:
    """The name and the numbers of a rule.

    Raises:
        UserError: it is none.
    """
    name, *words = rule.split() or [""]
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        numbers = (-1.0,)
    if name not in RULES or len(numbers) != RULES[name] or any(not 0 <= number < 1e6 for number in numbers):
        known = ", ".join(" ".join([known, *"NM"[:count]]) for known, count in RULES.items())
        raise UserError(f"rule {rule!r}: expected one of {known}, with numbers from 0")
    if name == "alpha-beta" and abs(numbers[0] - numbers[1] - 1) > 1e-9:
        raise UserError(f"rule {rule!r}: expected two numbers whose difference is 1, such as alpha-beta 2 1")
    return name, numbers


def composite_of(values: Mapping[str, object]) -> Composite:
    """The composite that a mapping of attributes (of `Composite`) to texts describes.

    Raises:
        UserError: an unknown attribute, a missing one, or a value that is not allowed.
    """
    known = [one.name for one in fields(Composite)]
    for name, value in values.items():
        if name not in known:
            raise UserError(f"unknown part {name!r} of a composite; expected {', '.join(known)}")
        allowed = {"biases": BIASES, "sums": SUMS}.get(name)
        if allowed and value not in allowed:
            raise UserError(f"{name}: {value!r}: expected {' or '.join(allowed)}")
        if not allowed:
            parsed(str(value))
    missing = [name for name in ("first", "convolution") if name not in values]
    if missing:
        raise UserError(f"a composite needs a rule for {' and '.join(missing)}")
    return Composite(**{name: str(value) for name, value in values.items()})
