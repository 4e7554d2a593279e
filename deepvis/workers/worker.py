"""The base class of the workers, which answer the newest request in a thread until they are closed."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakSet

from deepvis.core.errors import words
from deepvis.core.runtime import be_patient

Source = TypeVar("Source")
Wish = TypeVar("Wish")
Answer = TypeVar("Answer")


class InTurn:
    """A fair lock: the thread that has waited longest gets it next, so that no thread can keep it from the others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    def __enter__(self) -> None:
        mine = object()
        with self._changed:
            self._queue.append(mine)
            self._changed.wait_for(lambda: self._queue[0] is mine)

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()


MUCH_MEMORY = InTurn()
"""Held by a worker for work that takes hundreds of megabytes for a moment, such as a batch of images in the network.

Only one worker does such work at a time, because the process keeps as much memory as it ever used at once (see
`deepvis.core.runtime`).
"""


@dataclass(frozen=True)
class WishOf(Generic[Source, Wish]):
    """A request together with its source, such as a network or an index. With another source it is another request."""

    source: Source
    wish: Wish


@dataclass(frozen=True)
class Task(Generic[Wish]):
    """A request that is being answered, and the generation of the data that it is answered from (see `Worker`)."""

    wish: Wish
    generation: int


class Worker(Generic[Wish, Answer]):
    """Answers the newest request in a thread of its own, which starts with the first request.

    Each answer belongs to a task: a request and a generation. It is handed out only while its request is the newest, or
    while it also serves the newest one (`serves`), and only in its generation. `renew` starts a new generation when the
    data that answers are made from is replaced (an index, a store, a collection). So an answer to an older request, or
    from data that has been replaced, is never handed out as the answer to another request.

    A subclass defines how an answer is made (`work`) and the answer that says why it failed (`failed`). It may also do
    something each time the thread wakes up (`look_around`), and define how often that is (`patience`).

    Hold `_changed` to read or write what several threads share, and do no long work while holding it, so that no caller
    waits. The threads are daemons, so one that hangs in a driver does not keep the program from exiting; Python's exit
    waits for the others (`end_all`).

    Attributes:
        has_low_priority: the thread waits for the live view when cores are scarce; on Linux only.
        modules: what the work imports, for a thread of low priority. They are imported before the priority is lowered:
            while a thread imports it mostly has Python's lock, and on a busy machine one of low priority would keep it
            from the loop for seconds.
    """

    has_low_priority = False
    modules: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._wish: Wish | None = None
        self._generation = 0
        self._given: tuple[Task[Wish], Answer] | None = None  # the newest answer
        self._done: Task[Wish] | None = None  # the task that is answered completely

    # ---- for who asks ------------------------------------------------------------------------

    def want(self, wish: Wish | None) -> None:
        """Make a request (None to ask for nothing); it replaces the one before. Never blocks."""
        with self._changed:
            if wish != self._wish:
                self._wish = wish
                self._changed.notify_all()
            if wish is not None and not self._threads:
                self._start(self._run)

    @property
    def answer(self) -> Answer | None:
        """The newest answer to the newest request, perhaps not complete yet, or an older answer that serves it too."""
        with self._changed:
            if self._given is None or not self._serves_now(self._given[0]):
                return None
            return self._given[1]

    @property
    def idle(self) -> bool:
        """Whether the newest request is answered completely."""
        with self._changed:
            return self._wish is None or self._done == Task(self._wish, self._generation)

    def renew(self) -> None:
        """Start a new generation: older answers are no longer handed out, and the newest request is answered again."""
        with self._changed:
            self._generation += 1
            self._given = self._done = None
            self._changed.notify_all()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop after the work in hand. Returns whether all threads have ended within `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            threads = list(self._threads)
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # ---- for subclasses to say ---------------------------------------------------------------

    def work(self, task: Task[Wish]) -> Generator[Answer | None, None, None]:
        """Make the answer to a request, in the thread.

        Each answer that is yielded is handed out at once; the last one is complete. At each yield, also of None, the
        work is ended if there is a newer request.
        """
        raise NotImplementedError

    def failed(self, wish: Wish, why: str) -> Answer:
        """The answer that says why the work failed."""
        raise NotImplementedError

    def serves(self, answered: Wish, wish: Wish) -> bool:
        """Whether an answer to an older request may be handed out until there is one to the newest."""
        return answered == wish

    def look_around(self) -> None:
        """Called each time the thread wakes up, before it takes a request."""

    def is_due(self) -> bool:
        """Whether there is something to do; called with `_changed` held."""
        return self._stopping or self._next() is not None

    def is_over(self) -> bool:
        """Whether the thread may end; called with `_changed` held."""
        return self._stopping

    @property
    def patience(self) -> float | None:
        """Seconds after which the thread wakes up even if nothing is due; None for never."""
        return None

    # ---- the thread --------------------------------------------------------------------------

    def _start(self, target: Callable[..., None], *args: object) -> None:
        name = f"deepvis-{type(self).__name__}{target.__name__}"
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        with self._changed:  # so that `close` finds every thread that was started
            if not self._stopping:
                thread.start()
                self._threads.append(thread)
                _STARTED.add(self)

    def _run(self) -> None:
        if self.has_low_priority:
            with contextlib.suppress(Exception):  # the work says what is missing
                for name in self.modules:
                    import_module(name)
            be_patient()
        while True:
            with self._changed:
                self._changed.wait_for(self.is_due, self.patience)
                if self.is_over():
                    return
            self.look_around()
            if (task := self._take()) is not None:
                self._carry_out(task)

    def _next(self) -> Task[Wish] | None:
        """The task of the newest request, None if it has been answered; call it with `_changed` held."""
        if self._wish is None:
            return None
        task = Task(self._wish, self._generation)
        return None if task == self._done else task

    def _take(self) -> Task[Wish] | None:
        with self._changed:
            task = self._next()
            if task is not None:  # so that an unfinished request starts again if it is made again
                self._done = None
            return task

    def _carry_out(self, task: Task[Wish]) -> None:
        try:
            with contextlib.closing(self.work(task)) as parts:
                for part in parts:
                    if not self._hand_out(task, part):
                        return
        except BaseException as error:  # the thread must go on whatever the work raises, even `sys.exit`
            self._hand_out(task, self.failed(task.wish, words(error)))
        self._finish(task)

    def _is_wanted(self, task: Task[Wish]) -> bool:
        with self._changed:
            return not self._stopping and self._wish == task.wish and self._generation == task.generation

    def _stands(self, task: Task[Wish], seconds: float) -> bool:
        """Wait, in the work; return whether the request still stands after so many seconds."""
        with self._changed:
            return not self._changed.wait_for(lambda: not self._is_wanted(task), seconds)

    def _hand_out(self, task: Task[Wish], answer: Answer | None) -> bool:
        """Hand out an answer if it serves the newest request; return whether that is still the task's request."""
        with self._changed:
            if answer is not None and self._serves_now(task):
                self._given = task, answer
                self._changed.notify_all()
            return self._is_wanted(task)

    def _serves_now(self, task: Task[Wish]) -> bool:
        """Whether the task's answer may be handed out; call it with `_changed` held."""
        return self._wish is not None and task.generation == self._generation and self.serves(task.wish, self._wish)

    def _finish(self, task: Task[Wish]) -> None:
        with self._changed:
            if self._is_wanted(task):
                self._done = task
                self._changed.notify_all()


_STARTED: WeakSet[Worker[Any, Any]] = WeakSet()
ENDING = 60.0  # seconds that Python's exit waits for work that still runs


def end_all(timeout: float = ENDING) -> bool:
    """Stop all workers and wait until their threads have ended; returns whether they have.

    A thread that comes back from torch while Python exits would end the process with an error ("terminate called").
    """
    workers, until = tuple(_STARTED), time.monotonic() + timeout
    for worker in workers:
        worker.close(0)
    return all([worker.close(max(0.0, until - time.monotonic())) for worker in workers])


atexit.register(end_all)
