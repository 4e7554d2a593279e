"""What an index says of a layer, against counting by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.scan.index import Index, Ranked, Span, bin_edges
from deepvis.scan.statistics import always_on, by_similarity, layer_statistics

IMAGES = 60


def index(responses: np.ndarray, weakest: np.ndarray | None = None) -> Index:
    """The index of a layer "map" of such responses (images × units), behind another layer of 2 units."""
    responses = np.concatenate([np.ones((len(responses), 2), np.float32), responses], 1)
    units = responses.shape[1]
    histogram = np.stack([np.histogram(column, bin_edges())[0] for column in responses.T])
    order = np.argsort(-responses, axis=0)[:9].T.astype(np.int32)
    top = Ranked(
        order, np.zeros((units, 9), np.int16), np.zeros((units, 9), np.int16), np.take_along_axis(responses.T, order, 1)
    )
    least = np.full((units, 9), np.inf, np.float32)
    where = np.full((units, 9), -1, np.int32)
    if weakest is not None:
        least[2:, 0], where[2:, 0] = weakest, 3
    with np.errstate(invalid="ignore"):
        correlation = np.nan_to_num(np.corrcoef(responses[:, 2:].T)).astype(np.float32)
    return Index(
        "m",
        "f",
        "/photos",
        tuple(f"{i}.jpg" for i in range(len(responses))),
        ((0, len(responses)),),
        {},
        (Span("first", 0, 2, 1, 1), Span("map", 2, units - 2, 4, 4)),
        top,
        replace(top, image=where, value=least),
        histogram,
        len(responses),
        (responses > 0).sum(0),
        responses.mean(0).astype(float),
        responses.var(0).astype(float),
        {"map": correlation},
    )


@pytest.fixture
def responses() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(IMAGES, 6)).astype(np.float32)
    values[:, 1] = -np.abs(values[:, 1])  # dead
    values[:, 2] = 1 + np.abs(values[:, 2])  # always on, in every image
    values[:, 3] = 1 + np.abs(values[:, 3])  # so too, but not everywhere in it
    values[:, 5] = values[:, 0] * 2 + 0.01 * values[:, 4]
    return values


def test_statistics_are_those_of_the_responses(responses: np.ndarray) -> None:
    found = layer_statistics(index(responses, np.array([-1, -1, 0.5, 0, -1, -1])), "map")
    assert (found.layer, found.images, found.note) == ("map", IMAGES, "")
    assert list(found.dead) == [False, True, False, False, False, False]
    assert list(found.always) == [False, False, True, False, False, False]
    np.testing.assert_array_equal(found.active, (responses > 0).sum(0))
    np.testing.assert_allclose(found.mean, responses.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.deviation, responses.std(0), rtol=1e-5)
    np.testing.assert_allclose(found.counts.sum(1), IMAGES, rtol=1e-5)
    assert (found.low <= responses.min(0)).all() and (found.high >= responses.max(0)).all()
    bins = found.counts.shape[1]
    for unit in range(6):  # an even bin cannot be off by more than a bin of the index is wide
        below = np.searchsorted(
            np.sort(responses[:, unit]), np.linspace(found.low[unit], found.high[unit], bins + 1)[1:]
        )
        edges = np.linspace(found.low[unit], found.high[unit], bins + 1)[1:]
        far = np.array([np.sum(np.abs(responses[:, unit] - edge) < 0.25 * max(abs(edge), 0.1)) for edge in edges])
        assert (np.abs(np.cumsum(found.counts[unit]) - below) <= far + 1).all()


def test_a_unit_that_always_answers_the_same_is_one_column(responses: np.ndarray) -> None:
    responses[:, 0], responses[:, 1] = 6, 0
    found = layer_statistics(index(responses), "map")
    for unit, value in ((0, 6), (1, 0)):
        assert (
            np.flatnonzero(found.counts[unit]).tolist() == [found.counts.shape[1] // 2]
            and found.counts[unit].sum() == IMAGES
        )
        assert found.low[unit] < value < found.high[unit]


def test_without_the_weakest_places_the_strongest_ones_have_to_do(responses: np.ndarray) -> None:
    assert list(layer_statistics(index(responses), "map").always) == [False, False, True, True, False, False]


def test_where_all_units_are_always_on_none_is_remarkable() -> None:
    all_on = index(np.random.default_rng(0).uniform(1, 2, (20, 4)).astype(np.float32))
    assert not always_on(all_on, slice(2, 6)).any()


def test_a_layer_or_correlations_that_are_not_there(responses: np.ndarray) -> None:
    assert "was not scanned" in layer_statistics(index(responses), "other").note
    without = layer_statistics(replace(index(responses), correlation={}), "map")
    assert without.correlation is None and without.order is None and without.counts is not None
    assert "could be read" in layer_statistics(replace(index(responses), count=0), "map").note


def test_units_that_correlate_become_neighbours(responses: np.ndarray) -> None:
    order = list(by_similarity(layer_statistics(index(responses), "map").correlation))
    assert sorted(order) == list(range(6)) and abs(order.index(0) - order.index(5)) == 1
    rng = np.random.default_rng(1)
    groups = rng.permutation(np.repeat(np.arange(4), 5))
    values = rng.normal(size=(500, 4))[:, groups] + 0.1 * rng.normal(size=(500, 20))
    order = by_similarity(np.corrcoef(values.T).astype(np.float32))
    assert (np.diff(groups[order]) != 0).sum() == 3  # each group in one piece
    assert list(by_similarity(np.eye(2, dtype=np.float32))) == [0, 1]
