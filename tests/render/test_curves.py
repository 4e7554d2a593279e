"""The pane that says which backward method is true, its key and chips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.pointing import click
from deepvis.interface.state import Control, State
from deepvis.render import text
from deepvis.render.colors import DARK
from deepvis.render.draw import Canvas
from deepvis.render.panes import PANES, backward, chips, curves
from deepvis.render.panes.layer import LAYER
from deepvis.render.scene import Scene
from deepvis.workers.picture_messages import RANDOM_BLOCKS, CurvesWish, MethodCurve, MethodCurves

LAYERS = (Layer("stem", "Conv2d", 6, 8, 8), Layer("head", "Linear", 10))
FRAME = Frame(np.zeros((32, 32, 3), np.uint8), "cat.png", 0, False)
FALL, RISE = tuple(np.linspace(0.8, 0, 11).tolist()), tuple(np.linspace(0, 0.8, 11).tolist())
ROWS = (
    MethodCurve(RANDOM_BLOCKS, FALL, RISE),
    MethodCurve("lrp", tuple(value**2 for value in FALL), RISE),
    MethodCurve("grad-cam", note="no layer has maps"),
)
FOUND = MethodCurves(CurvesWish(FRAME, True, ("lrp", "grad-cam")), "head", 3, 0.8, ROWS)
SHOWN = State(zoom="curves", method="lrp")


def scene(state: State = SHOWN, found: MethodCurves | None = FOUND, **more: object) -> Scene:
    given = {"layers": LAYERS, "frame": FRAME, "keys": commands.keys_of(commands.bindings()), **more}
    return Scene(state, curves=found, **given)


def drawn(of: Scene) -> np.ndarray:
    canvas = Canvas(np.zeros((600, 800, 3), np.uint8))
    LAYER.draw(canvas, of)
    return canvas.image


def count(picture: np.ndarray, ink: tuple[int, ...]) -> int:
    return int((picture == ink).all(2).sum())


def test_the_method_that_is_on_and_the_floor_stand_out() -> None:
    picture = drawn(scene())
    assert count(picture, DARK.accent) > 500 and count(picture, DARK.bad) > 500
    other = drawn(scene(replace(SHOWN, method=None)))
    assert count(other, DARK.accent) == 0 and count(other, DARK.bad) > 500


def test_a_click_on_a_line_shows_the_method() -> None:
    canvas = Canvas(np.zeros((600, 800, 3), np.uint8))
    found = {LAYER.target(canvas, scene(), 20, y) for y in range(600)}
    controls = {one.call for one in found if isinstance(one, Control)}
    assert controls == {"method=lrp", "method=grad-cam"}
    one = next(one for one in found if isinstance(one, Control) and one.call == "method=grad-cam")
    assert click(SHOWN, one, Facts(LAYERS)).state.method == "grad-cam"
    hovered = scene(replace(SHOWN, hover=one))
    assert LAYER.key(hovered) != LAYER.key(scene()) and count(drawn(hovered), DARK.pointed) > 20


def test_what_is_missing_is_said_in_words() -> None:
    live = Frame(FRAME.image, "camera", 0, True)
    pictures = [
        drawn(scene(found=None)),
        drawn(scene(found=replace(FOUND, curves=(), note="no class scores"))),
        drawn(scene(found=None, frame=live)),
        drawn(scene()),
    ]
    assert len({picture.tobytes() for picture in pictures}) == 4
    stale = scene(frame=Frame(FRAME.image, "dog.png", 1, False))
    assert stale.own_curves is None  # another picture's
    assert scene(frame=live).curves_need_still and not scene(replace(SHOWN, frozen=True), frame=live).curves_need_still


def test_a_key_shows_them_and_leads_back() -> None:
    bound = commands.bindings()
    shown = commands.press(State(), "?", Facts(LAYERS), bound).state
    assert shown.zoom == "curves" and commands.press(shown, "?", Facts(LAYERS), bound).state.zoom == "layer"
    assert [chip.call for chip in PANES["layer"].chips(scene())] == ["curves"]


@pytest.mark.parametrize("method", [None, "gradient", "lrp", "grad-cam"])
def test_the_backward_pane_has_room_for_the_short_cycle(method: str | None) -> None:
    """At the usual size of the window: 300 pixels."""
    doubts = {"deconv": "no better than random blocks", "guided": "hardly depends on the weights"}
    shown = PANES["backward"].chips(scene(State(method=method), doubts=doubts))
    line = Canvas(np.zeros((18, 300, 3), np.uint8))
    assert [chip.words for chip, _ in chips.placed(line, shown)] == [chip.words for chip in shown]
    words = [chip.words for chip in shown]
    assert {"grad", "deconv?", "guided?", "LRP", "CAM", "…", "?"} <= set(words) and ("off" in words) == (method is None)
    assert [chip.call for chip in shown if chip.on][0] == "method=off"


def test_a_note_stands_below_the_image_and_is_cut_with_an_ellipsis() -> None:
    canvas = Canvas(np.zeros((200, 300, 3), np.uint8))
    one = backward._above(canvas, "from the maps of head").height
    assert one < 200 and not canvas.image[:one].any() and canvas.image[one:].any()
    long = "fails on this network: hardly depends on the weights and gives the same map for every class"
    canvas.image[:] = 0
    two = backward._above(canvas, long).height
    assert two < one and not canvas.image[:two].any()
    assert backward._above(canvas, 9 * long).height >= 0.74 * 200  # at most a quarter
    assert backward._above(canvas, "").height == 200


def test_both_plots_say_what_is_good_even_where_there_is_little_room() -> None:
    for way, said in (("deletion", "falling fast is good"), ("insertion", "rising fast is good")):
        assert text.fitting_parts(curves._TITLES[way], 270, curves._SIZE).startswith(f"{way}   {said}")
