"""Pictures of any number of bands: read, shown, and given to the network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.errors import UserError
from deepvis.inputs.bands import colours, fit_bands, is_bands, read_picture
from deepvis.inputs.datasets import Images, Photos, find_images
from deepvis.inputs.decode import MAX_SIDE, read_image
from deepvis.inputs.feed import Feed
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.scan.patch_backward import patch_backward
from deepvis.scan.patches import patches
from deepvis.scan.scan import scan

SEVEN = np.random.default_rng(0).normal(1000, 300, (40, 60, 7)).astype(np.float32)


def saved(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        tifffile.imwrite(
            path, array, photometric="minisblack", planarconfig="separate" if len(array) == 7 else "contig"
        )
    return path


@pytest.mark.parametrize(
    ("name", "array", "want"),
    [
        ("a.npy", SEVEN, SEVEN),
        ("first.npy", SEVEN.transpose(2, 0, 1), SEVEN),
        ("double.npy", SEVEN.astype(np.float64), SEVEN),
        ("int.npy", SEVEN.astype(np.uint16), SEVEN.astype(np.uint16).astype(np.float32)),
        ("bytes.npy", (SEVEN / 10).astype(np.uint8), (SEVEN / 10).astype(np.uint8)),
        ("gray.npy", SEVEN[..., 0], SEVEN[..., :1]),
        ("a.tif", SEVEN, SEVEN),
        ("planes.TIFF", SEVEN.transpose(2, 0, 1), SEVEN),
        ("fortran.npy", np.asfortranarray(SEVEN), SEVEN),
    ],
)
def test_reading(name: str, array: np.ndarray, want: np.ndarray, tmp_path: Path) -> None:
    path = saved(tmp_path / name, array)
    got = read_picture(path)
    assert is_bands(got) and got.dtype == want.dtype and got.flags.c_contiguous
    assert np.array_equal(got, want)


def test_ordinary_pictures_stay_what_they_are(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (30, 20, 3), np.uint8)
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), picture)
        assert np.array_equal(read_picture(tmp_path / name), read_image(tmp_path / name))
    assert not is_bands(read_picture(saved(tmp_path / "rgb.npy", picture)))
    assert np.array_equal(read_picture(tmp_path / "rgb.npy"), picture)


def test_large_ones_are_reduced(tmp_path: Path) -> None:
    array = np.zeros((8, MAX_SIDE * 2, 5), np.uint8)
    array[..., 4] = 100
    got = read_picture(saved(tmp_path / "a.npy", array))
    assert got.shape == (4, MAX_SIDE, 5) and (got[..., 4] == 100).all()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", b"no array", "a.npy cannot be read"),
        ("a.npy", np.zeros((3, 4, 5, 6)), r"float64 array of shape \(3, 4, 5, 6\); expected numbers, height"),
        ("a.npy", np.zeros((0, 4, 5)), "expected numbers"),
        ("a.npy", np.array(["x"]), "expected numbers"),
        ("a.npy", np.array([{}], dtype=object), "a.npy cannot be read"),  # pickled
        ("a.npy", np.zeros((400, 400, 9)), "megapixels"),
        ("a.tif", b"II*\0broken", "a.tif"),
    ],
)
def test_what_is_no_picture(name: str, content: bytes | np.ndarray, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
    with pytest.raises(UserError, match=said):
        read_picture(path, max_pixels=100_000)


def test_missing_files(tmp_path: Path) -> None:
    for name in ("a.npy", "a.tif"):
        with pytest.raises(UserError, match="a.(npy|tif)"):
            read_picture(tmp_path / name)


def test_what_is_shown() -> None:
    shown = colours(SEVEN, (3, 2, 1))
    assert shown.dtype == np.uint8 and shown.shape == (40, 60, 3)
    for i, band in enumerate((3, 2, 1)):
        low, high = np.percentile(SEVEN[..., band], (2, 98))
        want = np.clip((SEVEN[..., band].astype(np.float64) - low) / (high - low), 0, 1) * 255
        assert np.abs(shown[..., i] - want).max() < 1
    few = colours(SEVEN[..., :2], (0, 1, 2))
    assert not few[..., 2].any() and few[..., 1].any()
    gray = colours(SEVEN[..., :1], (5, 6))
    assert np.array_equal(gray[..., 0], gray[..., 2])
    holes = SEVEN.copy()
    holes[:5] = np.nan
    holes[5:8] = np.inf
    assert colours(holes, (0, 1, 2))[:5].max() == 0 and colours(np.full_like(SEVEN, np.nan), (0, 1, 2)).max() == 0
    assert colours(np.full((4, 4, 5), 9, np.uint8), (0, 1, 2)).tolist() == np.full((4, 4, 3), 9).tolist()


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (80, 20)])
def test_fitting_is_done_band_by_band(size: tuple[int, int]) -> None:
    got = fit_bands(SEVEN, *size)
    assert got.shape == (size[1], size[0], 7)
    same = np.repeat(SEVEN[..., :1], 7, 2)
    assert np.ptp(fit_bands(same, *size), axis=2).max() == 0
    assert got.mean((0, 1)) == pytest.approx(SEVEN.mean((0, 1)), rel=0.05)


def seven_bands(**how: object) -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(7, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 5))
    spec = InputSpec(32, 32, tuple(range(7)), tuple(range(1, 8)), **how)
    return prepare("seven", module, spec, None)


def test_what_the_network_gets() -> None:
    network = seven_bands(range=1.0, bands=(3, 2, 1))
    bands = np.random.default_rng(2).normal(0, 1, (32, 32, 7)).astype(np.float32)
    bands[0, 0, 0], bands[1, 1, 1] = np.nan, np.inf
    got = network.see(bands, crop=True)[0].double().numpy()
    for i in range(7):
        want = (bands[..., i].astype(np.float64) - i) / (i + 1)
        want[~np.isfinite(want)] = 0
        assert np.abs(got[i] - want).max() < 1e-5
    whole = np.random.default_rng(3).integers(0, 256, (32, 32, 7), np.uint8)
    got = network.see(whole, crop=True)[0].double().numpy()
    want = (whole / 255 - np.arange(7)) / np.arange(1, 8)
    assert np.abs(got.transpose(1, 2, 0) - want).max() < 1e-5


def test_a_mean_image_of_bands() -> None:
    mean = np.random.default_rng(4).normal(0, 1, (32, 32, 7)).astype(np.float32)
    network = seven_bands(mean_image=mean)
    got = network.see(mean + 1, crop=True)[0].numpy()
    assert np.abs(got - 1 / np.arange(1, 8)[:, None, None]).max() < 1e-5


def test_from_a_file_to_the_activations(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy", SEVEN)
    network = seven_bands(bands=(5, 4, 3))
    with Feed(None, tmp_path) as feed:
        feed.show_bands(network.input.places)
        frame = feed.wait_frame(None, 10)
    assert np.array_equal(frame.image, colours(SEVEN, (5, 4, 3))) and frame.pixels is frame.bands
    result = answer(network, Request(frame, True, network.layers[0].name, "gradient", (network.layers[-1].name, 1)))
    seen = torch.from_numpy((fit_bands(SEVEN[:, 10:50], 32, 32) - np.arange(7)) / np.arange(1, 8)).permute(2, 0, 1)[
        None
    ]
    want = network.module(seen.float())
    assert np.abs(result.scores - want[0].numpy()).max() < 1e-3 and result.pixels.any()


def test_other_bands_are_shown_at_once(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy", SEVEN)
    with Feed(None, tmp_path) as feed:
        first = feed.wait_frame(None, 10)
        feed.show_bands((6, 5, 4))
        second = feed.wait_frame(first.index, 10)
    assert np.array_equal(first.image, colours(SEVEN, (0, 1, 2)))
    assert np.array_equal(second.image, colours(SEVEN, (6, 5, 4))) and second.bands is first.bands


def test_bands_for_a_network_of_other_channels() -> None:
    with pytest.raises(UserError, match="the picture has 5 bands, and the network takes 7"):
        seven_bands().see(SEVEN[..., :5], crop=True)


# ---- scanned ------------------------------------------------------------------------------------


def test_arrays_of_bands_are_scanned_and_shown_in_three_of_them(tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    rng = np.random.default_rng(5)
    arrays = [rng.normal(3, 2, (40, 60, 7)).astype(np.float32) for _ in range(12)]
    for number, array in enumerate(arrays):
        saved(tmp_path / "arrays" / f"{number}.{('npy', 'tif')[number % 2]}", array)
    (tmp_path / "arrays" / "99.tif").write_bytes(b"no picture")
    network = seven_bands(bands=(5, 4, 3))
    images = find_images(tmp_path / "arrays")
    assert len(images.names) == 13 and len(images.without_arrays().names) == 7
    index = scan(network, images, tmp_path / "index")
    assert list(index.broken) == [12] and index.count == 12
    layer = network.layers[0]
    with torch.inference_mode():
        maps = torch.cat([network.up_to(layer.name, network.see(array, crop=True)) for array in arrays])
    for unit in range(layer.units):
        ranked = index.top[index.span(layer.name).rows]
        assert list(ranked.image[unit]) == maps[:, unit].flatten(1).amax(1).argsort(descending=True)[:9].tolist()
    (patch, *_) = patches(index, network.layers[-1].name, 0, Photos(Images(Path(index.root), tuple(index.files))))
    assert np.array_equal(patch.pixels, colours(arrays[patch.image], (5, 4, 3))[:, 10:50])
    (back,) = patch_backward(network, [arrays[0]], layer.name, 0, "gradient", [(0, 0, 32, 32)])
    assert back.shape == (32, 32, 3) and back.any()


def test_a_scan_skips_bands_that_the_network_does_not_take(tmp_path: Path) -> None:
    saved(tmp_path / "five.npy", SEVEN[..., :5])
    saved(tmp_path / "seven.npy", SEVEN)
    index = scan(seven_bands(), find_images(tmp_path), tmp_path / "index")
    assert index.count == 1 and index.broken == {0: "the picture has 5 bands, and the network takes 7"}


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    array = np.ones((8, 9, 3), np.float32)
    array[0, :2] = np.nan, np.inf, -np.inf
    saved(tmp_path / "holes.npy", array)
    saved(tmp_path / "whole.npy", np.ones((8, 9, 3), np.float32))
    said: list[str] = []
    for name in "whole.npy", "holes.npy":
        read_picture(tmp_path / name, note=said.append)
    assert said == ["holes.npy: 6 of 216 values are NaN or infinite; they count as the network's mean"]


def test_beside_pictures_arrays_are_left_out_for_a_network_of_pictures(tmp_path: Path) -> None:
    for name in ("0.npy", "1.npy"):
        saved(tmp_path / name, SEVEN)
    assert find_images(tmp_path).without_arrays().names == ("0.npy", "1.npy")  # there is nothing else
    cv2.imwrite(str(tmp_path / "look.png"), np.zeros((8, 8, 3), np.uint8))
    said: list[str] = []
    assert find_images(tmp_path).without_arrays(said.append).names == ("look.png",)
    assert len(said) == 1 and said[0].startswith("2 .npy files are left out (0.npy …)")
    (tmp_path / "list.txt").write_text("0.npy\nlook.png\n")
    assert find_images(tmp_path / "list.txt").names == ("0.npy", "look.png")


def test_three_bands_of_a_network_of_blue_first_are_shown_as_in_the_window(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy", SEVEN[..., :3])
    network = prepare("bgr", nn.Sequential(nn.Conv2d(3, 4, 3)), InputSpec(32, 32, order="bgr"), None)
    index = scan(network, find_images(tmp_path), tmp_path / "index")
    assert index.shown_bands == network.input.places == (2, 1, 0)
