"""Class activation maps: where a layer's maps speak for a unit behind them, spread over the picture.

Each method gets the maps A (B×C×H×W) of a layer and the gradient G of the unit at them, and returns B×H×W.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.attribution.methods import Backward, Question
from deepvis.networks.network import Network

TRIED = 8  # the layers before a unit that are looked at for maps through which it can be reached


def grad_cam(network: Network, question: Question) -> Backward:
    """(Σ_c mean(G_c) A_c)⁺ (Selvaraju et al. 2017, eq. 1 and 2)."""
    return _on_maps(network, question, lambda a, g: (g.mean((2, 3), keepdim=True) * a).sum(1).clamp(min=0))


def grad_cam_plus(network: Network, question: Question) -> Backward:
    """Grad-CAM with a mean of G⁺ weighted by G² / (2 G² + G³ ΣA) (Chattopadhyay et al. 2018, eq. 19)."""

    def weigh(a: Tensor, g: Tensor) -> Tensor:
        below = 2 * g**2 + a.clamp(min=0).sum((2, 3), keepdim=True) * g**3  # never 0 where g is positive
        alpha = torch.where(below != 0, g**2 / below, torch.zeros_like(g))
        weights = (alpha * g.clamp(min=0)).sum((2, 3), keepdim=True)
        return (weights * a).sum(1).clamp(min=0)

    return _on_maps(network, question, weigh)


def layer_cam(network: Network, question: Question) -> Backward:
    """(Σ_c G_c⁺ A_c)⁺ (Jiang et al. 2021, eq. 6): each place by itself, so that it is sharp at early layers too."""
    return _on_maps(network, question, lambda a, g: (g.clamp(min=0) * a).sum(1).clamp(min=0))


def hires_cam(network: Network, question: Question) -> Backward:
    """(Σ_c G_c A_c)⁺ (Draelos & Carin 2020): exact if only one linear layer lies behind the maps."""
    return _on_maps(network, question, lambda a, g: (g * a).sum(1).clamp(min=0))


def _on_maps(network: Network, question: Question, weigh: Callable[[Tensor, Tensor], Tensor]) -> Backward:
    nothing = torch.zeros_like(question.x)
    names = earlier_maps(network, question.layer, question.at)
    reached = question.run(maps=names)
    there = [name for name in names if name in reached.maps]
    if not there:
        return Backward(nothing, note=f"no layer before {question.layer} has maps on which to show its parts")
    start = question.start(reached.origin)
    shown = None if reached.shown is None else _gradient(reached.origin, reached.shown, start)
    for name in reversed(there):  # one after the other: the last ones cost least, and mostly are enough
        slope = _gradient(reached.origin, reached.maps[name], start)
        g = None if slope is None else network.units(name, slope)
        if g is None or not bool(g.any()):
            continue  # beside the way to the unit, or tokens that only the class token looks at
        values = weigh(network.units(name, reached.maps[name].detach()), g)
        pixels = F.interpolate(values[:, None].to(nothing.dtype), nothing.shape[2:], mode="bilinear")
        speaks = "from" if bool(values.any()) else f"nothing speaks for {question.layer}:{question.unit} in"
        return Backward(pixels.expand_as(nothing), shown, note=f"{speaks} the maps of {name}")
    words = f"nothing flows back from {question.layer} to the maps of {' or '.join(there)}"
    return Backward(nothing, shown, note=words)


def _gradient(sent: Tensor, at: Tensor, start: Tensor) -> Tensor | None:
    """The gradient of `sent`, weighted by `start`; None if it does not depend on `at`. It can be asked for again."""
    if not sent.requires_grad:
        return None
    return torch.autograd.grad(sent, at, start, retain_graph=True, allow_unused=True)[0]


def earlier_maps(network: Network, origin: str, at: str = "") -> list[str]:
    """The layers on which a unit of the layer `origin` may be shown: `at`, if it has maps and lies before it, or else
    the last ones with maps before it."""
    until = [layer.name for layer in network.layers].index(origin)
    before = [layer.name for layer in network.layers[:until] if layer.is_map and layer.kind != "Attention"]
    return [at] if at in before else before[-TRIED:]
