"""`deepvis train-prior`, and images through what it trains, as they are typed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import small

from deepvis.cli import main
from deepvis.priors import jobs, training
from deepvis.store.priors import StoredPrior, save_prior
from deepvis.store.training_records import read_record

NET = small.NET.replace("padding=1", "stride=2, padding=1")
YAML = """
source: python:smallish:make
args: {seed: 0}
weights: none
input: {height: 32, width: 32}
layers: {conv: "0", relu: "1", fc: "4"}
labels: [cat, dog, cow, hen, pig]
"""
TRAIN = ("train-prior", "--images", "photos", "--size", "32", "--steps", "2", "--batch", "2", "--width", "0.1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`deepvis …` on a network of its own and a data folder of its own, with seventy photos."""
    small.write_model(tmp_path / "net", NET, YAML)
    small.write_noise(tmp_path / "photos", 70, 32)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "_SAMPLES", 16)
    return lambda *words: main.main([*words, "--model", "net", "--device", "cpu", "--data", str(tmp_path / "data")])


def test_a_prior_from_training_to_images(
    run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--preset", "generator-modern", "--set", "steps=2")
    assert run("synthesize", "--units", "fc:cat", *few) == 2
    assert "net has no learned prior. Train one with: deepvis train-prior --model net" in capsys.readouterr().err
    monkeypatch.setattr(jobs, "CHECKPOINT_EVERY", 0.0)
    for layer in ("relu", "fc"):
        assert run(*TRAIN, "--layer", layer) == 0
        said = capsys.readouterr()
        assert "2 steps" in said.out and "the closed form:" in said.out and "70 photos" in said.err
        folder = tmp_path / "data" / "precomputed" / "net" / "priors" / layer
        written = {"prior.safetensors", "checkpoint.pt", "held-out.jpg", "training.json", "training.lock"}
        assert {file.name for file in folder.iterdir()} == written
        record = read_record(folder)
        assert (record.layer, record.status, record.why) == (layer, "ended", "its limit is reached")
        again = ["deepvis", *TRAIN, "--layer", layer, "--model", "net", "--device", "cpu"]
        again[again.index("photos")] = str(tmp_path / "photos")
        assert set(again) < set(shlex.split(record.command))
    assert run("synthesize", "--units", "fc:cat,conv:1", *few) == 0
    assert "2 units made" in capsys.readouterr().out
    assert run("synthesize", "--units", "fc:cat", *few, "prior=relu") == 0
    assert "1 unit made" in capsys.readouterr().out  # another prior, other images
    assert run("figure", "priors", "--units", "fc:0,fc:dog,relu:1", "--set", "steps=2", "--out", "p.png") == 0
    assert cv2.imread("p.png") is not None
    assert run("figure", "priors", "--units", "fc:0", "--priors", "conv", "--out", "p.png") == 2
    assert "prior 'conv': there is none. There are fc, relu." in capsys.readouterr().err
    pairs = ("--units", "fc:cat+fc:dog,fc:cat-relu:1", "--per-unit", "2", "--gamma", "1", "--out", "pairs")
    assert run("synthesize", *pairs, *few) == 0
    assert sorted(file.name for file in Path("pairs").iterdir()) == [
        "fc-0+fc-1-1.png", "fc-0+fc-1-2.png", "fc-0-relu-1-1.png", "fc-0-relu-1-2.png",
    ]  # fmt: skip
    capsys.readouterr()
    assert run("figure", "between-units", "--units", "fc:0+fc:1", *few, "--images", "3", "--out", "b.png") == 0
    said = capsys.readouterr().out.splitlines()
    assert cv2.imread("b.png") is not None
    assert [line.split(",")[0] for line in said[:3]] == ["100%", "50%", "0%"] and said[1].count("50%, value ") == 2
    assert run("figure", "between-units", "--units", "fc:0", "--out", "b.png") == 2
    for gamma in ("-1", "nan", "1e30"):
        assert run("synthesize", *pairs, "--gamma", gamma) == 2 and "0 to 100" in capsys.readouterr().err
    assert run("synthesize", *pairs, "--objective", "channel") == 2


def test_a_prior_in_a_folder_of_ones_own(
    run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert run(*TRAIN, "--layer", "relu", "--out", "mine") == 0
    few = ("synthesize", "--units", "fc:cat", "--preset", "generator-modern", "--set", "steps=2")
    for name in ("mine", "./mine", str(tmp_path / "mine"), "mine/prior.safetensors"):
        assert run(*few, f"prior={name}", "--out", f"images-{len(name)}") == 0
    Path("other").mkdir()
    Path("other/prior.safetensors").write_bytes(b"nothing")
    save_prior(Path("foreign/prior.safetensors"), StoredPrior({"kind": "something else"}, {}))
    capsys.readouterr()
    for name, said in (
        ("./nowhere", "nowhere: there is no such file; expected a prior"),
        ("./photos", "photos/prior.safetensors: there is no such file"),
        ("nowhere.safetensors", "there is no such file"),
        ("./other", "cannot be read as a prior"),
        ("./foreign", "is not a prior that this version can read"),
        ("mine/relu", "prior 'mine/relu': there is none"),
        ("nowhere", "prior 'nowhere': there is none"),
        ("a\0b", "prior"),
    ):
        assert run(*few, f"prior={name}", "--out", "none") == 2
        assert said in capsys.readouterr().err


def test_what_cannot_be_trained(run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for words, said in (
        (("--layer", "none"), "unknown layer 'none'"),
        (("--layer", "relu", "--size", "9999"), "--size 9999: expected 32 to 1024"),
        (("--layer", "relu", "--minutes", "-1"), "--minutes -1: expected"),
        (("--layer", "relu", "--rate", "nan"), "--rate nan: expected"),
        (("--layer", "relu", "--batch", "x"), "--batch 'x': expected"),
        (("--layer", "relu", "--minutes", "0"), "--minutes 0: expected 0.001"),
        (("--layer", "relu", "--images", "nowhere"), "nowhere"),
    ):
        assert run(*TRAIN, *words) == 2
        assert said in capsys.readouterr().err
    for file in list((tmp_path / "photos").iterdir())[:20]:
        file.unlink()
    assert run(*TRAIN, "--layer", "relu") == 2
    assert "50 photos that can be read: expected at least 64" in capsys.readouterr().err
