"""Fingerprints tell networks apart, and nothing but networks."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deepvis.fingerprint import fingerprint
from deepvis.network import InputSpec, prepare


def made(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 10)).eval()


def test_sixteen_hexadecimal_digits_that_stay() -> None:
    mark = fingerprint(made())
    assert len(mark) == 16 and int(mark, 16) >= 0
    assert fingerprint(made()) == mark == fingerprint(copy.deepcopy(made()))


def test_how_it_is_kept_does_not_matter() -> None:
    module = made()
    mark = fingerprint(module)
    assert fingerprint(module.to(memory_format=torch.channels_last)) == mark
    assert fingerprint(module.double()) == mark
    assert fingerprint(module.float().requires_grad_(False).train()) == mark


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_mean", "1.num_batches_tracked", "4.weight"])
def test_other_values_are_another_network(name: str) -> None:
    module = made()
    mark = fingerprint(module)
    with torch.no_grad():
        module.state_dict()[name].add_(1)
    assert fingerprint(module) != mark


def test_other_weights_shapes_and_names() -> None:
    same_values = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
    same_values[1].weight.data = same_values[0].weight.data.reshape(4, 2)
    marks = [fingerprint(one) for one in (made(), made(1), *same_values, nn.Sequential(same_values[0]))]
    assert len(set(marks)) == len(marks)


def test_kinds_of_numbers() -> None:
    """Also what is no float, no more than a number, or nothing at all."""
    module = nn.Module()
    for name, value in {"a": torch.tensor(3), "b": torch.ones(0), "c": torch.ones(2, dtype=torch.bool), "d": torch.ones(3).bfloat16()}.items():
        module.register_buffer(name, value)
    mark = fingerprint(module)
    module.a += 1
    assert fingerprint(module) != mark


def test_another_scaling_of_the_input_is_another_network() -> None:
    usual = InputSpec(32, 32)
    others = [
        replace(usual, mean=(0.5, 0.5, 0.5)), replace(usual, std=(1.0, 1.0, 1.0)), replace(usual, range=255), replace(usual, order="bgr"),
        replace(usual, bands=(2, 1, 0)), replace(usual, mean_image=np.zeros((32, 32, 3), np.float32)),
        replace(usual, mean_image=np.ones((32, 32, 3), np.float32)),
    ]  # fmt: skip
    marks = {prepare("net", made(), spec, None).fingerprint for spec in (usual, *others)}
    assert len(marks) == 8 - 1  # blue first is the same as bands that say so
    assert prepare("net", made(), InputSpec(32, 32), None).fingerprint == prepare("other", made(), usual, None).fingerprint
