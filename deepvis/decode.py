"""Picture and video files to pixels: uint8 RGB, whatever the file holds.

Pictures are decoded by Pillow, because it reports damage as an exception where OpenCV prints to
stderr or returns half a picture; OpenCV takes the TIFFs that Pillow cannot (float or several
channels of 32 bits). Videos are OpenCV's. Every function may be called from any thread; a
`VideoFile` belongs to one thread at a time.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Image

from deepvis.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".gif"}
)

MAX_SIDE = 2048
"""Longer pictures are reduced to this: more than a screen shows or a network takes."""

MAX_PIXELS = 500_000_000
"""Refuse larger pictures: at Pillow's 4 bytes a pixel this is 2 GB (20,000 x 20,000: 1.6 GB)."""

BACKDROP = 180
"""The gray level that shows through transparent pixels."""

DEFAULT_RATE = 25.0
"""Frames per second of a video whose own rate is nonsense."""

# A pixel of floats or 32-bit integers, perhaps three of them, takes up to this many times the
# memory of a usual one on its way to 8 bits.
_WIDE_COST = 8
_BAND_PIXELS = 4_000_000

# Pillow's own `open` would refuse 20,000 x 20,000 by a limit that can only be lifted for the
# whole process, and would try fifty formats, some of which start other programs.
_OPENERS: dict[bytes, Callable[[BinaryIO], Image]] = {
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"II*\0": TiffImagePlugin.TiffImageFile,
    b"MM\0*": TiffImagePlugin.TiffImageFile,
    b"II+\0": TiffImagePlugin.TiffImageFile,
    b"MM\0+": TiffImagePlugin.TiffImageFile,
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

# Odd metadata is Pillow's to warn about and nobody's to act on.
warnings.filterwarnings("ignore", module=r"PIL\.")
# FFmpeg prints about damaged videos by itself. OpenCV reads this when it opens its first video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


# ---------------------------------------------------------------------------- pictures


def read_image(
    path: Path | str, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a jpg, png, webp, bmp or tiff file; its content decides which, not its name.

    EXIF rotation is applied; gray becomes three equal channels; transparency is laid over
    `BACKDROP`; 16 bits become 8 (65535 → 255); CMYK is converted without colour profiles. Floats
    and 32-bit integers: see `_wide_to_uint8`. Of several pages or frames the first is read.
    A file that ends early is refused, not shown in part.

    Args:
        path: the file.
        max_side: a picture with a longer side is reduced to this by averaging areas.
        max_pixels: a picture with more is refused before anything of it is decoded.

    Returns:
        uint8 RGB, height x width x 3, C-contiguous, owned by the caller.

    Raises:
        UserError: the file is missing, not a picture, damaged or too large. Nothing else.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise UserError(_why_no_file(path))
        with path.open("rb") as file:
            return _owned(_decode(file, path, max_side, max_pixels))
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"{path.name} does not fit into the free memory; make a smaller copy of it"
        ) from error
    except Exception as error:  # decoders raise anything at all about a damaged file
        raise UserError(
            f"{path.name} cannot be read as a picture ({error or type(error).__name__}); "
            "expected an undamaged jpg, png, webp, bmp or tiff: copy or export it again"
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


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; expected a picture file"
    if path.exists():
        return f"{path} is a device or a pipe; expected a picture file"
    return f"{path} does not exist; expected a picture file: check the path"


def _decode(file: BinaryIO, path: Path, max_side: int, max_pixels: int) -> np.ndarray:
    opener = _opener(file, path)
    is_tiff = opener is TiffImagePlugin.TiffImageFile
    try:
        image = opener(file)
        wide = image.mode in ("I", "F")
        _check_size(path, image.size, max_pixels // _WIDE_COST if wide else max_pixels)
        return _decode_with_pillow(image, max_side)
    except UserError:
        raise
    except Exception:
        if not is_tiff:
            raise
        _check_size(path, _tiff_size(file), max_pixels // _WIDE_COST)
        return _decode_with_opencv(file, max_side)


def _opener(file: BinaryIO, path: Path) -> Callable[[BinaryIO], Image]:
    start = file.read(16)
    file.seek(0)
    if not start:
        raise UserError(f"{path.name} is empty; expected a picture: copy or download it again")
    for signature, opener in _OPENERS.items():
        if start.startswith(signature):
            return opener
    raise UserError(
        f"{path.name} is not a picture that can be read (it starts with {start[:8]!r}); "
        "expected jpg, png, webp, bmp or tiff: convert it"
    )


def _check_size(path: Path, size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width * height > limit:
        raise UserError(
            f"{path.name} has {width} x {height} = {width * height / 1e6:.0f} megapixels; "
            f"the limit is {limit / 1e6:.0f}: make a smaller copy of it"
        )


def _decode_with_pillow(image: Image, max_side: int) -> np.ndarray:
    scale = max_side / max(image.size)
    if scale < 1 and isinstance(image, JpegImagePlugin.JpegImageFile):
        # JPEG can be decoded at 1/2, 1/4 or 1/8; `draft` takes the least that is large enough.
        image.draft(None, tuple(math.ceil(side * scale) for side in image.size))
    image.load()
    if image.mode in ("I", "F"):
        rgb = shrunk(_wide_to_uint8(np.asarray(image)), max_side)
    else:
        rgb = _reduced_rgb(image, max_side)
    # Asked only now, because Pillow turns TIFFs by itself on loading and then forgets the tag.
    upright = _UPRIGHT.get(_orientation(image))
    return upright(rgb) if upright else rgb


def _orientation(image: Image) -> int | None:
    try:
        return int(image.getexif().get(274, 1))
    except Exception:  # damaged metadata must not cost the picture
        return None


def _reduced_rgb(image: Image, max_side: int) -> np.ndarray:
    """Convert and reduce band by band, so that a huge picture is held once, not three times."""
    width, height = image.size
    factor = max(image.size) // max_side
    if factor < 2:
        return shrunk(_rgb(image), max_side)
    step = factor * max(1, _BAND_PIXELS // (width * factor))
    bands = []
    for top in range(0, height, step):
        band = _rgb(image.crop((0, top, width, min(top + step, height))))
        size = (math.ceil(width / factor), math.ceil(band.shape[0] / factor))
        bands.append(cv2.resize(band, size, interpolation=cv2.INTER_AREA))
    return shrunk(np.concatenate(bands), max_side)


def _rgb(image: Image) -> np.ndarray:
    """A loaded picture of any mode but I and F → uint8 RGB, height x width x 3."""
    if image.mode.startswith("I;16"):
        return _gray_to_rgb(_uint16_to_uint8(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _over_backdrop(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _over_backdrop(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + BACKDROP * (255 - alpha) + 127) // 255).astype(np.uint8)


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def _uint16_to_uint8(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _wide_to_uint8(values: np.ndarray) -> np.ndarray:
    """Bring values of unknown range to 8 bits; one channel becomes three.

    uint8 stays, uint16 is full scale. Otherwise the finite values tell: floats within 0 … 1 are
    full scale, anything within 0 … 255 is taken as it is, integers within 0 … 65535 are full
    scale, and all else is stretched from its least to its greatest value. Not-a-number is black.
    """
    if values.dtype == np.uint16:
        values = _uint16_to_uint8(values)
    elif values.dtype != np.uint8:
        values = _stretched(values)
    return _gray_to_rgb(values) if values.ndim == 2 else values


def _stretched(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    is_float = values.dtype.kind == "f"
    for full_scale in (1, 255) if is_float else (255, 65535):
        if low >= 0 and high <= full_scale:
            low, high = 0.0, float(full_scale)
            break
    scaled = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-300))
    return np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).round().astype(np.uint8)


def _tiff_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height from the header of a TIFF that Pillow does not open."""
    file.seek(0)
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    return int(tags[256]), int(tags[257])


def _decode_with_opencv(file: BinaryIO, max_side: int) -> np.ndarray:
    file.seek(0)
    with quiet_opencv():
        image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("the data is damaged or of an unknown kind")
    if image.ndim == 3 and image.shape[2] >= 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    image = _wide_to_uint8(np.squeeze(image, 2) if image.shape[2:] == (1,) else image)
    return shrunk(_over_backdrop(image) if image.shape[2] == 4 else image, max_side)


# ---------------------------------------------------------------------------- videos


class VideoFile:
    """A video being read from its start, one frame after the other.

    Attributes:
        rate: frames per second; `DEFAULT_RATE` where the file says nonsense.
        expected: how many frames the file says it has, 0 if it does not say.
        count: how many frames have been read or skipped since the start.
    """

    def __init__(
        self, path: Path, open_capture: Callable[..., Any] = cv2.VideoCapture, max_side=MAX_SIDE
    ) -> None:
        """Open the file. `open_capture` is called like, and returns the like of, VideoCapture.

        Raises:
            UserError: the file is missing or nothing of it can be read.
        """
        self.path = path
        self._open_capture = open_capture
        self._max_side = max_side
        self._capture: Any = None
        self.rewind()
        self.rate = plausible_rate(self._capture.get(cv2.CAP_PROP_FPS))
        expected = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected = int(expected) if 0 < expected < 1e9 else 0

    def rewind(self) -> None:
        """Go back to the start; by opening anew, since seeking fails in many formats.

        Raises:
            UserError: the file is missing or cannot be opened (any more).
        """
        self.close()
        if not self.path.is_file():
            raise UserError(f"{self.path} does not exist; expected a video file: check the path")
        with quiet_opencv():
            self._capture = self._open_capture(str(self.path), cv2.CAP_ANY)
        self.count = 0
        if not self._capture.isOpened():
            self.close()
            raise UserError(
                f"{self.path.name} cannot be read as a video; expected an undamaged mp4, avi, "
                "mov, mkv, webm, mpg or gif: copy or convert it again"
            )

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
    """Keep OpenCV from printing to stderr: a failure in here becomes a message of our own.

    The level is the whole process's, so that threads which overlap in here are counted: the first
    one in silences, the last one out restores.
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
