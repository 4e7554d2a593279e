"""The canvas of a layer's units, and which units are meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from smallnets import CLASSES, SPEC, layer, seeded, small
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.networks.loading import from_module
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.targets import OBJECTIVES, SynthesisCanvas, canvas, draft, objective, parse_units


def place(network: Network, name: str, **more) -> SynthesisCanvas:
    return canvas(network, layer(network, name), network.receptive_field(name), **more)


def pasted(network: Network, name: str, offset: tuple[int, int]) -> None:
    """The canvas in a larger picture, moved by whole strides: the unit there must do as it does on the canvas.

    Around the unit's field, canvas and picture differ: neither may matter.
    """
    field, small_canvas = network.receptive_field(name), place(network, name)
    left, top, width, height = small_canvas.field
    draw = torch.Generator().manual_seed(0)
    channels = len(network.input.mean)
    content = torch.randn(1, channels, height, width, generator=draw)
    on_canvas = torch.randn(1, channels, *small_canvas.size, generator=draw)
    on_canvas[:, :, top : top + height, left : left + width] = content
    whole = torch.randn(1, channels, network.input.height, network.input.width, generator=draw)
    row, column = (at + by for at, by in zip(small_canvas.position, offset))
    x, y, w, h = field.box(row, column)
    assert (w, h) == (width, height) and x >= 0 and y >= 0
    assert x + w <= network.input.width and y + h <= network.input.height
    whole[:, :, y : y + h, x : x + w] = content
    with torch.no_grad():
        want = network.up_to(name, whole)[0, :, row, column]
        got = network.up_to(name, on_canvas)[0, :, small_canvas.position[0], small_canvas.position[1]]
        other = network.up_to(name, whole)[0, :, row + 1, column + 1]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(other, want, rtol=1e-2)


@pytest.mark.parametrize("name", ["conv1", "relu1", "conv2", "relu2", "conv3"])
def test_a_unit_does_the_same_on_its_canvas_as_in_the_whole(name: str) -> None:
    found = place(small(), name)
    assert found.size[0] < SPEC.height and found.size[1] < SPEC.width
    pasted(small(), name, (2, 3))


class Odd(nn.Module):
    """A different stride along each axis, uneven padding and a pooling with a ceiling."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 5, (5, 3), stride=(3, 2), padding=(1, 0))
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.b = nn.Conv2d(5, 6, 3, padding=1)
        self.cut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(self.b(self.pool(self.a(x))))


@pytest.mark.parametrize("name", ["a", "pool", "b"])
def test_uneven_layers(name: str) -> None:
    network = prepare("odd", seeded(Odd), InputSpec(90, 67), None)
    pasted(network, name, (1, 2))


def test_a_network_of_torchvision() -> None:
    from torchvision.models import alexnet

    network = prepare(
        "alexnet", seeded(lambda: alexnet(weights=None).features), InputSpec(160, 160), {"norm": "2", "conv3": "6"}
    )
    for name in ("norm", "conv3"):
        assert place(network, name).size[0] < 160, name
        pasted(network, name, (1, 1))


def test_the_canvas_holds_the_field_and_whole_strides() -> None:
    """By hand: 3×3 at stride 1, 5×5 at stride 2 from −2, 9×9 at stride 2 from −4; conv1's from −1."""
    network = small()
    assert place(network, "conv1") == SynthesisCanvas((3, 3), (1, 1), (0, 0, 3, 3))
    assert place(network, "conv2") == SynthesisCanvas((6, 6), (1, 1), (0, 0, 5, 5))
    assert place(network, "conv3") == SynthesisCanvas((10, 10), (2, 2), (0, 0, 9, 9))


def test_where_the_whole_input_is_the_canvas() -> None:
    network = small()
    assert place(network, "fc") == SynthesisCanvas((32, 32), None, None)
    assert place(network, "conv2", true_size=False) == SynthesisCanvas((32, 32), (8, 8), None)
    narrow = small(InputSpec(8, 32))
    assert place(narrow, "conv3") == SynthesisCanvas((8, 32), (2, 8), None)  # its field is as high as the input
    assert place(narrow, "conv1").size == (3, 3)


class Particular(nn.Module):
    """Takes its own size only, as vision transformers do."""

    def __init__(self, wrong: Exception | None) -> None:
        super().__init__()
        self.conv, self.wrong = nn.Conv2d(3, 4, 4, stride=4), wrong

    def forward(self, x: Tensor) -> Tensor:
        if self.wrong and x.shape[-1] != 32:
            raise self.wrong
        return self.conv(x)


@pytest.mark.parametrize("wrong", [AssertionError("size"), ValueError("size"), RuntimeError("size"), None])
def test_a_network_that_checks_its_input(wrong: Exception | None) -> None:
    network = prepare("particular", seeded(lambda: Particular(wrong)), SPEC, {"conv": "conv"})
    assert place(network, "conv").size == ((32, 32) if wrong else (4, 4))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.flat = nn.Conv2d(3, 4, 4, stride=4), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(self.conv(x).flatten(2).transpose(1, 2)).mean(1)


def test_tokens_have_the_whole_input() -> None:
    """Their grid is that of the whole input; on another canvas there would be other rows and columns."""
    network = prepare("tokens", seeded(Tokens), SPEC, {"tokens": "flat"})
    assert layer(network, "tokens").height == 8
    assert place(network, "tokens").size == (32, 32)


# ---- objectives ----------------------------------------------------------------------------------


def test_objectives_of_a_layer() -> None:
    network = small()
    draw = torch.Generator().manual_seed(0)
    maps, scores = torch.randn(2, 8, 6, 6, generator=draw), torch.randn(2, 10, generator=draw)
    at = SynthesisCanvas((6, 6), (1, 2), (0, 0, 5, 5))

    def of(kind: str, name: str, a: Tensor) -> np.ndarray:
        made = objective(layer(network, name), [3, 7], at, kind)
        assert isinstance(made, Objective) and made.layers == {name}
        return made({name: a}).numpy()

    p = scores.softmax(1)
    np.testing.assert_allclose(of("unit", "conv2", maps), [maps[0, 3, 1, 2], maps[1, 7, 1, 2]])
    np.testing.assert_allclose(of("abhorred", "conv2", maps), [-maps[0, 3, 1, 2], -maps[1, 7, 1, 2]])
    np.testing.assert_allclose(of("channel", "conv2", maps), [maps[0, 3].mean(), maps[1, 7].mean()], rtol=1e-5)
    np.testing.assert_allclose(of("unit", "fc", scores), [scores[0, 3], scores[1, 7]])
    np.testing.assert_allclose(of("probability", "fc", scores), [p[0, 3], p[1, 7]], rtol=1e-5)
    np.testing.assert_allclose(of("log_probability", "fc", scores), [p[0, 3].log(), p[1, 7].log()], rtol=1e-5)
    assert set(OBJECTIVES) == {"unit", "channel", "probability", "log_probability", "abhorred"}


@pytest.mark.parametrize("kind", ["probability", "log_probability"])
def test_probabilities_are_of_class_scores(kind: str) -> None:
    network = from_module(seeded(lambda: small().module), "small", "cpu", given={"input": {"height": 32, "width": 32}})
    with pytest.raises(UserError, match="conv2 has maps"):
        objective(layer(network, "conv2"), [0], SynthesisCanvas((32, 32), (1, 1)), kind)
    with pytest.raises(UserError, match="softmax has probabilities already"):
        objective(layer(network, "softmax"), [0], SynthesisCanvas((32, 32)), kind)
    with pytest.raises(UserError, match="expected unit, channel"):
        objective(layer(network, "fc"), [0], SynthesisCanvas((32, 32)), "sum")


def test_a_draft_is_half_as_large_where_the_network_takes_it() -> None:
    network = small(InputSpec(96, 160))
    assert draft(network, layer(network, "fc"), SynthesisCanvas((96, 160))) == SynthesisCanvas((64, 96))
    assert draft(network, layer(network, "conv2"), SynthesisCanvas((96, 160), (24, 40))) == SynthesisCanvas(
        (64, 96), (16, 24)
    )
    true_size = place(network, "conv2")
    assert true_size.field and draft(network, layer(network, "conv2"), true_size) == true_size
    little = small(InputSpec(32, 32))
    assert draft(little, layer(little, "fc"), SynthesisCanvas((32, 32))) == SynthesisCanvas((32, 32))
    strict = prepare("strict", nn.Sequential(nn.Flatten(), nn.Linear(3 * 96 * 96, 4)), InputSpec(96, 96), {"fc": "1"})
    assert draft(strict, layer(strict, "fc"), SynthesisCanvas((96, 96))) == SynthesisCanvas((96, 96))


# ---- units ---------------------------------------------------------------------------------------

LAYERS = (
    Layer("stem", "Conv2d", 6, 16, 16),
    Layer("blocks.1", "Block", 4, 8, 8),
    Layer("head", "Linear", 10, labels=CLASSES),
)


@pytest.mark.parametrize(
    "text, want",
    [
        ("head:3", {"head": [3]}),
        ("head:2-5", {"head": [2, 3, 4, 5]}),
        ("head: 2 - 2 ,stem:0", {"head": [2], "stem": [0]}),
        ("head:class-7", {"head": [7]}),
        ("head:CLASS-7", {"head": [7]}),
        ("stem", {"stem": [0, 1, 2, 3, 4, 5]}),
        ("blocks.1,stem:5,", {"blocks.1": [0, 1, 2, 3], "stem": [5]}),
        ("head:9,head:3-4,head:9,head:4", {"head": [9, 3, 4]}),
        ("HEAD:1", {"head": [1]}),
    ],
)
def test_units(text: str, want: dict[str, list[int]]) -> None:
    assert {found.name: list(units) for found, units in parse_units(text, LAYERS)} == want


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "head:0-99"),
        (" , ", "expected layer:number"),
        ("heed:3", "Did you mean head"),
        ("blocks.2", "Did you mean blocks.1"),
        ("stem:6", "0 to 5"),
        ("stem:3-6", "0 to 5"),
        ("stem:4-2", "4 comes after 2"),
        ("head:class-77", "class-7"),
        ("head:", "no unit ''"),
        (":5", "unknown layer"),
        ("stem:-1", "0 to 5"),
    ],
)
def test_units_that_are_not_there(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_units(text, LAYERS)


@pytest.mark.parametrize(
    "text, want",
    [
        ("fc:Tench, Tinca tinca", [1]),
        ("fc:pig,fc:tench,Tinca tinca , fc:5", [3, 1, 5]),
        ("fc:hog, pig, grunter,fc:pig", [2, 3]),
        ("fc:tench,fc:0", "has no unit 'tench'"),
    ],
)
def test_labels_with_commas(text: str, want: list[int] | str) -> None:
    labelled = [Layer("fc", "Linear", 6, labels=("", "tench, Tinca tinca", "hog, pig, grunter", "pig", "", ""))]
    if isinstance(want, str):
        with pytest.raises(UserError, match=want):
            parse_units(text, labelled)
    else:
        assert [units for _, units in parse_units(text, labelled)] == [want]


def test_layers_keep_their_own_labels() -> None:
    twice = (replace(LAYERS[0], labels=("edge", "corner", "blob", "", "", "")), LAYERS[2])
    assert [(one.name, units) for one, units in parse_units("stem:blob,head:class-2", twice)] == [
        ("stem", [2]),
        ("head", [2]),
    ]
