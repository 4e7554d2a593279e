"""Threads that share the work of a network: in order, with errors passed on, sent home at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from deepvis.networks import replicas as module
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.networks.replicas import ReplicaPool


@pytest.fixture(scope="module")
def network() -> Network:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    return prepare("tiny", net, InputSpec(height=16, width=16), {"conv": "0"}, (), torch.device("cpu"), torch.float32)


@pytest.fixture(autouse=True)
def four_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)


def test_results_come_in_order_and_several_replicas_are_at_work(network: Network) -> None:
    seen = set()

    def work(replica: Network, item: int) -> int:
        seen.add(id(replica.module))
        time.sleep(0.05 if item % 4 == 0 else 0)
        return item * item

    with ReplicaPool(network) as pool:
        assert pool.size == 4
        assert list(pool.each(work, range(10))) == [(i, i * i) for i in range(10)]
    assert len(seen) > 1 and id(network.module) not in seen


@pytest.mark.parametrize("most, threads", [(1, 4), (2, 2), (3, 2), (9, 1), (0, 4)])
def test_the_cores_are_shared_out(network: Network, most: int, threads: int) -> None:
    with ReplicaPool(network, most) as pool:
        assert pool.size * threads == 4
        assert {n for _, n in pool.each(lambda *_: torch.get_num_threads(), range(8))} == {threads}


@pytest.mark.parametrize("cores, size", [(9, 3), (10, 5), (12, 6), (15, 5), (16, 8), (64, 8)])
def test_as_few_cores_as_possible_are_idle(
    network: Network, cores: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    pool = ReplicaPool(network)
    assert pool.size == size and cores - pool.size * pool._threads <= 1
    monkeypatch.undo()


def test_a_large_machine_has_no_larger_team(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 2)
    assert ReplicaPool(network).size == 2


def test_what_is_done_first_may_come_first(network: Network) -> None:
    slow = threading.Event()

    def work(_replica: Network, item: int) -> int:
        assert item or slow.wait(20)
        return -item

    with ReplicaPool(network, 2) as pool:
        came = []
        for item, result in pool.each(work, range(6), in_order=False):
            assert result == -item
            came.append(item)
            if len(came) == 5:
                slow.set()
    assert came[-1] == 0 and sorted(came) == list(range(6))


def test_no_more_items_are_taken_than_the_team_is_busy_with(network: Network) -> None:
    taken = []

    def items() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    with ReplicaPool(network, 2) as pool:
        for i, _ in pool.each(lambda _network, item: item, items()):
            assert len(taken) <= i + 3


def test_an_error_in_the_work_comes_out_and_sends_the_team_home(network: Network) -> None:
    def work(_replica: Network, item: int) -> None:
        if item == 1:
            raise ZeroDivisionError
        assert pool.stopped.wait(20)

    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), ReplicaPool(network, 2) as pool:
        list(pool.each(work, [1, 2, 3, 4]))
    assert pool.stopped.is_set() and time.monotonic() - start < 10
