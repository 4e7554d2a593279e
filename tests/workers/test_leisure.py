"""How long background work rests, by a clock that the test turns."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from deepvis.workers import leisure as module
from deepvis.workers.leisure import GAP, LEAST, LONGEST, SHARE, Leisure


class Clock:
    """`work` is the time that the thread has used, `now` what a clock on the wall shows."""

    def __init__(self) -> None:
        self.work = self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def rested(self, leisure: Leisure, worked: float, **how) -> float:
        self.work += worked
        before = self.now
        leisure.rest(**how)
        return self.now - before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        module, "time",
        SimpleNamespace(thread_time=lambda: clock.work, monotonic=lambda: clock.now, sleep=clock.sleep),
    )  # fmt: skip
    return clock


def test_while_the_picture_is_live_it_takes_its_share(clock: Clock) -> None:
    leisure = Leisure(lambda: False)
    leisure.is_live = True
    rested = sum(clock.rested(leisure, 0.01) for _ in range(20))
    assert 0.2 / (0.2 + rested) == pytest.approx(SHARE, rel=0.1)


def test_little_work_needs_no_rest_but_adds_up(clock: Clock) -> None:
    leisure = Leisure(lambda: False)
    leisure.is_live = True
    assert clock.rested(leisure, LEAST / 2) == 0
    assert clock.rested(leisure, LEAST) > 0


def test_a_rest_ends_between_two_passes_or_soon(clock: Clock) -> None:
    leisure = Leisure(lambda: clock.now < 100)
    leisure.is_live = True
    owed = 0.01 / SHARE - 0.01
    assert clock.rested(leisure, 0.01) == pytest.approx(owed + GAP, abs=0.02)


def test_at_a_still_picture_it_pauses_only_while_the_network_answers(clock: Clock) -> None:
    busy_until = 0.3
    leisure = Leisure(lambda: clock.now < busy_until)
    assert clock.rested(leisure, 0.5) == pytest.approx(busy_until, abs=0.02)
    assert clock.rested(leisure, 0.5) == 0


def test_a_network_that_hangs_and_an_end_do_not_keep_it(clock: Clock) -> None:
    assert clock.rested(Leisure(lambda: True), 0.5) == pytest.approx(LONGEST, abs=0.02)
    assert clock.rested(Leisure(lambda: True), 0.5, is_over=lambda: True) == 0


def test_each_thread_owes_for_itself(clock: Clock) -> None:
    leisure = Leisure(lambda: False)
    leisure.is_live = True
    clock.rested(leisure, 0.01)
    rested: list[float] = []
    thread = threading.Thread(target=lambda: rested.append(clock.rested(leisure, 0.0)))
    thread.start()
    thread.join()
    assert rested[0] > 0  # the other thread has not rested yet
    assert clock.rested(leisure, 0.0) == 0
