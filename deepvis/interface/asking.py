"""Questions about the picture in view: its strongest units, the order of a layer's units, two pictures compared.

All functions are pure. What the network and the index say is in `Facts.answers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deepvis.attribution.requests import Result, difference
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.layers import stands_for, unit_id
from deepvis.interface.command import Action, Answers, Facts, next_value
from deepvis.interface.moving import select
from deepvis.interface.state import Ranking, State
from deepvis.interface.unit_grid import Order
from deepvis.scan.index import Index

BY_NUMBER = "number"
WAIT = "the network is computing: ask again in a moment"


# ---- the order of the units in the layer pane -------------------------------------------------------


def sort_by(state: State, facts: Facts, by: str) -> State:
    """Sort the layer's units by an option of SORTS, also if they are sorted by it already; or say why not."""
    if not facts.layers:
        return state
    order = SORTS[by](state, facts)
    if isinstance(order, str):
        return replace(state, message=f"not sorted by {by}: {order}", message_is_error=True)
    words = "in the order of their numbers" if order is None else f"sorted by {order.words}"
    return replace(_in_order(state, facts, order), message=f"units {words}")


def sort_next(state: State, facts: Facts) -> State:
    """Sort by the next option for which there is what it needs; name the first one for which there is not."""
    if not facts.layers:
        return state
    by, refused = state.order.by if state.order else BY_NUMBER, ""
    if state.content == "difference" and by == BY_NUMBER and state.held is not None:
        return sort_by(state, facts, "difference")  # what one looks at comes first
    while True:
        by = next_value(tuple(SORTS), by)
        if by == "difference" and state.held is None:  # no mistake, and no news
            continue
        sorted_state = sort_by(state, facts, by)
        if not sorted_state.message_is_error:
            message = f"{sorted_state.message}; {refused}" if refused else sorted_state.message
            return replace(sorted_state, message=message)
        refused = refused or sorted_state.message


def sort_again(state: State, facts: Facts) -> State:
    """Sort anew by the same, for the picture in view or the selected unit."""
    return sort_by(state, facts, state.order.by if state.order else BY_NUMBER)


def renewed(state: State, facts: Facts) -> State:
    """Sort anew if another still picture has come in place of the one that the layer is sorted by.

    Moving pictures leave the order as it is, or the cells would never stand still.
    """
    order, result = state.order, _shown(state, facts)
    if order is None or order.of is None or result is None or _moves(state, result):
        return state
    held = _held(state, facts) if order.by == "difference" else None
    if order.layer != state.layer or order.of == _picture(result, held):
        return state
    anew = SORTS[order.by](state, facts)
    return state if isinstance(anew, str) else _in_order(state, facts, anew)


def _in_order(state: State, facts: Facts, order: Order | None) -> State:
    return select(replace(state, order=order), facts, state.layer, state.unit)  # a magnified view follows the unit


def _by_number(state: State, facts: Facts) -> Order | str | None:
    return None


def _by_activation(state: State, facts: Facts) -> Order | str | None:
    result = _shown(state, facts)
    return WAIT if result is None else _strongest_first(state, result)


def _by_maximum(state: State, facts: Facts) -> Order | str | None:
    """Each unit's largest activation in the data set."""
    answers = facts.answers()
    if answers.index is None:
        return _why_no_index(answers)
    try:
        rows = answers.index.span(_scanned(answers.index, state, facts)).rows
    except UserError as error:
        return str(error)
    values = answers.index.top.value[rows, 0]
    return _descending(state, values, "maximum", f"maximum in {answers.index.count:,} images")


def _by_similarity(state: State, facts: Facts) -> Order | str | None:
    """The correlation of the units' responses with those of the selected unit, which comes first."""
    answers = facts.answers()
    if answers.index is None:
        return _why_no_index(answers)
    correlation = answers.index.correlation.get(_scanned(answers.index, state, facts))
    name = facts.layers[state.layer].name
    if correlation is None or state.unit >= len(correlation):
        return f"the index has no correlations of {name}: remove it and scan without --no-correlation"
    values = correlation[state.unit].copy()
    values[state.unit] = np.inf
    return _descending(state, values, "similarity", f"similarity to {unit_id(name, state.unit)}")


def _by_difference(state: State, facts: Facts) -> Order | str | None:
    """The largest difference between the two pictures on the unit's map."""
    result, held = _shown(state, facts), _held(state, facts)
    if state.held is None:
        return "no picture is held; hold one first"
    values = difference(result, held) if result is not None and held is not None else None
    if values is None or result is None:
        return WAIT
    largest = np.abs(values).max(axis=(1, 2))
    return _descending(state, largest, "difference", "difference of the two pictures", _picture(result, held))


SORTS: dict[str, Callable[[State, Facts], Order | str | None]] = {  # in the order of their key
    BY_NUMBER: _by_number,
    "activation": _by_activation,
    "maximum": _by_maximum,
    "similarity": _by_similarity,
    "difference": _by_difference,
}
"""{option: what makes the order}; it returns None for the order of the numbers, or a text that says why it cannot."""


def _descending(state: State, values: np.ndarray, by: str, words: str, of: tuple[object, ...] | None = None) -> Order:
    """The units from the largest value to the smallest; equal ones by their numbers, NaN last."""
    return Order(state.layer, np.argsort(-values, kind="stable"), by, words, of)


def _strongest_first(state: State, result: Result) -> Order:
    words = f"activation in {result.request.frame.name}"
    return _descending(state, result.responses, "activation", words, _picture(result))


def _why_no_index(answers: Answers) -> str:
    return answers.note or "the index of top images is not open yet: ask again in a moment"


def _scanned(index: Index, state: State, facts: Facts) -> str:
    """The layer's name in the index: its own or, if it was not scanned, that of the scores before a softmax."""
    name = facts.layers[state.layer].name
    return name if any(span.name == name for span in index.spans) else stands_for(facts.layers, state.layer)


# ---- strongest first ---------------------------------------------------------------------------------


def walk_strongest(delta: int) -> Action:
    """Go to the layer's strongest unit or, from there, on to weaker ones (1) or back (-1).

    The order stays the one of the first step while the user goes on, also if the picture moves. It begins anew
    with another still picture, another layer, or from a unit that was selected in another way.
    """

    def do(state: State, facts: Facts) -> State:
        if not facts.layers:
            return state
        result = _shown(state, facts)
        if result is None:
            return replace(state, message=WAIT)
        ranking = _ranking(state, result, delta)
        unit, units = int(ranking.order.units[ranking.rank]), len(ranking.order.units)
        value = f"{result.responses[unit]:.2f}".replace("-", "−")
        which = "strongest" if ranking.rank == 0 else f"number {ranking.rank + 1:,}"
        words = f"{which} of {units:,} units by {ranking.order.words}: {value}"
        selected = select(state, facts, state.layer, unit)
        return replace(selected, in_channels=True, ranking=ranking, message=words)

    return do


def _ranking(state: State, result: Result, delta: int) -> Ranking:
    ranking = state.ranking
    is_on_it = (
        ranking is not None
        and ranking.order.layer == state.layer
        and ranking.order.units[ranking.rank] == state.unit
        and (_moves(state, result) or ranking.order.of == _picture(result))
    )
    if ranking is None or not is_on_it:
        return Ranking(_strongest_first(state, result), 0)
    return replace(ranking, rank=min(max(ranking.rank + delta, 0), len(ranking.order.units) - 1))


# ---- two pictures -----------------------------------------------------------------------------------


def hold(state: State, facts: Facts) -> State:
    """Hold the picture in view, with which others are compared; or let go of the held one."""
    if state.held is not None:
        content = "activations" if state.content == "difference" else state.content
        order = None if state.order is not None and state.order.by == "difference" else state.order
        return replace(state, held=None, content=content, order=order)
    result = facts.answers().result
    if result is None:
        return replace(state, message="no picture yet")
    frame = result.request.frame
    return replace(state, held=frame, message=f"{frame.name} is held: other pictures are compared with it")


# ---- the answers -------------------------------------------------------------------------------------


def _shown(state: State, facts: Facts) -> Result | None:
    """The newest result, if it is of the selected layer."""
    return _of_layer(facts.answers().result, state, facts) if facts.layers else None


def _held(state: State, facts: Facts) -> Result | None:
    """The held picture's result, if it is of the selected layer."""
    held = _of_layer(facts.answers().held, state, facts) if facts.layers else None
    return held if held is not None and held.request.frame is state.held else None


def _of_layer(result: Result | None, state: State, facts: Facts) -> Result | None:
    if result is None or result.activations is None or result.request.layer != facts.layers[state.layer].name:
        return None
    return result


def _moves(state: State, result: Result) -> bool:
    return result.request.frame.live and not state.frozen


def _picture(result: Result, held: Result | None = None) -> tuple[object, ...]:
    """What tells a picture, or a pair of pictures, from another: frames are compared by identity."""
    frames: tuple[Frame, ...] = (result.request.frame, *(() if held is None else (held.request.frame,)))
    return (*frames, result.request.crop)
