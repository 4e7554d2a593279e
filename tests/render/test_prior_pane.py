"""The pane that watches the training of a prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.core.layers import Layer
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.state import State
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.layer import LAYER
from deepvis.render.scene import Scene, Status
from deepvis.store.training_records import ENDED, PREPARING, STOPPED, TRAINING, HeldOutLook, TrainingRecord
from deepvis.store.watched_priors import WatchedPrior

LAYERS = (Layer("conv", "Conv2d", 6, 8, 8), Layer("fc", "Linear", 10))
LOOKS = tuple(HeldOutLook(50 * i, i / 2, int(i > 3), 16 + i / 5, 1.2 - i / 20, 1 - i / 20) for i in range(1, 7))
RECORD = TrainingRecord(
    "net", "f", "conv", 32, 60, 7, "deepvis train-prior --layer conv", TRAINING, "", 300, 3.0, 1, 0.5,
    HeldOutLook(0, 0, 0, 16, 1.2, 1), LOOKS,
)  # fmt: skip
COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))  # of the rows
PICTURES = np.stack([np.full((5, 32, 32, 3), color, np.uint8) for color in COLORS])
FOUND = WatchedPrior("conv", RECORD, True, PICTURES)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    put = text.put
    monkeypatch.setattr(
        text, "put", lambda image, words, *more, **named: (lines.append(words), put(image, words, *more, **named))[1]
    )
    return lines


def scene(found: WatchedPrior | None, state: State | None = None) -> Scene:
    state = state or State(content="prior")
    return Scene(state, layers=LAYERS, prior=found, status=Status(options=" --model net"))


def drawn(of: Scene, height: int = 600, width: int = 760) -> np.ndarray:
    canvas = Canvas(np.zeros((height, width, 3), np.uint8))
    LAYER.draw(canvas, of)
    return canvas.image


def amount(picture: np.ndarray, color: tuple[int, ...]) -> int:
    return int((picture == color[::-1]).all(2).sum())


@pytest.mark.parametrize("size", [(600, 760), (400, 500), (230, 340)])
def test_rows_of_pictures_one_below_the_other(size: tuple[int, int], said: list[str]) -> None:
    picture = drawn(scene(FOUND), *size)
    tops = [np.nonzero((picture == color[::-1]).all(2).any(1))[0].min() for color in COLORS]
    assert tops == sorted(tops) and len({amount(picture, color) for color in COLORS}) == 1
    words = " ".join(said)
    assert "step 300" in words and "photos set aside" in words and "of 7)" in words
    assert "closed form of their codes: 16.00 dB" in words and "generator: 17.20 dB, feature error 0.90" in words
    accent = np.array(Canvas(picture).theme.accent)
    assert ((picture[size[0] // 2 :] == accent).all(2).any()) == (size[0] >= 400)  # the curve, if there is room


def test_whether_it_runs_has_ended_or_goes_on(said: list[str]) -> None:
    def words(**changes: object) -> str:
        said.clear()
        drawn(scene(replace(FOUND, record=replace(RECORD, **changes), is_running=False)))
        return " ".join(said)

    drawn(scene(FOUND))
    assert "training now" in said and "50% of its limit" in " ".join(said) and "train-prior" not in " ".join(said)
    assert "broke off" in words() and "deepvis train-prior --layer conv" in words()
    assert "stopped; goes on with: deepvis train-prior --layer conv" in words(status=STOPPED, why="it was stopped")
    assert "stopped (no space)" in words(status=STOPPED, why="no space")
    limited = words(status=ENDED, why="its limit is reached", spent=1.0)
    assert "ended: its limit is reached; with a larger --minutes or --steps" in limited
    assert "from Python" in words(status=STOPPED, command="")
    said.clear()
    drawn(scene(replace(FOUND, record=replace(RECORD, status=PREPARING, looks=()), pictures=PICTURES[:, :0])))
    assert "the closed form is learned" in " ".join(said)


def test_without_a_training_the_pane_says_how_to_begin(said: list[str]) -> None:
    about = {"photos": 381, "steps": 900, "psnr": 19.5, "closed_form": {"psnr": 16.75}}
    drawn(scene(WatchedPrior("conv", about=about, is_bundled=True, others=("fc", "head"))))
    words = " ".join(said)
    assert "deepvis train-prior --model net --layer conv --images DIR" in words and "fc, head" in words
    assert "comes with the program: 381 photos, 900 steps; 19.5 dB" in words
    said.clear()
    drawn(scene(WatchedPrior("conv", about={"photos": "many", "closed_form": 3}, note="too many units")))
    assert "too many units" in said and "train-prior" not in " ".join(said)
    for found in (None, WatchedPrior("fc")):  # the layer before
        said.clear()
        drawn(scene(found))
        assert "looking for a training …" in said


def test_the_tab_stands_beside_what_the_layer_remembers() -> None:
    tabs = {name: [chip.words for chip in LAYER.chips(scene(None, State(content=name)))] for name in
            ("activations", "remembered", "prior")}  # fmt: skip
    assert "prior" not in tabs["activations"] and "prior" in tabs["remembered"] and "prior" in tabs["prior"]
    outcome = commands.run(State(content="remembered"), "content", Facts(LAYERS))
    assert outcome.state.content == "prior"
    one, two = scene(FOUND), scene(replace(FOUND, is_running=False))
    assert LAYER.key(one) != LAYER.key(two) and LAYER.key(one) == LAYER.key(scene(FOUND))
