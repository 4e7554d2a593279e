"""What works beside the window: the newest wish in, the newest answer out, in threads that end with `close`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from deepvis.core.errors import words

Source = TypeVar("Source")
Wish = TypeVar("Wish")
Answer = TypeVar("Answer")


class InTurn:
    """A fair lock: who waits longest has it next, so that one who wants it again and again keeps nobody out."""

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
"""Held beside the window for what takes hundreds of megabytes for a moment, such as a batch of images in the network.

One at a time, because the process keeps the most that was ever needed at once (see `deepvis.core.runtime`).
"""


@dataclass(frozen=True)
class WishOf(Generic[Source, Wish]):
    """A wish, and what it is to be answered from: a network, an index. Of another source it is another wish."""

    source: Source
    wish: Wish


@dataclass(frozen=True)
class Task(Generic[Wish]):
    """A wish that is being answered, and the generation of what it is answered from."""

    wish: Wish
    generation: int


class Worker(Generic[Wish, Answer]):
    """Answers the newest wish in a thread of its own, which begins with the first wish.

    Each answer belongs to a task: a wish and a generation. It is handed out only while that wish is the newest, or the
    newest is served as well by it (`serves`), and only in its generation: `renew` begins another one wherever what
    answers are made from is replaced (an index, a store, a collection). So an answer to an older wish, or from what
    has been closed or replaced, is never shown in the place of another.

    A subclass says how an answer is made (`work`) and what one is that says why there is none (`failed`). It may do
    what is due each time the thread wakes (`look_around`), and how often that is (`patience`).

    Whoever reads or writes what several threads share holds `_changed`, and never works meanwhile: no caller waits.
    Threads are daemons: a driver that hangs holds no exit up.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._wish: Wish | None = None
        self._generation = 0
        self._given: tuple[Task[Wish], Answer] | None = None  # the newest answer
        self._done: Task[Wish] | None = None  # of which all is there

    # ---- for who asks ------------------------------------------------------------------------

    def want(self, wish: Wish | None) -> None:
        """Ask for something (None: for nothing any more); never blocks. The newest wish counts."""
        with self._changed:
            if wish != self._wish:
                self._wish = wish
                self._changed.notify_all()
            if wish is not None and not self._threads:
                self._start(self._run)

    @property
    def answer(self) -> Answer | None:
        """The newest answer to the newest wish, perhaps not all of it yet; or to one before that it serves as well."""
        with self._changed:
            if self._given is None or not self._serves_now(self._given[0]):
                return None
            return self._given[1]

    @property
    def idle(self) -> bool:
        """All that the newest wish asks for is there."""
        with self._changed:
            return self._wish is None or self._done == Task(self._wish, self._generation)

    def renew(self) -> None:
        """What answers are made from is another now: none of before is handed out, the newest wish is begun anew."""
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
        """Make the answer to a wish, in the thread.

        Each part of it that is yielded is shown at once; the last one is whole. At each yield, also of None, the work
        ends if there is a newer wish.
        """
        raise NotImplementedError

    def failed(self, wish: Wish, why: str) -> Answer:
        """The answer after an exception."""
        raise NotImplementedError

    def serves(self, answered: Wish, wish: Wish) -> bool:
        """Whether an answer to an older wish may be shown until there is one to the newest."""
        return answered == wish

    def look_around(self) -> None:
        """Called each time the thread wakes, before it takes up a wish."""

    def is_due(self) -> bool:
        """Whether there is something to do; asked with `_changed` held."""
        return self._stopping or self._next() is not None

    def is_over(self) -> bool:
        """Whether the thread may end; asked with `_changed` held."""
        return self._stopping

    @property
    def patience(self) -> float | None:
        """Seconds after which the thread wakes though nothing is due."""
        return None

    # ---- the thread --------------------------------------------------------------------------

    def _start(self, target: Callable[..., None], *args: object) -> None:
        name = f"deepvis-{type(self).__name__}{target.__name__}"
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        with self._changed:  # `close` sees threads that run and no others
            if not self._stopping:
                thread.start()
                self._threads.append(thread)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self.is_due, self.patience)
                if self.is_over():
                    return
            self.look_around()
            if (task := self._take()) is not None:
                self._carry_out(task)

    def _next(self) -> Task[Wish] | None:
        """The newest wish, unless it has been answered; to be called with `_changed` held."""
        if self._wish is None:
            return None
        task = Task(self._wish, self._generation)
        return None if task == self._done else task

    def _take(self) -> Task[Wish] | None:
        with self._changed:
            task = self._next()
            if task is not None:  # what it is left for halfway is begun again if it is wished again
                self._done = None
            return task

    def _carry_out(self, task: Task[Wish]) -> None:
        try:
            with contextlib.closing(self.work(task)) as parts:
                for part in parts:
                    if not self._hand_out(task, part):
                        return
        except BaseException as error:  # the thread must outlive whatever the work raises, be it `sys.exit`
            self._hand_out(task, self.failed(task.wish, words(error)))
        self._finish(task)

    def _is_wanted(self, task: Task[Wish]) -> bool:
        with self._changed:
            return not self._stopping and self._wish == task.wish and self._generation == task.generation

    def _hand_out(self, task: Task[Wish], answer: Answer | None) -> bool:
        """Show an answer, if it serves the newest wish; returns whether that is still the task's own."""
        with self._changed:
            if answer is not None and self._serves_now(task):
                self._given = task, answer
                self._changed.notify_all()
            return self._is_wanted(task)

    def _serves_now(self, task: Task[Wish]) -> bool:
        """Whether its answer may be shown; to be called with `_changed` held."""
        return self._wish is not None and task.generation == self._generation and self.serves(task.wish, self._wish)

    def _finish(self, task: Task[Wish]) -> None:
        with self._changed:
            if self._is_wanted(task):
                self._done = task
                self._changed.notify_all()
