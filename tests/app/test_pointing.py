"""What the mouse points at: it never ends the window, and it is what lies there now."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import LAYERS, FakeEngine, FakeFeed, FakeWindow, idle, press, quiet

from deepvis.app.toolbox import Toolbox
from deepvis.attribution.requests import Result
from deepvis.core.frames import Frame, Photo
from deepvis.core.layers import Layer
from deepvis.display.window import Key, Mouse, Resize
from deepvis.interface.command import Facts
from deepvis.interface.commands import COMMANDS, run
from deepvis.interface.contents import CONTENTS
from deepvis.interface.layout import lay_out
from deepvis.interface.requests import request_for
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import ZOOMS, Hover, State, TopImage
from deepvis.interface.unit_grid import PaneView
from deepvis.render import LoadingScene, Renderer, Scene
from deepvis.render.panes.status import _hover_text
from deepvis.scan.results import Patch, Statistics
from deepvis.synthesis.presets import PRESETS
from deepvis.synthesis.recipe_grid import RecipeGrid
from deepvis.workers.layer_images import OpenIndex
from deepvis.workers.messages import Cells, TopPictures, UnitPictures

SMALL = (
    Layer("map", "Conv2d", 6, 4, 4),
    Layer("few", "Conv2d", 2, 2, 2),
    Layer("classes", "Linear", 5, labels=tuple("abcde")),
)
FRAME = Frame(np.full((20, 20, 3), 90, np.uint8), "gray.png", 0, False)
DESK = RecipeGrid("modern", PRESETS["modern"])
HOVERS = [
    None,
    *(Hover(layer) for layer in (0, 1, 2, 9, -1)),
    *(Hover(layer, unit) for layer in (0, 1, 2, 9) for unit in (0, 5, 99, -1)),
    *(Hover(layer, *pair) for layer in (0, 1, 9) for pair in ((0, 1), (5, 0), (0, 99))),
    *(Hover(layer, unit, tile=tile) for layer in (0, 1, 9) for unit in (0, 5) for tile in (0, 15, 16)),
    *(TopImage(number, photo) for number in (0, 8, 9, -1) for photo in (None, Photo("/data", "a.jpg"))),
]


def scene_of(state: State, layers: tuple[Layer, ...] = SMALL) -> Scene:
    """A scene in which everything that the state can show is there."""
    layer = layers[state.layer]
    request = request_for(replace(state, collecting=False), FRAME, layers)
    maps = np.ones((layer.units, layer.height, layer.width), np.float32)
    result = Result(
        request,
        maps,
        np.full(5, 0.2, np.float32),
        np.ones((8, 8, 3), np.float32) if request.method else None,
        maps if request.layer_gradient else None,
    )
    ones = np.ones(layer.units, np.float32)
    never = np.zeros(layer.units, bool)
    known = Statistics(
        layer.name,
        9,
        np.ones((layer.units, 8), np.float32),
        0 * ones,
        ones,
        ones,
        ones,
        ones,
        never,
        never,
        np.eye(layer.units, dtype=np.float32),
        np.arange(layer.units)[::-1],
    )
    patch = Patch(0, "a.jpg", 0, 0, 2.0, (0, 0, 4, 4), np.ones((4, 4, 3), np.uint8))
    tops = TopPictures(layer.name, state.unit, "/data", (patch,) * 9, "deconv", (np.ones((4, 4, 3), np.float32),) * 9)
    image = np.ones((4, 4, 3), np.uint8)
    return Scene(
        state,
        layers=layers,
        classes=tuple("abcde"),
        frame=FRAME,
        result=result,
        help=(("view", "h", "help"),),
        pictures_of=layer.name,
        tops=tops,
        pictures=UnitPictures(layer.name, state.unit, (image,), {0: image}, True),
        cells=Cells(layer.name, {0: image}),
        statistics=known,
    )


def states() -> list[State]:
    """Each content, zoom, desk and moments in turn, and what every command makes of it."""
    facts = Facts(SMALL)
    combined = enumerate(itertools.product(CONTENTS, ZOOMS, ((), (DESK,)), (False, True)))
    bases = [
        State(
            layer=i % 3,
            content=content,
            zoom=zoom,
            recipe_grids=desk,
            moments=moments,
            method="gradient",
            in_channels=True,
        )
        for i, (content, zoom, desk, moments) in combined
    ]
    made = [*bases, *(run(base, name, facts).state for base in bases for name in COMMANDS)]
    return list(dict.fromkeys(made))


def test_whatever_the_mouse_pointed_at_every_scene_can_be_drawn_and_names_nothing_that_is_not_there() -> None:
    renderer = Renderer(lay_out(DEFAULT_PANES, 200, 130, 1.0))
    every = states()
    assert len(every) > 1000
    for number, state in enumerate(every[::5]):  # all of them would take minutes
        shown = scene_of(state)
        for i, hover in enumerate(HOVERS):
            pointed = replace(shown, state=replace(state, hover=hover))
            words = _hover_text(pointed)
            if isinstance(hover, TopImage):
                assert words == "" or 0 <= hover.number < 9
            elif hover is not None:
                possible = 0 <= hover.layer < len(SMALL) and all(
                    unit is None or 0 <= unit < SMALL[hover.layer].units for unit in (hover.unit, hover.other)
                )
                on_tile = hover.tile is not None and not (state.recipe_grids and not state.help and hover.tile < 16)
                off_matrix = hover.other is not None and not state.shown.is_matrix
                assert bool(words) <= (possible and not on_tile and not off_matrix)
            if (number + i) % 61 == 0:
                renderer.compose(pointed)


@pytest.mark.parametrize("hover", HOVERS, ids=str)
@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(recipe_grids=(DESK,)),
        State(help=True),
        State(content="correlation"),
        State(layer=1, moments=True),
    ],
)
def test_each_kind_is_drawn_on_all_panes(hover: Hover | TopImage | None, state: State) -> None:
    for shown in (
        scene_of(state),
        Scene(state, layers=SMALL, help=(("view", "h", "help"),)),
        LoadingScene(state, help=(("view", "h", "help"),)),
    ):
        Renderer(lay_out(DEFAULT_PANES, 500, 300, 1.0)).compose(replace(shown, state=replace(state, hover=hover)))


def test_points_of_tiny_windows_have_a_target_or_none() -> None:
    for width, height in ((1, 1), (3, 2), (20, 8), (60, 300), (300, 20)):
        renderer = Renderer(lay_out(DEFAULT_PANES, width, height, 1.0))
        for state in (
            State(),
            State(recipe_grids=(DESK,)),
            State(content="correlation"),
            State(view=PaneView(3.0, 0.4, 0.6)),
        ):
            shown = scene_of(state)
            renderer.compose(shown)
            for x, y in itertools.product(
                range(-1, width + 1, max(1, width // 9)), range(-1, height + 1, max(1, height // 9))
            ):
                renderer.target_at(x, y, shown)
                renderer.fraction_in_layer(x, y)
            renderer.cells(shown)


# ---- the mouse rests, the picture changes -------------------------------------------------------


@pytest.fixture
def box(tmp_path: Path) -> Toolbox:
    log: list[str] = []
    made = Toolbox(quiet(output=str(tmp_path)), FakeEngine(log), FakeFeed(log), FakeWindow(log), State())
    made.workers.growth.want = lambda wish: None  # the fake network cannot synthesize
    compose = made.renderer.compose
    made.renderer.compose = lambda scene: (setattr(made, "composed", scene), compose(scene))[1]
    idle(made)
    return made


def middle(box: Toolbox, pane: str = "layer") -> tuple[int, int]:
    left, top, width, height = box.renderer.layout.panes[pane]
    return left + width // 2 + 20, top + height // 2 + 20


def rest(box: Toolbox, pane: str = "layer") -> tuple[int, int]:
    place = middle(box, pane)
    box.window.events = [[Mouse("move", *place)]]
    box.turn()
    return place


def test_what_lies_under_the_resting_mouse_is_found_anew_after_every_key_and_wheel(box: Toolbox) -> None:
    place = rest(box)
    assert box.state.hover == Hover(0, 4)
    events = [
        Key(name, 0)
        for name in (
            "o",
            "u",
            "down",
            "right",
            "s",
            "s",
            "s",
            "2",
            "h",
            "h",
            "2",
            "z",
            "z",
            "z",
            "esc",
            ".",
            "end",
            "g",
            "1",
            "enter",
        )
    ]
    events += [Mouse("wheel", *place, 3), Mouse("wheel", *place, -1), Resize(300, 200), Resize(500, 400)]
    seen = set()
    for event in events:
        box.window.events = [[event]]
        box.turn()
        assert box.state.hover == box.composed.state.hover == box.renderer.target_at(*place, box.composed), event
        seen.add(box.state.hover)
    assert len(seen) > 4


def test_the_status_names_no_unit_of_the_layer_before(box: Toolbox) -> None:
    rest(box)
    assert _hover_text(box.scene()).startswith("stem:4")
    press(box, "o")
    words = _hover_text(box.scene())
    assert words.startswith("head:") and box.state.layer == 1


def test_a_top_image_under_the_mouse_and_the_desk(box: Toolbox) -> None:
    """The mouse rests on a top image while the desk opens, and the other way round."""
    patch = Patch(0, "a.jpg", 0, 0, 2.0, (0, 0, 4, 4), np.ones((4, 4, 3), np.uint8))
    box.workers.top_images.close()
    top = TopPictures("stem", 0, "/data", (patch,) * 9, "deconv")
    box.workers.top_images = SimpleNamespace(answer=top, opened=OpenIndex(), want=lambda wish: None)
    left, top, width, height = box.renderer.layout.panes["unit_images"]
    box.window.events = [[Mouse("move", left + width // 2, top + height // 2)]]
    box.turn()
    assert isinstance(box.state.hover, TopImage)
    for key in ("2", "3", "4", "2", "s", "v", "v", "9", "9", "right", "o"):
        press(box, key)
    press(box, "2")
    rest(box)
    assert box.state.hover.tile is not None
    press(box, "2")
    assert box.state.hover is None  # in place of the desk: that no images are stored


def test_a_mouse_that_has_not_come_points_at_nothing_and_one_that_rests_costs_no_drawing(box: Toolbox) -> None:
    press(box, "o")
    assert box.state.hover is None
    rest(box)
    box.window.events = [[]]
    box.turn()
    before = len(box.window.pictures)
    for _ in range(5):
        box.window.events = [[]]
        box.turn()
    assert len(box.window.pictures) == before and box.state.hover is not None


def test_layers_of_fewer_units_and_shorter_lists_are_safe() -> None:
    shown = scene_of(State(hover=Hover(2, 4)))
    assert "classes:4" in _hover_text(shown)
    assert _hover_text(replace(shown, layers=LAYERS)) == ""  # another network with two layers
    fewer = (*SMALL[:2], replace(SMALL[2], units=3))
    assert _hover_text(replace(shown, layers=fewer)) == ""
