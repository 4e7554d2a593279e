"""The scene is built in one place: without a network it is another type, with one it has all that the workers have."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from fakes import LAYERS, PHOTO, FakeEngine

from deepvis.app.scene import Findings, build_scene
from deepvis.attribution.requests import Request, Result
from deepvis.interface.command import Facts
from deepvis.interface.state import State
from deepvis.render import LoadingScene, Scene, Status
from deepvis.render.scene import Curve
from deepvis.scan.results import Statistics
from deepvis.workers.messages import Cells, Grown, GrowthWish, TopPictures, UnitPictures

RESULT = Result(Request(PHOTO, True, "head"))
FOUND = Findings(
    pictures=UnitPictures("head", 3),
    grown=Grown(GrowthWish("head", 3, "modern", (1,))),
    tops=TopPictures("head", 3),
    cells=Cells("head"),
    statistics=Statistics("head"),
)
GIVEN = {
    "facts": Facts(),
    "frame": PHOTO,
    "result": RESULT,
    "findings": FOUND,
    "help": (("view", "h", "help"),),
    "keys": {"help": "h"},
    "status": Status("m"),
    "held": replace(RESULT),
    "curve": Curve("head", 3, np.zeros(2), np.ones(2), 0.0, 1.0),
    "busy": True,
    "waiting": "so long",
}


def test_without_a_network_there_is_nothing_of_one() -> None:
    built = build_scene(State(unit=3), None, **GIVEN)
    assert type(built) is LoadingScene
    assert (built.frame, built.busy, built.waiting, built.help, built.status) == (
        PHOTO, True, "so long", GIVEN["help"], Status("m"),
    )  # fmt: skip


def test_a_scene_has_all_that_the_workers_have() -> None:
    network = FakeEngine([]).network
    network.classes = ("a", "b")
    built = build_scene(State(layer=1, unit=3), network, **GIVEN)
    assert isinstance(built, Scene)
    wanted = {name: value for name, value in GIVEN.items() if name not in ("findings", "facts")}
    wanted |= {one.name: getattr(FOUND, one.name) for one in fields(Findings)}
    wanted |= {"state": State(layer=1, unit=3), "layers": LAYERS, "classes": ("a", "b"), "input_size": (224, 224)}
    wanted |= {"pictures_of": "head", "is_held": False, "found": (), "filters": None, "doubts": {}}
    assert {one.name for one in fields(Scene)} == set(wanted)
    assert all(getattr(built, name) is value or getattr(built, name) == value for name, value in wanted.items())


def test_what_is_of_another_unit_or_layer_is_not_the_selected_ones() -> None:
    network = FakeEngine([]).network
    built = build_scene(State(layer=1, unit=3), network, **GIVEN)
    assert isinstance(built, Scene)
    assert None not in (built.own_pictures, built.own_grown, built.own_tops, built.own_cells, built.own_statistics)
    other = replace(built, state=State(layer=1, unit=4))
    assert (other.own_pictures, other.own_grown, other.own_tops) == (None, None, None)
    away = build_scene(State(layer=0, unit=3), network, **GIVEN)
    assert isinstance(away, Scene) and (away.own_cells, away.own_statistics, away.own_result) == (None, None, None)
