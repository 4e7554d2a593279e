"""Layers and the pasteable names of units."""

from __future__ import annotations

import pytest

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, find_layer, parse_unit, stands_for, unit_id
from deepvis.core.receptive_field import ReceptiveField

LAYERS = (
    Layer("conv1", "Conv2d", 64, 55, 55),
    Layer("Conv2", "Conv2d", 192, 27, 13),
    Layer("net.fc", "Linear", 5),
    Layer("probs", "Softmax", 5, labels=("tench", "Tabby", "7", "crane", "crane")),
)


def test_what_a_layer_says_of_itself() -> None:
    assert [layer.is_map for layer in LAYERS] == [True, True, False, False]
    assert [layer.shape_text for layer in LAYERS] == ["64×55×55", "192×27×13", "5", "5"]
    assert Layer("row", "Conv2d", 3, 1, 9).is_map
    assert LAYERS[3].label(1) == "Tabby" and LAYERS[0].label(1) == ""


@pytest.mark.parametrize("unit", [0, 63])
def test_ids_are_read_back(unit: int) -> None:
    assert unit_id("conv1", unit) == f"conv1:{unit}"
    assert parse_unit(unit_id("conv1", unit), LAYERS) == (0, unit)


@pytest.mark.parametrize(
    "text, want",
    [
        ("  Conv2 : 191 ", (1, 191)),
        ("conv2:3", (1, 3)),  # the keyboard's capitals do not reach the window
        ("net.fc:4", (2, 4)),
        ("probs:tabby", (3, 1)),
        ("probs:TENCH", (3, 0)),
        ("probs:2", (3, 2)),
        ("probs:7", None),  # a number is a number, although a label reads so
        ("probs:crane", (3, 3)),
    ],
)
def test_parse_unit(text: str, want: tuple[int, int] | None) -> None:
    if want is None:
        with pytest.raises(UserError, match="layer probs has no unit 7: its units are 0 to 4"):
            parse_unit(text, LAYERS)
    else:
        assert parse_unit(text, LAYERS) == want


def test_a_layer_alone() -> None:
    assert parse_unit("Conv2", LAYERS, layer_alone=True) == (1, 0)


@pytest.mark.parametrize(
    "text, said",
    [
        ("conv3:0", r"unknown layer 'conv3'\. Did you mean .*conv1.* This network has conv1, Conv2, net.fc, probs"),
        (":3", "unknown layer ''"),
        ("", "unknown layer ''"),
        ("conv1", "unit 'conv1': expected one unit of the layer, conv1:0 to conv1:63"),
        ("conv1:64", "layer conv1 has no unit 64: its units are 0 to 63"),
        ("conv1:-1", "layer conv1 has no unit '-1': expected a number from 0 to 63"),
        ("conv1:", "layer conv1 has no unit '': expected a number from 0 to 63"),
        ("conv1:cat", r"expected a number from 0 to 63\."),
        ("probs:tench2", r"or a label\. Did you mean tench\?"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_unit(text, LAYERS)


def test_find_layer_prefers_the_exact_name() -> None:
    both = (Layer("a", "Conv2d", 1), Layer("A", "Conv2d", 1), Layer("Bb", "Conv2d", 1))
    assert [find_layer(name, both) for name in ("a", "A", "bb", "BB")] == [0, 1, 2, 2]


def test_a_long_list_is_shortened() -> None:
    many = tuple(Layer(f"block{i}", "Conv2d", 1) for i in range(100))
    with pytest.raises(UserError) as error:
        find_layer("xyz", many)
    assert "block0" in str(error.value) and "block99" in str(error.value) and "…" in str(error.value)
    assert "block50" not in str(error.value)


def test_text_of_a_receptive_field() -> None:
    assert ReceptiveField(11, 19, False).text == "19×11"  # width first, as everywhere on the screen
    assert ReceptiveField(224, 200, True).text == "200×224 or more"


def test_a_softmax_shows_the_pictures_of_what_comes_before_it() -> None:
    layers = [Layer("conv", "Conv2d", 8, 4, 4), Layer("logits", "Linear", 10), Layer("probs", "Softmax", 10)]
    assert [stands_for(layers, i) for i in range(3)] == ["conv", "logits", "logits"]
    assert stands_for([Layer("probs", "Softmax", 10)], 0) == "probs"
