"""Picture and video files to pixels: uint8 RGB, whatever the file holds.

Pictures are decoded by Pillow, because it reports damage as an exception where OpenCV prints to
stderr or returns half a picture. OpenCV decodes what Pillow cannot decode, or only in 8 bits: TIFFs of
floats or of several channels of 32 bits, and colours of 16 bits. Videos are decoded by OpenCV. Every
function may be called from any thread; a `VideoFile` may be used by one thread at a time.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Image

from deepvis.core.errors import UserError
from deepvis.core.files import open_regular
from deepvis.inputs.depth import GUESSED, WHITES, White, gray_to_rgb, uint16_to_uint8, wide_to_uint8
from deepvis.inputs.headers import MAX_PIXELS, MAX_SIDE, Header, check_memory, check_size, read_header, read_whole

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
     ".avif", ".heic", ".heif"}
)  # fmt: skip
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".gif"})

MAX_FRAME = 100_000_000
"""Pixels of a video's frame; larger ones are refused (8K has a third of that)."""

BACKDROP = 180
"""The gray level that shows through transparent pixels."""

DEFAULT_RATE = 25.0
"""Frames per second of a video that gives an impossible rate."""

_BAND_PIXELS = 4_000_000


def _avif(file: BinaryIO) -> Image:
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise UserError(
            "it is AVIF, which the installed Pillow cannot read; upgrade Pillow, or convert it to PNG or JPEG"
        )
    return AvifImagePlugin.AvifImageFile(file)


# Pillow's own `open` is not used: it refuses 20,000 x 20,000 pixels by a limit that can only be changed for the
# whole process, and it tries fifty formats, some of which start other programs.
_OPENERS: dict[str, Callable[[BinaryIO], Image]] = {
    "jpg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "pnm": PpmImagePlugin.PpmImageFile,
    "avif": _avif,
}

# EXIF orientation (tag 274, CIPA DC-008 section 4.6.5) → how to bring the picture upright.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}


# ---------------------------------------------------------------------------- pictures


def read_image(
    path: Path | str, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS, white: White = GUESSED
) -> np.ndarray:
    """Read a jpg, png, webp, bmp, tiff, ppm or avif file; its content decides which, not its name.

    EXIF rotation is applied; gray becomes three equal channels; transparent pixels are laid over
    `BACKDROP`; 16 bits become 8 (`white` → 255); CMYK is converted without colour profiles. For floats
    and 32-bit integers see `wide_to_uint8`. If there are several pages or frames, the first is read.
    A file that ends early is refused, not shown in part.

    Args:
        path: the file.
        max_side: a picture with a longer side is reduced to this by averaging areas.
        max_pixels: a picture with more pixels, or one that takes the memory of more, is refused before
            decoding.

    Returns:
        uint8 RGB, height x width x 3, C-contiguous, owned by the caller.

    Raises:
        UserError: the file is missing, not a picture, damaged or too large. No other exception is raised.
    """
    path = Path(path)
    with open_regular(path, "a picture file") as file:
        return decode_image(file, path.name, max_side, max_pixels, white)


def decode_image(
    file: BinaryIO, name: str, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS, white: White = GUESSED
) -> np.ndarray:
    """Like `read_image`, for an open, seekable file; `name` is used in error messages."""
    try:
        return _owned(_decode(file, name, max_side, max_pixels, white))
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{name} does not fit into the free memory; make a smaller copy of it") from error
    except Exception as error:  # decoders raise anything at all about a damaged file
        raise UserError(
            f"{name} cannot be read as a picture ({str(error)[:200] or type(error).__name__}); "
            "expected an undamaged jpg, png, webp, bmp, tiff, ppm or avif: copy or export it again"
        ) from error


def shrunk(image: np.ndarray, max_side: int) -> np.ndarray:
    """`image`, reduced by averaging areas if its longer side exceeds `max_side`."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= max_side:
        return image
    size = [max(1, round(side * max_side / longest)) for side in (width, height)]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _owned(image: np.ndarray) -> np.ndarray:
    return image.copy() if image.base is not None else np.ascontiguousarray(image)


def known_header(file: BinaryIO, name: str, max_pixels: int) -> Header:
    """Read a picture's header and check its size.

    Raises:
        UserError: the file is not a picture, is of a kind that cannot be read, or is too large.
    """
    header = read_header(file)
    if header is None:
        start = file.read(16)
        if not start:
            raise UserError(f"{name} is empty; expected a picture: copy or download it again")
        raise UserError(
            f"{name} is not a picture that can be read (it starts with {start[:8]!r}); "
            "expected jpg, png, webp, bmp, tiff, ppm or avif: convert it"
        )
    if header.kind == "heic":
        raise UserError(
            f"{name} is HEIC, which cannot be read; convert it to JPEG or PNG first: "
            f"with `heif-convert {name} photo.jpg`, with Preview (Mac), with Photos (Windows), "
            "or let the phone save 'most compatible' pictures"
        )
    if header.kind != "avif":
        check_size(name, header, max_pixels)
    file.seek(0)
    return header


def _decode(file: BinaryIO, name: str, max_side: int, max_pixels: int, white: White) -> np.ndarray:
    header = known_header(file, name, max_pixels)
    if 8 < header.bits < 16 or header.bits == 16 and 0 < header.white < WHITES[-1]:
        white = replace(white, said=white.said or header.white or 2**header.bits - 1)
    if header.kind == "pnm" and header.bits == 16:
        values = _deep_pnm(file, header)
        return shrunk(wide_to_uint8(values, white.of(name, values.max())), max_side)
    if header.kind in ("webp", "avif"):  # their decoders read the whole file into memory
        check_memory(name, file.seek(0, os.SEEK_END), "a file of that length", max_pixels)
        file.seek(0)
    try:
        image = _OPENERS[header.kind](file)
        width, height = image.size  # a second header would count, in some formats
        memory = max(header.memory, 4 * width * height)
        check_size(name, replace(header, width=width, height=height, memory=memory), max_pixels)
        if header.bits == 16 and not image.mode.startswith(("I", "F")):  # Pillow would cut colours of 16 bits to 8
            upright = _UPRIGHT.get(_orientation(image)) if header.kind == "png" else None
            image.load()  # raises if the file is not complete
            rgb = _decode_with_opencv(file, name, header, max_side, max_pixels, white)
            return upright(rgb) if upright else rgb
        return _decode_with_pillow(image, name, max_side, white)
    except UserError:
        raise
    except Exception:
        if header.kind != "tiff":
            raise
        return _decode_with_opencv(file, name, header, max_side, max_pixels, white)


def _deep_pnm(file: BinaryIO, header: Header) -> np.ndarray:
    """Read a PGM or PPM of 16 bits without scaling. Pillow would scale it by its header's white, which may be wrong."""
    if file.read(2) not in (b"P5", b"P6"):
        raise ValueError("numbers as text of more than 8 bits; expected P5 or P6")
    file.seek(0)
    start = file.read(4096)
    numbers, at = 0, 2
    while numbers < 3:  # width, height and white, between blanks and comments
        end = at
        if start[at : at + 1] == b"#":
            end = start.index(b"\n", at)
        elif start[at : at + 1].isdigit():
            while start[end : end + 1].isdigit():
                end += 1
            numbers += 1
        at = max(end, at + 1)
    file.seek(at + 1)
    count = header.width * header.height * header.samples
    values = np.frombuffer(read_whole(file, 2 * count), ">u2").astype(np.uint16)
    values = values.reshape(header.height, header.width, header.samples)
    return values[..., 0] if header.samples == 1 else values


def _decode_with_pillow(image: Image, name: str, max_side: int, white: White) -> np.ndarray:
    scale = max_side / max(image.size)
    if scale < 1 and isinstance(image, JpegImagePlugin.JpegImageFile):
        # JPEG can be decoded at 1/2, 1/4 or 1/8; `draft` takes the least that is large enough.
        width, height = image.size
        image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
    image.load()
    if image.mode in ("I", "F"):
        rgb = shrunk(wide_to_uint8(np.asarray(image)), max_side)
    else:
        most = white.of(name, float(np.max(image.getextrema()))) if image.mode.startswith("I;16") else 255
        rgb = _reduced_rgb(image, max_side, most)
    # Asked only now, because Pillow turns TIFFs by itself on loading and then forgets the tag.
    upright = _UPRIGHT.get(_orientation(image))
    return upright(rgb) if upright else rgb


def _orientation(image: Image) -> int:
    """The EXIF tag; 1, upright, where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(274, 1))
    except Exception:  # damaged metadata must not cost the picture
        return 1


def _reduced_rgb(image: Image, max_side: int, white: float = 255) -> np.ndarray:
    """Convert and reduce band by band, so that a huge picture is held once, not three times."""
    width, height = image.size
    factor = max(image.size) // max_side
    if factor < 2:
        return shrunk(_rgb(image, white), max_side)
    step = factor * max(1, _BAND_PIXELS // (width * factor))
    bands = []
    for top in range(0, height, step):
        band = _rgb(image.crop((0, top, width, min(top + step, height))), white)
        size = (math.ceil(width / factor), math.ceil(band.shape[0] / factor))
        bands.append(cv2.resize(band, size, interpolation=cv2.INTER_AREA))
    return shrunk(np.concatenate(bands), max_side)


def _rgb(image: Image, white: float) -> np.ndarray:
    """Convert a loaded picture of any mode but I and F to uint8 RGB, height x width x 3; `white` is for 16 bits."""
    if image.mode.startswith("I;16"):
        return gray_to_rgb(uint16_to_uint8(np.asarray(image), white))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _over_backdrop(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _over_backdrop(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + BACKDROP * (255 - alpha) + 127) // 255).astype(np.uint8)


def _decode_with_opencv(
    file: BinaryIO, name: str, header: Header, max_side: int, max_pixels: int, white: White
) -> np.ndarray:
    length = file.seek(0, os.SEEK_END)
    values = header.width * header.height * header.samples * max(1, header.bits // 8)
    check_memory(name, header.memory + 2 * values + length, "many bytes in a pixel", max_pixels)
    file.seek(0)
    with quiet_opencv():
        image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("the data is damaged or of an unknown kind")
    image = np.squeeze(image, 2) if image.shape[2:] == (1,) else image
    if header.kind == "tiff" and not header.alpha:
        image = image[..., :3] if image.ndim == 3 else image
    alpha = image[..., 3] if image.shape[2:] == (4,) else None
    colours = image if alpha is None else image[..., :3]
    rgb = wide_to_uint8(colours, white.of(name, colours.max()) if image.dtype == np.uint16 else 255)[..., ::-1]
    if alpha is None:
        return shrunk(np.ascontiguousarray(rgb), max_side)
    alpha = wide_to_uint8(alpha, White.guessed(alpha.max()))[..., :1]
    return shrunk(_over_backdrop(np.concatenate([rgb, alpha], 2)), max_side)


# ---------------------------------------------------------------------------- videos


class VideoFile:
    """A video being read from its start, one frame after the other.

    Attributes:
        rate: frames per second; `DEFAULT_RATE` if the file gives an impossible rate.
        expected: number of frames according to the file; 0 if it does not say.
        count: how many frames have been read or skipped since the start.
    """

    _capture: Any = None

    def __init__(
        self, path: Path, open_capture: Callable[..., Any] = cv2.VideoCapture, max_side: int = MAX_SIDE
    ) -> None:
        """Open the file. `open_capture` is called like, and returns the like of, VideoCapture.

        Raises:
            UserError: the file is missing or nothing of it can be read.
        """
        self.path = path
        self._open_capture = open_capture
        self._max_side = max_side
        self.rewind()
        self.rate = plausible_rate(self._capture.get(cv2.CAP_PROP_FPS))
        expected = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected = int(expected) if 0 < expected < 1e9 else 0

    def rewind(self) -> None:
        """Go back to the start by opening the file again, because seeking fails in many formats.

        Raises:
            UserError: the file is missing or cannot be opened.
        """
        self.close()
        with open_regular(self.path, "a video file") as file:
            _check_gif(file, self.path.name)
        with quiet_opencv():
            self._capture = self._open_capture(str(self.path), cv2.CAP_ANY)
        self.count = 0
        if not self._capture.isOpened():
            self.close()
            raise UserError(
                f"{self.path.name} cannot be read as a video; expected an undamaged mp4, avi, "
                "mov, mkv, webm, mpg or gif: copy or convert it again"
            )
        size = [self._capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        try:
            _check_frame(self.path.name, *size)
        except UserError:
            self.close()
            raise

    def read(self) -> np.ndarray | None:
        """The next frame, uint8 RGB, owned by the caller; None where the video ends."""
        try:
            readable, image = self._capture.read()
        except cv2.error:
            readable = False
        if not readable:
            return None
        self.count += 1
        return rgb_from_bgr(image, self._max_side)

    def skip(self) -> bool:
        """Pass over the next frame; False where the video ends."""
        readable = bool(self._capture.grab())
        self.count += readable
        return readable

    def close(self) -> None:
        """Release the file. May be called again."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _check_gif(file: BinaryIO, name: str) -> None:
    """Check the frame size of a GIF, which its first bytes say, before it is decoded."""
    start = file.read(10)
    if start.startswith(b"GIF8") and len(start) == 10:
        _check_frame(name, *(int.from_bytes(start[at : at + 2], "little") for at in (6, 8)))


def _check_frame(name: str, width: float, height: float) -> None:
    if width * height > MAX_FRAME:
        raise UserError(
            f"{name} has frames of {width:.0f} x {height:.0f} pixels; the limit is "
            f"{MAX_FRAME / 1e6:.0f} megapixels: make a smaller copy of it"
        )


def plausible_rate(rate: float) -> float:
    """`rate`, or `DEFAULT_RATE` for what no video has (0, not-a-number, 1000, 90000)."""
    return rate if 0.1 <= rate <= 240 else DEFAULT_RATE


def rgb_from_bgr(image: np.ndarray, max_side: int = MAX_SIDE) -> np.ndarray:
    """A frame as OpenCV's captures give it (BGR or gray) → a new uint8 RGB array."""
    image = shrunk(image, max_side)
    is_gray = image.ndim == 2 or image.shape[2] == 1
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_gray else cv2.COLOR_BGR2RGB)


# ---------------------------------------------------------------------------- OpenCV's log

_quiet_lock = threading.Lock()
_quiet_depth = 0
_loud_level = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """While the block runs, keep OpenCV from printing to stderr; the program says itself what failed.

    OpenCV has one log level for the whole process, so threads in such blocks are counted: the first one
    silences OpenCV, and the last one restores the level.
    """
    global _quiet_depth, _loud_level
    log = cv2.utils.logging
    with _quiet_lock:
        if _quiet_depth == 0:
            _loud_level = log.setLogLevel(log.LOG_LEVEL_SILENT)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                log.setLogLevel(_loud_level)
