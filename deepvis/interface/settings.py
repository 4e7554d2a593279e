"""The user's choices: settings.yaml and the command line, checked against one table.

A mistyped setting is an error and never silently replaced by its default: `load` collects every
problem of the file and the command line, and raises one `UserError` with a line for each problem.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from deepvis.attribution.methods import own_problem
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.nearest import nearest
from deepvis.core.reading import is_text
from deepvis.interface.settings_file import SettingsEntry, entries_of, value_text
from deepvis.interface.state import COLORS, LAYOUT_NAMES, THEMES
from deepvis.networks.composites import Composite, composite_of

Rectangle = tuple[float, float, float, float]  # left, top, width, height, fractions of the window

DEFAULT_PANES: Mapping[str, Rectangle] = MappingProxyType(
    {
        "input": (0, 0, 0.2, 0.44),
        "unit": (0, 0.44, 0.2, 0.2558),
        "backward": (0, 0.6958, 0.2, 0.2558),
        "layers": (0.2, 0, 0.6, 0.06),
        "layer": (0.2, 0.06, 0.6, 0.8916),
        "unit_images": (0.8, 0, 0.2, 0.9516),
        "status": (0, 0.9516, 1, 0.0484),
    }
)


@dataclass(frozen=True)
class WindowSettings:
    """The window when it opens: size in pixels; `scale` multiplies the size of text and marks."""

    width: int = 1500
    height: int = 930
    scale: float | Literal["auto"] = "auto"
    theme: str = THEMES[0]
    layout: str = LAYOUT_NAMES[0]


@dataclass(frozen=True)
class DreamSettings:
    """The dreams of the window.

    Attributes:
        side: longest side of a dreamed picture in pixels.
        zoom_side: the same of an endless zoom.
        zoom, turn, drift_x, drift_y: of each frame of the endless zoom: share, degrees, pixels.
        walk: frames of an endless zoom of a unit until the layer's next one; 0: it stays with the unit.
    """

    side: int = 1100
    zoom_side: int = 400
    zoom: float = 0.05
    turn: float = 0.0
    drift_x: float = 0.0
    drift_y: float = 0.0
    walk: int = 0


@dataclass(frozen=True)
class Settings:
    """Everything that settings.yaml can say; the file itself explains each entry.

    Attributes:
        panes: where each visible pane lies; a pane that is switched off is not in it.
        keys: {command name: the keys that replace its default keys}; () leaves a command without a key.
        composites: {name: rules of relevance}, each of which is a backward method of that name.
    """

    input: str = "camera"
    camera: int | str = 0
    files: str = "photos"
    model: str = "efficientnet-lite0"
    weights: str = "auto"
    device: str = "auto"
    precision: str = "float32"
    crop: bool = True
    output: str = "deepvis-output"
    data: str = paths.USUAL
    scan: str = "auto"
    grow: str = "auto"
    unit: str = "auto"
    window: WindowSettings = WindowSettings()
    panes: Mapping[str, Rectangle] = field(default_factory=lambda: DEFAULT_PANES)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    colors: str = COLORS[0]
    dream: DreamSettings = DreamSettings()
    composites: Mapping[str, Composite] = field(default_factory=lambda: MappingProxyType({}))


def naming_options(settings: Settings) -> str:
    """The options with which a command works on the same network and data, each with a space before it."""
    usual = Settings()
    given = {name: getattr(settings, name) for name in ("model", "weights", "data")}
    return "".join(
        f" --{name} {shlex.quote(str(value))}" for name, value in given.items() if value != getattr(usual, name)
    )


# ---- the table ----------------------------------------------------------------------------------

SECTIONS = ("window", "panes", "keys", "dream", "composites")
_TOLERANCE = 1e-6  # fractions of the window: rounding in sums such as 0.1 + 0.2


@dataclass(frozen=True)
class Row:
    """What one key of settings.yaml may hold.

    Attributes:
        types: the exact types its value may have (so that `true` is not taken for 1).
        check: says whether a value of these types is allowed.
        allowed: what is allowed, in words.
        names: the words it may hold, for "did you mean".
        store: turns the value in the file into the value in `Settings`.
        problem: what is wrong with a value, where that takes words of its own; else empty.
    """

    types: tuple[type, ...]
    check: Callable[[Any], bool]
    allowed: str
    names: Collection[str] = ()
    store: Callable[[Any], object] = lambda value: value
    problem: Callable[[Any], str] = lambda value: ""

    def accepts(self, value: object) -> bool:
        # A text may be the name of a file, which need not be UTF-8.
        usable = not isinstance(value, str) or is_text(value, "surrogateescape")
        return type(value) in self.types and usable and self.check(value) and not self.problem(value)


def _is_source(value: int | str) -> bool:
    return value >= 0 if isinstance(value, int) else bool(value.strip())


def _is_rectangle(value: object) -> bool:
    if not isinstance(value, (list, tuple)):
        return value in (None, False, "off")  # YAML reads a bare off as false
    if len(value) != 4 or any(type(v) not in (int, float) for v in value):
        return False
    left, top, width, height = (float(side) for side in value)
    inside = left + width <= 1 + _TOLERANCE and top + height <= 1 + _TOLERANCE
    return bool(left >= 0 and top >= 0 and width > 0 and height > 0 and inside)


def _text(allowed: str) -> Row:
    return Row((str,), lambda value: bool(value.strip()), allowed)


def _choice(*names: str) -> Row:
    return Row((str,), lambda value: value in names, ", ".join(names), names)


def _pixels(low: int, high: int) -> Row:
    return Row((int,), lambda value: low <= value <= high, f"a whole number of pixels from {low} to {high}")


def _number(low: float, high: float) -> Row:
    return Row((int, float), lambda value: low <= value <= high, f"a number from {low:g} to {high:g}", store=float)


_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)
_PANE = Row(
    (list, tuple, type(None), bool, str),
    _is_rectangle,
    "[left, top, width, height] in fractions of the window (0 to 1, width and height above "
    "0, left + width and top + height at most 1), or off",
    store=lambda value: tuple(value) if isinstance(value, (list, tuple)) else None,
)

_AUTO = Row(  # YAML reads a bare off as false
    (str, bool),
    lambda value: value in ("auto", "off", False),
    "auto, off",
    ("auto", "off"),
    store=lambda value: value or "off",
)

SCHEMA: Mapping[str, Row] = {
    "input": Row(
        (str, int),
        _is_source,
        "camera, a camera index (0, 1 …), photos, or the name of a video, stream, folder, list file or image",
        store=str,
    ),
    "camera": Row((int, str), _is_source, "a camera index (0, 1 …) or a stream address"),
    "files": _text("photos, or the name of a video, folder, list file or image"),
    "model": _text(
        "the name of a folder in models/, the path of a model.yaml, or a source such as torchvision:resnet18"
    ),
    "weights": _text("auto, none, a name that the model's source knows (DEFAULT, IMAGENET1K_V1 …), or a file"),
    "device": Row(
        (str,),
        lambda value: bool(_DEVICE.fullmatch(value)),
        "auto, cpu, cuda, cuda:N (N = 0, 1 …), mps",
        ("auto", "cpu", "cuda", "mps"),
    ),
    "precision": _choice("float32", "bfloat16", "float16"),
    "crop": Row((bool,), lambda value: True, "true, false"),
    "output": _text("the name of a folder (in quotes if it is a number)"),
    "data": _text("auto, or the name of a folder (in quotes if it is a number)"),
    "colors": _choice(*COLORS),
    "scan": _AUTO,
    "grow": _AUTO,
    "unit": _text("auto, or the id of a unit, such as head:151"),
    "window.width": _pixels(320, 16384),
    "window.height": _pixels(200, 16384),
    "window.scale": Row(
        (int, float, str),
        lambda value: value == "auto" if isinstance(value, str) else 0.25 <= value <= 8,
        "auto, or a number from 0.25 to 8",
        ("auto",),
    ),
    "window.theme": _choice(*THEMES),
    "window.layout": _choice(*LAYOUT_NAMES),
    "dream.side": _pixels(64, 8192),
    "dream.zoom_side": _pixels(64, 8192),
    "dream.zoom": _number(-0.5, 1),
    "dream.turn": _number(-90, 90),
    "dream.drift_x": _number(-100, 100),
    "dream.drift_y": _number(-100, 100),
    "dream.walk": Row((int,), lambda value: 0 <= value <= 10000, "a whole number of frames from 0 to 10000"),
    **{f"panes.{name}": _PANE for name in DEFAULT_PANES},
}  # and a row keys.<command> for each command, see _keys_row


def _keys_row(key_names: Collection[str]) -> Row:
    def known(value: str | list[object] | tuple[object, ...]) -> bool:
        return all(isinstance(key, str) and key in key_names for key in _as_keys(value))

    allowed = f"a key or a list of keys (digits and signs in quotes): {' '.join(key_names)}"
    return Row((str, list, tuple), known, allowed, key_names, _as_keys)


def _as_keys(value: str | list[Any] | tuple[Any, ...]) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _composite_row(key: str) -> Row:
    problem = partial(own_problem, key.partition(".")[2])
    return Row((dict,), bool, "{first: flat, convolution: zplus} and the like", (), composite_of, problem)


# ---- reading ------------------------------------------------------------------------------------


def load(
    path: Path | None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    *,
    commands: Collection[str],
    key_names: Collection[str],
    say: Callable[[str], None] = lambda line: None,
    defaults: Mapping[str, object] = MappingProxyType({}),
) -> Settings:
    """Read and check the settings; what is not given takes its default.

    Args:
        path: the file; None: settings.yaml in the current folder, else the one in the usual data folder, else
            the one that comes with the program, else defaults only.
        overrides: values of the command line by dotted key ("model", "window.width"), which win
            over the file; None means "not given".
        commands: the names of the commands that keys can be bound to.
        key_names: every key there is.
        say: called with a line that names the file in use, unless it is the program's own file with the defaults.
        defaults: values in place of the usual defaults; the file wins over them.

    Raises:
        UserError: the file cannot be read, or something in it or in `overrides` is wrong. The message has one
            line for each problem: place, key, value, what is allowed and the remedy.
    """
    path = _find() if path is None else path
    problems: list[str] = []
    of_file = list(entries_of(path, SECTIONS, problems)) if path else []
    entries = [*(SettingsEntry(key, value, f"default {key}") for key, value in defaults.items()), *of_file]
    entries += [
        SettingsEntry(key, value, "--" + re.sub(r"[._]", "-", key))
        for key, value in overrides.items()
        if value is not None
    ]
    table = {**SCHEMA, **{f"keys.{name}": _keys_row(key_names) for name in commands}}
    table |= {entry.key: _composite_row(entry.key) for entry in entries if entry.key.startswith("composites.")}
    good: dict[str, SettingsEntry] = {}
    for entry in entries:
        if problem := _problem(entry, table):
            problems.append(problem)
        else:
            good[entry.key] = entry
    bad = {entry.key for entry in entries} - good.keys()
    settings = _build({key: table[key].store(entry.value) for key, entry in good.items()})
    problems += _overlaps(settings.panes, good, bad)
    problems += _shared_keys(settings.keys, good)
    if problems:
        raise UserError("\n".join(problems))
    if path is not None and (path.resolve() != _shipped() or any(_changes(entry, table) for entry in of_file)):
        say(f"settings: {path.absolute()}")
    return settings


def _find() -> Path | None:
    places = (Path("settings.yaml"), paths.usual_data() / "settings.yaml", _shipped())
    return next((place for place in places if place.is_file()), None)


def _shipped() -> Path:
    """settings.yaml beside the package: it repeats the defaults until someone edits it."""
    return paths.ROOT / "settings.yaml"


def _changes(entry: SettingsEntry, table: Mapping[str, Row]) -> bool:
    """Whether a valid entry differs from the default."""
    return table[entry.key].store(entry.value) != _DEFAULTS.get(entry.key)


# ---- checking -----------------------------------------------------------------------------------


def _problem(entry: SettingsEntry, table: Mapping[str, Row]) -> str | None:
    """What is wrong with one entry on its own, or None."""
    row = table.get(entry.key)
    if row is None:
        section, _, name = entry.key.partition(".")
        if section in SECTIONS:
            known = [key.partition(".")[2] for key in table if key.startswith(f"{section}.")]
            place = f" in {section}"
        else:
            name, place = entry.key, ""
            known = [*(key for key in table if "." not in key), *SECTIONS]
        return (
            f"{entry.where}: unknown key {entry.key} (value {value_text(entry.value)})"
            f"{_did_you_mean([name], known)}; allowed{place}: {', '.join(known)}. "
            "Correct or remove it"
        )
    if row.accepts(entry.value):
        return None
    if type(entry.value) in row.types and (wrong := row.problem(entry.value)):
        return f"{entry.where}: {entry.key}: {wrong}. Correct or remove it"
    words = entry.value if isinstance(entry.value, (list, tuple)) else [entry.value]
    default = _DEFAULTS.get(entry.key)
    return (
        f"{entry.where}: {entry.key} is {value_text(entry.value)}"
        f"{_did_you_mean(words, row.names)}; allowed: {row.allowed}. "
        "Correct it, or remove it for the default"
        f"{'' if default is None else f' ({value_text(default)})'}"
    )


def _overlaps(panes: Mapping[str, Rectangle], good: Mapping[str, SettingsEntry], bad: Collection[str]) -> Iterator[str]:
    sound = [name for name in panes if f"panes.{name}" not in bad]
    for pair in combinations(sound, 2):
        if _overlap(panes[pair[0]], panes[pair[1]]):
            # Defaults do not overlap, so at least one of the two was given: the message names that one first.
            one, two = sorted(pair, key=lambda name: f"panes.{name}" not in good)
            other = good.get(f"panes.{two}")
            yield (
                f"{good[f'panes.{one}'].where}: panes.{one} is {value_text(panes[one])} and overlaps "
                f"panes.{two}, which is {value_text(panes[two])} "
                f"({other.where if other else 'by default'}); allowed: panes side by side. Move "
                "or shrink one of them, or switch it off"
            )


def _overlap(one: Rectangle, two: Rectangle) -> bool:
    def shared(axis: int) -> float:
        end = min(one[axis] + one[axis + 2], two[axis] + two[axis + 2])
        return end - max(one[axis], two[axis])

    return min(shared(0), shared(1)) > _TOLERANCE


def _shared_keys(keys: Mapping[str, tuple[str, ...]], good: Mapping[str, SettingsEntry]) -> Iterator[str]:
    for one, two in combinations(keys, 2):
        for key in dict.fromkeys(keys[one]):
            if key in keys[two]:
                yield (
                    f"{good[f'keys.{one}'].where}: keys.{one} has the key {value_text(key)}, which "
                    f"keys.{two} has too ({good[f'keys.{two}'].where}); allowed: each key for "
                    "one command. Give one of them another"
                )


def _did_you_mean(words: Collection[object], names: Collection[str]) -> str:
    wrong = [word for word in words if isinstance(word, str) and word not in names]
    near = [match for word in wrong for match in nearest(word, names, 1)]
    return f" (did you mean {', '.join(near)}?)" if near else ""


# ---- building -----------------------------------------------------------------------------------


def _build(values: Mapping[str, Any]) -> Settings:
    """Settings from checked values by dotted key."""
    section = {
        name: {key[len(name) + 1 :]: value for key, value in values.items() if key.startswith(f"{name}.")}
        for name in SECTIONS
    }
    panes = {name: place for name, place in {**DEFAULT_PANES, **section["panes"]}.items() if place}
    return Settings(
        **{key: value for key, value in values.items() if "." not in key},
        window=WindowSettings(**section["window"]),
        dream=DreamSettings(**section["dream"]),
        panes=MappingProxyType(panes),
        keys=MappingProxyType(section["keys"]),
        composites=MappingProxyType(section["composites"]),
    )


def _flat(settings: Settings) -> dict[str, object]:
    """The settings by dotted key, `keys` left out."""
    return {
        **{f.name: getattr(settings, f.name) for f in fields(Settings) if f.name not in SECTIONS},
        **{f"window.{f.name}": getattr(settings.window, f.name) for f in fields(WindowSettings)},
        **{f"dream.{f.name}": getattr(settings.dream, f.name) for f in fields(DreamSettings)},
        **{f"panes.{name}": place for name, place in settings.panes.items()},
    }


_DEFAULTS = _flat(Settings())
