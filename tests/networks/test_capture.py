"""Captures: what was captured stays, hooks leave, the gradient stops behind the cut."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.networks.activation_rules import RULES, ActivationRule
from deepvis.networks.capture import Abandoned, capture, interruptible, trace


def hooks(module: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(child, table)) for child in module.modules() for table in tables)


class Residual(nn.Module):
    """Writes in place wherever networks do: a ReLU module used twice, `+=`, and a functional ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.first(x))
        z = self.second(y)
        z += y
        return F.relu(self.last(self.relu(z)), inplace=True)


class Chain(nn.Module):
    """One ReLU module, called three times in a row with a scaling in between, and no other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.relu(self.scale(x))
        return self.last(x)


def make(cls: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return cls().double().eval().requires_grad_(False)


def picture(channels: int) -> Tensor:
    return torch.randn(1, channels, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("method", [None, *RULES])
def test_in_place_operations_do_not_overwrite_what_was_captured(method: str | None) -> None:
    net, x = make(Residual), picture(3)
    want = {"first": net.first(x)}
    y = F.relu(want["first"])
    want["second"] = net.second(y)
    want["relu"] = F.relu(want["second"] + y)
    want["last"] = net.last(want["relu"])
    assert all((value < 0).any() for name, value in want.items() if name != "relu")  # else nothing could change

    rule = ActivationRule(RULES[method]) if method else contextlib.nullcontext()
    with rule, capture(net, want) as captured:
        out = net(x.requires_grad_(method is not None))
    assert captured.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(captured[name].detach(), value, rtol=0, atol=0, msg=name)
    torch.testing.assert_close(out.detach(), F.relu(want["last"]), rtol=0, atol=0)


def test_capturing_does_not_change_the_gradient() -> None:
    net, x = make(Residual), picture(3).requires_grad_(True)
    (want,) = torch.autograd.grad(net(x).sum(), x)
    with capture(net, ["first", "second", "relu", "last"]):
        (got,) = torch.autograd.grad(net(x).sum(), x)
    assert torch.equal(got, want)


def test_hooks_leave_with_the_block() -> None:
    net = make(Residual)
    with capture(net, ["first", "relu"]):
        assert hooks(net) == 2
    assert hooks(net) == 0
    with trace(net, lambda *_: None):
        assert hooks(net) == 4
    assert hooks(net) == 0


def test_hooks_leave_after_an_exception() -> None:
    net = make(Residual)
    with pytest.raises(ZeroDivisionError), capture(net, ["first", "relu"]):
        raise ZeroDivisionError
    assert hooks(net) == 0
    with pytest.raises(RuntimeError), capture(net, ["first"]):
        net(picture(1))  # the network itself fails
    assert hooks(net) == 0
    with pytest.raises(ZeroDivisionError), trace(net, lambda *_: 1 / 0):
        net(picture(3))
    assert hooks(net) == 0


def test_hooks_leave_when_a_path_does_not_exist() -> None:
    net = make(Residual)
    with pytest.raises(AttributeError), capture(net, ["first", "no.such"]):
        pass
    assert hooks(net) == 0


def test_nested_captures_do_not_disturb_each_other() -> None:
    net, x = make(Residual), picture(3)
    with capture(net, ["first"]) as outer:
        with capture(net, ["first", "last"]) as inner:
            net(x)
        assert torch.equal(inner["first"], outer["first"])
        assert hooks(net) == 1
    assert torch.equal(inner["last"], net.last(net.relu(net.second(y := net.relu(net.first(x))) + y)))


def test_a_module_called_several_times_leaves_its_last_output() -> None:
    net, x = make(Chain), picture(2)
    with capture(net, ["relu"]) as captured:
        out = net(x)
    assert torch.equal(net.last(captured["relu"]), out)


def test_the_gradient_stops_behind_the_last_call() -> None:
    net, x = make(Chain), picture(2).requires_grad_(True)
    with capture(net, ["relu"], cut=("relu", 3)) as captured:
        out = net(x)
    assert not out.requires_grad
    step = x
    for _ in range(3):
        step = F.relu(net.scale(step))
    assert torch.equal(captured["relu"], step)
    (got,) = torch.autograd.grad(captured["relu"].square().sum(), x)
    (want,) = torch.autograd.grad(step.square().sum(), x)
    assert want.abs().max() > 0
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_the_cut_is_at_the_call_that_was_named_and_at_the_path_that_was_named() -> None:
    net, x = make(Chain), picture(2).requires_grad_(True)
    with capture(net, ["relu", "scale"], cut=("relu", 2)) as captured:
        net(x)
    assert not captured["relu"].requires_grad  # the third call comes behind the second
    with capture(net, ["relu", "scale"], cut=("scale", 1)) as captured:
        assert not net(x).requires_grad
    with capture(net, ["relu", "scale"], cut=("scale", 4)) as captured:
        assert net(x).requires_grad  # never called a fourth time


def test_trace_visits_submodules_in_call_order() -> None:
    net, visited = make(Residual), []
    with trace(net, lambda path, module, inputs, output: visited.append((path, module is net.get_submodule(path)))):
        net(picture(3))
    assert visited == [(path, True) for path in ("first", "relu", "second", "relu", "last")]


def test_stopping_gives_the_same_output_and_runs_nothing_behind() -> None:
    net, x = make(Chain), picture(2)
    ran = []
    with trace(net, lambda path, *_: ran.append(path)), capture(net, {"relu"}) as whole:
        net(x)
    assert ran.count("last") == 1
    ran.clear()
    with trace(net, lambda path, *_: ran.append(path)), capture(net, {"relu"}, ("relu", 3), stop=True) as part:
        net(x)
        raise AssertionError("the block goes on")
    assert torch.equal(part["relu"], whole["relu"])
    assert "last" not in ran and ran.count("scale") == 3
    assert hooks(net) == 0


def test_a_gradient_flows_back_from_where_it_stopped() -> None:
    net, x = make(Residual), picture(3).requires_grad_(True)
    with capture(net, {"second"}, ("second", 1), stop=True) as part:
        net(x)
    (got,) = torch.autograd.grad(part["second"].sum(), x)
    (want,) = torch.autograd.grad(net.second(F.relu(net.first(x))).sum(), x)
    torch.testing.assert_close(got, want)


class Forgiving(nn.Module):
    """Goes on whatever its first part raises, as user code does that wants to be robust."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        try:
            self.first(x)
        except Exception:
            pass
        return self.last(x)


def test_a_networks_own_except_does_not_swallow_the_stop() -> None:
    net, ran = make(Forgiving), []
    with trace(net, lambda path, *_: ran.append(path)), capture(net, {"first"}, ("first", 1), stop=True) as part:
        net(picture(3))
    assert "last" not in ran and part["first"].shape[1] == 4


@pytest.mark.parametrize("after", range(6))
def test_a_pass_that_nobody_wants_any_more_ends_at_the_next_layer(after: int) -> None:
    """Residual calls five submodules; asked for the sixth time it is not interrupted."""
    net, ran, looks = make(Residual), [], []

    def is_unwanted() -> bool:
        looks.append(1)
        return len(looks) > after

    ends = pytest.raises(Abandoned) if after < 5 else contextlib.nullcontext()
    with (
        ends,
        trace(net, lambda path, *_: ran.append(path)),
        interruptible(net, {"first", "relu", "second", "last"}, is_unwanted),
    ):
        net(picture(3))
    assert len(ran) == after if after < 5 else len(ran) == 5
    assert hooks(net) == 0


def test_a_backward_pass_that_nobody_wants_any_more_ends() -> None:
    net, x = make(Residual), picture(3).requires_grad_(True)
    unwanted, looks = [], []

    def is_unwanted() -> bool:
        looks.append(1)
        return bool(unwanted)

    with interruptible(net, {"first", "relu", "second", "last"}, is_unwanted):
        out = net(x.clone())
        forward = len(looks)
        (plain,) = torch.autograd.grad(out.sum(), x, retain_graph=True)
        assert len(looks) > forward and plain.any()
        unwanted.append(True)
        with pytest.raises(Abandoned):
            torch.autograd.grad(out.sum(), x)


class InThread(nn.Module):
    """Computes in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        thread = threading.Thread(target=lambda: found.append(self.last(self.first(x))))
        thread.start()
        thread.join()
        return found[0]


def test_a_network_that_computes_in_a_thread_is_not_stopped_there() -> None:
    net = make(InThread)
    with capture(net, {"first"}, ("first", 1), stop=True) as part:
        out = net(picture(3))
    assert part["first"].shape[1] == 4 and out.shape[1] == 2
