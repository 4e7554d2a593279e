"""Networks that keep tensors between calls, and weights that are computed: every pass gives what the plain network
gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.networks.fingerprint import fingerprint
from deepvis.networks.kept_tensors import begin, copied, move_kept
from deepvis.networks.loading import from_module
from deepvis.networks.network import Network
from deepvis.networks.unwrapping import unwrapped
from deepvis.scan.reduce import Bar
from deepvis.scan.scan import look, spans_of


class Keeping(nn.Module):
    """Two convolutions with something in between that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3)
        self.kept = None

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.weighted(self.first(x).relu()))


class KeepsGrid(Keeping):
    def weighted(self, x: Tensor) -> Tensor:
        if self.kept is None or self.kept.shape != x.shape[-2:]:
            self.kept = torch.linspace(0, 1, x.shape[-2])[:, None].expand(x.shape[-2:]).to(x).contiguous()
        return x * self.kept


class KeepsState(Keeping):
    """Recurrent, without a look at the batch's size."""

    def weighted(self, x: Tensor) -> Tensor:
        self.kept = x if self.kept is None else 0.5 * self.kept + x
        return self.kept


class KeepsInDictionary(Keeping):
    def __init__(self) -> None:
        super().__init__()
        self.kept = {"all": [], "ready": False}

    def weighted(self, x: Tensor) -> Tensor:
        self.kept["all"].append(x)
        self.kept["ready"] = True
        return torch.stack([one.expand_as(x) for one in self.kept["all"]]).sum(0)


class KeepsBuffer(Keeping):
    """One that changes in place, and one that a first call registers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sum", torch.zeros(1))

    def weighted(self, x: Tensor) -> Tensor:
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.ones(x.shape[-1]) * 2)
        self.sum += 1
        return x * self.late * self.sum


@lru_cache
def _grid(size: int) -> Tensor:
    return torch.linspace(0.5, 1, size)


class KeepsElsewhere(Keeping):
    """In a cache of a module of Python."""

    def weighted(self, x: Tensor) -> Tensor:
        return x * _grid(x.shape[-1])


class BuildsLate(Keeping):
    """A layer that the first call makes; and a grid."""

    def weighted(self, x: Tensor) -> Tensor:
        if self.kept is None or len(self.kept) != x.shape[-1]:
            self.kept = torch.ones(x.shape[-1])
        if not hasattr(self, "late"):
            self.late = nn.Conv2d(4, 4, 1).requires_grad_(False)
        return self.late(x) * self.kept


KINDS = [KeepsGrid, KeepsState, KeepsInDictionary, KeepsBuffer, KeepsElsewhere, BuildsLate]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make().eval()


def ready(module: nn.Module, size: int = 12) -> Network:
    return from_module(module, "net", "cpu", given={"input": {"height": size, "width": size}})


FRAME = Frame(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8), "noise", 0, False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_does_not_depend_on_the_passes_before(kind: type[Keeping]) -> None:
    module = seeded(kind)
    _grid.cache_clear()
    network = ready(module)
    plain_ = answer(network, Request(FRAME, True, "second"))
    for _ in range(3):
        result = answer(network, Request(FRAME, True, "second", "gradient", ("second", 1), True))
        assert np.array_equal(result.activations, plain_.activations) and result.pixels.any()
    with torch.no_grad():
        batches = [
            look(
                network,
                network.input.noise().expand(n, -1, -1, -1),
                spans_of(network, ["second"]),
                Bar.none(len(plain_.activations), False),
            )
            for n in (3, 2)
        ]
    assert torch.allclose(batches[0]["second"].value[:, :2], batches[1]["second"].value, atol=1e-6)
    for size in (12, 8):
        x = torch.rand(2, 3, size, size, requires_grad=True)
        for net in (network, network.replica(), network.on(torch.device("cpu"))):
            (grad,) = torch.autograd.grad(net.up_to("second", x).sum(), x)
            assert grad.any()
    assert network.receptive_field("second").height == 5
    if kind is not BuildsLate:  # its layer is random
        want = seeded(kind)(network.see(FRAME.pixels, True))
        np.testing.assert_allclose(plain_.activations, want[0].detach().numpy(), atol=1e-5)


def test_a_network_that_keeps_part_of_a_graph_or_of_inference_mode_is_taken_and_stays_as_it_is() -> None:
    for mode in (torch.enable_grad, torch.inference_mode):
        module = seeded(KeepsState)
        with mode():
            module(torch.rand(1, 3, 12, 12))
        held = module.kept
        network = ready(module)
        x = torch.rand(1, 3, 12, 12, requires_grad=True)
        torch.autograd.grad(network.up_to("second", x).sum(), x)
        assert module.kept is held
        assert not copied(module).kept.requires_grad and not copied(module).kept.is_inference()


def test_kept_tensors_move_with_the_network() -> None:
    module = seeded(KeepsGrid)
    module.scale, module.kept = [torch.ones(1, dtype=torch.float64)], torch.ones(12, 12, dtype=torch.float64)
    begin(module, torch.rand(1, 3, 12, 12))
    assert module.scale[0].dtype == module.kept.dtype == torch.float32
    move_kept(module, torch.device("cpu"), torch.bfloat16)
    module.bfloat16()(torch.rand(1, 3, 8, 8).bfloat16())
    module(torch.rand(1, 3, 12, 12).bfloat16())
    assert module.kept.dtype == module.scale[0].dtype == torch.bfloat16


def test_a_network_that_keeps_no_tensor_is_left_alone() -> None:
    class Counts(Keeping):
        def weighted(self, x: Tensor) -> Tensor:
            self.kept = (self.kept or 0) + 1
            return x

    module = seeded(Counts)
    begin(module, torch.rand(1, 3, 8, 8))
    module(torch.rand(1, 3, 8, 8))
    assert module.kept == 2 and not module._forward_pre_hooks


# ---- weights that are computed ------------------------------------------------------------------


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def doubled(conv: nn.Module) -> nn.Module:
    parametrize.register_parametrization(conv, "weight", Doubled())
    parametrize.register_parametrization(conv, "bias", Doubled())
    return conv


WAYS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": lambda conv: parametrizations.orthogonal(conv),
    "both": lambda conv: parametrizations.spectral_norm(parametrizations.weight_norm(conv)),
    "own": doubled,
    "old weight norm": nn.utils.weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "pruned": lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("called", [False, True])
def test_a_parametrized_convolution_is_a_layer_like_any_other(way: Callable, called: bool) -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            way(nn.Conv2d(3, 8, 3)),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            way(nn.Linear(8, 5)),
        )

    module = seeded(make)
    module[1].running_var.uniform_(0.5, 2)
    if called:
        module(torch.rand(1, 3, 12, 12))  # leaves weights that are part of a graph
    network = ready(module)
    assert [(layer.name, layer.kind) for layer in network.layers[:2]] == [("0", "Conv2d"), ("1", "BatchNorm2d")]
    assert [layer.name for layer in network.layers] == ["0", "1", "2", "3", "5", "softmax"]
    assert not any("parametrizations" in path for path, _ in network.module.named_modules())
    assert network.receptive_field("2").height == 3
    x = network.see(FRAME.pixels, True)
    want = module(x).softmax(1).detach()
    for net in (network, network.replica()):
        torch.testing.assert_close(net.module(x), want, rtol=1e-4, atol=1e-6)
    assert fingerprint(unwrapped(copied(module))) == fingerprint(copy.deepcopy(unwrapped(copied(module))))
    fewer = from_module(module, "net", "cpu", given={"input": {"height": 12, "width": 12}, "layers": {"relu": "2"}})
    torch.testing.assert_close(fewer.module(x), want, rtol=1e-4, atol=1e-5)  # with the normalisation folded in


# ---- what was wrapped around parts ---------------------------------------------------------------


class Trunk(nn.Module):
    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.trunk, self.last = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.trunk(x))


def compiled_in_place(module: nn.Module) -> nn.Module:
    module.compile()
    return module


@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, compiled_in_place, lambda m: torch.compile(nn.DataParallel(m))]
)
def test_modules_compiled_or_parallel_inside_are_watched(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = ready(seeded(lambda: Trunk(wrap)))
    assert [layer.name for layer in network.layers] == ["trunk.0", "trunk.1", "last"]
    assert answer(network, Request(FRAME, True, "trunk.0", "gradient", ("trunk.0", 1), True)).pixels.any()


def test_a_forward_that_is_compiled() -> None:
    class Compiled(Trunk):
        forward = torch.compile(Trunk.forward)

    network = ready(seeded(lambda: Compiled(lambda m: m)))
    assert [layer.name for layer in network.layers] == ["trunk.0", "trunk.1", "last"]
    assert answer(network, Request(FRAME, True, "last", "gradient", ("last", 1), True)).pixels.any()
