"""The panes of what a layer remembers and dreams, and their keys and chips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.dreaming import draw_box, end_box
from deepvis.interface.effects import KeepDream
from deepvis.interface.requests import dream_wish
from deepvis.interface.settings import DreamSettings
from deepvis.interface.state import State
from deepvis.render.draw import Canvas
from deepvis.render.panes.layer import LAYER, spot_in_layer
from deepvis.render.scene import Scene
from deepvis.workers.picture_messages import DreamView, DreamWish, Remembered, RememberedWish

LAYERS = (Layer("stem", "Conv2d", 6, 8, 8), Layer("head", "Linear", 10))
FRAME = Frame(np.zeros((32, 32, 3), np.uint8), "cat.png", 0, False)
RED, GREEN = np.full((32, 32, 3), (255, 0, 0), np.uint8), np.full((32, 32, 3), (0, 255, 0), np.uint8)


def scene(state: State, **found: object) -> Scene:
    return Scene(state, layers=LAYERS, frame=FRAME, keys=commands.keys_of(commands.bindings()), **found)


def drawn(of: Scene) -> np.ndarray:
    canvas = Canvas(np.zeros((400, 700, 3), np.uint8))
    LAYER.draw(canvas, of)
    return canvas.image


def amount(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((picture == color[::-1]).all(2).sum())


def test_the_picture_and_the_rebuilt_one_side_by_side() -> None:
    state = State(content="remembered")
    wish = RememberedWish("stem", None, FRAME, True)
    found = Remembered(wish, RED, GREEN, 17.5, 0.02, 60, 16.0)
    picture = drawn(scene(state, remembered=found))
    assert amount(picture, (255, 0, 0)) > 50_000 and amount(picture, (0, 255, 0)) > 50_000
    assert amount(picture[:, :350], (0, 255, 0)) == 0
    for other in (replace(state, layer=1), replace(state, part="unit")):
        assert amount(drawn(scene(other, remembered=found)), (0, 255, 0)) == 0
    one, two = (scene(state, remembered=r) for r in (found, replace(found, steps=70)))
    assert LAYER.key(one) != LAYER.key(two) and LAYER.key(one) == LAYER.key(scene(state, remembered=found))


def test_why_there_is_none_is_said() -> None:
    state, wish = State(content="remembered"), RememberedWish("stem", None, FRAME, True)
    said = drawn(scene(state, remembered=Remembered(wish, note="learning, 40 of 400 photos")))
    assert not np.array_equal(said, drawn(scene(state)))
    dreamless = DreamView(DreamWish("stem", None, "picture", FRAME, True), note="nothing to dream")
    assert not np.array_equal(
        drawn(scene(State(content="dream"), dream=dreamless)), drawn(scene(State(content="dream")))
    )


def test_the_dream_fills_the_pane() -> None:
    found = DreamView(DreamWish("stem", None, "picture", FRAME, True), GREEN, "octave 1 of 4")
    state = State(content="dream")
    assert amount(drawn(scene(state, dream=found)), (0, 255, 0)) > 100_000
    assert amount(drawn(scene(replace(state, dream_mode="zoom"), dream=found)), (0, 255, 0)) == 0


def test_keys_show_stop_and_save_the_dream() -> None:
    facts, bound = Facts(LAYERS), commands.bindings()
    press = lambda state, key: commands.press(state, key, facts, bound)
    state = press(State(zoom="unit"), "!").state
    assert (state.content, state.zoom, state.dreaming) == ("dream", "layer", True)
    state = press(state, "!").state
    assert not state.dreaming
    state = press(state, ":").state
    assert state.dreaming and state.dream_rounds == 1
    assert press(state, "{").state.dream_mode == "zoom" and press(state, "(").state.part == "unit"
    assert press(state, "enter").effects == (KeepDream(),)
    assert "hold a picture" in press(state, ")").state.message
    assert press(replace(state, held=FRAME), ")").state.guided
    assert "this key works in the dream" in press(State(), ":").state.message
    assert not press(state, "{").state.message and not press(state, "(").state.message
    assert press(State(), "{").state.message == "an endless zoom: seen in the tab “dream”"
    assert press(State(), "(").state.message.endswith("seen in the tabs “remembered” and “dream”")


def test_chips_call_these_commands() -> None:
    for state in (State(content="dream", held=FRAME), State(content="remembered", part="unit")):
        words = [chip.words for chip in LAYER.chips(scene(state))]
        assert "unit alone" in words and ("save" in words) == (state.content == "dream")
        for chip in LAYER.chips(scene(state)):
            commands.run(state, chip.call, Facts(LAYERS))


def test_a_box_is_drawn_where_the_mouse_is_and_guides_the_dream() -> None:
    found = DreamView(DreamWish("stem", None, "picture", FRAME, True), GREEN, "octave 1 of 4")
    state, canvas = State(content="dream", dreaming=False), Canvas(np.zeros((400, 700, 3), np.uint8))
    of = scene(state, dream=found)
    shown = drawn(of)
    ys, xs = np.nonzero((shown == (0, 255, 0)).all(2))
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    wide, high = right - left, bottom - top
    begin = spot_in_layer(canvas, of, left + wide // 2, top + high // 4)
    end = spot_in_layer(canvas, of, right + 50, top + high // 2)
    assert begin.frame is FRAME and begin.is_inside and not end.is_inside
    drawing = draw_box(state, begin, end)
    box = drawing.new_box.box
    assert np.allclose((box.left, box.top, box.right, box.bottom), (0.5, 0.25, 1, 0.5), atol=0.01)
    assert drawing.guide_box is None and dream_wish(drawing, LAYERS, FRAME, DreamSettings()).guide is None
    done = end_box(drawing)
    assert done.dreaming and done.new_box is None
    wish = dream_wish(done, LAYERS, FRAME, DreamSettings())
    assert wish.guide is FRAME and wish.box == box and wish.dream != found.wish.dream
    for one in (drawing, done):
        changed = (drawn(scene(one, dream=found)) != shown).any(2)[top:bottom, left:right]
        rows, columns = np.nonzero(changed)
        assert abs(columns.min() - wide // 2) <= 1 and columns.max() == wide - 1
        assert abs(rows.min() - high // 4) <= 1 and abs(rows.max() - high // 2) <= 1
        assert not changed[high // 4 + 8 : high // 2 - 8, wide // 2 + 8 : -8].any()  # its inside is free
        assert LAYER.key(scene(one, dream=found)) != LAYER.key(of)
    loose = commands.press(done, ")", Facts(LAYERS), commands.bindings()).state
    assert loose.guide_box is None and "too small" in end_box(draw_box(state, begin, begin)).message
    assert end_box(state) is state


def test_a_box_of_a_live_dream_is_of_what_the_network_sees_and_there_is_none_in_a_zoom() -> None:
    wide = Frame(np.zeros((40, 80, 3), np.uint8), "camera 0", 0, True)
    for crop, expected in ((True, 0.25), (False, 0.0)):
        state, canvas = State(content="dream", dream_mode="live"), Canvas(np.zeros((400, 700, 3), np.uint8))
        found = DreamView(DreamWish("stem", None, "live", wide, crop), GREEN, "live")
        at = spot_in_layer(canvas, scene(state, dream=found), 0, 200)
        assert at.x == expected and 0.4 < at.y < 0.6
    zoom = replace(state, dream_mode="zoom")
    found = DreamView(DreamWish("stem", None, "zoom", wide, True), GREEN, "frame 3")
    assert spot_in_layer(canvas, scene(zoom, dream=found), 350, 200) is None
    assert spot_in_layer(canvas, scene(State(content="dream")), 350, 200) is None
