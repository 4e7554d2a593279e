"""A content, a view of the big pane, a pane: each is a row, and whoever speaks of them goes by the table."""

from __future__ import annotations

import numpy as np
import pytest

from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.interface.command import Facts
from deepvis.interface.commands import run
from deepvis.interface.contents import CONTENTS, Content, Needs
from deepvis.interface.layout import lay_out
from deepvis.interface.requests import layer_images_wish, unit_images_wish
from deepvis.interface.settings import DEFAULT_PANES, SCHEMA
from deepvis.interface.state import Hover, State
from deepvis.render import LoadingScene, Renderer, Scene
from deepvis.render.panes import PANES
from deepvis.render.panes.big_view import BigView
from deepvis.render.panes.layer import VIEWS
from deepvis.render.panes.pane import Pane

LAYERS = (Layer("map", "Conv2d", 6, 4, 4),)
FRAME = Frame(np.zeros((20, 20, 3), np.uint8), "black.png", 0, False)
PAINT = (1, 2, 3)


def scene(content: str) -> Scene:
    result = Result(Request(FRAME, True, "map"), np.ones((6, 4, 4), np.float32))
    return Scene(State(content=content), layers=LAYERS, frame=FRAME, result=result, pictures_of="map")


def test_the_tables_name_the_same_things() -> None:
    assert all(row.name == name for name, row in CONTENTS.items())
    assert set(CONTENTS) <= set(VIEWS)
    assert (
        set(PANES) == set(DEFAULT_PANES) == {key.removeprefix("panes.") for key in SCHEMA if key.startswith("panes.")}
    )


def test_a_content_that_is_added_is_in_the_cycle_drawn_fetched_for_and_pointed_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = BigView(
        lambda canvas, scene: canvas.fill(PAINT),
        key=lambda scene: (scene.state.step,),
        at=lambda body, scene, x, y: Hover(0, 1 if x < body.width // 2 else 2),
    )
    monkeypatch.setitem(CONTENTS, "new", Content("new", Needs.STORED_IMAGES))
    monkeypatch.setitem(VIEWS, "new", view)
    state, seen = State(), []
    for _ in CONTENTS:
        state = run(state, "content", Facts(LAYERS)).state
        seen.append(state.content)
    assert seen[-2:] == ["new", "activations"]
    wish = unit_images_wish(State(content="new"), LAYERS, range(4), 16)
    assert wish is not None and wish.cells == (0, 1, 2, 3)
    assert layer_images_wish(State(content="new"), LAYERS, range(4), 16).layer == ""
    renderer = Renderer(lay_out(DEFAULT_PANES, 600, 400, 1.0))
    image, _ = renderer.compose(scene("new"))
    left, top, width, height = renderer.layout.panes["layer"]
    assert tuple(image[top + height // 2, left + width // 2]) == PAINT
    assert renderer.target_at(left + 5, top + height // 2, scene("new")) == Hover(0, 1)
    assert renderer.target_at(left + width - 9, top + height // 2, scene("new")) == Hover(0, 2)
    assert renderer.cells(scene("new"))[0] == range(6) and renderer.cells(scene("activations"))[0] == range(0)


def test_a_pane_that_is_added_is_drawn_and_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    pane = Pane(
        draw=lambda canvas, scene: canvas.fill(PAINT),
        loading=lambda canvas, scene: canvas.fill((9, 9, 9)),
        key=lambda scene: (scene.state.step,),
        target=lambda canvas, scene, x, y: Hover(0, x // 10),
    )
    monkeypatch.setitem(PANES, "new", pane)
    renderer = Renderer(lay_out({"new": (0.5, 0.0, 0.5, 1.0)}, 100, 40, 1.0))
    loading = LoadingScene(State(), frame=FRAME)
    assert tuple(renderer.compose(loading)[0][20, 75]) == (9, 9, 9)
    assert renderer.target_at(75, 20, loading) is None
    shown = scene("activations")
    image, changed = renderer.compose(shown)
    assert changed and tuple(image[20, 75]) == PAINT and renderer.is_drawn("new", shown)
    assert renderer.target_at(75, 20, shown) == Hover(0, 2) and renderer.target_at(20, 20, shown) is None
    assert not renderer.compose(scene("histograms"))[1]  # its key says that nothing of it has changed
