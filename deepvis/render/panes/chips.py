"""Tabs and chips: small words in a thin line that a click acts on, each for a command.

A pane says which chips it has (`Pane.chips`); the renderer draws them in a line at the pane's edge and finds them under
the mouse, both by `placed`. Blocks of a pane may have chips at the right of their titles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deepvis.core.geometry import Box, contains
from deepvis.interface.layout import CHIP_LINE
from deepvis.interface.state import Control, Target
from deepvis.render import text
from deepvis.render.draw import Canvas

_SIZE, _MARGIN, _GAP, _GROUP = 11, 5, 1, 9  # of words, beside them, between chips, between groups; unscaled pixels
_LOWEST = 6  # how many lines of chips a pane must be high to have one


@dataclass(frozen=True)
class Chip:
    """One tab or chip.

    Attributes:
        words: what stands on it.
        call: the command that a click runs, as `deepvis.interface.commands.run` takes it.
        hint: what a click does, in words, for the status bar.
        on: it is marked, because what it stands for is on.
        apart: it begins another group of chips.
        stays: it is among the first to get room, as those that are on.
    """

    words: str
    call: str
    hint: str
    on: bool = False
    apart: bool = False
    stays: bool = False

    @property
    def command(self) -> str:
        """The name of the command."""
        return self.call.partition("=")[0]


def split(canvas: Canvas, at_top: bool) -> tuple[Canvas | None, Canvas]:
    """The line of a pane that its chips have, and the rest of the pane. A very low pane has no such line."""
    height, line = canvas.height, canvas.px(CHIP_LINE)
    if height < _LOWEST * line:
        return None, canvas
    rest, top = height - line, 0 if at_top else height - line
    return canvas.part((0, top, canvas.width, line)), canvas.part((0, line if at_top else 0, canvas.width, rest))


def placed(canvas: Canvas, chips: Sequence[Chip], at_right: bool = False) -> list[tuple[Chip, Box]]:
    """The chips that a canvas has room for in one line, and their boxes.

    If not all fit, those that are on, or that stay, come first. An arrow stands for the options that are left out: it
    goes to the next one.
    """
    fitting = _fitting(canvas, chips)
    x = canvas.width - _total(canvas, fitting) if at_right else 0
    boxes = []
    for chip, space in zip(fitting, _spaces(canvas, fitting)):
        width = _width(canvas, chip)
        boxes.append((chip, (x + space, 0, width, canvas.height)))
        x += space + width
    return boxes


def _width(canvas: Canvas, chip: Chip) -> int:
    return text.width(chip.words, canvas.px(_SIZE), 600) + 2 * canvas.px(_MARGIN)  # as wide when it is marked


def _spaces(canvas: Canvas, chips: Sequence[Chip]) -> Iterator[int]:
    """The empty space before each chip."""
    for i, chip in enumerate(chips):
        yield 0 if not i else canvas.px(_GROUP if chip.apart else _GAP)


def _total(canvas: Canvas, chips: Sequence[Chip]) -> int:
    return sum(_spaces(canvas, chips)) + sum(_width(canvas, chip) for chip in chips)


def _fitting(canvas: Canvas, chips: Sequence[Chip]) -> list[Chip]:
    room = canvas.width
    if _total(canvas, chips) <= room:
        return list(chips)
    kept: list[int] = []
    for i in sorted(range(len(chips)), key=lambda i: not (chips[i].on or chips[i].stays)):
        longer = sorted((*kept, i))
        if _total(canvas, [*(chips[j] for j in longer), *_arrow(chips, longer)]) > room:
            break
        kept = longer
    return [*(chips[i] for i in kept), *(_arrow(chips, kept) if kept else ())]


def _arrow(chips: Sequence[Chip], kept: Sequence[int]) -> tuple[Chip, ...]:
    """A chip for the options that are left out, if any are."""
    left_out = [chip for i, chip in enumerate(chips) if i not in kept and "=" in chip.call]
    return (Chip("›", left_out[0].command, f"next {left_out[0].command}"),) if left_out else ()


def draw_chips(canvas: Canvas, chips: Sequence[Chip], hover: Target, at_right: bool = False) -> None:
    """Draw chips in one line; those that are on stand on a bright line."""
    size, theme, line = canvas.px(_SIZE), canvas.theme, canvas.px(2)
    for chip, (x, y, width, height) in placed(canvas, chips, at_right):
        pointed = is_pointed(chip, hover)
        if pointed:
            canvas.bar((x, y, width, height), theme.line)
        ink, weight = theme.text if chip.on or pointed else theme.dim, 600 if chip.on else 400
        left = x + (width - text.width(chip.words, size, weight)) // 2
        text.put(canvas.image, chip.words, left, max(0, height - line - text.line_height(size)), size, ink, weight)
        if chip.on:
            canvas.bar((x, height - line, width, line), theme.accent)


def is_pointed(chip: Chip, hover: Target) -> bool:
    """Whether the mouse points at this chip."""
    return isinstance(hover, Control) and hover == Control(chip.call, chip.hint)


def chip_at(canvas: Canvas, chips: Sequence[Chip], x: int, y: int, at_right: bool = False) -> Control | None:
    """The chip under a point of the canvas; None if there is none."""
    for chip, box in placed(canvas, chips, at_right):
        if contains(box, x, y):
            return Control(chip.call, chip.hint)
    return None


def pointed_at(chips: Sequence[Chip], hover: Target) -> Control | None:
    """What the mouse points at, if it is one of these chips or their arrow: for the key of a pane."""
    if not isinstance(hover, Control):
        return None
    return hover if any(chip.command == hover.call.partition("=")[0] for chip in chips) else None


# ---- chips in the title of a block ----------------------------------------------------------------


def title_with_chips(canvas: Canvas, words: str, chips: Sequence[Chip], hover: Target) -> Canvas:
    """Draw a block's title line with chips at its right; returns the rest of the block.

    Args:
        words: parts between three spaces; those for which there is no room beside the chips are left out.
    """
    line, _ = _beside_title(canvas, words)
    taken = line.width - min((box[0] for _, box in placed(line, chips, at_right=True)), default=line.width)
    body = canvas.caption(words, taken=taken)
    draw_chips(line, chips, hover, at_right=True)
    return body


def title_chip_at(canvas: Canvas, words: str, chips: Sequence[Chip], x: int, y: int) -> Control | None:
    """The chip in a block's title under a point of the block."""
    line, left = _beside_title(canvas, words)
    return chip_at(line, chips, x - left, y, at_right=True)


def _beside_title(canvas: Canvas, words: str) -> tuple[Canvas, int]:
    """The part of the title's line that its chips may take, and where it begins: the title's first part is never cut
    for them."""
    first = words.partition("   ")[0]
    left = min(canvas.width, text.width(first, canvas.px(12)) + 3 * canvas.px(6))
    return canvas.part((left, 0, canvas.width - left, canvas.px_caption)), left
