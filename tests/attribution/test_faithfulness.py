"""Deletion and insertion against a plain loop; the randomised-weights check; what is said of a method that fails."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from smallnets import small
from torch import nn

from deepvis.attribution import faithfulness
from deepvis.attribution.faithfulness import (
    STEPS,
    Measurement,
    Score,
    as_probabilities,
    block_means,
    class_layer,
    curves,
    randomised,
    rank_correlation,
)
from deepvis.cli.faithfulness import table
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.store.doubts import read_doubts, write_doubts


@pytest.fixture(scope="module")
def net() -> Network:
    return small()


def frame(seed: int) -> Frame:
    rng = np.random.default_rng(seed)
    return Frame(cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (40, 40)), f"{seed}.png", seed, False)


def slow(net: Network, x: torch.Tensor, unit: int, blocks: np.ndarray, side: int) -> tuple[list[float], list[float]]:
    """Block by block and step by step."""
    blurred = x.clone()
    for channel in range(x.shape[1]):
        blurred[0, channel] = torch.from_numpy(cv2.GaussianBlur(x[0, channel].numpy(), (0, 0), 32 / 14))
    places = sorted(np.ndindex(blocks.shape), key=lambda place: -blocks[place])
    deletion, insertion = [], []
    for step in range(STEPS + 1):
        removed, added = x.clone(), blurred.clone()
        for row, column in places[: round(len(places) * step / STEPS)]:
            box = (0, slice(None), slice(row * side, row * side + side), slice(column * side, column * side + side))
            removed[box], added[box] = blurred[box], x[box]
        for picture, curve in ((removed, deletion), (added, insertion)):
            with torch.no_grad():
                curve.append(float(net.module(picture).softmax(1)[0, unit]))
    return deletion, insertion


def test_curves_on_ten_images_are_those_of_a_plain_loop(net: Network) -> None:
    for seed in range(10):
        x = net.see(frame(seed).image, True)
        blocks = np.random.default_rng(seed).normal(size=(5, 5))  # the last ones are smaller: 32 = 4 · 7 + 4
        got = curves(net, x, 3, blocks, side=7)
        deletion, insertion = slow(net, x, 3, blocks, 7)
        np.testing.assert_allclose(got.deletion, deletion, rtol=1e-5)
        np.testing.assert_allclose(got.insertion, insertion, rtol=1e-5)


def test_blocks_are_means() -> None:
    values = np.arange(35.0).reshape(5, 7)
    found = block_means(values, 3)
    assert found.shape == (2, 3) and found[1, 2] == values[3:, 6:].mean() and found[0, 0] == values[:3, :3].mean()


def test_weights_are_randomised_from_the_top_down(net: Network) -> None:
    before = [tensor.clone() for tensor in net.module.parameters()]
    half = randomised(net, 0.5)
    changed = [not torch.equal(one, other) for one, other in zip(half.module.parameters(), before)]
    assert changed == [False] * 4 + [True] * 4
    assert all(torch.equal(one, other) for one, other in zip(net.module.parameters(), before))
    for one, other in zip(half.module.parameters(), before):
        assert torch.equal(one.flatten().sort()[0], other.flatten().sort()[0])


def test_a_measurement_gives_means_intervals_and_the_reason_where_there_is_no_map(net: Network, monkeypatch) -> None:
    monkeypatch.setattr(faithfulness, "BLOCK", 8)
    measurement = Measurement(net, ["gradient", "grad-cam"], checked=2)
    for seed in range(3):
        measurement.add(frame(seed))
    scores = measurement.scores()
    assert set(scores) == {"random", "gradient", "grad-cam"} and measurement.images == 3
    one = scores["gradient"]
    areas = np.array(measurement._areas["gradient"])
    assert one.deletion == pytest.approx(areas[:, 0].mean())
    assert one.deletion_error == pytest.approx(1.96 * areas[:, 0].std(ddof=1) / np.sqrt(3))
    assert -1 <= one.same <= 1
    said = table(scores, 3)
    assert "over 3 images" in said and "| gradient |" in said
    flat = prepare("flat", nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5)), InputSpec(8, 8), None)
    measurement = Measurement(flat, ["grad-cam"], checked=0)
    measurement.add(frame(1))
    assert "no layer before" in measurement.scores()["grad-cam"].fails


def test_what_fails() -> None:
    assert Score(0.3, 0.1, 0.5, 0.1, (0.2, 0.1), 0.1).fails == ""
    assert Score(0.3, 0.1, 0.5, 0.1, (0.1, 0.2), 0.1).fails == "no better than random blocks"
    assert "weights" in Score(0.3, 0.1, 0.5, 0.1, (0.2, 0.1), 0.9).fails


def test_rank_correlation_is_of_sizes() -> None:
    one = np.array([[1.0, -5.0], [3.0, 2.0]])
    assert rank_correlation(one, -one) == pytest.approx(1) and rank_correlation(one, 6 - np.abs(one)) == pytest.approx(
        -1
    )


def test_scores_become_probabilities_once() -> None:
    scores = np.array([1.0, 3.0, -2.0])
    once = as_probabilities(scores)
    assert once.sum() == pytest.approx(1) and as_probabilities(once) is once


def test_a_network_that_ends_in_a_map_is_refused() -> None:
    net = prepare("map", nn.Sequential(nn.Conv2d(3, 4, 3)), InputSpec(8, 8), None)
    with pytest.raises(UserError, match="does not end in class scores"):
        class_layer(net)


def test_doubts_are_kept_for_one_network(tmp_path: Path) -> None:
    write_doubts(tmp_path, "abc", {"guided": "no better", "lrp": ""})
    assert read_doubts(tmp_path, "abc") == {"guided": "no better"}
    assert read_doubts(tmp_path, "other") == {} and read_doubts(tmp_path / "none", "abc") == {}
    (tmp_path / "faithfulness.json").write_text("[]")
    assert read_doubts(tmp_path, "abc") == {}
