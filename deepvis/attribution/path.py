"""Integrated gradients: the gradient along the straight path from the mean colour to the picture.

Where the unit rises steeply, as a probability does, equal steps miss most of the rise. By the unit's value in each pass
it is known by how much; there the steps are divided further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from deepvis.attribution.averaged import at_once, begin, mean, with_pass
from deepvis.attribution.methods import Backward, Compute, PathSoFar, Progress, Question, Step
from deepvis.networks.network import Network

NEAR = 0.01  # the sum's error, as a part of the rise, at which the steps are fine enough
FINER = 4  # times as many passes at most


def integrated(passes: int) -> Compute:
    """Integrated gradients from the mean colour (0) to the input (Sundararajan et al. 2017, eq. 1 and 3).

    By completeness the values add up to f(x) − f(0); by how much they miss that is said.

    Args:
        passes: number of equal steps, a power of two; the worst of them are then divided.
    """

    def compute(network: Network, question: Question) -> Backward:
        x, done = question.x.detach(), question.so_far or _begin(question)
        if done.passes < passes:
            for number in range(done.passes, min(passes, done.passes + at_once(done))):
                done = _with_step(question, done, Step(place_on_path(number, passes), 1 / passes))
        else:
            done = _divided(question, done)
        missed = _missed(done.path)
        is_over = done.passes >= passes and (missed <= NEAR or done.passes + 3 > FINER * passes)
        covered = sum(step.width for step in done.path.steps)
        steps = len(done.path.steps)
        words = f"{steps} of {passes} steps" if done.passes < passes else f"{steps} steps"
        found = mean(done, covered, f"{words}; the sum is {100 * missed:.1f} % off", None if is_over else done)
        return replace(found, pixels=found.pixels * x)

    return compute


def place_on_path(number: int, passes: int) -> float:
    """Where on the path from 0 to the input a pass lies: the middle of one of `passes` equal steps, in an order in
    which the first passes are spread over the whole path. `passes` is a power of two."""
    bits = passes.bit_length() - 1
    return (int(format(number, f"0{bits}b")[::-1], 2) + 0.5) / passes if bits else 0.5


def _begin(question: Question) -> Progress:
    done = begin(question)
    with torch.no_grad():
        base = question.run(torch.zeros_like(question.x)).origin
    return replace(done, path=PathSoFar(float((base * done.start).sum()), done.value))


def _with_step(question: Question, done: Progress, step: Step, weight: float | None = None) -> Progress:
    """Add a step, with its width as the weight if no other is given."""
    x = question.x.detach() * step.place
    done = with_pass(question, done, x, step.width if weight is None else weight)
    known = replace(step, value=done.value, slope=done.along)
    return replace(done, path=replace(done.path, steps=(*done.path.steps, known)))


def _divided(question: Question, done: Progress) -> Progress:
    """Divide the step that misses most into three. Its own gradient was added with its whole width, and is known no
    more: it is computed again for what is too much."""
    worst = _worst(done.path)
    kept = tuple(step for step in done.path.steps if step is not worst)
    done = replace(done, path=replace(done.path, steps=kept))
    third = worst.width / 3
    for i in (-1, 0, 1):
        part = Step(worst.place + i * third, third)
        done = _with_step(question, done, part, third if i else third - worst.width)
    return done


def _worst(path: PathSoFar) -> Step:
    steps = sorted(path.steps, key=lambda step: step.place)
    errors = [abs(error) for error in errors_between(steps, path.low, path.high)]
    return steps[max(range(len(steps)), key=lambda i: errors[i] + errors[i + 1])]


def errors_between(steps: Sequence[Step], low: float, high: float) -> list[float]:
    """By how much the slopes miss the rise of the value before the first place, between the places, and after the last.

    Args:
        steps: in order; each place is the middle of its step, and together they cover the path.
        low, high: the values at the ends of the path.
    """
    values = [low, *(step.value for step in steps), high]
    halves = [0.0, *(step.slope * step.width / 2 for step in steps), 0.0]
    return [values[i + 1] - values[i] - halves[i] - halves[i + 1] for i in range(len(steps) + 1)]


def _missed(path: PathSoFar) -> float:
    """The sum's error so far, as a part of the rise; the steps there are count for the whole path."""
    rise, covered = path.high - path.low, sum(step.width for step in path.steps)
    total = sum(step.slope * step.width for step in path.steps) / covered
    return abs(total - rise) / max(abs(rise), 1e-12)
