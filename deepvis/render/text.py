"""Antialiased text on pictures. Each different text is rendered once and then only copied."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from functools import lru_cache

import cv2
import numpy as np

from deepvis.render.palettes import Color

CACHE = (
    32 << 20
)  # bytes of rendered lines in the cache; not a number of lines, because those of a snapshot are very large
_FONT = "sans"
_COVERAGE = (np.arange(256) / 255).astype(np.float32)  # of the 256 values of a rendered line
_SEPARATORS = "/\\_-."  # between the parts of a path
_LONG_PATH = re.compile(r"(?<!\S)\S*[/\\]\S+?([/\\][^\s/\\]+[/\\][^\s/\\]+)(?!\S)")
_alone = threading.Lock()  # OpenCV's font faces give wrong letters when two threads use them at once
_lines: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()  # the cache; the line used last is the last
_size = 0  # bytes in the cache
_changing = threading.Lock()  # guards _lines and _size


@lru_cache(maxsize=1)
def _font() -> cv2.FontFace:
    return cv2.FontFace(_FONT)


def _drawable(text: str) -> str:
    """The text as OpenCV's font code takes it.

    Half a character, as names of odd bytes have it, would end the process there.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@lru_cache(maxsize=8192)
def width(text: str, size: int, weight: int = 400) -> int:
    """Width of a line in pixels."""
    if not text:
        return 0
    text = _drawable(text)
    with _alone:
        left, _top, w, _h = cv2.getTextSize((1, 1), text, (0, 0), _font(), size, weight)
    return left + w


def line_height(size: int) -> int:
    """Distance between lines of that font size."""
    return round(size * 1.35)


def _line(text: str, size: int, weight: int) -> np.ndarray:
    """The line as coverage from 0 to 255, uint8 h×w×1, with its baseline at 1.05 × size from the top."""
    global _size
    text = _drawable(text)
    key = (text, size, weight)
    with _changing:
        if key in _lines:
            _lines.move_to_end(key)
            return _lines[key]
    canvas = np.zeros((line_height(size) + 1, width(text, size, weight) + size, 3), np.uint8)
    with _alone:
        cv2.putText(canvas, text, (0, round(size * 1.05)), (255, 255, 255), _font(), size, weight)
    line = canvas[..., :1].copy()
    with _changing:
        if key not in _lines:  # else another thread was faster
            _lines[key] = line
            _size += line.nbytes
        while _size > CACHE and len(_lines) > 1:
            _size -= _lines.popitem(last=False)[1].nbytes
    return line


def put(
    image: np.ndarray, text: str, x: int, y: int, size: int, color: Color = (225, 225, 225), weight: int = 400
) -> int:
    """Draw a line of text with its top left corner at (x, y), cut off at the picture's edges.

    Returns:
        x where the text ends.
    """
    if not text:
        return x
    line = _line(text, size, weight)
    top, left = max(0, -y), max(0, -x)
    target = image[max(0, y) : y + line.shape[0], max(0, x) : x + line.shape[1]]
    line = line[top : top + target.shape[0], left : left + target.shape[1]]
    if target.size and line.size:
        mask = _COVERAGE[line]
        target += (mask * (np.array(color, np.float32) - target)).astype(np.int16).astype(np.uint8)
    return x + width(text, size, weight)


@lru_cache(maxsize=4096)
def shorten(text: str, room: int, size: int, weight: int = 400) -> str:
    """The text if it fits in `room` pixels, else as much of its beginning as fits with an ellipsis."""
    if width(text, size, weight) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + "…", size, weight) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


@lru_cache(maxsize=512)
def wrap(text: str, room: int, size: int) -> tuple[str, ...]:
    """Break a text at spaces (and at line breaks) into lines of at most `room` pixels."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and width(longer, size) > room:
                lines.append(line)
                longer = word
            *whole, line = _broken(longer, room, size)
            lines += whole
        lines.append(line)
    return tuple(lines)


def _broken(word: str, room: int, size: int) -> list[str]:
    """A word that is too long for a line, such as a path, in lines that end at a separator where one is near."""
    if not any(sign in word for sign in _SEPARATORS):
        return [shorten(word, room, size)]
    lines = []
    while width(word, size) > room and len(word) > 1:
        fitting = max(1, len(shorten(word, room, size)) - 1)
        end = max(word.rfind(sign, 0, fitting) + 1 for sign in _SEPARATORS)
        end = end if 2 * end > fitting else fitting
        lines.append(word[:end])
        word = word[end:]
    return [*lines, word]


def without_folders(text: str) -> str:
    """The text with long paths shortened to their ends, which say most."""
    return _LONG_PATH.sub(r"…\1", text)


@lru_cache(maxsize=512)
def fitting_parts(text: str, room: int, size: int) -> str:
    """As many of a title's parts (between three spaces) as fit into `room` pixels; the first may be shortened."""
    while width(text, size) > room and "   " in text:
        text = text.rpartition("   ")[0]
    return shorten(text, room, size)
