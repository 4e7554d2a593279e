"""The panes. Each is a function that draws it, one that names all it depends on, and one that
says whether there is something new to draw at all.

A pane whose answer has not come yet keeps its picture and its title, which belong together, until
the answer comes or the network is so slow that the pane has to say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from deepvis.geometry import Box, cut, resize_for_screen
from deepvis.grid import Grid, make_grid
from deepvis.layers import unit_id
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import draw_maps
from deepvis.render.scene import Scene
from deepvis.state import BOOSTS, GAMMAS, State


@dataclass(frozen=True)
class Pane:
    """One pane: `draw` on a canvas; redrawn when `key` changes, and only while `ready`."""

    draw: Callable[[Canvas, Scene], None]
    key: Callable[[Scene], tuple]
    ready: Callable[[Scene], bool] = lambda scene: True


# ---- input ----------------------------------------------------------------------------------

TOP = 5


def _shown_frame(scene: Scene):
    """The picture that the other panes speak of; the newest one while the network is slow."""
    return scene.result.request.frame if scene.result and not scene.busy else scene.frame


def _input_key(scene: Scene) -> tuple:
    s = scene.state
    return (id(_shown_frame(scene)), id(scene.result), s.crop, s.frozen, s.predictions, scene.waiting, bool(scene.layers))


def draw_input(canvas: Canvas, scene: Scene) -> None:
    """The picture as the network gets it, with the most likely classes under it (or over it)."""
    canvas.fill()
    frame, state = _shown_frame(scene), scene.state
    if frame is None:
        canvas.caption("input").words(scene.waiting or "no picture yet")
        return
    marks = [mark for mark, on in (("frozen", state.frozen), ("stretched", not state.crop)) if on]
    body = canvas.caption(frame.name, " · ".join(marks))
    line = text.line_height(body.px(12)) + body.px(2)
    bars = TOP * line + body.px(6) if state.predictions else 0
    beside = body.height - bars >= 0.6 * body.width
    side = min(body.width, body.height - (bars if beside else 0))
    left = (body.width - side) // 2
    picture = resize_for_screen(cut(frame.image, 1.0, state.crop), side, side)
    body.image[:side, left : left + side] = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if state.predictions:
        box = (0, body.height - bars, body.width, bars)
        if not beside:
            body.shade(box)
        _draw_predictions(body.part(box), scene, frame, line)


def _draw_predictions(canvas: Canvas, scene: Scene, frame, line: int) -> None:
    result = scene.result
    if result is None or result.scores is None or result.request.frame is not frame:
        if scene.layers and not (result and result.scores is not None):
            failed = result and result.error
            why = "waiting for the network" if not result else "the network failed" if failed else "this network has none"
            canvas.words(f"class predictions: {why}")
        return
    scores = result.scores
    best = np.argsort(scores)[::-1][:TOP]
    size, margin = canvas.px(12), canvas.px(6)
    for i, unit in enumerate(best):
        y = canvas.px(3) + i * line
        value = float(scores[unit])
        length = round(min(max(value, 0), 1) * (canvas.width - 2 * margin))
        canvas.bar((margin, y, length, line - canvas.px(2)), (104, 78, 40))
        name = scene.classes[unit] if unit < len(scene.classes) else f"class {unit}"
        color = colors.TEXT if i == 0 else (196, 192, 190)
        text.put(canvas.image, text.shorten(name, canvas.width - canvas.px(62), size), margin + canvas.px(4), y, size, color)
        shown = f"{value:.2f}"
        text.put(canvas.image, shown, canvas.width - margin - canvas.px(4) - text.width(shown, size), y, size, color)


# ---- layer list -----------------------------------------------------------------------------


@lru_cache(maxsize=64)
def layer_boxes(names: tuple[str, ...], current: int, width: int, height: int, scale: float) -> tuple[Box | None, ...]:
    """Where each layer's name stands in the list's pane; None for those scrolled out of sight."""
    px = lambda v: max(1, round(v * scale))
    size, row_height, gap = px(13), px(25), px(3)
    x, row, places = px(4), 0, []
    for name in names:
        w = max(text.width(name, size) + px(16), text.width(name, size, 600) + px(10))  # the current one is bold
        w = min(w, width - px(8))
        if x + w > width - px(4) and x > px(4):
            x, row = px(4), row + 1
        places.append((x, row, w))
        x += w + gap
    visible = max(1, height // row_height)
    rows = row + 1
    first = min(max(0, places[current][1] - visible // 2), max(0, rows - visible))
    top = max(0, (height - min(rows, visible) * row_height) // 2)
    return tuple(
        (x, top + (row - first) * row_height + px(2), w, row_height - px(4)) if first <= row < first + visible else None
        for x, row, w in places
    )


def _layers_key(scene: Scene) -> tuple:
    s = scene.state
    hover = s.hover.layer if s.hover and s.hover.unit is None else None
    return (id(scene.layers), s.layer, s.in_channels, s.origin, hover)


def draw_layers(canvas: Canvas, scene: Scene) -> None:
    """The layers' names in network order; the current one marked, bright while the cursor is here."""
    canvas.fill()
    if not scene.layers:
        canvas.words("layers")
        return
    state, size = scene.state, canvas.px(13)
    names = tuple(layer.name for layer in scene.layers)
    for i, box in enumerate(layer_boxes(names, state.layer, canvas.width, canvas.height, canvas.scale)):
        if box is None:
            continue
        left, top, width, height = box
        current = i == state.layer
        fill = (colors.ACCENT if not state.in_channels else (44, 96, 128)) if current else colors.PANEL
        canvas.bar(box, fill)
        ink = (20, 20, 20) if current and not state.in_channels else colors.TEXT
        weight = 600 if current else 400
        name = text.shorten(names[i], width - canvas.px(8), size, weight)
        text.put(canvas.image, name, left + canvas.px(8), top + canvas.px(1), size, ink, weight)
        if state.origin and state.origin[0] == i:
            canvas.frame(box, colors.FROZEN, 2)
        elif state.hover and state.hover.unit is None and state.hover.layer == i:
            canvas.frame(box, colors.DIM)


# ---- layer ----------------------------------------------------------------------------------


def layer_grid(scene: Scene, width: int, height: int) -> Grid:
    """The grid of the current layer in a picture of that size."""
    layer = scene.layer
    return make_grid(layer.units, layer.height, layer.width, width, height, scene.state.view)


def _needs(state: State) -> str:
    """Which answer the big pane shows: "help", "pattern", "backward", "gradient" or "activations"."""
    if state.help:
        return "help"
    if state.zoom == "backward":
        return "backward"
    if state.pattern:
        return "pattern"
    return "gradient" if state.layer_gradient else "activations"


def _layer_ready(scene: Scene) -> bool:
    if not scene.layers or scene.busy or (scene.result and scene.result.error):
        return True
    have = {"backward": scene.shows_backward, "gradient": scene.shows_layer_gradient, "activations": scene.shows_layer}
    return have.get(_needs(scene.state), True)


def _layer_key(scene: Scene) -> tuple:
    s = scene.state
    hover = s.hover.unit if s.hover and s.hover.layer == s.layer else None
    return (
        id(scene.result), _layer_ready(scene) and scene.busy, scene.waiting, _needs(s), s.layer, s.unit, s.in_channels,
        s.zoom, s.gamma, s.boost, s.view, s.method, s.filter, s.origin, hover, s.typing, id(scene.layers),
    )  # fmt: skip


def draw_layer(canvas: Canvas, scene: Scene) -> None:
    """All channels of the current layer, or what zoom, pattern mode and help put in their place."""
    canvas.fill()
    if not scene.layers:
        canvas.words(scene.waiting or "no network", size=15)
    else:
        _BIG[_needs(scene.state)](canvas, scene)
    if scene.state.typing is not None:
        _draw_prompt(canvas, scene.state.typing)


def _draw_activations(canvas: Canvas, scene: Scene) -> None:
    layer = scene.layer
    if not scene.shows_layer:
        canvas.caption(layer.name).words(_why_not(scene), size=15)
        return
    if scene.state.zoom == "unit":
        _draw_unit(canvas, scene)
        return
    maps = scene.result.activations
    low, high = float(maps.min()), float(maps.max())
    body = canvas.caption(f"{layer.name}   {layer.kind}   {_extent_text(layer)}", f"{number(low)} … {number(high)}")
    _draw_grid(body, scene, maps, gradient=False)


def _extent_text(layer) -> str:
    return f"{layer.units} units of {layer.width}×{layer.height}" if layer.is_map else f"{layer.units} units"


def _draw_layer_gradient(canvas: Canvas, scene: Scene) -> None:
    layer = scene.layer
    title = f"{layer.name}   {scene.state.method} from {scene.origin_unit}"
    if not scene.shows_layer_gradient:
        canvas.caption(title).words(_why_not(scene), size=15)
        return
    values = scene.result.layer_gradient
    if values is None:
        canvas.caption(title).words(
            f"{layer.name} comes after {scene.origin_unit}, where the backward pass starts: nothing flows here. "
            f"Go to an earlier layer, or press d to let the origin follow the selection.", size=15
        )  # fmt: skip
        return
    low, high = float(values.min()), float(values.max())
    body = canvas.caption(title, f"{number(low)} … {number(high)}")
    _draw_grid(body, scene, values, gradient=True)


def _finite(maps: np.ndarray) -> np.ndarray:
    """The maps with NaN and infinity as zero."""
    return maps if np.isfinite(maps).all() else np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)


def _draw_grid(canvas: Canvas, scene: Scene, maps: np.ndarray, gradient: bool) -> None:
    state, layer, maps = scene.state, scene.layer, _finite(maps)
    grid = layer_grid(scene, canvas.width, canvas.height)
    draw_maps(canvas.image, maps, grid, GAMMAS[state.gamma], BOOSTS[state.boost], gradient)
    if layer.labels:
        _draw_labels(canvas, scene, maps[:, 0, 0], grid)
    if state.hover and state.hover.layer == state.layer and state.hover.unit is not None:
        canvas.frame(_around(grid.box(state.hover.unit)), (235, 235, 235))
    if state.origin and state.origin[0] == state.layer:
        canvas.frame(_around(grid.box(state.origin[1])), colors.FROZEN, 2)
    strong = colors.ACCENT if state.in_channels else (60, 130, 175)
    canvas.frame(_around(grid.box(state.unit)), strong, 2)


def _around(box: Box) -> Box:
    """A cell with the line before it, so that a frame does not hide the map's first row and column."""
    left, top, width, height = box
    return left - 1, top - 1, width + 1, height + 1


def _draw_labels(canvas: Canvas, scene: Scene, values: np.ndarray, grid: Grid) -> None:
    """Names in the cells if they are large enough, else beside the strongest."""
    size, labels = canvas.px(11), scene.layer.labels
    if grid.cell_width >= canvas.px(66) and grid.cell_height >= canvas.px(24):
        for unit, name in enumerate(labels):
            left, top, width, height = grid.box(unit)
            if left + width > 0 and top + height > 0 and left < canvas.width and top < canvas.height:
                bright = values[unit] > 0.55 * values.max()
                ink = (20, 20, 20) if bright else (205, 200, 196)
                name = text.shorten(name, width - canvas.px(8), size)
                text.put(canvas.image, name, left + canvas.px(4), top + canvas.px(3), size, ink)
        return
    taken: list[Box] = []
    for unit in np.argsort(values)[::-1][:TOP]:
        left, top, width, height = grid.box(int(unit))
        name = text.shorten(scene.layer.label(int(unit)), canvas.px(180), size)
        w, h = text.width(name, size) + canvas.px(8), text.line_height(size) + canvas.px(2)
        x = left + width + canvas.px(2)
        x = x if x + w < canvas.width else left - w - canvas.px(2)
        y = min(max(0, top + (height - h) // 2), canvas.height - h)
        free = all(x + w < a or a + c < x or y + h < b or b + d < y for a, b, c, d in taken)
        if name and 0 <= x and x + w <= canvas.width and 0 <= top < canvas.height and free:
            taken.append((x, y, w, h))
            canvas.bar((x, y, w, h), colors.PANEL)
            text.put(canvas.image, name, x + canvas.px(4), y + canvas.px(1), size, colors.TEXT)


def _draw_pattern(canvas: Canvas, scene: Scene) -> None:
    canvas.caption(f"{scene.layer.name}   preferred images").words(
        f"Pattern mode shows each unit's preferred image in its cell. None have been synthesized for "
        f"{scene.status.model or 'this network'} yet. Press s for the activations.", size=15
    )  # fmt: skip


def _draw_prompt(canvas: Canvas, typed: str) -> None:
    size, margin = canvas.px(18), canvas.px(24)
    room = canvas.width - 2 * margin
    line = f"go to unit: {typed}▏"
    while typed and text.width(line, size) > room:  # the end is where one types
        typed = typed[1:]
        line = f"go to unit: …{typed}▏"
    hint = text.shorten("layer:number or layer:class, Enter goes, Esc leaves", room, canvas.px(12))
    width = min(canvas.width, max(text.width(line, size), text.width(hint, canvas.px(12))) + 2 * margin)
    height = min(canvas.height, canvas.px(74))
    box = ((canvas.width - width) // 2, (canvas.height - height) // 2, width, height)
    panel = canvas.part(box)
    panel.fill(colors.PANEL)
    panel.frame((0, 0, panel.width, panel.height), colors.ACCENT, 2)
    text.put(panel.image, line, margin, panel.px(12), size, colors.TEXT)
    text.put(panel.image, hint, margin, panel.px(44), panel.px(12), colors.DIM)


def _draw_help(canvas: Canvas, scene: Scene) -> None:
    body = canvas.caption("keys and mouse", "h closes")
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, keys, words in scene.help:
        groups.setdefault(group, []).append((keys, words))
    size, columns = _help_columns(groups, body)
    width = body.width // len(columns)
    for i, names in enumerate(columns):
        part = body.part((i * width, 0, width, body.height))
        _draw_help_column(part, {name: groups[name] for name in names}, size)


def _help_columns(groups: dict[str, list], canvas: Canvas) -> tuple[int, list[list[str]]]:
    """The size of the letters and the groups in each column: one column, or two where one would be too small."""
    lines = {name: len(rows) + 1.5 for name, rows in groups.items()}
    half = len(lines)
    while half > 1 and sum(list(lines.values())[:half]) > 0.55 * sum(lines.values()):
        half -= 1
    names = list(lines)
    choices = []
    for columns in ([names], [names[:half], names[half:]]):
        most = max(sum(lines[name] for name in column) for column in columns)
        size = min(canvas.px(14), int((canvas.height - canvas.px(14)) / (most * 1.38)))
        choices.append((max(size, 6), columns))
    return choices[0] if choices[0][0] >= canvas.px(9) else choices[1]


def _draw_help_column(body: Canvas, groups: dict[str, list[tuple[str, str]]], size: int) -> None:
    step, y = text.line_height(size), body.px(10)
    keys = [keys for rows in groups.values() for keys, _ in rows]
    key_column = body.px(24) + max((text.width(k, size, 600) for k in keys), default=0) + body.px(14)
    for group, rows in groups.items():
        text.put(body.image, group, body.px(12), y, size, colors.ACCENT, 600)
        y += step
        for keys, words in rows:
            text.put(body.image, keys, body.px(24), y, size, colors.TEXT, 600)
            words = text.shorten(words, body.width - key_column - body.px(6), size)
            text.put(body.image, words, key_column, y, size, colors.TEXT)
            y += step
        y += step // 2


def _why_not(scene: Scene) -> str:
    """Words for a pane whose answer is not there."""
    if scene.result is not None and scene.result.error:
        return f"the network failed: {scene.result.error}"
    if scene.frame is None:
        return scene.waiting or "no picture yet"
    return "the network is computing …"


# ---- unit -----------------------------------------------------------------------------------


def _unit_ready(scene: Scene) -> bool:
    return scene.shows_layer or scene.busy or not scene.layers or bool(scene.result and scene.result.error)


def _unit_key(scene: Scene) -> tuple:
    s = scene.state
    return (id(scene.result), _unit_ready(scene) and scene.busy, s.layer, s.unit, s.gamma, s.boost, scene.waiting, id(scene.layers))


def _draw_unit(canvas: Canvas, scene: Scene) -> None:
    canvas.fill()
    if not scene.layers:
        canvas.caption("unit").words("the selected unit enlarged")
        return
    layer, unit = scene.layer, scene.state.unit
    if not scene.shows_layer:
        canvas.caption(scene.unit).words(_why_not(scene))
        return
    values = scene.channel
    label = layer.label(unit)
    body = canvas.caption(scene.unit, f"max {number(float(values.max()))}" if layer.is_map else "")
    if not layer.is_map:
        body.words(f"{label}\n{number(float(values[0, 0]))}".strip(), colors.TEXT, 20)
        return
    maps = _finite(scene.result.activations)
    signed = colors.is_signed(maps)
    limit = colors.limits(maps, BOOSTS[scene.state.boost])[unit]
    levels = colors.to_levels(maps[unit] / limit, signed, GAMMAS[scene.state.gamma])
    body.picture(colors.paint(levels, signed), exact=True)


# ---- backward -------------------------------------------------------------------------------


def _backward_ready(scene: Scene) -> bool:
    off = scene.state.method is None or not scene.layers
    return off or scene.shows_backward or scene.busy or bool(scene.result and scene.result.error)


def _backward_key(scene: Scene) -> tuple:
    s = scene.state
    if s.method is None or not scene.layers:
        return (None, bool(scene.layers))
    return (id(scene.result), _backward_ready(scene) and scene.busy, s.method, s.filter, s.backward_origin, s.origin)


def draw_backward(canvas: Canvas, scene: Scene) -> None:
    """The backward image of the origin unit."""
    canvas.fill()
    state = scene.state
    if state.method is None or not scene.layers:
        canvas.caption("backward").words("which pixels excite the unit\n\nb: gradient, deconv, guided backprop\nm: how it is shown")
        return
    frozen = "frozen" if state.origin else ""
    title = f"{state.method} from {scene.origin_unit}"
    body = canvas.caption(title, f"{frozen + ' · ' if frozen else ''}{state.filter}", colors.FROZEN if frozen else colors.TEXT)
    if not scene.shows_backward:
        body.words(_why_not(scene))
        return
    pixels = scene.result.pixels
    if not np.isfinite(pixels).all():
        body.words("the backward pass gave NaN or infinite values")
    elif not pixels.any():
        body.words(f"nothing flows back from {scene.origin_unit}: all paths to the pixels are inactive in this picture")
    else:
        body.picture(colors.backward_image(pixels, state.filter))


# ---- unit images ----------------------------------------------------------------------------

_BLOCKS = (
    ("synthesized", "images made by the network for this unit"),
    ("top images", "the images of a data set that excite this unit most"),
    ("deconv of the top images", "what in these images excites the unit"),
)


def _unit_images_key(scene: Scene) -> tuple:
    return (scene.state.unit_images, scene.unit)


def draw_unit_images(canvas: Canvas, scene: Scene) -> None:
    """Three blocks of nine: synthesized images, top images, deconv of the top images."""
    canvas.fill()
    if not scene.state.unit_images:
        canvas.words("unit images are off\n9 shows them")
        return
    edges = [round(i * canvas.height / len(_BLOCKS)) for i in range(len(_BLOCKS) + 1)]
    for (title, what), top, bottom in zip(_BLOCKS, edges, edges[1:]):
        block = canvas.part((0, top, canvas.width, bottom - top - canvas.px(2)))
        body = block.caption(title, scene.unit)
        body.words(f"{what}\n\nnone yet: this version of deepvis does not compute them")


# ---- status ---------------------------------------------------------------------------------


def number(value: float) -> str:
    """A value in few characters."""
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.2f}".replace("-", "−")
    return f"{value:.1e}".replace("-", "−")


def _hover_text(scene: Scene) -> str:
    hover = scene.state.hover
    if hover is None or hover.layer >= len(scene.layers):
        return ""
    layer = scene.layers[hover.layer]
    if hover.unit is None:
        return f"{layer.name}: {layer.kind}, {_extent_text(layer)}"
    words = unit_id(layer.name, hover.unit)
    if layer.label(hover.unit):
        words += f" {layer.label(hover.unit)}"
    if scene.shows_layer and hover.layer == scene.state.layer:
        values = scene.result.activations[hover.unit]
        words += f"   {'max ' if layer.is_map else ''}{number(float(values.max()))}"
        words += f"   mean {number(float(values.mean()))}" if layer.is_map else ""
    return words


def _status_key(scene: Scene) -> tuple:
    s = scene.state
    selection = (s.layer, s.unit, s.method, s.filter, s.origin, s.gamma, s.boost, s.layer_gradient, s.pattern, s.zoom)
    return (selection, _field_text(scene), _hover_text(scene), scene.status, scene.busy, s.message, s.message_is_error, id(scene.layers), s.debug)


def _field_text(scene: Scene) -> str:
    field = scene.result.receptive_field if scene.shows_layer else None
    return f"receptive field {field.text}" if field else ""


def _facts(scene: Scene) -> list[str]:
    s, layer = scene.state, scene.layer
    words = [layer.label(s.unit), layer.shape_text, _field_text(scene)]
    if s.method:
        words.append(f"{s.method}, {s.filter}" + (f", origin {scene.origin_unit} frozen" if s.origin else ""))
    if s.layer_gradient:
        words.append("backward values")
    if s.gamma:
        words.append(f"gamma {GAMMAS[s.gamma]:g}")
    if s.boost:
        words.append(f"boost {BOOSTS[s.boost]:g}")
    return [w for w in words if w]


def draw_status(canvas: Canvas, scene: Scene) -> None:
    """What is shown, how fast, and the last message; in one line where the pane is low."""
    canvas.fill(colors.PANEL)
    status, size, margin = scene.status, min(canvas.px(13), max(1, int(canvas.height / 1.4))), canvas.px(8)
    low = canvas.height < canvas.px(23) + text.line_height(size)
    words, color = _second_line(scene)
    rates = [
        f"network {status.network_rate:.0f}/s" if status.network_rate is not None else "",
        f"screen {status.screen_rate:.0f}/s" if status.screen_rate is not None else "",
        status.model, status.device,
    ]  # fmt: skip
    right = "" if low and words else text.shorten(" · ".join(r for r in rates if r), canvas.width // 2, size)
    end = canvas.width - margin - text.width(right, size)
    y = max(0, (canvas.height - text.line_height(size)) // 2) if low else canvas.px(3)
    text.put(canvas.image, right, end, y, size, colors.DIM)
    x = margin
    for mark, on, ink in (("● REC", status.recording, colors.BAD), ("busy …", scene.busy, colors.ACCENT)):
        if on:
            x = text.put(canvas.image, mark, x, y, size, ink, 600) + canvas.px(14)
    if scene.layers:
        unit = text.shorten(scene.unit, max(0, end - x - margin), size, 600)
        x = text.put(canvas.image, unit, x, y, size, colors.ACCENT, 600) + canvas.px(14)
    if low and words:
        text.put(canvas.image, text.shorten(words, max(0, end - x), size), x, y, size, color)
        return
    if scene.layers:
        facts = text.shorten("  ·  ".join(_facts(scene)), max(0, end - x - margin), size)
        text.put(canvas.image, facts, x, y, size, colors.TEXT)
    if not low:
        words, color = (words, color) if words else ("h  help", colors.DIM)
        text.put(canvas.image, text.shorten(words, canvas.width - 2 * margin, size), margin, canvas.px(23), size, color)


def _second_line(scene: Scene) -> tuple[str, text.Color]:
    """One thing at a time: an error, what the mouse points at, a message, or timings."""
    s, status = scene.state, scene.status
    if s.message:
        return s.message, colors.BAD if s.message_is_error else colors.TEXT
    if status.is_error:
        return status.message, colors.BAD
    hover = _hover_text(scene)
    if hover:
        return hover, colors.TEXT
    if s.debug and status.timings:
        return status.timings, colors.DIM
    return status.message, colors.TEXT


_BIG: dict[str, Callable[[Canvas, Scene], None]] = {
    "help": _draw_help,
    "pattern": _draw_pattern,
    "backward": draw_backward,
    "gradient": _draw_layer_gradient,
    "activations": _draw_activations,
}

PANES: dict[str, Pane] = {
    "input": Pane(draw_input, _input_key),
    "layers": Pane(draw_layers, _layers_key),
    "layer": Pane(draw_layer, _layer_key, _layer_ready),
    "unit": Pane(_draw_unit, _unit_key, _unit_ready),
    "backward": Pane(draw_backward, _backward_key, _backward_ready),
    "unit_images": Pane(draw_unit_images, _unit_images_key),
    "status": Pane(draw_status, _status_key),
}
