"""Do the unit's images only repeat photos? The photos nearest to each, in pixels and in the layer's code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepvis.core.geometry import Box
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.scene import Scene
from deepvis.workers.nearest_messages import COUNT, NearestPhotos, NearPhoto

_SIZE, _MARGIN, _GAP = 12, 8, 2  # of words; around everything; between pictures; unscaled pixels
_LEAST_NAME = 90  # unscaled pixels of a tile that has room for a photo's name
_COLUMNS = 1 + 2 * COUNT


def _draw_nearest(canvas: Canvas, scene: Scene) -> None:
    found, title = scene.own_nearest, f"{scene.unit}   photos nearest to its images: does one only repeat a photo?"
    if found is None or not found.found:
        canvas.caption(title).words((found.note if found is not None else "") or _why_none(scene), size=15)
        return
    body = canvas.caption(title, found.note or f"among {found.count:,} photos")
    margin, line = body.px(_MARGIN), text.line_height(body.px(_SIZE))
    inner = body.part((margin, margin // 2, body.width - 2 * margin, body.height - margin))
    gap = inner.px(_GAP)
    rows = len(found.found)
    tile = min((inner.width - 2 * margin) // _COLUMNS, (inner.height - line) // rows - line) - gap
    if tile < 8:
        body.words("too little room: a double click enlarges the pane", size=_SIZE)
        return
    _draw_heads(inner, found, tile, line)
    for row in range(rows):
        top = line + row * (tile + line + gap)
        for column, box in enumerate(_tiles(inner, tile, top)):
            _draw_tile(inner, found, row, column, box, line)


def _tiles(canvas: Canvas, tile: int, top: int) -> list[Box]:
    """The boxes of a row: the image, its photos by pixels, those by code; a margin stands between the groups."""
    step, margin = tile + canvas.px(_GAP), canvas.px(_MARGIN)
    return [(i * step + margin * ((i > 0) + (i > COUNT)), top, tile, tile) for i in range(_COLUMNS)]


def _draw_heads(canvas: Canvas, found: NearestPhotos, tile: int, line: int) -> None:
    boxes, size = _tiles(canvas, tile, 0), canvas.px(_SIZE)
    room = COUNT * (tile + canvas.px(_GAP))
    heads = (
        (0, "image", tile),
        (1, "nearest in pixels", room),
        (1 + COUNT, f"in the code of {found.wish.layer}", room),
    )
    for column, words, wide in heads:
        text.put(canvas.image, text.shorten(words, wide, size), boxes[column][0], 0, size, canvas.theme.soft)


def _draw_tile(canvas: Canvas, found: NearestPhotos, row: int, column: int, box: Box, line: int) -> None:
    """The image or one of its photos, with the distance below it, and the photo's name if there is room."""
    left, top, tile, _ = box
    if not column:
        _cover(canvas.part(box), found.wish.images[row])
        return
    near = _photos(found, row)[column - 1 : column]
    if not near:
        return
    _cover(canvas.part(box), near[0].picture)
    words, size = f"{near[0].distance:.2f}", canvas.px(_SIZE)
    if tile >= canvas.px(_LEAST_NAME):
        words += f"  {near[0].name.rpartition('/')[2]}"
    text.put(canvas.image, text.shorten(words, tile, size), left, top + tile, size, canvas.theme.dim)


def _photos(found: NearestPhotos, row: int) -> Sequence[NearPhoto]:
    by_pixels, by_code = found.found[row].values()
    return (*by_pixels, *by_code)


def _cover(canvas: Canvas, picture: np.ndarray | None) -> None:
    if picture is None:
        canvas.fill(canvas.theme.panel)
        canvas.words("missing", size=11)
    else:
        canvas.picture(picture[..., ::-1])


def _why_none(scene: Scene) -> str:
    """Why nothing is compared."""
    grown, pictures = scene.own_grown, scene.own_pictures
    if grown is not None and grown.images or pictures is not None and pictures.synthesized:
        return "looking at the photos …"
    if pictures is None or scene.state.growing:
        return "waiting for the unit's images …"
    return f"this unit has no synthesized images: {scene.keys.get('synthesize', 'x')} makes some now"


def nearest_chips(scene: object) -> tuple[Chip, ...]:
    """The way back; with images that grow, the comparison anew."""
    back = Chip("‹ all units", "nearest", "back to all units of the layer")
    grown = scene.own_grown if isinstance(scene, Scene) else None
    again = Chip("again", "nearest=again", "compare the images as they are now")
    return (back, *((again,) if grown is not None and grown.images else ()))


NEAREST = BigView(_draw_nearest, key=lambda scene: (id(scene.own_nearest), _why_none(scene)))
