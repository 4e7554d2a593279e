"""Heat over the picture: where it lies, what it does to the pixels, and what is said where there is none."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.interface.layout import lay_out
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import State
from deepvis.render import Renderer, Scene
from deepvis.render.heat import cover, heat_of_input, heat_of_tops, heat_words, spread
from deepvis.render.palettes import USUAL
from deepvis.scan.results import Patch
from deepvis.workers.messages import TopPictures

INPUT = (64, 96)  # height, width
FIELD = ReceptiveField(15, 21, False, (8, 6), (-3, 2))
LAYERS = (Layer("map", "Conv2d", 2, 8, 13), Layer("classes", "Linear", 3))
FRAME = Frame(np.full((64, 96, 3), 120, np.uint8), "gray.png", 0, False)


def result(layer: int = 0, method: str | None = None) -> Result:
    of = LAYERS[layer]
    values = np.full((of.units, of.height, of.width), -1, np.float32)
    values[1, min(3, of.height - 1), min(9, of.width - 1)] = 2  # the only positive one
    pixels = np.zeros((*INPUT, 3), np.float32)
    pixels[50, 20] = 1
    request = Request(FRAME, True, of.name, method, (of.name, 1) if method else None)
    return Result(request, values, None, pixels if method else None, None, FIELD if of.is_map else None)


def scene(state: State, **parts) -> Scene:
    made = result(state.layer, state.method)
    return Scene(state, layers=LAYERS, frame=FRAME, input_size=INPUT, result=made, keys={"heat": "Q"},
                 pictures_of=LAYERS[state.layer].name, **parts)  # fmt: skip


def hottest(heat: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(cv2.GaussianBlur(heat, (0, 0), 2).argmax(), heat.shape)
    return int(row), int(column)


@pytest.mark.parametrize(("row", "column"), [(1, 1), (3, 9), (6, 4), (5, 11)])
def test_heat_lies_in_the_middle_of_the_receptive_field(row: int, column: int) -> None:
    channel = np.zeros((8, 13), np.float32)
    channel[row, column] = 5
    left, top, width, height = FIELD.box(row, column)
    middle = top + height // 2, left + width // 2
    heat = spread(channel, FIELD, INPUT, (0, 0, 96, 64))
    assert heat.shape == INPUT and heat.max() > 230
    assert np.abs(np.subtract(hottest(heat), middle)).max() <= 1
    patch = spread(channel, FIELD, INPUT, (left, top, width, height))  # cut at the field: in its middle
    assert np.abs(np.subtract(hottest(patch), (height // 2, width // 2))).max() <= 1


@pytest.mark.parametrize("field", [None, ReceptiveField(64, 96, True)])
def test_without_a_known_place_the_map_is_stretched_over_the_input(field: ReceptiveField | None) -> None:
    channel = np.random.default_rng(0).random((8, 13)).astype(np.float32)
    heat = spread(channel, field, INPUT, (0, 0, 96, 64))
    wanted = cv2.resize(channel / channel.max(), (96, 64), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255
    assert np.abs(heat - wanted).max() < 12  # OpenCV's warp rounds to a 32nd of a place


def test_there_is_no_heat_outside_of_the_input() -> None:
    heat = spread(np.ones((8, 13), np.float32), FIELD, INPUT, (-20, -10, 50, 40))
    assert (heat[:10] == 0).all() and (heat[:, :20] == 0).all() and (heat[10:, 20:] == 255).all()


def test_negative_values_and_nan_are_no_heat() -> None:
    assert spread(np.full((8, 13), -1, np.float32), FIELD, INPUT, (0, 0, 96, 64)) is None
    channel = np.full((8, 13), np.nan, np.float32)
    assert spread(channel, FIELD, INPUT, (0, 0, 96, 64)) is None


def test_heat_is_mixed_with_the_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)
    for level, opacity in ((0, 0.7), (64, 0.7), (128, 0.3), (255, 0.5)):
        mixed = picture.copy()
        cover(mixed, np.full((6, 9), level, np.uint8), opacity, USUAL)
        alpha = opacity * min(1, level / 255 / 0.5)
        wanted = (1 - alpha) * picture + alpha * USUAL.heat[level, 0]
        assert np.abs(mixed - wanted).max() <= 2  # it is mixed in bytes


def test_the_backward_heat_is_where_the_backward_image_is_strong() -> None:
    shown = scene(State(heat="backward", method="gradient", unit=1))
    assert np.abs(np.subtract(hottest(heat_of_input(shown)), (50, 20))).max() <= 1
    other = replace(shown, state=replace(shown.state, unit=0))  # not answered yet
    assert heat_of_input(other) is None


def test_what_has_no_place_says_so_and_offers_the_backward_heat() -> None:
    words = heat_words(scene(State(layer=1, unit=1, heat="activation")))
    assert "no place" in words and "key Q" in words and "backward" in words
    assert "active nowhere" in heat_words(scene(State(unit=0, heat="activation")))
    assert heat_words(scene(State(unit=1, heat="activation"))) == "heat: where map:1 is active"
    assert heat_words(scene(State())) == ""


def test_top_images_have_heat_by_their_own_maps() -> None:
    channel = np.zeros((8, 13), np.float32)
    channel[3, 9] = 5
    patches = tuple(Patch(i, "a", 3, 9, 5.0, FIELD.box(3, 9), np.zeros((15, 21, 3), np.uint8)) for i in range(2))
    back = np.zeros((15, 21, 3), np.float32)
    back[4, 5] = 1
    tops = TopPictures("map", 1, patches=patches, method="deconv", backward=(back, None), maps=(channel, None))
    active, missing = heat_of_tops(scene(State(unit=1, heat="activation")), tops)
    assert np.abs(np.subtract(hottest(active), (7, 10))).max() <= 1 and missing is None
    strong, missing = heat_of_tops(scene(State(unit=1, heat="backward", method="gradient")), tops)
    assert hottest(strong) == (4, 5) and missing is None
    assert heat_of_tops(scene(State(unit=1)), tops) == ()


def test_the_enlarged_picture_has_heat_also_if_it_is_off_elsewhere() -> None:
    renderer = Renderer(lay_out(DEFAULT_PANES, 1200, 800, 1.0))
    images = []
    for heat in ("off", "activation"):
        image, _ = renderer.compose(scene(State(unit=1, zoom="picture", heat=heat)))
        left, top, width, height = renderer.layer_box
        images.append(image[top : top + height, left : left + width].copy())
    assert (images[0] == images[1]).all() and images[0].std() > 5


@pytest.mark.parametrize("pane", ["input"])
def test_heat_changes_the_picture_only_where_it_is(pane: str) -> None:
    renderer = Renderer(lay_out(DEFAULT_PANES, 1200, 800, 1.0))
    left, top, width, height = renderer.layout.panes[pane]
    images = []
    for heat in ("off", "activation"):
        state = State(unit=1, zoom="picture", heat=heat, receptive_field=False, predictions=False)
        image, _ = renderer.compose(scene(state))
        below = renderer.layer_box[1] if pane == "layer" else top + 22  # the title says that heat is on
        images.append(image[below : top + height, left : left + width].astype(int))
    changed = np.abs(images[1] - images[0]).max(axis=2) > 2
    assert 0.005 < changed.mean() < 0.2
    gray = images[0].min(axis=2) == 120  # the picture; a few such pixels are in letters
    rows, columns = (np.nonzero(gray.mean(axis) > 0.2)[0] for axis in (1, 0))
    assert len(rows) and len(columns)
    row, column = (at.mean() for at in np.nonzero(changed))
    box_left, box_top, box_width, box_height = FIELD.box(3, 9)
    middle_x = columns.min() + (box_left + box_width / 2) / 96 * np.ptp(columns)
    middle_y = rows.min() + (box_top + box_height / 2) / 64 * np.ptp(rows)
    assert abs(column - middle_x) < 0.03 * np.ptp(columns) and abs(row - middle_y) < 0.03 * np.ptp(rows)
