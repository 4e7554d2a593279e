"""The engine with a fake network and gates: nothing sleeps, every order of events is forced."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from deepvis.attribution.requests import Request, Result
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.receptive_field import ReceptiveField
from deepvis.workers import engine as engine_module
from deepvis.workers.engine import Engine

LIMIT = 20.0  # seconds until a test that would hang fails
FRAME = Frame(np.zeros((2, 2, 3), np.uint8), "black", 0, False)
CAMERA = [Frame(np.zeros((2, 2, 3), np.uint8), "camera 0", index, True) for index in range(10)]


def request(layer: str) -> Request:
    return Request(FRAME, True, layer)


class FakeNetwork:
    notes = ()

    def __init__(self, device: str = "cpu", family: list | None = None) -> None:
        self.device = torch.device(device)
        self.family = family if family is not None else []
        self.family.append(self)
        self.measured: list[str] = []

    def replica(self) -> FakeNetwork:
        return FakeNetwork(str(self.device), self.family)

    def on(self, device: torch.device) -> FakeNetwork:
        return FakeNetwork(str(device), self.family)

    def receptive_field(self, layer: str, is_unwanted: Callable[[], bool]) -> ReceptiveField:
        self.measured.append(layer)
        return ReceptiveField(len(layer), 7, False)


class Gates:
    """A fake `answer` that reports each start and then waits until it is let through."""

    def __init__(self, *closed: str) -> None:
        self.started: dict[str, threading.Event] = {}
        self.open = {layer: threading.Event() for layer in closed}
        self.ran: list[str] = []
        self.networks: list[object] = []
        self.threads: list[threading.Thread] = []
        self.unwanted: dict[int, bool] = {}  # by the frame's index: whether it was when the pass ended
        self._lock = threading.Lock()

    def __call__(
        self, network: object, asked: Request, field: ReceptiveField | None, is_unwanted: Callable[[], bool]
    ) -> Result:
        with self._lock:
            self.ran.append(asked.layer)
            self.networks.append(network)
            self.threads.append(threading.current_thread())
        self._start(asked.layer).set()
        if asked.layer in self.open:
            assert self.open[asked.layer].wait(LIMIT)
        self.unwanted[asked.frame.index] = is_unwanted()
        return Result(asked, receptive_field=field)

    def _start(self, layer: str) -> threading.Event:
        with self._lock:
            return self.started.setdefault(layer, threading.Event())

    def wait_for(self, layer: str) -> None:
        assert self._start(layer).wait(LIMIT), f"{layer} never started"

    def release(self, *layers: str) -> None:
        for layer in layers or self.open:
            self.open[layer].set()


@pytest.fixture
def one_worker(monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "cpu_plan", lambda: (1, 1))


@pytest.fixture
def two_workers(monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "cpu_plan", lambda: (2, 1))


@contextmanager
def running(answer: Callable, load: Callable = FakeNetwork) -> Iterator[Engine]:
    engine = Engine(load, answer)
    engine.start()
    try:
        yield engine
    finally:
        if isinstance(answer, Gates):
            answer.release()
        engine.close(LIMIT)
        assert not any(thread.is_alive() for thread in engine._threads)


# ---------------------------------------------------------------- order


def test_the_newest_request_wins(one_worker) -> None:
    gates = Gates("1")
    with running(gates) as engine:
        engine.want(request("1"))
        gates.wait_for("1")
        for layer in ("2", "3", "4"):
            engine.want(request(layer))
        assert not engine.idle
        gates.release("1")
        gates.wait_for("4")
    assert gates.ran == ["1", "4"]
    assert engine.result.request.layer == "4"


def test_what_was_asked_while_the_network_loads_is_answered(one_worker) -> None:
    loads, gates = threading.Event(), Gates()

    def load() -> FakeNetwork:
        assert loads.wait(LIMIT)
        return FakeNetwork()

    with running(gates, load) as engine:
        assert engine.network is None
        engine.want(request("old"))
        engine.want(request("new"))
        assert not engine.idle
        loads.set()
        gates.wait_for("new")
    assert gates.ran == ["new"] and isinstance(engine.network, FakeNetwork)


def test_a_result_that_is_ready_early_waits_for_those_asked_before(two_workers) -> None:
    gates = Gates("old", "last", "probe")
    with running(gates) as engine:
        engine.want(request("old"))
        gates.wait_for("old")  # the first worker is busy from here on
        engine.want(request("new"))
        gates.wait_for("new")
        engine.want(request("last"))
        gates.wait_for("last")  # so the second worker has handed in "new"
        assert engine.result is None and engine.collect() is None
        assert engine.backlog == 2  # "old" and "last"
        gates.release("old")
        engine.want(request("probe"))
        gates.wait_for("probe")  # so the first worker has handed in "old"
        assert engine.result.request.layer == "new"
        assert engine.backlog == 4  # two being worked on, two to collect
        assert [engine.collect().request.layer for _ in range(2)] == ["old", "new"]
        assert engine.collect() is None
        gates.release("probe")
        gates.release("last")
    assert engine.result.request.layer == "probe"


def test_of_results_that_nobody_collects_the_newest_two_are_kept(one_worker) -> None:
    with running(Gates()) as engine:
        for layer in "abcd":
            engine.wait(request(layer), LIMIT)
        assert [engine.collect().request.layer for _ in range(2)] == ["c", "d"]
        assert engine.collect() is None


def test_two_workers_have_networks_of_their_own(two_workers) -> None:
    gates = Gates("a", "b")
    with running(gates) as engine:
        for layer in ("a", "b"):
            engine.want(request(layer))
            gates.wait_for(layer)
        first, second = gates.networks
        assert first is not second and engine.network not in (first, second)
        assert gates.threads[0] is not gates.threads[1]
        assert threading.main_thread() not in gates.threads


def test_receptive_fields_are_measured_once_and_handed_on(one_worker) -> None:
    gates = Gates()
    with running(gates) as engine:
        for layer in ("abc", "abc", "x", "abc"):
            assert engine.wait(request(layer), LIMIT).receptive_field == ReceptiveField(len(layer), 7, False)
    assert [layer for network in engine.network.family for layer in network.measured] == ["abc", "x"]


# ---------------------------------------------------------------- wishes and mere frames


def live_request(layer: str, index: int, peaks: bool = False) -> Request:
    return Request(CAMERA[index], True, layer, peaks=peaks)


def test_a_wish_overtakes_mere_frames(two_workers) -> None:
    """A key during two passes for newer frames: both are given up, and the key's answer comes first."""
    gates = Gates("shown", "wish")
    with running(gates) as engine:
        gates.release("shown")
        engine.wait(live_request("shown", 0), LIMIT)
        assert engine.collect() is not None
        gates.open["shown"].clear()
        for index in (1, 2):
            gates.started.pop("shown")
            engine.want(live_request("shown", index))
            gates.wait_for("shown")
        engine.want(live_request("wish", 3))
        gates.release("shown")
        gates.wait_for("wish")
        gates.release("wish")
        assert engine.wait(live_request("wish", 3), LIMIT).request.layer == "wish"
        assert [one.request.layer for one in iter(engine.collect, None)][:1] == ["wish"]
    assert gates.unwanted[0] is False and gates.unwanted[1] is gates.unwanted[2] is True


def test_results_of_mere_frames_that_nobody_collected_are_forgotten_by_a_wish(one_worker) -> None:
    with running(Gates()) as engine:
        for index in (0, 1, 2):
            engine.wait(live_request("shown", index), LIMIT)
        engine.wait(live_request("wish", 3), LIMIT)
        assert [one.request.layer for one in iter(engine.collect, None)] == ["wish"]


@pytest.mark.parametrize("what", ["first", "peaks", "photo"])
def test_what_does_not_make_way_for_a_wish(what: str, one_worker) -> None:
    """The first answer to a wish, so that one who holds a key down sees something; peaks that are collected; photos."""
    before, running_one = {
        "first": (None, live_request("old", 1)),
        "peaks": (live_request("old", 0), live_request("old", 1, peaks=True)),
        "photo": (request("old"), Request(Frame(FRAME.image, "other", 1, False), True, "old")),
    }[what]
    gates = Gates("old")
    with running(gates) as engine:
        gates.release("old")
        if before:
            engine.wait(before, LIMIT)
            engine.collect()
            gates.open["old"].clear()
            gates.started.pop("old")
        gates.open["old"].clear()
        engine.want(running_one)
        gates.wait_for("old")
        engine.want(live_request("wish", 2))
        gates.release("old")
        engine.wait(live_request("wish", 2), LIMIT)
        assert [one.request.layer for one in iter(engine.collect, None)][:2] == ["old", "wish"]
    assert not any(gates.unwanted.values())


def test_the_first_result_of_a_layer_does_not_wait_for_its_receptive_field(one_worker) -> None:
    measuring, measured = threading.Event(), threading.Event()

    class Slow(FakeNetwork):
        def replica(self) -> FakeNetwork:
            return self

        def receptive_field(self, layer: str, is_unwanted: Callable[[], bool]) -> ReceptiveField:
            measuring.set()
            assert measured.wait(LIMIT)
            return super().receptive_field(layer, is_unwanted)

    with running(Gates(), Slow) as engine:
        engine.want(Request(FRAME, True, "abc", peaks=True))
        assert measuring.wait(LIMIT)
        first = engine.collect()
        assert first.receptive_field is None and engine.idle
        measured.set()
        again = engine.wait(first.request, LIMIT)
        assert again.receptive_field == ReceptiveField(3, 7, False)
        assert [one.receptive_field for one in iter(engine.collect, None)][-1] == again.receptive_field


# ---------------------------------------------------------------- failures


def test_an_exception_becomes_a_result_and_the_thread_lives_on(one_worker) -> None:
    def answer(_network: object, asked: Request, _field: object, _is_unwanted: object) -> Result:
        if asked.layer == "bad":
            raise ValueError("no such thing")
        return Result(asked)

    with running(answer) as engine:
        assert engine.wait(request("good"), LIMIT).error == ""
        failed = engine.wait(request("bad"), LIMIT)
        assert failed.error == "ValueError: no such thing" and failed.activations is None
        assert failed.request == request("bad")
        assert engine.wait(request("good again"), LIMIT).error == ""
        assert engine.error == "" and engine.idle


def test_a_field_that_cannot_be_measured_does_not_hide_the_layer(one_worker) -> None:
    class Blind(FakeNetwork):
        def replica(self) -> FakeNetwork:
            return self

        def receptive_field(self, layer: str, is_unwanted: Callable[[], bool]) -> ReceptiveField:
            raise KeyError(layer)

    with running(Gates(), Blind) as engine:
        result = engine.wait(request("a"), LIMIT)
        assert result.error == "" and result.receptive_field is None
        assert engine.note == "the receptive field of a cannot be measured: KeyError: 'a'"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()])
def test_whatever_the_networks_code_raises_the_thread_lives_on(error: BaseException, two_workers) -> None:
    def answer(_network: object, asked: Request, *_: object) -> Result:
        if asked.layer == "bad":
            raise error
        return Result(asked)

    with running(answer) as engine:
        for _ in range(4):  # more often than there are workers
            failed = engine.wait(request("bad"), LIMIT)
            assert type(error).__name__ in failed.error
            assert engine.wait(request("good"), LIMIT).error == ""
        assert engine.idle


@pytest.mark.parametrize("error, said", [
    (UserError("no such model"), "no such model"), (OSError("disk"), "OSError: disk"),
    (SystemExit(3), r"the network's code tried to end the program \(SystemExit: 3\)"),
])  # fmt: skip
def test_a_failure_to_load_is_said(error: BaseException, said: str) -> None:
    def load() -> FakeNetwork:
        raise error

    with running(Gates(), load) as engine:
        with pytest.raises(UserError, match=f"^{said}$"):
            engine.wait(request("a"), LIMIT)
        assert re.fullmatch(said, engine.error) and engine.network is None and engine.result is None


def test_a_network_that_cannot_be_copied_is_said(two_workers) -> None:
    class Single(FakeNetwork):
        def replica(self) -> FakeNetwork:
            raise RuntimeError("there can be only one")

    with running(Gates(), Single) as engine:
        with pytest.raises(UserError, match="there can be only one"):
            engine.wait(request("a"), LIMIT)


def out_of_memory_on_cuda(gates: Gates) -> Callable:
    def answer(network: FakeNetwork, asked: Request, *rest: object) -> Result:
        if network.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gates(network, asked, *rest)

    return answer


def test_out_of_memory_goes_on_with_the_cpu() -> None:
    gates = Gates()
    with running(out_of_memory_on_cuda(gates), lambda: FakeNetwork("cuda:0")) as engine:
        engine.want(request("a"))
        gates.wait_for("a")  # tried again by the engine itself
        assert engine.note == "cuda:0 is out of memory: the network now runs on the CPU"
        assert engine.wait(request("b"), LIMIT).error == ""
        assert engine.network.device.type == "cpu" and engine.idle and engine.error == ""
    assert gates.ran == ["a", "b"]
    assert engine.network not in gates.networks  # what others see is not what the worker uses


def test_the_move_to_the_cpu_shows_no_failed_result() -> None:
    with running(out_of_memory_on_cuda(Gates()), lambda: FakeNetwork("cuda:0")) as engine:
        assert engine.wait(request("a"), LIMIT).error == ""


def test_a_request_made_during_the_move_to_the_cpu_is_answered() -> None:
    gates, moving, moved = Gates(), threading.Event(), threading.Event()

    class Slow(FakeNetwork):
        def replica(self) -> FakeNetwork:
            return self

        def on(self, device: torch.device) -> FakeNetwork:
            moving.set()
            assert moved.wait(LIMIT)
            return super().on(device)

    with running(out_of_memory_on_cuda(gates), lambda: Slow("cuda:0")) as engine:
        engine.want(request("a"))
        assert moving.wait(LIMIT)
        engine.want(request("b"))
        moved.set()
        gates.wait_for("b")
    assert gates.ran == ["a", "b"] and engine.result.request.layer == "b"


def test_when_even_the_move_fails_the_thread_lives_on(one_worker) -> None:
    class Stuck(FakeNetwork):
        def replica(self) -> FakeNetwork:
            return self

        def on(self, device: torch.device) -> FakeNetwork:
            raise RuntimeError("no memory here either")

    def answer(_network: object, asked: Request, _field: object, _is_unwanted: object) -> Result:
        if asked.layer == "big":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Result(asked)

    with running(answer, lambda: Stuck("cuda:0")) as engine:
        assert engine.wait(request("big"), LIMIT).error == "RuntimeError: no memory here either"
        assert engine.idle
        assert engine.wait(request("small"), LIMIT).error == ""


# ---------------------------------------------------------------- waiting, closing, counting


def test_wait_gives_the_answer_to_what_was_asked(one_worker) -> None:
    with running(Gates()) as engine:
        for layer in ("a", "b", "a"):
            assert engine.wait(request(layer), LIMIT).request == request(layer)
        assert engine.idle
        assert engine.rate(window=1000) == pytest.approx(3 / 1000)


def test_wait_gives_up(one_worker) -> None:
    gates = Gates("a")
    with running(gates) as engine:
        with pytest.raises(UserError, match="no answer from the network within 0.01 s"):
            engine.wait(request("a"), 0.01)
        gates.release()
        assert engine.wait(request("b"), LIMIT).request.layer == "b"


def test_wait_ends_when_the_engine_is_closed(one_worker) -> None:
    gates, said = Gates("a"), []
    with running(gates) as engine:
        engine.wait(request("before"), LIMIT)

        def wait() -> None:
            with pytest.raises(UserError) as error:
                engine.wait(request("a"), LIMIT)
            said.append(str(error.value))

        waiting = threading.Thread(target=wait)
        waiting.start()
        gates.wait_for("a")
        closing = threading.Thread(target=engine.close, args=(LIMIT,))
        closing.start()
        waiting.join(LIMIT)
        assert said == ["the engine has stopped"]  # not the answer to an older request
        gates.release()
        closing.join(LIMIT)
        assert not closing.is_alive()
    assert engine.result.request.layer == "a"  # the pass that ran was finished
    with pytest.raises(UserError, match="the engine has stopped"):
        engine.wait(request("c"), LIMIT)


def test_close_joins_and_may_be_called_again(two_workers) -> None:
    gates = Gates("a", "b")
    engine = Engine(FakeNetwork, gates)
    engine.start()
    for layer in ("a", "b"):
        engine.want(request(layer))
        gates.wait_for(layer)
    engine.want(request("never"))
    gates.release()
    engine.close(LIMIT)
    assert len(engine._threads) == 3 and not any(thread.is_alive() for thread in engine._threads)
    assert "never" not in gates.ran or engine.result.request.layer == "never"
    engine.close(LIMIT)
    engine.close(0)


def test_close_does_not_wait_longer_than_told(one_worker) -> None:
    gates = Gates("a")
    with running(gates) as engine:
        engine.want(request("a"))
        gates.wait_for("a")
        engine.close(0.01)
        assert any(thread.is_alive() for thread in engine._threads)


def test_close_before_start_and_while_loading() -> None:
    Engine(FakeNetwork, Gates()).close()
    loads, gates = threading.Event(), Gates()

    def load() -> FakeNetwork:
        assert loads.wait(LIMIT)
        return FakeNetwork()

    with running(gates, load) as engine:
        engine.want(request("a"))
        engine.close(0.01)
        loads.set()
    assert gates.ran == []


def test_close_between_the_making_and_the_start_of_a_thread(two_workers, monkeypatch) -> None:
    """A thread that has not been started cannot be joined: `close` either sees it running or it is never started."""
    start, raised, closers = threading.Thread.start, [], []
    engine = Engine(FakeNetwork, Gates())

    def close() -> None:
        try:
            engine.close(LIMIT)
        except Exception as error:
            raised.append(error)

    def start_late(thread: threading.Thread) -> None:
        if thread.name.startswith("deepvis-"):
            closers.append(threading.Thread(target=close))
            start(closers[-1])
            closers[-1].join(0.05)  # time enough to get at the thread, if nothing holds it back
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    engine.start()
    for closer in closers:
        closer.join(LIMIT)
    assert raised == [] and not any(thread.is_alive() for thread in engine._threads)


def test_what_the_network_says_of_itself_is_passed_on(one_worker) -> None:
    network = FakeNetwork()
    network.notes = ("one thing", "another")
    with running(Gates(), lambda: network) as engine:
        engine.wait(request("1"), LIMIT)
        assert engine.note == "one thing; another"
