"""Do the unit's images only repeat photos? The photos nearest to each, in pixels and in the layer's code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepvis.core.frames import Photo
from deepvis.core.geometry import Box, contains
from deepvis.interface.state import ComparedPhoto, Target
from deepvis.render import text
from deepvis.render.draw import Canvas
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.pane import Key
from deepvis.render.scene import Scene
from deepvis.workers.nearest_messages import COUNT, NearestPhotos, NearPhoto

_SIZE, _MARGIN, _GAP = 12, 8, 2  # of words; around everything; between pictures; unscaled pixels
_LEAST_TILE = 8  # pixels
_LEAST_NAME = 90  # unscaled pixels of a tile that has room for a photo's name
_COLUMNS = 1 + 2 * COUNT


def _draw_nearest(canvas: Canvas, scene: Scene) -> None:
    found, title = scene.own_nearest, f"{scene.unit}   photos nearest to its images: does one only repeat a photo?"
    if found is None or not found.found:
        canvas.caption(title).words((found.note if found is not None else "") or _why_none(scene), size=15)
        return
    body = canvas.caption(title, found.note or f"among {found.count:,} photos")
    rows = _tiles(body, len(found.found))
    if not rows:
        body.words("too little room: a double click enlarges the pane", size=_SIZE)
        return
    _draw_heads(body, found, rows[0])
    for row, boxes in enumerate(rows):
        for column, box in enumerate(boxes):
            _draw_tile(body, found, row, column, box)
    hover = scene.hover
    if isinstance(hover, ComparedPhoto) and hover.row < len(rows):
        body.frame(rows[hover.row][hover.column], body.theme.accent, 2)


def _tiles(body: Canvas, count: int) -> list[list[Box]]:
    """The boxes of each row: the image, its photos by pixels, those by code; a margin stands between these groups. No
    rows if there is too little room."""
    margin, line, gap = body.px(_MARGIN), text.line_height(body.px(_SIZE)), body.px(_GAP)
    tile = min((body.width - 4 * margin) // _COLUMNS, (body.height - margin - line) // count - line) - gap
    if tile < _LEAST_TILE:
        return []
    return [
        [
            (
                margin * (1 + (i > 0) + (i > COUNT)) + i * (tile + gap),
                margin // 2 + line + row * (tile + line + gap),
                tile,
                tile,
            )
            for i in range(_COLUMNS)
        ]
        for row in range(count)
    ]


def _at(body: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The photo under a point."""
    found = scene.own_nearest
    if found is None or not found.found:
        return None
    for row, boxes in enumerate(_tiles(body, len(found.found))):
        for column, (near, box) in enumerate(zip(_photos(found, row), boxes[1:]), 1):
            if near is not None and contains(box, x, y):
                return ComparedPhoto(row, column, Photo(near.root, near.name))
    return None


def _draw_heads(canvas: Canvas, found: NearestPhotos, boxes: Sequence[Box]) -> None:
    """What the groups are, above the first row."""
    tile, size = boxes[0][2], canvas.px(_SIZE)
    room, top = COUNT * (tile + canvas.px(_GAP)), boxes[0][1] - text.line_height(size)
    heads = (
        (0, "image", tile),
        (1, "nearest in pixels", room),
        (1 + COUNT, f"in the code of {found.wish.layer}", room),
    )
    for column, words, wide in heads:
        text.put(canvas.image, text.shorten(words, wide, size), boxes[column][0], top, size, canvas.theme.soft)


def _draw_tile(canvas: Canvas, found: NearestPhotos, row: int, column: int, box: Box) -> None:
    """The image or one of its photos, with the distance below it, and the photo's name if there is room."""
    left, top, tile, _ = box
    if not column:
        _cover(canvas.part(box), found.wish.images[row])
        return
    near = _photos(found, row)[column - 1]
    if near is None:
        return
    _cover(canvas.part(box), near.picture)
    words, size = f"{near.distance:.2f}", canvas.px(_SIZE)
    if tile >= canvas.px(_LEAST_NAME):
        words += f"  {near.name.rpartition('/')[2]}"
    text.put(canvas.image, text.shorten(words, tile, size), left, top + tile, size, canvas.theme.dim)


def _photos(found: NearestPhotos, row: int) -> list[NearPhoto | None]:
    """Those of a row, COUNT of each group; None in place of one that is not there."""
    return [near for group in found.found[row].values() for near in (*group, *[None] * COUNT)[:COUNT]]


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


def _key(scene: Scene) -> Key:
    hover = scene.hover if isinstance(scene.hover, ComparedPhoto) else None
    return id(scene.own_nearest), _why_none(scene), hover


NEAREST = BigView(_draw_nearest, key=_key, at=_at)
