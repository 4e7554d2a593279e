"""Fractions to pixels."""

from __future__ import annotations

import pytest

from deepvis.interface.layout import LAYOUTS, fit, growing_scale, lay_out
from deepvis.interface.settings import Settings, WindowSettings
from deepvis.interface.state import LAYOUT_NAMES, State

SIZES = [(300, 200), (800, 500), (1500, 930), (1501, 931), (2560, 1440), (3840, 2160)]


def test_the_table_has_the_rows_that_the_state_names() -> None:
    assert tuple(LAYOUTS) == LAYOUT_NAMES


@pytest.mark.parametrize(("width", "height"), [*SIZES, (300, 500), (900, 1600)])
@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_the_panes_cover_each_pixel_once(name: str, width: int, height: int) -> None:
    layout = fit(Settings(), State(layout=name), width, height)
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


def test_a_narrow_window_has_panes_of_its_own_and_the_users_panes_win() -> None:
    wide, narrow = (fit(Settings(), State(), *size).panes for size in ((1600, 900), (900, 1600)))
    assert wide["unit_images"][3] > wide["unit_images"][2] and narrow["unit_images"][2] > narrow["unit_images"][3]
    own = Settings(panes={"layer": (0, 0, 1, 1)})
    assert list(fit(own, State(), 900, 1600).panes) == ["layer"]
    assert len(fit(own, State(layout="projector"), 900, 1600).panes) > 1  # it was asked for


def test_an_enlarged_pane_leaves_room_for_the_status_bar_alone() -> None:
    panes = fit(Settings(), State(enlarged="input"), 1000, 500).panes
    assert panes == {"input": (0, 0, 1000, 476), "status": (0, 476, 1000, 24)}


def test_type_grows_with_the_window_unless_the_user_gives_its_scale() -> None:
    scales = [fit(Settings(), State(), *size).scale for size in ((1280, 720), (1500, 930), (2560, 1440), (3840, 2160))]
    assert scales[:2] == [1.0, 1.0] and 1.0 < scales[2] < scales[3] and scales[3] > 1.8
    assert fit(Settings(), State(), 930, 1500).scale == 1.0 < fit(Settings(), State(), 2160, 3840).scale
    assert growing_scale(3000, 1860, 2.0) == 2.0 == growing_scale(1500, 930, 2.0)  # a desktop of twice the size
    assert fit(Settings(window=WindowSettings(scale=1.25)), State(), 3840, 2160).scale == 1.25
    assert fit(Settings(), State(layout="projector"), 1500, 930).scale == 1.5


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_the_help_takes_the_whole_of_a_small_window(name: str) -> None:
    small = fit(Settings(), State(layout=name, help=True), 1000, 640)
    assert set(small.panes) == {"layer", "status"} and small.panes["layer"][2] == 1000
    assert "input" in fit(Settings(), State(layout=name), 1000, 640).panes
    assert "input" in fit(Settings(), State(help=True), 1500, 930).panes
