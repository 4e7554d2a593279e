"""Where files are: the bundled ones, and the user's own.

    ROOT/models, ROOT/precomputed, PHOTOS         come with the program, and are only read
    data()/models, …/recipes, …/precomputed       the user's own; they are preferred to the bundled ones

In a checkout both are in the checkout. In an installed package the bundled files are in `deepvis/bundled`, in the same
folders as in a checkout, and the user's own files are in the user's data folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent
_BUNDLED = PACKAGE / "bundled"  # only a wheel has it (see pyproject.toml)
IS_INSTALLED = _BUNDLED.is_dir()
ROOT = _BUNDLED if IS_INSTALLED else PACKAGE.parent
PHOTOS = ROOT / "deepvis" / "photos"

USUAL = "auto"
"""Value of the setting `data` if the user has not chosen a folder."""

_chosen: Path | None = None


class Places(NamedTuple):
    """The two folders for one kind of files: the user's own, which is preferred and written to, and the bundled one."""

    own: Path
    bundled: Path


def use(data: str) -> None:
    """Use this folder for the user's own files from now on; `USUAL` for the default. Call it once, at the start."""
    global _chosen
    _chosen = None if data == USUAL else Path(os.path.expanduser(data)).absolute()


def data() -> Path:
    """The folder of the user's own models, recipes, scans and images. It need not exist."""
    return usual_data() if _chosen is None else _chosen


def usual_data() -> Path:
    """The default folder of the user's own files."""
    if not IS_INSTALLED:
        return ROOT
    from platformdirs import user_data_path

    return user_data_path("deepvis", appauthor=False)


def models() -> Places:
    """The folders that contain models, each in a sub-folder of its name."""
    return Places(data() / "models", ROOT / "models")


def precomputed() -> Places:
    """The folders that contain scans and synthesized images, those of each model in a sub-folder of its name."""
    return Places(data() / "precomputed", ROOT / "precomputed")


def recipes() -> Path:
    """The folder of saved recipes. (The bundled recipes are the presets in the code.)"""
    return data() / "recipes"
