"""Pictures of 16 bits, whose white has to be said or guessed, and TIFFs that go in as bands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from deepvis.core.errors import UserError
from deepvis.inputs.bands import Reading, colours, is_bands, read_picture
from deepvis.inputs.datasets import Images
from deepvis.inputs.depth import WHITES, White
from deepvis.inputs.feed import Feed, FeedWish
from deepvis.networks.network import InputSpec

RAMP = np.arange(40 * 30, dtype=np.uint32).reshape(30, 40)


def deep(most: int, bands: int = 1) -> np.ndarray:
    """uint16, 0 to `most`, H×W or H×W×bands, every band another."""
    values = (RAMP * most / RAMP.max()).round().astype(np.uint16)
    return values if bands == 1 else np.dstack([np.roll(values, 5 * band, 1) for band in range(bands)])


def written(path: Path, values: np.ndarray, maxval: int = 65535) -> Path:
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix in (".pgm", ".ppm"):
        kind = b"P5" if values.ndim == 2 else b"P6"
        path.write_bytes(
            b"%s\n# a comment\n%d %d\n%d\n" % (kind, values.shape[1], values.shape[0], maxval)
            + values.astype(">u2").tobytes()
        )
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values, photometric="minisblack" if values.ndim == 2 else "rgb")
    else:
        cv2.imwrite(str(path), values if values.ndim == 2 else values[..., ::-1])
    return path


def in_eight(values: np.ndarray, white: float) -> np.ndarray:
    scaled = np.clip(np.round(values.astype(np.float64) * 255 / white), 0, 255).astype(np.uint8)
    return np.dstack([scaled] * 3) if scaled.ndim == 2 else scaled


GRAY = ["a.png", "a.tif", "a.pgm", "a.npy"]
COLOUR = ["a.png", "a.tif", "a.ppm"]


@pytest.mark.parametrize(("name", "bands"), [(name, 1) for name in GRAY] + [(name, 3) for name in COLOUR])
@pytest.mark.parametrize(
    ("most", "white"),
    [(200, 255), (255, 255), (256, 1023), (1023, 1023), (3060, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
def test_white_is_guessed_and_noted(name: str, bands: int, most: int, white: int, tmp_path: Path) -> None:
    values, notes = deep(most, bands), []
    got = read_picture(written(tmp_path / name, values), note=notes.append)
    assert np.array_equal(got, in_eight(values, white))
    if white == 65535:
        assert notes == []
    else:
        assert (
            len(notes) == 1
            and name in notes[0]
            and f"{most}: white is taken to be {white}" in notes[0]
            and "white:" in notes[0]
        )


@pytest.mark.parametrize(("name", "bands"), [(name, 1) for name in GRAY] + [(name, 3) for name in COLOUR])
def test_white_that_is_said_counts(name: str, bands: int, tmp_path: Path) -> None:
    values, notes = deep(3060, bands), []
    got = read_picture(written(tmp_path / name, values), reading=Reading(white=2000), note=notes.append)
    assert np.array_equal(got, in_eight(values, 2000)) and notes == []


def test_a_black_picture_stays_black(tmp_path: Path) -> None:
    notes: list[str] = []
    assert (
        not read_picture(written(tmp_path / "a.png", np.zeros((4, 4), np.uint16)), note=notes.append).any()
        and notes == []
    )
    assert [White.guessed(most) for most in (0, 1, *WHITES)] == [65535, 255, *WHITES]


def test_what_a_file_says_of_its_white_is_no_guess(tmp_path: Path) -> None:
    values, notes = deep(1500), []
    got = read_picture(written(tmp_path / "a.pgm", values, maxval=4000), note=notes.append)
    assert np.array_equal(got, in_eight(values, 4000)) and notes == []
    (tmp_path / "b.pgm").write_bytes(b"P5 2 1 100\n" + bytes([50, 100]))  # of 8 bits
    assert read_picture(tmp_path / "b.pgm")[0, :, 0].tolist() == [128, 255]


def test_a_large_picture_has_one_white(tmp_path: Path) -> None:
    """It is converted piece by piece, of which only the last is bright."""
    values = np.zeros((5000, 300), np.uint16)
    values[-300:] = 4000
    got = read_picture(written(tmp_path / "a.png", values))
    assert got.shape[0] == 2048 and got[100, 0, 0] == 0 and got[-10, 0, 0] == round(4000 * 255 / 4095)


def test_transparency_of_16_bits_lies_over_gray(tmp_path: Path) -> None:
    values = np.zeros((1, 3, 4), np.uint16)
    values[..., :3], values[..., 3] = 4095, [0, 32768, 65535]
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert read_picture(tmp_path / "a.png")[0, :, 0].tolist() == [180, 218, 255]


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_of_colour_are_turned_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    values = deep(65535, 3)
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, values, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    else:
        import struct
        import zlib

        data = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
        exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + bytes(4)
        chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        path.write_bytes(data[:33] + chunk + data[33:])
    turned = {3: lambda image: image[::-1, ::-1], 6: lambda image: image.transpose(1, 0, 2)[:, ::-1]}[orientation]
    assert np.array_equal(read_picture(path), turned(in_eight(values, 65535)))


@pytest.mark.parametrize(("suffix", "kept"), [(".png", 0.5), (".tif", 0.5), (".ppm", 0.5), (".ppm", 0.99)])
def test_16_bits_cut_short_are_refused(suffix: str, kept: float, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (50, 60, 3), np.uint16)
    path = written(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * kept)])
    with pytest.raises(UserError, match="a.*copy or export it again"):
        read_picture(path)
    assert capfd.readouterr().err == ""


# ---- bands ---------------------------------------------------------------------------------------


def four(path: Path, dtype: type, kind: str, **how: object) -> tuple[Path, np.ndarray]:
    values = np.random.default_rng(0).integers(0, 250 if dtype == np.uint8 else 3061, (20, 30, 4)).astype(dtype)
    extra = {"alpha": ["unassalpha"], "unspecified": ["unspecified"], "bands": ["unspecified"] * 3}[kind]
    data = values.transpose(2, 0, 1) if how.get("planarconfig") == "separate" else values
    tifffile.imwrite(
        path,
        data,
        photometric="minisblack" if kind == "bands" else "rgb",
        extrasamples=extra,
        **{"planarconfig": "contig", **how},
    )
    return path, values


@pytest.mark.parametrize("kind", ["alpha", "unspecified", "bands"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "how", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}, {"tile": (16, 16)}, {"bigtiff": True}], ids=str
)
def test_a_tiff_of_as_many_bands_as_the_network_takes(kind: str, dtype: type, how: dict, tmp_path: Path) -> None:
    path, values = four(tmp_path / "naip.tif", dtype, kind, **how)
    got = read_picture(path, reading=Reading(4))
    assert (
        is_bands(got) and got.dtype == (np.uint8 if dtype == np.uint8 else np.float32) and np.array_equal(got, values)
    )
    spec = InputSpec(20, 30, (0,) * 4, (1,) * 4)
    scale = 1 / 255 if dtype == np.uint8 else 1
    assert np.allclose(spec.seen(got, crop=True), values * scale, rtol=1e-6)


def test_for_a_network_of_colours_it_is_a_picture_if_it_holds_one(tmp_path: Path) -> None:
    path, values = four(tmp_path / "alpha.tif", np.uint8, "alpha")
    assert np.array_equal(read_picture(path), read_picture(path, reading=Reading(1))) and not is_bands(
        read_picture(path)
    )
    path, values = four(tmp_path / "rgbx.tif", np.uint8, "unspecified")
    assert np.array_equal(read_picture(path), values[..., :3])
    path, values = four(tmp_path / "deep.tif", np.uint16, "unspecified")
    assert np.array_equal(read_picture(path), in_eight(values[..., :3], 4095))
    path, values = four(tmp_path / "bands.tif", np.uint16, "bands")
    assert is_bands(read_picture(path)) and np.array_equal(read_picture(path), values)


def test_two_bands_and_gray_with_transparency(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 250, (20, 30, 2)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"
    )
    assert np.array_equal(read_picture(tmp_path / "a.tif", reading=Reading(2)), values)
    assert not is_bands(read_picture(tmp_path / "a.tif"))


def test_bands_are_shown_by_percentiles_three_of_them(tmp_path: Path) -> None:
    path, values = four(tmp_path / "naip.tif", np.uint16, "bands")
    shown = colours(read_picture(path, reading=Reading(4)), (3, 1, 0))
    for place, band in enumerate((3, 1, 0)):
        low, high = np.percentile(values[..., band], (2, 98))
        expected = np.clip((values[..., band] - low) / (high - low), 0, 1) * 255
        assert np.abs(shown[..., place] - expected).max() <= 0.51


def test_white_that_is_said_brings_bands_to_the_networks_range(tmp_path: Path) -> None:
    path, values = four(tmp_path / "naip.tif", np.uint16, "bands")
    assert np.allclose(read_picture(path, reading=Reading(4, 4000, 2)), values / 2000, rtol=1e-6)
    np.save(tmp_path / "a.npy", values)
    assert np.allclose(read_picture(tmp_path / "a.npy", reading=Reading(4, 4000, 2)), values / 2000, rtol=1e-6)
    np.save(tmp_path / "float.npy", values.astype(np.float32))
    assert np.array_equal(
        read_picture(tmp_path / "float.npy", reading=Reading(4, 4000, 2)), values
    )  # has its range already


def test_an_array_of_16_bits_for_a_network_of_as_many_bands_keeps_them(tmp_path: Path) -> None:
    values, notes = deep(4000, 3), []
    np.save(tmp_path / "a.npy", values)
    got = read_picture(tmp_path / "a.npy", reading=Reading(3, range=255), note=notes.append)
    assert np.allclose(got, values * (255 / 4095), rtol=1e-6) and len(notes) == 1
    assert np.array_equal(read_picture(tmp_path / "a.npy", reading=Reading(3, white=1, range=1)), values)  # as it is


# ---- where it is used ----------------------------------------------------------------------------


def test_the_feed_reads_anew_for_a_network_and_notes_once(tmp_path: Path) -> None:
    for i in range(3):
        written(tmp_path / f"{i}.png", deep(4000))
    with Feed(None, tmp_path) as feed:
        first = feed.wait_frame(None, 20)
        assert np.array_equal(first.image, in_eight(deep(4000), 4095))
        feed.want(FeedWish(step=1))
        second = feed.wait_frame(first.index, 20)
        assert feed.notice.number == 1 and "0.png has 16 bits" in feed.notice.text and not feed.notice.is_error
        feed.want(FeedWish(step=1, reading=Reading(3, white=2000)))
        third = feed.wait_frame(second.index, 20)
        assert third.name == "1.png" and np.array_equal(third.image, in_eight(deep(4000), 2000))
        assert feed.notice.number == 1


def test_the_feed_shows_a_tiff_as_the_networks_bands(tmp_path: Path) -> None:
    path, values = four(tmp_path / "naip.tif", np.uint16, "alpha")
    with Feed(None, path) as feed:
        first = feed.wait_frame(None, 20)
        feed.want(FeedWish(reading=Reading(4)))
        second = feed.wait_frame(first.index, 20)
    assert second.bands.shape == (20, 30, 4) and np.array_equal(second.pixels, values)


def test_a_scan_reads_as_the_network_takes_it_and_remembers(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from torch import nn

    from deepvis.inputs.datasets import find_images
    from deepvis.networks.network import prepare
    from deepvis.scan.index import INDEX
    from deepvis.scan.index_file import load
    from deepvis.scan.scan import Options, scan

    (tmp_path / "images").mkdir()
    for i in range(3):
        four(tmp_path / "images" / f"{i}.tif", np.uint16, "bands")
    written(tmp_path / "images" / "gray.png", deep(4000))
    written(tmp_path / "images" / "gray2.png", deep(4000))
    net = nn.Sequential(nn.Conv2d(4, 2, 3))
    network = prepare("four", net, InputSpec(16, 16, (0,) * 4, (1,) * 4, white=8000), None)
    index = scan(network, find_images(tmp_path / "images"), tmp_path / "out", options=Options(batch=2, workers=1))
    assert index.count == 5 and not index.broken and "white" not in capsys.readouterr().err
    assert load(tmp_path / "out" / INDEX).reading == index.reading == network.input.reading == Reading(4, 8000, 1)
    guessing = prepare("four", net, InputSpec(16, 16, (0,) * 4, (1,) * 4), None)
    scan(guessing, find_images(tmp_path / "images"), tmp_path / "guess", options=Options(batch=2, workers=1))
    assert capsys.readouterr().err.count("white is taken to be 4095") == 1
    with pytest.raises(UserError, match="was made with"):
        scan(guessing, find_images(tmp_path / "images"), tmp_path / "out", options=Options(batch=2, workers=1))


def test_a_member_of_an_archive_has_the_white_too(tmp_path: Path) -> None:
    import tarfile

    written(tmp_path / "a.png", deep(4000))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.png", "a.png")
    images = Images(tmp_path, ("a.tar!a.png",), reading=Reading(3, white=2000))
    for least in (None, (8, 8)):
        assert np.array_equal(images.read(0, least), in_eight(deep(4000), 2000))


@pytest.mark.parametrize(("line", "white"), [("white: 4095", 4095), ("white: 4095.5", 4095.5), ("", 0)])
def test_the_model_file_says_it(line: str, white: float, tmp_path: Path) -> None:
    from deepvis.networks.loading import load

    (tmp_path / "model.yaml").write_text(
        f"source: torchvision:squeezenet1_1\nweights: none\ninput: {{height: 64, width: 64, {line}}}\n"
    )
    assert load(str(tmp_path), "cpu").input.reading == Reading(3, white, 1)


@pytest.mark.parametrize("value", ["-1", "many", ".inf", "true", "[1]"])
def test_a_white_that_cannot_be(value: str, tmp_path: Path) -> None:
    from deepvis.networks.loading import load

    (tmp_path / "model.yaml").write_text(
        f"source: torchvision:squeezenet1_1\nweights: none\ninput: {{white: {value}}}\n"
    )
    with pytest.raises(UserError, match="input.white: .*expected a positive number"):
        load(str(tmp_path), "cpu")
