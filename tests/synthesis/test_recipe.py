"""Recipes: the paper's table, files, and what cannot be."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import yaml

from deepvis.core.errors import UserError
from deepvis.synthesis.presets import PRESETS, named, recipe, saved
from deepvis.synthesis.recipe import CHOICES, PIXELS_ONLY, Recipe, checked, save
from deepvis.synthesis.regularizers import PENALTIES, REGULARIZERS
from deepvis.synthesis.steps import POLICIES

# Yosinski et al. 2015, Table 1: decay, b_width, b_every, n_pct, c_pct.
TABLE_1 = [(0, 0.5, 4, 50, 0), (0.3, 0, 0, 20, 0), (0.0001, 1.0, 4, 0, 0), (0, 0.5, 4, 0, 90)]


@pytest.mark.parametrize("row", range(4))
def test_presets_are_the_rows_of_table_1(row: int) -> None:
    one = PRESETS[f"yosinski-{row + 1}"]
    assert (one.decay, one.blur_width, one.blur_every, one.small_norm, one.small_contribution) == TABLE_1[row]
    others = {name for name in (*REGULARIZERS, *PENALTIES) if getattr(one, name)}
    assert others <= {"decay", "blur_width", "small_norm", "small_contribution"}
    assert (one.parameterization, one.optimizer, one.noise, one.transformed) == ("pixels", "ascent", 0, False)


def test_presets_are_recipes_that_can_be() -> None:
    for name, one in PRESETS.items():
        assert recipe(name) == one
    assert not any(getattr(PRESETS["plain"], name) for name in (*REGULARIZERS, *PENALTIES))


def test_tables_of_names_agree() -> None:
    assert {*REGULARIZERS, "bregman"} == {*PIXELS_ONLY, "decay"} and set(CHOICES["policy"]) == set(POLICIES)
    assert {*REGULARIZERS, *PENALTIES, *CHOICES} <= {field.name for field in fields(Recipe)}


def test_numbers_may_be_texts() -> None:
    one = recipe("plain", {"steps": "12", "decay": "1e-3", "policy": "constant", "blur_every": 4.0})
    assert (one.steps, one.decay, one.policy, one.blur_every) == (12, 0.001, "constant", 4)
    assert type(one.steps) is int and type(one.blur_every) is int and type(one.decay) is float


@pytest.mark.parametrize(
    "preset, changes, said",
    [
        ("yosinsky-3", {}, "Did you mean yosinski-3"),
        ("plain", {"decai": 1}, "unknown parameter 'decai'. Did you mean decay"),
        ("plain", {"decay": 1.5}, "decay: 1.5: expected 0 to 1"),
        ("plain", {"decay": -0.1}, "decay"),
        ("plain", {"decay": "much"}, "decay: 'much': expected a number"),
        ("plain", {"decay": None}, "decay: None"),
        ("plain", {"decay": True}, "decay: True"),
        ("plain", {"decay": "nan"}, "a number"),
        ("plain", {"rate": "inf"}, "a number"),
        ("plain", {"rate": 10**400}, "a number"),
        ("plain", {"steps": 2.5}, "steps: 2.5: expected a whole number"),
        ("plain", {"steps": 0}, "steps: 0: expected 1 to 100000"),
        ("plain", {"small_norm": 101}, "percentage"),
        ("plain", {"small_contribution": -1}, "percentage"),
        ("plain", {"blur_width": -1}, "expected 0 to "),
        ("plain", {"blur_width": 2}, "blur_every: 0: expected 1 or more, for blur_width is 2"),
        (
            "modern",
            {"policy": "progress"},
            "policy: 'progress': expected relative, for adam has no other; or optimizer ascent",
        ),
        ("plain", {"margin": -1}, "expected 0 to "),
        ("plain", {"total_variation": -1}, "expected 0 to "),
        ("plain", {"policy": "fast"}, "constant or relative or normalized or progress"),
        ("plain", {"keep": ["best"]}, "best or last"),
        ("modern", {"scale_low": 0}, "scale_low"),
        ("modern", {"scale_low": 2}, "scale_high"),
        ("modern", {"start": "uniform"}, "parameterization pixels"),
        *(("modern", {name: 0.5}, f"{name}.*pixels") for name in PIXELS_ONLY),
        ("yosinski-3", {"parameterization": "fourier", "blur_width": 0}, "decay.*pixels or generator"),
    ],
)
def test_what_cannot_be(preset: str, changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        recipe(preset, changes)


def test_a_file_of_a_recipe(tmp_path: Path) -> None:
    one = recipe("yosinski-3", {"steps": 7, "rate": 0.1 + 0.2})
    path = tmp_path / "deep" / "mine.yaml"
    save(path, one, seed=3, layer="fc", units=[1, 2])
    assert named(str(path)) == one
    assert named(str(path), {"steps": "9"}) == replace(one, steps=9)
    assert {k: v for k, v in yaml.safe_load(path.read_text()).items() if k != "recipe"} == {
        "seed": 3,
        "layer": "fc",
        "units": [1, 2],
    }
    assert checked(asdict(one)) == one and named("yosinski-3", {"steps": 7, "rate": 0.1 + 0.2}) == one


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "short.yml").write_text("parameterization: pixels\ndecay: 0.25\nsteps: 3\n")
    assert named(str(tmp_path / "short.yml")) == Recipe(parameterization="pixels", decay=0.25, steps=3)


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "does not exist; expected a recipe"),
        ("a: [", "line 1: not valid YAML"),
        ("- 1", "expected lines"),
        ("", "expected lines"),
        ("recipe: 5", "expected lines"),
        ("stepz: 4", "Did you mean steps"),
        ("5: 4", "unknown parameter 5"),
        ("steps: many", "line 1: steps: 'many': expected a number"),
        ("a: 1\nrecipe:\n  rate: 1\n  steps: 1000000000000", "line 4: steps: 1000000000000: expected 1 to 100000"),
        ("recipe: {rate: 1}\nrecipe: {rate: 2}", "line 2: 'recipe' is given twice, first in line 1"),
        ("\xff\xfe", "line 1: byte 0xff is not UTF-8"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=said) as caught:
        named(str(path))
    assert str(path) in str(caught.value)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save(tmp_path / "file" / "mine.yaml", PRESETS["plain"])


def test_saved_recipes_go_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepvis.core.paths.recipes", lambda: tmp_path / "none yet")
    assert saved() == {}
    monkeypatch.setattr("deepvis.core.paths.recipes", lambda: tmp_path)
    one = recipe("yosinski-3", {"rate": 3})
    save(tmp_path / "soft-fur.yaml", one, seed=3)
    save(tmp_path / "plain.yaml", one)  # hides no preset
    assert list(saved()) == ["plain", "soft-fur"]
    assert named("soft-fur") == one and named("soft-fur", {"steps": 9}).steps == 9
    assert named("plain") == PRESETS["plain"]
    with pytest.raises(UserError, match="Did you mean soft-fur.*Presets: .*modern.*soft-fur"):
        named("soft-fure")
