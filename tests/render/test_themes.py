"""The colours of the interface can be read, and those of values can be told apart by everybody."""

from __future__ import annotations

import numpy as np
import pytest

from deepvis.interface.state import COLORS, THEMES
from deepvis.render import colors
from deepvis.render.colors import Theme, contrast, ink_on
from deepvis.render.palettes import palette
from deepvis.render.panes.legend import legend_of

READABLE = 4.5  # WCAG 2.2, AA, for text of ordinary size
GROUNDS = {  # what each colour of words stands on
    "text": ("ground", "panel", "faint_accent", "probability"),
    "soft": ("ground", "panel", "probability"),
    "dim": ("ground", "panel"),
    "accent": ("ground", "panel"),
    "frozen": ("ground", "panel"),
    "good": ("ground", "panel"),
    "bad": ("ground", "panel"),
    "on_accent": ("accent",),
}
themes = pytest.mark.parametrize("theme", [colors.THEMES[name] for name in THEMES], ids=THEMES)


def test_the_tables_have_the_rows_that_the_state_names() -> None:
    assert tuple(colors.THEMES) == THEMES
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # WebAIM's calculator


@themes
@pytest.mark.parametrize(("ink", "ground"), [(ink, ground) for ink, grounds in GROUNDS.items() for ground in grounds])
def test_words_can_be_read(theme: Theme, ink: str, ground: str) -> None:
    assert contrast(getattr(theme, ink), getattr(theme, ground)) >= READABLE


@themes
def test_words_on_a_shaded_photo_can_be_read(theme: Theme) -> None:
    for photo in (0, 255):
        shaded = tuple(round(0.3 * photo + 0.7 * part) for part in theme.ground)
        assert contrast(theme.text, shaded) >= READABLE


@themes
@pytest.mark.parametrize("name", COLORS)
def test_words_on_any_value_can_be_read(theme: Theme, name: str) -> None:
    tables = palette(name, theme.is_light)
    for blue, green, red in (*tables.signed[:, 0].tolist(), *tables.unsigned[:, 0].tolist()):
        assert contrast(ink_on((blue, green, red)), (blue, green, red)) >= READABLE


@themes
def test_signed_values_are_told_apart_without_red_and_green(theme: Theme) -> None:
    """Blue is below zero and orange above; brightness alone says how large a value is."""
    table = palette("blue-orange", theme.is_light).signed[:, 0].astype(int)
    negative, positive = table[:100], table[156:]
    assert (negative[:, 0] > negative[:, 2]).all() and (positive[:, 2] > positive[:, 0]).all()
    light = np.array([contrast(tuple(color), (0, 0, 0)) for color in table.tolist()])
    for side in (light[127::-1], light[128:]):
        steps = np.diff(side) * (-1 if theme.is_light else 1)
        assert (steps > -0.02).all() and steps.sum() > 5
    for size in (0.2, 0.5, 0.8):  # equal sizes are about equally bright
        one, other = (light[round(127.5 + 127.5 * value)] for value in (-size, size))
        assert max(one, other) / min(one, other) < 1.6


def test_a_legend_has_the_colours_of_its_values() -> None:
    tables = palette("blue-orange", False)
    shown = legend_of(-2.0, 1.0, True, 1.0, tables)
    assert (shown.low, shown.high) == ("−2.00", "1.00")
    assert (shown.colors[0, 0] == tables.signed[0, 0]).all()
    assert np.abs(shown.colors[0, -1].astype(int) - tables.color(0.5)).max() <= 4
    assert (shown.colors[0, 42] < 12).all()  # zero lies at two thirds
    by_unit = legend_of(-2.0, 1.0, False, 1.0, tables, is_by_unit=True)
    assert "unit" in by_unit.high and (by_unit.colors[0, 0] == 0).all() and (by_unit.colors[0, -1] == 255).all()
