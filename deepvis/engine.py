"""The worker threads that own the network: requests in, results out, the newest wins.

torch is imported in these threads and not before: importing it takes seconds, during which the
window is already up, and the main thread must never start a torch thread team of its own (two
teams halve each other's speed).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from deepvis.errors import UserError
from deepvis.messages import ReceptiveField, Request, Result
from deepvis.runtime import cpu_plan

if TYPE_CHECKING:
    from deepvis.network import Network


def _answer(network: Network, request: Request, field: ReceptiveField) -> Result:
    from deepvis.passes import answer

    return answer(network, request, field)


class Engine:
    """Answers requests in threads of its own.

    A one-slot mailbox: a newer request replaces one that waits. Results appear in the order of
    their requests, one that is ready early waits for its elders. A failure becomes a result with
    an error text, and the thread lives on.
    """

    def __init__(self, load: Callable[[], Network], answer: Callable[..., Result] = _answer) -> None:
        """
        Args:
            load: makes the network; called in the engine's thread, because it takes seconds.
            answer: (network, request, receptive field) -> result; replaceable for tests.
        """
        self._load, self._answer = load, answer
        self._changed = threading.Condition()
        self._waiting: Request | None = None
        self._taken: deque[Request] = deque()  # being worked on, or done and waiting for an elder
        self._done: dict[int, Result] = {}  # by the request's id()
        self._ready: deque[Result] = deque(maxlen=2)
        self._running = 0
        self._result: Result | None = None
        self._stopping = False
        self._finished: deque[float] = deque(maxlen=240)
        self._fields: dict[str, ReceptiveField] = {}
        self._threads: list[threading.Thread] = []
        self.network: Network | None = None
        self.error = ""
        self.note = ""

    def start(self) -> None:
        """Load the network and begin to answer, all in the background."""
        self._spawn(self._begin)

    def ask(self, request: Request) -> None:
        """Hand in a request; never blocks. One that still waits is forgotten."""
        with self._changed:
            self._waiting = request
            self._changed.notify()

    @property
    def result(self) -> Result | None:
        """The newest result."""
        return self._result

    def collect(self, timeout: float = 0.0) -> Result | None:
        """The oldest result that was not collected yet, None if there is none.

        Of results that nobody collects only the newest few are kept.

        Args:
            timeout: seconds to wait for one, while there is one on its way.
        """
        with self._changed:
            if timeout and not self._ready and self._running:
                self._changed.wait(timeout)
            return self._ready.popleft() if self._ready else None

    @property
    def backlog(self) -> int:
        """Requests that wait or are being worked on, and results that were not collected yet."""
        with self._changed:
            return (self._waiting is not None) + self._running + len(self._ready)

    @property
    def idle(self) -> bool:
        """True if nothing waits and nothing runs."""
        with self._changed:
            return self._waiting is None and self._running == 0

    def rate(self, window: float = 2.0) -> float:
        """Results per second over the last `window` seconds."""
        since = time.perf_counter() - window
        return sum(t > since for t in list(self._finished)) / window

    def wait(self, request: Request, timeout: float | None = None) -> Result:
        """The result of `request`, for programs without a window."""
        self.ask(request)
        with self._changed:
            if not self._changed.wait_for(lambda: self._answers(request), timeout):
                raise UserError(f"no answer from the network within {timeout:g} s")
            if self._result is None or self._result.request != request:
                raise UserError(self.error or "the engine has stopped")
            return self._result

    def close(self, timeout: float = 5.0) -> bool:
        """Stop the workers and wait for them; the pass that runs is finished first.

        Returns:
            Whether all of them ended within `timeout` seconds.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _answers(self, request: Request) -> bool:
        return bool(self._stopping or self.error or (self._result and self._result.request == request))

    def _spawn(self, target: Callable, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=f"deepvis-{target.__name__}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _begin(self) -> None:
        try:
            network = self._load()
        except Exception as error:  # whatever a network's code raises, the window has to say it
            self._fail(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
            return
        import torch

        workers, threads = cpu_plan() if network.device.type == "cpu" else (1, 1)
        torch.set_num_threads(threads)
        self.note = "; ".join(network.notes)
        self.network = network
        for _ in range(workers - 1):
            self._spawn(self._work, network.replica(), threads)
        self._work(network.replica(), threads)

    def _fail(self, text: str) -> None:
        with self._changed:
            self.error = text
            self._changed.notify_all()

    def _work(self, network: Network, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)  # the OpenMP team is this thread's own
        while (request := self._take()) is not None:
            try:
                result = self._unless_out_of_memory(network, request)
                if result is None:
                    network = self._to_cpu(network)
                    result = self._answer(network, request, self._field(network, request.layer))
            except Exception as error:  # the thread must outlive whatever a network's code does
                result = Result(request, error=f"{type(error).__name__}: {error}")
            self._publish(request, result)

    def _take(self) -> Request | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            if self._stopping:
                return None
            request, self._waiting = self._waiting, None
            self._running += 1
            self._taken.append(request)
            return request

    def _publish(self, request: Request, result: Result) -> None:
        with self._changed:
            self._running -= 1
            self._finished.append(time.perf_counter())
            self._done[id(request)] = result
            while self._taken and id(self._taken[0]) in self._done:
                self._result = self._done.pop(id(self._taken.popleft()))
                self._ready.append(self._result)
            self._changed.notify_all()

    def _field(self, network: Network, layer: str) -> ReceptiveField:
        if layer not in self._fields:  # two workers may both measure it: the same answer twice does no harm
            self._fields[layer] = network.receptive_field(layer)
        return self._fields[layer]

    def _unless_out_of_memory(self, network: Network, request: Request) -> Result | None:
        import torch

        try:
            return self._answer(network, request, self._field(network, request.layer))
        except torch.OutOfMemoryError:
            return None  # and with the exception goes what its traceback holds on the device

    def _to_cpu(self, network: Network) -> Network:
        import torch

        self.note = f"{network.device} is out of memory: going on with the CPU"
        workers, threads = cpu_plan()
        torch.set_num_threads(workers * threads)  # there is one worker: all cores are its own
        self.network = network.on(torch.device("cpu"))
        torch.cuda.empty_cache()
        return self.network.replica()
