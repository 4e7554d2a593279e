"""The facets of a unit in the big pane: the map of its photos, and beside it an image of each cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from deepvis.core.frames import Photo
from deepvis.core.geometry import Box, contains, resize_for_screen
from deepvis.facets.facet_map import Facet, FacetMap, in_words
from deepvis.interface.facet_commands import MAP_SHARE
from deepvis.interface.state import FacetPhoto
from deepvis.interface.unit_grid import PaneView
from deepvis.render import text
from deepvis.render.colors import Theme
from deepvis.render.draw import Canvas, paste
from deepvis.render.palettes import Color
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.chips import Chip
from deepvis.render.panes.pane import Key, number
from deepvis.render.scene import LoadingScene, Scene
from deepvis.workers.messages import Thumbs, UnitFacets

INKS: tuple[Color, ...] = (  # of the clusters, BGR; the first ones differ most
    (64, 176, 255), (220, 140, 60), (90, 190, 90), (90, 80, 230), (200, 110, 190), (200, 200, 70), (110, 150, 200),
    (170, 170, 170), (60, 210, 210), (180, 90, 120), (130, 220, 160), (120, 120, 250),
)  # fmt: skip
_EDGE = 12  # pixels of the map that stay empty at each side
_CELL = 108  # unscaled pixels that a facet's row needs to stand alone
_NEAREST = 4  # photos beside a facet


def ink(cluster: int) -> Color:
    return INKS[cluster % len(INKS)]


# ---- where things lie ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spots:
    """Where the photos lie on a map: (x, y) of their middles, their longer side, in pixels."""

    middles: np.ndarray
    side: int

    def box(self, member: int, picture: np.ndarray | None) -> Box:
        height, width = picture.shape[:2] if picture is not None else (1, 1)
        factor = self.side / max(height, width)
        w, h = max(1, round(width * factor)), max(1, round(height * factor))
        x, y = self.middles[member]
        return round(x - w / 2), round(y - h / 2), w, h


@lru_cache(maxsize=4)
def _spots(found: FacetMap, width: int, height: int, view: PaneView) -> _Spots:
    at = np.array([(member.x, member.y) for member in found.members])
    low, span = at.min(0), np.maximum(at.max(0) - at.min(0), 1e-9)
    size = np.array([width, height])
    side = min(width, height) / max(5.0, 1.7 * len(at) ** 0.5)
    edge = np.minimum(0.5, (side / 2 + _EDGE) / size)  # so that photos at the edge are seen whole
    share = (at - low) / span * (1 - 2 * edge) + edge
    middles = ((share - (view.x, view.y)) * view.scale + 0.5) * size
    return _Spots(middles, max(8, min(256, round(side * view.scale**0.7))))


def _order(found: FacetMap) -> list[int]:
    """The members in the order of drawing: the clusters' centres last, so that nothing covers them."""
    centres = {facet.nearest[0] for facet in found.facets if facet.nearest}
    return sorted(range(len(found.members)), key=lambda i: (i in centres, found.members[i].value))


def map_box(body: Canvas) -> Box:
    """The map's part of the pane's body."""
    return 0, 0, max(1, round(body.width * MAP_SHARE)), body.height


def photo_at(body: Canvas, scene: Scene, x: int, y: int) -> FacetPhoto | None:
    """The photo of the map under a point of the pane's body; None if there is none."""
    own = scene.own_facets
    left, top, width, height = map_box(body)
    if own is None or own.laid_out is None or not contains((left, top, width, height), x, y):
        return None
    found = own.laid_out
    spots = _spots(found, width, height, scene.state.facet_view)
    for member in reversed(_order(found)):
        if contains(spots.box(member, _picture(own.thumbs, member)), x, y):
            return FacetPhoto(member, Photo(found.root, found.members[member].name))
    return None


def _picture(thumbs: Thumbs, member: int) -> np.ndarray | None:
    return thumbs.pictures[member] if member < len(thumbs.pictures) else None


# ---- drawing --------------------------------------------------------------------------------------


def draw_facets(canvas: Canvas, scene: Scene) -> None:
    """Draw the map at the left and the facets at the right, or say in words why there are none."""
    own = scene.own_facets
    name = " ".join(filter(None, (scene.unit, scene.layer.label(scene.state.unit))))
    if own is None or own.laid_out is None or own.found is None:
        canvas.caption(f"facets of {name}").words((own.note if own else "") or "looking …", size=15)
        return
    body = canvas.caption(f"facets of {name}   {_map_words(own.laid_out)}", _progress(own))
    left, top, width, height = map_box(body)
    _draw_map(body.part((left, top, width, height)), scene, own.laid_out, own.thumbs)
    _draw_note(body.part((left, top, width, height)), own.note)
    draw_facet_list(body.part((width, 0, body.width - width, height)), own, range(len(own.found.facets)))


def _map_words(found: FacetMap) -> str:
    words = f"{len(found.members)} photos by {found.code}   {len(found.facets)} facets"
    silhouettes = dict(found.silhouettes)
    if found.silhouette is not None:
        words += f", silhouette {number(found.silhouette)}"
    if found.suggested in silhouettes and found.suggested != len(found.facets):
        words += f"; best {number(silhouettes[found.suggested])} with {found.suggested}"
    return words


def _progress(own: UnitFacets) -> str:
    if own.is_stored:
        return "stored" if own.done else "stored; reading the photos …"
    if own.done:
        return "done" if own.note else "done and kept"  # the note says why they were not kept
    return f"step {own.steps} of {own.total}"


def _draw_map(canvas: Canvas, scene: Scene, found: FacetMap, thumbs: Thumbs) -> None:
    view, theme = scene.state.facet_view, canvas.theme
    canvas.image[:] = map_picture(found, thumbs, canvas.width, canvas.height, view, canvas.scale, theme.ground)
    hover = scene.hover
    if isinstance(hover, FacetPhoto):
        spots, picture = _spots(found, canvas.width, canvas.height, view), _picture(thumbs, hover.number)
        left, top, width, height = spots.box(hover.number, picture)
        if picture is not None:
            large = cv2.cvtColor(resize_for_screen(picture, width, height), cv2.COLOR_RGB2BGR)
            paste(canvas.image, large, left, top)
        canvas.frame((left - 2, top - 2, width + 4, height + 4), theme.pointed, 2)


def _draw_note(canvas: Canvas, note: str) -> None:
    """Words at the lower edge of the map, over its photos."""
    size, margin = canvas.px(13), canvas.px(6)
    lines = text.wrap(note, canvas.width - 2 * margin, size) if note else []
    height = len(lines) * text.line_height(size) + 2 * margin
    if not lines or height > canvas.height:
        return
    canvas.bar((0, canvas.height - height, canvas.width, height), canvas.theme.panel)
    for row, line in enumerate(lines):
        y = canvas.height - height + margin + row * text.line_height(size)
        text.put(canvas.image, line, margin, y, size, canvas.theme.text)


@lru_cache(maxsize=2)
def map_picture(
    found: FacetMap, thumbs: Thumbs, width: int, height: int, view: PaneView, scale: float, ground: Color
) -> np.ndarray:
    """The map without what the mouse points at; the same while the facets grow."""
    canvas = Canvas(np.empty((height, width, 3), np.uint8), scale)
    canvas.fill(ground)
    spots = _spots(found, width, height, view)
    scaled, centres = _scaled(thumbs, spots.side), {f.nearest[0] for f in found.facets if f.nearest}
    for member in _order(found):
        picture, color = _picture(thumbs, member), ink(found.members[member].cluster)
        left, top, w, h = spots.box(member, picture)
        if left > width or top > height or left + w < 0 or top + h < 0:
            continue
        if picture is None:
            cv2.circle(canvas.image, (left + w // 2, top + h // 2), max(3, spots.side // 8), color, cv2.FILLED)
        else:
            paste(canvas.image, scaled[member], left, top)
        thickness = 3 if member in centres else 1
        edge = canvas.px(thickness)
        if picture is not None or member in centres:
            canvas.frame((left - edge, top - edge, w + 2 * edge, h + 2 * edge), color, thickness)
    for cluster, facet in enumerate(found.facets):
        if facet.nearest:
            left, top, w, h = spots.box(facet.nearest[0], _picture(thumbs, facet.nearest[0]))
            _number(canvas, cluster, left + w // 2, top)
    return canvas.image


@lru_cache(maxsize=4)
def _scaled(thumbs: Thumbs, side: int) -> list[np.ndarray]:
    """The photos as BGR with this longer side; an empty picture for one that cannot be read."""
    sizes = _Spots(np.zeros((len(thumbs.pictures), 2)), side)
    return [
        np.zeros((1, 1, 3), np.uint8) if picture is None else resize_for_screen(picture, *sizes.box(i, picture)[2:])
        for i, picture in enumerate(_bgr(thumbs))
    ]


@lru_cache(maxsize=2)
def _bgr(thumbs: Thumbs) -> list[np.ndarray | None]:
    return [None if picture is None else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) for picture in thumbs.pictures]


def _number(canvas: Canvas, cluster: int, x: int, y: int) -> None:
    """A cluster's number on its colour, with its middle at x and its lower edge at y."""
    size, words = canvas.px(13), str(cluster + 1)
    width, height = text.width(words, size, 600) + canvas.px(8), text.line_height(size)
    left, top = x - width // 2, max(0, y - height)
    canvas.bar((left, top, width, height), ink(cluster))
    text.put(canvas.image, words, left + canvas.px(4), top, size, (20, 20, 20), 600)


def draw_facet_list(canvas: Canvas, own: UnitFacets, clusters: Sequence[int]) -> None:
    """Draw facets one below the other; in two columns if there are many."""
    if own.found is None or own.laid_out is None:
        return
    grows = own.total > 0 and not own.done
    fixed = own.laid_out if grows else own.found  # what is around the images is drawn once while these grow
    look = (canvas.width, canvas.height, canvas.scale, canvas.theme)
    canvas.image[:] = _around(fixed, own.thumbs, tuple(clusters), *look)
    for cluster, box in zip(clusters, _cells(canvas, len(clusters))):
        cell, facet = canvas.part(box), own.found.facets[cluster]
        gap, side = _image_box(cell)
        frame = _put(cell.part((gap, gap, side, side)), facet.image if facet.image is not None else facet.mean)
        cell.frame((gap + frame[0], gap + frame[1], frame[2], frame[3]), ink(cluster), 2)
        _number(cell, cluster, gap + frame[0] + cell.px(10), gap + frame[1] + text.line_height(cell.px(13)))


def _cells(canvas: Canvas, count: int) -> list[Box]:
    columns = 1 if canvas.height >= count * canvas.px(_CELL) else 2
    rows = max(1, -(-count // columns))
    width, height = max(1, canvas.width // columns), max(1, min(canvas.height // rows, canvas.width // columns))
    return [(i // rows * width, i % rows * height, width, height) for i in range(count)]


def _image_box(cell: Canvas) -> tuple[int, int]:
    """The gap around a facet's image, and its side."""
    gap = cell.px(4)
    return gap, max(1, min(cell.height - 2 * gap, round(cell.width * 0.48)))


@lru_cache(maxsize=4)
def _around(
    found: FacetMap, thumbs: Thumbs, clusters: tuple[int, ...], width: int, height: int, scale: float, theme: Theme
) -> np.ndarray:
    """The list without the facets' images: words, mean images, nearest photos."""
    canvas = Canvas(np.empty((height, width, 3), np.uint8), scale, theme)
    canvas.fill()
    for cluster, box in zip(clusters, _cells(canvas, len(clusters))):
        cell, facet = canvas.part(box), found.facets[cluster]
        gap, side = _image_box(cell)
        left = side + 2 * gap
        right = cell.part((left, gap, max(1, cell.width - left - gap), max(1, cell.height - 2 * gap)))
        y = _write(right, _facet_words(facet, right))
        pictures = [facet.mean, *(_picture(thumbs, i) for i in facet.nearest[:_NEAREST])]
        _draw_row(right.part((0, y + gap, right.width, max(1, right.height - y - gap))), pictures)
    return canvas.image


def _write(canvas: Canvas, rows: Sequence[tuple[str, Color, int]]) -> int:
    """Write rows of words, each on two lines at most, as far as there is room; returns where they end."""
    size, y = canvas.px(12), 0
    for words, color, weight in rows:
        first, *rest = text.wrap(words, canvas.width, size)
        for line in (first, *([" ".join(rest)] if rest else [])):
            if y + text.line_height(size) > canvas.height:
                return y
            text.put(canvas.image, text.shorten(line, canvas.width, size, weight), 0, y, size, color, weight)
            y += text.line_height(size)
    return y


def _facet_words(facet: Facet, canvas: Canvas) -> list[tuple[str, Color, int]]:
    theme = canvas.theme
    photos = f"{facet.size} photo{'' if facet.size == 1 else 's'}"
    if len(facet.nearest) < min(15, facet.size):
        photos += f", {len(facet.nearest)} in the mean image"
    rows = [(photos, theme.text, 600)]
    if facet.called:
        rows.append((f"network: {in_words(facet.called, 3)}", theme.accent, 400))
    if facet.photos_called:
        name, share = facet.photos_called[0]
        rows.append((f"{share:.0%} of the photos: {name}", theme.dim, 400))
    if facet.called:
        rows.append((f"value {number(facet.score)}, mean image {number(facet.mean_score)}", theme.dim, 400))
    return rows


def _draw_row(canvas: Canvas, pictures: Sequence[np.ndarray | None]) -> None:
    """The mean image, and then the nearest photos, in as many columns as make them largest."""
    gap = canvas.px(2)
    best = max(range(1, len(pictures) + 1), key=lambda n: _side(canvas, len(pictures), n, gap))
    side = _side(canvas, len(pictures), best, gap)
    if side < canvas.px(12):
        return
    for i, picture in enumerate(pictures):
        if picture is not None:
            part = canvas.part((i % best * (side + gap), i // best * (side + gap), side, side))
            frame = _put(part, picture)
            if i == 0:
                part.frame(frame, canvas.theme.line)


def _side(canvas: Canvas, count: int, columns: int, gap: int) -> int:
    rows = -(-count // columns)
    return min((canvas.width - (columns - 1) * gap) // columns, (canvas.height - (rows - 1) * gap) // rows)


def _put(canvas: Canvas, picture: np.ndarray) -> Box:
    """A picture (uint8 RGB) as large as fits; returns its box."""
    height, width = picture.shape[:2]
    factor = min(canvas.width / width, canvas.height / height)
    w, h = max(1, int(width * factor)), max(1, int(height * factor))
    box = ((canvas.width - w) // 2, (canvas.height - h) // 2, w, h)
    canvas.part(box).cover(picture)
    return box


# ---- the view ------------------------------------------------------------------------------------


def _key(scene: Scene) -> Key:
    state, own = scene.state, scene.own_facets
    hover = scene.hover.number if isinstance(scene.hover, FacetPhoto) else None
    return (id(own), state.facet_count, state.facet_view, hover)


def facet_chips(scene: LoadingScene) -> tuple[Chip, ...]:
    """The number of facets, and the way back."""
    own = scene.own_facets if isinstance(scene, Scene) else None
    found = own.laid_out if own is not None else None
    is_best = found is not None and len(found.facets) == found.suggested
    return (
        Chip("‹ all units", "facets", "back to all units of the layer"),
        Chip("fewer", "fewer_facets", "one facet less", apart=True),
        Chip("more", "more_facets", "one facet more"),
        Chip("suggested", "more_facets=suggested", "as many as fit the photos best", is_best),
    )


def facet_words(scene: Scene, hover: FacetPhoto) -> str:
    """What the mouse points at, for the status bar."""
    own = scene.own_facets
    if own is None or own.laid_out is None or hover.number >= len(own.laid_out.members):
        return ""
    member = own.laid_out.members[hover.number]
    called = f"   the network calls it {member.called}" if member.called else ""
    return f"{member.name}   {scene.unit} {number(member.value)}   facet {member.cluster + 1}{called}"


FACETS = BigView(draw_facets, ready=lambda scene: True, key=_key, at=photo_at)
