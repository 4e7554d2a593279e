"""Networks of every make, through the same examination as the table in docs/networks.md; here a handful of small
ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import Row, check, examine
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.networks.loading import from_module


@pytest.mark.parametrize(
    "source", ["torchvision:squeezenet1_1", "torchvision:shufflenet_v2_x0_5", "timm:test_vit", "timm:test_convnext"]
)
def test_networks_of_the_table(source: str) -> None:
    row = check(source)
    assert row.works, row


# ---------------------------------------------------------------- networks as users write them


class Two(nn.Module):
    """A convolution, something, and scores."""

    def __init__(self, middle: nn.Module, channels: int = 8, first: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.middle = first or nn.Conv2d(3, 8, 3, padding=1), middle
        self.last = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.middle(F.relu(self.first(x)))).mean((2, 3)))


class Dense(nn.Module):
    """Every layer sees all before it (DenseNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(8 * (i + 1), 8, 3, padding=1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.cat([x, F.relu(conv(x))], 1)
        return x


class Several(nn.Module):
    """An auxiliary head; returns a dictionary or a tuple."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body, self.kind = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()), kind
        self.head, self.aux = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> object:
        x = self.body(x)
        out, aux = self.head(x.mean((2, 3))), self.aux(x.amax((2, 3)))
        return {"out": out, "aux": aux} if self.kind == "dictionary" else (out, aux)


class Gated(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid()


class Unet(nn.Module):
    """Ends in a map; no vector anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.bottom, self.up = (
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ConvTranspose2d(8, 8, 2, 2),
        )
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.leaky_relu(self.up(F.relu(self.bottom(F.relu(self.down(x)))))))


def conv(**more) -> nn.Module:
    return nn.Conv2d(8, 8, 3, padding=1, **more)


def with_norm(norm: nn.Module) -> nn.Module:
    return nn.Sequential(conv(), norm)


ZOO = {
    "grouped": lambda: Two(conv(groups=2)),
    "depthwise": lambda: Two(nn.Sequential(conv(groups=8), nn.ReLU6(inplace=True), nn.Conv2d(8, 8, 1))),
    "dilated, reflected": lambda: Two(nn.Conv2d(8, 8, 3, padding=2, dilation=2, padding_mode="reflect")),
    "LRN": lambda: Two(nn.Sequential(nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True))),
    "dense": lambda: Two(Dense(), 32),
    "gated": lambda: Two(Gated()),
    "dictionary": lambda: Several("dictionary"),
    "tuple": lambda: Several("tuple"),
    "group norm": lambda: Two(with_norm(nn.GroupNorm(2, 8))),
    "instance norm": lambda: Two(with_norm(nn.InstanceNorm2d(8))),
    "batch norm of the batch": lambda: Two(with_norm(nn.BatchNorm2d(8, track_running_stats=False))),
    "weight norm": lambda: Two(nn.utils.parametrizations.weight_norm(conv())),
    "spectral norm": lambda: Two(nn.utils.spectral_norm(conv())),
    "prelu": lambda: Two(nn.Sequential(conv(), nn.PReLU(8))),
    "in place, dropped": lambda: Two(Dropping()),
    "half": lambda: Two(conv()).half(),
    "bfloat16": lambda: Two(with_norm(nn.BatchNorm2d(8))).bfloat16(),
    "double": lambda: Two(conv()).double(),
    "in training": lambda: Two(nn.Sequential(conv(), nn.Dropout(0.9))).train(),
    "without gradients": lambda: Two(conv()).requires_grad_(False),
    "channels_last": lambda: Two(conv()).to(memory_format=torch.channels_last),
    "a flat network": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 12), nn.ReLU(), nn.Linear(12, 5)),
    "segmentation": Unet,
    "in parallel": lambda: nn.DataParallel(Two(conv())),
    "compiled": lambda: torch.compile(Two(conv())),
    "traced by FX": lambda: torch.fx.symbolic_trace(Two(conv())),
}


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = conv(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        self.relu(x)
        return x


def ready(make: Callable[[], nn.Module]):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return from_module(make(), "net", "cpu", given={"input": {"height": 24, "width": 24}})


@pytest.mark.parametrize("make", ZOO.values(), ids=ZOO.keys())
def test_networks_as_users_write_them(make: Callable[[], nn.Module]) -> None:
    row = Row("net")
    network = ready(make)
    examine(row, network)
    ends_in_a_map = network.layers[-1].is_map
    assert row.forward == ("not finite" if ends_in_a_map else "ok")  # a map is no list of scores
    assert set(row.methods.values()) == {"ok"}, row
    assert all(network.receptive_field(layer.name).height > 0 for layer in network.layers)


def test_a_network_whose_modules_cannot_be_watched() -> None:
    with pytest.raises(UserError, match="net: the network is TorchScript.*the module that it was made from"):
        ready(lambda: torch.jit.script(nn.Sequential(nn.ReLU())))


def test_a_network_without_modules() -> None:
    class Bare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    with pytest.raises(UserError, match="net has no layer to show: none of its modules"):
        ready(Bare)
