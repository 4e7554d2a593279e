"""A backward method is one row: all that knows of methods goes by the table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deepvis.attribution.methods import METHODS, check_known
from deepvis.core.errors import UserError
from deepvis.networks.activation_rules import RULES

ADDED = """
import numpy as np
from deepvis.attribution import methods
from deepvis.attribution.methods import Backward, Method

assert "torch" not in __import__("sys").modules

def halves(network, question):
    reached = question.run()
    sent = question.start(reached.origin)
    assert sent.shape == reached.origin.shape and (question.layer, question.unit) == ("conv", 1)
    shown = None if reached.shown is None else 0.25 + 0 * reached.shown
    return Backward(0.5 + 0 * question.x, shown)

methods.METHODS["half"] = Method("half", "one half", halves)
methods.METHODS["rare"] = Method("rare", "rarely", halves, in_cycle=False)

from torch import nn
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.cli.main import _parser
from deepvis.core.frames import Frame
from deepvis.interface import commands
from deepvis.interface.command import Facts
from deepvis.interface.state import State
from deepvis.networks.network import InputSpec, prepare
from deepvis.render.panes import PANES
from deepvis.render.draw import Canvas
from deepvis.scan.patch_backward import patch_backward

net = prepare("net", nn.Sequential(__import__("collections").OrderedDict(conv=nn.Conv2d(3, 2, 3), relu=nn.ReLU())),
              InputSpec(8, 8), None)
frame = Frame(np.zeros((8, 8, 3), np.uint8), "black", 0, False)
result = answer(net, Request(frame, True, "conv", "half", ("conv", 1)))
assert (result.pixels == 0.5).all() and result.activations.shape == (2, 6, 6)
(patch,) = patch_backward(net, [frame.image], "conv", 1, "half", [(0, 0, 4, 4)])
assert patch.shape == (4, 4, 3) and (patch == 0.5).all()

state, seen = State(), set()
for _ in range(3 + len(methods.METHODS)):
    state = commands.run(state, "backward", Facts(net.layers)).state
    seen.add(state.method)
assert "half" in seen and "rare" not in seen
for _ in range(3 + len(methods.METHODS)):
    state = commands.run(state, "method", Facts(net.layers)).state
    seen.add(state.method)
assert "rare" in seen
assert "one half" in commands.COMMANDS["backward"].help and "rarely" not in commands.COMMANDS["backward"].help
assert _parser().parse_args(["render", "--back", "rare", "--out", "a.png"]).back == "rare"

from deepvis.render import text
from deepvis.render.scene import Scene
said = []
text.shorten, plain = lambda words, *rest: (said.append(words), plain(words, *rest))[1], text.shorten
for pane in ("backward", "status"):
    PANES[pane].draw(Canvas(np.zeros((200, 900, 3), np.uint8)),
                     Scene(State(layer=0, unit=1, method="half"), layers=net.layers, result=result, frame=frame))
assert any("one half from conv:1" in words for words in said) and any("one half, raw" in words for words in said), said
"""


def test_a_row_that_is_added_works_everywhere() -> None:
    done = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_name_is_known_or_the_nearest_is_named() -> None:
    assert check_known("lrp") == "lrp"
    with pytest.raises(UserError, match="did you mean deconv"):
        check_known("decon")


def test_each_row_has_its_name_and_each_rule_a_row() -> None:
    assert all(row.name == name for name, row in METHODS.items())
    assert set(RULES) <= set(METHODS)
