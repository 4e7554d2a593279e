"""The skeleton of all workers, with a fake work and gates; and the fair lock."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec

import pytest

from deepvis.app import unit_workers  # noqa: F401, which imports all workers
from deepvis.workers import worker as module
from deepvis.workers.worker import InTurn, Task, WishOf, Worker

LIMIT = 20.0

# ---- the fair lock --------------------------------------------------------------------------------


def test_who_waits_longest_is_next_and_one_who_comes_again_and_again_keeps_nobody_out() -> None:
    lock, order = InTurn(), []
    inside, go = threading.Event(), threading.Event()

    def greedy() -> None:
        for turn in range(3):
            with lock:
                order.append(f"greedy {turn}")
                inside.set()
                assert go.wait(LIMIT)

    def patient() -> None:
        with lock:
            order.append("patient")

    first = threading.Thread(target=greedy)
    first.start()
    assert inside.wait(LIMIT)
    second = threading.Thread(target=patient)
    second.start()
    while len(lock._queue) < 2:  # until the other one stands behind
        pass
    go.set()
    for thread in (first, second):
        thread.join(LIMIT)
    assert order == ["greedy 0", "patient", "greedy 1", "greedy 2"]


def test_an_exception_gives_it_back() -> None:
    lock = InTurn()
    for _ in range(2):
        try:
            with lock:
                raise ValueError
        except ValueError:
            pass
    with lock:
        assert len(lock._queue) == 1


# ---- the worker -----------------------------------------------------------------------------------


class Letters(Worker[str, str]):
    """Answers a word with more and more of its letters; each letter in `gates` waits for its gate."""

    def __init__(self, *gates: str) -> None:
        super().__init__()
        self.gates = {letter: threading.Event() for letter in gates}
        self.begun = {letter: threading.Event() for letter in gates}
        self.words: list[str] = []
        self.closed: list[str] = []
        self.raises: dict[str, BaseException] = {}

    def work(self, task: Task[str]) -> Generator[str | None, None, None]:
        self.words.append(task.wish)
        try:
            if task.wish in self.raises:
                raise self.raises[task.wish]
            for i, letter in enumerate(task.wish):
                if letter in self.gates:
                    self.begun[letter].set()
                    assert self.gates[letter].wait(LIMIT)
                yield task.wish[: i + 1]
        finally:
            self.closed.append(task.wish)

    def failed(self, wish: str, why: str) -> str:
        return f"{wish}: {why}"


@pytest.fixture
def letters() -> Iterator[Callable[..., Letters]]:
    made: list[Letters] = []

    def make(*gates: str, of: type[Letters] = Letters) -> Letters:
        made.append(of(*gates))
        return made[-1]

    yield make
    for one in made:
        for gate in one.gates.values():
            gate.set()
        assert one.close(LIMIT)


def settled(worker: Letters) -> str | None:
    """The answer once all of it is there."""
    with worker._changed:
        assert worker._changed.wait_for(lambda: worker.idle, LIMIT), "nothing came"
        return worker.answer


def test_an_answer_comes_in_parts_and_is_whole_when_the_worker_is_idle(letters) -> None:
    one = letters("c")
    one.want(None)
    assert one.idle and one.answer is None and not one._threads  # no thread before a wish
    one.want("abc")
    assert one.begun["c"].wait(LIMIT) and one.answer == "ab" and not one.idle
    one.gates["c"].set()
    assert settled(one) == "abc"
    one.want("abc")
    assert one.idle and one.words == ["abc"]  # the same wish is not answered twice


def test_the_newest_wish_wins_and_those_between_are_never_begun(letters) -> None:
    one = letters("b", "c")
    one.want("abc")
    assert one.begun["b"].wait(LIMIT)
    for wish in ("one", "two", "new"):
        one.want(wish)
        assert one.answer is None  # the parts of the older wish are not the newest one's
    one.gates["b"].set()
    assert settled(one) == "new"
    assert one.words == ["abc", "new"] and one.closed == ["abc", "new"]
    assert not one.begun["c"].is_set()  # the older one was left at its next part


@pytest.mark.parametrize("was_whole", [False, True])
def test_what_was_left_halfway_is_begun_again_and_never_taken_for_whole(letters, was_whole: bool) -> None:
    """Also where the wish to which one comes back had been answered: parts of the one between may be in its place."""
    one = letters("b")
    if was_whole:
        one.want("xyz")
        assert settled(one) == "xyz"
    one.want("ab")
    assert one.begun["b"].wait(LIMIT)
    one.want("xyz")
    assert not one.idle
    one.gates["b"].set()
    assert settled(one) == "xyz"
    one.want("ab")
    assert settled(one) == "ab" and one.words.count("ab") == 2


def test_a_wish_that_comes_back_before_it_was_left_goes_on(letters) -> None:
    one = letters("b")
    one.want("abc")
    assert one.begun["b"].wait(LIMIT)
    one.want("xyz")
    one.want("abc")
    one.gates["b"].set()
    assert settled(one) == "abc" and one.words == ["abc"]


def test_nothing_made_from_what_has_been_replaced_is_handed_out(letters) -> None:
    one = letters("b")
    one.want("abc")
    assert one.begun["b"].wait(LIMIT) and one.answer == "a"
    one.renew()
    assert one.answer is None and not one.idle
    one.gates["b"].set()
    assert settled(one) == "abc" and one.words == ["abc", "abc"]
    one.renew()  # also where it was whole
    assert one.answer is None
    assert settled(one) == "abc" and len(one.words) == 3


def test_what_comes_late_from_what_has_been_replaced_is_refused(letters) -> None:
    one = letters("a")
    one.want("abc")
    assert one.begun["a"].wait(LIMIT)
    old = Task("abc", 0)
    assert one._hand_out(old, "of the first generation") and one.answer is not None
    one.renew()
    assert not one._hand_out(old, "late") and one.answer is None
    one._finish(old)
    assert not one.idle
    one.want("other")
    one._finish(Task("abc", 1))
    one.want("abc")
    assert not one.idle


def test_of_another_source_it_is_another_wish() -> None:
    class Network:
        pass

    one = Network()
    assert WishOf(one, "unit") == WishOf(one, "unit") != WishOf(Network(), "unit")


def test_nothing_is_handed_out_for_no_wish_and_what_is_there_is_not_made_again(letters) -> None:
    one = letters("b")
    one.want("a")
    assert settled(one) == "a"
    one.want(None)
    assert one.answer is None and one.idle
    one.want("a")
    assert one.answer == "a" and one.idle and one.words == ["a"]


def test_an_older_answer_stays_only_where_it_serves_the_newer_wish(letters) -> None:
    class FirstLetter(Letters):
        def serves(self, answered: str, wish: str) -> bool:
            return answered[0] == wish[0]

    one = letters("b", of=FirstLetter)
    one.want("axx")
    assert settled(one) == "axx"
    one.want("ba")
    assert one.begun["b"].wait(LIMIT) and one.answer is None
    one.want("axx")
    assert one.answer == "axx"
    one.gates["b"].set()
    assert settled(one) == "axx"
    one.gates["b"].clear()
    one.begun["b"].clear()
    one.want("aby")
    assert one.answer in ("axx", "a")
    assert one.begun["b"].wait(LIMIT) and one.answer == "a"
    one.want("ac")
    assert one.answer == "a"
    one.gates["b"].set()  # what comes of the older wish still serves, until there is the newer one's own
    assert settled(one) == "ac"
    assert one.words == ["axx", "ba", "axx", "aby", "ac"]


@pytest.mark.parametrize(
    "error", [ValueError("odd"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_whatever_the_work_raises_becomes_an_answer_and_the_thread_lives_on(letters, error: BaseException) -> None:
    one = letters()
    one.raises["bad"] = error
    one.want("bad")
    assert type(error).__name__ in str(settled(one))
    one.want("good")
    assert settled(one) == "good" and len(one._threads) == 1


def test_an_error_in_an_older_wish_says_nothing_under_the_newer_one(letters) -> None:
    class Failing(Letters):
        def work(self, task: Task[str]) -> Generator[str | None, None, None]:
            yield from super().work(task)
            if task.wish == "ab":
                raise ValueError("late")

    one = letters("b", of=Failing)
    one.want("ab")
    assert one.begun["b"].wait(LIMIT)
    one.want("new")
    one.gates["b"].set()
    assert settled(one) == "new"


def test_closing_waits_no_longer_than_told_and_leaves_the_work_at_its_next_part(letters) -> None:
    one = letters("b", "c")
    one.want("abc")
    assert one.begun["b"].wait(LIMIT)
    assert not one.close(0.01)
    one.gates["b"].set()
    assert one.close(LIMIT) and one.words == ["abc"] and one.closed == ["abc"]
    one.want("again")  # too late
    assert one.close(0) and one.words == ["abc"]


def test_a_worker_that_was_closed_before_its_first_wish_starts_no_thread(letters) -> None:
    one = letters()
    assert one.close(0)
    one.want("a")
    assert not one._threads


STILL_COMPUTING = """
import sys, threading
import torch
from deepvis.workers.worker import Worker

begun = threading.Event()

class Long(Worker):
    def work(self, task):
        x = torch.ones(400, 400, requires_grad=True)
        begun.set()
        for _ in range(150):  # as a network's code and torch take turns
            torch.autograd.grad((x @ x).sum(), x)
        print("ended", flush=True)
        yield "done"
    def failed(self, wish, why):
        return why

worker = Long()
worker.want("a")
begun.wait()
assert not worker.close(0)
"""


def test_pythons_exit_waits_for_a_thread_that_still_computes() -> None:
    done = subprocess.run([sys.executable, "-c", STILL_COMPUTING], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


def test_a_thread_of_low_priority_imports_before_it_becomes_so(letters, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Patient(Letters):
        has_low_priority = True
        modules = ("one", "two", "three")

    def imported(name: str) -> None:
        done.append(name)
        if name == "two":
            raise ImportError(name)

    monkeypatch.setattr(module, "import_module", imported)
    monkeypatch.setattr(module, "be_patient", lambda: done.append("patient"))
    one = letters(of=Patient)
    one.want("abc")
    assert settled(one) == "abc" and done == ["one", "two", "patient"]


def test_the_modules_that_workers_import_are_there() -> None:
    """A misspelt one would only be slow."""
    named = [name for worker in every(Worker) for name in worker.modules]
    assert named and all(find_spec(name) for name in named)


def every(of: type[Worker]) -> list[type[Worker]]:
    return [of, *(deeper for one in of.__subclasses__() for deeper in every(one) if one.__module__ != __name__)]
