"""The help screen, and the prompt for a unit's id or a recipe's name."""

from __future__ import annotations

from itertools import combinations, pairwise

from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.scene import LoadingScene

Groups = dict[str, list[tuple[str, str]]]  # {group: its rows (keys, words)}


def draw_help(canvas: Canvas, scene: LoadingScene) -> None:
    """The table of keys."""
    body = canvas.caption("keys and mouse", "h closes")
    groups: Groups = {}
    for group, keys, words in scene.help:
        groups.setdefault(group, []).append((keys, words))
    size, columns = _help_columns(groups, body)
    width = body.width // len(columns)
    for i, names in enumerate(columns):
        part = body.part((i * width, 0, width, body.height))
        _draw_help_column(part, {name: groups[name] for name in names}, size)


def _help_columns(groups: Groups, canvas: Canvas) -> tuple[int, list[list[str]]]:
    """The font size and the groups in each column: as many columns, up to three, as allow the largest font."""
    choices = []
    for count in range(1, min(3, len(groups)) + 1):
        most, columns = _shared_out(groups, count)
        by_height = int((canvas.height - canvas.px(14)) / (most * 1.38))
        by_width = max(canvas.px(9), _widest(groups, canvas, canvas.width // count))  # not smaller: rather cut
        choices.append((max(min(canvas.px(14), by_height, by_width), 6), columns))
    return max(choices, key=lambda choice: choice[0])  # the first of equal ones


def _shared_out(groups: Groups, count: int) -> tuple[float, list[list[str]]]:
    """The groups in so many columns, in order, so that the longest column is as short as possible; and its lines."""
    names = list(groups)
    ways = []
    for cuts in combinations(range(1, len(names)), count - 1):
        columns = [names[first:last] for first, last in pairwise((0, *cuts, len(names)))]
        ways.append((max(sum(len(groups[name]) + 1.5 for name in column) for column in columns), columns))
    return min(ways, key=lambda way: way[0])


def _widest(groups: Groups, canvas: Canvas, room: int) -> int:
    """The font size at which the longest row fits in a column."""
    rows, size = [row for group in groups.values() for row in group], canvas.px(14)
    keys = max((text.width(keys, size, 600) for keys, _ in rows), default=0)
    words = max((text.width(words, size) for _, words in rows), default=0)
    return int(size * (room - canvas.px(46)) / max(1, keys + words))


def _draw_help_column(body: Canvas, groups: Groups, size: int) -> None:
    step, y = text.line_height(size), body.px(10)
    keys = [keys for rows in groups.values() for keys, _ in rows]
    key_column = body.px(24) + max((text.width(k, size, 600) for k in keys), default=0) + body.px(14)
    for group, rows in groups.items():
        text.put(body.image, group, body.px(12), y, size, body.theme.accent, 600)
        y += step
        for names, words in rows:
            text.put(body.image, names, body.px(24), y, size, body.theme.text, 600)
            words = text.shorten(words, body.width - key_column - body.px(6), size)
            text.put(body.image, words, key_column, y, size, body.theme.text)
            y += step
        y += step // 2


UNIT_PROMPT = ("go to unit", "type layer:number or layer:class; Enter selects it, Esc cancels")
NAME_PROMPT = ("name of the recipe", "Enter saves the chosen settings, Esc cancels")


def draw_prompt(canvas: Canvas, typed: str, what: str, hint: str) -> None:
    """Draw the line that the user types, with `what` it is before it and a hint below it."""
    size, margin = canvas.px(18), canvas.px(24)
    room = canvas.width - 2 * margin
    line = f"{what}: {typed}▏"
    while typed and text.width(line, size) > room:  # cut the beginning: the user types at the end
        typed = typed[1:]
        line = f"{what}: …{typed}▏"
    hint = text.shorten(hint, room, canvas.px(12))
    width = min(canvas.width, max(text.width(line, size), text.width(hint, canvas.px(12))) + 2 * margin)
    height = min(canvas.height, canvas.px(74))
    box = ((canvas.width - width) // 2, (canvas.height - height) // 2, width, height)
    panel = canvas.part(box)
    panel.fill(panel.theme.panel)
    panel.frame((0, 0, panel.width, panel.height), panel.theme.accent, 2)
    text.put(panel.image, line, margin, panel.px(12), size, panel.theme.text)
    text.put(panel.image, hint, margin, panel.px(44), panel.px(12), panel.theme.dim)
