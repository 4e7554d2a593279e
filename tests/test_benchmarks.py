"""Each benchmark that needs no screen runs, on so little that it takes a moment: none rots unseen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepvis.core import paths

BENCHMARKS = Path(__file__).parent / "benchmarks"


def run(name: str, *args: str) -> str:
    done = subprocess.run([sys.executable, str(BENCHMARKS / name), *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_accuracy(tmp_path: Path) -> None:
    for photo, synset in zip(sorted(paths.PHOTOS.glob("*.jpg")), ("n01440764_tench", "n02391049_zebra")):
        shutil.copy(photo, tmp_path / f"{synset}.jpg")
    assert "(pixel - 127) / 128" in run("accuracy.py", str(tmp_path))


def test_recognised(tmp_path: Path) -> None:
    said = run("recognised.py", "--classes", "1", "--presets", "plain", "--set", "steps=2", "--keep", str(tmp_path))
    assert said.splitlines()[-1].startswith("plain")


def test_soon_recognised() -> None:
    said = run("soon_recognised.py", "--classes", "1", "--every", "1", "--preset", "plain", "--set", "steps=2")
    assert said.splitlines()[1].startswith("plain")


def test_natural(tmp_path: Path) -> None:
    for photo in sorted(paths.PHOTOS.glob("*.jpg"))[:8]:
        shutil.copy(photo, tmp_path)
    options = ("--classes", "1", "--hidden", "1", "--presets", "plain", "--set", "steps=2", "--photos", str(tmp_path))
    rows = run("natural.py", *options).splitlines()
    assert rows[-2].startswith("plain ") and rows[-1].startswith("plain hidden")


def test_inversion(tmp_path: Path) -> None:
    for photo in sorted(paths.PHOTOS.glob("*.jpg"))[:3]:
        shutil.copy(photo, tmp_path)
    few = ("--photos", str(tmp_path), "--count", "1", "--layers", "7a", "--steps", "1", "--equal-steps", "1")
    said = run("inversion.py", *few, "--equal", "mahendran-2016")
    assert "7a  closed form" in said and "7a  invert  1 steps" in said and "7a  mahendran-2016" in said


def test_methods(tmp_path: Path) -> None:
    table = "# Backward methods on these networks\n\n| timm:lcnet_035 | old |"
    older = f"before\n\n{table}\n\n# Networks that were tried\n\nafter\n"
    (tmp_path / "table.md").write_text(older, encoding="utf-8")
    run("methods.py", "--only", "lcnet_035", "--write", str(tmp_path / "table.md"))
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text.startswith("before\n\n# Backward methods") and text.endswith("tried\n\nafter\n")
    assert text.count("| timm:lcnet_035 |") == 1


def test_dream() -> None:
    said = run("dream.py", "--size", "64x48", "--layers", "1a", "--live", "2")
    assert "the notebook's schedule" in said and "frames a second" in said


def test_facets(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for photo in sorted(paths.PHOTOS.glob("*.jpg"))[:6]:
        shutil.copy(photo, tmp_path / "photos")
    options = ("--classes", "1", "-k", "2", "--top", "5", "--presets", "facet:steps=1", "--seeds", "seeds:steps=1")
    said = run("facets.py", *options, "--photos", str(tmp_path / "photos"), "--data", str(tmp_path / "data"), "--known",
               str(tmp_path / "photos"))  # fmt: skip
    assert said.splitlines()[-1] == "best: facet:steps=1" and "\nfacet:steps=1 " in said


def test_synthesis() -> None:
    said = run(
        "synthesis.py",
        "--repeats",
        "1",
        "--steps",
        "1",
        "--presets",
        "plain",
        "--batches",
        "1",
        "--models",
        "efficientnet-lite0",
    )
    assert "logits" in said and "units per minute" in said


def test_attribution(tmp_path: Path) -> None:
    shutil.copy(next(paths.PHOTOS.glob("*.jpg")), tmp_path / "a.jpg")
    options = ("--methods", "lrp", "--repeats", "1", "--images", str(tmp_path), "--write", str(tmp_path / "table.md"))
    assert "× the gradient" in run("attribution.py", *options)
    assert "| lrp |" in (tmp_path / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", ["squeezenet1_1", "resnet10t"])
def test_networks(source: str, tmp_path: Path) -> None:
    run("networks.py", "--only", source, "--write", str(tmp_path / "table.md"))
    assert source in (tmp_path / "table.md").read_text(encoding="utf-8")
