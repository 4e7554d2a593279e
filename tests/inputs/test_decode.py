"""Every picture here has values known by construction, or another decoder to compare with."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from deepvis.core.errors import UserError
from deepvis.inputs import decode
from deepvis.inputs.decode import BACKDROP, VideoFile, plausible_rate, quiet_opencv, read_image
from deepvis.inputs.headers import Header, check_size

# decode.py silences these for the process; pytest's own filters undo that.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.fixture
def pattern() -> np.ndarray:
    """A picture without any symmetry, 24 x 40, smooth enough for JPEG."""
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([rows * 10, columns * 6, (rows + columns) * 4], 2).astype(np.uint8)


def is_owned_rgb(image: np.ndarray) -> bool:
    return (
        image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.flags.c_contiguous
        and image.flags.writeable
        and image.base is None
    )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp"])
def test_lossless_formats_give_the_very_pixels(tmp_path, pattern, suffix):
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(pattern).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    image = read_image(path)
    assert is_owned_rgb(image)
    np.testing.assert_array_equal(image, pattern)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_jpeg_agrees_with_opencv(tmp_path, pattern, suffix):
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(pattern).save(path, format="JPEG", quality=95)
    image = read_image(path)
    assert is_owned_rgb(image)
    oracle = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB).astype(int)
    assert np.abs(image - oracle).max() <= 3
    assert np.abs(image.astype(int) - pattern).mean() < 4


@pytest.mark.parametrize("name", ["Schnee-Eule ä ß.png", "写真.png", "кот.png", "🐈.png"])
def test_names_beyond_ascii(tmp_path, pattern, name):
    Image.fromarray(pattern).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), pattern)


def test_content_counts_not_the_name(tmp_path, pattern):
    path = tmp_path / "really-a-png.jpg"
    Image.fromarray(pattern).save(path, format="PNG")
    np.testing.assert_array_equal(read_image(path), pattern)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_rotation(tmp_path, pattern, suffix, orientation):
    path = tmp_path / f"turned{suffix}"
    picture = Image.fromarray(pattern)
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(path, exif=exif)
    image = read_image(path)
    assert is_owned_rgb(image)
    np.testing.assert_array_equal(image, ImageOps.exif_transpose(Image.open(path)))
    assert image.shape[0] == (40 if orientation >= 5 else 24)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_nonsense_orientation_is_ignored(tmp_path, pattern, orientation):
    picture = Image.fromarray(pattern)
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "odd.png"), pattern)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + b"\xff" * 60_000,
        b"Exif\0\0II*\0" + b"\xff\xff\xff\x7f" * 4,
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + os.urandom(1000),
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\xff\0\0\0\0",
    ],
)
def test_wild_metadata_costs_nothing(tmp_path, pattern, exif, capfd):
    path = tmp_path / "wild.jpg"
    Image.fromarray(pattern).save(path, exif=exif)
    assert read_image(path).shape == (24, 40, 3)
    assert capfd.readouterr().err == ""


def test_gray_becomes_three_equal_channels(tmp_path, pattern):
    gray = pattern[..., 1]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.dstack([gray] * 3))


def test_one_bit_is_black_and_white(tmp_path):
    bits = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    Image.fromarray(bits).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png")[..., 0], bits)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled(tmp_path, suffix, channels):
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    stack = values if channels == 1 else np.dstack([values] * 3)
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), stack)
    image = read_image(path)
    assert is_owned_rgb(image)
    np.testing.assert_array_equal(image, np.dstack([[[0, 1, 128, 255]]] * 3))


def test_16_bits_of_gray_are_rounded(tmp_path):
    values = np.arange(0, 65536, 97, dtype=np.uint16)[None]
    cv2.imwrite(str(tmp_path / "ramp.png"), values)
    image = read_image(tmp_path / "ramp.png")[..., 0]
    np.testing.assert_array_equal(image, np.round(values / 65535 * 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "values, expected",
    [
        ([0.0, 0.2, 0.5, 1.0], [0, 51, 128, 255]),  # within 0 … 1: full scale
        ([0.0, 20.0, 99.0, 200.0], [0, 20, 99, 200]),  # within 0 … 255: as it is
        ([-100.0, 0.0, 140.0, 300.0], [0, 64, 153, 255]),  # else stretched
        ([np.nan, 0.2, np.inf, 1.0], [0, 51, 255, 255]),
    ],
)
def test_float_tiff(tmp_path, values, expected, channels, dtype):
    stack = np.dstack([np.array([values], dtype)] * channels)
    cv2.imwrite(str(tmp_path / "float.tiff"), stack)
    image = read_image(tmp_path / "float.tiff")
    assert is_owned_rgb(image)
    np.testing.assert_array_equal(image, np.dstack([[expected]] * 3))


def test_float_tiff_keeps_the_order_of_channels(tmp_path):
    bgr = np.zeros((2, 2, 3), np.float32)
    bgr[..., 2] = 1.0
    cv2.imwrite(str(tmp_path / "red.tiff"), bgr)
    assert read_image(tmp_path / "red.tiff")[0, 0].tolist() == [255, 0, 0]


def over_gray(value: float, alpha: float) -> int:
    return round(value * alpha / 255 + BACKDROP * (255 - alpha) / 255)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_lies_over_gray(tmp_path, suffix):
    pixels = np.array([[[200, 10, 30, 255], [200, 10, 30, 128], [200, 10, 30, 0]]], np.uint8)
    path = tmp_path / f"glass{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(pixels).save(path, **options)
    expected = [[[over_gray(c, pixel[3]) for c in pixel[:3]] for pixel in pixels[0].tolist()]]
    np.testing.assert_array_equal(read_image(path), expected)


def test_gray_with_alpha(tmp_path):
    pixels = np.array([[[50, 255], [50, 128], [50, 0]]], np.uint8)
    Image.fromarray(pixels, "LA").save(tmp_path / "la.png")
    image = read_image(tmp_path / "la.png")
    assert image[0, :, 0].tolist() == [50, over_gray(50, 128), BACKDROP]


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([250, 0, 0, 0, 250, 0])
    picture.save(tmp_path / "palette.png", transparency=1)
    image = read_image(tmp_path / "palette.png")
    assert image.tolist() == [[[250, 0, 0], [BACKDROP] * 3]]


def test_cmyk_jpeg(tmp_path):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red.save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "cmyk.jpg").astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg"])
def test_one_pixel(tmp_path, suffix):
    Image.new("RGB", (1, 1), (128, 128, 128)).save(tmp_path / f"dot{suffix}")
    assert np.abs(read_image(tmp_path / f"dot{suffix}").astype(int) - 128).max() <= 2


# ---------------------------------------------------------------------------- size


def test_larger_pictures_are_averaged_down(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (120, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    image = read_image(tmp_path / "large.png", max_side=100)
    means = pixels.reshape(40, 3, 100, 3, 3).mean(axis=(1, 3))
    assert is_owned_rgb(image)
    assert np.abs(image - means).max() <= 0.51


def test_bands_make_no_difference(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8), (225, 450))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    whole = read_image(tmp_path / "large.png", max_side=50).astype(int)
    monkeypatch.setattr(decode, "_BAND_PIXELS", 1)
    banded = read_image(tmp_path / "large.png", max_side=50)
    assert banded.shape == (50, 25, 3)
    assert np.abs(banded - whole).max() <= 1


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (2049, 5)])
def test_thin_pictures_keep_a_pixel(tmp_path, size):
    Image.new("RGB", size, (9, 9, 9)).save(tmp_path / "line.png")
    image = read_image(tmp_path / "line.png")
    assert max(image.shape) == 2048 and min(image.shape[:2]) >= 1
    assert (image == 9).all()


def test_large_jpeg_is_decoded_small(tmp_path, monkeypatch):
    rows = np.linspace(0, 255, 1600).astype(np.uint8)
    Image.fromarray(np.repeat(rows[:, None], 2400, 1)).save(tmp_path / "photo.jpg")
    decoded_sizes = []
    reduced_rgb = decode._reduced_rgb
    monkeypatch.setattr(decode, "_reduced_rgb", lambda im, *how: decoded_sizes.append(im.size) or reduced_rgb(im, *how))
    image = read_image(tmp_path / "photo.jpg", max_side=500)
    assert decoded_sizes == [(600, 400)]
    assert image.shape == (333, 500, 3)
    assert np.abs(image[:, 250, 0] - np.linspace(0, 255, 333)).max() < 3


def huge_png(path: Path, side: int) -> None:
    """The header of a side x side RGB picture without any pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        + struct.pack(">I", 4) + b"IDAT1234" + struct.pack(">I", zlib.crc32(b"IDAT1234"))
    )  # fmt: skip


@pytest.mark.parametrize("side", [30_000, 2**31 - 1])
def test_too_large_is_refused_by_its_header(tmp_path, side):
    huge_png(tmp_path / "huge.png", side)
    with pytest.raises(UserError, match=rf"huge.png has {side} x {side} .* limit is 500.*smaller"):
        read_image(tmp_path / "huge.png")


def test_the_limit_lets_20000_by_20000_pass():
    for kind in ("jpg", "png", "bmp", "tiff"):
        check_size("poster", Header(kind, 20_000, 20_000, memory=4 * 20_000 * 20_000))


def test_the_limit_is_the_callers(tmp_path, pattern):
    Image.fromarray(pattern).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png", max_pixels=24 * 40)
    with pytest.raises(UserError, match="24"):
        read_image(tmp_path / "a.png", max_pixels=24 * 40 - 1)


def test_float_tiffs_have_a_lower_limit(tmp_path):
    cv2.imwrite(str(tmp_path / "f.tiff"), np.zeros((20, 30, 3), np.float32))
    read_image(tmp_path / "f.tiff", max_pixels=600 * 17)
    with pytest.raises(UserError, match="GB of memory.*smaller copy"):
        read_image(tmp_path / "f.tiff", max_pixels=600 * 15)


# ---------------------------------------------------------------------------- bad files


def test_missing_folder_empty_text(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("Dear diary, this is no picture.")
    for name, words in {
        "missing.jpg": "does not exist",
        ".": "is a folder",
        "empty.jpg": "is empty",
        "text.jpg": "not a picture.*expected jpg",
    }.items():
        with pytest.raises(UserError, match=words):
            read_image(tmp_path / name)
    with pytest.raises(UserError):
        read_image("\0.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_cut_short_is_refused_in_silence(tmp_path, pattern, suffix, kept, capfd):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match=r"cut.*(copy|export|convert)"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", "float.tif"])
def test_damage_never_raises_anything_else(tmp_path, pattern, suffix, capfd):
    rng = np.random.default_rng(1)
    path = tmp_path / f"hurt{suffix}"
    if suffix == "float.tif":
        cv2.imwrite(str(path), pattern.astype(np.float32))
    else:
        Image.fromarray(pattern).save(path)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(100):
        hurt = data.copy()
        hurt[rng.integers(4, len(data), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(hurt.tobytes())
        try:
            assert is_owned_rgb(read_image(path, max_pixels=1_000_000))
        except UserError:
            refused += 1
    assert refused > 0 or suffix == ".bmp"
    assert capfd.readouterr().err == ""


# ---------------------------------------------------------------------------- videos


def write_video(path: Path, code: str, grays: list[int], rate: float = 25) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, (64, 48))
    assert writer.isOpened()
    for gray in grays:
        writer.write(np.dstack([np.full((48, 64), c, np.uint8) for c in (gray, gray, 255)]))
    writer.release()


@pytest.mark.parametrize("name, code", [("a.mp4", "mp4v"), ("ä.avi", "MJPG"), ("a.mkv", "MJPG")])
def test_video_frames(tmp_path, name, code):
    write_video(tmp_path / name, code, [0, 100, 200], rate=12.5)
    video = VideoFile(tmp_path / name)
    assert (video.rate, video.expected) == (12.5, 3)
    first = video.read()
    assert is_owned_rgb(first) and first.shape == (48, 64, 3)
    assert np.abs(first.mean((0, 1)) - [255, 0, 0]).max() < 8  # red, so RGB
    assert video.skip()
    assert abs(video.read()[..., 2].mean() - 200) < 8
    assert video.count == 3 and video.read() is None and not video.skip() and video.count == 3
    video.rewind()
    assert video.count == 0 and abs(video.read()[..., 2].mean()) < 8
    video.close()
    video.close()


def test_video_frames_are_reduced_too(tmp_path):
    write_video(tmp_path / "a.avi", "MJPG", [0])
    assert VideoFile(tmp_path / "a.avi", max_side=32).read().shape == (24, 32, 3)


def test_gif_is_a_video(tmp_path):
    frames = [Image.new("RGB", (8, 6), (gray, gray, gray)) for gray in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    video = VideoFile(tmp_path / "a.gif")
    assert video.rate == 10
    assert [video.read().mean() for _ in range(2)] == [0, 255]


@pytest.mark.parametrize("content", [b"", b"no video", os.urandom(5000)])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".gif"])
def test_what_is_no_video_is_refused_in_silence(tmp_path, content, suffix, capfd):
    (tmp_path / f"bad{suffix}").write_bytes(content)
    with pytest.raises(UserError, match="bad.*expected.*convert"):
        VideoFile(tmp_path / f"bad{suffix}")
    with pytest.raises(UserError, match="does not exist"):
        VideoFile(tmp_path / f"missing{suffix}")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1000, 90000])
def test_nonsense_rates(rate):
    assert plausible_rate(rate) == 25


@pytest.mark.parametrize("rate", [0.5, 23.976, 120])
def test_plausible_rates(rate):
    assert plausible_rate(rate) == rate


def test_quiet_restores_the_level_when_threads_overlap():
    log = cv2.utils.logging
    before = log.getLogLevel()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with quiet_opencv():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    with quiet_opencv():
        thread.start()
        assert inside.wait(5)
    assert log.getLogLevel() == log.LOG_LEVEL_SILENT
    leave.set()
    thread.join(5)
    assert log.getLogLevel() == before != log.LOG_LEVEL_SILENT
