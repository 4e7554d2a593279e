"""Sweeps, montages and the search: pictures of the right size, with the right images in the right place."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from smallnets import SPEC, layer, small

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.networks.network import InputSpec, Network
from deepvis.store.unit_images import Store, open_store
from deepvis.synthesis import search as module
from deepvis.synthesis.figures import GAP, labelled, montage, strengths, sweep, true_sizes
from deepvis.synthesis.recipe import PRESETS, named, recipe
from deepvis.synthesis.search import RANGES, random_recipe, search

PLAIN = recipe("plain", {"steps": 2})


# ---- sweep ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, InputSpec(32, 32, (0.5,), (0.25,))], ids=["colour", "gray"])
@pytest.mark.parametrize("name, side", [("fc", 128), ("conv2", 110)])
def test_a_sweep_is_four_rows_of_columns(name: str, side: int, spec: InputSpec) -> None:
    """An image of 32 is drawn at 4 times its size, one of 5 at 22 times, so that titles can be read."""
    network = small(spec)
    picture = sweep(network, layer(network, name), 1, PLAIN, 3, 0)
    assert picture.shape == (4 * (side + 18 + GAP), 3 * (side + GAP), 3) and picture.dtype == np.uint8
    first = [picture[r * (side + 18 + GAP) + 18 :][:side, :side] for r in range(4)]
    assert all(np.abs(one.astype(int) - first[0]).max() <= 1 for one in first)  # without a regularizer, all alike
    last = [picture[r * (side + 18 + GAP) + 18 :][:side, 2 * (side + GAP) :][:, :side] for r in range(4)]
    for one in last:
        assert np.abs(one.astype(int) - first[0]).mean() > 1


def test_a_sweep_has_one_regularizer_at_a_time() -> None:
    network = small()
    plain = sweep(network, layer(network, "fc"), 1, PLAIN, 2, 0)
    other = sweep(
        network, layer(network, "fc"), 1, replace(PLAIN, decay=0.1, blur_width=1, blur_every=1, small_norm=30), 2, 0
    )
    assert np.array_equal(plain, other)


def test_a_sweep_is_of_pixels() -> None:
    network = small()
    with pytest.raises(UserError, match="plain or yosinski-3"):
        sweep(network, layer(network, "fc"), 1, PRESETS["modern"], 2, 0)


def test_strengths() -> None:
    np.testing.assert_allclose(strengths(98, "linear", 5), [0, 24.5, 49, 73.5, 98])
    np.testing.assert_allclose(strengths(0.5, "geometric", 4), [0, 0.005, 0.05, 0.5])
    assert strengths(3, "linear", 1) == [0] and strengths(3, "geometric", 2) == [0, 3]


def test_labelled_rows() -> None:
    rows = [np.full((2, 100, 120, 3), (200, 100, 50), np.uint8), np.full((2, 100, 120, 3), (1, 2, 3), np.uint8)]
    picture = labelled(rows, [["a", "b"], ["c", ""]])
    assert picture.shape == (2 * (100 + 18 + GAP), 2 * (120 + GAP), 3)
    assert (picture[18:118, :120] == (50, 100, 200)).all() and (picture[140:240, 124:244] == (3, 2, 1)).all()
    assert picture[:18, :120].max() > 150 and picture[122:140, 124:244].max() < 100  # a title, and none


# ---- montage -------------------------------------------------------------------------------------

LAYERS = (Layer("conv", "Conv2d", 6, 8, 8), Layer("fc", "Linear", 10))


def stored(folder: Path, name: str, unit: int, height: int, width: int, count: int = 1) -> Store:
    store = open_store(folder, "mark", "net")
    images = np.full((count, height, width, 3), (10 * unit + 100, 30, 200 - 10 * unit), np.uint8)
    store.add(name, unit, images, {"scores": [1.0] * count}, "0")
    return open_store(folder, "mark", "net")


@pytest.mark.parametrize("side, shape", [(0, (20, 30)), (15, (10, 15)), (60, (40, 60))])
def test_a_montage_has_a_place_for_every_unit(tmp_path: Path, side: int, shape: tuple[int, int]) -> None:
    for unit in (0, 4, 9):
        store = stored(tmp_path, "fc", unit, 20, 30, 2)
    store.add("fc", 5, np.zeros((0, 1, 1, 3), np.uint8), {"scores": [], "failed": "dead"}, "0")
    picture = montage(store, LAYERS[1], side)
    height, width = shape
    columns = math.ceil(math.sqrt(10 * 1.6 * height / width))
    rows = math.ceil(10 / columns)
    assert picture.shape == (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    for unit in range(10):
        y, x = unit // columns * (height + GAP), unit % columns * (width + GAP)
        colour = picture[y : y + height, x : x + width].mean((0, 1))
        want = (
            (200 - 10 * unit, 30, 10 * unit + 100) if unit in (0, 4, 9) else picture[-1, -1] if unit == 9 else (0, 0, 0)
        )
        if unit in (0, 4, 9):
            assert np.abs(colour - want).max() < 12, unit
        else:
            assert colour.max() < 60, unit


def test_a_montage_of_images_of_several_sizes(tmp_path: Path) -> None:
    stored(tmp_path, "conv", 0, 20, 20)
    store = stored(tmp_path, "conv", 3, 31, 17)
    assert montage(store, LAYERS[0]).shape[0] % (20 + GAP) == 20
    assert true_sizes(store, LAYERS, 4).shape[0] == 18 + 20 + GAP + 2 * GAP


def test_true_sizes(tmp_path: Path) -> None:
    """A row for each layer with its images as large as they are, the last layer on top; failed units do not count."""
    store = stored(tmp_path, "conv", 1, 5, 5, 4)
    store.add("conv", 0, np.zeros((0, 1, 1, 3), np.uint8), {"scores": [], "failed": "dead"}, "0")
    for unit in (3, 7, 8):
        store = stored(tmp_path, "fc", unit, 40, 70)
    picture = true_sizes(store, LAYERS, 2)
    block = 70 + GAP + 2 * GAP
    assert picture.shape == (18 + 40 + GAP + 2 * GAP + 18 + 2 * (5 + GAP) + 2 * GAP, 2 * block, 3)
    for i, unit in enumerate((3, 7)):
        assert (
            np.abs(
                picture[18:58, i * block : i * block + 70].mean((0, 1)) - (200 - 10 * unit, 30, 10 * unit + 100)
            ).max()
            < 12
        )
    y = 18 + 40 + 3 * GAP + 18
    for row in (0, 1):
        for column in (0, 1):
            at = picture[y + row * 9 :, column * 9 :][:5, :5]
            assert np.abs(at.mean((0, 1)) - (190, 30, 110)).max() < 12
    assert true_sizes(store, LAYERS[:1], 1).shape[0] == 18 + 2 * 9 + 2 * GAP  # unit 1, for unit 0 failed


def test_nothing_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path, "mark")
    with pytest.raises(UserError, match="no stored images of layer fc.*synthesize --layer fc"):
        montage(store, LAYERS[1])
    with pytest.raises(UserError, match="no stored images of conv, fc"):
        true_sizes(store, LAYERS, 4)


# ---- search --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["yosinski-3", "modern"])
def test_random_recipes_lie_in_their_ranges(preset: str) -> None:
    base, draw = PRESETS[preset], np.random.default_rng(0)
    drawn = [random_recipe(base, draw) for _ in range(200)]
    for name, (low, high, _) in RANGES[base.parameterization].items():
        values = np.array([getattr(one, name) for one in drawn])
        on = values[values != 0]
        assert low * 0.99 <= on.min() and on.max() <= high * 1.01 and len(set(on)) > 20
        share = 1 if name in ("rate", "power", "saturation") else 2 / 3
        assert len(on) / 200 == pytest.approx(share, abs=0.12)
    assert all(one.steps == base.steps and bool(one.blur_every) == bool(one.blur_width) for one in drawn)
    again = np.random.default_rng(0)
    assert [random_recipe(base, again) for _ in range(200)] == drawn


def judge() -> Network:
    return small(seed=1)


@pytest.mark.parametrize("spec", [SPEC, InputSpec(32, 32, (0.5,), (0.25,))], ids=["colour", "gray"])
def test_a_search_writes_the_best(tmp_path: Path, spec: InputSpec) -> None:
    network = small(spec)
    lines = search(network, judge(), PLAIN, 12, 3, 5, tmp_path / "out")
    assert len(lines) == 9
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *(f"best-{i}.yaml" for i in range(1, 10)),
        "sheet.jpg",
        "trials",
    ]
    assert cv2.imread(str(tmp_path / "out" / "sheet.jpg")).shape == (9 * (128 + 18 + GAP), 3 * (128 + GAP), 3)
    judged = [yaml_of(tmp_path / "out" / f"best-{i}.yaml")["judged"] for i in range(1, 10)]
    assert judged == sorted(judged, reverse=True) and len(set(judged)) > 1
    best = named(str(tmp_path / "out" / "best-1.yaml"))
    assert best.steps == 2 and best.parameterization == "pixels"


def yaml_of(path: Path) -> dict:
    import yaml

    return yaml.safe_load(path.read_text())


def test_the_judge_is_asked_for_the_class(tmp_path: Path) -> None:
    """Its softmax for the image as a picture."""
    network, other = small(), judge()
    target = layer(network, "fc")
    trial = module._try(network, other, target, [2, 7], PLAIN, 0)
    want = []
    for image, unit in zip(trial.images, (2, 7)):
        scores = other.module(other.see(image, crop=True))[0].double().numpy()
        want.append(np.exp(scores)[unit] / np.exp(scores).sum())
    assert trial.score == pytest.approx(np.mean(want), rel=1e-5)


@pytest.mark.parametrize("at", [0, 4])
def test_ctrl_c_leaves_the_best_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    real, tried = module._try, []

    def interrupted(*arguments) -> module.Trial:
        if len(tried) == at:
            raise KeyboardInterrupt
        tried.append(real(*arguments))
        return tried[-1]

    monkeypatch.setattr(module, "_try", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(small(), judge(), PLAIN, 50, 2, 0, tmp_path)
    assert len(list(tmp_path.glob("best-*.yaml"))) == at and (tmp_path / "sheet.jpg").exists() == bool(at)


def test_a_search_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = module._try, []

    def counted(*arguments) -> module.Trial:
        tried.append(1)
        if len(tried) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    def found(folder: Path) -> list[dict]:
        return [yaml_of(path) for path in sorted(folder.glob("best-*.yaml"))]

    whole = search(small(), judge(), PLAIN, 6, 2, 0, tmp_path / "whole")
    monkeypatch.setattr(module, "_try", counted)
    with pytest.raises(KeyboardInterrupt):
        search(small(), judge(), PLAIN, 6, 2, 0, tmp_path / "cut")
    assert search(small(), judge(), PLAIN, 6, 2, 0, tmp_path / "cut") == whole and len(tried) == 4 + 3
    assert found(tmp_path / "cut") == found(tmp_path / "whole")
    search(small(), judge(), PLAIN, 8, 2, 0, tmp_path / "cut")  # more trials: those beyond
    assert len(tried) == 7 + 2
    search(small(), judge(), PLAIN, 8, 2, 1, tmp_path / "cut")  # another seed, other trials
    assert len(tried) == 9 + 8


def test_more_classes_than_a_file_is_wide(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--classes 600: expected 1 to 511"):
        search(small(), judge(), PLAIN, 1, 600, 0, tmp_path)


def test_an_earlier_searchs_recipes_are_not_left_among_the_new(tmp_path: Path) -> None:
    search(small(), judge(), PLAIN, 4, 1, 0, tmp_path)
    assert len(search(small(), judge(), PLAIN, 2, 1, 1, tmp_path)) == 2
    assert sorted(path.name for path in tmp_path.glob("best-*")) == ["best-1.yaml", "best-2.yaml"]


def test_a_sweep_that_is_stopped_draws_the_rows_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepvis.synthesis import figures

    made = []

    class Interrupted(figures.Ascent):
        def step(self) -> None:
            made.append(1)
            if len(made) > 2 * PLAIN.steps:
                raise KeyboardInterrupt
            super().step()

    network = small()
    whole = sweep(network, layer(network, "fc"), 3, PLAIN, 2, 0)
    monkeypatch.setattr(figures, "Ascent", Interrupted)
    part = sweep(network, layer(network, "fc"), 3, PLAIN, 2, 0)
    assert np.array_equal(part, whole[: len(whole) // 2])
    with pytest.raises(KeyboardInterrupt):
        sweep(network, layer(network, "fc"), 3, PLAIN, 2, 0)  # nothing is done yet


def test_a_sweep_of_a_dead_unit(tmp_path: Path) -> None:
    network = small()
    network.module.fc.weight.data[3] = 0
    with pytest.raises(UserError, match="fc:3: no gradient"):
        sweep(network, layer(network, "fc"), 3, PLAIN, 2, 0)


def test_ctrl_c_while_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = module.write, []

    def interrupted(path: Path, image: np.ndarray) -> None:
        written.append(image.shape)
        if len(written) == 2:
            raise KeyboardInterrupt
        real(path, image)

    monkeypatch.setattr(module, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(small(), judge(), PLAIN, 5, 2, 0, tmp_path)
    assert len(list(tmp_path.glob("best-*.yaml"))) == 2 and cv2.imread(str(tmp_path / "sheet.jpg")).shape[0] == 2 * (
        128 + 18 + GAP
    )


def test_a_judge_of_other_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the same classes"):
        search(small(), judge(), PLAIN, 1, 1, 0, tmp_path, "conv1")
    with pytest.raises(UserError, match="Did you mean"):
        search(small(), judge(), PLAIN, 1, 1, 0, tmp_path, "fcc")
