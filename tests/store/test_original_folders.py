"""The original toolbox's JPEG folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepvis.core import paths
from deepvis.store import original_folders
from deepvis.store.original_folders import (
    DECONV,
    SYNTHESIZED,
    TOP,
    JpegFolders,
    jpeg_path,
    montage,
    read_jpeg,
    shown_block,
    thirds,
)
from deepvis.store.unit_images import Store, open_store, store_folder


def solid(side: int, number: int) -> np.ndarray:
    return np.full((side, side, 3), number, np.uint8)


def by_hand(side: int, gap: int) -> np.ndarray:
    """2×2 blocks 2 px in, of 3×3 pictures 1 px in with lines of that width; picture i of block b is 20·b + i + 1."""
    half = 2 * 3 + 3 * side + 2 * gap
    out = np.zeros((2 * half, 2 * half, 3), np.uint8)
    for block in range(4):
        for i in range(9):
            top = block // 2 * half + 3 + i // 3 * (side + gap)
            left = block % 2 * half + 3 + i % 3 * (side + gap)
            out[top : top + side, left : left + side] = 20 * block + i + 1
    return out


@pytest.mark.parametrize("side", [1, 5, 20, 227])
def test_a_montage_is_as_the_original_has_it(side: int) -> None:
    blocks = np.stack([[solid(side, 20 * block + i + 1) for i in range(9)] for block in range(4)])
    assert np.array_equal(montage(blocks), by_hand(side, 2))


@pytest.mark.parametrize("gap", [1, 2])
@pytest.mark.parametrize("side", [1, 5, 64])
def test_the_block_at_the_lower_left_is_shown(side: int, gap: int) -> None:
    shown = shown_block(by_hand(side, gap))
    assert [image.shape for image in shown] == [(side, side, 3)] * 9
    assert [set(image.ravel()) for image in shown] == [{41 + i} for i in range(9)]


@pytest.mark.parametrize("shape", [(100, 80, 3), (101, 101, 3), (102, 102, 3), (6, 6, 3)])
def test_what_is_no_montage_is_shown_whole(shape: tuple) -> None:
    picture = np.arange(np.prod(shape), dtype=np.uint64).astype(np.uint8).reshape(shape)
    (shown,) = shown_block(picture)
    assert np.array_equal(shown, picture)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, layer, unit, picture in [
        (SYNTHESIZED, "conv1", 3, by_hand(20, 2)),
        (SYNTHESIZED, "a/b", 0, by_hand(20, 2)),
        (SYNTHESIZED, "fc8", 130, by_hand(20, 2)),
        (TOP, "conv1", 3, solid(60, 200)),
    ]:
        path = jpeg_path(tmp_path, folder, layer, unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    return tmp_path


def test_reading(root: Path) -> None:
    assert (root / "regularized_opt/conv1/conv1_0003_montage.jpg").is_file() and (
        root / "max_im/conv1/conv1_0003.jpg"
    ).is_file()
    (root / SYNTHESIZED / "conv1" / "conv1_x_montage.jpg").write_bytes(b"")
    folders = JpegFolders(root, Store(root / "synthesized", "abc"))
    assert set(folders.records) == {("conv1", 3), ("pool1", 3), ("norm1", 3), ("a/b", 0), ("fc8", 130)}
    for key in folders.records:
        assert len(folders.read(*key)) == 9, key
    assert abs(int(folders.read("conv1", 3)[4].mean()) - 45) < 3
    assert folders.read("conv1", 4) == [] and folders.read("conv5", 3) == []
    assert read_jpeg(root, TOP, "pool1", 3).mean() == pytest.approx(200, abs=2)
    assert read_jpeg(root, DECONV, "conv1", 3) is None


def test_broken_jpegs_are_none(root: Path) -> None:
    jpeg_path(root, SYNTHESIZED, "conv1", 3).write_bytes(b"no picture")
    assert JpegFolders(root, Store(root / "synthesized", "abc")).read("conv1", 3) == []


def test_what_was_synthesized_comes_first(root: Path) -> None:
    store = open_store(root / "synthesized", "abc", "net")
    store.add("conv1", 3, np.zeros((2, 32, 32, 3), np.uint8), {"scores": [2.0, 1.0]}, "test")
    folders = JpegFolders(root, store)
    assert len(folders.read("conv1", 3)) == 2 and len(folders.read("fc8", 130)) == 9
    assert folders.records["conv1", 3] == {"scores": [2.0, 1.0]}
    store.add("conv1", 4, np.zeros((1, 32, 32, 3), np.uint8), {"scores": [1.0]}, "test")
    assert len(folders.read("conv1", 4)) == 1


def test_thirds() -> None:
    picture = np.repeat(np.repeat(np.arange(9, dtype=np.uint8).reshape(3, 3), 7, 0), 9, 1)[..., None].repeat(3, 2)
    parts = thirds(np.pad(picture, ((0, 1), (0, 1), (0, 0)), mode="edge"))
    assert [int(np.median(part)) for part in parts] == list(range(9))
    assert sum(part.shape[0] * part.shape[1] for part in parts) == 22 * 28


def test_images_of_another_module_under_the_same_name_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "precomputed", lambda: paths.Places(tmp_path, tmp_path))
    store = open_store(store_folder(tmp_path, "net"), "abc", "net")
    for layer, facts in (("moved", {"module": "1"}), ("same", {"module": "2"}), ("older", {})):
        store.add(layer, 0, np.zeros((1, 8, 8, 3), np.uint8), {"scores": [1.0], **facts}, "test")
    pictures = original_folders.open_pictures("net", "abc", {"moved": "3", "same": "2", "older": "4"})
    assert [len(pictures.read(layer, 0)) for layer in ("moved", "same", "older")] == [0, 1, 1]
    assert {layer for layer, _ in pictures.records} == {"same", "older"}
