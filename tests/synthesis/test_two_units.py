"""Two units at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from smallnets import layer, small

from deepvis.core.errors import UserError
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.transforms import HALF, of_half
from deepvis.synthesis.two_units import Pair, between, of_both, of_pairs, parse_pairs, together


@pytest.mark.parametrize("gamma", [0.0, 0.5, 3.0])
def test_both_and_its_gradient_by_hand(gamma: float) -> None:
    values = torch.tensor([[3.0, 1.0], [1.0, 2.5]], dtype=torch.float64, requires_grad=True)
    aim = objectives.both(objectives.unit("fc", 0), objectives.unit("fc", 1), gamma)
    got = aim({"fc": values})
    np.testing.assert_allclose(got.detach(), [4 - gamma * 2, 3.5 - gamma * 1.5])
    (grad,) = torch.autograd.grad(got.sum(), values)
    np.testing.assert_allclose(grad, [[1 - gamma, 1 + gamma], [1 + gamma, 1 - gamma]])
    assert aim.layers == {"fc"}


def test_the_images_are_of_the_units_together() -> None:
    network = small()
    still = {"margin": 0, "jitter": 0, "rotate": 0, "scale_low": 1, "scale_high": 1, "views": 1, "total_variation": 0}
    fc, one = layer(network, "fc"), recipe("modern", {**still, "steps": 60})
    reached = []
    for gamma in (0.0, 2.0):
        found = list(together(network, (fc, 1), [(fc, 2), (layer(network, "conv2"), 0)], one, gamma, mixed=True))
        assert [[(of.name, unit) for of, unit in each.units] for each in found] == [
            [("fc", 2)], [("conv2", 0)], [("fc", 1), ("fc", 2)], [("fc", 1), ("conv2", 0)],
        ]  # fmt: skip
        assert all(each.image.shape == (32, 32, 3) and len(each.values) == len(each.units) for each in found)
        scores = network.module(network.see(found[2].image, crop=True))[0]
        assert found[2].values == pytest.approx([float(scores[1]), float(scores[2])], rel=1e-4)
        first, second = found[2].values
        reached.append(first + second - 2.0 * abs(first - second))
    assert reached[1] > reached[0]  # what the second one climbed


def test_pairs_as_they_are_typed() -> None:
    network = small()
    fc, conv = layer(network, "fc"), layer(network, "conv2")
    assert parse_pairs("fc:1+fc:2, fc:class-3-conv2:4", network.layers) == [
        Pair((fc, 1), (fc, 2)), Pair((fc, 3), (conv, 4), "-"),
    ]  # fmt: skip
    assert [pair.name for pair in parse_pairs("fc:class-1-fc:class-2", network.layers)] == ["fc:1-fc:2"]
    assert parse_pairs("fc:0-5,fc:class-7,conv2", network.layers) == [] == parse_pairs("", network.layers)
    with pytest.raises(UserError, match="'fc:3': expected pairs alone"):
        parse_pairs("fc:1+fc:2,fc:3", network.layers)
    with pytest.raises(UserError, match="no unit 99"):
        parse_pairs("fc:1+fc:99", network.layers)
    for twice in ("fc:1+fc:class-1", "conv2:3-conv2:3"):
        with pytest.raises(UserError, match="the same unit twice"):
            parse_pairs(twice, network.layers)


def test_images_of_both_and_of_one_without_the_other() -> None:
    network = small()
    fc, one = layer(network, "fc"), recipe("plain", {"steps": 30, "rate": 20})
    pairs = [Pair((fc, 1), (fc, 2)), Pair((fc, 1), (fc, 2), "-")]
    (_, both), (_, without) = of_pairs(network, pairs, one, 0.5, 0, 2)
    assert len(both) == len(without) == 2
    for sum_, difference in zip(both, without):
        (a, b), (c, d) = sum_.values, difference.values
        assert a + b > c + d and c - d > a - b


def test_from_one_unit_to_another() -> None:
    network = small()
    fc, one = layer(network, "fc"), recipe("plain", {"steps": 20, "rate": 20})
    first, *_, last = between(network, (fc, 1), (fc, 2), one, 3)
    assert first.values[0] > last.values[0] and last.values[1] > first.values[1]


def test_a_scene_has_the_first_on_the_left_and_the_second_on_the_right() -> None:
    network = small()
    a, b = objectives.unit("fc", [1]), objectives.unit("fc", [2])
    aim = objectives.scene(a, b, 0.5)
    assert aim.of_side(0) is aim and objectives.both(a, b).of_side(1).halves is None
    values = {"fc": torch.arange(10.0)[None]}
    assert [float(aim.of_side(side)(values)) for side in (-1, 0, 1)] == [2, 1 + 2 - 0.5, 4]
    ascent = Ascent(network, aim, [recipe("modern")], [0])
    canvas = torch.linspace(-50, 50, 40).expand(1, 3, 40, 40)  # darker on the left
    left, whole, right = (float(ascent._seen(canvas, side).mean()) for side in (-1, 0, 1))
    assert left < whole - 0.2 and whole + 0.2 < right
    sides = []
    for _ in range(4):
        sides += [ascent._side(view) for view in range(2)]
        ascent.step()
    assert sides == [0, 0, -1, 1, 0, 0, -1, 1]
    assert bool(ascent.scores.isfinite().all()) and not bool(ascent.dead.any())


def test_class_scores_are_side_by_side_and_maps_mixed() -> None:
    network = small()
    fc, conv = layer(network, "fc"), layer(network, "conv2")
    a, b = objectives.unit("fc", 1), objectives.unit("conv2", 2)
    assert of_both(a, a, (fc, fc)).halves and not of_both(a, a, (fc, fc), mixed=True).halves
    assert not of_both(a, b, (fc, conv)).halves


def test_views_of_halves() -> None:
    matrix = of_half(torch.tensor([[[1.0, 0, 3], [0, 1, -2]]]), -1, 40)
    middle, edge = matrix[0] @ torch.tensor([0.0, 0, 1]), matrix[0] @ torch.tensor([16.0, 0, 1])
    assert middle.tolist() == [3 - 10, -2] and edge.tolist() == pytest.approx([3 - 10 + 16 / HALF, -2])
