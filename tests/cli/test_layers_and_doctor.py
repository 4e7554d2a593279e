"""The tables that `deepvis layers` and `deepvis doctor` print."""

from __future__ import annotations

import torch
from torch import nn

from deepvis.cli.doctor import report
from deepvis.cli.layers import layers_table
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec, Network, prepare


def small() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 9, 5))
    return prepare("small", module, InputSpec(height=8, width=8), None)


def test_the_layers_table() -> None:
    lines = layers_table(small()).splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "0", "1", "2", "4"]
    assert lines[1].split() == ["0", "Conv2d", "6×6", "8", "3×3", "224"]
    assert lines[4].split() == ["4", "Linear", "vector", "5", "8×8", "or", "more", "365"]


def test_the_doctor_tells_what_is_wrong_and_goes_on(monkeypatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    told = dict(line.split(": ", 1) for line in list(report(small))[1:])
    assert "torch" in told["packages"] and "no display" in told["display"]
    assert str(paths.data()) in told["program"]
    assert told["model"].startswith("small on cpu, 4 layers, output (1, 5) finite")

    def broken() -> Network:
        raise UserError("no such model")

    assert list(report(broken))[-1] == "model: PROBLEM: no such model"
