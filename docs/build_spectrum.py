"""Writes deepvis/synthesis/photo_spectrum.npz from the bundled photos: python docs/build_spectrum.py"""

from __future__ import annotations

import numpy as np

from deepvis.core import paths
from deepvis.core.geometry import cut, resize
from deepvis.inputs.decode import read_image
from deepvis.synthesis.photo_spectrum import TABLE, measured

SIDE = 256


def main() -> None:
    photos = [resize(cut(read_image(path), 1.0, True), SIDE, SIDE) for path in sorted(paths.PHOTOS.glob("*.jpg"))]
    np.savez_compressed(TABLE, magnitudes=measured(photos).astype(np.float16))


if __name__ == "__main__":
    main()
