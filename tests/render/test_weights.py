"""The units that feed the selected one, in the layer pane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from written import words

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.core.weights import InputWeight, InputWeights
from deepvis.interface.command import Facts
from deepvis.interface.layout import lay_out
from deepvis.interface.pointing import click
from deepvis.interface.requests import layer_images_wish, request_for, weights_wish
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import Hover, State
from deepvis.render import Renderer, Scene
from deepvis.workers.messages import Cells, InputWeightsWish

LAYERS = (Layer("early", "Conv2d", 20, 4, 4), Layer("late", "Conv2d", 6, 4, 4), Layer("scores", "Linear", 6),
          Layer("probs", "Softmax", 6))  # fmt: skip
FRAME = Frame(np.zeros((20, 20, 3), np.uint8), "black.png", 0, False)
STATE = State(layer=1, unit=2, content="weights")
FEEDING = tuple(
    InputWeight("early", 3 * i, w, 2 - i / 9, np.full((3, 3), w / 9, np.float32) * np.arange(9).reshape(3, 3))
    for i, w in enumerate((0.5, -0.25, 0.125))
)
WEIGHTS = InputWeights("late", 2, FEEDING, 20)


def scene(weights: InputWeights | None = WEIGHTS, **parts) -> Scene:
    request = request_for(STATE, FRAME, LAYERS, weights)
    maps = np.random.default_rng(0).random((6, 4, 4), np.float32)
    others = tuple(np.full((4, 4), i + 1, np.float32) for i in range(len(request.others)))
    result = Result(request, maps, others=others)
    return Scene(STATE, layers=LAYERS, frame=FRAME, result=result, pictures_of="late", weights=weights, **parts)


def test_each_line_names_a_unit_and_its_weight_and_a_click_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene()
    said = words(shown, monkeypatch)
    assert "late:2   fed most by these units of early" in said and "3 of 20" in said
    assert said.index("early:0") < said.index("0.50") < said.index("early:3") < said.index("−0.25")
    renderer = Renderer(lay_out(DEFAULT_PANES, 1500, 930, 1.0))
    renderer.compose(shown)
    left, top, width, _ = renderer.layer_box
    found = {renderer.target_at(left + width // 2, top + y, shown) for y in range(0, 300, 5)}
    assert {Hover(0, 0), Hover(0, 3), Hover(0, 6)} <= found
    went = click(STATE, Hover(0, 3), Facts(LAYERS)).state
    assert (went.layer, went.unit, went.content) == (0, 3, "weights")


def test_pictures_are_the_kernel_the_map_and_the_top_image() -> None:
    """Each of them changes what is drawn."""

    def drawn(shown: Scene) -> bytes:
        return Renderer(lay_out(DEFAULT_PANES, 1000, 700, 1.0)).compose(shown)[0].tobytes()

    plain = scene()
    other = replace(WEIGHTS, inputs=(replace(FEEDING[0], kernel=-FEEDING[0].kernel), *FEEDING[1:]))
    cells = Cells("early", {3: np.full((8, 8, 3), 200, np.uint8)})
    brighter = replace(
        plain.result, others=tuple(one[::-1] * np.eye(4, dtype=np.float32) for one in plain.result.others)
    )
    shown = [plain, replace(plain, weights=other), replace(plain, cells=cells), replace(plain, result=brighter)]
    assert len({drawn(one) for one in shown}) == len(shown)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (None, "computing"),
        (InputWeights("late", 1), "computing"),
        (InputWeights("late", 2, note="as by attention"), "as by"),
    ],
)
def test_without_weights_it_says_why(weights, said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said in words(scene(weights), monkeypatch)


def test_what_is_asked_for() -> None:
    assert weights_wish(State(), LAYERS) is None and weights_wish(replace(STATE, help=True), LAYERS) is None
    assert weights_wish(STATE, LAYERS) == InputWeightsWish("late", 2)
    assert weights_wish(replace(STATE, layer=3), LAYERS) == InputWeightsWish("scores", 2)  # a softmax has none
    units = (("early", 0), ("early", 3), ("early", 6))
    assert request_for(STATE, FRAME, LAYERS, WEIGHTS) == Request(FRAME, True, "late", others=units)
    assert not request_for(replace(STATE, unit=3), FRAME, LAYERS, WEIGHTS).others  # the weights of another unit
    wish = layer_images_wish(STATE, LAYERS, (), 0, WEIGHTS)
    assert (wish.pictures_of, wish.units) == ("early", (0, 3, 6))
