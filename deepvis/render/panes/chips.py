"""Tabs and chips: small words in a pane that a click acts on, each for a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepvis.core.geometry import Box, contains
from deepvis.interface.state import Control, Target
from deepvis.render import text
from deepvis.render.draw import Canvas

_SIZE, _MARGIN, _GAP = 12, 6, 2  # of the words, beside them, between chips; unscaled pixels


@dataclass(frozen=True)
class Chip:
    """One tab or chip.

    Attributes:
        words: what stands on it.
        call: the command that a click runs, as `deepvis.interface.commands.run` takes it.
        hint: what a click does, in words, for the status bar.
        on: it is marked, because what it stands for is on.
    """

    words: str
    call: str
    hint: str
    on: bool = False


def chip_boxes(canvas: Canvas, chips: Sequence[Chip], left: int = 0) -> list[Box]:
    """The boxes of chips in one line, from `left` on. Those that do not fit any more have no box."""
    size, boxes, x = canvas.px(_SIZE), [], left
    for chip in chips:
        width = text.width(chip.words, size, 600) + 2 * canvas.px(_MARGIN)  # as wide when it is marked
        if x + width > canvas.width:
            break
        boxes.append((x, 0, width, canvas.px_caption))
        x += width + canvas.px(_GAP)
    return boxes


def draw_chips(canvas: Canvas, chips: Sequence[Chip], hover: Target, left: int = 0) -> None:
    """Draw chips in one line over the canvas's first pixels; marked ones stand on a bright line."""
    size, theme = canvas.px(_SIZE), canvas.theme
    for chip, box in zip(chips, chip_boxes(canvas, chips, left)):
        x, y, width, height = box
        pointed = isinstance(hover, Control) and hover.call == chip.call
        ink = theme.text if chip.on or pointed else theme.dim
        text.put(canvas.image, chip.words, x + canvas.px(_MARGIN), y + canvas.px(2), size, ink, 600 if chip.on else 400)
        if chip.on or pointed:
            line = canvas.px(2)
            canvas.bar((x, height - line, width, line), theme.accent if chip.on else theme.dim)


def chip_at(canvas: Canvas, chips: Sequence[Chip], x: int, y: int, left: int = 0) -> Control | None:
    """The chip under a point of the canvas; None if there is none."""
    for chip, box in zip(chips, chip_boxes(canvas, chips, left)):
        if contains(box, x, y):
            return Control(chip.call, chip.hint)
    return None
