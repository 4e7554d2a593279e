"""`deepvis invert` and `deepvis dream` as they are typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import small

from deepvis.cli import main
from deepvis.core import paths
from deepvis.display.film import Film

NET = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.AdaptiveAvgPool2d(2),
                         nn.Flatten(), nn.Linear(24, 5))
"""
YAML = """
source: python:smallish:make
weights: none
input: {height: 32, width: 32}
layers: {conv: "0", relu: "1", down: "2", fc: "5"}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    small.write_model(tmp_path / "net", NET, YAML)
    small.write_images(tmp_path / "photos", 12)
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8), (70, 50))
    cv2.imwrite(str(tmp_path / "cat.png"), picture)
    monkeypatch.chdir(tmp_path)
    more = ("--model", "net", "--device", "cpu", "--data", str(tmp_path / "data"))
    yield lambda command, *args: main.main([command, "--image", "cat.png", *args, *more])
    paths.use(paths.USUAL)


def test_invert_draws_a_row_and_pictures(
    run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    few = ("--set", "steps=3", "--photos", "photos")
    assert run("invert", "--out", "row.png", *few) == 0
    assert cv2.imread("row.png").shape[1] == 5 * (5 * 32 + 4)  # as wide as the titles
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["conv", "relu", "down", "fc", "saved row.png"]
    assert "dB, code error 0." in said[0]
    assert run("invert", "--layer", "down", "--times", "3", "--out", "times", *few) == 0
    assert "their codes by" in capsys.readouterr().out
    assert sorted(path.name for path in Path("times").iterdir()) == ["down-1.png", "down-2.png", "down-3.png"]
    assert run("invert", "--layer", "fc", "--closed-form", "--out", "one.png", *few) == 0
    assert cv2.imread("one.png").shape == (32, 32, 3)
    assert run("invert", "--layer", "conv", "--units", "1,3", "--stronger", "down:2=0.3", "--out", "u.png", *few) == 0
    assert run("invert", "--layer", "down", "--preset", "mahendran-2016", "--set", "steps=2", "--out", "m.png") == 0
    assert not (tmp_path / "data").exists()  # decoders of other photos are not kept


def test_a_decoder_is_learned_once(run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepvis.core.paths.PHOTOS", tmp_path / "photos")
    one = ("invert", "--layer", "down", "--closed-form", "--out", "one.png")
    assert run(*one) == 0
    assert (tmp_path / "data" / "precomputed" / "net" / "decoders" / "down.npz").is_file()
    monkeypatch.setattr("deepvis.core.paths.PHOTOS", tmp_path / "none")
    before = cv2.imread("one.png")
    assert run(*one) == 0 and np.abs(cv2.imread("one.png").astype(int) - before).max() <= 2


def test_dream_of_a_picture(run: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    few = ("--steps", "2,1", "--layer", "down")
    assert run("dream", "--size", "80x60", "--out", "dream.png", *few) == 0
    dreamed = cv2.imread("dream.png")
    assert dreamed.shape == (60, 80, 3)
    assert run("dream", "--size", "80x60", "--tile", "32", "--guide", "cat.png", "--out", "guided.jpg", *few) == 0
    assert run("dream", "--size", "80x60", "--box", "10,5,32,24", "--out", "boxed.png", *few) == 0
    assert not np.array_equal(cv2.imread("boxed.png"), dreamed)
    assert run("dream", "--size", "80x60", "--guide", "cat.png", "--out", "guided.png", *few) == 0
    assert run("dream", "--size", "80x60", "--box", "0,0,70,50", "--out", "whole.png", *few) == 0
    assert np.array_equal(cv2.imread("whole.png"), cv2.imread("guided.png"))
    assert run("dream", "--layer", "down:3", "--octaves", "9", "--steps", "1", "--out", "unit.png") == 0
    assert "of 9 octaves: smaller pictures are too small" in capsys.readouterr().out


def test_dream_of_a_video_and_an_endless_zoom(run: Callable[..., int], tmp_path: Path) -> None:
    assert run("dream", "--layer", "down:1,down:2", "--zoom", "4", "--each", "2", "--steps", "1", "--out", "z.avi") == 0
    video = cv2.VideoCapture("z.avi")
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == 4
    assert run("dream", "--image", "z.avi", "--layer", "down", "--out", "again.mp4") == 0
    assert cv2.VideoCapture("again.mp4").read()[1].shape == (50, 70, 3)


@pytest.mark.parametrize(
    ("command", "args", "message"),
    [
        ("invert", ("--out", "x.gif"), "expected a name that ends in .png"),
        ("invert", ("--units", "a", "--out", "x.png"), "--units 'a': expected numbers"),
        ("invert", ("--layer", "fc", "--units", "7", "--start", "noise", "--out", "x.png"), "units 0 to 4"),
        ("invert", ("--layer", "fc", "--stronger", "down:2=x", "--start", "noise", "--out", "x.png"), "expected UNIT"),
        ("dream", ("--layer", "conv,down", "--out", "x.png"), "units of one layer"),
        ("dream", ("--layer", "down", "--steps", "0", "--out", "x.png"), "--steps '0'"),
        ("dream", ("--layer", "down", "--box", "60,40,20,20", "--out", "x.png"), "inside the picture of 70×50"),
        ("dream", ("--layer", "down", "--zoom", "2", "--zoom-by", "nan", "--out", "x.mp4"), "--zoom-by nan: expected"),
        ("dream", ("--layer", "down", "--zoom", "2", "--turn", "inf", "--out", "x.mp4"), "--turn inf: expected"),
        ("dream", ("--layer", "down", "--zoom", "2", "--drift", "nan", "0", "--out", "x.mp4"), "--drift nan: expected"),
        ("dream", ("--layer", "down", "--step", "nan", "--out", "x.png"), "--step nan: expected"),
        ("dream", ("--layer", "down", "--out", "cat.png"), "--out cat.png: it is the picture or video"),
        ("invert", ("--layer", "down", "--stronger", "down:1=nan", "--out", "x.png"), "expected a weight of -100"),
        ("dream", ("--layer", "down", "--zoom", "2", "--out", "x.png"), "expected a video that ends in .mp4 or .avi"),
    ],
)
def test_bad_input(
    run: Callable[..., int], capsys: pytest.CaptureFixture, command: str, args: tuple[str, ...], message: str
) -> None:
    assert run(command, *args) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said and not Path("x.png").exists()


def test_a_large_picture_keeps_its_size(run: Callable[..., int], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "cat.png"), np.tile(np.arange(250, dtype=np.uint8), (8, 9))[..., None].repeat(3, 2))
    assert run("dream", "--layer", "down", "--octaves", "1", "--steps", "1", "--out", "x.png") == 0
    assert cv2.imread("x.png").shape == (8, 2250, 3)


@pytest.mark.parametrize("keys", ["! {", "! { {", "!"])
def test_what_never_ends_is_drawn_once(run: Callable[..., int], keys: str, tmp_path: Path) -> None:
    """An endless zoom and a live dream: `deepvis render` draws their first picture."""
    more = ("--model", "net", "--device", "cpu", "--data", str(tmp_path / "data"), "--size", "700x450")
    assert main.main(["render", "--input", "cat.png", "--unit", "down:1", "--keys", keys, *more, "--out", "w.png"]) == 0
    assert cv2.imread("w.png").shape == (450, 700, 3)


def test_a_black_picture_is_nothing_to_a_layer(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "net" / "smallish.py").write_text(
        NET.replace("    return", "    torch.set_default_dtype(torch.float32)\n    return")
    )
    code = (
        NET.replace("nn.ReLU()", "Nothing()")
        + "\n\nclass Nothing(nn.Module):\n    def forward(self, x):\n        return 0 * x\n"
    )
    (tmp_path / "net" / "smallish.py").write_text(code)
    assert run("invert", "--layer", "relu", "--start", "noise", "--out", "x.png") == 2
    assert "layer relu keeps nothing of this picture" in capsys.readouterr().err
    assert run("dream", "--layer", "relu", "--out", "x.png") == 2
    assert "nothing to dream" in capsys.readouterr().err


def test_a_full_disk_keeps_the_frames_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from deepvis.core.errors import UserError

    left = iter([1 << 40, 1 << 10])
    monkeypatch.setattr("deepvis.display.film.shutil.disk_usage", lambda folder: SimpleNamespace(free=next(left)))
    with pytest.raises(UserError, match="the first 16 frames are kept"), Film(tmp_path / "a.avi", 25) as film:
        for _ in range(40):
            film.add(np.zeros((20, 30, 3), np.uint8))
    assert cv2.VideoCapture(str(tmp_path / "a.avi")).read()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]
