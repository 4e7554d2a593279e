"""A list of units in the layer pane: a line for each with small pictures, its name, and a value as a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepvis.core.geometry import Box, contains
from deepvis.core.layers import unit_id
from deepvis.interface.state import Hover
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.pane import number
from deepvis.render.scene import Scene

COUNT = 10  # lines that fit into the pane
_RANK = 28  # width of the column with the unit's place in the list, unscaled pixels


@dataclass(frozen=True)
class UnitRow:
    """One line of a list.

    Attributes:
        layer, unit: the unit.
        box: the line's place in the pane's body.
        pictures: the places of its small pictures, also in the body.
        names: where its name begins.
    """

    layer: int
    unit: int
    box: Box
    pictures: tuple[Box, ...]
    names: int


def lay_out_rows(
    body: Canvas, units: Sequence[tuple[int, int]], aspects: Sequence[float], above: int = 0
) -> list[UnitRow]:
    """The lines of a list of units.

    Args:
        units: (position of the layer, unit).
        aspects: width / height of each small picture, the same in all lines.
        above: pixels to leave free above the first line.
    """
    margin, gap = body.px(8), body.px(4)
    height = max(body.px(14), min(body.px(76), (body.height - above - margin) // COUNT))
    rows = []
    for i, (layer, unit) in enumerate(units):
        box = (margin, above + margin + i * height, max(1, body.width - 2 * margin), height - gap)
        x, pictures = margin + body.px(_RANK), []
        for aspect in aspects:
            side = max(1, min(round(box[3] * aspect), body.width // 4))
            pictures.append((x, box[1], side, box[3]))
            x += side + body.px(10)
        rows.append(UnitRow(layer, unit, box, tuple(pictures), x))
    return rows


def names_width(row: UnitRow, body: Canvas) -> int:
    """How much room there is for the unit's name."""
    return max(1, min(body.px(240), row.box[2] // 3))


def draw_row(body: Canvas, scene: Scene, row: UnitRow, rank: int, value: float, share: float) -> None:
    """Draw a line but for its pictures.

    Args:
        value: is written; its sign decides the colour of the bar.
        share: length of the bar, 0 to 1.
    """
    (left, top, width, height), layer, theme = row.box, scene.layers[row.layer], body.theme
    size = min(body.px(15), max(body.px(9), int(height / 2.6)))
    line = text.line_height(size)
    middle = top + max(0, height - line) // 2
    text.put(body.image, str(rank), left, middle, size, theme.dim)
    x, names = row.names, names_width(row, body)
    words = [unit_id(layer.name, row.unit), layer.label(row.unit)]
    if 2 * line <= height and words[1]:
        text.put(body.image, text.shorten(words[1], names, size), x, middle - line // 2, size, theme.text)
        text.put(body.image, text.shorten(words[0], names, size), x, middle - line // 2 + line, size, theme.dim)
    else:
        text.put(body.image, text.shorten(" ".join(filter(None, words)), names, size), x, middle, size, theme.text)
    x += names + body.px(10)
    said, is_selected = number(value), (row.layer, row.unit) == (scene.state.layer, scene.state.unit)
    room = max(1, left + width - x - body.px(14) - text.width("−0.0e+00", size))
    length, thick = max(1, round(share * room)), max(2, min(line, height // 2))
    ink = theme.bars if value >= 0 else body.palette.color(-0.6)
    body.bar((x, top + (height - thick) // 2, length, thick), theme.accent if is_selected else ink)
    text.put(body.image, said, x + length + body.px(8), middle, size, theme.text)
    around = (left - body.px(4), top - body.px(2), width + body.px(8), height + body.px(4))
    if scene.hover == Hover(row.layer, row.unit):
        body.frame(around, theme.pointed)
    elif is_selected:
        body.frame(around, theme.faint_accent)


def row_at(rows: Sequence[UnitRow], x: int, y: int) -> Hover | None:
    """The unit whose line is under a point of the pane's body; None if there is none."""
    return next((Hover(row.layer, row.unit) for row in rows if contains(row.box, x, y)), None)
