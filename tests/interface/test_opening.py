"""What the window opens on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface.commands import COMMANDS, Facts
from deepvis.interface.effects import Outcome
from deepvis.interface.opening import (
    begun,
    first_backward,
    gives_a_picture,
    opened,
    opened_at,
    opening_layer,
    strongest,
    with_other_backward,
)
from deepvis.interface.state import Home, State


def maps(*names: str) -> tuple[Layer, ...]:
    return tuple(Layer(name, "Conv2d", 4, 5, 5) for name in names)


LAYERS = (*maps("a", "b", "c", "d", "e"), Layer("logits", "Linear", 10), Layer("probs", "Softmax", 10))


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        (LAYERS, "c"),
        (maps("a", "b", "c", "out"), "b"),  # a segmentation network's output is a map, too
        ((Layer("one", "Linear", 3), Layer("two", "Linear", 3), Layer("out", "Linear", 3)), "one"),
        (maps("alone"), "alone"),
        ((Layer("gray", "Conv2d", 1, 9, 9), *maps("b"), Layer("out", "Linear", 3)), "b"),
    ],
)
def test_the_layer_in_the_middle(layers: tuple[Layer, ...], name: str) -> None:
    assert layers[opening_layer(layers)].name == name


def activations(*values: float) -> np.ndarray:
    made = np.zeros((len(values), 5, 5), np.float32)
    made[:, 2, 3] = values
    return made


def test_the_unit_with_the_largest_value_if_nothing_else_is_known() -> None:
    assert strongest(activations(1, 9, 3, 8), None) == 1


def test_the_unit_that_is_nearest_to_its_maximum() -> None:
    assert strongest(activations(1, 9, 3, 8), np.array([10.0, 18, 3, 20])) == 2


def test_among_equally_near_ones_the_one_with_the_largest_value() -> None:
    assert strongest(activations(1, 9, 3, 8), np.array([1.0, 9.001, 3, 20])) == 1


def test_a_unit_that_hardly_ever_answers_does_not_win() -> None:
    assert strongest(activations(0.01, 9, 3, 8), np.array([0.001, 18, 20, 20])) == 1


def test_values_that_are_no_numbers() -> None:
    assert strongest(activations(np.nan, 1, 2, 0), None) == 2
    assert strongest(activations(1, 2, 3, 0), np.full(4, np.nan)) == 2


def test_it_opens_on_the_unit_with_its_backward_image() -> None:
    state = begun(State(source="camera"), LAYERS)
    assert (state.layer, state.unit, state.source) == (2, 0, "camera")
    state = opened(state, LAYERS, activations(1, 2, 9, 3), None, "guided")
    assert (state.layer, state.unit, state.method) == (2, 2, "guided")
    assert state.home == Home(2, 2, "guided")


@pytest.mark.parametrize("chosen", [{"layer": 4}, {"unit": 3}])
def test_what_the_user_has_selected_before_stays(chosen: dict) -> None:
    before = replace(begun(State(), LAYERS), **chosen)
    state = opened(before, LAYERS, activations(1, 2, 9, 3), None, "guided")
    assert (state.layer, state.unit, state.method) == (before.layer, before.unit, None)


def test_the_users_backward_method_stays() -> None:
    before = replace(begun(State(), LAYERS), method="gradient")
    assert opened(before, LAYERS, activations(1, 2, 9, 3), None, "guided").method == "gradient"


def test_a_unit_that_the_user_has_named_opens_with_the_method_that_was_on() -> None:
    state = opened_at(State(source="camera", method="gradient"), 3, 1)
    assert (state.layer, state.unit, state.method, state.source) == (3, 1, "gradient", "camera")
    assert state.home == Home(3, 1)


def test_reset_goes_back_to_it() -> None:
    state = opened(begun(State(), LAYERS), LAYERS, activations(1, 2, 9, 3), None, "guided")
    away = replace(state, layer=0, unit=1, method=None, zoom="unit", help=True)
    back = COMMANDS["reset"].do(away, Facts(LAYERS))
    assert (back.state if isinstance(back, Outcome) else back) == state


def test_relevance_comes_first_unless_it_fails_on_this_network() -> None:
    assert first_backward({"guided": "no better than random blocks"}, "guided") == "lrp"
    assert first_backward({"lrp": "no better than random blocks"}, "guided") == "guided"


def test_which_results_give_a_picture() -> None:
    request = Request(Frame(np.zeros((2, 2, 3), np.uint8), "a", 0, False), True, "c", "lrp", ("c", 2))
    pixels = np.zeros((2, 2, 3), np.float32)
    assert not gives_a_picture(None) and not gives_a_picture(Result(request))
    assert not gives_a_picture(Result(request, pixels=pixels)) and gives_a_picture(Result(request, pixels=pixels + 1))
    assert not gives_a_picture(Result(request, pixels=pixels + np.nan))
    assert not gives_a_picture(Result(request, pixels=pixels + 1, error="no rule"))


@pytest.mark.parametrize(("now", "then"), [("lrp", "guided"), ("gradient", "gradient"), (None, None)])
def test_another_method_for_a_network_without_relevance(now: str | None, then: str | None) -> None:
    state = opened(begun(State(), LAYERS), LAYERS, activations(1, 2, 9, 3), None, "lrp")
    state = with_other_backward(replace(state, method=now), "guided")
    assert (state.method, state.home) == (then, Home(2, 2, "guided"))
