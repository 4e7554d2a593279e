"""Questions about the picture in view: strongest units, the order of units, two pictures."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from deepvis.attribution.requests import Request, Result, difference
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface.asking import SORTS, renewed
from deepvis.interface.command import Answers, Facts
from deepvis.interface.commands import bindings, press, run
from deepvis.interface.contents import CONTENTS
from deepvis.interface.state import State
from deepvis.interface.unit_grid import Order, PaneView, make_grid
from deepvis.scan.index import Index, Ranked, Span

UNITS = 23
LAYERS = (Layer("first", "Conv2d", UNITS, 5, 4), Layer("scores", "Linear", 9), Layer("probs", "Softmax", 9))
RNG = np.random.default_rng(3)


def frame(name: str, live: bool = False) -> Frame:
    return Frame(np.zeros((8, 8, 3), np.uint8), name, 0, live)


def result(name: str = "zebra.jpg", layer: int = 0, live: bool = False, held: bool = False) -> Result:
    of = LAYERS[layer]
    values = RNG.normal(size=(of.units, of.height, of.width)).astype(np.float32)
    return Result(Request(frame(name, live), True, of.name, held=held), values)


def index() -> Index:
    units = sum(layer.units for layer in LAYERS[:2])
    value = RNG.random((units, 3)).astype(np.float32)
    ranked = Ranked(*(np.zeros((units, 3), int) for _ in range(3)), value)
    none = np.zeros(units)
    correlation = np.corrcoef(RNG.normal(size=(UNITS, 40))).astype(np.float32)
    spans = (Span("first", 0, UNITS, 5, 4), Span("scores", UNITS, 9, 1, 1))
    return Index("m", "", "", (), (), {}, spans, ranked, ranked, none, 77, none, none, none, {"first": correlation})


def facts(shown: Result | None = None, **more) -> Facts:
    answers = Answers(shown, **more)
    return Facts(LAYERS, (300, 200), answers=lambda: answers)


def slow_descending(values: np.ndarray) -> list[int]:
    """The units from the largest value to the smallest, one by one; of equal ones the first."""
    left, order = dict(enumerate(values.tolist())), []
    while left:
        best = max(left, key=lambda unit: (left[unit], -unit))
        order.append(best)
        del left[best]
    return order


def maxima(of: Result) -> np.ndarray:
    return np.array([max(channel.ravel().tolist()) for channel in of.activations])


# ---- strongest first ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 2])
def test_tab_goes_from_the_strongest_unit_to_weaker_ones_and_back(layer: int) -> None:
    shown = result(layer=layer)
    order, known, state = slow_descending(maxima(shown)), facts(shown), State(layer=layer, unit=5)
    bound = bindings()
    for unit in (order[0], order[1], order[2]):
        state = press(state, "tab", known, bound).state
        assert state.unit == unit and state.in_channels and "zebra.jpg" in state.message
    for unit in (order[1], order[0], order[0]):
        state = press(state, "`", known, bound).state
        assert state.unit == unit
    for _ in range(LAYERS[layer].units + 3):
        state = run(state, "strongest", known).state
    assert state.unit == order[-1]


def test_the_way_begins_anew_with_another_picture_or_from_a_unit_selected_otherwise() -> None:
    one, two = result("one.jpg"), result("two.jpg")
    state = run(run(State(), "strongest", facts(one)).state, "strongest", facts(one)).state
    assert run(state, "strongest", facts(two)).state.unit == slow_descending(maxima(two))[0]
    away = replace(state, unit=slow_descending(maxima(one))[7])
    assert run(away, "strongest", facts(one)).state.unit == slow_descending(maxima(one))[0]


def test_a_moving_picture_does_not_break_the_way_off() -> None:
    one, two = result("camera", live=True), result("camera", live=True)
    order = slow_descending(maxima(one))
    state = run(State(), "strongest", facts(one)).state
    state = run(state, "strongest", facts(two)).state
    assert state.unit == order[1]
    assert run(replace(state, frozen=True), "strongest", facts(two)).state.unit == slow_descending(maxima(two))[0]


def test_without_a_result_of_the_layer_nothing_is_selected() -> None:
    for known in (facts(), facts(result(layer=1)), facts(Result(Request(frame("x"), True, "first"), error="no"))):
        state = run(State(unit=4), "strongest", known).state
        assert state.unit == 4 and "computing" in state.message


# ---- the order ----------------------------------------------------------------------------------------


def test_each_order_is_that_of_its_values() -> None:
    shown, held, known = result(), result("bear.jpg", held=True), index()
    state, now = State(unit=6, held=held.request.frame), facts(shown, held=held, index=known)
    row = known.correlation["first"][6].copy()
    row[6] = 2
    apart = np.array([np.abs(a - b).max() for a, b in zip(shown.activations, held.activations)])
    expected = {
        "activation": maxima(shown),
        "maximum": known.top.value[:UNITS, 0],
        "similarity": row,
        "difference": apart,
    }
    for by, values in expected.items():
        order = run(state, f"sort={by}", now).state.order
        assert order.units.tolist() == slow_descending(values)
        assert [order.places[unit] for unit in order.units] == list(range(UNITS))
    assert run(state, "sort=number", now).state.order is None
    scores = run(State(layer=2), "sort=maximum", now).state.order  # a softmax is sorted by the scores before it
    assert scores.units.tolist() == slow_descending(known.top.value[UNITS:, 0])


def test_the_key_goes_through_what_can_be_sorted_by_and_says_what_is_missing() -> None:
    shown = result()
    state, seen = State(), []
    for _ in range(4):
        state = press(state, "'", facts(shown, index=index()), bindings()).state
        seen.append(state.order.by if state.order else "number")
    assert seen == ["activation", "maximum", "similarity", "number"] and not state.message_is_error
    without = facts(shown, note="There is no index: deepvis scan --images DIR makes it.")
    state = press(press(State(), "'", without, bindings()).state, "'", without, bindings()).state
    assert state.order is None and "deepvis scan --images DIR" in state.message
    refused = run(State(), "sort=maximum", without).state
    assert refused.order is None and refused.message_is_error and "deepvis scan" in refused.message
    assert "no correlations" in run(State(layer=1), "sort=similarity", facts(index=index())).state.message
    assert run(State(), "sort=activation", facts()).state.message_is_error


def test_a_moving_picture_leaves_the_order_and_another_still_one_renews_it() -> None:
    one, two = result("camera", live=True), result("camera", live=True)
    state = run(State(), "sort=activation", facts(one)).state
    assert renewed(state, facts(two)) is state
    again = run(state, "sort_again", facts(two)).state
    assert again.order.units.tolist() == slow_descending(maxima(two))
    still, other = result("a.jpg"), result("b.jpg")
    state = renewed(state, facts(still))
    assert state.order.units.tolist() == slow_descending(maxima(still)) and "a.jpg" in state.order.words
    assert renewed(state, facts(still)) is state
    assert renewed(state, facts(other)).order.units.tolist() == slow_descending(maxima(other))
    assert renewed(state, facts(result(layer=1))) is state
    frozen = replace(state, frozen=True)
    assert renewed(frozen, facts(two)).order.units.tolist() == slow_descending(maxima(two))


def test_an_order_by_the_index_stays_whatever_the_picture() -> None:
    state = run(State(unit=3), "sort=similarity", facts(index=index())).state
    assert renewed(replace(state, unit=9), facts(result("b.jpg"), index=index())).order is state.order


def test_another_layer_is_in_the_order_of_its_numbers() -> None:
    known = facts(result())
    state = run(State(unit=3), "sort=activation", known).state
    assert run(state, "next_layer", known).state.order is None
    assert replace(state, layer=1).shown_order is None  # also if a command forgets
    assert replace(state, content="correlation").shown_order is None
    for content in ("activations", "synthesized", "top images", "histograms", "difference"):
        assert replace(state, content=content).shown_order is state.order


def test_the_arrows_move_on_the_screens_grid() -> None:
    known = facts(result())
    state = run(State(in_channels=True), "sort=activation", known).state
    order = state.order.units.tolist()
    state = run(state, "first", known).state
    assert state.unit == order[0]
    assert run(state, "right", known).state.unit == order[1]
    columns = known.grid(state).columns
    down = run(run(state, "right", known).state, "down", known).state
    assert down.unit == order[columns + 1]
    assert run(down, "up", known).state.unit == order[1]
    assert run(state, "last", known).state.unit == order[-1]
    assert run(state, "fast_right", known).state.unit == order[10]
    assert not run(state, "up", known).state.in_channels


def test_pages_clicks_and_cells_follow_the_order() -> None:
    dice = random.Random(1)
    for count, h, w, pane in ((5000, 1, 1, (300, 200)), (700, 7, 7, (200, 300)), (40, 4, 9, (500, 400))):
        units = np.random.default_rng(count).permutation(count)
        order = Order(0, units, "activation", "")
        plain = make_grid(count, h, w, *pane)
        page = plain.count
        for start in range(0, count, page):
            grid = make_grid(count, h, w, *pane, unit=int(units[start]), order=order)
            assert list(grid.units) == units[start : start + page].tolist()
            for cell in {0, grid.count - 1, *(dice.randrange(grid.count) for _ in range(9))}:
                unit = int(units[start + cell])
                left, top, width, height = grid.box(unit)
                assert (left, top, width, height) == plain.box(cell) and unit in grid
                assert grid.at(left + width // 2, top + height // 2) == unit
        assert int(units[0]) not in make_grid(count, h, w, *pane, unit=int(units[-1]), order=order) or page == count


def test_a_magnified_view_follows_the_unit_to_its_new_place() -> None:
    shown = result()
    known = facts(shown)
    weakest = slow_descending(maxima(shown))[-1]
    state = run(State(unit=weakest, view=PaneView(6.0, 0.1, 0.1)), "sort=activation", known).state
    left, top, width, height = known.grid(state).box(weakest)
    assert -width < left < 300 and -height < top < 200


# ---- two pictures -------------------------------------------------------------------------------------


def test_a_picture_is_held_and_let_go() -> None:
    shown, other = result(), result("other.jpg")
    state = press(State(), ";", facts(shown), bindings()).state
    assert state.held is shown.request.frame and "zebra.jpg" in state.message
    held = replace(shown, request=replace(shown.request, held=True))
    both = facts(other, held=held)
    state = run(run(state, "content=difference", both).state, "sort=difference", both).state
    assert state.order.by == "difference"
    state = press(state, ";", both, bindings()).state
    assert state.held is None and state.content == "activations" and state.order is None
    assert run(State(), "hold", facts()).state.held is None


def test_what_differs_is_never_taken_from_another_layer_or_another_held_picture() -> None:
    shown, held = result(), result("bear.jpg", held=True)
    state = State(held=held.request.frame)
    for wrong in (result("bear.jpg", layer=1, held=True), result("bear.jpg", held=True), None):
        assert run(state, "sort=difference", facts(shown, held=wrong)).state.message_is_error
    stretched = replace(held, request=replace(held.request, crop=False))
    assert difference(shown, stretched) is None
    assert run(State(), "sort=difference", facts(shown, held=held)).state.message_is_error  # none is held


def test_an_order_by_difference_is_renewed_when_the_held_picture_is_another() -> None:
    shown, held, second = result(), result("bear.jpg", held=True), result("cat.jpg", held=True)
    state = run(State(held=held.request.frame), "sort=difference", facts(shown, held=held)).state
    state = renewed(replace(state, held=second.request.frame), facts(shown, held=second))
    apart = np.abs(shown.activations - second.activations).max((1, 2))
    assert state.order.units.tolist() == slow_descending(apart)


def test_the_options_are_those_of_the_table() -> None:
    for by in SORTS:
        assert "no option" not in run(State(), f"sort={by}", facts(result(), index=index())).state.message
    assert "strongest" in CONTENTS and "difference" in CONTENTS
