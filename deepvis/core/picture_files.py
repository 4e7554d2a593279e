"""Pictures as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import write_whole, writing


def check_suffix(path: Path) -> str:
    """The picture format of a file name; UserError if it is none that can be written."""
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"--out {path}: expected a name that ends in .png, .jpg or .webp")
    return suffix


def write(path: Path, image: np.ndarray) -> None:
    """Save a picture (uint8 BGR); the format is the suffix's. Raises UserError if it cannot."""
    done, data = cv2.imencode(check_suffix(path), image)
    if not done:
        raise UserError(
            f"--out {path}: {image.shape[1]}×{image.shape[0]} pixels do not fit into such a file (WebP takes 16383 on "
            "a side, JPEG 65535): give a name that ends in .png, or make the picture smaller"
        )
    with writing(f"--out {path}"):
        write_whole(path, data.tobytes())
