"""Learned priors on the disk, in the folder of precomputed files: MODEL/priors/LAYER/prior.safetensors, and those that
come with the program in MODEL/bundled-priors.

The description stands in the file's header, as JSON. Nothing of such a file is ever run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from deepvis.core.errors import UserError
from deepvis.core.files import folder_name, is_regular, shortened, write_whole, writing
from deepvis.core.paths import Places
from deepvis.core.reading import parse_json

PRIOR = "prior.safetensors"
CHECKPOINT = "checkpoint.pt"
RECONSTRUCTIONS = "held-out.jpg"
_REMEDY = "Train it again with deepvis train-prior"


@dataclass(frozen=True, eq=False)
class StoredPrior:
    """A prior as its file holds it.

    Attributes:
        about: plain values: fingerprint, model, layer, units, size, stride and so on.
        arrays: {name: array}; float16 and float32.
    """

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]


OWN, BUNDLED = "priors", "bundled-priors"  # folders in a network's folder: in a checkout both are in the same one


def prior_folder(root: Path, model: str, layer: str, kind: str = OWN) -> Path:
    """The folder of a layer's prior below the folder of precomputed files."""
    return root / folder_name(model) / kind / folder_name(layer)


def prior_files(places: Places, model: str) -> list[Path]:
    """All files of a network's priors: the user's own, then the bundled ones of other layers; in order of names."""
    found: dict[str, Path] = {}
    for root, kind in ((places.own, OWN), (places.bundled, BUNDLED)):
        for file in sorted((root / folder_name(model) / kind).glob(f"*/{PRIOR}")):
            found.setdefault(file.parent.name, file)
    return list(found.values())


def prior_at(name: str) -> Path | None:
    """The prior's file that a name means which can only be a path: of the file, or of the folder that --out named.

    None for another name, such as a layer's.

    Raises:
        UserError: there is no prior at this path.
    """
    path = Path(name).expanduser() if name else Path()
    if not (path.is_absolute() or name.startswith(("./", "../", "~")) or path.suffix == ".safetensors"):
        return None
    file = path / PRIOR if path.is_dir() else path
    if not is_regular(file):
        raise UserError(f"{shortened(file)}: there is no such file; expected a prior, or a folder with one. {_REMEDY}")
    return file


def save_prior(path: Path, stored: StoredPrior) -> None:
    """Write a prior's file. Raises UserError if that fails, as on a full disk."""
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(stored.arrays.items())}
    data = save(arrays, {"about": json.dumps(stored.about, sort_keys=True)})
    with writing(path, "Free some space there, or name another folder with --data"):
        write_whole(path, data)


def prior_about(path: Path) -> dict[str, Any]:
    """What a prior's file says of it, without its arrays; empty if that cannot be read."""
    try:
        if not is_regular(path):
            return {}
        with safe_open(str(path), "np") as file:
            text = (file.metadata() or {}).get("about", "")
        about = parse_json(text or "null", lambda line: str(path), "a prior's description")
    except (SafetensorError, OSError, ValueError, UserError):
        return {}
    return about if isinstance(about, dict) else {}


def load_prior(path: Path) -> StoredPrior:
    """Read a prior's file.

    Raises:
        UserError: there is none, or it is damaged or something else.
    """
    if not is_regular(path):
        raise UserError(f"{path}: there is no such file; expected a prior. {_REMEDY}")
    try:
        with safe_open(str(path), "np") as file:
            text = (file.metadata() or {}).get("about", "")
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as a prior: {str(error)[:200]}. {_REMEDY}") from error
    about = parse_json(text or "null", lambda line: str(path), "a prior's description")
    if not isinstance(about, dict):
        raise UserError(f"{path}: has no description; expected a prior. {_REMEDY}")
    return StoredPrior(about, arrays)
