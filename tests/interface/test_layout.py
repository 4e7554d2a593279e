"""Fractions to pixels."""

from __future__ import annotations

import pytest

from deepvis.interface.layout import lay_out
from deepvis.interface.settings import DEFAULT_PANES

SIZES = [(300, 200), (800, 500), (1500, 930), (1501, 931), (2560, 1440), (3840, 2160)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_default_panes_cover_each_pixel_once(width: int, height: int) -> None:
    layout = lay_out(DEFAULT_PANES, width, height, 1.0)
    covered = [[0] * width for _ in range(height)]
    for left, top, w, h in layout.panes.values():
        assert left >= 0 and top >= 0 and left + w <= width and top + h <= height
        for y in range(top, top + h):
            covered[y][left : left + w] = [n + 1 for n in covered[y][left : left + w]]
    assert {n for row in covered for n in row} == {1}
    if width * height <= 800 * 500:
        for y in range(0, height, 7):
            for x in range(0, width, 7):
                name = layout.pane_at(x, y)
                left, top, w, h = layout.panes[name]
                assert left <= x < left + w and top <= y < top + h


def test_hidden_panes_are_left_out_and_nothing_is_at_their_place() -> None:
    panes = {"input": (0.0, 0.0, 0.5, 1.0), "layer": None, "status": ()}
    layout = lay_out(panes, 100, 50, 1.0)
    assert layout.panes == {"input": (0, 0, 50, 50)}
    assert layout.pane_at(49, 49) == "input"
    assert layout.pane_at(50, 10) is layout.pane_at(-1, 10) is layout.pane_at(10, 50) is None


def test_a_pane_thinner_than_a_pixel_still_has_one() -> None:
    assert lay_out({"status": (0.0, 0.999, 0.001, 0.0001)}, 300, 200, 1.0).panes["status"][2:] == (1, 1)


def test_lengths_follow_the_scale() -> None:
    layout = lay_out({}, 3000, 1860, 2.0)
    assert (layout.px(12), layout.px(0.1)) == (24, 1)


def test_text_is_not_larger_than_the_window_can_carry() -> None:
    assert lay_out({}, 1500, 930, 2.0).scale == 2.0
    assert lay_out({}, 800, 500, 2.0).scale == pytest.approx(1.07, abs=0.02)
    assert lay_out({}, 300, 200, 2.0).scale == 1.0
    assert lay_out({}, 800, 500, 0.5).scale == 0.5
