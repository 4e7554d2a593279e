"""The renderer, off-screen: pictures against slow obvious ones, and what the panes say in words."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepvis.attribution.requests import Result
from deepvis.core.frames import Frame, Photo
from deepvis.core.layers import Layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.interface.command import Facts
from deepvis.interface.commands import COMMANDS, bindings, help_rows, keys_of, press, run
from deepvis.interface.layout import CHIP_LINE, Layout, fit, lay_out
from deepvis.interface.requests import request_for
from deepvis.interface.settings import DEFAULT_PANES, Settings, WindowSettings
from deepvis.interface.state import FILTERS, LAYOUT_NAMES, Hover, State, TopImage
from deepvis.interface.unit_grid import Grid, PaneView, make_grid
from deepvis.render import LoadingScene, Renderer, Scene, Status, colors, text
from deepvis.render.draw import Canvas
from deepvis.render.mosaic import draw_maps
from deepvis.render.palettes import USUAL
from deepvis.render.panes import PANES
from deepvis.render.panes.cells import layer_grid
from deepvis.render.panes.chips import split
from deepvis.render.panes.pane import number
from deepvis.scan.results import Patch
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe import image_seed
from deepvis.synthesis.recipe_grid import RecipeGrid, chosen, table
from deepvis.workers.messages import Grown, GrowthWish, TopPictures, UnitPictures

LAYERS = (
    Layer("stem", "Conv2d", 32, 28, 28),
    Layer("blocks.1", "InvertedResidual", 24, 14, 14),
    Layer("head", "Conv2d", 130, 7, 7),
    Layer("classes", "Linear", 100, labels=tuple(f"a class with the number {i}" for i in range(100))),
)
CLASSES = tuple(f"great white shark, man-eater number {i}" for i in range(100))
BOUND = bindings()
HELP = help_rows(BOUND)
STATUS = Status("efficientnet-lite0", "cpu", 31.4, 59.7)
SIZES = [(800, 500), (1500, 930), (2560, 1440)]


def frame(seed: int = 0, height: int = 90, width: int = 120, name: str = "animal-bear-brown.jpg") -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Frame(image, name, seed, live=False)


FRAME = frame()


def answer(state: State, layers: tuple[Layer, ...] = LAYERS, frame: Frame = FRAME, seed: int = 0) -> Result:
    """What an engine would answer: random numbers of the right shapes, others for each question."""
    request = request_for(state, frame, layers)
    rng = np.random.default_rng([seed, state.layer, *map(ord, str(request.origin))])
    layer = layers[state.layer]
    shape = (layer.units, layer.height, layer.width)
    maps = rng.normal(size=shape).astype(np.float32)
    scores = rng.dirichlet(np.full(100, 0.1)).astype(np.float32)
    pixels = gradient = None
    if request.method:
        pixels = rng.normal(size=(56, 56, 3)).astype(np.float32)
        later = state.layer > state.backward_origin[0]
        gradient = rng.normal(size=shape).astype(np.float32) if request.layer_gradient and not later else None
    return Result(request, maps, scores, pixels, gradient, ReceptiveField(61, 61, False), {"network": 0.02})


@cache
def tops(layer: str, unit: int, method: str = "deconv", count: int = 9, size: tuple[int, int] = (12, 9)) -> TopPictures:
    """Patches (each of one colour) and backward images, others for each unit; the last photo is gone."""
    rng = np.random.default_rng([unit, *map(ord, layer + method)])
    plain = [np.full((9, 12, 3), color, np.uint8) for color in rng.integers(30, 256, (count, 3))]
    patches = [Patch(i, f"shot-{i}.jpg", 0, 0, 9.5 - i, (0, 0, *size), image) for i, image in enumerate(plain)]
    if count == 9:
        patches[8] = replace(patches[8], pixels=None, error="shot-8.jpg does not exist")
    back = [rng.normal(size=(9, 12, 3)).astype(np.float32) if patch.pixels is not None else None for patch in patches]
    return TopPictures(layer, unit, "/data", tuple(patches), method, tuple(back))


@cache
def pictures(layer: str, unit: int) -> UnitPictures:
    return UnitPictures(layer, unit)


def scene(state: State, result: Result | None | str = "answer", **more) -> Scene:
    layers = more.pop("layers", LAYERS)
    result = answer(state, layers) if result == "answer" else result
    name = layers[state.layer].name
    more = {
        "pictures": pictures(name, state.unit),
        "tops": tops(name, state.unit, state.method or "deconv"),
        "pictures_of": name,
    } | more
    usual = {"classes": CLASSES, "frame": FRAME, "help": HELP, "keys": keys_of(BOUND), "status": STATUS}
    return Scene(state, layers=layers, **(usual | more), result=result)


def layout(width: int = 800, height: int = 500, scale: float = 1.0) -> Layout:
    return lay_out(DEFAULT_PANES, width, height, scale)


def pane_of(image: np.ndarray, renderer: Renderer, name: str) -> np.ndarray:
    left, top, width, height = renderer.layout.panes[name]
    return image[top : top + height, left : left + width].copy()


def bodies_of(image: np.ndarray, renderer: Renderer) -> dict[str, np.ndarray]:
    """The panes without their lines of chips."""
    bodies = {}
    for name, pane in panes_of(image, renderer).items():
        row = PANES[name]
        bodies[name] = split(Canvas(pane, renderer.layout.scale), row.chips_at_top)[1].image if row.chips else pane
    return bodies


def panes_of(image: np.ndarray, renderer: Renderer) -> dict[str, np.ndarray]:
    return {name: pane_of(image, renderer, name) for name in renderer.layout.panes}


def fresh(of: Scene, where: Layout) -> np.ndarray:
    return Renderer(where).compose(of)[0]


# ---- what is written, and where ---------------------------------------------------------------

_put = text.put


@cache
def _ink(words: str, size: int, weight: int) -> tuple[int, int, int, int] | None:
    """Box of a text's ink relative to where it is put."""
    around = 2 * size
    paper = np.zeros((4 * size, text.width(words, size, weight) + 4 * size, 3), np.uint8)
    _put(paper, words, around, size, size, (255, 255, 255), weight)
    rows, columns = np.nonzero(paper[..., 0] > 60)
    return (columns.min() - around, rows.min() - size, columns.max() - around, rows.max() - size) if len(rows) else None


@dataclass(frozen=True)
class Word:
    """A text that was drawn: `box` is its ink (left, top, right, bottom) in the window's pixels."""

    words: str
    pane: str
    box: tuple[int, int, int, int]
    cut: bool


@dataclass
class Written:
    """Collects what is put on a picture."""

    image: np.ndarray | None = None
    layout: Layout | None = None
    list: list[Word] = field(default_factory=list)

    def put(self, image, words, x, y, size, color=(225, 225, 225), weight=400) -> int:
        ink = _ink(words, size, weight) if words else None
        if ink and self.image is not None:
            offset = image.__array_interface__["data"][0] - self.image.__array_interface__["data"][0]
            top, left = offset // self.image.strides[0], offset % self.image.strides[0] // 3
            cut = x + ink[0] < 0 or y + ink[1] < 0 or x + ink[2] >= image.shape[1] or y + ink[3] >= image.shape[0]
            box = (left + x + ink[0], top + y + ink[1], left + x + ink[2], top + y + ink[3])
            self.list.append(Word(words, self.layout.pane_at(left, top) or "", box, cut))
        return _put(image, words, x, y, size, color, weight)

    def draw(self, of: Scene, where: Layout | None = None) -> list[Word]:
        """Draw a scene anew and return what was written."""
        return self.compose(Renderer(where or layout()), of)

    def compose(self, renderer: Renderer, of: Scene) -> list[Word]:
        self.list = []
        self.image, self.layout = renderer._image, renderer.layout
        renderer.compose(of)
        return self.list

    def say(self, pane: str, of: Scene) -> str:
        """All words of one pane."""
        return " ".join(word.words for word in self.draw(of, layout(1500, 930)) if word.pane == pane)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    collector = Written()
    monkeypatch.setattr(text, "put", collector.put)
    yield collector


# ---- the mosaic -------------------------------------------------------------------------------


def blue_orange(v: np.ndarray) -> np.ndarray:
    """Signed values from −1 to 1 as BGR: black at 0, full blue and orange at 0.6, near white at 1."""
    size = np.abs(v)
    full = np.where(v < 0, (255, 120, 40), (0, 125, 235))
    bright = np.where(v < 0, (255, 220, 175), (175, 228, 255))
    return np.where(size < 0.6, full * size / 0.6, full + (bright - full) * (size - 0.6) / 0.4)


def slow_mosaic(canvas: np.ndarray, maps: np.ndarray, grid, gamma: float, boost: float, gradient: bool) -> None:
    """One cell after the other, one pixel's colour from its value, in float64."""
    maps = maps.astype(np.float64)
    top = np.abs(maps).max()
    signed = gradient or maps.min() < -0.02 * max(maps.max(), -maps.min())
    for unit, map_ in enumerate(maps):
        limit = (1 - boost) * top + boost * np.abs(map_).max()
        value = map_ / limit if limit else map_
        left, above, width, height = grid.box(unit)
        if width < map_.shape[1]:
            value = cv2.resize(value, (width, height), interpolation=cv2.INTER_AREA)
        value = np.sign(value) * np.abs(value) ** gamma
        level = np.rint(127.5 + 127.5 * value) if signed else np.rint(255 * value.clip(0))
        level = cv2.resize(level.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(
            np.float64
        )
        v = (level - 127.5)[..., None] / 127.5
        if signed:
            cell = blue_orange(v)
        else:
            cell = np.repeat(level[..., None], 3, axis=2)
        for room, line in ((6, 1), (40, 2), (90, 3)):  # from this size on, the line between cells is so wide
            if min(width, height) >= room:
                cell[-line:] = cell[:, -line:] = colors.DARK.ground
        for y in range(height):
            for x in range(width):
                if 0 <= above + y < canvas.shape[0] and 0 <= left + x < canvas.shape[1]:
                    canvas[above + y, left + x] = cell[y, x].round()


@pytest.mark.parametrize(("gamma", "boost"), [(1.0, 0.0), (0.5, 0.0), (1.0, 1.0), (0.35, 0.5)])
@pytest.mark.parametrize("kind", ["unsigned", "signed", "gradient"])
@pytest.mark.parametrize(
    ("shape", "view"),
    [
        ((13, 5, 5), PaneView()),
        ((13, 5, 5), PaneView(3.0, 0.4, 0.7)),
        ((13, 5, 5), PaneView(9.0, 0.99, 0.9)),
        ((7, 48, 48), PaneView()),
        ((7, 48, 48), PaneView(1.5, 0.2, 0.6)),
        ((40, 1, 1), PaneView()),
        ((9, 12, 3), PaneView(2.2, 0.0, 1.0)),
    ],
)
def test_the_mosaic_is_the_slow_one(shape, view: PaneView, kind: str, gamma: float, boost: float) -> None:
    rng = np.random.default_rng(3)
    maps = (rng.normal(size=shape) * rng.uniform(0.1, 4, (shape[0], 1, 1))).astype(np.float32)
    maps = np.abs(maps) if kind == "unsigned" else maps
    grid = make_grid(*shape, 110, 90, view)
    fast = np.full((90, 110, 3), colors.DARK.ground, np.uint8)
    slow = fast.copy()
    draw_maps(fast, maps, grid, gamma, boost, gradient=kind == "gradient")
    slow_mosaic(slow, maps, grid, gamma, boost, gradient=kind == "gradient")
    assert np.abs(fast.astype(int) - slow).max() <= 3  # the level may be rounded to its neighbour


@pytest.mark.parametrize("cell", [9, 10, 36, 50, 97])
def test_no_cell_shows_a_row_of_the_cell_before(cell: int) -> None:
    maps = np.zeros((40, 7, 7), np.float32)
    maps[::2] = 1
    for grid in (Grid(0, 40, 1, 40, cell, cell, 0, 0), Grid(0, 40, 40, 1, cell, cell, 0, 0)):
        canvas = np.zeros((grid.rows * cell, grid.columns * cell, 3), np.uint8)
        draw_maps(canvas, maps, grid, 1.0, 0.0)
        for unit in range(40):
            left, top, width, height = grid.box(unit)
            line = 1 if cell < 40 else 2 if cell < 90 else 3
            inner = canvas[top : top + height - line, left : left + width - line]
            assert (inner == (255 if unit % 2 == 0 else 0)).all()


def test_a_small_negative_part_is_not_worth_a_second_colour() -> None:
    maps = np.array([[[1.0, -0.01]], [[0.5, 0.2]]], np.float32)
    assert not colors.is_signed(maps) and colors.is_signed(maps - 0.1)
    fast = np.zeros((60, 60, 3), np.uint8)
    draw_maps(fast, maps, make_grid(2, 1, 2, 60, 60), 1.0, 0.0)
    assert (fast[..., 0] == fast[..., 2]).mean() > 0.9  # gray


def test_all_zero_is_black_and_not_an_error() -> None:
    canvas = np.full((50, 60, 3), 9, np.uint8)
    with np.errstate(all="raise"):
        draw_maps(canvas, np.zeros((12, 1, 1), np.float32), make_grid(12, 1, 1, 60, 50), 0.5, 1.0)
    assert set(np.unique(canvas)) <= {0, 9, *colors.DARK.ground}


@pytest.mark.parametrize("state", [State(), State(zoom="unit", unit=3), State(boost=3, unit=3)])
def test_nan_and_infinity_count_as_zero(state: State) -> None:
    bad, good = answer(state), answer(state)
    for result, values in ((bad, (np.nan, np.inf, -np.inf)), (good, (0, 0, 0))):
        result.activations[5, :3, 0] = values
        result.activations[6] = values[0]
    a, b = Renderer(layout()), Renderer(layout())
    with np.errstate(all="raise"):
        image, plain = a.compose(scene(state, bad))[0], b.compose(scene(state, good))[0]
    for name in ("layer", "unit"):
        np.testing.assert_array_equal(pane_of(image, a, name)[40:], pane_of(plain, b, name)[40:])  # below the title


@pytest.mark.parametrize("layer", [0, 3])
def test_no_pane_fails_over_nan_and_infinity(layer: int, written: Written) -> None:
    """In whatever the network returns."""
    for value in (np.nan, np.inf, -np.inf):
        for zoom in ("layer", "unit"):
            state = State(
                layer=layer, unit=2, method="gradient", layer_gradient=zoom == "layer", hover=Hover(layer, 2), zoom=zoom
            )
            result = answer(state)
            for array in (result.activations, result.scores, result.pixels, result.layer_gradient):
                if array is not None:
                    array[..., ::2] = value
            words = [w.words for w in written.draw(scene(state, replace(result, bad=7)), layout(1500, 930))]
            assert [w for w in words if w.startswith("7 of ")]


def test_the_status_counts_nan_and_infinity(written: Written) -> None:
    result = replace(answer(State()), bad=12)
    said = {w.words for w in written.draw(scene(State(), result), layout(1500, 930)) if w.pane == "status"}
    assert f"12 of {32 * 28 * 28} values are NaN or infinite" in said
    assert not [w for w in written.draw(scene(State()), layout(1500, 930)) if "NaN" in w.words]


def test_nan_in_the_backward_values_counts_as_zero() -> None:
    state = State(layer_gradient=True, method="gradient")
    bad, good = answer(state), answer(state)
    bad.layer_gradient[5] = np.nan
    good.layer_gradient[5] = 0
    image, plain = fresh(scene(state, bad), layout()), fresh(scene(state, good), layout())
    np.testing.assert_array_equal(
        pane_of(image, Renderer(layout()), "layer")[40:], pane_of(plain, Renderer(layout()), "layer")[40:]
    )


# ---- backward images ----------------------------------------------------------------------------


def slow_backward(pixels: np.ndarray, how: str) -> np.ndarray:
    pixels = pixels.astype(np.float64)
    if how == "raw":
        values = pixels[..., ::-1]
    elif how == "gray":
        values = pixels.mean(axis=2)
    else:
        values = np.sqrt((pixels**2).sum(axis=2))
        if how == "blurred norm":
            values = gaussian_filter(values, pixels.shape[0] / 56, mode="mirror")
    sizes = np.abs(values)
    strong = min(2 * np.average(sizes, weights=sizes), sizes.max())
    if how in ("raw", "gray"):
        level = 127.5 + 127.5 * (values / strong).clip(-1, 1)
    else:
        level = 255 * (values / strong).clip(0, 1)
    return np.rint(level if level.ndim == 3 else np.repeat(level[..., None], 3, axis=2))


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_backward_filters_are_the_slow_ones(how: str, scale: float) -> None:
    pixels = (np.random.default_rng(8).normal(size=(112, 90, 3)) ** 3 * scale).astype(np.float32)
    fast = colors.backward_image(pixels, how, USUAL)
    assert fast.dtype == np.uint8 and fast.shape == pixels.shape
    assert np.abs(fast - slow_backward(pixels, how)).max() <= 1
    full = (fast == 255) | (fast == 0) if how in ("raw", "gray") else fast == 255
    assert 0.0001 < full.mean() < 0.1


@pytest.mark.parametrize("how", ["raw", "gray", "norm"])
def test_an_empty_surrounding_takes_no_contrast_from_a_backward_image(how: str) -> None:
    pixels = np.random.default_rng(8).normal(size=(20, 20, 3)).astype(np.float32)
    around = np.zeros((224, 224, 3), np.float32)
    around[100:120, 50:70] = pixels
    alone, inside = (colors.backward_image(one, how, USUAL).astype(int) for one in (pixels, around))
    assert np.abs(inside[100:120, 50:70] - alone).max() <= 1
    assert np.ptp(inside) > 250


@pytest.mark.parametrize(("how", "flat"), [("raw", 128), ("gray", 128), ("norm", 0), ("blurred norm", 0)])
def test_nothing_is_a_flat_picture(how: str, flat: int) -> None:
    assert set(np.unique(colors.backward_image(np.zeros((56, 56, 3), np.float32), how, USUAL))) == {flat}


@pytest.mark.parametrize("how", FILTERS)
def test_a_single_strong_pixel_is_seen(how: str) -> None:
    pixels = np.zeros((56, 56, 3), np.float32)
    pixels[10, 11] = 3
    fast = colors.backward_image(pixels, how, USUAL)
    assert (fast[10, 11] == 255).all() and (fast[40, 40] == (128 if how in ("raw", "gray") else 0)).all()


# ---- drawn only when needed ---------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the panes in the order in which they are drawn."""
    names: list[str] = []
    for name, pane in list(PANES.items()):

        def draw(canvas, scene, name=name, draw=pane.draw) -> None:
            names.append(name)
            draw(canvas, scene)

        monkeypatch.setitem(PANES, name, replace(pane, draw=draw))
    return names


def test_unchanged_panes_are_not_drawn_again(drawn: list[str]) -> None:
    renderer, state = Renderer(layout()), State(in_channels=True)
    result = answer(state)
    assert renderer.compose(scene(state, result))[1] is True
    assert sorted(drawn) == sorted(PANES)
    for newer, expected in (
        (state, set()),
        (replace(state), set()),
        (replace(state, debug=True), {"status"}),
        (replace(state, unit=1), {"input", "layer", "unit", "unit_images", "status"}),
        (replace(state, unit=1, predictions=False), {"input"}),
        (replace(state, unit=1, predictions=False, hover=Hover(0, 4)), {"layer", "status"}),
        (replace(state, unit=1, predictions=False, hover=Hover(2)), {"layer", "layers", "status"}),
        (replace(state, unit=1, predictions=False, unit_images=False), {"layer", "layers", "status", "unit_images"}),
    ):
        drawn.clear()
        changed = renderer.compose(scene(newer, result))[1]
        assert changed == bool(drawn)
        if expected and "status" not in expected:
            drawn[:] = [name for name in drawn if name != "status"]  # the step before left it
        assert set(drawn) <= expected and (not expected or drawn)
    drawn.clear()
    renderer.compose(scene(newer, answer(newer, seed=1)))
    assert {"layer", "unit", "input"} <= set(drawn) and not {"layers", "unit_images", "backward"} & set(drawn)


def test_a_new_layout_draws_everything(drawn: list[str]) -> None:
    renderer = Renderer(layout())
    renderer.compose(scene(State()))
    drawn.clear()
    renderer.layout = layout(900, 600)
    image, changed = renderer.compose(scene(State()))
    assert image.shape == (600, 900, 3) and changed and sorted(drawn) == sorted(PANES)


def test_random_walk_equals_drawing_all_anew() -> None:
    """Whatever is pressed, once the answer is there no pane may show anything old."""
    dice, where = random.Random(4), layout(640, 400)
    renderer, state = Renderer(where), State()
    facts = Facts(LAYERS, renderer.layer_area)
    names = [name for name in COMMANDS if name not in ("quit", "goto")]
    result, status = answer(state), STATUS
    for step in range(250):
        state = run(state, dice.choice(names), facts).state
        if dice.random() < 0.2:
            state = replace(state, hover=dice.choice([None, Hover(0), Hover(state.layer, 0), Hover(1, 5)]))
        if dice.random() < 0.1:
            status = replace(status, message=f"message {step}", recording=dice.random() < 0.5)
        now = request_for(state, FRAME, LAYERS)
        if dice.random() < 0.3:
            renderer.compose(scene(state, result, busy=dice.random() < 0.2, status=status))  # before the answer
        if now != result.request:  # a file does not change: the same question is not asked again
            result = answer(state)
        current = scene(state, result, busy=dice.random() < 0.1, status=status)
        seen, expected = renderer.compose(current)[0], fresh(current, where)
        for name in where.panes:
            same = np.array_equal(pane_of(seen, renderer, name), pane_of(expected, renderer, name))
            assert same, f"step {step}: {name} is not what {state} shows"


# ---- nothing old under a new name -----------------------------------------------------------------


@pytest.mark.parametrize(("start", "change", "panes", "name"), [
    (State(), {"layer": 1}, {"layer", "unit"}, "blocks.1"),
    (State(method="gradient"), {"unit": 7}, {"backward"}, "stem:7"),
    (State(method="gradient"), {"method": "deconv"}, {"backward"}, "deconv"),
    (State(method="gradient"), {"layer": 2}, {"layer", "unit", "backward"}, "head"),
    (State(method="gradient", zoom="backward"), {"unit": 7}, {"layer", "backward"}, "stem:7"),
    (State(method="gradient", layer_gradient=True), {"unit": 7}, {"layer", "backward"}, "stem:7"),
    (State(method="gradient"), {"layer_gradient": True}, {"layer"}, "gradient"),
    (State(zoom="unit"), {"layer": 1}, {"layer", "unit"}, "blocks.1"),
    (State(), {"method": "deconv"}, {"backward"}, "deconv"),
])  # fmt: skip
def test_a_pane_keeps_picture_and_title_until_the_answer_or_busy(
    written: Written, start: State, change: dict, panes: set[str], name: str
) -> None:
    renderer, new = Renderer(layout(1500, 930)), replace(start, **change)
    result = answer(start)
    written.compose(renderer, scene(start, result))
    before = bodies_of(renderer._image, renderer)

    words = written.compose(renderer, scene(new, result))
    chips = {chip.words for boxes in renderer.chip_boxes(scene(new, result)).values() for chip, _ in boxes}
    assert not [w for w in words if w.pane in panes and w.words not in chips]
    after = bodies_of(renderer._image, renderer)
    assert all(np.array_equal(before[p], after[p]) for p in panes)

    words = written.compose(renderer, scene(new, result, busy=True))
    for pane in panes:
        said = " ".join(w.words for w in words if w.pane == pane)
        assert name in said and "computing" in said, f"{pane} says {said!r}"

    words = written.compose(renderer, scene(new, answer(new)))
    for pane in panes:
        said = " ".join(w.words for w in words if w.pane == pane)
        assert name in said and "computing" not in said


def test_the_status_gives_no_old_values_for_a_new_layer(written: Written) -> None:
    state = State(hover=Hover(1, 3), layer=1)
    old, new = written.say("status", scene(state, answer(State()))), written.say("status", scene(state))
    assert "receptive field" in new and "mean" in new
    assert "receptive field" not in old and "mean" not in old


def test_predictions_belong_to_the_picture_above_them(written: Written) -> None:
    old = answer(State())
    newer = frame(1, name="the next one.jpg")
    said = written.say("input", scene(State(), old, frame=newer))
    assert "animal-bear-brown" in said and "the next one" not in said and "shark" in said
    said = written.say("input", scene(State(), old, frame=newer, busy=True))
    assert "the next one" in said and "shark" not in said


# ---- words instead of pictures ----------------------------------------------------------------------

COLORED = tuple(np.full((9, 9, 3), color, np.uint8) for color in ((250, 10, 20), (20, 240, 30), (30, 20, 230)))

DESK = RecipeGrid("yosinski-4", PRESETS["yosinski-4"], pair=2)
ON_DESK = State(layer=3, unit=61, recipe_grids=(DESK,))


def grown_on(grid: RecipeGrid, **more) -> Grown:
    """Sixteen images of the class 61, each of another gray, the seventh with the best score."""
    images = tuple(np.full((40, 40, 3), 20 + 12 * i, np.uint8) for i in range(16))
    scores = tuple(9.0 if i == 6 else i / 10 for i in range(16))
    wish = GrowthWish("classes", 61, grid.preset, (image_seed(grid.seed, 61, 0),) * 16, table(grid).recipes)
    return Grown(wish, **({"images": images, "scores": scores, "steps": 37} | more))


STATES = {
    "plain": scene(State()),
    "loading": LoadingScene(State(), waiting="loading efficientnet-lite0 …", help=HELP, status=STATUS),
    "no picture": Scene(State(), layers=LAYERS, waiting="waiting for the first picture …", help=HELP, status=STATUS),
    "busy": scene(State(layer=1, method="deconv"), answer(State()), busy=True),
    "backward": scene(State(layer=2, unit=3, in_channels=True, method="guided", filter="blurred norm", origin=(1, 2))),
    "big backward": scene(State(method="deconv", zoom="backward")),
    "picture": scene(State(zoom="picture", heat="activation", opacity=0.7)),
    "backward heat": scene(State(zoom="picture", heat="backward", method="guided", theme="light", colors="turbo")),
    "no place": scene(State(layer=3, unit=2, heat="activation", theme="light", boost=2), keys={"heat": "Q"}),
    "backward values": scene(State(layer=1, method="guided", layer_gradient=True)),
    "nothing flows": scene(State(layer=2, method="gradient", layer_gradient=True, origin=(0, 1))),
    "unit": scene(State(zoom="unit", unit=4, gamma=2, boost=2)),
    "classes": scene(State(layer=3, unit=61, in_channels=True)),
    "class": scene(State(layer=3, unit=61, zoom="unit")),
    "pattern": scene(State(content="synthesized"), pictures=UnitPictures("stem", 0), pictures_of="stem"),
    "images": scene(
        State(content="synthesized", unit=1),
        pictures=UnitPictures("stem", 1, COLORED[:2], dict(enumerate(COLORED)), True),
        pictures_of="stem",
    ),
    "growing": scene(
        State(growing=True),
        grown=Grown(GrowthWish("stem", 0, "modern", (0, 1)), COLORED[:2], (1.5, 2.5), 37),
        pictures_of="stem",
    ),
    "growing fails": scene(
        State(growing=True), grown=Grown(GrowthWish("stem", 0, "modern", (0,)), error="no gradient"), pictures_of="stem"
    ),
    "desk": scene(replace(ON_DESK, hover=Hover(3, 61, tile=3)), grown=grown_on(DESK), pictures_of="classes"),
    "desk starts": scene(ON_DESK, pictures_of="classes"),
    "desk fails": scene(
        ON_DESK, grown=grown_on(DESK, images=(), scores=(), error="no gradient"), pictures_of="classes"
    ),
    "naming": scene(replace(ON_DESK, typing="yosinski-4-classes-61", naming=True), pictures_of="classes"),
    "top images": scene(State(unit=2, values=True, method="guided", hover=TopImage(3, Photo("/data", "shot-3.jpg")))),
    "looking": scene(State(), pictures=None, tops=None),
    "not scanned": scene(
        State(),
        tops=TopPictures("stem", 0, note="No images have been scanned for the network yet: deepvis scan --images DIR"),
    ),
    "on their way": scene(State(), tops=replace(tops("stem", 0), backward=())),
    "no memory": scene(State(), tops=replace(tops("stem", 0), backward=(), backward_note="out of memory")),
    "help": scene(State(help=True)),
    "typing": scene(State(typing="classes:a class with a name so long that no small window could show all of it")),
    "off": scene(State(unit_images=False, predictions=False, frozen=True, crop=False)),
    "photo": scene(State(photo=Photo("/data", "shot-3.jpg"))),
    "hover": scene(State(hover=Hover(3, 7)), status=replace(STATUS, recording=True), busy=True),
    "message": scene(
        State(message="unknown layer 'conv9'; this network has conv1 … conv5. " * 3, message_is_error=True)
    ),
    "timings": scene(State(debug=True), status=replace(STATUS, timings="ms:  " + "draw unit_images 12.3  " * 20)),
    "failed": scene(
        State(method="gradient"),
        Result(
            request_for(State(), FRAME, LAYERS),
            error="RuntimeError: "
            + "the size of tensor a must match the size of tensor b " * 3
            + "/home/user/"
            + "folder/" * 40,
        ),
    ),
}


@pytest.mark.parametrize(("name", "pane", "expected"), [
    ("loading", "layer", "loading efficientnet-lite0"),
    ("loading", "input", "loading"),
    ("no picture", "layer", "waiting for the first picture"),
    ("no picture", "input", "waiting for the first picture"),
    ("plain", "backward", "b: gradient, deconv, guided backprop"),
    ("plain", "unit_images", "none stored"),
    ("looking", "unit_images", "looking"),
    ("top images", "unit_images", "missing"),
    ("top images", "status", "shot-3.jpg   6.50   a click"),
    ("not scanned", "unit_images", "deepvis scan --images DIR"),
    ("on their way", "unit_images", "computing"),
    ("no memory", "unit_images", "out of memory"),
    ("plain", "status", "h help"),
    ("busy", "layer", "computing"),
    ("busy", "status", "busy"),
    ("nothing flows", "layer", "press d"),
    ("pattern", "layer", "Press s for the next view"),
    ("pattern", "unit_images", "x makes some now"),
    ("growing fails", "unit_images", "no gradient"),
    ("desk", "layer", "step 37 of 500"),
    ("desk", "layer", "best 9.00"),
    ("desk", "layer", "rate 0.02  contribution 90%"),
    ("desk", "status", "score 0.30   rate "),
    ("desk", "layer", "click the best"),
    ("desk starts", "layer", "making the first images"),
    ("desk starts", "layer", "rate 0.02  contribution 90%"),
    ("desk fails", "layer", "no gradient"),
    ("naming", "layer", "Enter saves"),
    ("off", "unit_images", "9 shows them, or the chip above"),
    ("off", "input", "frozen · stretched"),
    ("photo", "input", "e: back"),
    ("failed", "layer", "RuntimeError"),
    ("failed", "unit", "RuntimeError"),
    ("failed", "backward", "RuntimeError"),
    ("typing", "layer", "Enter selects"),
    ("hover", "status", "REC"),
    ("hover", "status", "a class with the number 7"),
    ("message", "status", "conv9"),
])  # fmt: skip
def test_a_pane_without_a_picture_says_why(written: Written, name: str, pane: str, expected: str) -> None:
    assert expected in written.say(pane, STATES[name])


def test_a_backward_image_without_values_says_so(written: Written) -> None:
    state = State(method="deconv", unit=3)
    for values, words in ((0, "nothing flows back from stem:3"), (np.nan, "NaN")):
        result = answer(state)
        result.pixels[:] = values
        assert words in written.say("backward", scene(state, result))


def test_stored_images_lie_in_the_cells_of_their_units() -> None:
    of = STATES["images"]
    renderer = Renderer(layout(1500, 930))
    image, _ = renderer.compose(of)
    left, top, *_ = renderer.layer_box
    grid = layer_grid(of, *renderer.layer_area, renderer.layout.scale)
    for unit, wanted in ((0, (20, 10, 250)), (2, (230, 20, 30))):
        x, y, width, height = grid.box(unit)
        middle = image[top + y + height // 2, left + x + width // 2]
        assert tuple(middle.tolist()) == wanted
    right = pane_of(image, renderer, "unit_images").reshape(-1, 3)
    for color in ((20, 10, 250), (30, 240, 20)):
        assert (right == color).all(1).sum() > 2000


def test_pictures_of_another_unit_are_not_shown_under_this_name() -> None:
    for of in (
        replace(STATES["images"], state=State(unit=2)),
        replace(STATES["growing"], state=State(unit=2, growing=True)),
        replace(STATES["growing"], state=State(layer=1, growing=True), pictures_of="block"),
    ):
        renderer = Renderer(layout(1500, 930))
        image, _ = renderer.compose(of)
        assert not (pane_of(image, renderer, "unit_images").reshape(-1, 3) == (20, 10, 250)).all(1).any()


def test_the_mouse_hits_the_tile_of_the_desk_that_is_drawn_there() -> None:
    of = STATES["desk"]
    for where in (layout(1500, 930), layout(900, 1200)):
        renderer = Renderer(where)
        image, _ = renderer.compose(of)
        hit = {}
        left, top, width, height = where.panes["layer"]
        for y in range(top, top + height, 7):
            for x in range(left, left + width, 7):
                gray = set(image[y, x].tolist())
                if len(gray) == 1 and (found := (gray.pop() - 20) / 12) in range(16):
                    hit.setdefault(int(found), set()).add(renderer.target_at(x, y, of))
        assert {tile: targets for tile, targets in hit.items() if tile} == {
            tile: {Hover(3, 61, tile=tile)} for tile in range(1, 16)
        }
        assert renderer.target_at(left + width // 2, renderer.layer_box[1] - 3, of) is None
        assert (
            renderer.target_at(left + width // 2, top + height // 2, replace(of, state=replace(of.state, help=True)))
            is None
        )


def test_images_of_another_grid_unit_or_seed_are_not_shown_on_the_desk(written: Written) -> None:
    finer = chosen(DESK, 6)
    others = (
        replace(ON_DESK, recipe_grids=(DESK, finer)),
        replace(ON_DESK, unit=62),
        replace(ON_DESK, recipe_grids=(replace(DESK, seed=1),)),
    )
    for state in others:
        assert "making the first images" in written.say("layer", replace(STATES["desk"], state=state))
    assert "step 37" in written.say("layer", replace(STATES["desk"], grown=grown_on(finer), state=others[0]))


# ---- top images -----------------------------------------------------------------------------------


def where_is(image: np.ndarray, color: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has that colour (RGB)."""
    ys, xs = np.nonzero((image == color[::-1]).all(2))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("size", [(640, 420), (1500, 930), (2560, 1440)])
@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (30, 10)])
def test_top_images_stand_in_three_rows_above_what_flows_back(size: tuple[int, int], shape: tuple[int, int]) -> None:
    of = scene(State(unit=3), tops=tops("stem", 3, size=shape))
    renderer = Renderer(layout(*size))
    image, _ = renderer.compose(of)
    left, top, width, height = renderer.layout.panes["unit_images"]
    boxes = [where_is(image, patch.pixels[0, 0]) for patch in of.tops.patches[:8]]
    assert len({x for x, *_ in boxes}) == 3 and len({y for _, y, *_ in boxes}) == 3
    assert [boxes.index(box) for box in sorted(boxes, key=lambda box: (box[1], box[0]))] == list(range(8))
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        assert (x1 - x0) / (y1 - y0) == pytest.approx(shape[0] / shape[1], rel=0.2)
        for y in (y0 + 2, y0 + 2 + (height // 3)):  # and its backward image
            assert renderer.target_at(x0 + 2, y, of) == TopImage(i, Photo("/data", f"shot-{i}.jpg"))
        assert image[y0 + height // 3 : y1 + height // 3, x0:x1].std() > 20
        assert image[y1 + height // 3 + (0 if i > 5 else -1), x0].max() < 60 or i <= 5
    assert renderer.target_at(left + 2, top + height - 2, of) is None
    assert renderer.target_at(boxes[0][0], boxes[0][1] - height // 3, of) is None


def test_fewer_top_images_leave_their_places_empty() -> None:
    of = scene(State(unit=3), tops=tops("stem", 3, count=2))
    renderer = Renderer(layout(1500, 930))
    image, _ = renderer.compose(of)
    x0, y0, x1, y1 = where_is(image, of.tops.patches[1].pixels[0, 0])
    assert renderer.target_at(x0 + 2, y0 + 2, of).number == 1
    assert renderer.target_at(2 * x1 - x0, y0 + 2, of) is None


def test_the_pane_keeps_its_pictures_until_those_of_the_new_unit_are_there(drawn: list[str]) -> None:
    renderer, old, new = Renderer(layout(1500, 930)), State(unit=1), State(unit=2)
    renderer.compose(scene(old))
    for late in ({"tops": None}, {"pictures": None}, {"tops": tops("stem", 1)}):
        drawn.clear()
        renderer.compose(scene(new, **late))
        assert "unit_images" not in drawn
    renderer.compose(scene(new))
    assert "unit_images" in drawn


def test_backward_images_of_another_method_are_not_shown_under_its_name(written: Written) -> None:
    said = written.say("unit_images", scene(State(method="guided"), tops=tops("stem", 0, "deconv")))
    assert "their guided" in said and "computing" in said


def test_values_are_written_on_top_images_on_demand(written: Written) -> None:
    on, off = (written.say("unit_images", scene(State(values=values))) for values in (True, False))
    assert "9.50" in on and "1.50" in on and "9.50" not in off


def test_backward_images_that_show_nothing_say_so(written: Written) -> None:
    flat, bad = (np.full((9, 12, 3), value, np.float32) for value in (0, np.nan))
    said = written.say(
        "unit_images",
        scene(State(), tops=replace(tops("stem", 0), backward=(flat, bad, *tops("stem", 0).backward[2:]))),
    )
    assert "nothing" in said and "not a number" in said


@pytest.mark.parametrize(("size", "count"), [((640, 420), 3), ((1500, 930), 5)])
def test_a_class_is_selected_by_its_prediction(written: Written, size: tuple[int, int], count: int) -> None:
    of = scene(State())
    renderer = Renderer(layout(*size))
    rows = [w for w in written.compose(renderer, of) if w.pane == "input"][1:]
    best = np.argsort(of.result.scores)[::-1][:5]
    names = [w for w in rows if w.words.startswith("great")]
    assert len(names) == count  # fewer where they would cover the picture
    for word, unit in zip(names, best):
        assert renderer.target_at(word.box[0], (word.box[1] + word.box[3]) // 2, of) == Hover(3, int(unit))
    assert renderer.target_at(names[0].box[0], names[0].box[1] - 30, of) is None
    assert renderer.target_at(names[0].box[0], names[0].box[1] + 2, scene(State(predictions=False))) is None
    assert renderer.target_at(names[0].box[0], names[0].box[1] + 2, scene(State(), layers=LAYERS[:3])) is None


def test_what_grows_says_its_recipe_and_step(written: Written) -> None:
    said = written.say("unit_images", STATES["growing"])
    assert "modern" in said and "step 37" in said and "2.50" in said


def test_a_class_without_a_label_is_never_blank(written: Written) -> None:
    """In a list of labels that was padded to the length of the output."""
    layers = (*LAYERS[:3], replace(LAYERS[3], labels=("one", *[""] * 99)))
    state = State(layer=3, unit=7, hover=Hover(3, 8))
    of = scene(state, answer(state, layers), layers=layers, classes=layers[3].labels)
    of.result.scores[:] = 0
    of.result.scores[[7, 8]] = (0.6, 0.4)
    said = {(w.pane, w.words) for w in written.draw(of, layout(1500, 930))}
    assert ("input", "class 7") in said and ("unit", "class 7") in said
    assert [words for pane, words in said if pane == "status" and words.startswith("classes:8 class 8 ")]
    assert ("layer", "class 9") in said


def test_a_network_without_classes_says_so(written: Written) -> None:
    result = replace(answer(State()), scores=None)
    assert "this network has none" in written.say("input", scene(State(), result, classes=()))
    assert "the network failed" in written.say("input", STATES["failed"])
    assert "waiting for the network" in written.say("input", scene(State(), None))


# ---- text is not cut --------------------------------------------------------------------------------


def overlap(a: Word, b: Word) -> bool:
    return a.box[0] <= b.box[2] and b.box[0] <= a.box[2] and a.box[1] <= b.box[3] and b.box[1] <= a.box[3]


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_no_text_is_cut_or_covered(written: Written, size: tuple[int, int], scale: float, name: str) -> None:
    where = layout(*size, scale)
    words = written.draw(STATES[name], where)
    assert words
    if name == "help" and size == SIZES[0]:  # seventy lines do not fit into so small a window
        return
    assert not [w.words for w in words if w.cut]
    for word in words:
        left, top, width, height = where.panes[word.pane]
        assert left <= word.box[0] and word.box[2] < left + width and top <= word.box[1] and word.box[3] < top + height
    if name not in ("typing", "naming"):  # its prompt is meant to cover
        assert not [(a.words, b.words) for i, a in enumerate(words) for b in words[:i] if overlap(a, b)]


@pytest.mark.parametrize("name", ["plain", "backward", "top images", "pattern", "picture", "no place", "hover", "desk"])
@pytest.mark.parametrize("enlarged", [None, "layer", "input", "unit_images"])
@pytest.mark.parametrize("chosen", LAYOUT_NAMES)
@pytest.mark.parametrize("size", [(1280, 720), (900, 1600), (3840, 2160)], ids=str)
def test_no_text_is_cut_in_any_layout(written: Written, size, chosen: str, enlarged: str | None, name: str) -> None:
    if size == (3840, 2160) and name not in ("plain", "no place"):
        return  # slow
    where = fit(Settings(), State(layout=chosen, enlarged=enlarged), *size)
    words = written.draw(STATES[name], where)
    assert words and not [w.words for w in words if w.cut]
    for word in words:
        left, top, width, height = where.panes[word.pane]
        assert left <= word.box[0] and word.box[2] < left + width and top <= word.box[1] and word.box[3] < top + height
    assert not [(a.words, b.words) for i, a in enumerate(words) for b in words[:i] if overlap(a, b)]


def test_a_theme_and_colours_redraw_everything(drawn: list[str]) -> None:
    renderer, result = Renderer(layout()), answer(State())
    plain = renderer.compose(scene(State(), result))[0].copy()
    for state in (State(theme="light"), State(colors="viridis"), State()):
        drawn.clear()
        image, changed = renderer.compose(scene(state, result))
        assert changed and sorted(drawn) == sorted(PANES)
        np.testing.assert_array_equal(image, fresh(scene(state, result), layout()))
        assert (image != plain).mean() > 0.5 or state.theme == "dark"
    np.testing.assert_array_equal(image, plain)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_rows_of_the_help_are_seen(written: Written, size: tuple[int, int], scale: float) -> None:
    where = fit(Settings(window=WindowSettings(scale=scale)), State(help=True), *size)
    words = [w.words for w in written.draw(STATES["help"], where) if w.pane == "layer"]
    assert {keys for _, keys, _ in HELP} <= set(words)
    assert {group for group, _, _ in HELP} <= set(words)
    explained = [w for w in words if any(w == e or (w.endswith("…") and e.startswith(w[:-1])) for _, _, e in HELP)]
    assert len(explained) >= len(HELP)
    if size[0] / scale >= 1280:
        assert {explanation for _, _, explanation in HELP} <= set(words)


def test_the_help_can_be_read_in_a_small_window(written: Written) -> None:
    said = written.draw(STATES["help"], fit(Settings(), State(help=True), 1000, 640))
    whole = [w for w in said if w.pane == "layer" and w.words in {words for _, _, words in HELP}]
    assert len(whole) > 0.9 * len(HELP) and not [w for w in said if w.cut]
    columns = {w.box[0] for w in said if w.words in ("move", "view", "facets")}
    assert len(columns) == 3 and max(w.box[3] - w.box[1] for w in said if w.words == "quit") >= 8


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_error_is_seen_at_every_size(written: Written, size: tuple[int, int]) -> None:
    for of in (
        STATES["message"],
        scene(State(), status=replace(STATUS, message="unknown layer 'conv9'", is_error=True)),
    ):
        words = written.draw(of, layout(*size))
        assert any(w.words.startswith("unknown layer 'conv9'") for w in words if w.pane == "status" and not w.cut)


def test_a_long_text_that_is_typed_shows_its_end(written: Written) -> None:
    prompt = next(w for w in written.draw(STATES["typing"]) if w.words.endswith("all of it▏"))
    assert prompt.pane == "layer" and not prompt.cut


@pytest.mark.parametrize("size", [(300, 200), (120, 80), (40, 30), (1, 1)], ids=str)
@pytest.mark.parametrize("scale", [1, 2])
def test_very_small_windows_do_not_raise(size: tuple[int, int], scale: float) -> None:
    for of in STATES.values():
        renderer = Renderer(layout(*size, scale))
        assert renderer.compose(of)[0].shape == (size[1], size[0], 3)
        for x, y in ((0, 0), (size[0] // 2, size[1] // 2), (size[0] - 1, size[1] - 1)):
            renderer.target_at(x, y, of)
            renderer.fraction_in_layer(x, y)


# ---- the receptive field ---------------------------------------------------------------------------------

WHITE = Frame(np.full((448, 448, 3), 255, np.uint8), "white.png", 0, False)
WIDE = Frame(np.full((224, 448, 3), 255, np.uint8), "wide.png", 0, False)


def framed(frame: Frame, field: ReceptiveField, place: tuple[int, int], crop: bool = True, **of) -> list[float] | None:
    """The box that is drawn on the input when the unit is strongest there: left, top, right, bottom as
    fractions of the picture."""
    state = State(unit=3, predictions=False, crop=crop, **of)
    result = replace(answer(state, frame=frame), receptive_field=field)
    result.activations[3][place] = 99
    where = lay_out({"input": (0, 0, 1, 1)}, 448, 468 + CHIP_LINE, 1)
    picture = fresh(scene(state, result, frame=frame), where)[20:-CHIP_LINE]
    ys, xs = np.nonzero((picture == colors.DARK.accent).all(2))
    if not len(ys):
        return None
    assert (picture[ys.min() - 1 :, xs.min()][0] < 60).all()  # dark outside the bright line
    height, width = picture.shape[:2]
    return [xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height]


@pytest.mark.parametrize("frame, crop", [(WHITE, True), (WIDE, True), (WIDE, False)])
def test_the_strongest_place_is_framed_by_its_receptive_field(frame: Frame, crop: bool) -> None:
    """Whether cut or stretched: what the network sees is what the picture shows."""
    field = ReceptiveField(40, 60, False, (8, 8), (-16, -26))
    for row, column in ((5, 9), (20, 12), (9, 20)):
        top, left = row * 8 - 16, column * 8 - 26
        want = [left / 224, top / 224, (left + 60) / 224, (top + 40) / 224]
        assert framed(frame, field, (row, column), crop) == pytest.approx(want, abs=2 / 448)


def test_a_field_is_cut_off_at_the_edges_of_the_picture() -> None:
    field = ReceptiveField(40, 60, False, (8, 8), (-16, -26))
    assert framed(WHITE, field, (0, 0)) == pytest.approx([0, 0, 34 / 224, 24 / 224], abs=3 / 448)
    assert framed(WHITE, field, (27, 27)) == pytest.approx([190 / 224, 200 / 224, 1, 1], abs=3 / 448)


def test_no_frame_where_it_would_say_nothing() -> None:
    small = ReceptiveField(40, 60, False, (8, 8), (-16, -26))
    assert framed(WHITE, small, (5, 5)) is not None
    assert framed(WHITE, ReceptiveField(500, 500, True, (8, 8), (-200, -200)), (5, 5)) is None  # all of the picture
    assert framed(WHITE, small, (5, 5), receptive_field=False) is None
    assert framed(WHITE, None, (5, 5)) is None
    assert framed(WHITE, small, slice(None)) is None  # the same everywhere


def test_the_status_says_the_field_and_its_stride(written: Written) -> None:
    for stride, words in (
        ((8, 8), "61×61, stride 8"),
        ((4, 8), "61×61, stride 8×4"),
        ((3.555, 3.555), "stride 3.6"),
        ((0, 0), "61×61"),
    ):
        result = replace(answer(State()), receptive_field=ReceptiveField(61, 61, False, stride))
        facts = next(w.words for w in written.draw(scene(State(), result), layout(1500, 930)) if "receptive" in w.words)
        assert facts.endswith(words)


# ---- words where there is little room, or much -----------------------------------------------------------


@pytest.mark.parametrize("height", [400, 640, 768, 930])
def test_the_facts_stay_while_a_message_stands(written: Written, height: int) -> None:
    of = scene(State(), status=replace(STATUS, message="saved a picture"))
    words = [w for w in written.draw(of, layout(1400, height)) if w.pane == "status"]
    assert not [w for w in words if w.cut]
    assert {"saved a picture", "stem:0"} < {w.words for w in words}
    assert [w for w in words if "receptive field 61×61" in w.words]


def test_a_vectors_unit_says_value_name_and_rank_in_large_letters(written: Written) -> None:
    state = State(layer=3, unit=4, in_channels=True, zoom="unit")
    of = scene(state, answer(state))
    of.result.activations[:] = np.arange(100)[:, None, None]
    words = [w for w in written.draw(of, layout(1500, 930)) if w.pane == "layer"]
    assert {"4.00", "rank 96 of 100", LAYERS[3].labels[4]} <= {w.words for w in words}
    value = next(w for w in words if w.words == "4.00")
    assert value.box[3] - value.box[1] > 40


def test_without_predictions_the_picture_is_in_the_middle() -> None:
    of = scene(State(predictions=False, receptive_field=False))
    picture = fresh(of, lay_out({"input": (0, 0, 1, 1)}, 200, 320, 1))[20:-CHIP_LINE]
    rows = np.nonzero((picture != colors.DARK.ground).any((1, 2)))[0]
    assert abs(rows[0] - (len(picture) - 1 - rows[-1])) <= 1


@pytest.mark.parametrize("current, above, below", [(0, False, True), (150, True, True), (299, True, False)])
def test_arrows_say_that_the_list_of_layers_goes_on(current: int, above: bool, below: bool) -> None:
    layers = tuple(Layer(f"block.{i}", "Conv2d", 4, 3, 3) for i in range(300))
    of = scene(State(layer=current), answer(State(layer=current), layers), layers=layers)
    picture = fresh(of, lay_out({"layers": (0, 0, 1, 1)}, 640, 30, 1))
    right = (picture[:, -13:] != colors.DARK.ground).any((1, 2))
    assert (right[:12].any(), right[18:25].any()) == (above, below)


# ---- pages -----------------------------------------------------------------------------------------------


MANY = Layer("many", "Linear", 21843, labels=("first",) * 21843)


@pytest.mark.parametrize("unit", [0, 9000, 21842])
def test_the_page_of_the_selected_unit_is_shown_and_hit(unit: int, written: Written) -> None:
    state = State(unit=unit, in_channels=True)
    result = answer(state, (MANY,))
    result.activations[:] = 0
    result.activations[unit] = 1
    of, where = scene(state, result, layers=(MANY,)), layout(1500, 930)
    renderer = Renderer(where)
    words = written.compose(renderer, of)
    caption = next(w.words for w in words if w.pane == "layer" and "of 21,843" in w.words)
    first, last = (int(n.replace(",", "")) for n in caption.split("units ")[1].split(" of")[0].split("–"))
    assert first <= unit <= last and last - first < 10000
    left, top, width, height = renderer.layer_box
    body = renderer._image[top : top + height, left : left + width]
    ys, xs = np.nonzero((body == 255).all(axis=2))
    assert len(ys) > 10  # a cell that can be seen within its frame
    assert renderer.target_at(int(left + xs[len(xs) // 2]), int(top + ys[len(xs) // 2]), of) == Hover(0, unit)


def test_a_hovered_unit_or_origin_of_another_page_is_not_framed() -> None:
    state = State(unit=0, method="gradient", origin=(0, 21000))
    result = answer(state, (MANY,))

    def shown(**more):
        return pane_of(
            fresh(scene(replace(state, **more), result, layers=(MANY,)), layout()), Renderer(layout()), "layer"
        )

    np.testing.assert_array_equal(shown(), shown(hover=Hover(0, 20000)))
    np.testing.assert_array_equal(shown(), shown(origin=None))
    assert not np.array_equal(shown(), shown(hover=Hover(0, 20)))


# ---- networks of all shapes ------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [
    Layer("one", "Conv2d", 1, 64, 64), Layer("three", "Conv2d", 3, 512, 512), Layer("vector", "Linear", 1000),
    Layer("words", "Linear", 21843, labels=("a", "b")), Layer("few", "Linear", 3, labels=("only one",)),
    Layer("pixel", "Conv2d", 40, 1, 1), Layer("row", "Conv2d", 5, 1, 300), Layer("column", "Conv2d", 5, 300, 1),
], ids=lambda layer: layer.name)  # fmt: skip
def test_layers_of_all_shapes(layer: Layer) -> None:
    for zoom in ("layer", "unit", "backward"):
        state = State(unit=layer.units - 1, in_channels=True, zoom=zoom, method="gradient", boost=1)
        of = scene(state, answer(state, (layer,)), layers=(layer,))
        picture = fresh(of, layout())
        assert len(np.unique(picture.reshape(-1, 3) @ [1, 256, 65536])) > 50
        fresh(replace(of, state=replace(state, view=PaneView(30.0, 0.9, 0.9), layer_gradient=True)), layout())


def test_three_hundred_layers_in_the_list(written: Written) -> None:
    layers = tuple(Layer(f"blocks.{i}.with_a_long_name", "Conv2d", 4, 3, 3) for i in range(300))
    for current in (0, 1, 150, 299):
        state = State(layer=current)
        words = written.draw(scene(state, answer(state, layers), layers=layers), layout(1500, 930))
        listed = [w for w in words if w.pane == "layers"]
        assert any("." in w.words and layers[current].name.endswith(w.words) for w in listed) and not any(
            w.cut for w in listed
        )
        assert 5 < len(listed) < 60


def test_a_layer_name_wider_than_the_list_is_shortened(written: Written) -> None:
    layers = tuple(Layer(f"{i}" + ".features" * 40, "Conv2d", 4, 3, 3) for i in range(3))
    words = written.draw(scene(State(layer=1), answer(State(layer=1), layers), layers=layers))
    assert [w.words for w in words if w.pane == "layers" and w.words.startswith("1.features") and w.words.endswith("…")]
    assert not [w.words for w in words if w.cut]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (600, 800)])
@pytest.mark.parametrize("crop", [True, False])
def test_pictures_of_all_shapes(shape: tuple[int, int], crop: bool) -> None:
    state, of = State(crop=crop), frame(2, *shape)
    fresh(scene(state, answer(state, frame=of), frame=of), layout())


def test_the_input_is_shown_in_its_own_colours() -> None:
    red = Frame(np.full((50, 70, 3), (250, 10, 20), np.uint8), "red.png", 0, False)
    renderer = Renderer(layout())
    image = renderer.compose(scene(State(), answer(State(), frame=red), frame=red))[0]
    assert (pane_of(image, renderer, "input")[60:100, 60:100] == (20, 10, 250)).all()  # BGR


# ---- the mouse --------------------------------------------------------------------------------------------


def centres(words: list[Word], pane: str) -> dict[str, tuple[int, int]]:
    return {w.words: ((w.box[0] + w.box[2]) // 2, (w.box[1] + w.box[3]) // 2) for w in words if w.pane == pane}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_mouse_hits_the_layer_whose_name_is_there(written: Written, size: tuple[int, int]) -> None:
    renderer = Renderer(layout(*size))
    words = centres(written.compose(renderer, STATES["plain"]), "layers")
    for i, layer in enumerate(LAYERS):
        assert renderer.target_at(*words[layer.name], STATES["plain"]) == Hover(i)


@pytest.mark.parametrize("view", [PaneView(), PaneView(4.0, 0.2, 0.8)])
@pytest.mark.parametrize("unit", [0, 17, 129])
def test_the_mouse_hits_the_unit_that_is_drawn_there(unit: int, view: PaneView) -> None:
    """Only one unit is bright: wherever it is bright, the mouse must name it."""
    state = State(layer=2, unit=5, view=view)
    result = answer(state)
    result.activations[:] = 0
    result.activations[unit] = 1
    for where in (layout(), layout(1500, 930, 2)):
        renderer = Renderer(where)
        picture = renderer.compose(scene(state, result))[0]
        left, top, width, height = renderer.layer_box
        body = picture[top : top + height, left : left + width]
        ys, xs = np.nonzero((body == 255).all(axis=2))
        assert view.scale > 1 or len(ys)
        for y, x in list(zip(ys, xs))[:: max(1, len(ys) // 20)]:
            assert renderer.target_at(int(left + x), int(top + y), scene(state, result)) == Hover(2, unit)


def test_the_mouse_hits_nothing_where_no_unit_is() -> None:
    renderer = Renderer(layout())
    left, top, width, height = renderer.layout.panes["layer"]
    middle = (left + width // 3, top + height // 3)
    assert renderer.target_at(*middle, STATES["plain"]) is not None
    for name in ("help", "big backward", "unit", "loading", "pattern"):
        assert renderer.target_at(*middle, STATES[name]) is None, name
    assert renderer.target_at(left + width // 2, renderer.layer_box[1] - 3, STATES["plain"]) is None  # the title
    assert renderer.target_at(2, 2, STATES["plain"]) is None
    assert renderer.target_at(-5, 9999, STATES["plain"]) is None


def test_fractions_of_the_layer_pane() -> None:
    renderer = Renderer(layout())
    left, top, width, height = renderer.layout.panes["layer"]
    area = renderer.layer_area
    x, y = renderer.fraction_in_layer(left + area[0] // 2, top + height - area[1] // 2)
    assert x == pytest.approx(0.5, abs=0.01) and y == pytest.approx(0.5, abs=0.02)
    assert renderer.fraction_in_layer(left - 1, top + 50) is None


def test_without_a_layer_pane_there_is_nothing_to_hit() -> None:
    renderer = Renderer(lay_out({"input": (0, 0, 1, 1)}, 300, 200, 1))
    assert renderer.layer_area == (1, 1)
    assert renderer.target_at(10, 10, STATES["plain"]) is None


# ---- pictures of the panes -----------------------------------------------------------------------------------


def test_pane_pictures_are_large_and_show_the_same() -> None:
    renderer = Renderer(layout())
    ramp = np.linspace(0, 255, 100).astype(np.uint8)
    smooth = Frame(
        np.dstack([np.tile(ramp, (100, 1)), np.tile(ramp[:, None], (1, 100)), np.full((100, 100), 90, np.uint8)]),
        "",
        0,
        False,
    )
    of = replace(STATES["classes"], frame=smooth, result=answer(STATES["classes"].state, frame=smooth))
    before = renderer.compose(of)[0].copy()
    pictures = renderer.pane_pictures(of, longest=1200)
    assert set(pictures) == set(PANES)
    for name, picture in pictures.items():
        _, _, width, height = renderer.layout.panes[name]
        assert max(picture.shape[:2]) == pytest.approx(1200, abs=2)
        assert picture.shape[1] / picture.shape[0] == pytest.approx(width / height, rel=0.02)
    small = cv2.resize(pictures["input"], (80, 80), interpolation=cv2.INTER_AREA).astype(float)
    shown = cv2.resize(pane_of(before, renderer, "input"), (80, 80), interpolation=cv2.INTER_AREA)
    assert np.abs(small - shown).mean() < 12
    assert np.array_equal(before, renderer.compose(of)[0])


def test_panes_of_a_large_window_are_not_made_smaller() -> None:
    renderer = Renderer(layout(2560, 1440))
    pictures = renderer.pane_pictures(STATES["plain"], longest=100)
    assert all(p.shape[1::-1] == renderer.layout.panes[name][2:] for name, p in pictures.items())


# ---- text ------------------------------------------------------------------------------------------------------


WORDS = "the quick brown fox, /a/very/long/path/that/has/no/space.jpg jumps Łódź …\nover the   lazy dog"


def test_shorten_keeps_a_beginning_that_fits() -> None:
    line = WORDS.replace("\n", " ")
    for size in (8, 13, 26):
        for room in (-5, 0, 3, 20, 100, 300, 5000):
            short = text.shorten(line, room, size)
            assert text.width(short, size) <= max(room, 0)
            assert short == line or short == "" or (short.endswith("…") and line.startswith(short[:-1]))
        assert text.shorten(line, 5000, size) == line
        longer = text.shorten(line, 150, size)
        assert text.width(line[: len(longer) + 2] + "…", size) > 150  # no more would fit
    assert text.shorten("", 10, 13) == ""


def test_wrap_fits_and_loses_no_word_that_fits() -> None:
    for size in (8, 13, 26):
        for room in (30, 120, 333, 4000):
            lines = text.wrap(WORDS, room, size)
            assert all(text.width(line, size) <= room for line in lines)
            said = " ".join(lines).split()
            assert all(word in said for word in WORDS.split() if text.width(word, size) <= room)
    assert text.wrap("a\n\nb", 100, 13) == ("a", "", "b")
    assert text.wrap("", 100, 13) == ("",)


def test_put_draws_the_same_wherever_it_is_and_cuts_at_the_edges() -> None:
    large = np.zeros((60, 200, 3), np.uint8)
    end = text.put(large, "Hg", 40, 20, 16, (10, 200, 90))
    assert end == 40 + text.width("Hg", 16)
    ys, xs = np.nonzero(large.any(axis=2))
    assert xs.min() >= 38 and xs.max() <= end + 1 and ys.min() >= 18
    for x, y in ((40, 20), (-6, 20), (190, 20), (40, -8), (40, 52), (-400, 20), (40, 900), (-30, -9)):
        small = np.zeros((60, 200, 3), np.uint8)
        text.put(small, "Hg", x, y, 16, (10, 200, 90))
        moved = np.zeros_like(small)
        for row, column in zip(ys, xs):
            if 0 <= row + y - 20 < 60 and 0 <= column + x - 40 < 200:
                moved[row + y - 20, column + x - 40] = large[row, column]
        np.testing.assert_array_equal(small, moved)


def test_rendered_lines_are_kept_up_to_a_size_the_last_used_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots at any window size, each with other large lines: their number alone would be no bound."""
    monkeypatch.setattr(text, "CACHE", 300_000)
    paper = np.zeros((200, 900, 3), np.uint8)
    for i in range(40):
        text.put(paper, "read all the time", 0, 0, 30)
        text.put(paper, f"a line of number {i}", 0, 0, 60)
        assert sum(line.nbytes for line in text._lines.values()) == text._size <= 300_000
    assert ("read all the time", 30, 400) in text._lines and ("a line of number 3", 60, 400) not in text._lines


@pytest.mark.parametrize("function", ["getTextSize", "putText"])
def test_two_threads_never_use_the_font_at_once(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """A snapshot is drawn in a thread of its own; OpenCV mixes the letters up if both draw (seen: 266 of 800)."""
    real, entered, go_on = getattr(cv2, function), queue.Queue(), threading.Event()

    def slow(*arguments):
        entered.put(threading.current_thread().name)
        go_on.wait(5)
        return real(*arguments)

    monkeypatch.setattr(cv2, function, slow)
    threads = [threading.Thread(target=text.put, args=(np.zeros((30, 200, 3), np.uint8), f"{function} {i}", 0, 0, 17))
               for i in range(2)]  # fmt: skip
    for thread in threads:
        thread.start()
    entered.get(timeout=5)
    with pytest.raises(queue.Empty):
        entered.get(timeout=0.1)
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert entered.qsize() >= 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.00"),
        (1.234, "1.23"),
        (-12.5, "−12.50"),
        (0.00123, "1.2e−03"),
        (-45678.0, "−4.6e+04"),
        (999.994, "999.99"),
    ],
)
def test_number(value: float, shown: str) -> None:
    assert number(value) == shown


def test_every_key_redraws_what_it_changes() -> None:
    """A key that does something that can be seen must be seen at once, without a new answer."""
    state = State(method="gradient", in_channels=True, unit=3)
    for key in ("right", "down", "z", "m", "t", "y", "s", "h", "g", "8", "9", "d", "f", "2"):
        renderer = Renderer(layout())
        result = answer(state)
        renderer.compose(scene(state, result))
        new = press(state, key, Facts(LAYERS, renderer.layer_area), BOUND).state
        assert renderer.compose(scene(new, result))[1], key


def test_pictures_of_the_panes_of_a_tiny_window_are_small() -> None:
    """A snapshot of a window of one pixel took minutes: its words were thousands of pixels high."""
    pictures = Renderer(layout(1, 1)).pane_pictures(scene(State()))
    assert all(max(picture.shape[:2]) <= 20 for picture in pictures.values())
    assert max(Renderer(layout()).pane_pictures(scene(State()))["unit"].shape[:2]) == 1800


@pytest.mark.parametrize("name", ["caf\udce9.jpg", "\ud800", "\udce9" * 300], ids=["a name", "one sign", "a long name"])
def test_a_name_of_odd_bytes_is_drawn(name: str) -> None:
    """OpenCV's font code ends the process at half a character."""
    for size in (11, 30):
        assert text.width(name, size) > 0 and text.wrap(name, 60, size)
        assert text.shorten(name, 60, size)
        text.put(np.zeros((60, 200, 3), np.uint8), name, 2, 2, size)
    renderer = Renderer(layout())
    assert renderer.compose(scene(State(), frame=replace(FRAME, name=name)))[1]
