"""Where the program's own files are: models, recipes, photos, and what was computed offline."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent
PHOTOS = PACKAGE / "photos"
PRECOMPUTED = ROOT / "precomputed"
RECIPES = ROOT / "recipes"
