"""Reading the header of a picture file without any decoder.

A header of a few bytes can claim any size, and decoders believe it. So the size is checked here before a picture
is decoded.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from deepvis.core.errors import UserError

MAX_PIXELS = 500_000_000
"""Refuse larger pictures: at Pillow's 4 bytes a pixel this is 2 GB (20,000 x 20,000: 1.6 GB)."""

MAX_LENGTH = 300_000
"""Largest number of pixels on a side: decoders need memory for each row, however short it is."""

MAX_SIDE = 2048
"""Pictures with a longer side are reduced to this, which is more than a screen or a network needs."""

_PIXEL = 4  # bytes that Pillow takes for a pixel of any colour
_MOST_SEGMENTS, _MOST_GARBAGE = 10_000, 1 << 16  # of a JPEG, before its size; bytes between two of them


@dataclass(frozen=True)
class Header:
    """What a picture file claims.

    Attributes:
        kind: "jpg", "png", "webp", "bmp", "tiff", "pnm", "avif", "heic".
        width, height: in pixels; 0 where only the decoder will tell (avif, heic).
        samples: how many values a pixel has.
        bits: of each.
        memory: bytes that decoding to 8 bits takes at most, besides the file.
        rgb: whether the first three samples are red, green and blue; only set for TIFFs.
        alpha: whether the last sample is marked as transparency; only set for TIFFs.
        white: the value of full white if the file gives it (pnm), else 0.
    """

    kind: str
    width: int
    height: int
    samples: int = 3
    bits: int = 8
    memory: int = 0
    rgb: bool = True
    alpha: bool = False
    white: int = 0


def read_header(file: BinaryIO) -> Header | None:
    """Read the header at the start of a seekable file; None if it is not a picture of a known kind.

    Raises:
        ValueError, struct.error, IndexError: the header is damaged.
    """
    file.seek(0)
    start = file.read(64)
    file.seek(0)
    for sign, reader in _READERS.items():
        if re.match(sign, start, re.DOTALL):
            return reader(file)
    return None


def check_size(name: str, header: Header, max_pixels: int = MAX_PIXELS) -> None:
    """Raise UserError if a picture has too many pixels, too many on a side, or takes too much memory to decode."""
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise UserError(f"{name} has {width} x {height} pixels; expected a picture: copy or export it again")
    if width * height > max_pixels:
        raise UserError(
            f"{name} has {width} x {height} = {width * height / 1e6:.0f} megapixels; "
            f"the limit is {max_pixels / 1e6:.0f}: make a smaller copy of it"
        )
    if max(width, height) > MAX_LENGTH:
        raise UserError(f"{name} has {width} x {height} pixels; the limit is {MAX_LENGTH} on a side: cut it into parts")
    what = f"{width} x {height} pixels of {header.samples} values of {header.bits} bits"
    check_memory(name, header.memory, what, max_pixels)


def check_memory(name: str, memory: int, what: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise UserError if `memory` is more bytes than a picture of `max_pixels` takes."""
    if memory > _PIXEL * max_pixels:
        raise UserError(
            f"{name} has {what} and takes {memory / 1e9:.1f} GB of memory to decode; the limit is "
            f"{_PIXEL * max_pixels / 1e9:.1f} GB: make a smaller copy of it"
        )


def read_whole(file: BinaryIO, length: int) -> bytes:
    """Read `length` bytes; if the file has fewer, raise ValueError before memory is allocated for them."""
    here = file.tell()
    there = file.seek(0, os.SEEK_END) - here
    if there < length:
        raise ValueError(f"it ends after {there} of {length} bytes")
    file.seek(here)
    return file.read(length)


def bands_memory(pixels: int, samples: int, item: int) -> int:
    """Bytes of memory for reading bands of `item` bytes a value: all bands as stored, one converted, all reduced."""
    plane = 1 if item == 1 else 4
    return pixels * (samples * item + plane) + min(pixels, MAX_SIDE**2) * samples * plane


# ---- formats ------------------------------------------------------------------------------------


def _png(file: BinaryIO) -> Header:
    head = file.read(26)
    if head[12:16] != b"IHDR":
        raise ValueError("it does not begin with its size")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:])
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 4)
    # Sixteen bits of a colour are decoded once more, by OpenCV.
    pixel = {1: 2 if bits == 16 else 1}.get(samples, _PIXEL + (2 * samples if bits == 16 else 0))
    return Header("png", width, height, samples, bits, width * height * pixel)


def _jpeg(file: BinaryIO) -> Header:
    """Read a JPEG's header up to its first scan.

    If that scan does not hold all components, the decoder has to keep all coefficients in memory.
    """
    file.seek(2)
    size, buffered, components = None, False, 3
    for _ in range(_MOST_SEGMENTS):  # thumbnails and colour profiles may come first
        marker = _marker(file)
        if marker in (0x00, 0x01, *range(0xD0, 0xD9)):
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker == 0xDA:
            buffered |= file.read(1)[0] < components
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _, height, width, components = struct.unpack(">BHHB", file.read(6))
            size, buffered, length = (width, height), marker % 4 == 2, length - 6
        file.seek(max(0, length - 2), os.SEEK_CUR)
    if size is None:
        raise ValueError("its size is not to be found")
    width, height = size
    pixel = _PIXEL + (2 * components if buffered else 0)
    return Header("jpg", width, height, components, 8, width * height * pixel)


def _marker(file: BinaryIO) -> int:
    for _ in range(_MOST_GARBAGE):
        if file.read(1) == b"\xff":
            while (byte := file.read(1)) == b"\xff":
                pass
            return byte[0]
    raise ValueError("it is no JPEG behind its first bytes")


def _webp(file: BinaryIO) -> Header:
    head = file.read(30)
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack("<I", head[21:25])[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", head[26:30]))
    else:
        raise ValueError("its size is not to be found")
    # Besides the picture the decoder keeps two canvases, the current frame and a copy.
    return Header("webp", width, height, 4, 8, width * height * 5 * _PIXEL)


def _bmp(file: BinaryIO) -> Header:
    head = file.read(30)
    if struct.unpack("<I", head[14:18])[0] == 12:
        width, height, _, bits = struct.unpack("<HHHH", head[18:26])
    else:
        width, height, _, bits = struct.unpack("<iiHH", head[18:30])
    pixel = 1 if bits <= 8 else _PIXEL
    return Header("bmp", abs(width), abs(height), max(1, bits // 8), 8, abs(width * height) * pixel)


_NUMBER = rb"(?:\s|#[^\n]*\n)+(\d{1,9})"


def _pnm(file: BinaryIO) -> Header:
    start = file.read(4096)
    kind = start[1:2]
    has_white = kind not in b"14"
    match = re.match(rb"P\d" + _NUMBER * (3 if has_white else 2) + rb"\s", start)
    if match is None:
        raise ValueError("its size is not to be found")
    width, height, *rest = map(int, match.groups())
    samples, white = 3 if kind in b"36" else 1, rest[0] if rest else 1
    bits = 16 if white > 255 else 8
    memory = width * height * (_PIXEL if bits == 8 else samples * 2 + _PIXEL)
    return Header("pnm", width, height, samples, bits, memory, white=white)


def _boxes(file: BinaryIO) -> Header:
    """HEIF and AVIF: the size lies deep in boxes; their decoders have limits of their own."""
    length = min(struct.unpack(">I", file.read(4))[0], 4096)
    brands = file.read(max(0, length - 4))[4:]
    return Header("avif" if b"avif" in brands or b"avis" in brands else "heic", 0, 0)


# ---- TIFF ---------------------------------------------------------------------------------------

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TAGS = {256: "width", 257: "height", 258: "bits", 259: "compression", 262: "photometric", 277: "samples", 278: "rows",
         322: "tile_width", 323: "tile_height", 338: "extra"}  # fmt: skip


def _tiff(file: BinaryIO) -> Header:
    found = _first_directory(file)
    width, height, samples = (found.get(key, [1])[0] for key in ("width", "height", "samples"))
    bits = max(found.get("bits", [1]))
    item = max(1, bits // 8)
    if "tile_width" in found:
        segment = found["tile_width"][0] * found.get("tile_height", [height])[0]
    else:
        segment = width * min(height, found.get("rows", [height])[0])
    compressed = found.get("compression", [1])[0] != 1
    memory = segment * samples * item if compressed or "tile_width" in found else 0
    memory += width * height * _PIXEL if bits <= 8 and samples <= 4 else bands_memory(width * height, samples, item)
    photometric, extra = found.get("photometric", [1])[0], found.get("extra", [])
    alpha = extra[-1:] in ([1], [2])
    return Header("tiff", width, height, samples, bits, memory, rgb=photometric in (2, 5, 6), alpha=alpha)


def _first_directory(file: BinaryIO) -> dict[str, list[int]]:
    """The tags of `_TAGS`, checked against the file's length: some decoders ask for as much as a tag claims to have."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = struct.unpack(order + "H", file.read(2))[0] == 43
    if big:
        file.seek(8)
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    file.seek(_unpacked(file, order + offset))
    number = _unpacked(file, order + count)
    if number * entry > end:
        raise ValueError(f"it claims {number} tags")
    found: dict[str, list[int]] = {}
    seen = set()
    for one in struct.iter_unpack(order + ("HHQ8s" if big else "HHI4s"), file.read(number * entry)):
        tag, kind, many, value = one
        length = many * _SIZES.get(kind, 1)
        if length > end or tag in seen:  # a second tag of a kind is another size for another decoder
            raise ValueError(f"its tag {tag} is damaged")
        seen.add(tag)
        if tag in _TAGS and kind in _INTEGERS:
            if length > len(value):
                file.seek(struct.unpack(order + offset, value)[0])
                value = file.read(min(length, 1 << 16))
            many = min(many, len(value) // _SIZES[kind])
            found[_TAGS[tag]] = list(struct.unpack(f"{order}{many}{_INTEGERS[kind]}", value[: many * _SIZES[kind]]))
    return {name: values for name, values in found.items() if values}


def _unpacked(file: BinaryIO, form: str) -> int:
    number: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return number


# By what the file starts with, as a regular expression of bytes.
_READERS: dict[bytes, Callable[[BinaryIO], Header]] = {
    rb"\xff\xd8\xff": _jpeg,
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"RIFF....WEBP": _webp,
    rb"BM": _bmp,
    rb"(II|MM)(\*\0|\0\*|\+\0|\0\+)": _tiff,
    rb"P[1-6][\s#]": _pnm,
    rb"....ftyp": _boxes,
}
