"""Step policies: what they promise of a step must be what it brings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from smallnets import flat

from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.objectives import unit
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe
from deepvis.synthesis.steps import POLICIES, Adam

PIXELS = Recipe(parameterization="pixels", optimizer="ascent", start_noise=10, redirect=0, keep="last")


def gains(recipes: list[Recipe], steps: int) -> np.ndarray:
    """What each step brings, of a linear network, steps×B."""
    ascent = Ascent(flat(), unit("fc", 1), recipes, list(range(len(recipes))))
    scores = []
    for _ in range(steps):
        ascent.step()
        scores.append(ascent.scores.numpy())
    scores.append(ascent.final_scores().numpy())
    return np.diff(np.stack(scores), axis=0)


def test_progress_brings_what_was_asked_for() -> None:
    wanted = [0.5, 1.0, 7.0]
    got = gains([replace(PIXELS, policy="progress", progress=p) for p in wanted], 4)
    np.testing.assert_allclose(got, np.tile(wanted, (4, 1)), rtol=1e-3)


def test_progress_stops_at_the_largest_rate() -> None:
    free, bound = (replace(PIXELS, policy="progress", progress=1, max_rate=rate) for rate in (1e9, 1e-3))
    got = gains([free, bound], 1)[0]
    assert got[0] == pytest.approx(1, rel=1e-3) and 0 < got[1] < 0.5


def test_progress01_early_and_late() -> None:
    """The smaller of the two: `progress` far from 1, a fraction of what is missing near it."""
    numbers = {
        name: torch.tensor([value] * 3)
        for name, value in (("progress", 0.05), ("late_progress", 0.2), ("max_rate", 1e9))
    }
    score, grad = torch.tensor([0.0, 0.75, 0.99]), torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    eta = POLICIES["progress01"](numbers, score, grad, torch.ones(3))
    gain = eta.numpy() * (grad.numpy() ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(gain, [0.05, 0.05, 0.2 * 0.01], rtol=1e-4)


def test_constant_is_the_rate_times_the_gradient() -> None:
    """On a linear network a step of η brings η|∇|²."""
    network = flat()
    weights = network.module.fc.weight[1].detach().double().reshape(3, -1)
    scale = 1 / 255 / np.array(network.input.std)[:, None]
    square = ((weights.numpy() * scale) ** 2).sum()
    got = gains([replace(PIXELS, policy="constant", rate=rate) for rate in (100.0, 1e4)], 3)
    np.testing.assert_allclose(got, np.tile([100 * square, 1e4 * square], (3, 1)), rtol=2e-3)


def test_relative_moves_the_first_step_by_its_rate() -> None:
    ascent = Ascent(
        flat(), unit("fc", 1), [replace(PIXELS, policy="relative", rate=r, start="mean") for r in (1.0, 5.0)], [0, 1]
    )
    moved = []
    for _ in range(3):
        ascent.step()
        moved.append(ascent._parameters.values.detach().square().mean((1, 2, 3)).sqrt().numpy())
    np.testing.assert_allclose(moved, [[1, 5], [2, 10], [3, 15]], rtol=1e-5)  # linear: every gradient is like the first


def test_relative_keeps_the_first_factor() -> None:
    """Where the gradient grows, so does the step."""
    rate = POLICIES["relative"](
        {"rate": torch.tensor([3.0])}, torch.zeros(1), torch.full((1, 1, 2, 2), 50.0), torch.tensor([2.0])
    )
    assert rate.item() == 1.5


def test_adam_is_that_of_torch() -> None:
    draw = torch.Generator().manual_seed(0)
    grads = [torch.randn(2, 3, 5, generator=draw, dtype=torch.float64) * scale for scale in (1, 1e-3, 0, 50, 2, 2)]
    rates = torch.tensor([0.02, 0.5], dtype=torch.float64)
    values = torch.randn(2, 3, 5, generator=draw, dtype=torch.float64)
    adam, mine = Adam(values), values.clone()
    theirs = [values[i].clone().requires_grad_(True) for i in range(2)]
    peers = [torch.optim.Adam([theirs[i]], lr=float(rates[i]), maximize=True) for i in range(2)]
    for grad in grads:
        adam.move(mine, grad, rates)
        for i, peer in enumerate(peers):
            theirs[i].grad = grad[i].clone()
            peer.step()
    torch.testing.assert_close(mine, torch.stack([t.detach() for t in theirs]), rtol=1e-12, atol=1e-14)


def test_the_policies_are_those_of_recipes() -> None:
    for policy in POLICIES:
        assert recipe("plain", {"policy": policy}).policy == policy
