"""Backward methods that multiply gradients by the input, or average them over many inputs."""

from __future__ import annotations

from collections.abc import Callable

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
        x = question.x.detach()
        spread = NOISE * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        done = _go_on(question, passes, lambda number: x + spread * noise(number, x))
        return _mean(done, passes, lambda mean: mean, f"{done.passes} of {passes} noisy copies")

    return compute


def noise(number: int, like: Tensor) -> Tensor:
    """The noise of a pass, standard normal, 1×channels×H×W; the same at every call."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn((1, *like.shape[1:]), generator=generator).to(like.device, like.dtype)


def integrated(passes: int) -> Compute:
    """Integrated gradients from the mean colour (0) to the input (Sundararajan et al. 2017, eq. 1 and 3).

    The sum's error is given: by completeness the values add up to f(x) − f(0).
    """

    def compute(network: Network, question: Question) -> Backward:
        x = question.x.detach()
        done = _go_on(question, passes, lambda number: x * place_on_path(number, passes))
        wanted = done.ends[0] - done.ends[1]
        error = abs(float((done.total / done.passes * x).sum()) - wanted) / max(abs(wanted), 1e-12)
        words = f"{done.passes} of {passes} steps; the sum is {100 * error:.1f} % off"
        return _mean(done, passes, lambda mean: mean * x, words)

    return compute


def place_on_path(number: int, passes: int) -> float:
    """Where on the path from 0 to the input a pass lies: the middle of one of `passes` equal steps, in an order in
    which the first passes are spread over the whole path. `passes` is a power of two."""
    bits = passes.bit_length() - 1
    return (int(format(number, f"0{bits}b")[::-1], 2) + 0.5) / passes if bits else 0.5


def _go_on(question: Question, passes: int, sample: Callable[[int], Tensor]) -> Progress:
    """Do some more passes on `sample(number)`; the first call also runs the network on the input itself."""
    done = question.so_far or _begin(question)
    for number in range(done.passes, min(passes, done.passes + (AT_ONCE if done.passes else 1))):
        x = sample(number).detach().requires_grad_(True)
        reached = question.run(x)
        start = done.start.to(reached.origin.device, reached.origin.dtype)
        slope, shown = gradients_at(x, reached.shown, reached.origin, start)
        total = done.total.to(x.device) + slope
        done = Progress(number + 1, total, _plus(done.shown, shown), done.start, done.ends)
    return done


def _begin(question: Question) -> Progress:
    with torch.no_grad():
        origin = question.run().origin
        start = question.start(origin)
        base = question.run(torch.zeros_like(question.x)).origin
    ends = float((origin * start).sum()), float((base * start).sum())
    return Progress(0, torch.zeros_like(question.x), None, start, ends)


def _plus(total: Tensor | None, more: Tensor | None) -> Tensor | None:
    return more if total is None or more is None else total.to(more.device) + more


def _mean(done: Progress, passes: int, finish: Callable[[Tensor], Tensor], note: str) -> Backward:
    shown = None if done.shown is None else done.shown / done.passes
    return Backward(finish(done.total / done.passes), shown, note, None if done.passes >= passes else done)
