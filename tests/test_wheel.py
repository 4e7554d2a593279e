"""A wheel holds all that the program needs, and starts from any folder without writing beside itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git has, and of some things that it is told to ignore."""
    source = tmp_path_factory.mktemp("source")
    for name in ("deepvis", "models"):
        shutil.copytree(ROOT / name, source / name)
    own = shutil.ignore_patterns("scan", "synthesized-own", "live")
    shutil.copytree(ROOT / "precomputed", source / "precomputed", ignore=own)
    for name in ("pyproject.toml", "README.md", "LICENSE", "settings.yaml", ".gitignore"):
        shutil.copy(ROOT / name, source)
    scan = source / "precomputed" / "efficientnet-lite0" / "scan"
    scan.mkdir()
    (scan / "index.npz").write_bytes(b"of this computer's user")
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)],
        check=True,
    )
    return next(out.glob("deepvis-*.whl"))


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_it(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"deepvis", next(top for top in tops if top.endswith(".dist-info"))}
    bundled = {name.removeprefix("deepvis/bundled/") for name in names if name.startswith("deepvis/bundled/")}
    photos = {f"deepvis/photos/{name}" for name in files_of(ROOT / "deepvis" / "photos")}
    assert "deepvis/photos/CREDITS.md" in photos and len(photos) > 400
    images = {f"precomputed/{name}" for name in files_of(ROOT / "precomputed") if "/synthesized/" in name}
    assert len(images) > 1000
    models = {f"models/{name}/model.yaml" for name in ("caffenet", "efficientnet-lite0")}
    index = "precomputed/efficientnet-lite0/bundled/index.npz"
    assert photos | images | models | {index, "settings.yaml"} <= bundled
    assert "precomputed/efficientnet-lite0/scan/index.npz" not in bundled
    assert "deepvis/py.typed" in names and not any(name.startswith("deepvis/photos") for name in names)


ASKED = """
import sys
from pathlib import Path
import numpy as np
from deepvis.core import paths
from deepvis.networks import loading
from deepvis.scan.index import INDEX, index_folder
from deepvis.scan.index_file import load
from deepvis.store.original_folders import open_pictures

assert paths.IS_INSTALLED and str(paths.PHOTOS).startswith(sys.argv[1])
network = loading.load("efficientnet-lite0", "cpu", weights="none")
index = load(index_folder(paths.precomputed(), network.name) / INDEX)
assert Path(index.root) == paths.PHOTOS and not index.missing()
assert len(open_pictures(network.name, index.fingerprint, network.paths).read("4a", 3)) == 4
from deepvis.cli.start import main
out = ["--out", "x.png", "--weights", "none", "--keys", "right"]
assert main(["render", *out]) == 0 and Path("x.png").stat().st_size > 10000
assert main(["scan", "--images", sys.argv[2], "--weights", "none"]) == 0
"""


def test_it_starts_from_any_folder_and_writes_into_the_users_alone(wheel: Path, tmp_path: Path) -> None:
    site, home, images = (tmp_path / name for name in ("site", "home", "images"))
    ZipFile(wheel).extractall(site)  # which is all that installing pure Python does to the package
    for folder in (home, images):
        folder.mkdir()
    for photo in sorted((ROOT / "deepvis" / "photos").glob("*.jpg"))[:3]:
        shutil.copy(photo, images)
    before = files_of(site)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home)}
    environment |= {"XDG_DATA_HOME": str(home / "data")}
    done = subprocess.run([sys.executable, "-c", ASKED, str(site), str(images)], env=environment, cwd=home,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert files_of(site) == before
    if sys.platform.startswith("linux"):
        assert "data/deepvis/precomputed/efficientnet-lite0/scan/index.npz" in files_of(home)
