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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deepvis.attribution.requests import Request, Result
from deepvis.core.errors import UserError, words
from deepvis.core.receptive_field import ReceptiveField
from deepvis.core.runtime import be_patient, cpu_plan
from deepvis.workers.worker import MUCH_MEMORY

if TYPE_CHECKING:
    from deepvis.networks.network import Network


def _answer(
    network: Network, request: Request, field: ReceptiveField | None, is_unwanted: Callable[[], bool]
) -> Result:
    from deepvis.attribution.passes import answer

    return answer(network, request, field, is_unwanted)


@dataclass(eq=False)
class _Pass:
    """A request that a worker has taken.

    Attributes:
        is_repeat: the same has been asked of an earlier frame: nobody waits for this one.
        result: None until it is done.
        is_unwanted: the user has asked for something else meanwhile.
    """

    request: Request
    is_repeat: bool
    result: Result | None = None
    is_unwanted: bool = False

    @property
    def can_go(self) -> bool:
        """Whether it makes way for a new wish. The first answer to a wish does not: who holds a key down wants to
        see something on the way. Nor does a pass whose peaks are to be collected."""
        return self.is_repeat and not self.request.peaks


class Engine:
    """Answers requests in threads of its own.

    A one-slot mailbox: a newer request replaces one that waits. Results appear in the order of
    their requests: one that is ready early waits for those that were asked before it. A wish of the
    user, which is a request that asks more than the same of a newer live frame, overtakes the
    mere frames: passes for these are given up. A failure becomes a result with an error text, and
    the thread lives on.

    Receptive fields are measured in a thread of their own, as that takes as long as ten passes: the
    first result of a layer comes without its field, and once more with it.
    """

    def __init__(self, load: Callable[[], Network], answer: Callable[..., Result] = _answer) -> None:
        """
        Args:
            load: makes the network; called in the engine's thread, because it takes seconds.
            answer: (network, request, receptive field or None, is_unwanted) -> result, as `deepvis.attribution.passes.answer`;
                replaceable for tests.
        """
        self._load, self._answer = load, answer
        self._changed = threading.Condition()
        self._asked: Request | None = None
        self._is_repeat = False  # whether the waiting request is
        self._waiting: Request | None = None
        self._taken: deque[_Pass] = deque()  # being worked on, or done before one that was taken earlier
        self._ready: deque[_Pass] = deque(maxlen=2)
        self._running = 0
        self._result: Result | None = None
        self._stopping = False
        self._finished: deque[float] = deque(maxlen=240)
        self._fields: dict[str, ReceptiveField | None] = {}  # None: cannot be measured
        self._unmeasured: str | None = None  # the layer that was asked for last, if its field is not known
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
            if self._asked is None or not request.only_newer(self._asked):
                self._is_repeat = False
                for one in self._taken:
                    one.is_unwanted |= one.can_go
                self._taken = deque(one for one in self._taken if not one.is_unwanted)
                self._ready = deque((one for one in self._ready if not one.can_go), self._ready.maxlen)
            self._asked = self._waiting = request
            self._changed.notify_all()

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
            return self._ready.popleft().result if self._ready else None

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
        """Stop the workers and wait for them; the pass that runs ends at its next layer.

        Returns:
            Whether all of them ended within `timeout` seconds.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _answers(self, request: Request) -> bool:
        """Whether the newest result is the whole answer, its receptive field included; or there will be none."""
        if self._stopping or self.error:
            return True
        result = self._result
        return result is not None and result.request == request and bool(result.error or request.layer in self._fields)

    def _spawn(self, target: Callable, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=f"deepvis-{target.__name__}", daemon=True)
        with self._changed:  # `close` sees threads that run and no others
            if not self._stopping:
                thread.start()
                self._threads.append(thread)

    def _begin(self) -> None:
        try:
            network = self._load()
            workers, threads = cpu_plan() if network.device.type == "cpu" else (1, 1)
            replicas = [network.replica() for _ in range(workers)]
        except BaseException as error:  # whatever a network's code raises, the window has to say it
            self._fail(words(error))
            return
        import torch

        torch.set_num_threads(threads)
        self.note = "; ".join(network.notes)
        self.network = network
        self._spawn(self._measure_fields)
        for replica in replicas[1:]:
            self._spawn(self._work, replica, threads)
        self._work(replicas[0], threads)

    def _fail(self, text: str) -> None:
        with self._changed:
            self.error = text
            self._changed.notify_all()

    def _work(self, network: Network, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)  # the OpenMP team is this thread's own
        while (one := self._take()) is not None:
            try:
                result = self._unless_out_of_memory(network, one)
                if result is None:
                    network = self._to_cpu(network)
                    result = self._run(network, one)
            except BaseException as error:  # the thread must outlive whatever a network's code does, be it `sys.exit`
                result = Result(one.request, error=words(error))
            self._publish(one, result)

    def _run(self, network: Network, one: _Pass) -> Result:
        return self._answer(
            network, one.request, self._fields.get(one.request.layer), lambda: one.is_unwanted or self._stopping
        )

    def _take(self) -> _Pass | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            if self._stopping:
                return None
            one, self._waiting = _Pass(self._waiting, self._is_repeat), None
            self._is_repeat = True
            self._running += 1
            self._taken.append(one)
            return one

    def _publish(self, one: _Pass, result: Result) -> None:
        with self._changed:
            self._running -= 1
            one.result = result
            if not one.is_unwanted:
                self._finished.append(time.perf_counter())
            while self._taken and self._taken[0].result is not None:
                done = self._taken.popleft()
                self._result = done.result
                self._ready.append(done)
                layer = done.request.layer
                self._unmeasured = None if done.result.error or layer in self._fields else layer
            self._changed.notify_all()

    def _measure_fields(self) -> None:
        """Measure the field of the layer that is looked at, after its first result: nobody waits for that longer."""
        import torch

        torch.set_num_threads(1)
        be_patient()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._unmeasured is not None)
                if self._stopping:
                    return
                layer, network = self._unmeasured, self.network
            field = None
            try:
                with MUCH_MEMORY:
                    field = network.replica().receptive_field(layer, lambda: self._stopping)
            except BaseException as error:  # as in `_work`
                self.note = f"the receptive field of {layer} cannot be measured: {words(error)}"
            with self._changed:
                self._fields[layer] = field
                if self._unmeasured == layer:
                    self._unmeasured = None
                if field and self._result and self._result.request.layer == layer and not self._result.error:
                    self._hand_out_again(replace(self._result, receptive_field=field))
                self._changed.notify_all()

    def _hand_out_again(self, result: Result) -> None:
        """The newest result, of which more is known now."""
        if self._ready and self._ready[-1].result is self._result:
            self._ready[-1].result = result
        else:  # its peaks have been collected
            self._ready.append(_Pass(result.request, True, replace(result, peaks=None)))
        self._result = result

    def _unless_out_of_memory(self, network: Network, one: _Pass) -> Result | None:
        import torch

        try:
            return self._run(network, one)
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
