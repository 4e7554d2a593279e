"""Backward methods that multiply gradients by the input, or average them over noisy copies of it."""

from __future__ import annotations

import torch
from torch import Tensor

from deepvis.attribution.methods import Backward, Compute, Progress, Question
from deepvis.networks.activation_rules import gradients_at
from deepvis.networks.network import Network

AT_ONCE = 2  # passes for one picture after the first
NOISE = 0.15  # SmoothGrad's standard deviation, as a part of the input's range (Smilkov et al. 2017, section 3.2)


def gradient_times_input(network: Network, question: Question) -> Backward:
    """x · ∂f/∂x, each pixel's part of the unit's value to first order (Shrikumar et al. 2016)."""
    question.x.requires_grad_(True)
    reached = question.run()
    start = question.start(reached.origin)
    pixels, shown = gradients_at(question.x, reached.shown, reached.origin, start)
    return Backward(pixels * question.x.detach(), shown)


def smooth(passes: int) -> Compute:
    """SmoothGrad: the mean gradient over noisy copies of the input (Smilkov et al. 2017)."""

    def compute(network: Network, question: Question) -> Backward:
        x, done = question.x.detach(), question.so_far or begin(question)
        spread = NOISE * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        for number in range(done.passes, min(passes, done.passes + at_once(done))):
            done = with_pass(question, done, x + spread * noise(number, x))
        more = done if done.passes < passes else None
        return mean(done, done.passes, f"{done.passes} of {passes} noisy copies", more)

    return compute


def noise(number: int, like: Tensor) -> Tensor:
    """The noise of a pass, standard normal, 1×channels×H×W; the same at every call."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn((1, *like.shape[1:]), generator=generator).to(like.device, like.dtype)


def begin(question: Question) -> Progress:
    """Run the network on the input itself, before the first pass."""
    with torch.no_grad():
        origin = question.run().origin
    start = question.start(origin)
    return Progress(0, torch.zeros_like(question.x), None, start, value=float((origin * start).sum()))


def at_once(done: Progress) -> int:
    """How many passes come next: a single one at first, so that there is a picture at once."""
    return AT_ONCE if done.passes else 1


def with_pass(question: Question, done: Progress, x: Tensor, weight: float = 1.0) -> Progress:
    """Add the gradient at another input, times a weight; `value` and `along` become those at that input."""
    x = x.detach().requires_grad_(True)
    reached = question.run(x)
    start = done.start.to(reached.origin.device, reached.origin.dtype)
    slope, shown = gradients_at(x, reached.shown, reached.origin, start)
    along = float((slope * question.x.detach()).sum())
    total, value = done.total.to(x.device) + weight * slope, float((reached.origin.detach() * start).sum())
    return Progress(done.passes + 1, total, _plus(done.shown, shown, weight), start, done.path, value, along)


def _plus(total: Tensor | None, more: Tensor | None, weight: float) -> Tensor | None:
    if more is None:
        return total
    return weight * more if total is None else total.to(more.device) + weight * more


def mean(done: Progress, weights: float, note: str, more: Progress | None) -> Backward:
    """What was added up, divided by the sum of its weights.

    Args:
        more: what the next call goes on from; None if the result is finished.
    """
    return Backward(done.total / weights, None if done.shown is None else done.shown / weights, note, more)
