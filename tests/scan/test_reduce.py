"""The reduction against a brute-force pass that keeps everything, on values with many ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepvis.scan.index import BINS, CHUNK, Index, Span, bin_edges, rebinned
from deepvis.scan.merging import with_statistics
from deepvis.scan.reduce import Bar, Extremes, Tally, bin_of, extremes

SHAPES = {"map": (5, 7, 9), "large": (3, 28, 28), "wide": (64, 18, 20), "vector": (6, 1, 1)}


def spans() -> list[Span]:
    found, start = [], 0
    for name, (c, h, w) in SHAPES.items():
        found.append(Span(name, start, c, h, w))
        start += c
    return found


def activations(count: int, seed: int = 0, levels: int = 40) -> dict[str, torch.Tensor]:
    """Whole numbers: equal values everywhere, within maps and between images."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, (c, h, w) in SHAPES.items():
        values = torch.randint(-levels, levels, (count, c, h, w), generator=generator).float()
        made[name] = values[:, :, 0, 0] if name == "vector" else values.contiguous(memory_format=torch.channels_last)
    return made


def found_in(values: dict[str, torch.Tensor], images: slice) -> dict[str, Extremes]:
    return {name: extremes(v[images], Bar.none(v.shape[1], True)) for name, v in values.items()}


def tally_of(values: dict[str, torch.Tensor], batch: int, k: int = 9, numbers=None) -> Tally:
    tally = Tally(spans(), k, torch.device("cpu"))
    count = len(values["map"])
    numbers = list(range(count)) if numbers is None else numbers
    for start in range(0, count, batch):
        tally.commit(found_in(values, slice(start, start + batch)), numbers[start : start + batch])
        if tally.filled + batch > CHUNK:
            tally.end_chunk()
    return tally


def ranking(values: np.ndarray, k: int, sign: int, width: int) -> list[list[tuple]]:
    """values N×C×H×W -> per unit [(image, row, column, value)], found by looking at everything."""
    flat = sign * values.reshape(*values.shape[:2], -1)
    found = []
    for unit in range(values.shape[1]):
        rows = [(-flat[i, unit].max(), -flat[i, unit].mean(), i, int(flat[i, unit].argmax())) for i in range(len(flat))]
        found.append([(i, cell // width, cell % width, -sign * value) for value, _, i, cell in sorted(rows)[:k]])
    return found


def test_of_a_unit_that_saturates_the_images_that_it_answers_to_all_over_come_first() -> None:
    values = {
        name: torch.zeros((20, *shape)) if name != "vector" else torch.zeros((20, shape[0]))
        for name, shape in SHAPES.items()
    }
    values["map"] = values["map"].contiguous(memory_format=torch.channels_last)
    for image in range(20):  # the same maximum in all, in more cells from image to image
        values["map"][image, 0].view(-1)[: image + 1] = 6
    made = tally_of(values, 7).arrays()
    span = spans()[list(SHAPES).index("map")]
    assert list(made["top"].image[span.start]) == list(range(19, 10, -1))
    assert list(made["top"].image[span.start + 1]) == list(range(9))


@pytest.mark.parametrize("batch", [1, 16, 60])
@pytest.mark.parametrize("k", [1, 9])
def test_top_and_bottom_places_are_those_of_a_search_through_everything(batch: int, k: int) -> None:
    values = activations(60)
    made = tally_of(values, batch, k).arrays()
    for span in spans():
        all_values = values[span.name].double().numpy().reshape(60, span.units, span.height, span.width)
        for side, sign in (("top", 1), ("bottom", -1)):
            got = made[side][span.rows]
            want = ranking(all_values, k, sign, span.width)
            for unit in range(span.units):
                found = list(zip(got.image[unit], got.row[unit], got.column[unit], got.value[unit]))
                assert found == want[unit], (span.name, side, unit)


def test_fewer_images_than_places() -> None:
    made = tally_of(activations(4), 4).arrays()
    assert (made["top"].image[:, 4:] == -1).all() and np.isneginf(made["top"].value[:, 4:]).all()
    assert (made["bottom"].image[:, 4:] == -1).all() and np.isposinf(made["bottom"].value[:, 4:]).all()
    assert (made["top"].image[:, :4] >= 0).all()


def test_not_a_number_is_never_among_the_strongest() -> None:
    values = activations(20)
    values["map"][3, 2, 1, 1] = float("nan")
    made = tally_of(values, 5).arrays()
    assert not np.isnan(made["top"].value).any() and not np.isnan(made["bottom"].value).any()


@pytest.mark.parametrize(
    "units, height, width", [(5, 7, 7), (24, 56, 56), (96, 40, 28), (112, 14, 14), (64, 55, 55), (7, 9, 7), (3, 1, 1)]
)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_extremes_are_those_of_a_search_through_the_map(
    units: int, height: int, width: int, layout: torch.memory_format
) -> None:
    x = torch.randint(-50, 50, (3, units, height, width)).float().contiguous(memory_format=layout)
    found = extremes(x, Bar.none(units, True))
    for side, maps in enumerate((x, -x)):
        flat = maps.double().flatten(2).numpy()
        assert np.array_equal(found.value[side], flat.max(2)) and np.array_equal(found.cell[side], flat.argmax(2))
        assert np.allclose(found.mean[side], flat.mean(2), atol=1e-4)
    only = extremes(x, Bar.none(units, False))
    assert (
        len(only.value) == 1 and torch.equal(only.value[0], found.value[0]) and torch.equal(only.cell[0], found.cell[0])
    )


def test_a_batch_may_not_cross_the_end_of_a_chunk() -> None:
    values = activations(20)
    tally = tally_of(values, 10)
    before = tally.arrays()
    with pytest.raises(ValueError, match="chunk"):
        tally.commit(found_in(values, slice(0, 20)), list(range(CHUNK)))
    assert all(np.array_equal(getattr(before["top"], f), getattr(tally.arrays()["top"], f)) for f in ("image", "value"))


def test_histograms_are_those_of_numpy() -> None:
    values = torch.randn(20000) * torch.exp(4 * torch.randn(20000))
    got = np.bincount(bin_of(values).numpy(), minlength=BINS)
    edges = bin_edges()
    edges[0], edges[-1] = -1e30, 1e30
    assert np.array_equal(got, np.histogram(values.double().numpy(), edges)[0]) and got.sum() == 20000
    exact = torch.tensor([0.0, -0.0, 1e-30, 2.0**-24, 1.0, 1.25, -1.0, 3e38, -3e38])
    assert bin_of(exact).tolist() == [160, 160, 160, 161, 257, 258, 63, 320, 0]
    counts = np.zeros(BINS)
    counts[257:261] = 10
    shown, even = rebinned(counts, 8)
    assert shown.sum() == pytest.approx(40) and (even[0], even[-1]) == (1, 2) and np.allclose(shown, 5)


def test_statistics_are_those_of_numpy() -> None:
    noise = torch.Generator().manual_seed(1)
    values = {name: v / 7 + torch.randn(v.shape, generator=noise) for name, v in activations(CHUNK + 88).items()}
    made = tally_of(values, 50).arrays()
    index = with_statistics(Index("m", "f", "/", (), (), {}, tuple(spans()), mean=None, variance=None, **made))
    for span in spans():
        responses = values[span.name].double().reshape(CHUNK + 88, span.units, -1).amax(2).numpy()
        assert np.allclose(index.mean[span.rows], responses.mean(0), rtol=1e-13)
        assert np.allclose(index.variance[span.rows], responses.var(0), rtol=1e-10)
        assert np.array_equal(index.active[span.rows], (responses > 0).sum(0))
        assert np.allclose(index.correlation[span.name], np.corrcoef(responses.T), atol=2e-6)
        assert (index.histogram[span.rows].sum(1) == CHUNK + 88).all()


def test_a_unit_that_never_changes_correlates_with_none() -> None:
    values = activations(40)
    values["map"][:, 2] = 3.3
    made = tally_of(values, 20).arrays()
    index = with_statistics(Index("m", "f", "/", (), (), {}, tuple(spans()), mean=None, variance=None, **made))
    assert (index.correlation["map"][2] == 0).all() and np.isfinite(index.correlation["map"]).all()


def test_one_thread_or_two_make_no_difference() -> None:
    values, before = activations(CHUNK), torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(tally_of({n: v * 1.1 for n, v in values.items()}, 64).arrays())
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(made[0]["sums"].total, made[1]["sums"].total)
    assert np.array_equal(made[0]["sums"].squares, made[1]["sums"].squares)


def test_places_are_looked_for_above_the_bar_alone_and_a_bar_that_lags_behind_changes_nothing() -> None:
    values = activations(60)
    current, behind = Tally(spans(), 9, torch.device("cpu")), Tally(spans(), 9, torch.device("cpu"))
    for start in range(0, 60, 10):
        images = slice(start, start + 10)
        found = {span.name: extremes(values[span.name][images], current.bar[span.rows]) for span in spans()}
        for span in spans():
            each, bar = found[span.name], current.bar[span.rows]
            least = bar.value[:, None]
            above = (each.value > least) | (each.value == least) & (each.mean > bar.mean[:, None])
            assert torch.equal(each.cell >= 0, above)
        current.commit(found, list(range(start, start + 10)))
        behind.commit(found_in(values, images), list(range(start, start + 10)))
    assert start and torch.equal(current.order, behind.order) and torch.equal(current.place, behind.place)
    assert (found["wide"].cell < 0).any()
