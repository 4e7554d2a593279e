"""The command palette over the layer pane: the line that the user types, and the best matches below it."""

from __future__ import annotations

from deepvis.core.geometry import Box, contains
from deepvis.interface.palette import Entry
from deepvis.interface.state import Control
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.scene import LoadingScene

_WIDTH, _LINE, _HEAD, _FOOT = (
    660,
    22,
    34,
    22,
)  # of the list, of a match, of the typed line, of the hint; unscaled pixels
_HINT = "↑ ↓ choose      enter does it      esc closes"
_NOTHING = "nothing has these letters"


def _box(canvas: Canvas, lines: int) -> Box:
    """Where the palette lies in the pane, with so many lines."""
    width = min(canvas.width, canvas.px(_WIDTH))
    height = min(canvas.height, canvas.px(_HEAD) + max(1, lines) * canvas.px(_LINE) + canvas.px(_FOOT))
    top = min(canvas.px(40), canvas.height - height)
    return (canvas.width - width) // 2, top, width, height


def _rows(canvas: Canvas, found: tuple[Entry, ...]) -> list[tuple[Entry, Box]]:
    """The matches that there is room for, and the boxes of their lines in the pane."""
    left, top, width, height = _box(canvas, len(found))
    line = canvas.px(_LINE)
    room = max(0, (height - canvas.px(_HEAD)) // line)
    return [(entry, (left, top + canvas.px(_HEAD) + i * line, width, line)) for i, entry in enumerate(found[:room])]


def draw_palette(canvas: Canvas, scene: LoadingScene) -> None:
    """Draw the palette: what is typed, the matches with their kinds and keys; the one that Enter does is marked."""
    state, found, theme = scene.state, scene.found, canvas.theme
    panel, margin, size = canvas.part(_box(canvas, len(found))), canvas.px(12), canvas.px(15)
    panel.fill(theme.panel)
    typed = text.shorten(f"find: {(state.typing or '')[-200:]}▏", panel.width - 2 * margin, size)
    text.put(panel.image, typed, margin, canvas.px(6), size, theme.text)
    if not found:
        text.put(panel.image, _NOTHING, margin, canvas.px(_HEAD), canvas.px(13), theme.dim)
    picked = min(state.picked, len(found) - 1)
    for i, (entry, box) in enumerate(_rows(canvas, found)):
        pointed = isinstance(state.hover, Control) and state.hover.call == entry.call
        _draw_entry(canvas.part(box), entry, scene, i == picked, pointed)
    foot, small = panel.height - canvas.px(_FOOT), canvas.px(11)
    if len(found) * canvas.px(_LINE) <= foot - canvas.px(_HEAD):
        text.put(panel.image, _HINT, margin, foot + canvas.px(3), small, theme.dim)
    panel.frame((0, 0, panel.width, panel.height), theme.accent)


def _draw_entry(line: Canvas, entry: Entry, scene: LoadingScene, picked: bool, pointed: bool) -> None:
    theme, margin, size = line.theme, line.px(12), line.px(13)
    if picked or pointed:
        line.fill(theme.accent if picked else theme.line)
    ink, dim = (theme.on_accent, theme.on_accent) if picked else (theme.text, theme.dim)
    beside, weight = (entry.kind, 400) if entry.kind else (scene.keys.get(entry.call.partition("=")[0], ""), 600)
    beside = text.shorten(beside, line.width // 2, size, weight)
    end = line.width - margin - text.width(beside, size, weight)
    y = (line.height - text.line_height(size)) // 2
    text.put(line.image, beside, end, y, size, dim, weight)
    words = text.shorten(entry.words, end - 2 * margin, size)
    text.put(line.image, words, margin, y, size, ink, 600 if picked else 400)


def entry_at(canvas: Canvas, scene: LoadingScene, x: int, y: int) -> Control | None:
    """The match under a point of the pane; None if there is none."""
    for entry, box in _rows(canvas, scene.found):
        if contains(box, x, y):
            return Control(entry.call, entry.words)
    return None
