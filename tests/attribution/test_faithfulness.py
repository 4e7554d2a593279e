"""Deletion and insertion against a plain loop; the randomised-weights check; what is said of a method that fails."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from smallnets import SPEC, small
from torch import nn

from deepvis.attribution import faithfulness, path
from deepvis.attribution.curves import (
    STEPS,
    as_probabilities,
    block_means,
    blurred,
    class_layer,
    curves,
    explain,
    predicted,
)
from deepvis.attribution.faithfulness import Measurement, Score
from deepvis.attribution.passes import finished
from deepvis.attribution.randomised import randomised, rank_correlation, stages, weighted_modules
from deepvis.attribution.requests import Request
from deepvis.cli.faithfulness import table
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.scan.index import INDEX
from deepvis.scan.index_file import load as load_index
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


def test_curves_of_ten_images_at_once_are_those_of_a_plain_loop(net: Network) -> None:
    x = torch.cat([net.see(frame(seed).image, True) for seed in range(10)])
    blocks = np.random.default_rng(0).normal(size=(10, 5, 5))  # the last ones are smaller: 32 = 4 · 7 + 4
    units = [seed % 4 for seed in range(10)]
    got = curves(net, x, blurred(x), units, blocks, side=7, at_once=30)
    for i in range(10):
        deletion, insertion = slow(net, x[i : i + 1], units[i], blocks[i], 7)
        np.testing.assert_allclose(got.deletion[i], deletion, rtol=1e-5)
        np.testing.assert_allclose(got.insertion[i], insertion, rtol=1e-5)
    assert got.areas[3] == pytest.approx([got.deletion[3].mean(), got.insertion[3].mean()])


@pytest.mark.parametrize("method", ["guided", "lrp", "grad-cam", "integrated"])
def test_maps_of_several_images_are_those_of_the_window(net: Network, method: str, monkeypatch) -> None:
    monkeypatch.setattr(path, "FINER", 1)  # equal steps: each picture would have its own
    x = torch.cat([net.see(frame(seed).image, True) for seed in range(3)])
    units = predicted(net, x)
    values, note = explain(net, x, "fc", units, method)
    for i in range(3):
        result = finished(net, Request(frame(i), True, "fc", method, ("fc", units[i])))
        want = (np.abs(result.pixels) if method == "guided" else result.pixels).sum(2)
        np.testing.assert_allclose(values[i], want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    assert not x.requires_grad and bool(note) == (method != "guided")


def test_blocks_are_means() -> None:
    values = np.arange(35.0).reshape(5, 7)
    found = block_means(values, 3)
    assert found.shape == (2, 3) and found[1, 2] == values[3:, 6:].mean() and found[0, 0] == values[:3, :3].mean()


def test_weights_are_randomised_from_the_top_down(net: Network) -> None:
    before = [tensor.clone() for tensor in net.module.parameters()]
    assert weighted_modules(net) == ["conv1", "conv2", "conv3", "fc"] and stages(net, 9) == weighted_modules(net)[::-1]
    assert stages(net, 2) == ["fc", "conv1"] and stages(net, 1) == ["conv1"]
    half = randomised(net, "conv3")
    changed = [not torch.equal(one, other) for one, other in zip(half.module.parameters(), before)]
    assert changed == [False] * 4 + [True] * 4
    assert all(torch.equal(one, other) for one, other in zip(net.module.parameters(), before))
    for one, other in zip(half.module.parameters(), before):
        assert torch.equal(one.flatten().sort()[0], other.flatten().sort()[0])


def test_a_measurement_gives_means_intervals_and_the_reason_where_there_is_no_map(net: Network, monkeypatch) -> None:
    monkeypatch.setattr(faithfulness, "BLOCK", 8)
    measurement = Measurement(net, ["gradient", "grad-cam"], checked=3, count=2)
    measurement.add([frame(0), frame(1)])
    measurement.add([frame(2), frame(3)])
    scores = measurement.scores()
    assert set(scores) == {"random", "gradient", "grad-cam"} and measurement.images == 4
    one, tally = scores["gradient"], measurement._tallies["gradient"]
    areas = np.array(tally.areas)
    assert one.deletion == pytest.approx((areas[:, 0].mean(), 1.96 * areas[:, 0].std(ddof=1) / 2))
    assert len(tally.same) == 3 and one.same == pytest.approx(np.mean(tally.same, 0)) and max(map(abs, one.same)) <= 1
    alone = Measurement(net, ["gradient"], checked=0)
    for seed in range(4):
        alone.add([frame(seed)])
    np.testing.assert_allclose(alone._tallies["gradient"].areas, areas, rtol=1e-4)
    assert alone.scores()["gradient"].same == ()
    said = table(scores, 4, measurement.stages)
    assert "over 4 images" in said and "| gradient |" in said and "random down to fc | random down to conv1" in said


def test_an_image_without_a_map_counts_as_random_and_none_at_all_says_why(net: Network, monkeypatch) -> None:
    monkeypatch.setattr(faithfulness, "BLOCK", 8)
    some = lambda *_: (np.stack([np.zeros((32, 32)), np.full((32, 32), np.nan), np.eye(32)]), "said")  # noqa: E731
    monkeypatch.setattr(faithfulness, "explain", some)
    measurement = Measurement(net, ["gradient"], checked=0)
    measurement.add([frame(seed) for seed in range(3)])
    floor, areas = (np.array(measurement._tallies[name].areas) for name in ("random", "gradient"))
    assert np.array_equal(areas[:2], floor[:2]) and not np.array_equal(areas[2], floor[2])
    assert "no map for 2 images" in table(measurement.scores(), 3)
    monkeypatch.undo()
    flat = prepare("flat", nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5)), InputSpec(8, 8), None)
    measurement = Measurement(flat, ["grad-cam"], checked=0)
    measurement.add([frame(1)])
    assert "no layer before" in measurement.scores()["grad-cam"].fails


def test_what_fails() -> None:
    assert Score((0.3, 0.1), (0.5, 0.1), (0.2, 0.1), (0.9, 0.1)).fails == ""
    assert Score((0.3, 0.1), (0.5, 0.1), (0.1, 0.2), (0.1,)).fails == "no better than random blocks"
    assert "weights" in Score((0.3, 0.1), (0.5, 0.1), (0.2, 0.1), (0.9,)).fails
    assert Score((0.3, 0.1), (0.5, 0.1), (0.2, 0.1), (0.99, 0.1)).fails == "gives the same map for every class"


def test_rank_correlation_is_of_sizes() -> None:
    one = np.array([[1.0, -5.0], [3.0, 2.0]])
    assert rank_correlation(one, -one) == pytest.approx(1) and rank_correlation(one, 6 - np.abs(one)) == pytest.approx(
        -1
    )


def test_equal_values_have_no_order() -> None:
    one, other = np.zeros((2, 50))
    one[0], other[0] = 1, 1
    assert rank_correlation(one, other) == pytest.approx(1)
    one[0], one[7] = 0, 1
    assert abs(rank_correlation(one, other)) < 0.05 and rank_correlation(np.ones(50), other) == 0


def test_scores_become_probabilities_once() -> None:
    scores = np.array([1.0, 3.0, -2.0])
    once = as_probabilities(scores)
    assert once.sum() == pytest.approx(1) and as_probabilities(once) is once


def test_a_network_that_ends_in_a_map_is_refused() -> None:
    net = prepare("map", nn.Sequential(nn.Conv2d(3, 4, 3)), InputSpec(8, 8), None)
    with pytest.raises(UserError, match="does not end in class scores"):
        class_layer(net)


def test_the_bundled_measurement_is_of_the_bundled_networks_weights() -> None:
    folder = paths.precomputed().bundled / "efficientnet-lite0"
    index = load_index(folder / "bundled" / INDEX)
    assert set(read_doubts([folder], index.fingerprint)) == {"deconv", "guided", "lrp-alpha-beta"}


def test_doubts_are_kept_for_one_network(tmp_path: Path) -> None:
    own, bundled = tmp_path / "own", tmp_path / "bundled"
    write_doubts(bundled, "abc", {"guided": "no better", "lrp": ""})
    assert read_doubts([own, bundled], "abc") == {"guided": "no better"}
    assert read_doubts([own, bundled], "other") == {}
    write_doubts(own, "abc", {"guided": "", "deconv": "the same"})
    assert read_doubts([own, bundled], "abc") == {"deconv": "the same"}
    (own / "faithfulness.json").write_text("[]")
    assert read_doubts([own, bundled], "abc") == {"guided": "no better"}


# ---- networks that cannot be measured ------------------------------------------------------------


class Scores(nn.Module):
    """Mean colours as scores: so many, and what they are multiplied by."""

    def __init__(self, count: int, factor: float) -> None:
        super().__init__()
        self.conv, self.fc, self.factor = nn.Conv2d(3, 4, 3), nn.Linear(4, count), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).mean((2, 3))) * self.factor


@pytest.mark.parametrize(
    "count, factor, said", [(3, math.nan, "scores that are not finite.*weights"), (1, 1.0, "one score alone.*two")]
)
def test_a_network_that_cannot_be_measured_is_refused(count: int, factor: float, said: str) -> None:
    network = prepare("net", Scores(count, factor).eval(), SPEC, None)
    with pytest.raises(UserError, match=said):
        Measurement(network, ["gradient"]).add([Frame(np.zeros((32, 32, 3), np.uint8), "a", 0, False)])


def test_each_method_is_measured_once() -> None:
    assert faithfulness.known_methods(["lrp", "gradient", "lrp"]) == ["lrp", "gradient"]


def test_a_later_measurement_keeps_that_of_other_methods(tmp_path: Path) -> None:
    write_doubts(tmp_path, "abc", {"guided": "no better", "lrp": "x"})
    write_doubts(tmp_path, "abc", {"lrp": ""})
    assert read_doubts([tmp_path], "abc") == {"guided": "no better"}
    write_doubts(tmp_path, "def", {"lrp": "y"})  # of another network
    assert read_doubts([tmp_path], "def") == {"lrp": "y"} and not read_doubts([tmp_path], "abc")


def test_broken_images_are_left_out_and_few_images_mark_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepvis.cli import faithfulness as command
    from deepvis.cli import main

    network = small()
    monkeypatch.setattr(command, "load_network", lambda _args: network)
    monkeypatch.setattr(faithfulness, "BLOCK", 8)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    options = ["--images", str(tmp_path), "--back", "gradient", "--stages", "1"]
    assert main.main(["faithfulness", *options]) == 0
    said = capsys.readouterr().out
    assert "over 2 images" in said and "1 image could not be read" in said and "too few to mark" in said


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that measure twelve small photos, of which one is broken, with a folder of one's own data."""
    from deepvis.cli import faithfulness as command

    network = small()
    monkeypatch.setattr(command, "load_network", lambda args: (paths.use(args.data), network)[1])
    monkeypatch.setattr(faithfulness, "BLOCK", 8)
    folder, chance = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"{number:02}.png"), chance.integers(0, 255, (32, 32, 3), np.uint8))
    (folder / "04.png").write_bytes(b"no picture")
    return ["faithfulness", "--images", str(folder), "--back", "gradient", "lrp", "--stages", "2", "--batch", "3"]


@pytest.mark.parametrize("at", [1, 3])
def test_a_measurement_that_was_stopped_goes_on(
    photos: list[str], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepvis.cli import main

    def run(data: str) -> tuple[int, str]:
        status = main.main([*photos, "--data", str(tmp_path / data)])
        return status, capsys.readouterr().out.replace(str(tmp_path / data), "DATA")

    def kept(data: str) -> list[str]:
        return sorted(path.name for path in (tmp_path / data).rglob("*") if path.is_file())

    real, added = Measurement.add, []

    def interrupted(self: Measurement, frames: list[Frame]) -> object:
        added.append(len(frames))
        if len(added) == at + 1:
            raise KeyboardInterrupt
        return real(self, frames)

    whole = run("whole")
    assert whole[0] == 0 and "over 11 images" in whole[1] and "1 image could not be read" in whole[1]
    monkeypatch.setattr(Measurement, "add", interrupted)
    status, said = run("cut")
    assert status == 130 and f"stopped after {sum(added[:at])} images; the same command goes on" in said
    (journal,) = (tmp_path / "cut").rglob("done.jsonl")
    with journal.open("ab") as file:
        file.write(b'{"images": 3, "bro')  # as if the process had been killed while it wrote
    status, said = run("cut")
    assert status == 0 and said.partition("Mean")[2] == whole[1].partition("Mean")[2]
    assert len(added) == 4 + 1 and kept("cut") == kept("whole") == ["faithfulness.json"]
    texts = [next((tmp_path / data).rglob("faithfulness.json")).read_bytes() for data in ("cut", "whole")]
    assert texts[0] == texts[1]


def test_other_options_begin_anew(photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepvis.cli import main

    real, added = Measurement.add, []

    def interrupted(self: Measurement, frames: list[Frame]) -> object:
        added.append(len(frames))
        if len(added) == 2:
            raise KeyboardInterrupt
        return real(self, frames)

    monkeypatch.setattr(Measurement, "add", interrupted)
    data = ["--data", str(tmp_path / "data")]
    assert main.main([*photos, *data]) == 130
    assert main.main([*photos, "--stages", "1", *data]) == 0 and len(added) == 2 + 4
    assert main.main([*photos, *data]) == 0 and len(added) == 2 + 4 + 3  # the first one goes on


def test_two_runs_of_the_same_measurement(tmp_path: Path) -> None:
    from deepvis.store.journal import journal

    folder = tmp_path / "journals"
    with journal(folder, {"network": "a"}) as one:
        with (
            pytest.raises(UserError, match="another run measures the same.*Wait for it"),
            journal(folder, {"network": "a"}),
        ):
            pass
        with journal(folder, {"network": "b"}) as other:
            one.add({"images": 1})
    other.remove()
    with journal(folder, {"network": "a"}) as again:
        assert again.parts == ({"images": 1},)
    again.remove()
    assert not folder.exists()
