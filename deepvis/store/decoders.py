"""The closed-form decoders of layers on the disk, beside the index: an .npz file for each layer, without pickles."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepvis.core.arrays import add_array, open_arrays
from deepvis.core.errors import UserError
from deepvis.core.files import beside, folder_name, writing
from deepvis.core.marks import same_network
from deepvis.core.reading import parse_json

_REMEDY = "Remove the file: the decoder is learned again"
_ARRAYS = ("weights", "scales", "offsets", "mean")


@dataclass(frozen=True, eq=False)
class StoredDecoder:
    """A decoder as its file holds it.

    Attributes:
        about: plain values: fingerprint, layer, size, grid, cell, reach, psnr, photos, penalty.
        weights: float32 F×P; the file has them in float16, each row divided by its largest value.
        offsets: float32 [P].
        mean: float32 [C].
    """

    about: dict[str, Any]
    weights: np.ndarray
    offsets: np.ndarray
    mean: np.ndarray


def decoder_path(root: Path, model: str, layer: str) -> Path:
    """The file of a layer's decoder below the folder of precomputed files."""
    return root / folder_name(model) / "decoders" / f"{folder_name(layer)}.npz"


def save_decoder(path: Path, stored: StoredDecoder) -> None:
    """Write a decoder's file. Raises UserError if that fails, as on a full disk."""
    scales = np.abs(stored.weights).max(1).clip(1e-30).astype(np.float32)
    arrays = {
        "weights": (stored.weights / scales[:, None]).astype(np.float16),
        "scales": scales,
        "offsets": stored.offsets.astype(np.float32),
        "mean": stored.mean.astype(np.float32),
        "about": np.frombuffer(json.dumps(stored.about).encode(), np.uint8),
    }
    with writing(path, "Free some space there, or name another folder with --data"), beside(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                add_array(archive, name, array)


def load_decoder(path: Path, fingerprint: str) -> StoredDecoder | None:
    """Read a decoder's file; None if there is none for a network of this fingerprint.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    with open_arrays(path, "a decoder", _REMEDY) as stored:
        about = parse_json(bytes(stored["about"]).decode(), lambda line: str(path), "a decoder's description")
        if not isinstance(about, dict) or not same_network(str(about.get("fingerprint")), fingerprint):
            return None
        weights, scales, offsets, mean = (stored[name].astype(np.float32) for name in _ARRAYS)
        if weights.ndim != 2 or scales.shape != weights.shape[:1] or offsets.shape != weights.shape[1:]:
            raise UserError(f"{path}: its arrays do not fit together; expected a decoder. {_REMEDY}")
        return StoredDecoder(about, weights * scales[:, None], offsets, mean)
