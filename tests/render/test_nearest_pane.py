"""The pane of the photos nearest to a unit's images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.core.frames import Photo
from deepvis.core.layers import Layer
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.pointing import click
from deepvis.interface.state import ComparedPhoto, State, Target
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.layer import LAYER
from deepvis.render.scene import Scene
from deepvis.workers.messages import UnitPictures
from deepvis.workers.nearest_messages import NearestPhotos, NearestWish, NearPhoto

LAYERS = (Layer("conv", "Conv2d", 6, 8, 8), Layer("fc", "Linear", 10))
RED, GREEN, BLUE = (np.full((16, 16, 3), color, np.uint8) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
FOUND = NearestPhotos(
    NearestWish("conv", ("conv", 2), 5, (RED, RED)),
    tuple(
        {
            "pixels": tuple(NearPhoto("/photos", f"a/photo-{i}.jpg", 0.5 + i, GREEN) for i in range(3)),
            "conv": (NearPhoto("/photos", "b.jpg", 0.25, BLUE), NearPhoto("/photos", "c.jpg", 0.75, None)),
        }
        for _ in range(2)
    ),
    400,
)


def scene(found: NearestPhotos | None, unit: int = 2, hover: Target = None, **more: object) -> Scene:
    state = State(zoom="nearest", unit=unit, hover=hover)
    return Scene(state, layers=LAYERS, nearest=found, pictures_of="conv", keys={"synthesize": "x"}, **more)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines, put = [], text.put

    def heard(image: np.ndarray, words: str, *more: object, **named: object) -> int:
        lines.append(words)
        return put(image, words, *more, **named)

    monkeypatch.setattr(text, "put", heard)
    return lines


def drawn(of: Scene, height: int = 500, width: int = 900) -> np.ndarray:
    canvas = Canvas(np.zeros((height, width, 3), np.uint8))
    LAYER.draw(canvas, of)
    return canvas.image


@pytest.mark.parametrize("size", [(500, 900), (230, 340)])
def test_a_row_for_each_image(said: list[str], size: tuple[int, int]) -> None:
    picture = drawn(scene(FOUND), *size)
    amounts = [int((picture == color[0, 0, ::-1]).all(2).sum()) for color in (RED, GREEN, BLUE)]
    assert amounts[0] == amounts[2] and amounts[1] == 3 * amounts[0] > 0
    words = " ".join(said)
    assert "nearest in pixels" in words and "in the code of conv" in words
    assert words.count("0.25") == 2 and words.count("2.50") == 2
    assert ("photo-1.jpg" in words) == ("missing" in words) == (size[1] == 900)


def test_a_click_on_a_photo_shows_it_to_the_network() -> None:
    of, canvas = scene(FOUND), Canvas(np.zeros((500, 900, 3), np.uint8))
    picture = drawn(of)
    rows, columns = np.nonzero((picture == BLUE[0, 0, ::-1]).all(2))  # two tiles, one below the other
    x, y = int(columns.min()) + 5, int(rows.max()) - 5
    target = LAYER.target(canvas, of, x, y)
    assert target == ComparedPhoto(1, 4, Photo("/photos", "b.jpg"))
    assert LAYER.target(canvas, of, 5, y) is None  # beside the image
    pointed = scene(FOUND, hover=target)
    assert pointed.hover == target and LAYER.key(pointed) != LAYER.key(of)
    assert (drawn(pointed) != picture).any()
    assert click(of.state, target, Facts(LAYERS)).state.photo == target.photo
    assert replace(pointed, nearest=None).hover is None


def test_why_there_are_none_is_said(said: list[str]) -> None:
    drawn(scene(NearestPhotos(FOUND.wish, note="comparing with 8 of 400 photos …")))
    assert "comparing with 8 of 400 photos …" in said
    for more, words in (
        ({}, "waiting for the unit's images …"),
        ({"pictures": UnitPictures("conv", 3, known=True)}, "no synthesized images: x makes some now"),
        ({"pictures": UnitPictures("conv", 3, synthesized=(RED,), known=True)}, "looking at the photos …"),
    ):
        said.clear()
        drawn(scene(FOUND, unit=3, **more))  # of the unit before
        assert words in " ".join(said)


def test_its_key_and_chips() -> None:
    facts, bound = Facts(LAYERS), commands.bindings()
    shown = commands.press(State(), "_", facts, bound).state
    assert shown.zoom == "nearest" and commands.press(shown, "_", facts, bound).state.zoom == "layer"
    assert commands.run(shown, "nearest=again", facts).state.nearest_round == 1
    assert [chip.call for chip in LAYER.chips(scene(FOUND))] == ["nearest"]
    assert "nearest" in [chip.call for chip in LAYER.chips(Scene(State(content="synthesized"), layers=LAYERS))]
    assert LAYER.key(scene(FOUND)) != LAYER.key(scene(None))
