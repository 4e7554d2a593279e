"""The numbers of a picture in files, against what they were made from and an obvious count."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from smallnets import small

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.scan.index import Index, Ranked, Span, bin_edges
from deepvis.store.numbers import COLUMNS, Numbers, table, write_arrays

NETWORK = small()
RNG = np.random.default_rng(0)
FRAME = Frame(RNG.integers(0, 256, (40, 50, 3), np.uint8), "bear.jpg", 0, False, "photos/bear.jpg")


def numbers(layer: str = "conv2", index: Index | None = None, method: str | None = "gradient") -> Numbers:
    at = next(one for one in NETWORK.layers if one.name == layer)
    request = Request(FRAME, True, layer, method, (layer, 3) if method else None, layer_gradient=bool(method))
    result = answer(NETWORK, request, NETWORK.receptive_field(layer))
    return Numbers(result, at, 3, NETWORK.classes, NETWORK.input.seen(FRAME.image, True), index, {"model": "small"})


def index_of(responses: np.ndarray, k: int, layer: str = "conv2") -> Index:
    """An index of these responses (images × units), by brute force."""
    order = np.argsort(-responses, 0)[:k].T
    zero = np.zeros(order.shape, np.int16)
    top = Ranked(order.astype(np.int32), zero, zero, np.take_along_axis(responses, order.T, 0).T.astype(np.float32))
    histogram = np.stack([np.histogram(of_unit, bin_edges())[0] for of_unit in responses.T])
    count, units = responses.shape
    return Index("small", "", "", tuple(map(str, range(count))), ((0, count),), {}, (Span(layer, 0, units, 1, 1),),
                 top, top, histogram, count, np.zeros(units), responses.mean(0), responses.var(0))  # fmt: skip


def test_the_arrays_are_read_without_pickles_and_are_the_results(tmp_path: Path) -> None:
    made = numbers()
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        write_arrays(file, made)
    with np.load(path, allow_pickle=False) as read:
        assert np.array_equal(read["activations"], made.result.activations)
        assert np.array_equal(read["backward"], made.result.pixels)
        assert np.array_equal(read["layer_backward"], made.result.layer_gradient)
        assert np.array_equal(read["scores"], made.result.scores)
        assert read["input"].shape == (32, 32, 3) and np.array_equal(read["input"], made.seen)
        assert [*read["class_names"]] == [*NETWORK.classes] and read["unit_names"].shape == (0,)
        request = json.loads(str(read["request"]))
    assert request["file"] == "photos/bear.jpg" and request["unit"] == 3 and request["origin"] == ["conv2", 3]
    assert request["method"] == "gradient" and request["model"] == "small" and request["crop"] is True


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        with (tmp_path / name).open("wb") as file:
            write_arrays(file, numbers(method=None))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def rows(made: Numbers) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table(made))))


def test_the_table_has_each_unit_with_its_maximum_and_place() -> None:
    made = numbers()
    found = rows(made)
    assert tuple(found[0]) == COLUMNS and len(found) == 8
    field = made.result.receptive_field
    for unit, row in enumerate(found):
        values = made.maps[unit]
        assert float(row["maximum"]) == pytest.approx(values.max(), rel=1e-5)
        assert float(row["mean"]) == pytest.approx(values.mean(), rel=1e-4, abs=1e-7)
        y, x = int(row["row"]), int(row["column"])
        assert values[y, x] == values.max()
        left, top, width, height = field.box(y, x)
        assert abs(float(row["x"]) - (left + width / 2)) <= 1 and abs(float(row["y"]) - (top + height / 2)) <= 1
        assert row["share_of_dataset_maximum"] == row["dataset_rank"] == ""
    (first, *_) = rows(numbers("fc"))
    assert first["label"] == "class-0" and first["row"] == first["x"] == ""


@pytest.mark.parametrize("k", [3, 200])
def test_the_rank_is_that_among_the_images(k: int) -> None:
    made = numbers(method=None)
    highest = made.maps.max((1, 2))
    responses = highest * RNG.uniform(0.2, 1.6, (150, len(highest)))
    made = replace(made, index=index_of(responses, k))
    for unit, row in enumerate(rows(made)):
        stronger = int((responses[:, unit] > highest[unit]).sum())
        rank = int(row["dataset_rank"])
        assert float(row["share_of_dataset_maximum"]) == pytest.approx(
            highest[unit] / responses[:, unit].max(), abs=1e-3
        )
        if stronger < k:
            assert (rank, row["dataset_rank_is"]) == (stronger + 1, "exact")
        else:
            assert row["dataset_rank_is"] == "about" and abs(rank - stronger - 1) <= 20  # a bin is a quarter octave


def test_values_that_are_no_numbers_have_no_rank_and_end_nothing() -> None:
    made = numbers(method=None)
    maps = made.maps.copy()
    maps[0], maps[1, 0, 0] = np.nan, np.inf
    made = replace(made, result=replace(made.result, activations=maps), index=index_of(np.ones((5, 8)), 2))
    found = rows(made)
    assert found[0]["dataset_rank"] == found[1]["dataset_rank"] == "" and found[1]["maximum"] == "inf"
    assert found[2]["dataset_rank"]
