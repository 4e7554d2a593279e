"""The unit images pane: a unit's synthesized images, its top images and the backward images of the top images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from deepvis.attribution.methods import label, shows_of
from deepvis.core.frames import Photo
from deepvis.core.geometry import Box, contains, resize
from deepvis.core.layers import unit_id
from deepvis.interface.state import OPACITIES, State, Target, TopImage
from deepvis.render import colors, text
from deepvis.render.draw import Canvas
from deepvis.render.heat import cover, heat_of_pixels, heat_of_tops
from deepvis.render.palettes import Palette
from deepvis.render.panes.chips import Chip, pointed_at, title_chip_at, title_with_chips
from deepvis.render.panes.pane import Key, Pane, number, why_no_index
from deepvis.render.scene import LoadingScene, Scene
from deepvis.scan.results import Patch
from deepvis.workers.messages import TopPictures

GRID = 3  # rows and columns of top images
USUAL = "deconv"  # the backward method if none is chosen
_OFF = "images of the unit are hidden"
_BACKWARD = "what in these images excites the unit"


def _unit_images_ready(scene: Scene) -> bool:
    """False while the selected unit's images are not there yet: until then the images of the unit before stay."""
    there = scene.own_pictures is not None and scene.own_tops is not None
    return there or not scene.state.unit_images


def _unit_images_key(scene: Scene) -> Key:
    s = scene.state
    titles = _titles(scene)
    chips = tuple(chip for _, of_block in titles for chip in of_block)
    hover = scene.hover.number if isinstance(scene.hover, TopImage) else None
    return (
        s.unit_images, scene.unit, id(scene.own_pictures), id(scene.own_grown), s.growing, s.also,
        id(scene.own_tops), s.method, s.filter, s.values, hover, s.moments, s.collecting,
        (s.heat, s.opacity, scene.receptive_field) if s.heat != "off" else None,
        scene.scan_words, scene.grows_by_itself, titles, pointed_at(chips, s.hover),
    )  # fmt: skip


def _growth_chips(state: State) -> tuple[Chip, ...]:
    """What makes and keeps synthesized images of the unit."""
    keep = Chip("keep", "keep", "put the growing images into your own store")
    grid = Chip("grid", "desk", "recipe grid: sixteen settings side by side", bool(state.recipe_grids))
    grow = ("stop", "stop making images") if state.growing else ("grow", "make images of the unit now")
    return (
        Chip(state.preset, "preset", "the recipe for images made now; next one"),
        Chip(grow[0], "synthesize", grow[1], state.growing),
        keep if state.growing else grid,
        Chip("+", "and", "this unit and the next selected one together / alone", state.also is not None),
    )


def _tops_chips(state: State) -> tuple[Chip, ...]:
    """What is written on the top images, and whether they are moments of the input."""
    keep = Chip("keep", "keep", "save the collected moments")
    return (
        Chip("values", "values", "values on the top images", state.values),
        Chip("moments", "collect", "collect the strongest moments of the input / stop", state.collecting),
        *((keep,) if state.moments and not state.growing and not state.recipe_grids else ()),
    )


Title = tuple[str, tuple[Chip, ...]]  # of a block: its words, in parts between three spaces, and its chips


def _titles(scene: LoadingScene) -> tuple[Title, ...]:
    """The titles of the three blocks, or of the pane if it is hidden."""
    if not scene.state.unit_images:
        return (("unit images", (Chip("show", "unit_images", "show the unit's images"),)),)
    hide = Chip("hide", "unit_images", "hide the unit's images")
    return (
        (_growth_words(scene), _growth_chips(scene.state)),
        (_tops_words(scene), _tops_chips(scene.state)),
        (_backward_words(scene), (hide,)),
    )


def _growth_words(scene: LoadingScene) -> str:
    grown = scene.own_grown if isinstance(scene, Scene) else None
    if grown is not None and grown.images and scene.state.growing:
        return f"growing{_with(scene)}   step {grown.steps} · {number(max(grown.scores))}"
    if scene.state.growing:
        return f"growing{_with(scene)}"
    if grown is not None and grown.images and grown.wish.by_itself:
        return f"growing by itself   step {grown.steps}"
    return f"synthesized   {scene.unit}" if isinstance(scene, Scene) else "synthesized"


def _with(scene: LoadingScene) -> str:
    """The unit that the growing images are to excite, too."""
    partner = scene.partner if isinstance(scene, Scene) else None
    return f" + {unit_id(*partner)}" if partner else ""


def _tops_words(scene: LoadingScene) -> str:
    what = "strongest moments" if scene.state.moments else "top images"
    if not isinstance(scene, Scene):
        return what
    if scene.scanning is not None and scene.is_scanning and not scene.state.moments:
        return f"{what}   {scene.scanning.so_far}"
    tops = scene.own_tops
    return f"{what}   {scene.unit if tops is None or not tops.patches else unit_id(tops.layer, tops.unit)}"


def _backward_words(scene: LoadingScene) -> str:
    method, filter = _backward_of(scene)
    return f"their {label(method)}{'' if filter == 'raw' else f'   {filter}'}"


def _backward_of(scene: LoadingScene) -> tuple[str, str]:
    """The method and filter of the top images' backward images: the chosen ones, else the usual ones."""
    state, tops = scene.state, scene.own_tops if isinstance(scene, Scene) else None
    usual = tops.method if tops and tops.method else USUAL
    return (state.method, state.filter) if state.method else (usual, "raw")


def _bodies(canvas: Canvas, scene: LoadingScene) -> list[Canvas]:
    """Draw the titles; return the rest of each block."""
    blocks = _blocks(canvas) if scene.state.unit_images else [canvas]
    return [
        title_with_chips(block, words, chips, scene.state.hover)
        for block, (words, chips) in zip(blocks, _titles(scene))
    ]


def _draw_loading(canvas: Canvas, scene: LoadingScene) -> None:
    """Say what the blocks are for."""
    canvas.fill()
    bodies = _bodies(canvas, scene)
    said = ("images made by the network for a unit", "the images of a data set that excite a unit most", _BACKWARD)
    for body, words in zip(bodies, said if scene.state.unit_images else (_OFF,)):
        body.words(words)


def draw_unit_images(canvas: Canvas, scene: Scene) -> None:
    """Three blocks: synthesized images, top images, and the backward images of these."""
    canvas.fill()
    bodies = _bodies(canvas, scene)
    if not scene.state.unit_images:
        bodies[0].words(f"{_OFF}\n{scene.keys.get('unit_images', '9')} shows them, or the chip above")
        return
    for body, draw in zip(bodies, (_draw_synthesized, _draw_tops, _draw_backward), strict=True):
        draw(body, scene)


def _block_boxes(canvas: Canvas) -> list[Box]:
    """Three parts of the same size, so that a top image and its backward image lie at the same place in theirs.

    They lie side by side if the pane is wide, else one below the other.
    """
    gap, width, height = canvas.px(2), canvas.width // 3, canvas.height // 3
    if canvas.width > canvas.height:
        return [(i * width, 0, max(1, width - gap), canvas.height) for i in range(3)]
    return [(0, i * height, canvas.width, max(1, height - gap)) for i in range(3)]


def _blocks(canvas: Canvas) -> list[Canvas]:
    return [canvas.part(box) for box in _block_boxes(canvas)]


def _target(canvas: Canvas, scene: LoadingScene, x: int, y: int) -> Target:
    """The chip or the top image under a point of the pane; None if there is none."""
    if canvas.height < 3:
        return None
    boxes = _block_boxes(canvas) if scene.state.unit_images else [(0, 0, canvas.width, canvas.height)]
    for (left, top, width, height), (words, chips) in zip(boxes, _titles(scene)):
        block = canvas.part((left, top, width, height))
        if (control := title_chip_at(block, words, chips, x - left, y - top)) is not None:
            return control
    return top_image_at(canvas, scene, x, y) if isinstance(scene, Scene) and scene.state.unit_images else None


def top_image_at(canvas: Canvas, scene: Scene, x: int, y: int) -> Target:
    """The top image under a point of the pane, also if its backward image is there; None if there is none."""
    tops = scene.own_tops
    if tops is None or not tops.patches or min(canvas.width, canvas.height) < 3:
        return None
    for left, top, width, height in _block_boxes(canvas)[1:]:
        block = canvas.part((left, top, width, height))
        for i, tile in enumerate(_tiles(_below_title(block), tops)):
            if contains(tile, x - left, y - top - block.px_caption):
                return TopImage(i, _whole(tops, i))
    return None


def _whole(tops: TopPictures, number: int) -> Photo | None:
    """The photo, or the moment, that a top image is cut from."""
    patch = tops.patches[number]
    if tops.seen:
        return Photo("", f"{patch.name}, moment {patch.image}", tops.seen[number])
    return Photo(tops.root, patch.name) if tops.root else None


def _below_title(block: Canvas) -> Canvas:
    return block.part((0, block.px_caption, block.width, block.height - block.px_caption))


def _tiles(body: Canvas, tops: TopPictures) -> list[Box]:
    """The boxes of the top images in a block's body: a centred grid, as large as fits."""
    _, _, wide, high = tops.patches[0].box
    gap = body.px(2)
    factor = min((body.width - gap) / GRID / wide, (body.height - gap) / GRID / high)
    width, height = max(gap + 1, int(wide * factor)), max(gap + 1, int(high * factor))
    left, top = (body.width - GRID * width + gap) // 2, (body.height - GRID * height + gap) // 2
    return [
        (left + i % GRID * width, top + i // GRID * height, width - gap, height - gap)
        for i in range(min(len(tops.patches), GRID**2))
    ]


def _draw_tops(body: Canvas, scene: Scene) -> None:
    """Draw the unit's top images (or strongest moments), or say why there are none."""
    tops = scene.own_tops
    if tops is None or not tops.patches:
        note = "looking …" if tops is None else tops.note
        body.words(note if scene.state.moments else why_no_index(scene, note))
        return
    heats = heat_of_tops(scene, tops)
    for i, (patch, box) in enumerate(zip(tops.patches, _tiles(body, tops))):
        tile = body.part(box)
        if patch.pixels is None:
            tile.fill(tile.theme.panel)
            tile.words("missing", size=11)
        else:
            tile.cover(patch.pixels)
            if heats[i : i + 1] and (heat := heats[i]) is not None:
                cover(tile.image, heat, scene.state.opacity, tile.palette)
        if scene.state.values and not math.isnan(patch.value):
            _draw_value(tile, patch.value)
        _mark(tile, scene, i)


def _draw_value(tile: Canvas, value: float) -> None:
    size, words = tile.px(10), number(value)
    height = min(tile.height, text.line_height(size))
    strip = (0, tile.height - height, min(tile.width, text.width(words, size) + tile.px(6)), height)
    tile.shade(strip)
    text.put(tile.image, words, tile.px(3), tile.height - height, size, tile.theme.text)


def _mark(tile: Canvas, scene: Scene, number: int) -> None:
    """Frame the top image that the mouse points at."""
    hover = scene.hover
    if isinstance(hover, TopImage) and hover.number == number:
        tile.frame((0, 0, tile.width, tile.height), tile.theme.accent, 2)


def _draw_backward(body: Canvas, scene: Scene) -> None:
    """Draw the backward image of each top image, or say why there are none."""
    tops, state = scene.own_tops, scene.state
    method, filter = _backward_of(scene)
    if tops is None or not tops.patches:
        body.words(_BACKWARD)
    elif state.moments and not tops.seen:
        body.words("no backward images: a moment keeps only three of the input's bands")
    elif state.collecting:
        body.words("shown once collecting stops (v)")
    elif tops.method != method or not tops.backward:
        body.words(tops.backward_note if tops.method == method and tops.backward_note else "the network is computing …")
    else:
        boxes = _tiles(body, tops)
        images = _backward_tiles(tops, filter, *boxes[0][2:], body.palette)
        for i, (image, box) in enumerate(zip(images, boxes)):
            tile = body.part(box)
            if image is None:
                tile.fill(tile.theme.panel)
            elif isinstance(image, str):
                tile.words(image, size=11)
            else:
                tile.image[:] = image
            _mark(tile, scene, i)


@lru_cache(maxsize=2)
def _backward_tiles(
    tops: TopPictures, filter: str, width: int, height: int, palette: Palette
) -> tuple[np.ndarray | str | None, ...]:
    """The backward images as BGR pictures of that size, words in place of one, or None for a missing photo.

    Each is brought to the size first and has its own range there: where positive and negative values lie side by side,
    most of a picture's contrast is lost in reducing it.
    """

    shows = shows_of(tops.method)

    def tile(values: np.ndarray | None, patch: Patch) -> np.ndarray | str | None:
        if values is None:
            return None
        if not np.isfinite(values).all():
            return "not a number"
        if not values.any():
            return "nothing flows back"
        image = colors.backward_image(resize(values, width, height), filter, palette, shows)
        if shows == "map" and filter == "raw" and patch.pixels is not None:
            image = cv2.cvtColor(resize(np.ascontiguousarray(patch.pixels), width, height), cv2.COLOR_RGB2BGR)
            if (heat := heat_of_pixels(values, shows)) is not None:
                cover(image, heat, OPACITIES[1], palette)
        return image

    return tuple(map(tile, tops.backward, tops.patches))


def _draw_synthesized(body: Canvas, scene: Scene) -> None:
    """Draw the growing images, or else the stored ones, or else say how to make some."""
    grown, pictures = scene.own_grown, scene.own_pictures
    grows_by_itself = grown is not None and grown.wish.by_itself
    if grown is not None and grown.images and (scene.state.growing or grows_by_itself):
        draw_images(body, grown.images)
    elif scene.state.growing:
        body.words(grown.error if grown is not None and grown.error else "making the first images …")
    elif pictures is not None and pictures.synthesized:
        draw_images(body, pictures.synthesized)
    elif grown is not None and grows_by_itself and not grown.error:
        body.words("the first images of this unit begin to grow by themselves …")
    elif pictures is None:
        body.words("looking …")
    else:
        body.words(
            f"no images of this unit: {pictures.note}" if pictures.is_dead else _how_to_make(scene, pictures.note)
        )


def _how_to_make(scene: Scene, note: str) -> str:
    """How a unit gets synthesized images, which it does not have."""
    key = scene.keys.get("synthesize", "x")
    by_hand = f"deepvis synthesize{scene.status.options} --units {scene.unit} stores them"
    if scene.grows_by_itself and not note:
        when = "when the photos have been scanned" if scene.is_scanning else "in a moment"
        return f"images made by the network for this unit grow here by themselves, {when}\n\n{key} makes some now"
    return f"images made by the network for this unit: {note or 'none stored'}\n\n{key} makes some now; {by_hand}"


def draw_images(canvas: Canvas, images: Sequence[np.ndarray]) -> None:
    """Draw images (uint8 RGB, all of one size) side by side, as large as they fit."""
    height, width = images[0].shape[:2]
    gap = canvas.px(2)

    def side(columns: int) -> float:
        rows = math.ceil(len(images) / columns)
        return float(min((canvas.width - gap) / columns / width, (canvas.height - gap) / rows / height))

    columns = max(range(1, len(images) + 1), key=side)
    rows, factor = math.ceil(len(images) / columns), side(columns)
    w, h = max(1, int(width * factor) - gap), max(1, int(height * factor) - gap)
    left, top = (canvas.width - columns * (w + gap)) // 2, (canvas.height - rows * (h + gap)) // 2
    for i, image in enumerate(images):
        canvas.part((left + (i % columns) * (w + gap), max(0, top + (i // columns) * (h + gap)), w, h)).cover(image)


UNIT_IMAGES = Pane(
    draw_unit_images, _draw_loading, _unit_images_key, _unit_images_ready, _target, loading_target=_target
)
