"""Networks in float64, and the relevance that the package gives for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepvis.networks.composites import Composite
from deepvis.networks.relevance_flow import RelevanceFlow

LOW, HIGH = torch.full((1, 3, 1, 1), -2.0).double(), torch.full((1, 3, 1, 1), 2.2).double()


def relevance(module: nn.Module, x: Tensor, composite: Composite, unit: int, start: Tensor | None = None) -> Tensor:
    """The relevance of the pixels for a unit of the output; the forward values must be those of the plain network."""
    x = x.clone().requires_grad_()
    with RelevanceFlow(composite, LOW.to(x.dtype), HIGH.to(x.dtype)):
        out = module(x.clone())
    with torch.no_grad():
        assert torch.equal(out, module(x.clone()))
    if start is None:
        start = torch.zeros_like(out)
        start[:, unit] = 1
    return torch.autograd.grad(out, x, start)[0]


def seeded(make, seed: int = 0) -> nn.Module:
    """A network in float64 with biases and statistics that are not those of the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make().eval().requires_grad_(False).double()
        for child in module.modules():
            if isinstance(child, nn.BatchNorm2d):
                child.running_mean.normal_(0, 0.1)
                child.running_var.uniform_(0.5, 1.5)
                child.weight.uniform_(-0.5, 1.5)
                child.bias.normal_(0, 0.1)
    return module


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
