"""Phases of gradient ascent: parts of a run in which a recipe's numbers are others. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OBJECTIVES = ("score", "probability")
AS_BEFORE = ""  # a phase's parameterization: that of the phase before
GOES_ON_AS = (AS_BEFORE, "fourier")


@dataclass(frozen=True)
class Phase:
    """A part of the run.

    Attributes:
        steps: its length, relative to that of the other phases.
        grow: the factor by which the canvas is enlarged when the phase begins.
        objective: "score" is the objective that is asked for; "probability" is the class's softmax probability, for
            layers of class scores (other layers keep their objective).
        numbers: (parameter of the recipe, its value at the beginning, its value at the end), for each parameter that
            is another than the recipe's. In between it changes by equal amounts.
        parameterization: "fourier": the image so far goes on as Fourier coefficients, so that an image that began
            through a learned prior gets the fine detail that the prior lacks; empty: as before.
    """

    steps: int
    grow: float = 1.0
    objective: str = OBJECTIVES[0]
    numbers: tuple[tuple[str, float, float], ...] = ()
    parameterization: str = AS_BEFORE

    def at(self, share: float) -> dict[str, float]:
        """The phase's own numbers after this share (0 to 1) of its steps."""
        return {name: first + (last - first) * share for name, first, last in self.numbers}


@dataclass(frozen=True)
class Moment:
    """Where a step lies in the phases: the number of its phase, and the share of that phase's steps before it."""

    phase: int
    share: float


def moment(phases: Sequence[Phase], steps: int, count: int) -> Moment:
    """The moment of step `count` (from 0) in a run of so many steps, whatever the sum of the phases' own.

    The first step of a phase has its first numbers, the last step its last ones. Later steps than the run's belong to
    the end.
    """
    total, before = sum(phase.steps for phase in phases), 0
    for number, phase in enumerate(phases):
        begin = round(steps * before / total)
        before += phase.steps
        end = round(steps * before / total)
        if count < end:
            return Moment(number, (count - begin) / max(1, end - begin - 1))
    return Moment(len(phases) - 1, 1.0)


def growth(phases: Sequence[Phase], number: int) -> float:
    """How much larger the canvas is in that phase than at the start."""
    factor = 1.0
    for phase in phases[: number + 1]:
        factor *= phase.grow
    return factor
