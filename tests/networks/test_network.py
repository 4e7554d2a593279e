"""Networks: what they see, their layers, replicas and receptive fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.geometry import fit
from deepvis.networks.activation_rules import RULES
from deepvis.networks.loading import load
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.networks.outputs import Chosen

SMALL = InputSpec(32, 32)


def hooks(module: nn.Module) -> int:
    return sum(len(child._forward_hooks) for child in module.modules())


def random_weights(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.relu(self.norm(self.conv(x))).mean((2, 3))))


def tiny(layers: dict | None = None, classes: tuple[str, ...] = (), **keywords) -> Network:
    return prepare("tiny", Chosen(random_weights(Tiny), None, True), SMALL, layers, classes, **keywords)


# ---------------------------------------------------------------- the input


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("shape", [(32, 48), (50, 32), (90, 70), (20, 11)])
@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(32, 48),
        InputSpec(32, 48, (104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 255, "bgr"),
        InputSpec(40, 40, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), 255, "rgb"),
        InputSpec(32, 32, (0.1, 0.5, 0.9), (0.5, 0.25, 2.0), 1, "bgr"),
    ],
    ids=["imagenet", "caffe", "lite", "bgr of 1"],
)
def test_see_equals_slow_preprocessing(spec: InputSpec, shape: tuple[int, int], crop: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    kept = image.copy()
    network = prepare("fc", random_weights(Tiny), spec, None)
    got = network.see(image, crop)

    fitted = fit(image, spec.width, spec.height, crop)  # has tests of its own
    want = np.empty((3, spec.height, spec.width))
    for plane in range(3):
        colour = {"rgb": "rgb", "bgr": "bgr"}[spec.order][plane]
        values = fitted[:, :, "rgb".index(colour)].astype(np.float64)
        want[plane] = (values / 255 * spec.range - spec.mean[plane]) / spec.std[plane]
    assert got.shape == (1, 3, spec.height, spec.width) and got.dtype == torch.float32
    np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-5, atol=2e-6 * np.abs(want).max())
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(image, kept)


def test_see_gives_tensors_of_its_own() -> None:
    image = np.full((32, 32, 3), 7, np.uint8)
    network = tiny()
    first = network.see(image, True)
    before = first.clone()
    image[:] = 200
    second = network.see(image, True)
    assert torch.equal(first, before) and not torch.equal(first, second)


# ---------------------------------------------------------------- layers


def test_all_leaves_are_layers_when_none_are_named() -> None:
    network = tiny()
    assert [(layer.name, layer.kind, layer.units, layer.height, layer.width) for layer in network.layers] == [
        ("conv", "Conv2d", 5, 30, 30),
        ("norm", "BatchNorm2d", 5, 30, 30),
        ("relu", "ReLU", 5, 30, 30),
        ("fc", "Linear", 4, 1, 1),
        ("softmax", "Softmax", 4, 1, 1),
    ]
    assert network.paths["conv"] == "net.conv" and network.paths["softmax"] == "softmax"


def test_labels_belong_to_the_class_vectors_alone() -> None:
    network = tiny(classes=("a", "b", "c", "d"))
    assert {layer.name: layer.labels for layer in network.layers if layer.labels} == {
        "fc": ("a", "b", "c", "d"),
        "softmax": ("a", "b", "c", "d"),
    }
    assert network.classes == ("a", "b", "c", "d")


def test_named_layers_keep_their_names_and_order() -> None:
    network = tiny({"scores": "net.fc", "edges": "net.relu"})
    assert [layer.name for layer in network.layers] == ["scores", "edges"]
    assert dict(network.paths) == {"scores": "net.fc", "edges": "net.relu"}


@pytest.mark.parametrize("path, why", [("net.conv9", "does not exist"), ("net.drop.x", "does not exist")])
def test_a_layer_that_does_not_exist(path: str, why: str) -> None:
    with pytest.raises(UserError, match=f"layer 'a' of network tiny: module '{path}' {why}.*net.conv, net.norm"):
        tiny({"a": path})


def test_a_layer_that_is_never_called() -> None:
    class Idle(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.aux = nn.Linear(5, 4)

    with pytest.raises(UserError, match="module 'aux' is never called"):
        prepare("idle", random_weights(Idle), SMALL, {"a": "aux"})


def test_an_input_that_the_network_cannot_take() -> None:
    with pytest.raises(UserError, match=r"network alex cannot take .*\(1, 3, 8, 8\).*model.yaml"):
        prepare("alex", random_weights(lambda: nn.Sequential(nn.Conv2d(3, 4, 11))), InputSpec(8, 8), None)


def test_an_input_of_the_wrong_size_is_explained() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 12 * 12, 10))

    with pytest.raises(UserError) as error:
        prepare("lenet", random_weights(make), InputSpec(32, 32, (0.5,), (0.5,)), None)
    assert "its module 3 (Linear) takes 864 values and got (1, 1176): RuntimeError" in str(error.value)
    assert "It can take 1 channels of 28×28 pixels." in str(error.value)
    with pytest.raises(UserError) as error:
        prepare("lenet", random_weights(make), InputSpec(28, 28), None)
    assert "its module 0 (Conv2d) takes 1 channels and got (1, 3, 28, 28)" in str(error.value)
    assert "It can take 1 channels of 28×28 pixels." in str(error.value)


def test_a_network_without_maps() -> None:
    net = prepare(
        "mlp",
        random_weights(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 20), nn.ReLU(), nn.Linear(20, 4))),
        InputSpec(8, 8),
        None,
    )
    assert [layer.shape_text for layer in net.layers] == ["20", "20", "4"]
    frame = Frame(np.random.default_rng(6).integers(0, 256, (8, 8, 3), dtype=np.uint8), "", 0, False)
    assert answer(net, Request(frame, True, "1", "guided", ("3", 2), True)).pixels.any()
    assert net.receptive_field("1").box(0, 0) == (0, 0, 8, 8)


def test_labels_of_another_number_than_the_scores() -> None:
    with pytest.raises(UserError, match="3 labels.*4"):
        tiny(classes=("a", "b", "c"))


def test_a_prepared_network_is_frozen() -> None:
    network = tiny()
    assert not network.module.training and not any(p.requires_grad for p in network.module.parameters())
    assert network.module.net.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert hooks(network.module) == 0


def test_preparing_leaves_the_random_numbers_alone() -> None:
    module = random_weights(Tiny)
    before = torch.get_rng_state()
    prepare("tiny", module, SMALL, {"fc": "fc"})
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- replicas


def test_a_replica_shares_parameters_but_no_hooks() -> None:
    network = tiny()
    other = network.replica()
    own, others = network.module.state_dict(), other.module.state_dict()
    assert own.keys() == others.keys()
    assert all(own[key].data_ptr() == others[key].data_ptr() for key in own)
    assert {id(m) for m in network.module.modules()}.isdisjoint({id(m) for m in other.module.modules()})
    with other.capture(["conv", "relu"]):
        assert (hooks(other.module), hooks(network.module)) == (2, 0)
    assert (other.layers, other.paths, other.input) == (network.layers, network.paths, network.input)
    x = network.see(np.full((32, 32, 3), 90, np.uint8), True)
    assert torch.equal(network.module(x), other.module(x))


def test_on_a_cpu_it_computes_in_float32() -> None:
    network = tiny(dtype=torch.float64)
    other = network.on(torch.device("cpu"))
    assert other.dtype == torch.float32 and {p.dtype for p in other.module.parameters()} == {torch.float32}
    assert {p.dtype for p in network.module.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in other.module.parameters())
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    want = network.module(network.see(image, True))
    torch.testing.assert_close(other.module(other.see(image, True)).double(), want, rtol=1e-5, atol=1e-6)


def test_moving_copies_nothing_on_the_device_that_is_full() -> None:
    """`on` is what happens when a device is out of memory: no copy may be made there first."""
    network = prepare("meta", random_weights(Tiny), SMALL, None)
    copied = []

    class Watched(nn.Parameter):
        def __deepcopy__(self, memo: dict) -> Tensor:
            copied.append(self)
            return super().__deepcopy__(memo)

    network.module.fc.weight = Watched(network.module.fc.weight.data, requires_grad=False)
    other = network.on(torch.device("cpu"))
    assert copied == []
    assert torch.equal(other.module.fc.weight, network.module.fc.weight)


# ---------------------------------------------------------------- captures by name


def test_capture_by_name() -> None:
    network = tiny({"map": "net.relu", "again": "net.relu", "scores": "softmax"})
    x = network.see(np.full((32, 32, 3), 90, np.uint8), True)
    with network.capture(["map", "scores"]) as captured:
        assert len(captured) == 0
        out = network.module(x)
    assert torch.equal(captured["scores"], out)
    assert captured["map"] is captured["again"] and set(captured) == {"map", "again", "scores"}
    assert hooks(network.module) == 0


# ---------------------------------------------------------------- the default network


@pytest.fixture(scope="module")
def default() -> Network:
    return load("efficientnet-lite0", device="cpu")


def test_layers_of_the_default_network(default: Network) -> None:
    maps = {
        "stem": (32, 112), "1a": (16, 112), "2a": (24, 56), "2b": (24, 56), "3a": (40, 28), "3b": (40, 28),
        "4a": (80, 14), "4b": (80, 14), "4c": (80, 14), "5a": (112, 14), "5b": (112, 14), "5c": (112, 14),
        "6a": (192, 7), "6b": (192, 7), "6c": (192, 7), "6d": (192, 7), "7a": (320, 7), "head": (1280, 7),
    }  # fmt: skip
    want = [(name, units, size, size) for name, (units, size) in maps.items()]
    want += [("logits", 1000, 1, 1), ("probs", 1000, 1, 1)]
    assert [(layer.name, layer.units, layer.height, layer.width) for layer in default.layers] == want
    assert len(default.layers) == 20
    assert [layer.name for layer in default.layers if layer.labels] == ["logits", "probs"]
    assert not any(isinstance(child, nn.BatchNorm2d) for child in default.module.modules())  # all folded


def test_labels_of_the_default_network(default: Network) -> None:
    assert len(default.classes) == 1000 == len(set(range(1000)))
    assert (default.classes[0], default.classes[151], default.classes[999]) == ("tench", "Chihuahua", "toilet tissue")


def test_captured_shapes_and_probabilities_of_the_default_network(default: Network) -> None:
    image = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    names = [layer.name for layer in default.layers]
    with torch.inference_mode(), default.capture(names) as captured:
        out = default.module(default.see(image, True))
    for layer in default.layers:
        size = (layer.height, layer.width) if layer.is_map else ()
        assert captured[layer.name].shape == (1, layer.units, *size), layer.name
    assert torch.equal(captured["probs"], out)
    logits = captured["logits"][0].double().numpy()
    powers = np.exp(logits - logits.max())
    assert abs(float(out.sum()) - 1) < 1e-5
    np.testing.assert_allclose(out[0].numpy(), powers / powers.sum(), rtol=1e-5, atol=1e-9)


# ---------------------------------------------------------------- other numbers of channels


def of_channels(count: int, **keywords) -> InputSpec:
    mean = tuple(0.1 * (i + 1) for i in range(count))
    return InputSpec(6, 8, mean, tuple(0.5 + 0.1 * i for i in range(count)), **keywords)


SPECS = {
    "1": (of_channels(1), ["gray"]),
    "2": (of_channels(2), [0, 1]),
    "4": (of_channels(4), [0, 1, 2, None]),
    "7 with bands": (of_channels(7, bands=(3, 2, 1)), [None, 2, 1, 0, None, None, None]),
    "7, gray": (of_channels(7, bands=(5,), range=255), [None] * 5 + ["gray", None]),
    "5, 255, bands": (of_channels(5, bands=(0, 4), range=255), [0, None, None, None, 1]),
}


@pytest.mark.parametrize(("spec", "gets"), SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("mean_image", [False, True])
def test_pictures_in_networks_of_any_number_of_channels(spec: InputSpec, gets: list, mean_image: bool) -> None:
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    mean = np.broadcast_to(np.array(spec.mean), (6, 8, spec.channels))
    if mean_image:
        mean = rng.normal(size=(6, 8, spec.channels)) * spec.range
        spec = replace(spec, mean_image=mean.astype(np.float32))
    want = np.zeros((spec.channels, 6, 8))
    for channel, colour in enumerate(gets):
        if colour is not None:
            plane = (
                np.round(picture @ [0.299, 0.587, 0.114]) if colour == "gray" else picture[..., colour].astype(float)
            )
            want[channel] = (plane * spec.range / 255 - mean[..., channel]) / spec.std[channel]
    net = prepare("net", random_weights(lambda: nn.Sequential(nn.Conv2d(spec.channels, 4, 3))), spec, None)
    got = net.see(picture, True)
    tolerance = 1e-5 * np.abs(want).max() + (
        1.01 * spec.range / 255 / min(spec.std) if "gray" in gets else 0
    )  # gray is rounded
    np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-5, atol=tolerance)
    assert bool(spec.note) == (None in gets)
    assert net.receptive_field("0").text == "3×3"


@pytest.mark.parametrize(("spec", "gets"), SPECS.values(), ids=SPECS.keys())
def test_pixel_gradients_are_of_the_channels_that_are_shown(spec: InputSpec, gets: list) -> None:
    net = prepare("net", random_weights(lambda: nn.Sequential(nn.Conv2d(spec.channels, 4, 3))), spec, None)
    frame = Frame(np.random.default_rng(6).integers(0, 256, (6, 8, 3), dtype=np.uint8), "", 0, False)
    pixels = answer(net, Request(frame, True, "0", "gradient", ("0", 1))).pixels
    x = net.see(frame.image, True).requires_grad_(True)
    unit = net.module(x)[0, 1]
    (grad,) = torch.autograd.grad(unit.clamp(min=0).square().sum() / 2 if (unit > 0).any() else unit.max(), x)
    want = np.zeros((6, 8, 3), np.float32)
    for channel, colour in enumerate(gets):
        if colour is not None:
            for shown in range(3) if colour == "gray" else [colour]:
                want[..., shown] = grad[0, channel]
    np.testing.assert_allclose(pixels, want, rtol=1e-5, atol=1e-7)


def test_a_network_with_a_convolution_over_three_dimensions() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.deep = nn.Conv2d(3, 4, 3), nn.Conv3d(1, 1, (3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.deep(self.flat(x)[:, None])[:, 0]

    network = prepare("mixed", Mixed(), InputSpec(32, 32), {"flat": "flat"})
    assert network.module.flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.module.deep.weight.ndim == 5


def test_without_max_pooling_deconv_tells_nothing_of_an_image() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 3))
    pooled = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3))
    for module, layer, usual in ((plain, "2", "guided"), (pooled, "3", "deconv")):
        network = prepare("net", module, InputSpec(32, 32), {layer: layer})
        assert network.telling_backward == usual
        images = []
        for seed in (0, 1):
            x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).requires_grad_(True)
            with network.under(RULES["deconv"]):
                unit = network.up_to(layer, x)[0, 0, 5, 5]
            images.append(torch.autograd.grad(unit, x)[0])
        assert torch.allclose(*images, atol=1e-6) == (usual == "guided")
