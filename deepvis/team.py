"""Several threads that work with one network, for what is computed offline."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from deepvis.network import Network

LARGEST = 8  # threads; more would wait for Python's lock

Item = TypeVar("Item")
Result = TypeVar("Result")


class Team:
    """Threads that work with a network, each with a replica of its own. A context manager.

    On a CPU there is one for each core: several that take a small batch each through the network get more
    done than all cores together on a large one, whose maps leave the cache before they are looked at. On
    other devices there is one.

    Attributes:
        size: how many threads.
        stopped: set when the team is sent home; long work looks at it now and then.
    """

    def __init__(self, network: Network, most: int = LARGEST) -> None:
        """
        Args:
            most: threads, where there is no work for more.
        """
        on_cpu = network.device.type == "cpu"
        self._before = cores = torch.get_num_threads()
        self.size = max(1, min(cores, most, LARGEST)) if on_cpu else 1
        self._threads = max(1, cores // self.size) if on_cpu else cores
        self.stopped = threading.Event()
        self._free = queue.SimpleQueue[Network]()
        for _ in range(self.size):
            self._free.put(network.replica())

    def __enter__(self) -> Team:
        torch.set_num_threads(self._threads)  # of this thread; more would be in the team's way
        self._pool = ThreadPoolExecutor(self.size, "team", torch.set_num_threads, (self._threads,))
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)

    def each(self, work: Callable[[Network, Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """The items in their order, with what `work` makes of them; no more are taken than the team is busy with."""
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, self._pool.submit(self._with_replica, work, item)))
            if len(waiting) > self.size:
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()

    def _with_replica(self, work: Callable[[Network, Item], Result], item: Item) -> Result:
        network = self._free.get()
        try:
            return work(network, item)
        finally:
            self._free.put(network)
