"""Views in files and links: what is written is read again, and what strangers write is refused in words."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import DRIVEN, in_bounds, values

from deepvis.attribution.methods import METHODS
from deepvis.core.errors import UserError
from deepvis.core.frames import Photo
from deepvis.core.layers import Layer
from deepvis.interface.contents import CONTENTS
from deepvis.interface.facet_commands import MOST
from deepvis.interface.saved_view import (
    ATTRIBUTES,
    LINK,
    OF_THE_MOMENT,
    OTHERWISE,
    SavedView,
    read_view,
    view_of_state,
)
from deepvis.interface.state import (
    BOOSTS,
    COLORS,
    DREAM_MODES,
    FILTERS,
    GAMMAS,
    HEATS,
    LAYOUT_NAMES,
    OPACITIES,
    PARTS,
    THEMES,
    ZOOMS,
    State,
)
from deepvis.interface.unit_grid import PaneView

LAYERS = (
    Layer("features.0", "Conv2d", 6, 4, 4),
    Layer("block 3:b/&=é%", "Block", 9, 2, 2),
    Layer("head", "Linear", 3, labels=("zebra", "bear, brown", "")),
)
CHOICES = {
    "zoom": st.sampled_from(ZOOMS),
    "content": st.sampled_from(list(CONTENTS)),
    "method": st.sampled_from([None, *METHODS]),
    "filter": st.sampled_from(FILTERS),
    "gamma": st.integers(0, len(GAMMAS) - 1),
    "boost": st.integers(0, len(BOOSTS) - 1),
    "view": st.builds(PaneView, st.floats(1, 40), st.floats(0, 1), st.floats(0, 1)),
    "preset": st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
    "theme": st.sampled_from(THEMES),
    "colors": st.sampled_from(COLORS),
    "heat": st.sampled_from(HEATS),
    "opacity": st.sampled_from(OPACITIES),
    "layout": st.sampled_from(LAYOUT_NAMES),
    "part": st.sampled_from(PARTS),
    "dream_mode": st.sampled_from(DREAM_MODES),
    "facet_count": st.integers(0, MOST),
    "facet_view": st.builds(PaneView, st.floats(1, 40), st.floats(0, 1), st.floats(0, 1)),
}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)


@st.composite
def states(draw: st.DrawFn) -> State:
    layer = draw(st.integers(0, len(LAYERS) - 1))
    origin = draw(st.none() | st.integers(0, len(LAYERS) - 1))
    return State(
        layer=layer,
        unit=draw(st.integers(0, LAYERS[layer].units - 1)),
        origin=None if origin is None else (origin, draw(st.integers(0, LAYERS[origin].units - 1))),
        photo=draw(st.none() | st.builds(Photo, TEXT, TEXT)),
        **{name: draw(CHOICES.get(name, st.booleans())) for name in ATTRIBUTES},
    )


def test_every_attribute_of_the_state_is_in_a_view_or_left_out_on_purpose() -> None:
    names = {one.name for one in fields(State)}
    assert names == {*ATTRIBUTES, *OTHERWISE, *OF_THE_MOMENT}, "say in saved_view.ATTRIBUTES what the new one may be"
    for name, kind in ATTRIBUTES.items():
        assert kind.accepts(kind.plain(getattr(State(), name))), name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states(), TEXT, st.sampled_from(["camera", "files"]))
def test_a_state_is_the_same_after_a_file_and_after_a_link(tmp_path: Path, state: State, model: str, source) -> None:
    photo = {} if state.photo is None else {"photo_root": state.photo.root, "photo": state.photo.name}
    view = view_of_state(state, LAYERS, model=model, weights="auto", source=source, **photo)
    path = tmp_path / "x.view.yaml"
    path.write_text(view.text(), encoding="utf-8")
    for read in (read_view(str(path)), read_view(view.link())):
        assert replace(read, chosen=view.chosen) == view
        assert read.selected(read.begun(State()), LAYERS) == state


def test_a_link_is_short_and_keeps_what_is_not_as_at_the_start() -> None:
    link = view_of_state(State(layer=2, unit=1, content="histograms"), LAYERS, model="m").link()
    assert link == f"{LINK}model=m&unit=head:1&content=histograms"
    by_hand = read_view(f"{LINK}unit=head:bear,+brown&zoom=unit&view=[2,0.5,0.25]&predictions=false&gamma=3")
    assert by_hand.selected(by_hand.begun(State()), LAYERS) == State(
        layer=2, unit=1, zoom="unit", view=PaneView(2, 0.5, 0.25), predictions=False, gamma=3
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("content: histogram", r"line 1: content: 'histogram': expected activations.* Did you mean histograms"),
        ("model: m\nzom: unit", r"line 2: unknown key 'zom'\. Did you mean zoom"),
        ("gamma: 5", r"line 1: gamma: 5: expected a whole number from 0 to 4"),
        ("gamma: true", "gamma: True: expected"),
        ("gamma: 1.0", "gamma: 1.0: expected"),
        ("predictions: 1", "predictions: 1: expected true or false"),
        ("view: [0.5, 0, 0]", r"view: \[0.5, 0, 0\]: expected \[magnification from 1 to 40"),
        ("view: [.nan, 0, 0]", "view: .*expected"),
        ("view: [2, .inf, 0]", "view: .*expected"),
        ("model: 5", r"model: 5: expected a text \(in quotes"),
        ("model: ''", "model: '': expected a text"),
        ("source: rtsp", "source: 'rtsp': expected camera or files"),
        ("files: http://192.0.2.1/x", "files: 'http.*expected photos or a path"),
        ("photo: a.jpg", "photo: 'a.jpg': expected photo_root"),
        ("preset: ../../x", "preset: .*a recipe's name"),
        ("hover: 3", "unknown key 'hover'"),
        ("- 1", "expected lines `key: value`"),
        ("", "is empty; expected lines `key: value`"),
        ("model: !!python/object/apply:os.system [ls]", "expected plain values"),
        ("model: a\nmodel: b", "given twice"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.view.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        read_view(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("deepvis://vew?unit=a:1", "does not begin with deepvis://view"),
        (f"{LINK}unit", "not pairs NAME=VALUE"),
        (f"{LINK}unit=%ff", "not pairs NAME=VALUE"),
        (f"{LINK}unit=%00", "characters that no text has"),
        (f"{LINK}unit=a:1&unit=a:2", "given twice"),
        (f"{LINK}zoom=far", "the link: zoom: 'far': expected layer, unit, backward"),
        (f"{LINK}gamma=1e99", "gamma: 1e"),
        (f"{LINK}gamma={'9' * 4000}", "gamma: 9.*expected a whole number"),
        (f"{LINK}view={'[' * 3000}", "view: .*expected"),
        (f"{LINK}unit={'a' * 9000}", "more than 8,192 characters"),
    ],
)
def test_what_is_wrong_in_a_link_is_said(link: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read_view(link)
    assert len(str(error.value)) < 1500


def test_an_unknown_layer_or_unit_is_said_with_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "x.view.yaml"
    path.write_text("model: m\nunit: features.1:3\n")
    with pytest.raises(UserError, match=r"x.view.yaml, line 2: unit: unknown layer.*Did you mean features\.0"):
        read_view(str(path)).selected(State(), LAYERS)
    with pytest.raises(UserError, match="the link: origin: layer head has no unit 7"):
        read_view(f"{LINK}origin=head:7").selected(State(), LAYERS)


def test_paths_in_a_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "x.view.yaml"
    path.write_text("files: x.input.png\n")
    assert read_view(str(path)).files == str(tmp_path / "x.input.png")
    path.write_text("files: photos\n")
    assert read_view(str(path)).files == "photos"


VALID = yaml.safe_load(view_of_state(State(), LAYERS, model="m", source="files", files="photos").text())


@DRIVEN
@given(values(VALID))
def test_a_file_of_odd_values_is_read_or_refused(tmp_path: Path, odd: object) -> None:
    path = tmp_path / "odd.yaml"
    try:
        path.write_text(yaml.safe_dump(odd, allow_unicode=True))
    except UnicodeEncodeError:
        return
    try:
        view = read_view(str(path))
        view.selected(view.begun(State()), LAYERS)
    except UserError as error:
        assert re.match(f"{re.escape(str(path))}", str(error))


def test_huge_files_are_refused_in_bounds(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text(
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))
    )
    deep = tmp_path / "deep.yaml"
    deep.write_text("model: " + "[" * 100_000)
    large = tmp_path / "large.yaml"
    large.write_text("model: " + "x" * (2 << 20))
    said = in_bounds("from deepvis.interface.saved_view import read_view", "read_view(str(path))", [bomb, deep, large])
    assert all("was read" not in text for text in said.values())


def test_a_view_says_nothing_where_nothing_is_given() -> None:
    assert SavedView().begun(State(unit=3)) == State(unit=3)
