"""The facet map and the facets in the big pane, under the mouse and by keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.facets.facet_map import Facet, FacetMap, Member
from deepvis.interface.command import Facts
from deepvis.interface.commands import run
from deepvis.interface.facet_commands import MAP_SHARE, drag
from deepvis.interface.layout import lay_out
from deepvis.interface.moving import select
from deepvis.interface.pointing import click, wheel
from deepvis.interface.requests import facets_wish
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import FacetPhoto, State
from deepvis.interface.unit_grid import PaneView
from deepvis.render import Renderer, Scene, text
from deepvis.render.facet_figures import at_true_sizes, below_their_photos, by_cluster, map_with_facets
from deepvis.render.figures import GAP
from deepvis.render.panes import facets as pane
from deepvis.render.panes.facets import ink
from deepvis.workers.messages import FacetsWish, Thumbs, UnitFacets

LAYERS = (Layer("map", "Conv2d", 4, 5, 5), Layer("classes", "Linear", 9, labels=tuple("abcdefghi")))
FACTS = Facts(LAYERS, facets=2)
PLACES = ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (0.0, 0.0))
COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (250, 0, 250))


def unit_facets(**parts: object) -> UnitFacets:
    members = tuple(Member(f"{i}.jpg", 0, 0, 5.0 - i, "pear", x, y, int(y > 0)) for i, (x, y) in enumerate(PLACES))
    gray = np.full((20, 20, 3), 120, np.uint8)
    facets = (
        Facet(3, (0, 1, 4), gray, (("pear", 1.0),), np.full((20, 20, 3), 200, np.uint8), 7.0, 1.0,
              (("bell pepper", 0.62), ("strawberry", 0.2))),
        Facet(2, (2, 3), gray),
    )  # fmt: skip
    found = FacetMap("classes", 3, "/photos", "head", members, facets, ((2, 0.4), (3, 0.5)))
    thumbs = Thumbs(tuple(np.full((24, 24, 3), colour, np.uint8) for colour in COLOURS))
    made = UnitFacets(FacetsWish("classes", 3), found, found, thumbs, 5, 12)
    return replace(made, **parts)


def scene(facets: UnitFacets | None, **state: object) -> Scene:
    shown = replace(State(layer=1, unit=3, zoom="facets"), **state)
    frame = Frame(np.zeros((20, 20, 3), np.uint8), "black.png", 0, False)
    return Scene(shown, layers=LAYERS, frame=frame, pictures_of="classes", facets=facets)


def renderer() -> Renderer:
    return Renderer(lay_out(DEFAULT_PANES, 1400, 900, 1.0))


def words(shown: Scene, monkeypatch: pytest.MonkeyPatch) -> str:
    said: list[str] = []
    put = text.put
    monkeypatch.setattr(text, "put", lambda image, words, *a, **k: (said.append(words), put(image, words, *a, **k))[1])
    renderer().compose(shown)
    monkeypatch.undo()
    return "\n".join(said)


def test_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(scene(unit_facets()), monkeypatch)
    for part in ("facets of classes:3 d", "5 photos by head", "silhouette 0.40; best 0.50 with 3", "step 5 of 12",
                 "network: bell pepper .62", "100% of the photos: pear", "3 photos", "value 7.00"):  # fmt: skip
        assert part in said, part
    assert "stored" in words(scene(unit_facets(is_stored=True, done=True)), monkeypatch)
    noted = words(scene(unit_facets(done=True, note="not kept: the disk is full")), monkeypatch)
    assert "not kept: the disk is full" in noted and "done and kept" not in noted
    why = words(scene(unit_facets(laid_out=None, found=None, note="There is no index")), monkeypatch)
    assert "There is no index" in why
    assert "looking …" in words(scene(None), monkeypatch)
    assert "looking …" in words(scene(unit_facets(), unit=4), monkeypatch)  # facets of the unit before


def test_each_photo_lies_where_the_mouse_finds_it() -> None:
    shown, made = scene(unit_facets()), renderer()
    image, _ = made.compose(shown)
    left, top, width, height = made.layer_box
    found = {}
    for x in range(left, left + round(width * MAP_SHARE), 7):
        for y in range(top, top + height, 7):
            target = made.target_at(x, y, shown)
            if isinstance(target, FacetPhoto):
                found.setdefault(target.number, []).append((x, y))
    assert sorted(found) == [0, 1, 2, 3, 4]
    for number, points in found.items():
        x, y = points[len(points) // 2]
        assert image[y, x].tolist() == list(COLOURS[number])[::-1]
    target = made.target_at(*found[2][0], shown)
    state = click(shown.state, target, FACTS).state
    assert state.photo is not None and (state.photo.root, state.photo.name) == ("/photos", "2.jpg")
    hovered = replace(shown, state=replace(shown.state, hover=target))
    assert pane.facet_words(hovered, target) == "2.jpg   classes:3 3.00   facet 2   the network calls it pear"
    assert hovered.hover == target and replace(hovered, facets=None).hover is None


def test_wheel_and_drag_move_the_map_and_the_point_stays() -> None:
    state = wheel(State(zoom="facets"), 3, 0.3, 0.25)
    assert state.facet_view.scale > 1.9 and state.view == PaneView()
    spots = [pane._spots(unit_facets().laid_out, 600, 800, view) for view in (PaneView(), state.facet_view)]
    fixed = np.array([600 * 0.3 / MAP_SHARE, 800 * 0.25])
    scale = state.facet_view.scale
    np.testing.assert_allclose((spots[0].middles - fixed) * scale, spots[1].middles - fixed, atol=1)
    moved = drag(state, 0.06, -0.1)
    after = pane._spots(unit_facets().laid_out, 600, 800, moved.facet_view)
    np.testing.assert_allclose(after.middles - spots[1].middles, [[0.06 / MAP_SHARE * 600, -80]] * 5, atol=1)
    assert wheel(state, 3, 0.9, 0.5) == state and drag(State(), 0.1, 0.1) == State()


def test_the_number_of_facets_by_keys_and_chips() -> None:
    state = run(State(layer=1, unit=3), "facets", FACTS).state
    assert state.zoom == "facets" and facets_wish(state, LAYERS) == FacetsWish("classes", 3)
    more = run(state, "more_facets", FACTS).state
    assert facets_wish(more, LAYERS).k == 3 and run(more, "fewer_facets", FACTS).state.facet_count == 2
    assert run(more, "more_facets=suggested", FACTS).state.facet_count == 0
    assert run(more, "more_facets=suggested", replace(FACTS, suggested_facets=5)).state.facet_count == 5
    assert select(more, FACTS, 1, 4).facet_count == 0 and select(more, FACTS, 1, 3).facet_count == 3
    assert run(state, "facets", FACTS).state.zoom == "layer" and facets_wish(State(), LAYERS) is None
    assert run(State(), "fewer_facets", FACTS).state.zoom == "facets"  # first they are shown


PATCHES = [np.full((20, 20, 3), colour, np.uint8) for colour in COLOURS]


# ---- figures ---------------------------------------------------------------------------------------


def found(**parts: object) -> FacetMap:
    made = unit_facets().found
    assert made is not None
    image = np.full((20, 20, 3), 200, np.uint8)
    return replace(made, facets=tuple(replace(facet, image=image) for facet in made.facets), **parts)


def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words: list[str] = []
    put = text.put
    monkeypatch.setattr(text, "put", lambda image, line, *a, **k: (words.append(line), put(image, line, *a, **k))[1])
    return words


def test_the_map_with_the_facets_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words = said(monkeypatch)
    picture = map_with_facets(found(), PATCHES, 400)
    assert picture.shape == (400, 760, 3) and "network: bell pepper .62" in "\n".join(words)
    for part in (picture[:, :180], picture[:, 580:]):  # a facet on each side
        assert (part == 200).all(-1).sum() > 2000
    middle = picture[:, 180:580].reshape(-1, 3)
    assert all((middle == colour[::-1]).all(1).any() for colour in COLOURS)


def test_a_facet_below_its_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    words = said(monkeypatch)
    picture = below_their_photos([found()], [PATCHES], ["classes:3 d"], 4)
    side = 224
    assert picture.shape == (2 * (side + 18 + GAP), 4 * (side + GAP), 3)
    assert picture[18 + side // 2, side // 2].tolist() == list(COLOURS[0])[::-1]  # the photo nearest to the centre
    assert picture[18 + side // 2, side + GAP + side // 2].tolist() == list(COLOURS[2])[::-1]
    assert (picture[2 * 18 + side + GAP + side // 2, [side // 2, side + GAP + side // 2]] == 200).all()
    assert words[0] == "classes:3 d   facet 1: 3 photos" and "bell pepper .62, strawberry .20" in words


def test_true_sizes_and_the_photos_of_each_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = at_true_sizes([found(), found(layer="map", unit=1)], 4)
    assert (picture == 200).all(-1).sum() == 4 * 20 * 20
    words = said(monkeypatch)
    below = [np.full((20, 20, 3), 77, np.uint8), *[None] * 4]
    picture = by_cluster(found(), PATCHES, below, columns=2, side=120)
    step = 120 + GAP
    assert picture.shape == (20 + 2 * 2 * step + 20 + 2 * step, 2 * step, 3)  # 3 photos in two rows, 2 in one
    assert picture[20 + 20, 20].tolist() == list(COLOURS[0])[::-1]
    assert picture[20 + step + 20, 20].tolist() == [77] * 3
    assert picture[20 + 2 * step + 20, 20].tolist() == list(COLOURS[4])[::-1]
    assert words == ["1   3 photos   pear 1.00", "2   2 photos   "] and ink(0) != ink(1)
