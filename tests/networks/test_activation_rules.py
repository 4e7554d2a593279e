"""Backward methods against captum, and against a float64 reference whose backward is written out by hand."""

from __future__ import annotations

import copy
import functools
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace

import captum.attr
import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.networks.activation_rules import RULES, ActivationRule, drops_results, seed
from deepvis.networks.loading import load
from deepvis.networks.network import InputSpec, prepare


def carried_back(module: Callable[[Tensor], Tensor], x: Tensor, method: str, unit: int) -> tuple[Tensor, Tensor]:
    """The backward image of an output's entry, and the output."""
    x = x.detach().clone().requires_grad_(True)
    with ActivationRule(RULES[method]):
        out = module(x)
    return torch.autograd.grad(out, x, seed(out, unit))[0], out.detach()


# ---------------------------------------------------------------- peers: captum on module ReLUs


def with_random_statistics(module: nn.Module, generator: torch.Generator) -> nn.Module:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.1, generator=generator)
    return module


def alexnet() -> nn.Module:
    return torchvision.models.alexnet(weights=None)


def resnet18() -> nn.Module:
    return with_random_statistics(torchvision.models.resnet18(weights=None), torch.Generator().manual_seed(1))


def googlenet() -> nn.Module:
    return torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False)


@functools.cache
def network(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval().requires_grad_(False)


def out_of_place(module: nn.Module) -> nn.Module:
    """A copy that captum can bear: its hooks fail on in-place activation functions."""
    copied = copy.deepcopy(module)
    for child in copied.modules():
        if getattr(child, "inplace", False):
            child.inplace = False
    return copied


def by_captum(method: str, module: nn.Module, x: Tensor, unit: int) -> Tensor:
    makers = {"deconv": captum.attr.Deconvolution, "guided": captum.attr.GuidedBackprop}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "gradient":
            return captum.attr.Saliency(module).attribute(x.clone(), target=unit, abs=False)
        return makers[method](module).attribute(x.clone(), target=unit).detach()


def noise(size: int, generator_seed: int = 3) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(generator_seed))


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("make", [alexnet, resnet18])
def test_class_logit_equals_captum(make: Callable, method: str) -> None:
    module, x = network(make), noise(96)
    ours, _ = carried_back(module, x, method, 7)
    theirs = by_captum(method, out_of_place(module), x, 7)
    assert theirs.abs().max() > 0
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("make", [alexnet, resnet18])
def test_the_three_methods_differ(make: Callable) -> None:
    images = [carried_back(network(make), noise(96), method, 7)[0] for method in RULES]
    scale = max(float(image.abs().max()) for image in images)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (images[i] - images[j]).abs().max() > 0.01 * scale


# ---------------------------------------------------------------- the forward stays as it is


@pytest.fixture(scope="module")
def default_network() -> nn.Module:
    return load("efficientnet-lite0", device="cpu").module


def assert_forward_unchanged(module: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        plain = module(x)
    for method in RULES:
        out = carried_back(module, x, method, 0)[1]
        assert torch.equal(out, plain), method


@pytest.mark.parametrize("make", [alexnet, resnet18, googlenet])
def test_forward_is_bit_equal(make: Callable) -> None:
    assert_forward_unchanged(network(make), noise(96))


def test_forward_of_the_default_network_is_bit_equal(default_network: nn.Module) -> None:
    x = noise(224).contiguous(memory_format=torch.channels_last)
    assert_forward_unchanged(default_network, x)


# ---------------------------------------------------------------- a reference written out by hand


class Mixed(nn.Module):
    """ReLUs of every kind: functional, in place, a module used twice, ReLU6, clamp; and max-pooling.

    `relu` stands for the module used twice; the trap's test hands in a plain function.
    """

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, padding=1)
        self.conv2 = nn.Conv2d(5, 5, 3, padding=1)
        self.conv3 = nn.Conv2d(5, 5, 3, padding=1)
        self.conv4 = nn.Conv2d(5, 6, 3)
        self.conv5 = nn.Conv2d(6, 4, 3)
        self.fc1 = nn.Linear(16, 9)
        self.fc2 = nn.Linear(9, 3)
        self.relu, self.relu6 = relu, nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(F.relu(self.conv1(x)), 3, 2, 1)
        mixed = self.relu(self.conv2(pooled))
        mixed = pooled + self.relu(self.conv3(mixed))
        mixed = F.relu(self.conv4(mixed), inplace=True)
        mixed = self.conv5(mixed)
        mixed = self.relu6(mixed * 90 - 6)
        mixed = F.max_pool2d(mixed, 2)
        mixed = self.fc1(mixed.flatten(1)).clamp(min=0)
        return self.fc2(mixed)


def mixed(relu: Callable[[Tensor], Tensor]) -> Mixed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Mixed(relu).double().eval().requires_grad_(False)


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, pad: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = (n - 2 for n in x.shape[1:])
    out = np.zeros((len(w), height, width)) + b[:, None, None]
    for i in range(3):
        for j in range(3):
            out += np.einsum("oc,chw->ohw", w[:, :, i, j], x[:, i : i + height, j : j + width])
    return out


def conv_back(g: np.ndarray, w: np.ndarray, pad: int) -> np.ndarray:
    height, width = g.shape[1:]
    out = np.zeros((w.shape[1], height + 2, width + 2))
    for i in range(3):
        for j in range(3):
            out[:, i : i + height, j : j + width] += np.einsum("oc,ohw->chw", w[:, :, i, j], g)
    return out[:, pad : height + 2 - pad, pad : width + 2 - pad]


def max_pool(x: np.ndarray, size: int, stride: int, pad: int) -> tuple[np.ndarray, dict]:
    """The pooled map, and where each of its values came from."""
    places = [range(-pad, n + pad - size + 1, stride) for n in x.shape[1:]]
    out, switches = np.zeros((len(x), *map(len, places))), {}
    for c in range(len(x)):
        for i, top in enumerate(places[0]):
            for j, left in enumerate(places[1]):
                window = {
                    (y, z): x[c, y, z]
                    for y in range(max(top, 0), min(top + size, x.shape[1]))
                    for z in range(max(left, 0), min(left + size, x.shape[2]))
                }
                best = max(window, key=window.get)  # the first of equals, as in torch
                out[c, i, j], switches[c, i, j] = window[best], (c, *best)
    return out, switches


def max_pool_back(g: np.ndarray, switches: dict, shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape)
    for to, source in switches.items():
        out[source] += g[to]
    return out


BY_HAND = {  # signal from above, slope of the activation function -> signal below
    "gradient": lambda g, slope: g * slope,
    "deconv": lambda g, slope: np.maximum(g, 0),
    "guided": lambda g, slope: np.maximum(g, 0) * slope,
}


def by_hand(net: Mixed, x: np.ndarray, method: str, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """What `Mixed` computes and what `method` carries back to its input, step by step."""
    p = {name: value.numpy() for name, value in net.named_parameters()}
    rule = BY_HAND[method]

    a1 = conv(x, p["conv1.weight"], p["conv1.bias"], 1)
    r1 = np.maximum(a1, 0)
    p1, switches1 = max_pool(r1, 3, 2, 1)
    a2 = conv(p1, p["conv2.weight"], p["conv2.bias"], 1)
    a3 = conv(np.maximum(a2, 0), p["conv3.weight"], p["conv3.bias"], 1)
    a4 = conv(p1 + np.maximum(a3, 0), p["conv4.weight"], p["conv4.bias"], 0)
    a5 = conv(np.maximum(a4, 0), p["conv5.weight"], p["conv5.bias"], 0) * 90 - 6
    r5 = np.clip(a5, 0, 6)
    p5, switches5 = max_pool(r5, 2, 2, 0)
    a6 = p["fc1.weight"] @ p5.ravel() + p["fc1.bias"]
    out = p["fc2.weight"] @ np.maximum(a6, 0) + p["fc2.bias"]
    assert (a5 > 6).any() and ((a5 > 0) & (a5 < 6)).any() and (a5 < 0).any()  # the net does what it is here for

    g = p["fc2.weight"][unit]
    g = rule(g, a6 > 0)
    g = (p["fc1.weight"].T @ g).reshape(p5.shape)
    g = max_pool_back(g, switches5, r5.shape)
    g = rule(g, (a5 > 0) & (a5 < 6)) * 90
    g = rule(conv_back(g, p["conv5.weight"], 0), a4 > 0)
    g = conv_back(g, p["conv4.weight"], 0)
    through = rule(g, a3 > 0)
    through = rule(conv_back(through, p["conv3.weight"], 1), a2 > 0)
    g = g + conv_back(through, p["conv2.weight"], 1)
    g = rule(max_pool_back(g, switches1, r1.shape), a1 > 0)
    return conv_back(g, p["conv1.weight"], 1), out


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(3, 15, 15))


def in_place_relu() -> nn.Module:
    return nn.ReLU(inplace=True)


@pytest.mark.parametrize("relu", [nn.ReLU, in_place_relu, lambda: F.relu, lambda: F.relu_, lambda: Tensor.relu_])
@pytest.mark.parametrize("method", RULES)
def test_equals_the_reference_written_out_by_hand(method: str, relu: Callable, picture: np.ndarray) -> None:
    net = mixed(relu())
    ours, out = carried_back(net, torch.from_numpy(picture)[None], method, 1)
    want, want_out = by_hand(net, picture, method, 1)
    np.testing.assert_allclose(out[0].numpy(), want_out, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours[0].numpy(), want, rtol=1e-10, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("method", ["deconv", "guided"])
def test_captum_gives_the_plain_gradient_where_relus_are_functional(method: str, picture: np.ndarray) -> None:
    """The trap that the mode avoids: hooks see no functional ReLU, and captum does not know ReLU6."""
    net, x = mixed(F.relu), torch.from_numpy(picture)[None]
    theirs = by_captum(method, net, x, 1)
    plain, _ = carried_back(net, x, "gradient", 1)
    ours, _ = carried_back(net, x, method, 1)
    assert torch.equal(theirs, plain)
    assert (ours - theirs).abs().max() > 0.1 * plain.abs().max()


# ---------------------------------------------------------------- every activation function

X = torch.linspace(-8.03, 8.07, 60, dtype=torch.float64)  # keeps clear of every kink
SIGNAL = torch.randn(60, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

FUNCTIONS = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "relu in place, by position": lambda x: F.relu(x, True),
    "relu by keyword": lambda x: F.relu(input=x),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu_": Tensor.relu_,
    "relu6": lambda x: F.relu6(x, True),
    "hardtanh": lambda x: F.hardtanh(x, -2.0, 3.0, True),
    "hardtanh_": lambda x: F.hardtanh_(x, -2.0, 3.0),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2, True),
    "leaky_relu_": lambda x: F.leaky_relu_(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7, True),
    "elu_": lambda x: F.elu_(x, 0.7),
    "selu": lambda x: F.selu(x, inplace=True),
    "celu": lambda x: F.celu(x, 1.3, True),
    "silu": lambda x: F.silu(x, inplace=True),
    "gelu": F.gelu,
    "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": lambda x: F.mish(x, inplace=True),
    "softplus": lambda x: F.softplus(x, 2.0),
    "hardswish": lambda x: F.hardswish(x, True),
    "prelu": lambda x: torch.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
    "nn.PReLU": nn.PReLU(dtype=torch.float64).requires_grad_(False),
    "rrelu": lambda x: F.rrelu(x, 0.1, 0.3, False, True),
    "rrelu_": lambda x: torch.rrelu_(x, 0.1, 0.3),
    "nn.RReLU": nn.RReLU(inplace=True).eval(),
    "threshold": lambda x: F.threshold(x, 0, 0.0, True),
    "threshold_": lambda x: F.threshold_(x, 0, 0),
    "nn.Threshold": nn.Threshold(0, 0),
    "selu_": torch.selu_,
    "celu_": lambda x: F.celu_(x, 1.3),
    "relu6 by module": nn.ReLU6(),
    "clip": lambda x: x.clip(0, 6),
    "torch.clip": lambda x: torch.clip(x, min=0),
    "clip_": lambda x: x.clip_(0),
    "clamp_min": lambda x: x.clamp_min(0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, min=0.0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "clamp min": lambda x: x.clamp(min=0),
    "clamp to 6": lambda x: torch.clamp(x, 0, 6),
    "clamp_": lambda x: x.clamp_(0.0),
    "nn.Hardswish": nn.Hardswish(inplace=True),
    "nn.SiLU": nn.SiLU(inplace=True),
    "nn.GELU": nn.GELU(),
}


def slope_of(f: Callable[[Tensor], Tensor]) -> Tensor:
    """By central differences, outside every mode."""
    step = 1e-6
    return (f(X + step) - f(X - step)) / (2 * step)


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_rules_at_every_activation_function(f: Callable[[Tensor], Tensor]) -> None:
    slope, value = slope_of(f), f(X.clone())
    positive = SIGNAL.clamp(min=0)
    wanted = {"gradient": SIGNAL * slope, "deconv": positive, "guided": positive * slope}
    for name, rule in RULES.items():
        leaf = X.clone().requires_grad_(True)
        before = leaf * 1
        with ActivationRule(rule):
            out = f(before)
        (grad,) = torch.autograd.grad(out, leaf, SIGNAL)
        assert torch.equal(out, value), name
        torch.testing.assert_close(grad, wanted[name], rtol=1e-7, atol=1e-8, msg=name)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.clamp(-1, 1),
        lambda x: x.clamp(max=2),
        lambda x: x.clamp_min(-1),
        lambda x: F.threshold(x, 1, 0),
        torch.tanh,
        torch.sigmoid,
        F.hardsigmoid,
    ],
    ids=["clamp at -1", "clamp max", "clamp_min", "threshold", "tanh", "sigmoid", "hardsigmoid"],
)
def test_what_is_no_relu_keeps_its_gradient(f: Callable[[Tensor], Tensor]) -> None:
    for name, rule in RULES.items():
        x = X.clone().requires_grad_(True)
        with ActivationRule(rule):
            out = f(x)
        (grad,) = torch.autograd.grad(out, x, SIGNAL)
        torch.testing.assert_close(grad, SIGNAL * slope_of(f), rtol=1e-7, atol=1e-8, msg=name)


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("f", [Tensor.relu_, F.relu_, torch.relu_, lambda x: x.clamp_(min=0), F.hardtanh_],
                         ids=["Tensor.relu_", "F.relu_", "torch.relu_", "clamp_", "hardtanh_"])  # fmt: skip
def test_in_place_function_whose_return_value_is_dropped(f: Callable, method: str) -> None:
    def module(x: Tensor) -> Tensor:
        y = x * 2
        f(y)  # as in `y.relu_()` on a line of its own
        return y[None]

    leaf = X.clone().requires_grad_(True)
    plain = module(X)
    with ActivationRule(RULES[method]):
        out = module(leaf)
        assert torch.equal(out, plain)
    (grad,) = torch.autograd.grad(out, leaf, SIGNAL[None])
    active = X.abs() < 0.5 if f is F.hardtanh_ else X > 0
    torch.testing.assert_close(grad, 2 * torch.from_numpy(BY_HAND[method](SIGNAL.numpy(), active.numpy())))


class Dropping(nn.Module):
    """Activation functions on lines of their own; `again` reads what the last one left."""

    def __init__(self, activate: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.activate(x)
        return self.second(x).mean((2, 3))


IN_PLACE = {
    "nn.ReLU": (nn.ReLU(inplace=True), nn.ReLU()),
    "F.relu": (lambda x: F.relu(x, inplace=True), F.relu),
    "nn.ReLU6": (nn.ReLU6(inplace=True), nn.ReLU6()),
    "nn.SiLU": (nn.SiLU(inplace=True), nn.SiLU()),
    "nn.Hardswish": (nn.Hardswish(inplace=True), nn.Hardswish()),
    "a view": (lambda x: F.relu(x[:, :3], inplace=True), lambda x: torch.cat([F.relu(x[:, :3]), x[:, 3:]], 1)),
}


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize(("dropped", "kept"), IN_PLACE.values(), ids=IN_PLACE.keys())
def test_modules_in_place_whose_return_value_is_dropped(dropped: Callable, kept: Callable, method: str) -> None:
    """Against the same network written as it should be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        net = prepare("net", Dropping(dropped), InputSpec(12, 12), None, dtype=torch.float64)
    assert net.drops_results
    x = torch.randn(1, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    first = net.module.first(x)
    with torch.inference_mode():
        plain = net.module(x)
    leaf = x.clone().requires_grad_(True)
    with net.under(RULES[method]), net.capture(["first"]) as captured:
        out = net.module(leaf)
    assert torch.equal(out, plain) and torch.equal(captured["first"], first)
    (got,) = torch.autograd.grad(out[0, 1], leaf)

    leaf = x.clone().requires_grad_(True)
    with ActivationRule(RULES[method]):
        wanted = net.module.second(kept(net.module.first(leaf))).mean((2, 3))
    (want,) = torch.autograd.grad(wanted[0, 1], leaf)
    assert want.abs().max() > 0
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_a_network_that_keeps_results_is_not_slowed_down() -> None:
    assert not drops_results(mixed(nn.ReLU(inplace=True)), torch.randn(1, 3, 15, 15, dtype=torch.float64))


@pytest.mark.parametrize("method", RULES)
def test_a_network_that_begins_in_place_leaves_the_picture_alone(method: str) -> None:
    net = prepare("net", nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3)), InputSpec(8, 8), None)
    request = Request(Frame(np.full((8, 8, 3), 200, np.uint8), "", 0, False), True, "1")
    plain = answer(net, request)
    result = answer(net, replace(request, method=method, origin=("1", 2), layer_gradient=True))
    assert np.array_equal(plain.activations, result.activations) and result.pixels.any()


@pytest.mark.parametrize("method", ["deconv", "guided"])
def test_the_network_may_go_on_in_place_with_what_an_activation_function_returned(method: str) -> None:
    def module(x: Tensor) -> Tensor:
        return F.silu(x * 2).mul_(3)[None]

    leaf = X.clone().requires_grad_(True)
    with ActivationRule(RULES[method]):
        out = module(leaf)
    assert torch.equal(out, module(X))
    (grad,) = torch.autograd.grad(out, leaf, SIGNAL[None])
    slope = slope_of(lambda x: F.silu(x * 2)) / 2
    torch.testing.assert_close(grad, torch.from_numpy(BY_HAND[method](3 * SIGNAL.numpy(), slope.numpy())) * 2)


@pytest.mark.parametrize("method", RULES)
def test_the_memory_format_stays(method: str) -> None:
    """A batch of one hides it: the strides of a view say less, and pooling then takes another path."""
    x = torch.randn(1, 6, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    with ActivationRule(RULES[method]):
        out = F.max_pool2d(F.relu(x), 2)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert F.relu(x).stride() == x.stride()


def test_the_rule_is_in_force_in_its_own_thread_only() -> None:
    entered, done = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with ActivationRule(RULES["deconv"]):
            entered.set()
            done.wait(10)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    try:
        assert entered.wait(10)
        x = X.clone().requires_grad_(True)
        (grad,) = torch.autograd.grad(F.relu(x), x, SIGNAL)
    finally:
        done.set()
        thread.join()
    assert torch.equal(grad, SIGNAL * (X > 0))


def test_the_rule_ends_with_its_block_also_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), ActivationRule(RULES["deconv"]):
        raise ZeroDivisionError
    x = X.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(F.relu(x), x, SIGNAL)
    assert torch.equal(grad, SIGNAL * (X > 0))


# ---------------------------------------------------------------- what is sent back from a unit


def test_a_map_sends_its_positive_activations_weighted_by_themselves() -> None:
    activation = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    want = torch.tensor([[[[1.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert torch.equal(seed(activation, 0), want)


def test_a_map_without_positive_activations_sends_its_strongest_position() -> None:
    activation = torch.tensor([[[[9.0, 9.0]], [[-3.0, -0.5]]]])
    assert torch.equal(seed(activation, 1), torch.tensor([[[[0.0, 0.0]], [[0.0, 1.0]]]]))


def test_an_entry_of_a_vector_sends_one() -> None:
    assert torch.equal(seed(torch.tensor([[-4.0, 7.0, 2.0]]), 1), torch.tensor([[0.0, 1.0, 0.0]]))
    assert torch.equal(seed(torch.tensor([[-4.0, 7.0, 2.0]]), 0), torch.tensor([[1.0, 0.0, 0.0]]))


def test_seed_leaves_the_activation_alone() -> None:
    activation = torch.tensor([[[[1.0, -2.0]]]], requires_grad=True)
    start = seed(activation, 0)
    assert not start.requires_grad and start.dtype == activation.dtype
    start += 1
    assert torch.equal(activation, torch.tensor([[[[1.0, -2.0]]]]))
