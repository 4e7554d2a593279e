"""Which modules become layers: trunks that return lists, blocks that return several maps, and tokens of no place."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.cli.layers import layers_table
from deepvis.core.frames import Frame
from deepvis.networks.capture import capture
from deepvis.networks.discovery import MANY
from deepvis.networks.loading import from_module
from deepvis.networks.network import Network
from deepvis.networks.outputs import shown, with_shown
from deepvis.scan.reduce import Bar
from deepvis.scan.scan import look, spans_of

Pair = namedtuple("Pair", "pooled skip")


@dataclass(frozen=True)
class Frozen:
    note: str
    maps: list[Tensor]


class Output(OrderedDict):
    """As transformers has it: a dictionary whose entries are attributes."""

    def __getattr__(self, name: str) -> Tensor:
        return self[name]


def ready(module: nn.Module, height: int = 16, width: int = 16) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for weight in module.parameters():
            weight.data.normal_(0, 0.3).abs_()  # no unit is dead
    return from_module(module, "net", "cpu", given={"input": {"height": height, "width": width}})


FRAME = Frame(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8), "noise", 0, False)


def names(network: Network) -> list[str]:
    return [layer.name for layer in network.layers]


# ---- a tensor out of what a module returned, and back ---------------------------------------------

SHAPES = {
    "tensor": lambda one, two: one,
    "list": lambda one, two: [one, two],
    "tuple": lambda one, two: (one, two),
    "named tuple": Pair,
    "dictionary": lambda one, two: {"a": one, "b": two},
    "model output": lambda one, two: Output(last_hidden_state=one, hidden_states=(two, one)),
    "dataclass": lambda one, two: Frozen("a note", [one, two]),
    "object": lambda one, two: SimpleNamespace(size=3, first=one, second=two),
    "behind others": lambda one, two: (None, torch.tensor(3.0), 7, two.mean((2, 3)), [one, two]),
    "nested": lambda one, two: [[(one,)], two],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_first_map_is_shown_and_can_be_put_back(shape: Callable) -> None:
    one, two, new = (torch.rand(1, 2, 3, 3) for _ in range(3))
    output = shape(one, two)
    assert shown(output) is one
    changed = with_shown(output, one, new)
    assert shown(changed) is new and shown(output) is one and type(changed) is type(output)
    assert with_shown(changed, new, one) is not None and shown(with_shown(changed, new, one)) is one
    if isinstance(output, Output):
        assert changed.hidden_states[1] is new and changed.hidden_states[0] is two


def test_what_has_no_map_is_not_shown() -> None:
    for output in (
        None,
        3,
        "words",
        [],
        {},
        torch.rand(1, 2, 3, 4, 5),
        [torch.rand(1, 2, 3, 4, 5)],
        torch.rand(3),
        torch.rand(1, 2, 0),
    ):
        assert shown(output) is None
    vector = torch.rand(1, 5)
    assert shown((torch.tensor(1.0), vector)) is vector


class Block(nn.Module):
    def __init__(self, shape: Callable, i: int, o: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act, self.shape = (
            nn.Conv2d(i, o, 3, padding=1),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
            shape,
        )

    def forward(self, x: Tensor) -> object:
        x = self.act(self.norm(self.conv(x)))
        return self.shape(x[:, :2], x)


class Unet(nn.Module):
    """Few enough blocks that return several maps, in a network of many modules."""

    def __init__(self, shape: Callable, blocks: int = 24) -> None:
        super().__init__()
        self.down = nn.ModuleList(Block(shape, 3 if i == 0 else 2, 4) for i in range(blocks))
        self.last = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.down:
            x = shown(block(x))
        return self.last(x)


def check(network: Network, layer: str) -> None:
    """A layer through all that shows it: passes, cut, scan, ascent."""
    plain = answer(network, Request(FRAME, True, layer, peaks=True))
    assert plain.bad == 0
    for origin in (layer, names(network)[-1]):
        result = answer(network, Request(FRAME, True, layer, "gradient", (origin, 0), True))
        assert np.array_equal(result.activations, plain.activations)
    x = network.see(FRAME.pixels, True).requires_grad_(True)
    units = network.up_to(layer, x)
    np.testing.assert_array_equal(units[0].detach().numpy().reshape(plain.activations.shape), plain.activations)
    found = look(
        network, x.detach().expand(3, -1, -1, -1), spans_of(network, [layer]), Bar.none(len(plain.activations), True)
    )[layer]
    strongest = plain.activations.reshape(len(plain.activations), -1).max(1)
    np.testing.assert_allclose(found.value[0, 2].numpy(), strongest, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [s for name, s in SHAPES.items() if name != "tensor"], ids=[n for n in SHAPES if n != "tensor"]
)
def test_blocks_that_return_several_maps_show_the_first(shape: Callable) -> None:
    network = ready(Unet(shape))
    assert names(network) == [f"down.{i}" for i in range(24)] + ["last"]
    check(network, "down.1")
    result = answer(network, Request(FRAME, True, "down.1", "gradient", ("down.3", 0), True))
    assert result.layer_gradient.any() and result.pixels.any()  # the network went on with what was captured
    assert network.receptive_field("down.1").height == 5
    text = layers_table(network)
    assert "several tensors the first map is shown: down.0 (" in text and "more modules can be shown" in text


def test_the_network_goes_on_with_a_copy_of_what_was_captured() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block(lambda one, two: [one, two], 3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x)[0].zero_()

    net, x = Writes().eval(), torch.rand(1, 3, 6, 6)
    with torch.no_grad(), capture(net, ["block"]) as captured:
        assert not net(x).any()
    assert captured["block"].any()


class Stages(nn.Module):
    """More than MANY modules, in stages; returns what `shape` makes of the first and the last map."""

    def __init__(self, shape: Callable, stages: int = 8) -> None:
        super().__init__()
        self.shape, self.stages = shape, nn.ModuleDict()
        for i in range(stages):
            self.stages[f"s{i}"] = Block(lambda one, two: two, 3 if i == 0 else 4, 4)
            self.stages[f"t{i}"] = nn.Sequential(*(Block(lambda one, two: two, 4, 4) for _ in range(3)))

    def forward(self, x: Tensor) -> object:
        maps = []
        for stage in self.stages.values():
            x = stage(x)
            maps.append(x)
        return self.shape(maps[-1], maps[0])


class Head(nn.Module):
    def __init__(self, *trunks: nn.Module) -> None:
        super().__init__()
        self.trunks, self.head = nn.ModuleDict({f"of{i}": trunk for i, trunk in enumerate(trunks)}), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(sum(shown(trunk(x)).mean((2, 3)) for trunk in self.trunks.values()))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("trunks", [1, 2])
def test_a_trunk_is_never_hidden(shape: Callable, trunks: int) -> None:
    network = ready(Head(*(Stages(shape) for _ in range(trunks))), 8, 8)
    for i in range(trunks):
        assert {f"trunks.of{i}.stages.s{stage}" for stage in range(8)} <= {*names(network)}
        assert f"trunks.of{i}.stages.t3.2" in names(network)
    assert names(network)[-2:] == ["head", "softmax"] and len(names(network)) == trunks * 32 + 2
    check(network, "trunks.of0.stages.t3.2")


def test_modules_that_cannot_be_shown_are_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.five, self.last = Five(), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.five(x)[:, :, 0])

    class Five(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.pad(x, (0, 0, 0, 0, 0, 1))[:, :, None]

    text = layers_table(ready(Odd()))
    assert "cannot be shown, because they return no map, tokens or vector: five (a tensor 1×4×1×16×16)" in text
    with torch.no_grad():
        five = ready(nn.Sequential(nn.Conv2d(3, 4, 1), Five()))
    assert names(five) == ["0"] and answer(five, Request(FRAME, True, "0", "gradient", ("0", 1))).pixels.any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_forward_without_gradients_inside_is_watched_and_said_to_have_none(mode: Callable) -> None:
    class Shut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            with mode():
                x = self.trunk(x)
            return self.last(x)

    network = ready(Shut())
    assert "under no_grad or inference_mode: trunk" in layers_table(network)
    for origin in ("trunk", "last"):
        result = answer(network, Request(FRAME, True, origin, "gradient", (origin, 1), True))
        assert result.activations.any() and not result.pixels.any()
    from deepvis.scan.patch_backward import patch_backward

    (image,) = patch_backward(network, [FRAME.pixels], "last", 1, "gradient", [(0, 0, 4, 4)])
    assert not image.any()


def test_a_small_network_shows_what_its_innermost_modules_return() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.rows = nn.Conv2d(3, 4, 4, 4), nn.LSTM(16, 6, batch_first=True)
            self.look = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.rows(self.conv(x).permute(0, 2, 3, 1).flatten(2))[0]
            return self.look(x, x, x)[0].mean(1)

    network = ready(Recurrent())
    assert [name for name in names(network) if not name.endswith("attention")] == ["conv", "rows", "look", "softmax"]
    assert MANY > 3


# ---- tokens --------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """Patches, and tokens of no place before and after them, through attention."""

    def __init__(self, patch: tuple[int, int], before: int, after: int, functional: bool = False) -> None:
        super().__init__()
        self.patch, self.functional = nn.Conv2d(3, 12, patch, patch), functional
        self.before, self.after = nn.Parameter(torch.randn(1, before, 12)), nn.Parameter(torch.randn(1, after, 12))
        self.norm, self.mixed = nn.LayerNorm(12), nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.patch.weight, self.patch.bias, self.patch.stride) if self.functional else self.patch(x)
        x = x.flatten(2).transpose(1, 2)
        return self.mixed(
            self.norm(torch.cat([self.before.expand(len(x), -1, -1), x, self.after.expand(len(x), -1, -1)], 1))
        )


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize(("size", "patch"), [((64, 64), (16, 16)), ((32, 96), (16, 16)), ((64, 64), (16, 8))])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (5, 0), (0, 1), (1, 3), (2, 40), (9, 0)])
def test_the_grid_is_that_of_the_patch_convolution(size, patch, before: int, after: int, functional: bool) -> None:
    network = ready(Tokens(patch, before, after, functional), *size)
    grid = (size[0] // patch[0], size[1] // patch[1])
    layers = {layer.name: layer for layer in network.layers}
    x = network.see(FRAME.pixels, True)
    with torch.no_grad(), network.capture(["norm"]) as captured:
        network.module(x)
        out = captured["norm"]
    for name in ("norm", "mixed.norm2", "mixed.linear1"):
        assert (layers[name].height, layers[name].width) == grid
        apart = [other for other in layers if other.startswith(f"{name}/")]
        assert apart == [f"{name}/{'cls' if i == 0 else f'reg{i}'}" for i in range(min(16, before + after))]
    patches = out[:, before : before + grid[0] * grid[1]]
    torch.testing.assert_close(network.units("norm", out), patches.transpose(1, 2).reshape(1, 12, *grid))
    places = [*range(before), *range(before + grid[0] * grid[1], out.shape[1])][:16]
    for i, place in enumerate(places):
        torch.testing.assert_close(network.units(f"norm/{'cls' if i == 0 else f'reg{i}'}", out), out[:, place])
    heads = [layer for layer in network.layers if layer.kind == "Attention"]
    assert [(layer.height, layer.width) for layer in heads] == [grid]
