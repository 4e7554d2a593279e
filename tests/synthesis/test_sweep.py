"""Sweeps: a row for each regularizer alone, and what is left after Ctrl-C."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from smallnets import SPEC, layer, small

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.networks.network import InputSpec, Network
from deepvis.render.figures import GAP, labelled
from deepvis.synthesis import sweep as module
from deepvis.synthesis.presets import PRESETS, recipe
from deepvis.synthesis.recipe import Recipe
from deepvis.synthesis.sweep import strengths, sweep

PLAIN = recipe("plain", {"steps": 2})


def drawn(network: Network, layer: Layer, unit: int, base: Recipe, columns: int, seed: int) -> np.ndarray:
    return labelled(*sweep(network, layer, unit, base, columns, seed))


@pytest.mark.parametrize("spec", [SPEC, InputSpec(32, 32, (0.5,), (0.25,))], ids=["colour", "gray"])
@pytest.mark.parametrize("name, side", [("fc", 128), ("conv2", 130)])
def test_a_sweep_is_a_row_for_each_regularizer(name: str, side: int, spec: InputSpec) -> None:
    """An image of 32 is drawn at 4 times its size, one of 5 at 26 times, so that titles can be read."""
    network = small(spec)
    picture = drawn(network, layer(network, name), 1, PLAIN, 3, 0)
    assert picture.shape == (len(module.SWEEPS) * (side + 18 + GAP), 3 * (side + GAP), 3) and picture.dtype == np.uint8
    first = [picture[r * (side + 18 + GAP) + 18 :][:side, :side] for r in range(len(module.SWEEPS))]
    assert all(np.abs(one.astype(int) - first[0]).max() <= 1 for one in first)  # without a regularizer, all alike
    last = [
        picture[r * (side + 18 + GAP) + 18 :][:side, 2 * (side + GAP) :][:, :side] for r in range(len(module.SWEEPS))
    ]
    for one in last:
        assert np.abs(one.astype(int) - first[0]).mean() > 1


def test_a_sweep_has_one_regularizer_at_a_time() -> None:
    network = small()
    plain = drawn(network, layer(network, "fc"), 1, PLAIN, 2, 0)
    other = drawn(
        network, layer(network, "fc"), 1, replace(PLAIN, decay=0.1, blur_width=1, blur_every=1, small_norm=30), 2, 0
    )
    assert np.array_equal(plain, other)


def test_a_sweep_is_of_pixels() -> None:
    network = small()
    with pytest.raises(UserError, match="of pixels or of a code.*plain or generator"):
        drawn(network, layer(network, "fc"), 1, PRESETS["modern"], 2, 0)


def test_strengths() -> None:
    np.testing.assert_allclose(strengths(98, "linear", 5), [0, 24.5, 49, 73.5, 98])
    np.testing.assert_allclose(strengths(0.5, "geometric", 4), [0, 0.005, 0.05, 0.5])
    np.testing.assert_allclose(strengths(0.02, "falling", 4), [0, 0.02 * 10 ** (4 / 3), 0.02 * 10 ** (2 / 3), 0.02])
    assert strengths(3, "linear", 1) == [0] and strengths(3, "geometric", 2) == [0, 3]


def test_a_sweep_that_is_stopped_draws_the_rows_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Interrupted(module.Ascent):
        def step(self) -> None:
            made.append(1)
            if len(made) > 2 * PLAIN.steps:
                raise KeyboardInterrupt
            super().step()

    network = small()
    whole = drawn(network, layer(network, "fc"), 3, PLAIN, 2, 0)
    monkeypatch.setattr(module, "Ascent", Interrupted)
    part = drawn(network, layer(network, "fc"), 3, PLAIN, 2, 0)
    assert np.array_equal(part, whole[: 2 * len(whole) // len(module.SWEEPS)])
    with pytest.raises(KeyboardInterrupt):
        drawn(network, layer(network, "fc"), 3, PLAIN, 2, 0)  # nothing is done yet


def test_a_sweep_leaves_phases_out() -> None:
    """They would set the regularizers that are swept."""
    network, phased = small(), recipe("tv", {"steps": 4})
    images = sweep(network, layer(network, "fc"), 3, phased, 3, 0)[0][-1]  # of total variation
    assert (images[0] != images[1]).any() and (images[1] != images[2]).any()
    want = sweep(network, layer(network, "fc"), 3, replace(phased, phases=()), 3, 0)[0][-1]
    np.testing.assert_array_equal(images, want)


@pytest.mark.parametrize("columns", [1, 65, 100_000])
def test_a_sweep_of_too_many_columns(columns: int) -> None:
    network = small()
    with pytest.raises(UserError, match=f"--columns {columns}: expected 2 to 64"):
        sweep(network, layer(network, "fc"), 3, PLAIN, columns, 0)


def test_a_sweep_of_a_dead_unit() -> None:
    network = small()
    network.module.fc.weight.data[3] = 0
    with pytest.raises(UserError, match="fc:3: no gradient"):
        drawn(network, layer(network, "fc"), 3, PLAIN, 2, 0)
