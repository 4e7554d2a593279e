"""Objectives against numpy on random activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from deepvis.synthesis import objectives as o

BATCH, UNITS = 3, 5
DRAW = torch.Generator().manual_seed(0)
ACTIVATIONS = {
    "map": torch.randn(BATCH, UNITS, 4, 6, generator=DRAW, dtype=torch.float64),
    "wide": torch.randn(BATCH, 2, 7, 7, generator=DRAW, dtype=torch.float64),
    "vector": torch.randn(BATCH, UNITS, generator=DRAW, dtype=torch.float64),
}
MAP, WIDE, VECTOR = (ACTIVATIONS[name].numpy() for name in ("map", "wide", "vector"))
EACH = [4, 0, 2]


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def diversity(x: np.ndarray) -> np.ndarray:
    grams = []
    for one in x.reshape(len(x), x.shape[1], -1):
        grams.append(np.array([[np.dot(one[i], one[j]) for j in range(len(one))] for i in range(len(one))]).flatten())
    cosine = [[np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for b in grams] for a in grams]
    return np.array([-np.mean([cosine[i][j] for j in range(len(x)) if j != i]) for i in range(len(x))])


DIRECTION = np.linspace(-1, 1, UNITS)
CASES: dict[str, tuple[o.Objective, np.ndarray]] = {
    "unit in the middle": (o.unit("map", 2), MAP[:, 2, 2, 3]),
    "unit at a place": (o.unit("map", 1, (0, 5)), MAP[:, 1, 0, 5]),
    "unit at the first place": (o.unit("map", 1, (0, 0)), MAP[:, 1, 0, 0]),
    "unit of a vector": (o.unit("vector", 3), VECTOR[:, 3]),
    "units for each": (o.unit("map", EACH, (3, 1)), np.array([MAP[i, u, 3, 1] for i, u in enumerate(EACH)])),
    "units of a vector": (o.unit("vector", EACH), np.array([VECTOR[i, u] for i, u in enumerate(EACH)])),
    "channel": (o.channel("map", 2), MAP[:, 2].mean((1, 2))),
    "channels": (o.channel("map", EACH), np.array([MAP[i, u].mean() for i, u in enumerate(EACH)])),
    "channel of a vector": (o.channel("vector", EACH), np.array([VECTOR[i, u] for i, u in enumerate(EACH)])),
    "probability": (o.probability("vector", EACH), np.array([softmax(VECTOR)[i, u] for i, u in enumerate(EACH)])),
    "log_probability": (o.log_probability("vector", 1), np.log(softmax(VECTOR)[:, 1])),
    "direction": (o.direction("map", torch.tensor(DIRECTION)), np.einsum("bcij,c->bij", MAP, DIRECTION).mean((1, 2))),
    "direction of a vector": (o.direction("vector", torch.tensor(DIRECTION)), VECTOR @ DIRECTION),
    "whole_layer": (o.whole_layer("map"), (MAP**2).mean((1, 2, 3)) / 2),
    "diversity": (o.diversity("map"), diversity(MAP)),
    "diversity of a vector": (o.diversity("vector"), diversity(VECTOR)),
    "sum": (o.unit("map", 2) + o.channel("wide", 1), MAP[:, 2, 2, 3] + WIDE[:, 1].mean((1, 2))),
    "difference": (o.channel("map", 0) - o.unit("vector", 3), MAP[:, 0].mean((1, 2)) - VECTOR[:, 3]),
    "scaled": (2.5 * o.unit("vector", 0) * -2, VECTOR[:, 0] * -5),
    "negative": (-o.unit("vector", EACH), -np.array([VECTOR[i, u] for i, u in enumerate(EACH)])),
    "all at once": (
        3 * (o.unit("map", 0) - o.whole_layer("wide")) + 0.5 * o.diversity("map"),
        3 * (MAP[:, 0, 2, 3] - (WIDE**2).mean((1, 2, 3)) / 2) + 0.5 * diversity(MAP),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_as_numpy(case: str) -> None:
    objective, want = CASES[case]
    got = objective(ACTIVATIONS)
    assert got.shape == (BATCH,)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_gradients(case: str) -> None:
    objective = CASES[case][0]
    names = sorted(objective.layers)
    inputs = tuple(ACTIVATIONS[name].clone().requires_grad_(True) for name in names)

    def value(*tensors: torch.Tensor) -> torch.Tensor:
        return objective(dict(zip(names, tensors)))

    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


def test_layers_that_are_read() -> None:
    assert CASES["all at once"][0].layers == {"map", "wide"}
    assert (o.unit("a", 1) - o.unit("b", 1)).layers == {"a", "b"} and (-o.unit("a", 1) * 2).layers == {"a"}


def test_a_batch_of_one_has_no_diversity() -> None:
    assert o.diversity("map")({"map": ACTIVATIONS["map"][:1]}).tolist() == [0]


@pytest.mark.parametrize("make", [lambda: o.unit("vector", [1, 2]), lambda: o.channel("map", [1, 2, 3, 4])])
def test_a_unit_for_each_image_or_one_for_all(make: Callable[[], o.Objective]) -> None:
    with pytest.raises(IndexError):
        make()(ACTIVATIONS)
