"""A header of a few bytes may claim anything: what reading it takes is bounded, for every format and every way in."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, features

from deepvis.core.errors import UserError
from deepvis.core.files import open_regular
from deepvis.core.paths import ROOT
from deepvis.inputs.bands import Reading, read_picture
from deepvis.inputs.datasets import Images, find_images
from deepvis.inputs.decode import VideoFile, read_image
from deepvis.inputs.headers import MAX_LENGTH, check_size, read_header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as decode.py does for the process


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b""))


def png_with_two_sizes(width: int, height: int) -> bytes:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return png(8, 8)[:33] + second + chunk(b"IDAT", zlib.compress(b""))


def jpg(width: int, height: int, marker: int = 0xC0) -> bytes:
    """A JPEG in which the size was changed; the marker 0xC2 makes it progressive."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", progressive=marker == 0xC2)
    data = bytearray(file.getvalue())
    at = data.index(bytes([0xFF, marker])) + 5
    data[at : at + 4] = struct.pack(">HH", min(height, 65535), min(width, 65535))
    return bytes(data)


def webp(width: int, height: int) -> bytes:
    sides = (min(width, 1 << 24) - 1).to_bytes(3, "little") + (min(height, 1 << 24) - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lossless(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "WEBP", lossless=True)
    data = bytearray(file.getvalue())
    data[21:25] = struct.pack("<I", min(width - 1, 16383) | min(height - 1, 16383) << 14)
    return bytes(data)


def bmp(width: int, height: int, compression: int = 0) -> bytes:
    bits = 8 if compression else 24
    info = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 60, 0, 0, 54) + info + b"\0" * 64


def tiff(width: int, height: int, samples: int = 1, bits: int = 8, big: bool = False, **more: int) -> bytes:
    """The first directory alone, of tags with one value each."""
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: 1,
        273: 8,
        277: samples,
        278: height,
        279: width * height,
        284: 1,
    }
    tags |= {int(tag[1:]): value for tag, value in more.items()}
    start, form, entry, wide = (
        (b"II+\0\x08\0\0\0" + struct.pack("<Q", 16), "<Q", "<HHQQ", 16)
        if big
        else (b"II*\0" + struct.pack("<I", 8), "<H", "<HHII", 4)
    )
    rows = b"".join(struct.pack(entry, tag, wide, 1, min(value, 2**32 - 1)) for tag, value in sorted(tags.items()))
    return start + struct.pack(form, len(tags)) + rows + b"\0" * 16


def big_tiff(width: int, height: int) -> bytes:
    return tiff(width, height, big=True)


def npy(width: int, height: int) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}, 3), }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + b"\0" * 100


def ppm(width: int, height: int) -> bytes:
    return b"P6\n# huge\n%d %d\n255\n" % (width, height) + b"\0" * 100


def pbm_as_text(width: int, height: int) -> bytes:
    return b"P1\n%d %d\n1 0 1" % (width, height)


def ppm_of_16_bits(width: int, height: int) -> bytes:
    return b"P6 %d %d 65535\n" % (width, height) + b"\0" * 100


def gif(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("P", (16, 16)).save(file, "GIF")
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", min(width, 65535), min(height, 65535))
    return bytes(data)


MAKERS: dict[str, tuple[str, Callable[[int, int], bytes]]] = {
    make.__name__: (suffix, make)
    for suffix, make in [
        (".png", png),
        (".png", png_with_two_sizes),
        (".jpg", jpg),
        (".webp", webp),
        (".webp", webp_lossless),
        (".bmp", bmp),
        (".tif", tiff),
        (".tif", big_tiff),
        (".npy", npy),
        (".ppm", ppm),
        (".ppm", ppm_of_16_bits),
        (".pbm", pbm_as_text),
    ]
}
SIZES = [(1, 499_999_999), (499_999_999, 1), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (400_000, 3), (0, 5)]

# Reads each file and says how much the most of memory has grown, in MB; Linux counts in KB.
PEAK = """
import resource, sys
from pathlib import Path
import cv2, numpy, PIL.Image, tifffile, PIL.AvifImagePlugin
from deepvis.inputs.bands import Reading, read_picture
from deepvis.inputs.decode import VideoFile, read_image
from deepvis.core.errors import UserError
from deepvis.inputs.datasets import Images
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def scanned(path):
    return Images(path.parent, (path.name,)).read(0, (224, 224))
read_picture(Path(sys.argv[1]))
before = peak()
for path in map(Path, sys.argv[2:]):
    of_pictures = read_picture, scanned, lambda path: read_picture(path, reading=Reading(4))
    for read in (VideoFile,) if path.suffix == ".gif" else of_pictures:
        try:
            read(path)
            print(path.name, "read")
        except UserError as error:
            print(path.name, "refused", len(str(error)))
print("grown by", peak() - before)
"""


def peak(folder: Path, paths: list[Path]) -> tuple[list[str], int]:
    """What became of each of them, and by how many MB the memory grew at most."""
    cv2.imwrite(str(folder / "small.png"), np.zeros((8, 8, 3), np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder / "small.png"), *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    *rows, last = done.stdout.splitlines()
    return rows, int(last.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted otherwise")
def test_absurd_sizes_cost_nothing_in_any_format(tmp_path: Path) -> None:
    paths = []
    for name, (suffix, make) in MAKERS.items():
        for number, size in enumerate(SIZES):
            with_limits = name in ("jpg", "webp_lossless")  # which hold no more than 65535 and 16383 on a side
            if (
                with_limits
                and size[0] * size[1] < 1e9
                or name in ("tiff", "big_tiff", "webp", "webp_lossless")
                and size[0] == 0
            ):
                continue
            paths.append(tmp_path / f"{name}-{number}{suffix}")
            paths[-1].write_bytes(make(*size))
    paths.append(tmp_path / "a.gif")
    paths[-1].write_bytes(gif(65535, 65535))
    rows, grown = peak(tmp_path, paths)
    assert len(rows) == 3 * len(paths) - 2
    assert [row for row in rows if "refused" not in row] == []
    assert max(int(row.split()[-1]) for row in rows) < 500
    assert grown < 60


def bomb_of_a_strip() -> bytes:
    """Six bands of 8 × 8 pixels in a strip that unpacks to 400 MB."""
    file = io.BytesIO()
    tifffile.imwrite(
        file, np.zeros((8, 8, 6), np.uint8), photometric="minisblack", compression="zlib", planarconfig="contig"
    )
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as tiff_file:
        page = tiff_file.pages[0]
        count, offset = page.tags[279], page.tags[273]
    bomb = zlib.compress(bytes(400 << 20))
    place = len(data)
    for tag, value in ((count, len(bomb)), (offset, place)):
        data[tag.valueoffset : tag.valueoffset + {3: 2, 4: 4}[int(tag.dtype)]] = value.to_bytes(
            {3: 2, 4: 4}[int(tag.dtype)], "little"
        )
    return bytes(data) + bomb


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted otherwise")
def test_tiffs_that_lie_about_their_inside_cost_nothing(tmp_path: Path) -> None:
    made = {
        "samples.tif": tiff(2000, 2000, samples=60_000),
        "wide.tif": tiff(20_000, 20_000, samples=5, bits=64),
        "tile.tif": tiff(10, 10, t322=2**31, t323=2**31),
        "tile-of-one-column.tif": tiff(10, 10, samples=8, t322=1 << 30, t323=16),
        "strips.tif": tiff(8, 8, samples=8, t278=2**32 - 1, t279=2**32 - 1, t259=8),
        "bomb.tif": bomb_of_a_strip(),
    }
    many = bytearray(tiff(8, 8, samples=6))
    at = many.index(struct.pack("<HHI", 273, 4, 1))
    many[at + 4 : at + 8] = struct.pack("<I", 2**30)  # offsets of strips
    made["offsets.tif"] = bytes(many)
    twice = bytearray(tiff(8, 8))
    at = twice.index(struct.pack("<HHI", 257, 4, 1))
    twice[at : at + 2], twice[at + 8 : at + 12] = struct.pack("<H", 256), struct.pack("<I", 2**31)
    made["two-widths.tif"] = bytes(twice)
    paths = []
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
        paths.append(tmp_path / name)
    rows, grown = peak(tmp_path, paths)
    assert [row for row in rows if "refused" not in row] == []
    assert grown < 60


@pytest.mark.parametrize("name", ["huge.npy", "version2.npy", "objects.npy", "short.npy", "negative.npy"])
def test_arrays_that_lie(name: str, tmp_path: Path) -> None:
    data = {
        "huge.npy": npy(2**62, 2**62),
        "version2.npy": b"\x93NUMPY\x02\0" + struct.pack("<I", 2**32 - 1) + b"{",
        "objects.npy": npy(4, 4).replace(b"'|u1'", b"'|O' "),
        "short.npy": npy(100, 100),
        "negative.npy": npy(-4, 4),
    }[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=name):
        read_picture(tmp_path / name)


def test_the_longest_side_that_is_read(tmp_path: Path) -> None:
    for size in ((MAX_LENGTH, 1), (1, MAX_LENGTH)):
        Image.new("L", size, 200).save(tmp_path / "long.png")
        assert (read_image(tmp_path / "long.png") == 200).all()
    Image.new("L", (MAX_LENGTH + 1, 1)).save(tmp_path / "long.png")
    with pytest.raises(
        UserError, match=rf"long.png has {MAX_LENGTH + 1} x 1 pixels; the limit is {MAX_LENGTH} on a side"
    ):
        read_image(tmp_path / "long.png")


def test_a_progressive_jpeg_counts_its_coefficients() -> None:
    plain, progressive = (read_header(io.BytesIO(jpg(20_000, 16_000, marker))) for marker in (0xC0, 0xC2))
    assert (plain.width, plain.height) == (progressive.width, progressive.height) == (20_000, 16_000)
    assert plain.memory == 4 * 20_000 * 16_000 and progressive.memory == 10 * 20_000 * 16_000
    check_size("a.jpg", plain)
    with pytest.raises(UserError, match="3.2 GB of memory"):
        check_size("a.jpg", progressive)


FORMATS = [
    ("png", "PNG", {}),
    ("png", "PNG", {"interlace": 1}),
    ("jpg", "JPEG", {}),
    ("jpg", "JPEG", {"progressive": True}),
    ("webp", "WEBP", {}),
    ("webp", "WEBP", {"lossless": True}),
    ("bmp", "BMP", {}),
    ("tiff", "TIFF", {}),
    ("tiff", "TIFF", {"compression": "tiff_lzw"}),
    ("tiff", "TIFF", {"big_tiff": True}),
    ("pnm", "PPM", {}),
]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(("kind", "form", "how"), FORMATS)
def test_true_headers_are_read(kind: str, form: str, how: dict, mode: str) -> None:
    file = io.BytesIO()
    try:
        Image.new(mode, (37, 21)).save(file, form, **how)
    except OSError:
        pytest.skip("no such picture")
    header = read_header(file)
    assert (header.kind, header.width, header.height, header.bits) == (kind, 37, 21, 8)
    assert (
        kind != "tiff"
        or header.samples == len(mode)
        and header.rgb == (mode != "L")
        and header.alpha == (mode == "RGBA")
    )


def test_damaged_headers_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, form, how in FORMATS:
        file = io.BytesIO()
        Image.new("RGB", (37, 21)).save(file, form, **how)
        data = np.frombuffer(file.getvalue(), np.uint8)
        for _ in range(40):
            hurt = data.copy()
            hurt[rng.integers(2, min(len(data), 400), 3)] = rng.integers(0, 256, 3)
            (tmp_path / f"a.{kind}").write_bytes(hurt[: rng.integers(3, len(hurt) + 1)].tobytes())
            for reading in (Reading(), Reading(4)):
                try:
                    read_picture(tmp_path / f"a.{kind}", 1_000_000, reading)
                except UserError:
                    pass


# ---- other kinds of file -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ppm", ".pgm", ".pbm", ".pnm", ".jfif", ".jpe", ".avif"])
def test_more_suffixes_open_like_any_picture(suffix: str, tmp_path: Path) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    mode = {".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")
    form = {".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF"}.get(suffix, "PPM")
    picture = Image.new("RGB", (40, 20), (255, 255, 255)).convert(mode)
    picture.save(tmp_path / f"a{suffix}", form)
    image = read_image(tmp_path / f"a{suffix}")
    assert image.shape == (20, 40, 3) and image.min() >= 250
    assert find_images(tmp_path).names == (f"a{suffix}",)


def test_pictures_of_numbers_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P2\n# by hand\n3 1\n15\n0 5 15\n")
    assert read_image(tmp_path / "a.pgm")[0, :, 0].tolist() == [0, 85, 255]
    (tmp_path / "a.ppm").write_bytes(b"P3 1 1 255\n1 2 3\n")
    assert read_image(tmp_path / "a.ppm").tolist() == [[[1, 2, 3]]]


def test_heic_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(UserError, match="IMG_1.HEIC is HEIC.*convert it.*heif-convert"):
        read_image(tmp_path / "IMG_1.HEIC")
    assert find_images(tmp_path).names == ("IMG_1.HEIC",)


def test_avif_without_a_pillow_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    (tmp_path / "a.avif").write_bytes(struct.pack(">I", 24) + b"ftypavif\0\0\0\0mif1miaf" + bytes(100))
    with pytest.raises(UserError, match="AVIF.*upgrade Pillow"):
        read_image(tmp_path / "a.avif")


# ---- ways in -------------------------------------------------------------------------------------


def test_a_member_of_an_archive_meets_the_same_limits(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in {
            "a.png": png(1, 499_999_999),
            "b.jpg": jpg(60_000, 60_000),
            "c.npy": npy(60_000, 60_000),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    images = find_images(tmp_path)
    for number in range(3):
        for least in (None, (10, 10)):
            with pytest.raises(UserError, match="limit"):
                images.read(number, least)


def test_a_video_with_huge_frames_is_refused_before_one_is_read(tmp_path: Path) -> None:
    class Huge:
        def isOpened(self) -> bool:
            return True

        def get(self, what: int) -> float:
            return 60_000.0

        def release(self) -> None:
            self.released = True

    (tmp_path / "a.mp4").touch()
    capture = Huge()
    with pytest.raises(UserError, match="a.mp4 has frames of 60000 x 60000"):
        VideoFile(tmp_path / "a.mp4", lambda *_: capture)
    assert capture.released


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("name", ["a.jpg", "a.npy", "a.tif", "a.mp4", "a.gif"])
def test_a_pipe_is_no_picture_or_video(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    for read in (
        (VideoFile,) if name in ("a.mp4", "a.gif") else (read_picture, read_image, Images(tmp_path, (name,)).read)
    ):
        with pytest.raises(UserError, match="is a pipe"):
            read(0 if read not in (VideoFile, read_picture, read_image) else tmp_path / name)


def test_what_is_opened_can_be_named() -> None:
    with open_regular(__file__) as file:
        assert file.name == __file__
