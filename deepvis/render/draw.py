"""The canvas that panes draw on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deepvis.core.geometry import Box, resize, resize_for_screen
from deepvis.interface.layout import CAPTION
from deepvis.render import text
from deepvis.render.colors import DARK, Theme
from deepvis.render.palettes import USUAL, Color, Palette


def fill(image: np.ndarray, color: Color) -> None:
    """Fill a picture, or a part of one, with a colour. (NumPy's own assignment takes ten times as long.)"""
    if image.size:
        cv2.rectangle(image, (0, 0), (image.shape[1], image.shape[0]), color, cv2.FILLED)


def paste(image: np.ndarray, picture: np.ndarray, left: int, top: int) -> None:
    """Put a picture into an image, with its top left corner at (left, top). What lies outside is cut off."""
    x, y = min(max(0, left), image.shape[1]), min(max(0, top), image.shape[0])
    part = picture[max(0, y - top) : max(0, image.shape[0] - top), max(0, x - left) : max(0, image.shape[1] - left)]
    image[y : y + part.shape[0], x : x + part.shape[1]] = part


def inside(image: np.ndarray, box: Box) -> np.ndarray:
    """The part of a box that lies in the image, as a view; empty if nothing does."""
    left, top, width, height = box
    return image[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]


@dataclass(frozen=True, eq=False)
class Legend:
    """What the colours of values mean: a bar from the lowest to the highest one.

    Attributes:
        low, high: the words at its ends.
        colors: the colours between them, uint8 1×n×3 BGR.
    """

    low: str
    high: str
    colors: np.ndarray


class Canvas:
    """A pane's own part of the window's picture, with the scale of its text.

    Attributes:
        image: uint8 H×W×3 BGR view into the picture; drawing here draws there.
        scale: size of text and marks.
        theme: the interface's colours.
        palette: the colours of values.
    """

    def __init__(self, image: np.ndarray, scale: float = 1.0, theme: Theme = DARK, palette: Palette = USUAL) -> None:
        self.image, self.scale, self.theme, self.palette = image, scale, theme, palette

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    @property
    def px_caption(self) -> int:
        """Height of the title line."""
        return min(self.px(CAPTION), self.height - 1)

    def px(self, size: float) -> int:
        return max(1, round(size * self.scale))

    def fill(self, color: Color | None = None) -> None:
        """Fill the canvas, with the theme's ground colour if none is given."""
        fill(self.image, color or self.theme.ground)

    def bar(self, box: Box, color: Color) -> None:
        """Fill a box with a colour."""
        fill(inside(self.image, box), color)

    def part(self, box: Box) -> Canvas:
        return Canvas(inside(self.image, box), self.scale, self.theme, self.palette)

    def caption(
        self, words: str, right: str = "", color: Color | None = None, legend: Legend | None = None, taken: int = 0
    ) -> Canvas:
        """Draw the pane's title line and return the rest of the pane.

        Args:
            legend: stands at the right end of the line.
            taken: how many pixels at the right are needed for something else; not with a legend.
        """
        height = self.px_caption
        bar = self.image[:height]
        fill(bar, self.theme.panel)
        size, margin = self.px(12), self.px(6)
        room = max(0, self.width - 2 * margin - taken)
        if legend is not None:
            room = self._legend(legend, room // 2)
        if text.width(right, size) > room // 2:  # half a number would be taken for a whole one
            right = ""
        end = text.width(right, size)
        words = text.fitting_parts(words, room - end - margin, size)
        text.put(bar, words, margin, self.px(2), size, color or self.theme.text)
        text.put(bar, right, margin + room - end, self.px(2), size, self.theme.dim)
        return self.part((0, height, self.width, self.height - height))

    def _legend(self, legend: Legend, most: int) -> int:
        """Draw a legend at the right end of the title line, on at most `most` pixels.

        Returns:
            How much room is left for words.
        """
        size, margin, gap, line = self.px(12), self.px(6), self.px(6), self.px_caption
        room, end = self.width - 2 * margin, self.width - margin
        ends = text.width(legend.low, size) + text.width(legend.high, size) + 2 * gap
        wide, high = min(self.px(72), most - ends), line - 2 * self.px(5)
        if wide < self.px(16) or high < 2:
            return room
        bar = self.image[:line]
        x = end - text.width(legend.high, size)
        text.put(bar, legend.high, x, self.px(2), size, self.theme.dim)
        x -= gap + wide
        top = (line - high) // 2
        self.image[top : top + high, x : x + wide] = cv2.resize(legend.colors, (wide, high))
        self.frame((x - 1, top - 1, wide + 2, high + 2), self.theme.line)
        x -= gap + text.width(legend.low, size)
        text.put(bar, legend.low, x, self.px(2), size, self.theme.dim)
        return max(0, x - 2 * margin - gap)

    def words(self, message: str, color: Color | None = None, size: float = 13) -> None:
        """Write a message in the middle of the pane, in a smaller font if there is little room."""
        size, room = self.px(size), max(1, self.width - self.px(24))
        lines = text.wrap(message, room, size)
        while size > self.px(9) and text.line_height(size) * len(lines) > self.height:
            size -= max(1, size // 20)
            lines = text.wrap(message, room, size)
        step = text.line_height(size)
        if step * len(lines) > self.height:
            lines = text.wrap(text.without_folders(message), room, size)
        if step * len(lines) > self.height:
            fitting = max(1, self.height // step)
            lines = (*lines[: fitting - 1], text.shorten(" ".join(lines[fitting - 1 :]), room, size))
        y = max(0, (self.height - step * len(lines)) // 2)
        for line in lines:
            text.put(self.image, line, (self.width - text.width(line, size)) // 2, y, size, color or self.theme.dim)
            y += step

    def frame(self, box: Box, color: Color, thickness: float = 1) -> None:
        """Outline a box from the inside."""
        left, top, width, height = box
        t = self.px(thickness)
        for i in range(t):
            corner = (left + width - 1 - i, top + height - 1 - i)
            cv2.rectangle(self.image, (left + i, top + i), corner, color, 1)

    def fitted(self, width: int, height: int) -> Box:
        """Where `picture` shows a picture of that size: as large as fits, in the middle."""
        factor = min(self.width / width, self.height / height)
        wide, high = max(1, int(width * factor)), max(1, int(height * factor))
        return (self.width - wide) // 2, (self.height - high) // 2, wide, high

    def picture(self, image: np.ndarray, exact: bool = False) -> Box:
        """Show a picture as large as fits, in the middle.

        Args:
            image: uint8 BGR.
            exact: show its pixels as squares if it is enlarged.
        Returns:
            The box that it fills.
        """
        left, top, width, height = self.fitted(image.shape[1], image.shape[0])
        if exact and width > image.shape[1]:
            scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        else:
            scaled = resize(image, width, height)
        self.image[top : top + height, left : left + width] = scaled
        return left, top, width, height

    def cover(self, image: np.ndarray) -> None:
        """Fill the whole canvas with a picture (uint8 RGB)."""
        if self.image.size:
            self.image[:] = cv2.cvtColor(
                resize_for_screen(np.ascontiguousarray(image), self.width, self.height), cv2.COLOR_RGB2BGR
            )

    def shade(self, box: Box, strength: float = 0.7) -> None:
        """Bring a part near the ground's colour, so that text on it can be read."""
        part = inside(self.image, box)
        if part.size:
            cv2.addWeighted(part, 1 - strength, np.full_like(part, self.theme.ground), strength, 0, dst=part)
