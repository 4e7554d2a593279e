"""Patches, their backward images, and the export in the original toolbox's layout."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import small
import torch

from deepvis.attribution import path
from deepvis.attribution.methods import METHODS
from deepvis.attribution.passes import finished
from deepvis.attribution.requests import Request
from deepvis.cli.export import _backward_images
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.core.geometry import crop_box, fit
from deepvis.inputs.datasets import Images, Photos, find_images
from deepvis.inputs.decode import BACKDROP, read_image
from deepvis.scan.patch_backward import patch_backward
from deepvis.scan.patches import cut_out, cut_padded, field_box, patches, places
from deepvis.scan.scan import Options, scan
from deepvis.store.export import BackwardImages, around_gray, export
from deepvis.store.original_folders import JpegFolders
from deepvis.store.unit_images import Store

MAPS = ("conv", "relu", "pool", "odd")


@pytest.fixture(scope="module")
def network():
    return small.network()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    small.write_images(folder, 30)
    return folder


@pytest.fixture(scope="module")
def index(network, folder: Path, tmp_path_factory: pytest.TempPathFactory):
    return scan(network, find_images(folder), tmp_path_factory.mktemp("out"), options=Options(batch=8))


def photos_of(index) -> Photos:
    return Photos(Images(Path(index.root), tuple(index.files)))


@pytest.mark.parametrize("layer", MAPS)
def test_the_field_alone_gives_the_value(network, index, folder: Path, layer: str) -> None:
    """All outside the box made into noise: the unit at that place does not notice."""
    field, spec = network.receptive_field(layer), network.input
    rng = np.random.default_rng(0)
    for unit in range(3):
        for image, row, column, value in places(index, layer, unit) + places(index, layer, unit, least=True):
            seen = fit(read_image(folder / index.files[image]), spec.width, spec.height, crop=True)
            left, top, width, height = field_box(field, row, column, (spec.width, spec.height))
            noise = rng.integers(0, 256, seen.shape, np.uint8)
            inside = np.s_[max(top, 0) : top + height, max(left, 0) : left + width]
            noise[inside] = seen[inside]
            with torch.inference_mode():
                out = network.up_to(layer, network.see(noise, crop=True))
            assert float(out[0, unit, row, column]) == pytest.approx(value, rel=1e-5, abs=1e-5)
            noise[inside] ^= 255
            with torch.inference_mode():
                other = network.up_to(layer, network.see(noise, crop=True))
            assert value == 0 or float(other[0, unit, row, column]) != pytest.approx(value, rel=1e-5)


def test_patches_are_cut_from_the_photo(network, index, folder: Path) -> None:
    found = patches(index, "odd", 2, photos_of(index))
    assert len(found) == 9 and all(not patch.error for patch in found)
    assert [patch.value for patch in found] == sorted((patch.value for patch in found), reverse=True)
    for patch in found:
        photo = read_image(folder / patch.name)
        x, y, w, h = crop_box(*photo.shape[:2], 1)
        scale = w / 24
        left, top, width, height = patch.box
        assert abs(patch.pixels.shape[1] - width * scale) <= 1 and abs(patch.pixels.shape[0] - height * scale) <= 1
        i, j = patch.pixels.shape[0] // 2, patch.pixels.shape[1] // 2  # the middle lies inside
        assert np.array_equal(patch.pixels[i, j], photo[y + round(top * scale) + i, x + round(left * scale) + j])
    assert all(patch.box == (0, 0, 24, 24) for patch in patches(index, "head", 1, photos_of(index)))


def test_beside_the_photo_is_gray() -> None:
    photo = np.zeros((40, 60, 3), np.uint8)
    cut = cut_out(photo, (-5, 10, 10, 10), (20, 20))
    assert cut.shape == (20, 20, 3) and (cut[:, :10] == BACKDROP).all() and (cut[:, 10:] == 0).all()
    assert (cut_out(photo, (30, 30, 4, 4), (20, 20)) == BACKDROP).all()
    assert cut_padded(np.ones((4, 4, 3), np.float32), (-1, -1, 6, 6), 0).sum() == 48


def test_photos_that_are_gone(network, index, folder: Path, tmp_path: Path) -> None:
    found = patches(index, "conv", 0, photos_of(replace(index, root=tmp_path)))
    assert all(patch.pixels is None and "does not exist" in patch.error for patch in found)
    shutil.copytree(folder, tmp_path / "moved")
    photos = photos_of(index.moved(tmp_path / "moved"))
    assert all(patch.pixels is not None for patch in patches(index, "conv", 0, photos))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["relu", "odd", "head"])
def test_backward_of_patches_is_that_of_the_live_window(
    network, index, folder: Path, layer: str, method: str, monkeypatch
) -> None:
    monkeypatch.setattr(path, "FINER", 1)  # equal steps for one and several photos
    # Of many passes one may lie on the other side of a ReLU's corner, by rounding.
    near = 0.03 if METHODS[method].passes > 1 else 1e-4
    for unit in (0, 3):
        found = patches(index, layer, unit, photos_of(index))
        photos = [read_image(folder / patch.name) for patch in found]
        got = patch_backward(network, photos, layer, unit, method, [patch.box for patch in found], passes=100)
        for patch, photo, image in zip(found, photos, got):
            request = Request(Frame(photo, "", 0, False), True, layer, method, (layer, unit))
            want = cut_padded(finished(network, request).pixels, patch.box, 0)
            assert image.shape == want.shape and np.allclose(image, want, rtol=1e-4, atol=near * np.abs(want).max())
    assert patch_backward(network, [], layer, 0, method, []) == []


def test_backward_from_the_place_alone_stays_in_the_field(network, index, folder: Path) -> None:
    spec = network.input
    found = patches(index, "odd", 1, photos_of(index))
    photos = [read_image(folder / patch.name) for patch in found]
    cells = [(patch.row, patch.column) for patch in found]
    whole = [(0, 0, spec.width, spec.height)] * len(found)
    for image, patch in zip(patch_backward(network, photos, "odd", 1, "gradient", whole, cells), found):
        left, top, width, height = patch.box
        inside = np.zeros((spec.height, spec.width), bool)
        inside[max(top, 0) : top + height, max(left, 0) : left + width] = True
        assert np.any(image[inside]) and not np.any(image[~inside])
    x = network.see(photos[0], crop=True).requires_grad_(True)
    (want,) = torch.autograd.grad(network.up_to("odd", x)[0, 1, cells[0][0], cells[0][1]], x)
    got = patch_backward(network, photos[:1], "odd", 1, "gradient", whole[:1], cells[:1])[0]
    assert np.allclose(got, want[0].permute(1, 2, 0).numpy(), rtol=1e-4, atol=1e-6)


def test_export(network, index, folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", network.fingerprint)
    made = np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3), np.uint8)
    store.add("odd", 1, made, {"scores": [2.0, 1.0]}, "0")
    out = tmp_path / "out"
    assert export(network, index, out, ["odd", "head"], store) == 2 * (5 + 4) + 1
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.jpg"))
    assert names[:2] == ["max_deconv/head/head_0000.jpg", "max_deconv/head/head_0001.jpg"]
    assert "max_im/odd/odd_0004.jpg" in names and "regularized_opt/odd/odd_0001_montage.jpg" in names
    field = network.receptive_field("odd")
    shown = cv2.imread(str(out / "max_im/odd/odd_0002.jpg"))
    assert shown.shape == (3 * (field.height + 1) + 1, 3 * (field.width + 1) + 1, 3)
    assert cv2.imread(str(out / "max_im/head/head_0002.jpg")).shape == (76, 76, 3)
    back = JpegFolders(out, Store(tmp_path / "empty", network.fingerprint))
    assert set(back.records) == {("odd", 1)}
    for i, image in enumerate(back.read("odd", 1)):
        assert image.shape == (30, 30, 3) and image.mean() == pytest.approx(store.read("odd", 1)[i % 2].mean(), abs=3)
    assert export(network, index, out, ["odd", "head"]) == 0
    assert export(network, index, tmp_path / "large", ["conv"], side=32) == 14
    assert cv2.imread(str(tmp_path / "large/max_im/conv/conv_0000.jpg")).shape == (100, 100, 3)


def test_export_with_another_method(network, index, tmp_path: Path) -> None:
    seen = []

    def draw(values: np.ndarray, patch: np.ndarray) -> np.ndarray:
        seen.append((values.shape, patch.shape, float(np.ptp(values.sum(2)))))
        return np.full(patch.shape, (0, 0, 200), np.uint8)

    assert export(network, index, tmp_path, ["conv"], backward=BackwardImages("grad-cam++", draw)) == 14
    blue, _, red = cv2.imread(str(tmp_path / "max_grad-cam++/conv/conv_0003.jpg")).mean((0, 1))
    assert blue > red + 30
    assert len(seen) == 9 * 7 and not (tmp_path / "max_deconv").exists()
    assert export(network, index, tmp_path, ["conv"]) == 14  # the top images and deconv


def test_how_images_of_a_method_are_exported() -> None:
    values, photo = np.zeros((4, 4, 3), np.float32), np.full((8, 8, 3), 90, np.uint8)
    values[1, 1], values[2, 2] = 1, -1
    assert _backward_images("guided").draw is around_gray
    shares = _backward_images("lrp").draw(values, photo)
    assert shares[1, 1, 0] > shares[1, 1, 2] and shares[2, 2, 2] > shares[2, 2, 0]  # RGB: orange for, blue against
    heat = _backward_images("grad-cam").draw(np.abs(values), photo)
    assert heat.shape == (8, 8, 3) and np.ptp(heat) > 20
    with pytest.raises(UserError, match="unknown backward method"):
        _backward_images("lpr")


def test_export_of_fewer_images_than_places(network, folder: Path, tmp_path: Path) -> None:
    images = find_images(folder)
    index = scan(network, replace(images, names=images.names[:3]), tmp_path / "scan", options=Options(batch=8))
    assert export(network, index, tmp_path / "out", ["odd"]) == 10
