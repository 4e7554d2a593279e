"""The pane of the photos nearest to a unit's images."""

from __future__ import annotations

import numpy as np
import pytest

from deepvis.core.layers import Layer
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.state import State
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


def scene(found: NearestPhotos | None, unit: int = 2, **more: object) -> Scene:
    state = State(zoom="nearest", unit=unit)
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
