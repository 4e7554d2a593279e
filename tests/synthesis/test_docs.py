"""What docs/synthesis.md says to write in Python runs as it stands (with fewer steps)."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.presets import PRESETS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "synthesis.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    first, more = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "128" in first
    exec(first.replace("128", "2"), names)
    assert cv2.imread("facets.png").shape == (224, 4 * 224, 3)
    exec(more, names)
    network, photo = names["network"], np.zeros((60, 80, 3), np.uint8)
    activations = {layer: network.up_to(layer, network.see(photo, crop=True)) for layer in ("4c", "5b", "logits")}
    assert all(
        isinstance(names[name], Objective) and names[name](activations).shape == (1,)
        for name in ("two", "only", "dream")
    )


def test_the_python_of_the_other_pages_runs(monkeypatch, tmp_path: Path, capsys) -> None:
    from deepvis.core import paths
    from deepvis.synthesis import decoder

    for photo in sorted(paths.PHOTOS.glob("*.jpg"))[:3]:
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    real = decoder.photos_for
    monkeypatch.setattr(decoder, "photos_for", lambda network: real(network, tmp_path))
    names: dict = {}
    for page in ("inversion.md", "dream.md"):
        (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
        exec(code, names)
    assert names["picture"].shape == (96, 128, 3) and capsys.readouterr().out.splitlines()[-1] == "2 4 4"


def test_the_page_names_all_presets_and_their_steps() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (\d+) \|$", PAGE, re.MULTILINE))
    assert {name: int(steps) for name, steps in rows.items()} == {name: made.steps for name, made in PRESETS.items()}
