"""Running one network in several threads, for offline computation."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from deepvis.core.errors import UserError, words
from deepvis.networks.network import ONE_AT_A_TIME, Network
from deepvis.networks.threads import use_threads

LARGEST = 8  # most threads; more would wait for Python's lock
PATIENCE = 0.2  # seconds of one wait; an endless wait could not be interrupted by Ctrl-C on Windows

Item = TypeVar("Item")
Result = TypeVar("Result")


class ReplicaPool:
    """A pool of threads that run a network, each on a replica of its own. A context manager.

    On a CPU there is about one thread for each core. Several threads with a small batch each are faster than all
    cores on one large batch, whose maps do not fit into the cache. On other devices there is one thread.

    Attributes:
        size: number of threads.
        stopped: set when the pool closes; long work checks it now and then.
    """

    def __init__(self, network: Network, most: int = LARGEST) -> None:
        """
        Args:
            most: largest number of threads, if there is no work for more.
        """
        on_cpu = network.device.type == "cpu"
        self._before = cores = torch.get_num_threads()
        sizes = range(1, max(1, min(cores, most, LARGEST)) + 1) if on_cpu else [1]
        self.size = max(sizes, key=lambda size: (size * (cores // size), size))  # leaves the fewest cores idle
        self._threads = cores // self.size
        self.stopped = threading.Event()
        self._free = queue.SimpleQueue[Network]()
        for _ in range(self.size):
            self._free.put(network.replica())

    def __enter__(self) -> ReplicaPool:
        use_threads(self._threads)  # also in this thread, so that it leaves the cores to the pool
        self._pool = ThreadPoolExecutor(self.size, "replica", use_threads, (self._threads,))
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self._pool.shutdown(cancel_futures=True)
        use_threads(self._before)

    def each(
        self, work: Callable[[Network, Item], Result], items: Iterable[Item], in_order: bool = True
    ) -> Iterator[tuple[Item, Result]]:
        """The items with what `work` makes of them; no more are taken than the pool is busy with.

        Args:
            in_order: yield the results in the order of the items (true), or as soon as each is done (false).
        """
        waiting: list[tuple[Item, Future[Result]]] = []
        for item in items:
            waiting.append((item, self._pool.submit(self._with_replica, work, item)))
            if len(waiting) > self.size:
                yield _taken(waiting, in_order)
        while waiting:
            yield _taken(waiting, in_order)

    def _with_replica(self, work: Callable[[Network, Item], Result], item: Item) -> Result:
        network = self._free.get()
        try:
            return work(network, item)
        finally:
            self._free.put(network)


def _taken(waiting: list[tuple[Item, Future[Result]]], in_order: bool) -> tuple[Item, Result]:
    """Wait for the next result and remove it from `waiting`."""
    futures = [future for _, future in waiting[: 1 if in_order else None]]
    while not (done := wait(futures, PATIENCE, FIRST_COMPLETED).done):
        pass
    item, future = waiting.pop(next(i for i, future in enumerate(futures) if future in done))
    return item, future.result()


def failed(error: Exception, pictures: int) -> UserError:
    """A UserError that says what a network's code raised for a batch of so many pictures."""
    remedy = ONE_AT_A_TIME if pictures > 1 else "deepvis layers MODEL says what it takes"
    return UserError(f"the network fails with {pictures} pictures at a time: {words(error)}. {remedy}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, so that a smaller batch may work. PyTorch has many such messages."""
    # A GPU's, a CPU's on Windows and on Linux, cuBLAS's and cuDNN's, oneDNN's: the network ran with one small picture
    # when it was loaded, so that there is a primitive if there is room for it.
    room = ("out of memory", "not enough memory", "can't allocate", "alloc_failed", "bad_alloc")
    signs = (*room, "could not create a primitive", "could not create a memory")
    said = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(sign in said for sign in signs)
