"""Receptive fields, against the closed form of convolutions and pools (Dumoulin & Visin 2016, Araujo et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.core.receptive_field import ReceptiveField
from deepvis.networks.capture import Abandoned
from deepvis.networks.loading import load
from deepvis.networks.network import InputSpec, Network, prepare

SMALL = InputSpec(32, 32)
Step = tuple[int, int, int]  # kernel, stride, padding


def closed_form(steps: list[Step]) -> tuple[int, int, int]:
    """Size and stride of the field, and where that of unit 0 begins."""
    size, stride, start = 1, 1, 0
    for kernel, step, padding in steps:
        start -= padding * stride
        size += (kernel - 1) * stride
        stride *= step
    return size, stride, start


def line(field: ReceptiveField) -> tuple[int, float, float]:
    """The same of a field that is alike in both directions and known exactly."""
    assert not field.clipped and field.height == field.width
    assert field.stride[0] == field.stride[1] and field.start[0] == field.start[1]
    return field.width, field.stride[0], field.start[0]


def random(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def network(make: Callable[[], nn.Module], spec: InputSpec = SMALL, layers: dict | None = None, **keywords) -> Network:
    return prepare("net", random(make), spec, layers, **keywords)


# ---------------------------------------------------------------- networks with published fields


def alexnet_features() -> nn.Module:
    """Without the classifier, which takes 240 MB and has no map."""
    with torch.device("meta"):
        shape = torchvision.models.AlexNet(num_classes=1).features
    features = shape.to_empty(device="cpu")
    for child in features:
        if isinstance(child, nn.Conv2d):
            child.reset_parameters()
    return features


ALEXNET = {
    0: (11, 4, 2),
    2: (3, 2, 0),
    3: (5, 1, 2),
    5: (3, 2, 0),
    6: (3, 1, 1),
    8: (3, 1, 1),
    10: (3, 1, 1),
    12: (3, 2, 0),
}


def test_alexnet() -> None:
    net = network(alexnet_features, InputSpec(), {f"f{i}": str(i) for i in range(13)})
    want = {i: closed_form([step for j, step in ALEXNET.items() if j <= i]) for i in ALEXNET}
    assert [size for size, _, _ in want.values()] == [11, 19, 51, 67, 99, 131, 163, 195]
    assert {i: line(net.receptive_field(f"f{i}")) for i in want} == want
    assert net.receptive_field("f12").text == "195×195"  # though a pixel of its middle unit's lies outside
    for relu, conv in ((1, 0), (4, 3)):
        assert net.receptive_field(f"f{relu}") == net.receptive_field(f"f{conv}")


def test_vgg16() -> None:
    from torchvision.models.vgg import cfgs, make_layers

    net = network(lambda: make_layers(cfgs["D"]), InputSpec())
    steps, want = [], {}
    for layer in net.layers:
        if layer.kind != "ReLU":
            steps.append((3, 1, 1) if layer.kind == "Conv2d" else (2, 2, 0))
            want[layer.name] = closed_form(steps)
    pools = [layer.name for layer in net.layers if layer.kind == "MaxPool2d"]
    assert [want[name] for name in pools] == [(6, 2, -2), (16, 4, -6), (44, 8, -18), (100, 16, -42), (212, 32, -90)]
    for name in [net.layers[0].name, pools[4]]:
        assert line(net.receptive_field(name)) == want[name]


def test_resnet18() -> None:
    """Through residuals; a block's ReLU is called twice, and its last call counts."""
    net = network(torchvision.models.resnet18, InputSpec())
    steps: list[Step] = [(7, 2, 3), (3, 2, 1)]
    want = {"conv1": closed_form(steps[:1]), "maxpool": closed_form(steps)}
    for block in ("layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1"):
        stride = 2 if block in ("layer2.0", "layer3.0", "layer4.0") else 1
        steps.append((3, stride, 1))
        want[f"{block}.conv1"] = closed_form(steps)
        steps.append((3, 1, 1))
        want[f"{block}.relu"] = closed_form(steps)
    assert net.calls[net.paths["layer1.0.relu"]] == 2
    assert want["layer4.0.conv1"][0] == 243 and want["layer4.1.relu"][0] == 435
    for name in ("maxpool", "layer1.0.relu", "layer2.0.conv1", "layer4.0.conv1", "layer4.1.conv1"):
        assert line(net.receptive_field(name)) == want[name], name  # known though larger than the input
    assert line(net.receptive_field("layer2.0.downsample.0"))[:2] == (43, 8)  # 1×1, seen from layer1

    last = net.receptive_field("layer4.1.relu")  # every unit but the corners' sees all of it
    assert last.text == "224×224 or more" and last.stride == (32, 32)
    assert last.box(3, 3) == (0, 0, 224, 224) and last.box(0, 6) == (96, -96, 224, 224)
    assert net.receptive_field("fc").box(0, 0) == (0, 0, 224, 224)
    assert not any(child._forward_hooks for child in net.module.modules())


def test_the_default_network() -> None:
    """Lite0 has no squeeze-and-excitation, so that its fields are those of its convolutions."""
    net = load("efficientnet-lite0", device="cpu")
    sizes = {"stem": [(3, 2)], "1a": [(3, 1)], "2b": [(3, 2), (3, 1)], "3a": [(5, 2)]}
    steps: list[Step] = []
    for name, added in sizes.items():
        steps += [(kernel, stride, kernel // 2) for kernel, stride in added]
        assert line(net.receptive_field(name))[:2] == closed_form(steps)[:2]


# ---------------------------------------------------------------- where a field lies


def test_the_box_of_a_unit_holds_the_pixels_that_change_it() -> None:
    """Slowly: touch each row and each column of the picture, and see which units notice."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 5, 2, 1), nn.Conv2d(4, 4, (3, 1), 1, (0, 2)), nn.Conv2d(4, 4, 3, 2))

    net = network(make, InputSpec(33, 40), dtype=torch.float64)
    x = torch.rand(1, 3, 33, 40, dtype=torch.float64)
    plain = net.up_to("2", x)
    field = net.receptive_field("2")
    for row, column in ((1, 3), (2, 2), (0, 0), (5, 9)):
        noticed = []
        for axis, length in ((2, 33), (3, 40)):
            touched = []
            for i in range(length):
                other = x.clone()
                other.select(axis, i).add_(1)
                if (net.up_to("2", other) != plain)[0, :, row, column].any():
                    touched.append(i)
            noticed.append((touched[0], touched[-1] + 1))
        left, top, width, height = field.box(row, column)
        inside = [(max(0, top), min(33, top + height)), (max(0, left), min(40, left + width))]
        assert inside == noticed


def test_fields_that_are_not_square_and_of_a_vector() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 5, (3, 7), dilation=(1, 2)), nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).relu().mean((2, 3)))

    net = network(Wide)
    assert net.receptive_field("conv").text == "13×3" and net.receptive_field("conv").box(2, 5) == (5, 2, 13, 3)
    vector = net.receptive_field("fc")
    assert vector.text == "32×32 or more" and vector.box(0, 0) == (0, 0, 32, 32)


def test_a_map_of_one_row() -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 5, (32, 4), (1, 2))))
    field = net.receptive_field("0")
    assert field.box(0, 3) == (6, 0, 4, 32) and field.clipped  # of the rows nobody knows more


def test_enlarged_maps_get_their_share_of_the_input() -> None:
    """A stride of half a pixel: the fields do not move evenly, so each lies around its cell."""
    before, after = (lambda: nn.Conv2d(3, 4, 3, padding=1)), (lambda: nn.Conv2d(4, 4, 3, padding=1))
    net = network(lambda: nn.Sequential(before(), nn.Upsample(scale_factor=2), after()))
    field = net.receptive_field("2")
    assert field.stride == (0.5, 0.5) and not field.clipped
    left, top, width, height = field.box(30, 20)
    assert left <= 20 // 2 - 1 and left + width >= 20 // 2 + 2 and top <= 30 // 2 - 1 and top + height >= 30 // 2 + 2


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"])
def test_tokens_with_windows_and_with_attention_to_everything(name: str) -> None:
    net = network(lambda: timm.create_model(name), InputSpec())
    for layer in net.layers[:3]:
        field = net.receptive_field(layer.name)
        assert all(stride * n in (0, 224) for stride, n in zip(field.stride, (layer.height, layer.width)))
        left, top, width, height = field.box(layer.height // 2, layer.width // 2)
        assert left <= 224 // 2 < left + width and top <= 224 // 2 < top + height
    if name.startswith("swin"):
        assert net.receptive_field("layers.0").text == "56×56"  # two windows of 7 patches of 4 pixels, one shifted


# ---------------------------------------------------------------- functions that stop gradients


POOLS = {
    "functional": lambda x: torch.max_pool2d(F.max_pool2d(x, 3, 2, 1), 2),
    "by keyword": lambda x: torch.max_pool2d(F.max_pool2d(input=x, kernel_size=3, stride=2, padding=1), kernel_size=2),
    "modules": nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2)),
    "adaptive": lambda x: F.adaptive_max_pool2d(F.max_pool2d(x, 3, 2, 1), 8),
    "adaptive module": lambda x: nn.AdaptiveMaxPool2d(8)(F.max_pool2d(x, 3, 2, 1)),
}


class Pooled(nn.Module):
    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.last, self.pool = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), pool

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(F.relu(self.conv(x))))


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
def test_max_pooling_spreads_over_its_window(pool: Callable[[Tensor], Tensor]) -> None:
    net = network(lambda: Pooled(pool))
    assert line(net.receptive_field("last")) == closed_form([(3, 1, 1), (3, 2, 1), (2, 2, 0)])


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: x.amax((2, 3), keepdim=True),
        lambda x: torch.amax(x, (2, 3), True),
        lambda x: F.adaptive_max_pool2d(x, 1),
        nn.AdaptiveMaxPool2d(1),
    ],
)
def test_a_maximum_of_everything_depends_on_everything(pool: Callable[[Tensor], Tensor]) -> None:
    assert network(lambda: Pooled(pool)).receptive_field("last").text == "32×32 or more"


@pytest.mark.parametrize("gate", [torch.sigmoid, Tensor.sigmoid, nn.Hardsigmoid(), torch.tanh])
def test_a_gate_that_is_shut_hides_nothing(gate: Callable[[Tensor], Tensor]) -> None:
    assert line(network(lambda: Pooled(lambda x: gate(x - 1e6))).receptive_field("last"))[0] == 3


def test_kernels_that_cancel() -> None:
    """Signals are random, so that a difference of equal weights does not hide what it depends on."""
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)))
    with torch.no_grad():
        net.module[1].weight[1] = -net.module[1].weight[0]
    assert line(net.receptive_field("1"))[0] == 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_half_precision_neither_overflows_nor_dies_out(dtype: torch.dtype, scale: float) -> None:
    def make() -> nn.Module:
        layers = [layer for i in range(12) for layer in (nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1), nn.ReLU())]
        return nn.Sequential(*layers)

    net = network(make, InputSpec(64, 64), dtype=dtype)
    with torch.no_grad():
        for conv in list(net.module)[::2]:
            conv.weight.mul_(scale)
    assert line(net.receptive_field("23")) == closed_form([(3, 1, 1)] * 12)


def test_a_layer_that_no_gradient_passes_may_depend_on_anything() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x).detach())

    assert network(Cut).receptive_field("last").text == "32×32 or more"


def test_measuring_twice_says_the_same_and_leaves_the_random_numbers_alone() -> None:
    net = network(lambda: Pooled(nn.MaxPool2d(2)))
    before = torch.get_rng_state()
    assert net.receptive_field("last") == net.receptive_field("last")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(bad: float) -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 5)))
    with torch.no_grad():
        net.module[0].weight[1] = bad
        net.module[2].bias[0] = bad
    assert line(net.receptive_field("2")) == closed_form([(3, 1, 0), (5, 1, 0)])
    assert not net.module[0].weight.isfinite().all()  # the network itself stays as it is


@pytest.mark.parametrize("size", [32, 33, 34, 35])
def test_pixels_that_a_stride_leaves_over(size: int) -> None:
    steps = [(7, 2, 0), (3, 2, 0), (3, 1, 1)]

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 7, 2), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 3, padding=1))

    assert line(network(make, InputSpec(2 * size, 2 * size)).receptive_field("2")) == closed_form(steps)


def test_squeezenet() -> None:
    with torch.random.fork_rng(devices=[]):
        net = prepare("net", torchvision.models.squeezenet1_0(weights=None).features, InputSpec(), None)
    assert line(net.receptive_field("3.expand3x3")) == closed_form([(7, 2, 0), (3, 2, 0), (3, 1, 1)])


def test_measuring_that_nobody_waits_for_any_more_is_given_up() -> None:
    net = prepare(
        "net", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), InputSpec(24, 24), {"last": "2"}
    )
    assert net.receptive_field("last").text == "5×5"
    with pytest.raises(Abandoned):
        net.receptive_field("last", lambda: True)
