"""The examples of docs/contributing.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from deepvis.core.paths import ROOT

PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
EXAMPLES = {one.partition("\n")[0]: "".join(re.findall(r"```python\n(.*?)```", one, re.DOTALL)) for one in SECTIONS}

NETWORK = """
import numpy as np
import torch
from deepvis.core.frames import Frame
from deepvis.networks.network import InputSpec, prepare

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5))
network = prepare("net", net, InputSpec(8, 8), {"conv": "0", "fc": "3"}, (), torch.device("cpu"))
frame = Frame(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8), "a.png", 0, False)
"""
SCENE = f"""{NETWORK}
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.interface.layout import lay_out
from deepvis.interface.settings import DEFAULT_PANES
from deepvis.interface.state import State
from deepvis.render import Renderer, Scene

result = answer(network, Request(frame, True, "conv"))
def scene(**state):
    return Scene(State(**state), layers=network.layers, frame=frame, result=result, pictures_of="conv")
"""
# After each example: what the page promises.
PROMISES = {
    "A backward method": f"""{NETWORK}
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.interface.command import Facts
from deepvis.interface.commands import run
from deepvis.interface.state import State

def pixels(method):
    return answer(network, Request(frame, True, "conv", method, ("fc", 2))).pixels

back = {{method: pixels(method) for method in ("gradient", "direction")}}
assert np.array_equal(back["direction"], np.sign(back["gradient"])) and back["gradient"].any()
state, seen = State(), set()
for _ in range(30):
    state = run(state, "method", Facts(network.layers)).state
    seen.add(state.method)
assert "direction" in seen
""",
    "A source of networks": """
from pathlib import Path
from deepvis.networks.sources import load_source

assert load_source("edges:8", "auto", {}, Path(".")).module[0].out_channels == 8
""",
    "An objective": """
activations = {"4c": torch.zeros(2, 8, 3, 3)}
activations["4c"][0, 7] = 1.0
activations["4c"][1, 6:] = 1.0
import torch
assert torch.allclose(aim(activations), torch.tensor([1 + 3.0, 1 + 1.5]))
""",
    "A content of the layer pane": f"""{SCENE}
renderer = Renderer(lay_out(DEFAULT_PANES, 600, 400, 1.0))
before = renderer.compose(scene())[0].copy()
after, changed = renderer.compose(scene(content="weakest"))
assert changed and (before != after).any()
""",
    "A pane": f"""{SCENE}
renderer = Renderer(lay_out({{"file": (0.0, 0.0, 1.0, 1.0)}}, 300, 100, 1.0))
image, changed = renderer.compose(scene())
assert changed and len(np.unique(image)) > 3 and not renderer.compose(scene(unit=1))[1]
""",
    "A tab or a chip": f"""{SCENE}
from deepvis.interface.state import Control
renderer = Renderer(lay_out(DEFAULT_PANES, 900, 600, 1.0))
renderer.compose(scene())
(chip, (left, top, width, height)), = renderer.chip_boxes(scene())["unit"]
assert renderer.target_at(left + 1, top + 1, scene()) == Control("gamma", "more contrast") and not chip.on
assert renderer.chip_boxes(scene(gamma=1))["unit"][0][0].on
""",
    "A command": f"""{NETWORK}
from deepvis.interface.command import Facts
from deepvis.interface.commands import bindings, help_rows, press
from deepvis.interface.state import State

bound = bindings({{}})
assert press(State(), "M", Facts(network.layers), bound).state.layer == 1
assert any("in the middle" in row[-1] for row in help_rows(bound))
""",
}


def test_each_kind_of_thing_has_an_example() -> None:
    assert set(EXAMPLES) == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_an_example_does_what_the_page_says(name: str) -> None:
    code = ("import torch\n" if name == "An objective" else "") + EXAMPLES[name] + PROMISES[name]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
