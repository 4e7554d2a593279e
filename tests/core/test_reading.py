"""Settings, model.yaml, recipes and labels that others wrote: plain values, or refused with file and line, within
bounds."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mutations import DRIVEN, ODD

from deepvis.core.errors import UserError
from deepvis.core.reading import parse_json, read_bytes, read_text, read_yaml
from deepvis.display import key_codes
from deepvis.interface import commands
from deepvis.interface import settings as settings_module
from deepvis.networks import loading
from deepvis.networks.model_file import read_labels, read_model_file
from deepvis.networks.network import InputSpec
from deepvis.synthesis.presets import PRESETS, named
from deepvis.synthesis.recipe import as_values, checked

MODEL = {
    "source": "python:net:Net",
    "args": {"num_classes": 5},
    "weights": "w.pth",
    "match": "order",
    "output": "logits",
    "softmax": True,
    "input": {
        "height": 32,
        "width": 48,
        "channels": 3,
        "mean": [0.5, 0.5, 0.5],
        "std": [1, 1, 1],
        "range": 255,
        "order": "rgb",
        "bands": [0, 1, 2],
    },
    "labels": {"fc": ["a", "b", 3], "conv": "names.txt"},
    "layers": {"conv": "net.conv", 1: "net.fc"},
}
SETTINGS = {"input": "camera", "camera": 0, "model": "x", "crop": True, "window": {"width": 900, "scale": 1.5},
            "panes": {"unit": [0, 0.44, 0.2, 0.2], "status": "off"}, "keys": {"pause": ["p"]}}  # fmt: skip
RECIPE = {"model": "x", "seed": 3, "recipe": as_values(PRESETS["modern"])}


def message(read: Any, *values: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(*values)
    return str(caught.value)


def written(path: Path, value: object) -> Path:
    """A value as YAML, also where YAML's own writer has no words for it."""
    try:
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        text = json.dumps(value)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


# ---- every reader, driven -----------------------------------------------------------------------


def use_model(path: Path) -> None:
    """What `models.load` makes of the file before it builds the network."""
    file = read_model_file(path)
    spec = loading._Spec("x", str(path), path.parent, file.values, file.lines)
    taken = loading._input(spec, InputSpec())
    assert 0 < taken.height * taken.width * taken.channels <= 1 << 28 and all(
        map(math.isfinite, (*taken.mean, *taken.std, taken.range))
    )
    assert taken.scaling is not None and taken.note is not None
    loading._labels(spec, (), 5)
    loading._layers(spec, loading.nn.Linear(1, 1))
    loading._is_file(str(spec.values.get("weights")), spec.folder)


def use_settings(path: Path) -> None:
    settings_module.load(path, commands=commands.COMMANDS, key_names=key_codes.NAMES)


def use_recipe(path: Path) -> None:
    made = named(str(path))
    assert made == checked(asdict(made))
    assert 1 <= made.steps <= 100_000 and 0 <= made.margin <= 1024
    assert all(math.isfinite(value) for value in asdict(made).values() if not isinstance(value, (str, tuple)))


READERS = {"model": (use_model, MODEL), "settings": (use_settings, SETTINGS), "recipe": (use_recipe, RECIPE)}


@pytest.mark.parametrize("name", READERS)
@DRIVEN
@given(data=st.data())
def test_odd_values(tmp_path: Path, name: str, data: st.DataObject) -> None:
    use, valid = READERS[name]
    path = written(tmp_path / "file.yaml", data.draw(mutations.values(valid)))
    try:
        use(path)
    except UserError as error:
        assert str(path) in str(error) and len(str(error)) < 9000


@pytest.mark.parametrize("name", READERS)
@DRIVEN
@given(data=st.data())
def test_damaged_bytes(tmp_path: Path, name: str, data: st.DataObject) -> None:
    use, valid = READERS[name]
    path = tmp_path / "file.yaml"
    path.write_bytes(data.draw(mutations.damaged(yaml.safe_dump(valid).encode())))
    try:
        use(path)
    except UserError as error:
        assert str(path) in str(error)


@DRIVEN
@given(text=st.text(st.sampled_from("{}[]:,-?&*!|>'\"%@`#\n\t ab1e.~<=\\u0"), max_size=60))
def test_text_of_yamls_own_signs(tmp_path: Path, text: str) -> None:
    """What is read is what PyYAML's safe reader reads."""
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        value = read_yaml(path).values
    except UserError:
        return
    assert repr(value) == repr(yaml.safe_load(text)) or "date" in repr(yaml.safe_load(text))


@DRIVEN
@given(data=st.data())
def test_labels_of_any_bytes(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(
        data.draw(st.one_of(mutations.damaged("tench\nélan\n\ngreat white\n".encode() * 3), st.binary(max_size=200)))
    )
    try:
        assert all(len(label) <= 500 for label in read_labels(path))
    except UserError as error:
        assert f"{path}, line " in str(error)


@DRIVEN
@given(data=st.data())
def test_json_of_any_kind(data: st.DataObject) -> None:
    valid = json.dumps({"a": [1, 2.5, None, "x"], "b": {"c": -3}})
    text = data.draw(mutations.damaged(valid.encode())).decode("utf-8", "replace")
    try:
        assert repr(parse_json(text, lambda line: f"line {line}")) == repr(json.loads(text))
    except UserError as error:
        assert "line 1: not valid JSON" in str(error)


# ---- mistakes, each with its line ---------------------------------------------------------------


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("source: a\nsource: b\n", 2, "'source' is given twice, first in line 1"),
        ("source: a\ninput:\n  height: 5\n  width: 6\n  height: 7\n", 5, "'height' is given twice, first in line 3"),
        ("source: a\nargs: {? [a] : 1}\n", 2, "a list or a section as a key"),
        ("source: a\nargs: !!set {a}\n", 2, "a value of the kind 'set'"),
        ("source: !!python/object/apply:os.system [id]\n", 1, "python/object/apply"),
        ("source: a\nargs: {b: !!binary aGk=}\n", 2, "a value of the kind 'binary'"),
        ("source: a\nargs:\n  n: 99999999999999999999\n", 3, "too many digits"),
        ("source: a\nargs:\n  n: " + "1" * 5000, 3, "too many digits"),
        ("source: a\nargs:\n  n: 0x" + "f" * 300, 3, "too many digits"),
        ("source: a\nargs:\n  n: 1" + ":1" * 5000, 3, "too many digits"),
        ("source: a\nlabels: " + "[" * 50 + "]" * 50, 2, "nested too deeply"),
        ("source: a\nlabels: &a [*a]", 2, "holds itself"),
        ("source: a\n<<: &a {<<: *a}", 2, "holds itself"),
        ('source: a\nlabels: ["x\\0y"]', 2, "characters that no text has"),
        ('source: a\nlabels: ["\\ud800"]', 2, "characters that no text has"),
        ('source: a\nlabels: "\\U99999999"', 2, ""),
        ("source: a\nargs: {n: !!int x}", 2, ""),
        ("source: [a]", 1, "source: ['a']: expected a source"),
        ("source: a\n\nlayers: {a: [b]}", 3, "layers: {'a': ['b']}: expected lines"),
        ("source: a\nlabels: [[a]]", 2, "labels: "),
        ("source: a\noutput: [1]", 2, "output: [1]: expected the name or the number"),
        (
            "source: a\ninput:\n  width: 5\n  height: 1000000",
            4,
            "input.height: 1000000: expected a positive number, at most 8,192",
        ),
        ("source: a\ninput:\n  channels: 1000000000", 3, "input.channels: 1000000000: expected how many"),
        (
            "source: a\ninput:\n  height: 8192\n  width: 8192\n  channels: 4096",
            3,
            "input.height, width and channels: 8192×8192×4096: expected",
        ),
        ("source: a\ninput:\n  mean: [.nan, 1, 1]", 3, "input.mean: [nan, 1, 1]: expected numbers up to"),
        ("source: a\ninput:\n  std: [1, 1, .inf]", 3, "input.std: [1, 1, inf]: expected positive numbers"),
        ("source: a\ninput:\n  range: .inf", 3, "input.range: inf"),
        ("source: a\ninput:\n  hight: 5", 3, "unknown key 'input.hight'"),
        ("source: a\nmodle: b", 2, "unknown key 'modle'"),
        ("source: a\ninput:\n  mean_image: " + "n" * 300, 3, "File name too long"),
        ("source: a\ninput:\n  mean_image: [a]", 3, "input.mean_image: ['a']: expected the name of a file"),
        ("source: a\nlabels: " + "n" * 300, 2, "expected 'imagenet'"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text, encoding="utf-8")
    told = message(use_model, path)
    assert f"{path}, line {line}: " in told and said in told, told
    assert len(told) < 900


def test_aliases_and_merges_are_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base: &b {x: 1, y: [2]}\nother: {<<: *b, x: 3}\nsame: *b\nday: 2024-01-01\n")
    file = read_yaml(path)
    assert file.values == {
        "base": {"x": 1, "y": [2]},
        "other": {"x": 3, "y": [2]},
        "same": {"x": 1, "y": [2]},
        "day": "2024-01-01",
    }
    assert file.lines == {
        "base": 1,
        "base.x": 1,
        "base.y": 1,
        "other": 2,
        "other.<<": 2,
        "other.x": 2,
        "same": 3,
        "same.x": 1,
        "same.y": 1,
        "day": 4,
    }


def test_an_override_is_not_blamed_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("source: timm:test_resnet\nweights: none\ninput: {height: 64, width: 64}\n")
    told = message(loading.load, str(path), "cpu", "float32", "auto", {"input": {"height": 10**6}})
    assert told.startswith(f"{path}: input.height: 1000000")


# ---- what is no file of text at all -------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("read", [read_text, read_yaml, read_labels, read_bytes, use_model, use_settings, use_recipe])
def test_a_pipe_a_folder_and_names_that_no_file_has(tmp_path: Path, read: Any) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for name in ("pipe.yaml", "folder.yaml", "loop.yaml", "n" * 300 + ".yaml", "x\0y.yaml", "\ud800.yaml", "none.yaml"):
        assert "xpected" in message(read, tmp_path / name)


@pytest.mark.parametrize(
    "name", ["n" * 300, "x\0y", "\ud800", "\udc80", "n" * 5000 + ":x", "/" * 5000, "~" * 300, ":", "timm:\0"]
)
def test_models_and_weights_of_odd_names(name: str) -> None:
    message(loading.load, name, "cpu")
    message(loading.load, "timm:test_resnet", "cpu", "float32", name)


def test_mean_images(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("source: a\ninput: {height: 4, width: 4, mean_image: m.npy}\n")
    np.save(tmp_path / "m.npy", np.ones((5, 5, 3)))
    use_model(path)
    odd = [
        np.ones(3),
        np.zeros((0, 4, 3)),
        np.full((4, 4, 3), np.nan),
        np.full((4, 4, 3), 1e300),
        np.ones((4, 4, 3), complex),
        np.ones((4, 4, 3), bool),
        np.ones((2, 2, 3)),
        np.array(["a"]),
    ]
    for array in odd:
        np.save(tmp_path / "m.npy", array)
        assert "input.mean_image: " in message(use_model, path)
    os.remove(tmp_path / "m.npy")
    (tmp_path / "m.npy").mkdir()
    assert "line 2: input.mean_image: " in message(use_model, path)


# ---- bounds of memory and time ------------------------------------------------------------------


def test_bombs(tmp_path: Path) -> None:
    """Each of these took gigabytes or minutes, or ended in a RecursionError."""
    texts = {
        "aliases": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
        "merges": "m0: &m0 {x: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 40)),
        "keys": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} {{k: *a{n - 1}, l: *a{n - 1}}}\n" for n in range(1, 40)),
        "chain": "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)),
        "deep": "[" * 500_000,
        "deep_block": "".join(" " * n + "a:\n" for n in range(1000)),
        "braces": "{a: " * 50_000,
        "question": "? " * 100_000,
        "dashes": "- " * 100_000,
        "values": "[" + "1," * 55_000,
        "sixty": "n: 1" + ":1" * 120_000,
        "hex": "n: 0x" + "f" * 200_000,
        "digits": "n: " + "1" * 200_000,
        "float": "n: " + "1" * 200_000 + ".5",
        "underscores": "n: 1" + "_" * 200_000,
        "long": "x" * 20_000_000,
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    files = sorted(tmp_path.iterdir())
    said = mutations.in_bounds("from deepvis.core.reading import read_yaml", "read_yaml(path)", files, room=300)
    assert all("was read" not in text for text in said.values()), said
    assert "aliases counted as what they stand for" in said["aliases.yaml"] and "line 15:" in said["aliases.yaml"]
    assert "more than 1 MiB" in said["long.yaml"]
    imports = (
        "from deepvis.display import key_codes\n"
        "from deepvis.interface import commands\n"
        "from deepvis.interface.settings import load"
    )
    read = "load(path, commands=commands.COMMANDS, key_names=key_codes.NAMES)"
    quick = [file for file in files if file.stem in ("aliases", "merges", "chain", "deep", "sixty", "long")]
    assert all("was read" not in text for text in mutations.in_bounds(imports, read, quick, room=300).values())


def test_deep_and_long_json() -> None:
    for text in ("[" * 500_000, '{"a":' * 100_000, "1" * 5000, "1" * 500_000, "-" + "9" * 30):
        assert "not valid JSON" in message(parse_json, text, lambda line: f"line {line}")


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_a_recipe_takes_no_odd_value(value: object) -> None:
    for name in asdict(PRESETS["modern"]):
        try:
            made = checked({**asdict(PRESETS["modern"]), name: value})
        except UserError as error:
            assert name in str(error) and len(str(error)) < 300
        else:
            kept = getattr(made, name)
            assert kept == () if name == "phases" else isinstance(kept, str) or math.isfinite(kept)
