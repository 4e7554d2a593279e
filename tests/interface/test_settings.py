"""Every mistake in settings.yaml must be named: line, key, value, what is allowed, remedy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepvis.attribution.methods import METHODS, take_in
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.interface import commands as interface_commands
from deepvis.interface import settings
from deepvis.interface.command import Facts
from deepvis.interface.saved_view import LINK, read_view
from deepvis.interface.settings import DEFAULT_PANES, SCHEMA, Settings, WindowSettings
from deepvis.interface.state import State
from deepvis.networks.composites import Composite

COMMANDS = ("help", "pause", "next_layer")
KEYS = ("a", "h", "l", "p", "q", "1", "?", "space", "left", "right")


def load(path: Path | None, overrides: dict[str, object] | None = None) -> Settings:
    return settings.load(path, overrides or {}, commands=COMMANDS, key_names=KEYS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def problems(file: Path, text: str | bytes, **arguments: object) -> list[str]:
    """The lines of the error that this text must cause."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load(file, **arguments)
    return str(caught.value).splitlines()


# ---- the user's rules of relevance ---------------------------------------------------------------


@pytest.fixture
def untouched() -> Iterator[None]:
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def test_a_composite_becomes_a_backward_method(file: Path, untouched: None) -> None:
    file.write_text("composites:\n  sharp: {first: gamma 0.2, convolution: gamma 0.2, biases: spread}\n")
    found = load(file)
    assert found.composites == {"sharp": Composite("gamma 0.2", "gamma 0.2", biases="spread")}
    take_in(found.composites)
    assert tuple(METHODS)[-1] == "sharp" and METHODS["sharp"].shows == "shares" and not METHODS["sharp"].in_cycle
    facts = Facts((Layer("conv", "Conv2d", 2, 4, 4),))
    assert "sharp" in interface_commands.COMMANDS["method"].options(facts)
    assert interface_commands.run(State(), "method=sharp", facts).state.method == "sharp"
    assert read_view(f"{LINK}method=sharp").chosen["method"] == "sharp"
    assert load(file) == found  # its own name is free the second time
    take_in({})
    assert "sharp" not in METHODS and "lrp" in METHODS


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a: {first: gama 1, convolution: zplus}", "rule 'gama 1': expected one of epsilon N, zplus"),
        ("a: {first: , convolution: zplus}", "rule 'None'"),
        ("a: {first: ' ', convolution: zplus}", "rule ' '"),
        ("a: {first: flat}", "a composite needs a rule for convolution"),
        ("a: {first: flat, convolution: zplus, 1: x}", "unknown part 1"),
        ("lrp: {first: flat, convolution: zplus}", "is the name of something else"),
        ("A b: {first: flat, convolution: zplus}", "allowed as a name"),
        ("a: zplus", "composites.a is 'zplus'; allowed: {first: flat, convolution: zplus} and the like"),
    ],
)
def test_a_composite_that_is_wrong(file: Path, line: str, words: str) -> None:
    (said,) = problems(file, f"model: x\ncomposites:\n  {line}\n")
    assert words in said and ", line 3: composites." in said


# ---- what is right ------------------------------------------------------------------------------


def test_shipped_file_says_the_defaults() -> None:
    shipped = paths.ROOT / "settings.yaml"
    assert load(shipped) == Settings()
    text = "\n" + shipped.read_text(encoding="utf-8")
    for key in SCHEMA:
        section, dot, name = key.rpartition(".")
        assert f"\n{'  ' if dot else ''}{name}:" in text.split(f"\n{section}:")[-1], key


def test_defaults_do_not_share_a_place_and_fill_the_window() -> None:
    assert sum(width * height for _, _, width, height in DEFAULT_PANES.values()) == pytest.approx(1)


@pytest.mark.parametrize("text", ["", "# nothing\n", "window:\npanes:\nkeys:\n", "{}", "\ufeffcrop: true"])
def test_what_is_missing_takes_the_default(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    assert load(file) == Settings()


def test_every_setting_can_be_set(file: Path) -> None:
    file.write_text("""
input: clips/cat.mp4
camera: rtsp://door/1
files: album
model: '42'
weights: IMAGENET1K_V2
device: cuda:1
precision: bfloat16
crop: off
output: /tmp/out
data: /tmp/mine
colors: cividis
scan: off
grow: "off"
unit: head:7
window: {width: 320, height: 200, scale: 2, theme: light, layout: projector}
panes: {unit: [0.8, 0.5, 0.2, 0.4], unit_images: [0.8, 0, 0.2, 0.5], backward: off, layers: null}
keys: {pause: [q, "1"], help: "?", next_layer: []}
""")
    assert load(file) == Settings(
        "clips/cat.mp4",
        "rtsp://door/1",
        "album",
        "42",
        "IMAGENET1K_V2",
        "cuda:1",
        "bfloat16",
        False,
        "/tmp/out",
        "/tmp/mine",
        "off",
        "off",
        "head:7",
        WindowSettings(320, 200, 2, "light", "projector"),
        {
            "input": DEFAULT_PANES["input"],
            "unit": (0.8, 0.5, 0.2, 0.4),
            "layer": DEFAULT_PANES["layer"],
            "unit_images": (0.8, 0, 0.2, 0.5),
            "status": DEFAULT_PANES["status"],
        },
        {"pause": ("q", "1"), "help": ("?",), "next_layer": ()},
        "cividis",
    )


def test_camera_index_as_input(file: Path) -> None:
    file.write_text("input: 0\ncamera: 2\n")
    assert (load(file).input, load(file).camera) == ("0", 2)


def test_settings_cannot_be_changed() -> None:
    loaded = Settings()
    with pytest.raises(AttributeError):
        loaded.model = "x"
    for mapping in (loaded.panes, loaded.keys, load(None).panes):
        with pytest.raises(TypeError):
            mapping["input"] = ()


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "repository" / "deepvis"
    current = tmp_path / "current"
    package.mkdir(parents=True)
    current.mkdir()
    monkeypatch.setattr(paths, "ROOT", package.parent)
    monkeypatch.chdir(current)
    assert load(None).model == Settings().model
    (package.parent / "settings.yaml").write_text("model: beside-the-package")
    assert load(None).model == "beside-the-package"
    monkeypatch.setattr(paths, "usual_data", lambda: tmp_path / "data")  # of an installed package another folder
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "settings.yaml").write_text("model: among-ones-own-things")
    assert load(None).model == "among-ones-own-things"
    (current / "settings.yaml").write_text("model: in-the-current-folder")
    assert load(None).model == "in-the-current-folder"


def test_touching_panes_may_differ_by_rounding(file: Path) -> None:
    file.write_text("panes: {layers: [0.2, 0, 0.6, 0.0600001], unit_images: [0.8, 0, 0.2000001, 0.9]}")
    assert load(file).panes["layers"] == (0.2, 0, 0.6, 0.0600001)


# ---- single values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, values, allowed",
    [
        ("input", ["-1", "1.5", "true", "''", "[a]", "", "2024-01-01"], "camera, a camera index"),
        ("camera", ["-1", "1.5", "yes", "' '", "{a: 1}"], "a camera index (0, 1 …) or a stream address"),
        ("files", ["3", "null", "''"], "photos, or the name of a video, folder, list file or image"),
        ("model", ["42", "[]", "''"], "the name of a folder in models/"),
        ("weights", ["3", "null", "' '", "[a]"], "auto, none, a name that the model's source knows"),
        ("device", ["gpu", "'cuda:'", "cuda:x", "0", "CPU", "'cuda:1 '"], "auto, cpu, cuda, cuda:N"),
        ("precision", ["float64", "16", "half"], "float32, bfloat16, float16"),
        ("crop", ["1", "'yes'", "middle"], "true, false"),
        ("output", ["1", "false"], "the name of a folder"),
        ("window.width", ["319", "16385", "'1500'", "1500.0", "true"], "from 320 to 16384"),
        ("window.height", ["199", "16385", "wide", "null"], "from 200 to 16384"),
        ("window.scale", ["0.2", "9", "automatic", ".nan", ".inf", "true", "'2'"], "auto, or a number from 0.25 to 8"),
        (
            "panes.layer",
            [
                "[0, 0, 1]",
                "[0, 0, 1, 1, 1]",
                "[0, 0, 0, 1]",
                "[0, 0, 1, -1]",
                "[-0.1, 0, 1, 1]",
                "[0, -0.1, 1, 1]",
                "[0, 0.5, 1, 0.6]",
                "[0.5, 0, 0.6, 1]",
                "[a, 0, 1, 1]",
                "[.nan, 0, 1, 1]",
                "[0, 0, .inf, 1]",
                "[true, 0, 1, 1]",
                "true",
                "on",
                "5",
                "{left: 0}",
                "[]",
                "hidden",
                "''",
            ],
            "or off",
        ),
        (
            "keys.pause",
            ["1", "[q, 1]", "spce", "[p, sqace]", "null", "off", "{q: 1}"],
            "a h l p q 1 ? space left right",
        ),
    ],
)
def test_wrong_value(file: Path, key: str, values: list[str], allowed: str) -> None:
    section, dot, name = key.rpartition(".")
    for value in values:
        text = f"# a comment\n{section}:\n  {name}: {value}\n" if dot else f"\n\n{name}: {value}\n"
        (line,) = problems(file, text)
        assert line.startswith(f"{file}, line 3: {key} is "), value
        assert allowed in line.split("; allowed: ")[1], value
        assert "Correct it, or remove it for the default" in line
        shown = {"": "null", "yes": "true", "on": "true", "off": "false", ".nan": "nan", ".inf": "inf"}.get(
            value, value.strip("'")
        )
        assert "[" in value or "{" in value or f" is {shown}" in line.replace("'", "")


def test_value_default_and_nearest_name_are_shown(file: Path) -> None:
    assert problems(file, "precision: bfloat61") == [
        f"{file}, line 1: precision is 'bfloat61' (did you mean bfloat16?); allowed: float32, "
        "bfloat16, float16. Correct it, or remove it for the default ('float32')"
    ]
    assert "(did you mean space?)" in problems(file, "keys: {pause: [p, sqace]}")[0]
    assert "(did you mean cpu?)" in problems(file, "device: CPU")[0]
    assert "crop is null" in problems(file, "crop:")[0]
    assert "for the default (true)" in problems(file, "crop: 3")[0]
    assert "for the default ([0.2, 0, 0.6, 0.06])" in problems(file, "panes: {layers: 3}")[0]


def test_long_values_are_cut(file: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert all(len(line) < 600 for line in problems(file, bomb))
    assert len(problems(file, f"device: {'x' * 9999}")[0]) < 400


# ---- keys that should not be there --------------------------------------------------------------


@pytest.mark.parametrize(
    "text, key, value, nearest, allowed",
    [
        ("modle: x", "modle", "'x'", "model", "input, camera, files, model, weights, device"),
        ("Window: {width: 5}", "Window", "", "window", "window, panes, keys"),
        ("window:\n  widht: 500", "window.widht", "500", "width", "allowed in window: width, height, scale"),
        (
            "panes:\n  unit_image: off",
            "panes.unit_image",
            "false",
            "unit_images",
            "allowed in panes: input, unit, backward, layers, layer, unit_images, status",
        ),
        ("keys:\n  paus: p", "keys.paus", "'p'", "pause", "allowed in keys: help, pause, next_layer"),
        ("on: 1", "on", "1", None, "input, camera"),  # YAML itself would read true
        ("? [a, b]\n: 1", "?", "1", None, "input, camera"),
        ("deep.er: 5", "deep.er", "5", None, "window, panes, keys"),
    ],
)
def test_unknown_key(file: Path, text: str, key: str, value: str, nearest: str | None, allowed: str) -> None:
    (line,) = problems(file, text)
    number = text.count("\n") + (not text.startswith("?"))
    assert line.startswith(f"{file}, line {number}: unknown key {key} (value {value}")
    assert allowed in line and "Correct or remove it" in line
    assert (f"(did you mean {nearest}?)" in line) == (nearest is not None)


def test_key_given_twice(file: Path) -> None:
    assert problems(file, "crop: true\nwindow:\n  width: 400\n  width: 500\ncrop: true") == [
        f"{file}, line 4: window.width is given twice (here '500'), first in line 3; allowed: once. "
        "Remove one of the two",
        f"{file}, line 5: crop is given twice (here 'true'), first in line 1; allowed: once. Remove one of the two",
    ]
    for text in (
        "window:\nwindow: {width: 9}\n",
        "crop: 1\ncrop: 2",
        "{crop: true, crop: 1}",
        "window.width: 400\nwindow: {width: 400}",
    ):
        assert any("is given twice" in line and "first in line 1" in line for line in problems(file, text)), text


@pytest.mark.parametrize(
    "text, line",
    [
        ("- a\n- b", "line 1: the file is '- a\\n- b'; allowed: lines `key: value`"),
        ("hello", "line 1: the file is 'hello'; allowed: lines `key: value`"),
        ("\nwindow: 5", "line 2: window is '5'; allowed: lines `key: value` indented below it"),
        ("panes: [1, 2]", "line 1: panes is '[1, 2]'; allowed: lines `key: value` indented below it"),
    ],
)
def test_something_else_instead_of_keys(file: Path, text: str, line: str) -> None:
    assert problems(file, text) == [f"{file}, {line}. Write such lines instead"]


# ---- panes and keys together --------------------------------------------------------------------


def test_overlapping_panes(file: Path) -> None:
    (line,) = problems(file, "panes:\n  status: off\n  input: [0, 0, 0.2, 0.5]")
    assert line == (
        f"{file}, line 3: panes.input is [0, 0, 0.2, 0.5] and overlaps panes.unit, which is "
        "[0, 0.44, 0.2, 0.2558] (by default); allowed: panes side by side. Move or shrink one of "
        "them, or switch it off"
    )
    (line,) = problems(file, "panes:\n  unit: [0, 0.3, 0.2, 0.3]\n  input: [0, 0, 0.2, 0.31]")
    assert line.startswith(f"{file}, line 3: panes.input") and f"({file}, line 2)" in line
    (line,) = problems(file, "panes:\n  status: [0.9, 0.9, 0.1, 0.1]")
    assert "panes.status is [0.9, 0.9, 0.1, 0.1] and overlaps panes.unit_images" in line


def test_panes_overlap_as_a_slow_count_of_points_says() -> None:
    places = [
        (left, top, width, height)
        for left, top in itertools.product((0, 0.25, 0.5), repeat=2)
        for width, height in itertools.product((0.25, 0.5), repeat=2)
    ]

    def points(place: settings.Rectangle) -> set[tuple[float, float]]:
        left, top, width, height = place
        grid = [(2 * n + 1) / 16 for n in range(8)]
        return {(x, y) for x in grid for y in grid if left < x < left + width and top < y < top + height}

    for one, two in itertools.product(places, repeat=2):
        assert settings._overlap(one, two) == bool(points(one) & points(two)), (one, two)


def test_hidden_and_wrong_panes_overlap_nothing(file: Path) -> None:
    file.write_text("panes: {input: [0, 0, 0.2, 0.5], unit: off}")
    assert "unit" not in load(file).panes
    (line,) = problems(file, "panes: {input: [0, 0, 0.2, 0.5], unit: [0, 0, 0, 0]}")
    assert "panes.unit is [0, 0, 0, 0]" in line


def test_one_key_for_two_commands(file: Path) -> None:
    (line,) = problems(file, "keys:\n  help: [a, q]\n  pause: [left, q]")
    assert line == (
        f"{file}, line 2: keys.help has the key 'q', which keys.pause has too ({file}, "
        "line 3); allowed: each key for one command. Give one of them another"
    )
    file.write_text("keys: {pause: [q, q], help: []}")
    assert load(file).keys == {"pause": ("q", "q"), "help": ()}


# ---- the file as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, line, what",
    [
        ("model: x\nwindow: {width: 5\n", 3, "expected ',' or '}'"),
        ("crop: true\n\tmodel: x", 2, "'\\t'"),
        ("input: a\n input: b: c", 2, "mapping values are not allowed here"),
        ("input: *nobody", 1, "undefined alias"),
        ("a: 1\n--- \nb: 2", 2, "expected a single document"),
        ("model: 'x\n", 2, "while scanning a quoted scalar"),
        ("\nmodel: a\x07b", 2, "'\\x07' is not allowed"),
        ("model: " + "[" * 5000, 1, "nested too deeply"),
    ],
)
def test_syntax_error(file: Path, text: str, line: int, what: str) -> None:
    (problem,) = problems(file, text)
    assert problem.startswith(f"{file}, line {line}: not valid YAML at ") and what in problem
    assert "write `key: value`" in problem


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {folder}/run']",
        "!mine x",
        "!!int x",
        "!!bool maybe",
        "!!timestamp x",
        "2024-99-99",
        "=",
        "&a [*a]",
    ],
)
def test_values_that_yaml_cannot_make(file: Path, value: str) -> None:
    (line,) = problems(file, "crop: true\nmodel: " + value.replace("{folder}", str(file.parent)))
    assert line.startswith(f"{file}, line 2: model is ") and "allowed: " in line
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_not_utf8(file: Path) -> None:
    assert problems(file, b"crop: true\nmodel: caf\xe9\n") == [
        f"{file}, line 2: byte 0xe9 is not UTF-8 text; save the file as UTF-8"
    ]


def test_no_such_file(file: Path) -> None:
    for path, why in ((file, "does not exist"), (file.parent, "is a folder")):
        with pytest.raises(UserError) as caught:
            load(path)
        assert f"{path} {why}" in str(caught.value) and "readable YAML file" in str(caught.value)


def test_all_problems_at_once(file: Path) -> None:
    lines = problems(
        file,
        """modle: x
crop: maybe
crop: true
window: {width: 5, depth: 1}
panes: {input: [0, 0, 2, 2], layers: [0.2, 0, 0.7, 0.06]}
keys: {help: q, pause: q, fly: a}
""",
        overrides={"device": "gpu"},
    )
    found = {
        (line.split(":")[0].removeprefix(f"{file}, "), key)
        for line in lines
        for key in (
            "modle",
            "crop is 'maybe'",
            "crop is given twice",
            "window.width",
            "window.depth",
            "panes.input is",
            "panes.layers",
            "keys.help",
            "keys.fly",
            "device is",
        )
        if f" {key}" in line
    }
    assert found == {
        ("line 1", "modle"),
        ("line 2", "crop is 'maybe'"),
        ("line 3", "crop is given twice"),
        ("line 4", "window.width"),
        ("line 4", "window.depth"),
        ("line 5", "panes.input is"),
        ("line 5", "panes.layers"),
        ("line 6", "keys.help"),
        ("line 6", "keys.fly"),
        ("--device", "device is"),
    }
    assert len(lines) == len(found)


# ---- the command line ---------------------------------------------------------------------------


def test_overrides_win(file: Path) -> None:
    file.write_text("model: a\ncamera: 1\nwindow: {width: 400, height: 300}\n")
    loaded = load(
        file,
        {
            "model": "b",
            "window.width": 500,
            "panes.layers": None,
            "camera": None,
            "panes.status": "off",
            "keys.help": ("q",),
        },
    )
    assert (loaded.model, loaded.camera, loaded.window) == ("b", 1, WindowSettings(500, 300))
    assert loaded.panes.keys() == DEFAULT_PANES.keys() - {"status"}
    assert loaded.keys == {"help": ("q",)}


def test_wrong_overrides(file: Path) -> None:
    lines = problems(file, "model: a\n", overrides={"device": "gpu", "window.width": "9", "modle": 1})
    assert lines == [
        "--device: device is 'gpu' (did you mean cpu?); allowed: auto, cpu, cuda, cuda:N (N = 0, 1 "
        "…), mps. Correct it, or remove it for the default ('auto')",
        "--window-width: window.width is '9'; allowed: a whole number of pixels from 320 to 16384. "
        "Correct it, or remove it for the default (1500)",
        "--modle: unknown key modle (value 1) (did you mean model?); allowed: input, camera, files, "
        "model, weights, device, precision, crop, output, data, colors, scan, grow, unit, window, panes, keys, dream, "
        "composites. "
        "Correct or remove it",
    ]


def test_a_mistake_in_the_file_is_reported_although_overridden(file: Path) -> None:
    assert len(problems(file, "device: gpu", overrides={"device": "cpu"})) == 1
