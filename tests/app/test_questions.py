"""When the engine is asked for the picture in view and when for the held one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from fakes import FakeEngine, FakeFeed, FakeWindow, idle, press, quiet

from deepvis.app.questions import Questions
from deepvis.app.toolbox import Toolbox
from deepvis.attribution.methods import Progress
from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.core.receptive_field import ReceptiveField
from deepvis.interface.state import State


class OneSlot:
    """An engine that answers when it is told to; a newer request replaces one that waits."""

    def __init__(self) -> None:
        self.network = object()
        self.waiting: Request | None = None
        self.done: list[Result] = []
        self.asked: list[Request] = []

    @property
    def idle(self) -> bool:
        return self.waiting is None

    @property
    def backlog(self) -> int:
        return (self.waiting is not None) + len(self.done)

    def want(self, request: Request) -> None:
        self.waiting = request
        self.asked.append(request)

    def answer(self, field: ReceptiveField | None = None) -> None:
        if self.waiting is not None:
            values = np.ones((3, 2, 2), np.float32)
            self.done.append(Result(self.waiting, values, receptive_field=field))
            self.waiting = None

    def collect(self, timeout: float = 0.0) -> Result | None:
        return self.done.pop(0) if self.done else None


def frame(number: int, live: bool = False) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), str(number), number, live)


HELD = Request(frame(99), True, "map", held=True)


def test_the_held_picture_is_asked_for_after_the_one_in_view_and_only_once() -> None:
    engine = OneSlot()
    questions, request = Questions(engine), Request(frame(0), True, "map")
    for _ in range(6):
        questions.ask(request, HELD)
        engine.answer()
        questions.collect(0)
    assert engine.asked == [request, HELD]
    assert questions.result.request == request and questions.held.request == HELD


def test_live_frames_go_on_and_do_not_push_the_held_picture_aside() -> None:
    engine = OneSlot()
    questions = Questions(engine)
    for number in range(40):
        questions.ask(Request(frame(number, live=True), True, "map"), HELD)
        if number % 3 == 2:  # slower than the frames
            engine.answer()
        questions.collect(0)
    assert engine.asked.count(HELD) == 1 and questions.held.request == HELD
    assert len(engine.asked) > 10 and not questions.result.request.held


def test_a_new_selection_is_answered_first_and_then_the_held_picture_again() -> None:
    engine = OneSlot()
    questions = Questions(engine)
    first, second = (Request(frame(0), True, layer) for layer in ("map", "other"))
    questions.ask(first, HELD)
    engine.answer()
    questions.collect(0)
    questions.ask(first, HELD)  # waits
    other = replace(HELD, layer="other")
    for _ in range(5):
        questions.ask(second, other)
        engine.answer()
        questions.collect(0)
    assert engine.asked == [first, HELD, second, other]
    assert questions.held.request == other and questions.result.request == second


def test_a_lost_request_for_the_held_picture_is_sent_again() -> None:
    engine = OneSlot()
    questions, request = Questions(engine), Request(frame(0), True, "map")
    questions.ask(request, HELD)
    engine.answer()
    questions.collect(0)
    questions.ask(request, HELD)
    engine.waiting = None  # its pass was given up
    questions.ask(request, HELD)
    engine.answer()
    questions.collect(0)
    assert questions.held.request == HELD


def test_when_the_picture_is_let_go_nothing_of_it_is_left() -> None:
    engine = OneSlot()
    questions, request = Questions(engine), Request(frame(0), True, "map")
    for _ in range(3):
        questions.ask(request, HELD)
        engine.answer()
        questions.collect(0)
    questions.ask(request)
    assert questions.held is None and questions.result.request == request


def test_a_receptive_field_is_the_layers_whichever_picture_it_came_with() -> None:
    engine = OneSlot()
    questions, request = Questions(engine), Request(frame(0), True, "map")
    field = ReceptiveField.__new__(ReceptiveField)
    for known in (None, field):
        questions.ask(request, HELD)
        engine.answer(known)
        questions.collect(0)
    assert questions.result.receptive_field is field and questions.held.receptive_field is field


def test_in_the_window_a_held_picture_is_asked_for_with_each_selection() -> None:
    log: list[str] = []
    box = Toolbox(quiet(), FakeEngine(log), FakeFeed(log), FakeWindow(log), State())
    idle(box, 2)
    first = box.feed.frame
    press(box, ";")
    assert box.state.held is first
    box.feed.frame = Frame(np.zeros((30, 40, 3), np.uint8), "cat.jpg", 1, False, "photos/cat.jpg")
    idle(box, 4)
    press(box, "right", "b")
    idle(box, 4)
    for own, held in ((box.questions.result, True), (box.questions.held, False)):
        assert own.request.layer == "head" and own.request.method == "gradient"
        assert (own.request.frame is first) != held
    scene = box.scene()
    assert scene.of_held.own_result is box.questions.held and scene.own_result is box.questions.result
    press(box, "'")
    assert box.state.order.of[0] is box.feed.frame
    box.feed.frame = Frame(np.zeros((30, 40, 3), np.uint8), "dog.jpg", 2, False, "photos/dog.jpg")
    idle(box, 3)
    assert box.state.order.of[0] is box.feed.frame and "dog.jpg" in box.state.order.words
    press(box, ";")
    idle(box)
    assert box.questions.held is None and box.scene().of_held is None


def test_many_passes_go_on_at_the_same_picture_and_give_way_to_what_the_user_asks() -> None:
    engine = OneSlot()
    questions, request = Questions(engine), Request(frame(0), True, "map", "smoothgrad", ("map", 1))
    questions.ask(request)
    first = Result(request, progress=Progress(1, None, None, None))
    engine.done, engine.waiting = [first], None
    questions.collect(0)
    questions.ask(request)
    assert engine.asked[1:] == [replace(request, so_far=first)]
    questions.ask(request)  # the next pass runs: nothing more is asked
    assert len(engine.asked) == 2
    other = replace(request, layer="head")
    questions.ask(other)
    assert engine.asked[2:] == [other]
    engine.done, engine.waiting = [Result(other)], None
    questions.collect(0)
    questions.ask(other)
    assert len(engine.asked) == 3  # it is finished
