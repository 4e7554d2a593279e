"""The worker threads that run the network: they take the newest request and hand out results.

torch is imported in these threads and not before, because importing it takes seconds, and the window
opens meanwhile. The main thread must never start torch threads of its own: two sets of torch threads
halve each other's speed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deepvis.attribution.requests import Request, Result
from deepvis.core.errors import UserError, words
from deepvis.core.receptive_field import ReceptiveField
from deepvis.core.runtime import be_patient, cpu_plan
from deepvis.workers.worker import MUCH_MEMORY, Task, Worker

if TYPE_CHECKING:
    from deepvis.networks.network import Network


def _answer(
    network: Network, request: Request, field: ReceptiveField | None, is_unwanted: Callable[[], bool]
) -> Result:
    from deepvis.attribution.passes import answer

    return answer(network, request, field, is_unwanted)


@dataclass(frozen=True)
class _Pass(Task[Request]):
    """A request that a thread has taken.

    Attributes:
        number: number of the request, because equal requests may follow one another.
        is_repeat: it asks the same as the request before it, only of a newer frame: the user does not wait for it.
    """

    number: int
    is_repeat: bool

    @property
    def can_go(self) -> bool:
        """Whether the pass is given up for a new request of the user.

        The first pass for a request is not: a user who holds a key down wants to see something on the way.
        Neither is a pass whose peaks are collected.
        """
        return self.is_repeat and not self.wish.peaks


class Engine(Worker[Request, Result]):
    """Answers requests in threads of its own.

    It differs from other workers: it has several threads, each with a replica of the network. Results are handed out in
    the order of their requests, also if a later one is ready first. If the user asks for something else, passes that
    only repeat the old request for newer frames are given up. Results of older requests are handed out too, because a
    result names its request. A failure becomes a result with an error text, and the thread goes on.

    Receptive fields are measured in another thread, because that takes as long as ten passes: the first result
    of a layer comes without its receptive field, and is handed out again once the field is known.
    """

    def __init__(self, load: Callable[[], Network], answer: Callable[..., Result] = _answer) -> None:
        """
        Args:
            load: loads the network; called in the engine's thread, because it takes seconds.
            answer: (network, request, receptive field or None, is_unwanted) -> result; tests put another function
                in place of `deepvis.attribution.passes.answer`.
        """
        super().__init__()
        self._load, self._compute = load, answer
        self._own = threading.local()  # each thread's replica of the network
        self._is_repeat = False  # whether the newest request is a repeat (see `_Pass`)
        self._asked = 0  # number of requests so far
        self._is_waiting = False  # no thread has taken the newest request yet
        self._taken: deque[_Pass] = deque()  # running, or done while an earlier one still runs
        self._early: dict[_Pass, Result] = {}  # results of passes that wait for an earlier one
        self._ready: deque[tuple[_Pass, Result]] = deque(maxlen=2)
        self._running = 0
        self._finished: deque[float] = deque(maxlen=240)
        self._fields: dict[str, ReceptiveField | None] = {}  # None: cannot be measured
        self._unmeasured: str | None = None  # the layer of the newest result, if its receptive field is not known
        self.network: Network | None = None
        self.error = ""
        self.note = ""

    def start(self) -> None:
        """Load the network and start answering, in the background."""
        self._start(self._begin)

    def want(self, wish: Request | None) -> None:
        """Hand in a request; it replaces one that still waits. Never blocks."""
        if wish is None:
            return
        with self._changed:
            if self._wish is None or not wish.only_newer(self._wish):
                self._is_repeat = False
                self._taken = deque(one for one in self._taken if not one.can_go)
                self._early = {one: result for one, result in self._early.items() if not one.can_go}
                self._ready = deque((made for made in self._ready if not made[0].can_go), self._ready.maxlen)
            self._wish, self._is_waiting = wish, True
            self._asked += 1
            self._changed.notify_all()

    @property
    def result(self) -> Result | None:
        """The newest result; it may answer an older request."""
        return self.answer

    def collect(self, timeout: float = 0.0) -> Result | None:
        """The oldest result that was not collected yet; None if there is none.

        Only the two newest results are kept for collecting.

        Args:
            timeout: seconds to wait for a result, if a pass is running.
        """
        with self._changed:
            if timeout and not self._ready and self._running:
                self._changed.wait(timeout)
            return self._ready.popleft()[1] if self._ready else None

    @property
    def backlog(self) -> int:
        """Number of requests that wait or run, and of results that were not collected yet."""
        with self._changed:
            return self._is_waiting + self._running + len(self._ready)

    @property
    def idle(self) -> bool:
        """True if nothing waits and nothing runs."""
        with self._changed:
            return not self._is_waiting and self._running == 0

    def rate(self, window: float = 2.0) -> float:
        """Results per second over the last `window` seconds."""
        since = time.perf_counter() - window
        return sum(t > since for t in list(self._finished)) / window

    @property
    def fields(self) -> dict[str, ReceptiveField]:
        """{layer: its receptive field}, as far as they have been measured."""
        with self._changed:
            return {layer: field for layer, field in self._fields.items() if field is not None}

    def wait(self, request: Request, timeout: float | None = None) -> Result:
        """The result of `request`, for programs without a window."""
        self.want(request)
        with self._changed:
            if not self._changed.wait_for(lambda: self._answers(request), timeout):
                raise UserError(f"no answer from the network within {timeout:g} s")
            result = self.result
            if result is None or result.request != request:
                raise UserError(self.error or "the engine has stopped")
            return result

    def _answers(self, request: Request) -> bool:
        """Whether the newest result answers the request, with its receptive field, or no answer will come."""
        if self._stopping or self.error:
            return True
        result = self.result
        return result is not None and result.request == request and bool(result.error or request.layer in self._fields)

    def _begin(self) -> None:
        try:
            network = self._load()
            workers, threads = cpu_plan() if network.device.type == "cpu" else (1, 1)
            replicas = [network.replica() for _ in range(workers)]
        except BaseException as error:  # a network's code may raise anything; the window must show it
            self._fail(words(error))
            return
        self.note = "; ".join(network.notes)
        self.network = network
        self._start(self._measure_fields)
        for replica in replicas[1:]:
            self._start(self._serve, replica, threads)
        self._serve(replicas[0], threads)

    def _fail(self, text: str) -> None:
        with self._changed:
            self.error = text
            self._changed.notify_all()

    def _serve(self, network: Network, threads: int) -> None:
        from deepvis.networks.threads import use_threads

        use_threads(threads)
        self._own.network = network
        self._run()

    # ---- what a worker does, for several threads -----------------------------------------------

    def _next(self) -> _Pass | None:
        if self._wish is None or not self._is_waiting:
            return None
        return _Pass(self._wish, self._generation, self._asked, self._is_repeat)

    def _take(self) -> _Pass | None:
        """Take the newest request, so that no other thread takes it; None if there is none."""
        with self._changed:
            one = self._next()
            if one is not None:
                self._is_waiting, self._is_repeat = False, True
                self._running += 1
                self._taken.append(one)
            return one

    def _finish(self, task: Task[Request]) -> None:
        """Nothing to do: a request has a single result."""

    def work(self, task: Task[Request]) -> Generator[Result, None, None]:
        result = self._unless_out_of_memory(task)
        if result is None:
            self._own.network = self._to_cpu(self._own.network)
            result = self._run_pass(task)
        yield result

    def serves(self, answered: Request, wish: Request) -> bool:
        return True

    def failed(self, wish: Request, why: str) -> Result:
        return Result(wish, error=why)

    def _is_wanted(self, task: Task[Request]) -> bool:
        with self._changed:
            return not self._stopping and task in self._taken

    def _hand_out(self, task: Task[Request], answer: Result | None) -> bool:
        """Hand out a result, and those that waited for it, unless its pass was given up."""
        with self._changed:
            self._running -= 1
            if answer is not None and isinstance(task, _Pass) and task in self._taken:
                self._finished.append(time.perf_counter())
                self._early[task] = answer
            while self._taken and (result := self._early.pop(self._taken[0], None)) is not None:
                self._show(self._taken.popleft(), result)
            self._changed.notify_all()
            return True

    def _show(self, one: _Pass, result: Result) -> None:
        self._given = one, result
        self._ready.append((one, result))
        layer = one.wish.layer
        self._unmeasured = None if result.error or layer in self._fields else layer

    def _run_pass(self, task: Task[Request]) -> Result:
        network, request = self._own.network, task.wish
        return self._compute(network, request, self._fields.get(request.layer), lambda: not self._is_wanted(task))

    def _unless_out_of_memory(self, task: Task[Request]) -> Result | None:
        import torch

        try:
            return self._run_pass(task)
        except torch.OutOfMemoryError:
            return None  # leaving the handler frees the tensors that the exception's traceback holds

    def _to_cpu(self, network: Network) -> Network:
        import torch

        from deepvis.networks.threads import use_threads

        self.note = f"{network.device} is out of memory: the network now runs on the CPU"
        workers, threads = cpu_plan()
        use_threads(workers * threads)  # there is only one worker, which gets all cores
        self.network = network.on(torch.device("cpu"))
        torch.cuda.empty_cache()
        return self.network.replica()

    # ---- receptive fields --------------------------------------------------------------------

    def _measure_fields(self) -> None:
        """Measure the shown layer's receptive field after its first result, which therefore need not wait for it."""
        from deepvis.networks.threads import use_threads

        use_threads(1)
        be_patient()
        while (todo := self._next_unmeasured()) is not None:
            layer, network = todo
            field = None
            try:
                with MUCH_MEMORY:
                    field = network.replica().receptive_field(layer, lambda: self._stopping)
            except BaseException as error:  # the thread must outlive whatever a network's code does
                self.note = f"the receptive field of {layer} cannot be measured: {words(error)}"
            self._take_in(layer, field)

    def _next_unmeasured(self) -> tuple[str, Network] | None:
        """Wait for a layer whose receptive field is to be measured; None if the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._unmeasured is not None)
            if self._stopping or self._unmeasured is None or self.network is None:
                return None
            return self._unmeasured, self.network

    def _take_in(self, layer: str, field: ReceptiveField | None) -> None:
        with self._changed:
            self._fields[layer] = field
            if self._unmeasured == layer:
                self._unmeasured = None
            if field is not None and self._given is not None:
                task, result = self._given
                if result.request.layer == layer and not result.error:
                    self._hand_out_again(task, result, replace(result, receptive_field=field))
            self._changed.notify_all()

    def _hand_out_again(self, task: Task[Request], known: Result, result: Result) -> None:
        """Hand out the newest result once more, with its receptive field."""
        if self._ready and self._ready[-1][1] is known:
            self._ready[-1] = self._ready[-1][0], result
        else:  # it was collected with its peaks, which must not be counted twice
            again = _Pass(result.request, self._generation, self._asked, is_repeat=True)
            self._ready.append((again, replace(result, peaks=None)))
        self._given = task, result
