"""`deepvis.live(module)` in a script, twice, each window closed by a key; the script goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from desktop import GONE, ROOT, STARTING, Screen
from waiting import until

SCRIPT = """
import deepvis, signal, torch
from torch import nn

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
for name in ("one", "two"):
    deepvis.live(net, labels=["a", "b", "c"], size=(64, 64), name=name, device="cpu",
                 settings={"scan": "off", "grow": "off"})
    print(name, "closed", flush=True)
assert net.training and (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
print(torch.ones(2).sum().item(), flush=True)
"""


def test_a_script_opens_two_windows_and_goes_on(screen: Screen, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as out:
        program = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, stdout=out, stderr=subprocess.STDOUT,
                                   env=screen.environment | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    try:
        for name in ("one", "two"):
            search = ("search", "--onlyvisible", "--pid", program.pid, "--name", "^deepvis$")
            window = until(lambda: screen.do(*search, check=False), f"window {name} is there", STARTING).split()[0]
            screen.do("windowactivate", "--sync", window)
            screen.do("key", "q")
            until(lambda: f"{name} closed" in log.read_text(), f"window {name} is closed", STARTING)
            until(
                lambda: window not in screen.do(*search, check=False).split(),
                f"window {name} is gone from the screen",
                STARTING,
            )
        assert program.wait(GONE) == 0
        assert log.read_text().split() == ["one", "closed", "two", "closed", "2.0"]
    finally:
        program.kill()
        program.wait()
