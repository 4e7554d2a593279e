"""Pictures with any number of bands: reading them for the network, and showing three of the bands as colours.

An array that is not uint8 H×W×3 holds bands: H×W×C, uint8 or float32, in the order of the network's channels.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deepvis.core.errors import UserError, words
from deepvis.core.files import open_regular
from deepvis.core.geometry import resize
from deepvis.inputs.decode import decode_image
from deepvis.inputs.depth import White, gray_to_rgb, uint16_to_uint8
from deepvis.inputs.headers import MAX_PIXELS, MAX_SIDE, Header, bands_memory, check_size, read_header, read_whole

NUMPY = ".npy"
_TAIL = 2  # percent of a band's values that are shown as black, and as white
_LONGEST_HEADER = 1 << 16  # bytes that say the shape of a .npy
_UNPACKERS: dict[int, Callable[[], Any]] = {  # by TIFF's numbers
    8: zlib.decompressobj,
    32946: zlib.decompressobj,
    34925: lzma.LZMADecompressor,
}


@dataclass(frozen=True)
class Reading:
    """How picture files are read for a network.

    Attributes:
        channels: number of channels that the network takes. A TIFF with as many bands is read as bands, even if it
            says that some of them are colours.
        white: the value of full white in pictures of 16 bits; 0 to guess it (see `deepvis.inputs.depth`).
        range: the value of full white in the network's input.
    """

    channels: int = 3
    white: float = 0.0
    range: float = 1.0


def read_picture(
    path: Path | str,
    max_pixels: int = MAX_PIXELS,
    reading: Reading = Reading(),
    note: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Read a picture file like `read_image`, or the bands of a `.npy` file or a TIFF.

    A TIFF is read as bands if it has more than four, or as many as the network has channels (but not one or three),
    or several that are not marked as colours.

    Args:
        note: called with a text that says what was guessed.
    Raises:
        UserError: as in `read_image`, or the array is not a picture.
    """
    path = Path(path)
    with open_regular(path, "a picture file") as file:
        return decode_picture(file, path.name, max_pixels, reading, note)


def decode_picture(
    file: BinaryIO,
    name: str,
    max_pixels: int = MAX_PIXELS,
    reading: Reading = Reading(),
    note: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Like `read_picture`, for an open, seekable file; a `.npy` file is known by its name."""
    if name.lower().endswith(NUMPY):
        array = _read_bands(file, name, max_pixels, None)
        if bad := array.size - int(np.count_nonzero(np.isfinite(array))):
            note(f"{name}: {bad:,} of {array.size:,} values are NaN or infinite; they count as the network's mean")
        return _as_picture(array, name, reading, White(reading.white, note))
    try:
        header = read_header(file)
    except Exception:  # damaged files raise many kinds of errors; `decode_image` will say what is wrong
        header = None
    file.seek(0)
    if header is not None and header.kind == "tiff" and _holds_bands(header, reading.channels):
        return _reduced(_read_bands(file, name, max_pixels, header), reading)
    return decode_image(file, name, max_pixels=max_pixels, white=White(reading.white, note))


def is_bands(image: np.ndarray) -> bool:
    """Whether an array holds bands; if not it is an RGB picture."""
    return image.dtype != np.uint8 or image.shape[2] != 3


def as_colours(picture: np.ndarray, shown: Sequence[int] = (0, 1, 2)) -> np.ndarray:
    """The picture to show on the screen, uint8 RGB H×W×3: of bands those in `shown` (see `colours`)."""
    return colours(picture, shown) if is_bands(picture) else picture


def colours(bands: np.ndarray, shown: Sequence[int]) -> np.ndarray:
    """Three bands (or one) as uint8 H×W×3 RGB.

    Bands that are not uint8 are scaled from their 2nd to their 98th percentile, as is usual for satellite pictures,
    which have no value of white.
    """
    count = bands.shape[2]
    chosen = [band for band in shown if band < count] or [0]
    planes = [_stretched(bands[..., band]) for band in chosen]
    if len(planes) == 1:
        planes *= 3
    planes += [np.zeros_like(planes[0])] * (3 - len(planes))
    return np.ascontiguousarray(np.dstack(planes))


def fit_bands(bands: np.ndarray, width: int, height: int) -> np.ndarray:
    """Like `geometry.resize`, band by band, because OpenCV takes at most four at a time."""
    return np.dstack([resize(np.ascontiguousarray(bands[..., i]), width, height) for i in range(bands.shape[2])])


def _stretched(plane: np.ndarray) -> np.ndarray:
    if plane.dtype == np.uint8:
        return plane
    finite = plane[np.isfinite(plane)]
    low, high = np.percentile(finite, (_TAIL, 100 - _TAIL)) if finite.size else (0.0, 1.0)
    scaled = (np.nan_to_num(plane, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-30)
    stretched: np.ndarray = (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)
    return stretched


def _holds_bands(header: Header, channels: int) -> bool:
    if header.samples > 4 or header.samples == channels and channels not in (1, 3):
        return True
    return header.samples > 1 and not header.rgb and not header.alpha


def _as_picture(array: np.ndarray, name: str, reading: Reading, white: White) -> np.ndarray:
    """An array as the network's input: with 16 bits and one or three bands it is a picture, else bands."""
    count = array.shape[2]
    if array.dtype.kind != "u" or array.dtype.itemsize != 2 or count not in (1, 3):
        return _reduced(array, reading)
    most = white.of(name, array.max())
    if count == reading.channels:
        return _reduced(array, Reading(count, most, reading.range))
    planes = _reduced(array, Reading()).astype(np.uint16)
    planes = uint16_to_uint8(planes, most)
    return np.ascontiguousarray(planes if count == 3 else gray_to_rgb(planes[..., 0]))


def _read_bands(file: BinaryIO, name: str, max_pixels: int, header: Header | None) -> np.ndarray:
    """Read H×W×C, numbers of any type, from a TIFF with this header, or from a .npy file (header None)."""
    try:
        array = _numpy(file, name, max_pixels) if header is None else _tiff(file, name, max_pixels, header)
    except UserError:
        raise
    except Exception as error:  # damage; pickled objects, which are not loaded
        raise UserError(f"{name} cannot be read ({words(error)[:200]}); expected an array of numbers saved by "
                        "numpy.save, or an undamaged TIFF") from error  # fmt: skip
    if array.ndim == 2:
        array = array[..., None]
    elif header is None and array.shape[0] < array.shape[2]:  # bands come first
        array = array.transpose(1, 2, 0)
    return array


def _reduced(array: np.ndarray, reading: Reading) -> np.ndarray:
    """Bands as uint8 or float32 with at most MAX_SIDE pixels on a side; converted band by band to save memory.

    Integers of more than 8 bits are scaled to the network's range if their white is known, else kept as they are.
    """
    height, width, count = array.shape
    longest = max(height, width)
    if longest > MAX_SIDE:
        height, width = (max(1, round(side * MAX_SIDE / longest)) for side in (height, width))
    bands = np.empty((height, width, count), np.uint8 if array.dtype == np.uint8 else np.float32)
    for band in range(count):
        bands[..., band] = resize(np.ascontiguousarray(array[..., band], bands.dtype), width, height)
    if reading.white and array.dtype.kind in "ui" and bands.dtype != np.uint8:
        bands *= np.float32(reading.range / reading.white)
    return bands


def _check_bands(name: str, shape: Sequence[int], item: int, max_pixels: int) -> None:
    """Raise UserError if height×width×bands of `item` bytes each are too many."""
    height, width, count = shape
    memory = bands_memory(height * width, count, item)
    check_size(name, Header("bands", width, height, count, 8 * item, memory), max_pixels)


def _numpy(file: BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    """Read a .npy file. Its header is checked first, because it says how much memory will be needed."""
    major, _ = np.lib.format.read_magic(file)
    if major > 1 and int.from_bytes(file.read(4), "little") > _LONGEST_HEADER:
        raise ValueError("its header is too long")
    file.seek(8)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are not loaded")
    if dtype.kind not in "fiub" or len(shape) not in (2, 3) or min(shape) < 1:
        raise UserError(f"{name} holds a {dtype} array of shape {str(shape)[:60]}; expected numbers, "
                        "height×width×bands, bands×height×width or height×width")  # fmt: skip
    size = sorted(shape)[::-1] if len(shape) == 2 else shape if shape[0] >= shape[2] else (*shape[1:], shape[0])
    _check_bands(name, (*size, 1)[:3], dtype.itemsize, max_pixels)
    count = int(np.prod(shape, dtype=np.int64))
    data = read_whole(file, count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if columns_first else "C")


def _tiff(file: BinaryIO, name: str, max_pixels: int, header: Header) -> np.ndarray:
    import tifffile

    check_size(name, header, max_pixels)
    with tifffile.TiffFile(file, name=name) as tiff:
        page: Any = tiff.pages[0]  # the first is a whole TiffPage, which its type leaves open
        if page.dtype is None or page.dtype.kind not in "fiub":
            raise ValueError("its pixels are no numbers")
        count = page.samplesperpixel
        _check_bands(name, (page.imagelength, page.imagewidth, count), page.dtype.itemsize, max_pixels)
        if page.imagedepth != 1 or count != header.samples:
            raise ValueError("it has more than height, width and bands")
        _check_segments(file, page)
        array: np.ndarray = page.asarray()
        is_separate = page.planarconfig == 2 and count > 1
    array = array.reshape((count, header.height, header.width) if is_separate else (header.height, header.width, count))
    return array.transpose(1, 2, 0) if is_separate else array


def _check_segments(file: BinaryIO, page: Any) -> None:
    """Raise ValueError if a strip lies outside the file or unpacks to more than its size; tifffile checks neither."""
    end = file.seek(0, os.SEEK_END)
    most = page.imagelength * page.imagewidth * page.samplesperpixel
    if page.is_tiled:
        most = page.tilelength * page.tilewidth * page.samplesperpixel
    elif page.rowsperstrip:
        most = min(page.rowsperstrip, page.imagelength) * page.imagewidth * page.samplesperpixel
    most *= page.dtype.itemsize
    for offset, length in zip(page.dataoffsets, page.databytecounts):
        if offset + length > end:
            raise ValueError("a strip of it lies beyond its end")
        if page.compression not in _UNPACKERS:
            continue
        file.seek(offset)
        if len(_UNPACKERS[page.compression]().decompress(file.read(length), most + 1)) > most:
            raise ValueError("a strip of it unpacks to more than its size says")
