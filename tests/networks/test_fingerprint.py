"""Fingerprints tell networks apart, and nothing but networks."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.marks import same_network
from deepvis.networks.fingerprint import fingerprint
from deepvis.networks.network import InputSpec, prepare
from deepvis.scan import index_file
from deepvis.store.unit_images import open_store


def made(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 10)
        ).eval()


def test_hexadecimal_digits_that_stay() -> None:
    mark = fingerprint(made())
    assert len(mark) == 32 and int(mark, 16) >= 0
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


@pytest.mark.parametrize("place", [0, 1, 4, -1])
def test_one_other_value_anywhere_is_another_network(place: int) -> None:
    """Also in a tensor of more values than former marks read, whose 3×3 kernels they met at one and the same tap."""
    module = nn.Conv2d(64, 128, 3)
    mark = fingerprint(module)
    with torch.no_grad():
        module.weight.flatten()[place] += 1e-3
    assert fingerprint(module) != mark


@pytest.mark.parametrize("tap", range(9))
def test_a_tap_of_all_kernels(tap: int) -> None:
    module = nn.Conv2d(64, 128, 3)
    mark = fingerprint(module)
    with torch.no_grad():
        module.weight.flatten(2)[..., tap] = 0
    assert fingerprint(module) != mark


def test_large_whole_numbers() -> None:
    """Two that are one number as float32."""
    module = nn.Module()
    module.register_buffer("a", torch.tensor(2**24))
    mark = fingerprint(module)
    module.a += 1
    assert fingerprint(module) != mark


def naive(module: nn.Module) -> str:
    """The former mark, written out as it was made."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in module.state_dict().items():
        values = tensor.detach().flatten()
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values[:: max(1, values.numel() // 4096)].float().numpy().tobytes())
    return digest.hexdigest()


def test_stores_of_earlier_versions_are_known() -> None:
    mark, other = fingerprint(made()), fingerprint(made(1))
    assert mark.former == naive(made()) and len(mark.former) == 16
    for one in (mark, pickle.loads(pickle.dumps(mark)), copy.deepcopy(mark)):
        assert same_network(one, mark.former) and same_network(mark.former, one) and same_network(one, str(mark))
        assert (
            not same_network(one, other.former)
            and not same_network(one, other)
            and not same_network(str(one), mark.former)
        )


def test_a_store_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its images are shown, and it gets the present mark when something is added."""
    mark, images = fingerprint(made()), np.zeros((1, 8, 8, 3), np.uint8)
    for key, unit in ((mark.former, 0), (mark, 1)):
        store = open_store(tmp_path, key, "net")
        store.add("conv", unit, images, {"scores": [1.0]}, "a")
        store.finish()
    assert open_store(tmp_path, str(mark)).records.keys() == {("conv", 0), ("conv", 1)}
    with pytest.raises(UserError, match="another network"):
        open_store(tmp_path, fingerprint(made(1)))


def test_what_comes_with_the_program_has_the_present_mark() -> None:
    """Nobody's weights are needed to see that: a present mark is longer than a former one."""
    bundled = paths.precomputed().bundled / "efficientnet-lite0"
    marks = {
        index_file.load(bundled / "bundled" / "index.npz").fingerprint,
        json.loads((bundled / "synthesized" / "manifest.json").read_text())["fingerprint"],
    }
    assert len(marks) == 1 and len(marks.pop()) == 32


def test_other_weights_shapes_and_names() -> None:
    same_values = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
    same_values[1].weight.data = same_values[0].weight.data.reshape(4, 2)
    marks = [fingerprint(one) for one in (made(), made(1), *same_values, nn.Sequential(same_values[0]))]
    assert len(set(marks)) == len(marks)


def test_kinds_of_numbers() -> None:
    """Also what is no float, no more than a number, or nothing at all."""
    module = nn.Module()
    for name, value in {
        "a": torch.tensor(3),
        "b": torch.ones(0),
        "c": torch.ones(2, dtype=torch.bool),
        "d": torch.ones(3).bfloat16(),
    }.items():
        module.register_buffer(name, value)
    mark = fingerprint(module)
    module.a += 1
    assert fingerprint(module) != mark


def test_another_scaling_of_the_input_is_another_network() -> None:
    usual = InputSpec(32, 32)
    others = [
        replace(usual, mean=(0.5, 0.5, 0.5)),
        replace(usual, std=(1.0, 1.0, 1.0)),
        replace(usual, range=255),
        replace(usual, order="bgr"),
        replace(usual, bands=(2, 1, 0)),
        replace(usual, mean_image=np.zeros((32, 32, 3), np.float32)),
        replace(usual, mean_image=np.ones((32, 32, 3), np.float32)),
    ]
    marks = {prepare("net", made(), spec, None).fingerprint for spec in (usual, *others)}
    assert len(marks) == 8 - 1  # blue first is the same as bands that say so
    assert (
        prepare("net", made(), InputSpec(32, 32), None).fingerprint == prepare("other", made(), usual, None).fingerprint
    )
