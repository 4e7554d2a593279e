"""The passes that answer a request, against autograd without any of the machinery."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.attribution.methods import METHODS
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request, Result
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.receptive_field import ReceptiveField
from deepvis.networks.capture import Abandoned
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.networks.outputs import Chosen

SPEC = InputSpec(24, 20)
FRAME = Frame(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8), "noise", 0, False)
CLASSES = 4


class Net(nn.Module):
    """Three maps, a residual and a vector; writes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.conv3 = nn.Conv2d(6, 5, 3)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.conv1(x))
        z = self.conv2(y)
        z += y
        return self.fc(F.max_pool2d(F.relu(self.conv3(self.relu(z))), 2).mean((2, 3)))


class Reused(nn.Module):
    """One ReLU before and behind `conv2`, with no way round it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.relu(self.conv1(x)))).mean((2, 3))


def network(cls: type[nn.Module] = Net, spec: InputSpec = SPEC, **keywords) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = cls()
    return prepare("net", module, spec, None, **keywords)


@pytest.fixture(scope="module")
def net() -> Network:
    return network()


def arrays(result: Result) -> dict[str, np.ndarray]:
    names = ("activations", "scores", "pixels", "layer_gradient")
    return {name: getattr(result, name) for name in names if getattr(result, name) is not None}


def input_of(net: Network) -> Tensor:
    return net.see(FRAME.image, True)


# ---------------------------------------------------------------- shapes and ownership


def test_forward_alone(net: Network) -> None:
    field = ReceptiveField(5, 5, False)
    request = Request(FRAME, True, "conv2")
    result = answer(net, request, field)
    assert result.request is request and result.receptive_field is field and result.error == ""
    assert result.activations.shape == (6, 24, 20) and result.scores.shape == (CLASSES,)
    assert result.pixels is None and result.layer_gradient is None
    assert set(result.seconds) == {"input", "network"} and all(s >= 0 for s in result.seconds.values())
    x = input_of(net)
    plain = net.module
    want = plain.conv2(F.relu(plain.conv1(x)))
    np.testing.assert_array_equal(result.activations, want[0].numpy())  # before `+=` and ReLU changed it
    np.testing.assert_array_equal(result.scores, plain(x)[0].numpy())


def test_a_vector_is_a_map_of_one_cell(net: Network) -> None:
    result = answer(net, Request(FRAME, True, "fc", "gradient", ("fc", 1), True))
    assert result.activations.shape == (CLASSES, 1, 1)
    np.testing.assert_array_equal(result.activations.ravel(), result.scores)
    np.testing.assert_array_equal(result.layer_gradient.ravel(), [0, 1, 0, 0])  # the seed itself


@pytest.mark.parametrize("method", [None, *METHODS])
def test_arrays_are_owned_and_float32(net: Network, method: str | None) -> None:
    request = Request(FRAME, True, "conv2", method, ("fc", 1) if method else None, method is not None)
    result, other = answer(net, request), answer(net, request)
    assert set(arrays(result)) == ({"activations", "scores"} if method is None else
                                   {"activations", "scores", "pixels", "layer_gradient"})  # fmt: skip
    kept = {name: array.copy() for name, array in arrays(other).items()}
    for name, array in arrays(result).items():
        assert type(array) is np.ndarray and array.dtype == np.float32, name
        assert array.base is None and array.flags.owndata, name
        assert array.flags.c_contiguous and array.flags.writeable, name
        array[...] = np.nan
    for name, array in arrays(other).items():
        np.testing.assert_array_equal(array, kept[name])
    for name, array in arrays(answer(net, request)).items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize("method", METHODS)
def test_forward_values_do_not_depend_on_the_method(net: Network, method: str) -> None:
    for layer in net.layers:
        plain = answer(net, Request(FRAME, True, layer.name))
        result = answer(net, Request(FRAME, True, layer.name, method, ("fc", 2)))
        np.testing.assert_array_equal(result.activations, plain.activations)
        np.testing.assert_array_equal(result.scores, plain.scores)
        assert result.activations.shape == (layer.units, layer.height, layer.width)
        assert result.pixels.shape == (24, 20, 3)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_peaks_are_where_each_layer_asked_for_by_itself_is_strongest(net: Network, method: str | None) -> None:
    origin = ("conv3", 1) if method else None
    plain = answer(net, Request(FRAME, True, "conv2", method, origin, bool(method)))
    result = answer(net, Request(FRAME, True, "conv2", method, origin, bool(method), peaks=True))
    assert plain.peaks is None
    for name, array in arrays(plain).items():  # nothing else changes
        np.testing.assert_array_equal(getattr(result, name), array)
    rows = [answer(net, Request(FRAME, True, layer.name)).activations.reshape(layer.units, -1) for layer in net.layers]
    np.testing.assert_array_equal(result.peaks.value, np.concatenate([maps.max(1) for maps in rows]))
    np.testing.assert_array_equal(result.peaks.cell, np.concatenate([maps.argmax(1) for maps in rows]))
    assert (result.peaks.value.dtype, result.peaks.cell.dtype) == (np.float32, np.int32)


def test_the_network_is_left_as_it_was(net: Network) -> None:
    with pytest.raises(IndexError):
        answer(net, Request(FRAME, True, "conv2", "deconv", ("fc", CLASSES)))
    assert not any(child._forward_hooks for child in net.module.modules())
    assert all(parameter.grad is None for parameter in net.module.parameters())


@pytest.mark.parametrize("method", [None, "gradient"])
def test_maps_of_other_units_come_too(net: Network, method: str | None) -> None:
    alone = {layer: answer(net, Request(FRAME, True, layer)).activations for layer in ("conv1", "conv2", "fc")}
    others = ("conv2", 2), ("conv1", 1), ("fc", 3)
    found = answer(net, Request(FRAME, True, "conv2", method, ("fc", 0) if method else None, others=others)).others
    for (layer, unit), one in zip(others, found, strict=True):
        np.testing.assert_array_equal(one, alone[layer][unit])


def test_cropping_and_stretching_differ(net: Network) -> None:
    cropped, stretched = (answer(net, Request(FRAME, crop, "conv1")).activations for crop in (True, False))
    assert not np.array_equal(cropped, stretched)


# ---------------------------------------------------------------- gradients, in float64


def double() -> Network:
    return network(dtype=torch.float64)


def assert_close(got: np.ndarray, want: Tensor) -> None:
    want = want.detach().numpy()
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7 * np.abs(want).max())


def test_gradient_of_a_logit_at_a_layer_and_at_the_pixels() -> None:
    net = double()
    result = answer(net, Request(FRAME, True, "conv2", "gradient", ("fc", 2), True))
    x, plain = input_of(net).requires_grad_(True), net.module
    y = F.relu(plain.conv1(x))
    z = plain.conv2(y)
    out = plain.fc(F.max_pool2d(F.relu(plain.conv3(F.relu(z + y))), 2).mean((2, 3)))
    at_pixels, at_layer = torch.autograd.grad(out[0, 2], [x, z])
    assert_close(result.pixels, at_pixels[0].permute(1, 2, 0))
    assert_close(result.layer_gradient, at_layer[0])


def test_gradient_of_a_map_is_of_half_its_squared_positive_part() -> None:
    """Positive activations weighted by themselves: the derivative of the sum of relu(a)²/2."""
    net = double()
    result = answer(net, Request(FRAME, True, "conv1", "gradient", ("conv2", 3), True))
    x, plain = input_of(net).requires_grad_(True), net.module
    first = plain.conv1(x)
    unit = plain.conv2(F.relu(first))[0, 3]
    assert (unit > 0).any() and (unit < 0).any()
    at_pixels, at_layer = torch.autograd.grad(unit.clamp(min=0).square().sum() / 2, [x, first])
    assert_close(result.pixels, at_pixels[0].permute(1, 2, 0))
    assert_close(result.layer_gradient, at_layer[0])


def test_gradient_of_a_map_without_positive_activations_starts_at_its_strongest() -> None:
    net = double()
    with torch.no_grad():
        net.module.conv2.bias[3] -= 100
    result = answer(net, Request(FRAME, True, "conv1", "gradient", ("conv2", 3)))
    x, plain = input_of(net).requires_grad_(True), net.module
    unit = plain.conv2(F.relu(plain.conv1(x)))[0, 3]
    assert (unit < 0).all()
    (at_pixels,) = torch.autograd.grad(unit.max(), x)
    assert_close(result.pixels, at_pixels[0].permute(1, 2, 0))
    assert result.layer_gradient is None  # was not asked for


def test_a_layer_that_is_the_origin_gets_the_seed() -> None:
    net = double()
    result = answer(net, Request(FRAME, True, "conv2", "deconv", ("conv2", 3), True))
    want = np.zeros_like(result.activations)
    want[3] = np.maximum(result.activations[3], 0)
    np.testing.assert_array_equal(result.layer_gradient, want)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_flows_at_a_layer_behind_the_origin(net: Network, method: str) -> None:
    result = answer(net, Request(FRAME, True, "conv3", method, ("conv2", 3), True))
    assert result.layer_gradient is None
    assert np.abs(result.pixels).max() > 0 and result.activations.shape == (5, 22, 18)


def test_nothing_flows_at_a_later_call_of_a_module_used_twice() -> None:
    """The ReLU stands before conv2 in the list of layers, but what is shown of it is its last call."""
    net = network(Reused)
    assert [layer.name for layer in net.layers] == ["conv1", "relu", "conv2"]
    result = answer(net, Request(FRAME, True, "relu", "gradient", ("conv2", 1), True))
    assert result.layer_gradient is None and np.abs(result.pixels).max() > 0
    at_last_call = answer(net, Request(FRAME, True, "conv2", "gradient", ("relu", 1), True))
    assert np.abs(at_last_call.layer_gradient).max() > 0


def test_pixels_are_rgb_also_for_a_bgr_network() -> None:
    rgb, bgr = network(), network(spec=InputSpec(24, 20, SPEC.mean[::-1], SPEC.std[::-1], order="bgr"))
    with torch.no_grad():  # the same network, its input planes the other way round
        bgr.module.conv1.weight.copy_(rgb.module.conv1.weight.flip(1))
    request = Request(FRAME, True, "conv1", "gradient", ("fc", 0), True)
    one, other = answer(rgb, request), answer(bgr, request)
    np.testing.assert_allclose(one.activations, other.activations, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.pixels, other.pixels, rtol=1e-3, atol=1e-5 * np.abs(one.pixels).max())


def test_scores_of_a_softmax_are_probabilities() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = prepare("net", Chosen(Net(), None, True), SPEC, None)
    scores = answer(net, Request(FRAME, True, "softmax")).scores
    assert scores.shape == (CLASSES,) and abs(scores.sum() - 1) < 1e-6


def test_a_network_that_ends_in_a_map_has_no_scores() -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    result = answer(net, Request(FRAME, True, "1", "guided", ("1", 0), True))
    assert result.scores is None and result.activations.shape == (4, 22, 18)


# ---------------------------------------------------------------- values that are none


@pytest.mark.parametrize("method", [None, "guided"])
@pytest.mark.parametrize(
    ("values", "bad"),
    [
        ([1, 2, 3, 4], 0),
        ([1, np.nan, 3, 4], 1),
        ([np.inf, 2, -np.inf, np.nan], 3),
        ([3e38] * 4, 0),
        ([-3e38, -3e38, 3e38, np.inf], 1),
    ],
)
def test_values_that_are_no_numbers_are_counted(values: list, bad: int, method: str | None) -> None:
    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add = nn.Linear(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.add(x.mean((1, 2, 3))[:, None] * 0)

    net = prepare("net", Given(), SPEC, None)
    with torch.no_grad():
        net.module.add.bias.copy_(torch.tensor(values))
    with np.errstate(all="raise"):
        assert answer(net, Request(FRAME, True, "add", method, ("add", 0) if method else None)).bad == bad


# ---------------------------------------------------------------- networks that change, passes that are given up


class Changing(nn.Module):
    """Its last layer has another shape at every second call, once it is told to."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3), Cut()
        self.change, self.calls, self.armed = change, 0, False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.armed
        odd = self.calls % 2 == 1
        x = self.conv(x)
        x = self.last(x, 8 - (odd and self.change == "channels"), x.shape[2] - (odd and self.change == "rows"))
        return x.mean((2, 3))


class Cut(nn.Module):
    def forward(self, x: Tensor, channels: int, rows: int) -> Tensor:
        return x[:, :channels, :rows]


@pytest.mark.parametrize("method", [None, "gradient"])
@pytest.mark.parametrize(
    "change, said", [("channels", "7 units now and had 8"), ("rows", r"maps of 21×18 now and had 22×18")]
)
def test_a_layer_that_changes_its_shape_is_said(change: str, said: str, method: str | None) -> None:
    net = network(lambda: Changing(change))
    net.module.armed = True
    asked = Request(FRAME, True, "last", method, ("last", 2) if method else None)
    for _ in range(3):
        with pytest.raises(UserError, match=f"layer last has {said}"):
            answer(net, asked)
        assert answer(net, asked).activations.shape == (8, 22, 18)


def test_peaks_of_a_layer_that_changes_its_channels_are_not_mixed_up() -> None:
    net = network(lambda: Changing("channels"))
    net.module.armed = True
    with pytest.raises(UserError, match="layer last has 7 units"):
        answer(net, Request(FRAME, True, "conv", peaks=True))


@pytest.mark.parametrize("method", [None, "gradient", "deconv"])
def test_a_pass_that_may_be_given_up_answers_the_same(net: Network, method: str | None) -> None:
    asked = Request(FRAME, True, "conv2", method, ("fc", 1) if method else None, bool(method))
    plain, watched = answer(net, asked), answer(net, asked, is_unwanted=lambda: False)
    assert arrays(plain).keys() == arrays(watched).keys()
    for name, array in arrays(plain).items():
        np.testing.assert_array_equal(array, arrays(watched)[name])
    with pytest.raises(Abandoned):
        answer(net, asked, is_unwanted=lambda: True)
