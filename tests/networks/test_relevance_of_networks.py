"""Relevance on whole networks with random weights: against a slow implementation by definition, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import timm
import torch
from relevances import noise, relevance, seeded
from slow_relevance import SlowRelevance
from torch import nn
from torchvision import models

from deepvis.networks import composites
from deepvis.networks.composites import Composite

EVERYWHERE = Composite("epsilon 1e-6", "epsilon 1e-6")
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "Lite0": (lambda: timm.create_model("efficientnet_lite0", num_classes=5), 32),
    "MobileNetV2": (lambda: models.mobilenet_v2(width_mult=0.1, num_classes=5), 32),
    "DenseNet": (lambda: models.DenseNet(8, (2, 3, 2), 16, num_classes=5), 32),
    "ConvNeXt": (lambda: _convnext(), 32),
    "ViT": (lambda: models.VisionTransformer(32, 8, 2, 3, 12, 24, num_classes=5), 32),
}


def _convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)], num_classes=5)


def made(name: str) -> tuple[nn.Module, int]:
    make, side = NETWORKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = seeded(make)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for tensor in module.parameters():
            if not tensor.any() or float(tensor.abs().max()) < 1e-4:  # heads, tokens and scales that start at 0
                tensor.normal_(0, 0.3)
    return module, side


CASES = [(name, composites.PLUS_FLAT) for name in NETWORKS]
CASES += [(name, EVERYWHERE) for name in ("DenseNet", "ConvNeXt", "ViT")]


@pytest.mark.parametrize(("name", "composite"), CASES)
def test_relevance_of_whole_networks_by_definition(name: str, composite: Composite) -> None:
    module, side = made(name)
    x = noise(1, 3, side, side)
    with torch.no_grad():
        unit = int(module(x)[0].abs().argmax())
    got = relevance(module, x, composite, unit)
    want = SlowRelevance(module, composite is composites.PLUS_FLAT)(x, unit)
    assert want.isfinite().all() and want.any()
    assert float((got - want).abs().max()) <= 1e-8 * float(want.abs().max())


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet"])
def test_without_biases_the_relevance_of_whole_networks_is_conserved(name: str) -> None:
    """Up to the stabilizer, and to outputs without any positive part. (Attention and LayerNorm promise less.)"""
    module, side = made(name)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.zero_()
            child.running_var.fill_(0.02)
            child.weight.abs_()
        if getattr(child, "bias", None) is not None:
            child.bias.zero_()
    x = noise(1, 3, side, side)
    with torch.no_grad():
        unit = int(module(x)[0].abs().argmax())
    assert abs(float(relevance(module, x, composites.PLUS_FLAT, unit).sum()) - 1) < 0.02
