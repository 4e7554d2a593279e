"""The big pane: all units of the layer, or what zoom and help put in their place."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from deepvis.attribution.methods import label
from deepvis.core.geometry import Box, resize_for_screen
from deepvis.interface.state import BOOSTS, GAMMAS, Hover, State
from deepvis.interface.unit_grid import Grid, make_grid
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import line_width, look, mosaic
from deepvis.render.panes.backward import draw_backward
from deepvis.render.panes.overlays import NAME_PROMPT, UNIT_PROMPT, draw_help, draw_prompt
from deepvis.render.panes.pane import Pane, extent_text, number, why_not
from deepvis.render.panes.recipe_grid import draw_recipe_grid
from deepvis.render.panes.statistics import (
    brightest,
    draw_histogram,
    draw_histograms,
    draw_matrix,
    draw_partners,
    has_matrix,
    histogram_words,
    nearest_words,
)
from deepvis.render.panes.unit import draw_unit
from deepvis.render.panes.unit_images import draw_images
from deepvis.render.scene import Scene
from deepvis.scan.results import Statistics
from deepvis.workers.messages import Cells, UnitPictures

TOP = 5  # how many of the strongest units are named where the cells are too small for names


def layer_grid(scene: Scene, width: int, height: int, scale: float) -> Grid:
    """The grid of the current layer, on the page of the selected unit, in a picture of that size."""
    layer, state = scene.layer, scene.state
    return make_grid(layer.units, layer.height, layer.width, width, height, state.view, state.unit, scale)


def _needs(state: State) -> str:
    """What the big pane shows: "help", "desk", "backward", "gradient" or one of CONTENTS."""
    if state.help:
        return "help"
    if state.recipe_grids:
        return "desk"
    if state.zoom == "backward":
        return "backward"
    return "gradient" if state.layer_gradient and state.content == "activations" else state.content


def shows_units(scene: Scene) -> bool:
    """There is something of each unit in the big pane, and not words for why there is not."""
    content, statistics = scene.state.content, scene.own_statistics
    if content == "synthesized":
        return bool(scene.pictures and scene.pictures.layer == scene.pictures_of and scene.pictures.known)
    if content == "top images":
        return bool(scene.own_cells and not scene.own_cells.note)
    if content == "histograms":
        return bool(statistics and not statistics.note)
    return content == "activations" or has_matrix(scene)


def _layer_ready(scene: Scene) -> bool:
    if not scene.layers or scene.busy or (scene.result and scene.result.error):
        return True
    have = {"backward": scene.shows_backward, "gradient": scene.shows_layer_gradient, "activations": scene.shows_layer}
    return have.get(_needs(scene.state), True)


def _layer_key(scene: Scene) -> tuple:
    s = scene.state
    hover = scene.hover if isinstance(scene.hover, Hover) and scene.hover.layer == s.layer else None
    return (
        id(scene.result), _layer_ready(scene) and scene.busy, scene.waiting, _needs(s), s.layer, s.unit, s.in_channels,
        s.zoom, s.gamma, s.boost, s.view, s.method, s.filter, s.origin, hover, s.typing, id(scene.layers),
        id(scene.pictures) if s.content == "synthesized" else 0, id(scene.own_cells) if s.content == "top images" else 0,
        id(scene.own_statistics), s.moments, id(scene.own_tops) if s.content == "top images" and s.zoom == "unit" else 0,
        s.recipe_grids, id(scene.own_recipe_grid), s.naming,
    )  # fmt: skip


def draw_layer(canvas: Canvas, scene: Scene) -> None:
    """All units of the current layer, or what zoom and help put in their place."""
    canvas.fill()
    if not scene.layers and not scene.state.help:
        canvas.caption("units of the layer").words(scene.waiting or "no network", size=15)
    else:
        _BIG[_needs(scene.state)](canvas, scene)
    if scene.state.typing is not None:
        draw_prompt(canvas, scene.state.typing, *(NAME_PROMPT if scene.state.naming else UNIT_PROMPT))


def _draw_activations(canvas: Canvas, scene: Scene) -> None:
    layer = scene.layer
    if not scene.shows_layer:
        canvas.caption(layer.name).words(why_not(scene), size=15)
        return
    if scene.state.zoom == "unit":
        draw_unit(canvas, scene)
        return
    seen = look(scene.result)
    sign = "blue < 0   " if seen.signed else ""
    body = canvas.caption(
        f"{layer.name}   {layer.kind}   {_extent(canvas, scene)}", f"{sign}{number(seen.low)} … {number(seen.high)}"
    )
    _draw_grid(body, scene, gradient=False)


def _extent(canvas: Canvas, scene: Scene) -> str:
    """How many units of which size; which of them are on the page, if not all."""
    layer, page = scene.layer, _page(canvas, scene)
    size = f" of {layer.width}×{layer.height}" if layer.is_map else ""
    return page.replace("   ", f"{size}   ", 1) if page else extent_text(layer)


def _page(canvas: Canvas, scene: Scene) -> str:
    grid = layer_grid(scene, canvas.width, canvas.height - canvas.px_caption, canvas.scale)
    units = scene.layer.units
    if grid.count == units:
        return ""
    return f"units {grid.first:,}–{grid.units[-1]:,} of {units:,}   keys , . turn the page"


def _draw_layer_gradient(canvas: Canvas, scene: Scene) -> None:
    layer = scene.layer
    title = f"{layer.name}   {label(scene.state.method)} from {scene.origin_unit}"
    if not scene.shows_layer_gradient:
        canvas.caption(title).words(why_not(scene), size=15)
        return
    if scene.result.layer_gradient is None:
        canvas.caption(title).words(
            f"{layer.name} comes after {scene.origin_unit}, where the backward pass starts: nothing flows here. "
            f"Go to an earlier layer, or press d to let the origin follow the selection.", size=15
        )  # fmt: skip
        return
    seen = look(scene.result, gradient=True)
    body = canvas.caption(
        f"{title}   {_page(canvas, scene)}", f"green > 0, red < 0   {number(seen.low)} … {number(seen.high)}"
    )
    _draw_grid(body, scene, gradient=True)


def _draw_grid(canvas: Canvas, scene: Scene, gradient: bool) -> None:
    state, layer = scene.state, scene.layer
    grid = layer_grid(scene, canvas.width, canvas.height, canvas.scale)
    gamma, boost = GAMMAS[state.gamma], BOOSTS[state.boost]
    canvas.image[:] = mosaic(scene.result, gradient, grid, canvas.width, canvas.height, gamma, boost)
    if layer.labels:
        _draw_labels(canvas, scene, look(scene.result, gradient).maps[:, 0, 0], grid)
    _draw_marks(canvas, scene, grid)


def _draw_marks(canvas: Canvas, scene: Scene, grid: Grid) -> None:
    """Frames about what is pointed at, what is selected, and where the backward pass starts."""
    state, hover = scene.state, scene.hover
    if isinstance(hover, Hover) and hover.layer == state.layer and hover.unit in grid.units:
        canvas.frame(_around(grid.box(hover.unit)), (235, 235, 235))
    strong = colors.ACCENT if state.in_channels else (60, 130, 175)
    canvas.frame(_around(grid.box(state.unit)), strong, 2)
    if (
        state.origin and state.origin[0] == state.layer and state.origin[1] in grid.units
    ):  # inside the selection's frame, so that both are seen
        left, top, width, height = _around(grid.box(state.origin[1]))
        inset = canvas.px(2)
        canvas.frame((left + inset, top + inset, width - 2 * inset, height - 2 * inset), colors.FROZEN, 2)


def _around(box: Box) -> Box:
    """A cell with the line before it, so that a frame does not hide the map's first row and column."""
    left, top, width, height = box
    return left - 1, top - 1, width + 1, height + 1


def _draw_labels(canvas: Canvas, scene: Scene, values: np.ndarray, grid: Grid) -> None:
    """Names in the cells if they are large enough, else beside the strongest."""
    size, layer = canvas.px(11), scene.layer
    if grid.cell_width >= canvas.px(66) and grid.cell_height >= canvas.px(24):
        for unit in grid.units:
            name, (left, top, width, height) = layer.label(unit), grid.box(unit)
            if left + width > 0 and top + height > 0 and left < canvas.width and top < canvas.height:
                bright = values[unit] > 0.55 * values.max()
                ink = (20, 20, 20) if bright else (205, 200, 196)
                name = text.shorten(name, width - canvas.px(8), size)
                text.put(canvas.image, name, left + canvas.px(4), top + canvas.px(3), size, ink)
        return
    taken: list[Box] = []
    for cell in np.argsort(values[grid.first : grid.first + grid.count])[::-1][:TOP]:
        unit = grid.first + int(cell)
        left, top, width, height = grid.box(unit)
        name = text.shorten(layer.label(unit), canvas.px(180), size)
        w, h = text.width(name, size) + canvas.px(8), text.line_height(size) + canvas.px(2)
        x = left + width + canvas.px(2)
        x = x if x + w < canvas.width else left - w - canvas.px(2)
        y = min(max(0, top + (height - h) // 2), canvas.height - h)
        free = all(x + w < a or a + c < x or y + h < b or b + d < y for a, b, c, d in taken)
        if name and 0 <= x and x + w <= canvas.width and 0 <= top < canvas.height and free:
            taken.append((x, y, w, h))
            canvas.bar((x, y, w, h), colors.PANEL)
            text.put(canvas.image, name, x + canvas.px(4), y + canvas.px(1), size, colors.TEXT)


def _draw_synthesized(canvas: Canvas, scene: Scene) -> None:
    """Each unit's preferred image in its cell; the selected unit's, as large as it goes, in unit zoom."""
    layer, pictures = scene.layer, scene.pictures
    title = f"{layer.name}   synthesized   {_page(canvas, scene)}"
    if pictures is None or pictures.layer != scene.pictures_of:
        canvas.caption(title).words("looking …", size=15)
        return
    if scene.state.zoom == "unit" and scene.own_pictures and scene.own_pictures.synthesized:
        draw_images(canvas.caption(f"{scene.unit}   synthesized"), scene.own_pictures.synthesized)
        return
    if not pictures.known:
        why = pictures.note or f"None have been synthesized for layer {layer.name} yet."
        canvas.caption(title).words(
            f"Each unit's preferred image, in its cell. {why} deepvis synthesize --model "
            f"{scene.status.model} --layer {scene.pictures_of} makes them; x makes the selected unit's now. "
            f"Press s for the next view.", size=15
        )  # fmt: skip
        return
    _draw_cells(canvas.caption(title, f"{len(pictures.cells)} stored"), scene, pictures)


def _draw_tops(canvas: Canvas, scene: Scene) -> None:
    """What each unit answered to most, in its cell."""
    cells = scene.own_cells
    what = "strongest moment" if scene.state.moments else "top image"
    title = f"{scene.layer.name}   {what} of each unit   {_page(canvas, scene)}"
    if cells is None or cells.note:
        _say_why(canvas.caption(title), "The picture that excites each unit most, in its cell.", cells)
        return
    patches = [patch for patch in scene.own_tops.patches if patch.pixels is not None] if scene.own_tops else []
    if scene.state.zoom == "unit" and patches:
        width, height = patches[0].box[2:]
        factor = max(canvas.width, canvas.height) / 3 / max(width, height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        draw_images(
            canvas.caption(f"{scene.unit}   {what}s"), [resize_for_screen(patch.pixels, *size) for patch in patches]
        )
        return
    body = canvas.caption(title, f"{len(cells.dead):,} dead" if cells.dead else "")
    _draw_cells(body, scene, cells)


def _draw_histograms(canvas: Canvas, scene: Scene) -> None:
    """How often each unit answers how much."""
    statistics, zoomed = scene.own_statistics, scene.state.zoom == "unit"
    title = f"{scene.unit if zoomed else scene.layer.name}   {'histogram' if zoomed else 'histograms'}"
    if statistics is None or statistics.note:
        _say_why(canvas.caption(title), "How often each unit answers how much: a histogram of its maxima.", statistics)
        return
    title = f"{title} of the maxima in {statistics.images:,} images   {'' if zoomed else _page(canvas, scene)}"
    body = canvas.caption(title, "log scale" if zoomed else histogram_words(statistics))
    if zoomed:
        draw_histogram(body, scene)
        return
    grid = layer_grid(scene, body.width, body.height, body.scale)
    draw_histograms(body, scene, grid)
    _draw_marks(body, scene, grid)


def _draw_correlation(canvas: Canvas, scene: Scene) -> None:
    """Which units answer to the same images."""
    statistics = scene.own_statistics
    how = ", sorted" if scene.state.content == "correlation, sorted" else ""
    title = f"{scene.layer.name}   correlation{how}"
    if not has_matrix(scene):
        is_known = statistics is not None and (statistics.note or statistics.correlation is None)
        _say_why(
            canvas.caption(title),
            "Which units answer to the same images: correlation, units by units.",
            statistics if is_known else None,
        )
        return
    if scene.state.zoom == "unit":
        draw_partners(
            canvas.caption(
                f"{scene.unit}   goes most with", f"correlation over {statistics.images:,} images   blue < 0"
            ),
            scene,
        )
        return
    most = brightest(statistics)
    draw_matrix(canvas.caption(f"{title}   blue −{most:g} … white {most:g}", nearest_words(scene)), scene)


def _say_why(canvas: Canvas, what: str, found: Cells | Statistics | None) -> None:
    why = "looking …" if found is None else found.note or (
        "The index has no correlations: it was made with --no-correlation. Remove it and scan again without."
    )  # fmt: skip
    canvas.words(f"{what}\n\n{why}\n\nPress s for the next view.", size=15)


def _draw_cells(canvas: Canvas, scene: Scene, owner: Cells | UnitPictures) -> None:
    """A picture in each unit's cell, as far as they are there."""
    grid = layer_grid(scene, canvas.width, canvas.height, canvas.scale)
    canvas.image[:] = _cells(owner, grid, canvas.width, canvas.height, canvas.scale)
    _draw_marks(canvas, scene, grid)


@lru_cache(maxsize=2)
def _cells(owner: Cells | UnitPictures, grid: Grid, width: int, height: int, scale: float) -> np.ndarray:
    """All cells, kept while only marks move: not to be written to."""
    canvas = Canvas(np.empty((height, width, 3), np.uint8), scale)
    canvas.fill()
    is_tops, line, size, word = isinstance(owner, Cells), line_width(grid), canvas.px(12), "dead"
    for unit, image in (owner.pictures if is_tops else owner.cells).items():
        if unit in grid.units:
            left, top, w, h = grid.box(unit)
            _put_inside(canvas.image, image, left, top, max(1, w - line), max(1, h - line))
    for unit in owner.dead & set(grid.units) if is_tops else ():
        left, top, w, h = grid.box(unit)
        if text.width(word, size) < w and text.line_height(size) < h:
            text.put(
                canvas.image,
                word,
                left + (w - text.width(word, size)) // 2,
                top + (h - text.line_height(size)) // 2,
                size,
                colors.DIM,
            )
    return canvas.image


def _put_inside(canvas: np.ndarray, image: np.ndarray, left: int, top: int, width: int, height: int) -> None:
    """A picture (RGB) in the middle of a box that may stick out of the canvas, its proportions kept."""
    factor = min(width / image.shape[1], height / image.shape[0])
    w, h = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    x, y = left + (width - w) // 2, top + (height - h) // 2
    x0, y0, x1, y1 = max(0, x), max(0, y), min(canvas.shape[1], x + w), min(canvas.shape[0], y + h)
    if x0 < x1 and y0 < y1:
        picture = resize_for_screen(image, w, h)[y0 - y : y1 - y, x0 - x : x1 - x]
        canvas[y0:y1, x0:x1] = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)


_BIG: dict[str, Callable[[Canvas, Scene], None]] = {
    "help": draw_help,
    "desk": draw_recipe_grid,
    "backward": draw_backward,
    "gradient": _draw_layer_gradient,
    "activations": _draw_activations,
    "synthesized": _draw_synthesized,
    "top images": _draw_tops,
    "histograms": _draw_histograms,
    "correlation": _draw_correlation,
    "correlation, sorted": _draw_correlation,
}

LAYER = Pane(draw_layer, _layer_key, _layer_ready)
