"""Writing pictures to files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import write_whole, writing


def check_suffix(path: Path) -> str:
    """The suffix of a picture's file name in lower case; UserError if that format cannot be written."""
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"--out {path}: expected a name that ends in .png, .jpg or .webp")
    return suffix


def write(path: Path, image: np.ndarray) -> None:
    """Save a picture (uint8 BGR) in the format of its suffix. Raises UserError if that fails."""
    done, data = cv2.imencode(check_suffix(path), image)
    if not done:
        raise UserError(
            f"--out {path}: {image.shape[1]}×{image.shape[0]} pixels do not fit into such a file (WebP takes 16383 on "
            "a side, JPEG 65535): give a name that ends in .png, or make the picture smaller"
        )
    with writing(f"--out {path}"):
        write_whole(path, data.tobytes())
