"""The search: random recipes in their ranges, the best of them written, and gone on with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from smallnets import SPEC, layer, small

from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec, Network
from deepvis.render.figures import GAP, labelled
from deepvis.synthesis import search as module
from deepvis.synthesis.presets import PRESETS, named, recipe
from deepvis.synthesis.search import RANGES, random_recipe

PLAIN = recipe("plain", {"steps": 2})
search = partial(module.search, draw=labelled)


@pytest.mark.parametrize("preset", ["yosinski-3", "modern", "maco", "center-biased"])
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


def test_another_searchs_recipes_are_set_aside_and_it_can_go_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    first = search(small(), judge(), PLAIN, 4, 1, 0, tmp_path)
    sheet = (tmp_path / "sheet.jpg").read_bytes()
    assert len(search(small(), judge(), PLAIN, 2, 1, 1, tmp_path)) == 2
    assert sorted(path.name for path in tmp_path.glob("best-*")) == ["best-1.yaml", "best-2.yaml"]
    aside = tmp_path / "earlier-1"
    assert f"now in {aside}" in capsys.readouterr().out and (aside / "sheet.jpg").read_bytes() == sheet
    monkeypatch.setattr(module, "_try", None)  # nothing is made again
    assert search(small(), judge(), PLAIN, 4, 1, 0, aside) == first
    assert search(small(), judge(), PLAIN, 2, 1, 1, tmp_path) and not (tmp_path / "earlier-2").exists()


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
        search(small(), judge(), PLAIN, 1, 1, 0, tmp_path, layer="conv1")
    with pytest.raises(UserError, match="Did you mean"):
        search(small(), judge(), PLAIN, 1, 1, 0, tmp_path, layer="fcc")
