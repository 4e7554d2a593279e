"""The lock that goes round."""

from __future__ import annotations

import threading

from deepvis.workers.worker import InTurn

LIMIT = 20.0


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
