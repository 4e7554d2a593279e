"""A view as text: what a state shows, in a file of plain values or in a link, and back.

    model, weights            as in settings.yaml
    source, files, file       camera or files; what is browsed (photos, a folder …); the picture in it
    photo_root, photo         a data set's photo that is shown in place of the source
    unit, origin              ids (head:151): the selected unit, and the one that the backward pass starts from
    everything else           attributes of `State` by their names

ATTRIBUTES says what each of these attributes may be. A file holds all values; a link only those that differ from the
start's. Whatever a file or a link says, it is only looked up and compared, never executed.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from deepvis.attribution.methods import METHODS
from deepvis.core.errors import UserError
from deepvis.core.frames import Photo
from deepvis.core.layers import Layer, parse_unit, unit_id
from deepvis.core.nearest import did_you_mean
from deepvis.core.reading import is_text, place_of, read_link, read_yaml, shown
from deepvis.interface.contents import CONTENTS
from deepvis.interface.facet_commands import MOST
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

LINK = "deepvis://view?"
PHOTOS = "photos"  # the bundled photos

# ---- attributes of the state --------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """What an attribute of the state may be.

    Attributes:
        accepts: whether a plain value of a file is allowed.
        allowed: what is allowed, in words.
        names: the words that it may be, for "did you mean".
        plain: the state's value -> a plain value.
        value: a plain value that is allowed -> the state's value.
        parse: a link's text -> a plain value, allowed or not.
    """

    accepts: Callable[[Any], bool]
    allowed: str
    names: Callable[[], Collection[str]] = lambda: ()
    plain: Callable[[Any], Any] = lambda value: value
    value: Callable[[Any], Any] = lambda value: value
    parse: Callable[[str], Any] = lambda text: text


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_int=lambda digits: int(digits[:20]))
    except (ValueError, RecursionError):
        return text


def _choice(names: Callable[[], Collection[str | None]]) -> Kind:
    def words() -> list[str]:
        return [name for name in names() if name is not None]

    return Kind(lambda value: isinstance(value, str | None) and value in names(), "one of the names", words)


def _one_of(values: Sequence[float]) -> Kind:
    allowed = ", ".join(f"{value:g}" for value in values)
    return Kind(lambda value: type(value) is float and value in values, allowed, parse=_json)


def _place_in(values: Sequence[object]) -> Kind:
    most = len(values) - 1
    return Kind(lambda value: type(value) is int and 0 <= value <= most, f"a whole number from 0 to {most}",
                parse=_json)  # fmt: skip


def _is_pane_view(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 3 or any(type(part) not in (int, float) for part in value):
        return False
    scale, x, y = value
    return all(math.isfinite(part) for part in value) and 1 <= scale <= 40 and 0 <= x <= 1 and 0 <= y <= 1


_FLAG = Kind(lambda value: type(value) is bool, "true or false", parse=_json)
_PANE_VIEW = Kind(
    _is_pane_view,
    "[magnification from 1 to 40, x and y of its middle from 0 to 1]",
    plain=lambda view: [float(view.scale), float(view.x), float(view.y)],
    value=lambda plain: PaneView(*map(float, plain)),
    parse=_json,
)
_RECIPE = Kind(
    lambda value: isinstance(value, str) and bool(re.fullmatch("[a-z0-9][a-z0-9_-]{0,99}", value)),
    "a recipe's name, of small letters, digits, - and _",
)

OTHERWISE = {"layer", "unit", "origin", "source", "step", "photo"}  # a view holds these in its own words
OF_THE_MOMENT = {  # what no view holds: what is being typed, said, pointed at, collected
    *("typing", "naming", "message", "message_is_error", "hover", "frozen"),
    *("collecting", "moments", "recipe_grids", "enlarged", "full_screen", "order", "ranking", "held", "home"),
    *("finding", "picked", "looked_at", "hints", "own_filter"),
    *("dreaming", "dream_rounds", "guided", "guide_box", "new_box", "also", "nearest_round"),
}
ATTRIBUTES: dict[str, Kind] = {
    **{one.name: _FLAG for one in fields(State) if one.type == "bool" and one.name not in OF_THE_MOMENT},
    "zoom": _choice(lambda: ZOOMS),
    "content": _choice(lambda: CONTENTS),
    "method": _choice(lambda: (None, *METHODS)),
    "filter": _choice(lambda: FILTERS),
    "gamma": _place_in(GAMMAS),
    "boost": _place_in(BOOSTS),
    "view": _PANE_VIEW,
    "preset": _RECIPE,
    "theme": _choice(lambda: THEMES),
    "colors": _choice(lambda: COLORS),
    "heat": _choice(lambda: HEATS),
    "opacity": _one_of(OPACITIES),
    "layout": _choice(lambda: LAYOUT_NAMES),
    "part": _choice(lambda: PARTS),
    "dream_mode": _choice(lambda: DREAM_MODES),
    "facet_count": _place_in(range(MOST + 1)),
    "facet_view": _PANE_VIEW,
}
_TEXTS = ("model", "weights", "source", "files", "file", "photo_root", "photo", "unit", "origin")


# ---- a view -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SavedView:
    """What a file or a link says of a view; an empty text where it says nothing.

    Attributes:
        model, weights: as in `Settings`.
        source: camera or files.
        files: what is browsed: "photos" or a path.
        file: the picture that is shown, relative to the folder `files`, or absolute.
        photo_root, photo: folder and name of a data set's photo that is shown in place of the source.
        unit, origin: ids of units.
        chosen: attributes of the state (names of ATTRIBUTES).
        where, lines: where it was read, for errors.
    """

    model: str = ""
    weights: str = ""
    source: str = ""
    files: str = ""
    file: str = ""
    photo_root: str = ""
    photo: str = ""
    unit: str = ""
    origin: str = ""
    chosen: Mapping[str, object] = field(default_factory=dict)
    where: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def wrong(self, text: str) -> UserError:
        """A UserError with the place of the key that the text begins with."""
        return UserError(f"{place_of(self.where, self.lines, text)}: {text}")

    def begun(self, state: State) -> State:
        """The state with everything of the view that can be set before the network is there."""
        changes: dict[str, Any] = dict(self.chosen)
        if self.photo:
            changes["photo"] = Photo(self.photo_root, self.photo)
        return replace(state, **changes)

    def selected(self, state: State, layers: Sequence[Layer]) -> State:
        """The state with the view's unit and origin. Raises UserError if the network has no such layer or unit."""
        layer, unit = self._parsed("unit", layers) or (state.layer, state.unit)
        return replace(state, layer=layer, unit=unit, origin=self._parsed("origin", layers))

    def _parsed(self, key: str, layers: Sequence[Layer]) -> tuple[int, int] | None:
        text = getattr(self, key)
        if not text:
            return None
        try:
            return parse_unit(text, layers)
        except UserError as error:
            raise self.wrong(f"{key}: {error}") from error

    def text(self) -> str:
        """The text of a file that holds the view (YAML)."""
        values = {name: getattr(self, name) for name in _TEXTS if getattr(self, name)}
        values |= {name: ATTRIBUTES[name].plain(value) for name, value in self.chosen.items()}
        head = "# A view of deepvis. To open it again: deepvis live --view FILE\n"
        return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)

    def link(self) -> str:
        """A link that holds the view; attributes with the start's value are left out."""
        values = {name: getattr(self, name) for name in _TEXTS if getattr(self, name)}
        for name, value in self.chosen.items():
            if value != getattr(State(), name):
                plain = ATTRIBUTES[name].plain(value)
                values[name] = plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"))
        return LINK + urlencode(values, safe=":/,[]")


def view_of_state(state: State, layers: Sequence[Layer], **of_input: str) -> SavedView:
    """What a state shows of a network with these layers.

    Args:
        of_input: the attributes of `SavedView` that the state does not know: model, files …
    """
    chosen = {name: getattr(state, name) for name in ATTRIBUTES}
    origin = "" if state.origin is None else unit_id(layers[state.origin[0]].name, state.origin[1])
    unit = unit_id(layers[state.layer].name, state.unit)
    texts: dict[str, Any] = {**of_input, "unit": unit, "origin": origin}
    return SavedView(**texts, chosen=chosen)


# ---- reading ------------------------------------------------------------------------------------


def read_view(text: str) -> SavedView:
    """Read a view.

    Args:
        text: a link, or the name of a file. Paths in a file are relative to the file's folder.
    Raises:
        UserError: it cannot be read, or something in it is wrong: place, key, value, and what is allowed.
    """
    if "://" in text:
        place = SavedView(where="the link")
        texts = read_link(text.strip(), LINK, f"a link that begins with {LINK}")
        found: dict[str, object] = {
            name: ATTRIBUTES[name].parse(value) if name in ATTRIBUTES else value for name, value in texts.items()
        }
        return _checked(found, place, Path.cwd())
    path = Path(os.path.expanduser(text))
    file = read_yaml(path, f"a view's file, or a link that begins with {LINK}")
    place = SavedView(where=str(path), lines=file.lines)
    if not isinstance(file.values, dict):
        what = "is empty" if file.values is None else shown(file.values)
        raise UserError(f"{path}: {what}; expected lines `key: value` of a view, as the key + writes them")
    return _checked(file.values, place, path.absolute().parent)


def _checked(values: Mapping[str, object], place: SavedView, folder: Path) -> SavedView:
    """The view of these values; `place` says where they were read. Raises UserError."""
    texts: dict[str, Any] = {}
    chosen: dict[str, object] = {}
    for name, value in values.items():
        if name in ATTRIBUTES:
            chosen[name] = _attribute(name, value, place)
        elif name in _TEXTS:
            if not is_text(value) or not value.strip():
                raise place.wrong(f"{name}: {shown(value)}: expected a text (in quotes if it is a number)")
            texts[name] = value
        else:
            known = (*_TEXTS, *ATTRIBUTES)
            raise place.wrong(
                f"unknown key {shown(name)}.{did_you_mean(str(name), known)} A view has {', '.join(known)}. Remove it"
            )
    if texts.get("source", "files") not in ("camera", "files"):
        raise place.wrong(f"source: {shown(texts['source'])}: expected camera or files")
    if "://" in texts.get("files", ""):  # a view from elsewhere must not make the program call an address
        raise place.wrong(f"files: {shown(texts['files'])}: expected photos or a path. Give the address with --input")
    if "photo" in texts and "photo_root" not in texts:
        raise place.wrong(f"photo: {shown(texts['photo'])}: expected photo_root, its folder, beside it")
    if "files" in texts and texts["files"] != PHOTOS:
        texts["files"] = str(folder / texts["files"])
    return replace(place, **texts, chosen=chosen)


def _attribute(name: str, value: object, place: SavedView) -> object:
    kind = ATTRIBUTES[name]
    if kind.accepts(value):
        return kind.value(value)
    names = kind.names()
    near = did_you_mean(value, names) if isinstance(value, str) else ""
    raise place.wrong(f"{name}: {shown(value)}: expected {', '.join(names) or kind.allowed}.{near}")
