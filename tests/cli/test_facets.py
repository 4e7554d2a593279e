"""`deepvis facets` and the figures of what it stores, as they are typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import small

from deepvis.cli import main

YAML = """
source: python:smallish:make
args: {seed: 0}
weights: none
input: {height: 32, width: 32}
layers: {conv: "0", relu: "1", fc: "4", probs: softmax}
labels: [cat, dog, cow, hen, pig]
"""
TINY = ("--set", "steps=2")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`deepvis …` on a network of its own and a data folder of its own, with ten photos."""
    small.write_model(tmp_path / "net", small.NET, YAML)
    small.write_noise(tmp_path / "photos", 10, 8)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main.main([*words, "--model", "net", "--device", "cpu", "--data", str(tmp_path / "data")])


def test_facets_and_their_figures(run: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    asked = ("facets", "--units", "fc:cat,conv:1", "--images", "photos", "--top", "8", "-k", "2", *TINY)
    assert run(*asked) == 0
    said = capsys.readouterr()
    assert "facets of 2 units made, 0 already there" in said.out and "scan:" in said.err
    assert run(*asked) == 0
    said = capsys.readouterr()
    assert "facets of 0 units made, 2 already there" in said.out
    assert "image/s" not in said.err and "unit/s" not in said.err  # no bars where there is nothing to do
    many = (*asked[:-4], "-k", "9", *TINY)
    assert run(*many) == 2
    assert "no facets were made\n2 units failed (fc:0, conv:1): 9 facets of 8 photos" in capsys.readouterr().err
    for figure, *options in (
        ("facets", "--units", "fc:0,conv:1"),
        ("facet-photos", "--unit", "fc:0", "--back", "gradient"),
    ):
        assert run("figure", figure, *options, "--out", f"{figure}.png") == 0
        assert cv2.imread(f"{figure}.png") is not None
    assert run("figure", "facets", "--units", "fc:3", "--out", "x.png") == 2
    assert "fc:3 has no facets: none are stored. Make them: deepvis facets --model net " in capsys.readouterr().err


def test_a_classes_own_folder_and_what_is_refused(run: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert run("facets", "--units", "fc:1", "--class-folder", "photos", "-k", "2", *TINY, "--out", "own") == 0
    assert (Path("own") / "fc" / "0001.json").is_file()
    for words, why in (
        (("--units", "fc:1"), "has no index, so it is not known what excites its units. Name photos: --images DIR"),
        (("--units", "fc:1", "--images", "photos", "--class-folder", "photos"), "give one of them"),
        (("--units", "fc:1", "--images", "photos", "--top", "x"), "--top 'x': expected a number of photos"),
        (("--units", "fc:1", "--images", "photos", "--code", "conv9"), "unknown layer 'conv9'"),
        (("--units", "fc:1", "--images", "nowhere"), "nowhere"),
    ):
        assert run("facets", *words) == 2
        assert why in capsys.readouterr().err


def test_figures_of_an_ascent(run: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert run("figure", "phases", "--unit", "fc:1", "--set", "steps=27", "--out", "phases.png") == 0
    picture = cv2.imread("phases.png")
    assert picture is not None and picture.shape[1] > 4 * picture.shape[0]  # five phases side by side
    two = ("photos/1.png", "photos/2.png")
    between = ("figure", "interpolated", "--unit", "fc:1", "--photos", *two, "--images", "3", "--out", "between.png")
    assert run(*between, *TINY) == 0 and cv2.imread("between.png") is not None
    assert run("figure", "phases", "--unit", "fc:1", "--preset", "modern", "--out", "x.png") == 2
    assert "it has no phases; expected one with some" in capsys.readouterr().err
