"""Which preferred images grow while nobody asks for any."""

from __future__ import annotations

from dataclasses import replace

from deepvis.core.layers import Layer
from deepvis.interface.requests import NEIGHBOURS, SEEDS, growth_by_itself, growth_wish
from deepvis.interface.state import State

LAYERS = (Layer("conv", "Conv2d", 30, 4, 4), Layer("logits", "Linear", 5), Layer("probs", "Softmax", 5))
MINE = {"scores": [1.0]}
PROVISIONAL = {"scores": [1.0], "provisional": True}


def order(state: State, records: dict, cells: range = range(0), most: int = 100) -> list[tuple[int, int]]:
    """(unit, number of images) in the order in which they grow, each stored when it is finished."""
    found, records = [], dict(records)
    while (wish := growth_by_itself(state, LAYERS, cells, records)) is not None and len(found) < most:
        assert wish.by_itself and wish.layer == "conv"
        found.append((wish.unit, len(wish.seeds)))
        records[wish.layer, wish.unit] = {"scores": [1.0] * len(wish.seeds), "provisional": True}
    return found


def test_the_selected_unit_then_the_next_ones() -> None:
    assert order(State(unit=7), {}) == [(7, SEEDS), *((unit, 1) for unit in range(8, 8 + NEIGHBOURS))]
    assert order(State(unit=28), {}) == [(28, SEEDS), (29, 1)]


def test_the_cells_in_view_if_the_layer_pane_shows_images() -> None:
    state = State(unit=7, content="synthesized")
    assert order(state, {}, range(5, 9)) == [(7, SEEDS), (5, 1), (6, 1), (8, 1)]


def test_what_is_stored_does_not_grow() -> None:
    records = {("conv", unit): MINE for unit in range(30)}
    assert order(State(unit=7), records) == []
    failed = {"scores": [], "failed": "dead", "provisional": True}
    assert order(State(unit=29), {("conv", 29): failed}) == []


def test_one_image_that_grew_by_itself_becomes_several_when_its_unit_is_selected() -> None:
    assert order(State(unit=29), {("conv", 29): PROVISIONAL}) == [(29, SEEDS)]
    assert order(State(unit=28), {("conv", 28): MINE, ("conv", 29): PROVISIONAL}) == []


def test_what_the_user_asks_for_comes_first() -> None:
    state = replace(State(unit=7), growing=True)
    assert growth_wish(state, LAYERS) is not None
    assert growth_by_itself(state, LAYERS, range(0), {}) is None


def test_probabilities_show_the_images_of_the_scores() -> None:
    wish = growth_by_itself(State(layer=2, unit=3), LAYERS, range(0), {})
    assert wish is not None and (wish.layer, wish.unit) == ("logits", 3)
