"""Pictures of any number of bands: what the network gets of them, and the three that are shown.

An array that is not uint8 H×W×3 holds bands: H×W×C, uint8 or float32, in the network's own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepvis.decode import MAX_PIXELS, MAX_SIDE, read_image
from deepvis.errors import UserError, reason
from deepvis.geometry import resize

NUMPY = ".npy"
_TIFF = frozenset({".tif", ".tiff"})
_TAIL = 2  # percent of a band's values that are shown as black, and as white


def read_picture(path: Path | str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A picture file as `read_image` gives it, or the bands of a `.npy` file or of a TIFF of more than four.

    Raises:
        UserError: as `read_image`; or the array is no picture.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == NUMPY or suffix in _TIFF and _tiff_bands(path) > 4:
        return _read_bands(path, max_pixels)
    return read_image(path, max_pixels=max_pixels)


def is_bands(image: np.ndarray) -> bool:
    """Whether an array holds bands; else it is a picture of red, green and blue."""
    return image.dtype != np.uint8 or image.shape[2] != 3


def as_colours(picture: np.ndarray, shown: Sequence[int] = (0, 1, 2)) -> np.ndarray:
    """What is shown of a picture: uint8 RGB H×W×3; of bands these three, as `colours` does."""
    return colours(picture, shown) if is_bands(picture) else picture


def colours(bands: np.ndarray, shown: Sequence[int]) -> np.ndarray:
    """Three bands (or one) as uint8 H×W×3 RGB; each from its 2nd to its 98th percentile, as is usual for
    satellite pictures, whose values have no white."""
    count = bands.shape[2]
    chosen = [band for band in shown if band < count] or [0]
    planes = [_stretched(bands[..., band]) for band in chosen]
    if len(planes) == 1:
        planes *= 3
    planes += [np.zeros_like(planes[0])] * (3 - len(planes))
    return np.ascontiguousarray(np.dstack(planes))


def fit_bands(bands: np.ndarray, width: int, height: int) -> np.ndarray:
    """As `geometry.resize`, band by band: OpenCV takes no more than four at a time."""
    return np.dstack([resize(np.ascontiguousarray(bands[..., i]), width, height) for i in range(bands.shape[2])])


def _stretched(plane: np.ndarray) -> np.ndarray:
    if plane.dtype == np.uint8:
        return plane
    finite = plane[np.isfinite(plane)]
    low, high = np.percentile(finite, (_TAIL, 100 - _TAIL)) if finite.size else (0.0, 1.0)
    scaled = (np.nan_to_num(plane, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-30)
    return (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)


def _tiff_bands(path: Path) -> int:
    """How many; 0 if that cannot be told, so that the usual reader says what is wrong."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return int(file.pages[0].samplesperpixel)
    except Exception:  # a damaged file raises anything
        return 0


def _read_bands(path: Path, max_pixels: int) -> np.ndarray:
    """H×W×C, uint8 or float32, at most MAX_SIDE long."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix.lower() == NUMPY else _tiff(path)
    except UserError:
        raise
    except Exception as error:  # damage; pickled objects, which are not loaded
        raise UserError(f"{path.name} cannot be read ({type(error).__name__}: {reason(error)}); expected an array of numbers saved by numpy.save, "
                        "or an undamaged TIFF") from error  # fmt: skip
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.ndim not in (2, 3) or 0 in array.shape:
        what = f"a {getattr(array, 'dtype', type(array).__name__)} array of shape {getattr(array, 'shape', '?')}"
        raise UserError(f"{path.name} holds {what}; expected numbers, height×width×bands, bands×height×width or height×width")
    if array.ndim == 2:
        array = array[..., None]
    elif array.shape[0] < array.shape[2]:  # bands come first
        array = array.transpose(1, 2, 0)
    height, width, count = array.shape
    if height * width * max(1, count // 3) > max_pixels:
        raise UserError(f"{path.name} has {width} x {height} pixels of {count} bands; the limit is {max_pixels / 1e6:.0f} "
                        "megapixels: make a smaller copy of it")  # fmt: skip
    bands = np.array(array, np.uint8 if array.dtype == np.uint8 else np.float32, order="C")
    longest = max(height, width)
    if longest > MAX_SIDE:
        bands = fit_bands(bands, *(max(1, round(side * MAX_SIDE / longest)) for side in (width, height)))
    return bands


def _tiff(path: Path) -> np.ndarray:
    import tifffile

    return tifffile.imread(path, key=0)
