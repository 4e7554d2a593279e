"""`deepvis synthesize`, `sweep`, `search` and `montage` as they are typed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import cv2
import numpy as np
import pytest
import small

from deepvis.cli import main
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.interrupt import ENDING
from deepvis.core.picture_files import write
from deepvis.networks.replicas import ReplicaPool
from deepvis.synthesis import jobs, search, sweep

YAML = """
source: python:smallish:make
args: {{seed: {seed}}}
weights: none
input: {{height: 32, width: 32}}
layers: {{conv: "0", relu: "1", fc: "4", probs: softmax}}
labels: [cat, dog, cow, hen, pig]
"""
TINY = ("--set", "steps=2")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`deepvis COMMAND --model …` on a network of its own, in a folder of its own."""
    for name, seed in (("net", 0), ("judge", 1)):
        small.write_model(tmp_path / name, small.NET, YAML.format(seed=seed))
    monkeypatch.chdir(tmp_path)
    return lambda command, *more: main.main([command, "--model", "net", "--device", "cpu", *more])


def failure(capsys: pytest.CaptureFixture, status: int) -> str:
    said = capsys.readouterr()
    assert status == 2 and said.err.startswith("deepvis: ") and "Traceback" not in said.err
    return said.err


def test_synthesize_and_montage(run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    everything = ("--units", "fc:dog,fc:3-4", "--layer", "conv", "--per-unit", "2", "--side", "20", "--out", "s")
    assert run("synthesize", *everything, *TINY) == 0
    assert "s: 9 units made, 0 already there" in capsys.readouterr().out
    found = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert {(row["layer"], row["unit"]) for row in found["units"]} == {
        *(("fc", u) for u in (1, 3, 4)),
        *(("conv", u) for u in range(6)),
    }
    assert all(
        row["preset"] == "modern" and row["recipe"]["steps"] == 2 and len(row["scores"]) == 2 for row in found["units"]
    )
    assert run("synthesize", *everything, *TINY) == 0
    assert "0 units made, 9 already there" in capsys.readouterr().out

    assert run("montage", "--layer", "fc", "--store", "s", "--out", "fc.png") == 0
    assert cv2.imread("fc.png").shape == (2 * 24 - 4, 3 * 24 - 4, 3)
    assert run("montage", "--layer", "fc", "--store", "s", "--side", "30", "--out", "fc.jpg") == 0
    assert cv2.imread("fc.jpg").shape == (2 * 34 - 4, 3 * 34 - 4, 3)
    assert run("montage", "--store", "s", "--units", "2", "--out", "all.png") == 0
    assert cv2.imread("all.png").shape[0] == (18 + 20 + 4 + 8) + (18 + 3 + 4 + 8)
    assert "no stored images of layer relu" in failure(
        capsys, run("montage", "--layer", "relu", "--store", "s", "--out", "x.png")
    )


def test_ones_own_images_lie_apart_and_the_bundled_ones_are_not_made_again(
    run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "precomputed", lambda: paths.Places(tmp_path / "made", tmp_path / "made"))
    bundled, own = (tmp_path / "made" / "net" / name for name in ("synthesized", "synthesized-own"))
    files = lambda folder: {path.name: path.read_bytes() for path in folder.rglob("*.webp")}  # noqa: E731
    assert run("synthesize", "--units", "fc:0-1", "--out", str(bundled), *TINY) == 0  # as the maintainers do
    before = files(bundled)
    capsys.readouterr()
    assert run("synthesize", "--units", "fc:0-3", *TINY) == 0
    assert f"{own}: 2 units made, 0 already there, 2 come with the program" in capsys.readouterr().out
    assert run("synthesize", "--units", "fc:0-3", *TINY) == 0
    assert f"{own}: 0 units made, 2 already there, 2 come" in capsys.readouterr().out
    assert sorted(files(own)) == ["0002.webp", "0003.webp"] and files(bundled) == before
    assert run("montage", "--layer", "fc", "--out", "both.png") == 0
    assert run("synthesize", "--units", "fc:0-3", "--set", "steps=3") == 0  # other images: of all four
    assert f"{own}: 4 units made, 0 already there" in capsys.readouterr().out
    assert files(bundled) == before and sorted(files(own)) == [f"000{i}.webp" for i in range(4)]
    assert (
        run("synthesize", "--units", "fc:0-1", *TINY) == 0
    )  # else the window would go on showing those of three steps
    assert f"{own}: 2 units made (older images of 2 are kept under another name), 0 already" in capsys.readouterr().out
    assert files(own)["0000.webp"] != b"" and files(own)["0000-1.webp"] != b"" and files(bundled) == before


def test_the_options_reach_the_plan(run: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def synthesize(network, chosen, plan, store, batch):
        asked.append(([(layer.name, units) for layer, units in chosen], plan, store.folder, batch))
        return jobs.Counts()

    monkeypatch.setattr(jobs, "synthesize", synthesize)
    assert (
        run(
            "synthesize",
            "--layer",
            "all",
            "--preset",
            "yosinski-2",
            "--set",
            "steps=5",
            "decay=0.1",
            "--set",
            "rate=3",
            "--seed",
            "4",
            "--objective",
            "channel",
            "--whole",
            "--quality",
            "33",
            "--batch",
            "6",
            "--out",
            "there",
        )
        == 0
    )
    chosen, plan, folder, batch = asked[0]
    assert [name for name, _ in chosen] == ["conv", "relu", "fc"] and chosen[0][1] == [0, 1, 2, 3, 4, 5]
    assert (plan.recipe.steps, plan.recipe.decay, plan.recipe.rate, plan.recipe.small_norm) == (5, 0.1, 3.0, 20)
    assert (plan.preset, plan.seed, plan.objective, plan.true_size, plan.quality) == (
        "yosinski-2",
        4,
        "channel",
        False,
        33,
    )
    assert (plan.per_unit, plan.side, folder, batch) == (1, 0, Path("there"), 6)


def test_class_probabilities_are_made_where_the_window_looks_for_them(
    run: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    assert run("synthesize", "--units", "probs:1,fc:1-2", "--out", "s", *TINY) == 0
    said = capsys.readouterr().out
    assert "probs: shown with the images of fc" in said and "2 units made" in said
    assert sorted(path.name for path in Path("s").iterdir() if path.is_dir()) == ["fc"]
    assert run("montage", "--layer", "probs", "--store", "s", "--out", "probs.png") == 0
    assert "--side is for one layer" in failure(
        capsys, run("montage", "--layer", "fc,conv", "--side", "9", "--store", "s", "--out", "x.png")
    )
    assert "nowhere: no stored images" in failure(
        capsys, run("montage", "--layer", "fc", "--store", "nowhere", "--out", "x.png")
    )


def test_a_picture_that_its_format_does_not_take(tmp_path: Path) -> None:
    wide = np.zeros((2, 16400, 3), np.uint8)
    with pytest.raises(UserError, match="x.webp: 16400×2 pixels do not fit.*png"):
        write(tmp_path / "x.webp", wide)
    write(tmp_path / "x.jpg", wide)
    assert [path.name for path in tmp_path.iterdir()] == ["x.jpg"]


def test_ctrl_c_keeps_what_is_done(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    real, kept = jobs._keep, []

    def interrupted(*arguments: object) -> bool:
        """As Ctrl-C does it: in the main thread, while the others work on the next units."""
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(1)
        return real(*arguments)

    monkeypatch.setattr(jobs, "_keep", interrupted)
    assert run("synthesize", "--units", "fc:0-4", "--batch", "1", "--out", "s", *TINY) == 130
    assert "stopped. s holds what is done" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "s" / "manifest.json").read_text())["units"]) == 2


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_signals_keep_what_is_done(
    number: signal.Signals,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
) -> None:
    """Of a synthesis, of a search and of a sweep; the status is the signal's."""
    real, ran = jobs._run, []

    def interrupted(*arguments):
        if len(ran) == 2:
            os.kill(os.getpid(), number)
            assert arguments[-1].wait(60)
            raise CancelledError
        ran.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_run", interrupted)
        patch.setattr(jobs, "ReplicaPool", lambda network, most: ReplicaPool(network, 1))
        assert run("synthesize", "--units", "fc:0-4", "--batch", "1", "--out", "s", *TINY) == 128 + number
    assert len(json.loads((tmp_path / "s" / "manifest.json").read_text())["units"]) <= 2
    assert "run the same command again to resume" in capsys.readouterr().out

    tries, steps = [], []
    with monkeypatch.context() as patch:
        tried = search._try
        patch.setattr(
            search,
            "_try",
            lambda *given: (tries.append(1), signal.raise_signal(number) if len(tries) == 3 else 0, tried(*given))[2],
        )
        assert (
            run("search", "--judge", "judge", "--trials", "9", "--classes", "2", *TINY, "--out", "found")
            == 128 + number
        )
    assert len(list((tmp_path / "found").glob("best-*.yaml"))) == 2 and (tmp_path / "found" / "sheet.jpg").exists()

    class Stopped(sweep.Ascent):
        def step(self) -> None:
            steps.append(1)
            if len(steps) == 4:
                signal.raise_signal(number)
            super().step()

    monkeypatch.setattr(sweep, "Ascent", Stopped)
    assert run("sweep", "--unit", "fc:pig", "--columns", "2", *TINY, "--out", "sweep.png") == 128 + number
    assert cv2.imread("sweep.png").shape == (128 + 18 + 4, 2 * (128 + 4), 3)


def test_sweep(run: Callable[..., int]) -> None:
    assert run("sweep", "--unit", "fc:pig", "--columns", "2", *TINY, "--out", "deep/sweep.png") == 0
    assert cv2.imread("deep/sweep.png").shape == (5 * (128 + 18 + 4), 2 * (128 + 4), 3)


def test_priors_compared(run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """A row of three images for each seed's run, the last row filled; maco's also with its transparency."""
    for name in ("plain", "maco"):
        (tmp_path / f"{name}.yaml").write_text(
            f"{{steps: 2, parameterization: {'maco' if name == 'maco' else 'fourier'}}}"
        )
    figure = ("figure", "priors-compared", "--model", "net", "--device", "cpu")
    assert (
        main.main(
            [*figure, "--unit", "fc:pig", "--presets", "plain.yaml,maco.yaml", "--columns", "2", "--out", "f.png"]
        )
        == 0
    )
    picture = cv2.imread("f.png")
    assert picture.shape == (2 * (160 + 18 + 4), 2 * (160 + 4), 3)  # wide enough for "modern, transparent"
    first, second, third, fourth = (picture[y + 18 : y + 178, x : x + 160] for y in (0, 182) for x in (0, 164))
    assert min(first.std(), second.std(), third.std()) > 5 > fourth.std()
    assert main.main([*figure, "--unit", "fc:pig", "--presets", "nonsense", "--out", "f.png"]) == 2
    assert "unknown preset 'nonsense'" in capsys.readouterr().err


def test_search(run: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert run("search", "--judge", "judge", "--trials", "3", "--classes", "2", *TINY, "--out", "found") == 0
    assert capsys.readouterr().out.count("%") == 3
    assert cv2.imread("found/sheet.jpg").shape == (3 * (128 + 18 + 4), 2 * (128 + 4), 3)
    assert (
        run("synthesize", "--units", "fc:0", "--preset", "found/best-1.yaml", "--out", "s") == 0
    )  # what was found can be used


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("synthesize", "--out", "s"), "no units"),
        (("synthesize", "--units", "fd:1", "--out", "s"), "Did you mean fc"),
        (("synthesize", "--units", "fc:9", "--out", "s"), "0 to 4"),
        (("synthesize", "--layer", "cnov", "--out", "s"), "Did you mean conv"),
        (("synthesize", "--layer", "fc", "--preset", "yosinski-5", "--out", "s"), "Did you mean yosinski-"),
        (("synthesize", "--layer", "fc", "--preset", "none.yaml", "--out", "s"), "expected a recipe"),
        (("synthesize", "--layer", "fc", "--set", "steps", "--out", "s"), "NAME=VALUE"),
        (("synthesize", "--layer", "fc", "--set", "stpes=3", "--out", "s"), "Did you mean steps"),
        (("synthesize", "--layer", "fc", "--set", "steps=0", "--out", "s"), "expected 1 to 100000"),
        (("synthesize", "--layer", "fc", "--objective", "most", "--out", "s"), "unit, channel"),
        (("synthesize", "--layer", "conv", "--objective", "probability", "--out", "s", *TINY), "class scores"),
        (("synthesize", "--layer", "fc", "--batch", "0", "--out", "s"), "auto or a whole number"),
        (("synthesize", "--layer", "fc", "--batch", "some", "--out", "s"), "auto or a whole number"),
        (("synthesize", "--layer", "fc", "--quality", "101", "--out", "s"), "1 to 100"),
        (("synthesize", "--layer", "fc", "--out", "net/model.yaml", *TINY), "cannot be written"),
        (("sweep", "--unit", "fc:1", "--out", "sweep.gif"), ".png, .jpg or .webp"),
        (("sweep", "--unit", "fc:7", "--out", "sweep.png"), "0 to 4"),
        (("sweep", "--unit", "fc:1", "--preset", "modern", "--out", "sweep.png"), "plain or generator"),
        (("search", "--judge", "nobody", "--out", "found"), "unknown model 'nobody'"),
        (("search", "--judge", "judge", "--layer", "conv", "--out", "found"), "the same classes"),
        (("search", "--judge", "judge", "--out", "net/model.yaml", "--trials", "1", *TINY), "cannot be written"),
        (("montage", "--layer", "fd", "--out", "m.png"), "Did you mean fc"),
        (("montage", "--layer", "fc", "--out", "m.bmp"), ".png, .jpg or .webp"),
        (("montage", "--layer", "fc", "--store", "nowhere", "--out", "m.png"), "no stored images of layer fc"),
    ],
)
def test_what_cannot_be(
    run: Callable[..., int], capsys: pytest.CaptureFixture, arguments: tuple[str, ...], said: str
) -> None:
    assert said in failure(capsys, run(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ("synthesize", "--per-unit", "0"),
        ("synthesize", "--seed", "-1"),
        ("synthesize", "--seed", "99999999999999999999"),
        ("synthesize", "--side", "x"),
        ("sweep", "--out", "x.png"),
        ("sweep", "--unit", "fc:1"),
        ("search", "--out", "x"),
        ("montage",),
    ],
)
def test_what_is_not_even_read(
    run: Callable[..., int], capsys: pytest.CaptureFixture, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2 and "usage: deepvis" in capsys.readouterr().err


def test_the_store_of_another_network(run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert run("synthesize", "--units", "fc:0", "--out", "s", *TINY) == 0
    before = (tmp_path / "s" / "manifest.json").read_bytes()
    capsys.readouterr()
    for command, more in (
        ("synthesize", ("--units", "fc:0", "--out", "s", *TINY)),
        ("montage", ("--layer", "fc", "--store", "s", "--out", "m.png")),
    ):
        said = failure(capsys, main.main([command, "--model", "judge", "--device", "cpu", *more]))
        assert "holds images of another network or scaling of the input (net" in said
    assert (tmp_path / "s" / "manifest.json").read_bytes() == before
