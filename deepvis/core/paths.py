"""Where things lie: what comes with the program, and what the user has made.

    ROOT/models, ROOT/precomputed, PHOTOS         come with the program, and are only read
    data()/models, …/recipes, …/precomputed       the user's own; they go before the bundled ones

A checkout is its user's workshop: there both are the checkout. In an installed package what comes with the program
lies in `deepvis/bundled`, which is laid out as a checkout is, and one's own things in the user's data folder.
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
"""What the setting `data` says where the user has chosen no folder."""

_chosen: Path | None = None


class Places(NamedTuple):
    """Where things of one kind are: the user's own, which go first and are written, and the bundled ones."""

    own: Path
    bundled: Path


def use(data: str) -> None:
    """Keep the user's own things in this folder from now on; `USUAL`: in the usual one. Called once, at the start."""
    global _chosen
    _chosen = None if data == USUAL else Path(os.path.expanduser(data)).absolute()


def data() -> Path:
    """The folder of the user's own models, recipes and precomputed things. It need not exist."""
    return usual_data() if _chosen is None else _chosen


def usual_data() -> Path:
    """The folder of the user's own things where no other was chosen."""
    if not IS_INSTALLED:
        return ROOT
    from platformdirs import user_data_path

    return user_data_path("deepvis", appauthor=False)


def models() -> Places:
    """The folders of models, each in a folder of its name."""
    return Places(data() / "models", ROOT / "models")


def precomputed() -> Places:
    """The folders of scans and synthesized images, those of each model in a folder of its name."""
    return Places(data() / "precomputed", ROOT / "precomputed")


def recipes() -> Path:
    """The folder of saved recipes; those that come with the program are the presets in the code."""
    return data() / "recipes"
