"""What the window says where there is little room, nothing to show yet, or something that does not count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface.commands import COMMANDS
from deepvis.interface.layout import lay_out
from deepvis.interface.palette import Entry
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import Control, Hover, State
from deepvis.render import LoadingScene, Renderer, Scene, text
from deepvis.render.draw import Canvas
from deepvis.workers.messages import Scanning, UnitPictures

LABELS = tuple(f"class number {i}" for i in range(900))
LAYERS = Layer("map", "Conv2d", 12, 5, 5), Layer("classes", "Linear", len(LABELS), labels=LABELS)
FRAME = Frame(np.zeros((20, 20, 3), np.uint8), "black.png", 0, False)
RENDERER = Renderer(lay_out(DEFAULT_PANES, 1500, 930, 1.0))


def scene(layer: int = 0, state: dict | None = None, values: np.ndarray | None = None, **parts) -> Scene:
    of = LAYERS[layer]
    if values is None:
        values = np.random.default_rng(0).random((of.units, of.height, of.width), np.float32)
    shown = State(layer=layer, **(state or {}))
    origin = (LAYERS[shown.backward_origin[0]].name, shown.backward_origin[1]) if shown.method else None
    request = Request(FRAME, True, of.name, shown.method, origin, shown.layer_gradient)
    gradient, pixels = parts.pop("gradient", None), np.ones((8, 8, 3), np.float32)
    scores = np.linspace(0, 1, len(LABELS), dtype=np.float32)
    result = Result(request, values, scores, pixels, gradient)
    return Scene(shown, layers=LAYERS, classes=LABELS, frame=FRAME, result=result, pictures_of=of.name, **parts)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch):
    """A function that draws a scene and returns the words in it."""
    words: list[str] = []
    put = text.put
    monkeypatch.setattr(text, "put", lambda image, line, *a, **k: (words.append(line), put(image, line, *a, **k))[1])

    def draw(shown: LoadingScene, size: tuple[int, int] = (1500, 930)) -> str:
        words.clear()
        Renderer(lay_out(DEFAULT_PANES, *size, 1.0)).compose(shown)
        return "\n".join(words)

    draw.words = words
    return draw


PATH = "/home/somebody/data/with/a/long/name/" + "deeper/" * 12 + "scan/index.npz"


def test_a_long_path_is_broken_into_lines_and_not_cut() -> None:
    lines = text.wrap(f"{PATH}: is damaged", 150, 13)
    assert "".join(lines).replace(" ", "").startswith(PATH) and not any("…" in line for line in lines)
    assert all(text.width(line, 13) <= 150 for line in lines)


def test_where_there_is_no_room_for_a_path_its_end_stays(said) -> None:
    Canvas(np.zeros((45, 200, 3), np.uint8)).words(f"{PATH}: is damaged. Scan again")
    shown = "".join(said.words)
    assert "index.npz" in shown and "Scan again" in shown and "somebody" not in shown


def test_a_title_loses_whole_parts_and_never_half_a_number(said) -> None:
    canvas = Canvas(np.zeros((40, 130, 3), np.uint8))
    canvas.caption("a layer   of many units   and more", "max 1234567890123")
    assert [word for word in said.words if word] == ["a layer"]


def test_chips_give_way_to_the_first_part_of_a_title(said) -> None:
    shown = scene(scanning=Scanning(120, 424), pictures=UnitPictures("map", 0))
    for size in (640, 400), (1280, 720), (1500, 930):
        lines = said(shown, size).split("\n")
        assert "synthesized" in [line.partition("   ")[0] for line in lines]
        assert "top images" in [line.partition("   ")[0] for line in lines]
    assert "top images   120 of 424 photos" in lines


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"grows_by_itself": True}, "grow here by themselves, in a moment"),
        ({"grows_by_itself": True, "scanning": Scanning(1, 9)}, "when the photos have been scanned"),
        ({}, "none stored"),
        ({"grows_by_itself": True, "pictures": UnitPictures("map", 0, note="dead")}, "dead"),
    ],
)
def test_the_synthesized_block_says_what_will_come(said, parts: dict, expected: str) -> None:
    shown = scene(**{"pictures": UnitPictures("map", 0), **parts})
    assert expected in said(shown).replace("\n", " ")


def test_backward_values_of_the_units_own_layer_are_explained(said) -> None:
    values = np.zeros((12, 5, 5), np.float32)
    state = {"layer_gradient": True, "method": "gradient", "unit": 3}
    nothing = said(scene(state=state, gradient=values)).replace("\n", " ")
    assert "Nothing flows back from map:3 to map" in nothing
    seed = values.copy()
    seed[3] = 1
    shown = scene(state=state, gradient=seed)
    assert "The backward pass starts in this layer, at map:3" in said(shown).replace("\n", " ")
    left, top, width, height = RENDERER.layer_box
    assert RENDERER.target_at(left + width // 2, top + height // 3, shown) is None
    assert "starts in this layer" not in said(scene(state=state, gradient=seed + 1))


def test_few_predictions_where_they_would_cover_the_picture() -> None:
    """At 640×400 the picture keeps its place, and a click finds the prediction that is drawn."""
    renderer = Renderer(lay_out(DEFAULT_PANES, 640, 400, 1.0))
    shown = scene()
    renderer.compose(shown)
    left, top, width, height = renderer.layout.panes["input"]
    found = {renderer.target_at(left + width // 2, top + y, shown) for y in range(20, height)}
    hit = {target.unit for target in found if isinstance(target, Hover)}
    assert 1 <= len(hit) < 5 and max(hit) == len(LABELS) - 1
    wide = {RENDERER.target_at(100, y, shown) for y in range(930)}
    assert len({target.unit for target in wide if isinstance(target, Hover) and target.layer == 1}) == 5


def test_names_of_classes_do_not_cover_their_neighbours(said) -> None:
    """Where the cells are too small for names, the strongest are named in the title."""
    values = np.linspace(0, 1, len(LABELS), dtype=np.float32)[:, None, None]
    shown = scene(1, values=values)
    title = next(line for line in said(shown).split("\n") if line.startswith("classes   Linear"))
    assert "strongest: class number 899, class number 898" in title and "…" not in title
    plain = replace(shown, layers=(LAYERS[0], replace(LAYERS[1], labels=())))
    box = RENDERER.layer_box

    def body(of: Scene) -> np.ndarray:
        image = Renderer(RENDERER.layout).compose(of)[0]
        return image[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]

    np.testing.assert_array_equal(body(shown), body(plain))


def test_colours_that_do_not_count_here_are_said(said) -> None:
    signed = np.random.default_rng(0).normal(size=(12, 5, 5)).astype(np.float32)
    assert "but blue-orange here" in said(scene(state={"colors": "viridis"}, values=signed))
    assert "but blue-orange here" not in said(scene(state={"colors": "viridis"}))
    assert "colours" not in said(scene(values=signed))


def test_holding_a_picture_and_hiding_the_images_have_chips(said) -> None:
    shown = scene(pictures=UnitPictures("map", 0))
    assert "hold" in said(shown).split("\n") and "hide" in said(shown).split("\n")
    assert "let go" in said(replace(shown, state=replace(shown.state, held=FRAME))).split("\n")
    hidden = replace(shown, state=replace(shown.state, unit_images=False))
    assert "show" in said(hidden).split("\n")
    left, top, width, _ = RENDERER.layout.panes["unit_images"]
    found = {RENDERER.target_at(x, top + 8, hidden) for x in range(left, left + width, 4)}
    assert Control("unit_images", "show the unit's images") in found and "unit_images" in COMMANDS


def test_the_palette_can_be_clicked_while_the_network_loads() -> None:
    entries = tuple(Entry(f"entry {i}", f"theme={i}") for i in range(3))
    shown = LoadingScene(State(finding=True, typing=""), found=entries)
    left, top, width, height = RENDERER.layout.panes["layer"]
    found = {RENDERER.target_at(left + width // 2, top + y, shown) for y in range(0, height, 4)}
    assert {control.call for control in found if isinstance(control, Control)} >= {"theme=0", "theme=1", "theme=2"}
