"""Images that an ascent starts from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.transform import resize
from smallnets import layer, small

from deepvis.core.errors import UserError
from deepvis.store.unit_images import open_store
from deepvis.synthesis.jobs import Plan, synthesize
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.starts import read_start


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two smooth photos, one of them wider than high."""
    files = []
    for number, (height, width) in enumerate(((64, 64), (64, 96))):
        rows, columns = np.mgrid[:height, :width]
        photo = np.stack([rows * 3, columns * 2, np.full((height, width), 80 + 90 * number)], -1).clip(0, 255)
        files.append(tmp_path / f"photo-{number}.png")
        cv2.imwrite(str(files[-1]), photo.astype(np.uint8)[..., ::-1])
    return files


def middle(file: Path) -> np.ndarray:
    photo = cv2.imread(str(file))[..., ::-1].astype(float)
    left = (photo.shape[1] - photo.shape[0]) // 2
    return photo[:, left : left + photo.shape[0]]


def test_a_photo_a_mean_and_a_mixture(photos: list[Path], tmp_path: Path) -> None:
    one, other = (resize(middle(file), (32, 32), anti_aliasing=True) for file in photos)
    wanted = {
        read_start(photos[:1]): one,
        read_start(photos): (one + other) / 2,
        read_start([tmp_path]): (one + other) / 2,
        read_start(photos, 0.25): 0.75 * one + 0.25 * other,
    }
    for start, image in wanted.items():
        tensor = start.tensor(3, (32, 32), 2)
        assert tensor.shape == (2, 3, 32, 32)
        assert np.abs(tensor[1].permute(1, 2, 0).numpy() - image)[2:-2, 2:-2].max() < 2  # two ways to reduce
    gray = read_start(photos[:1]).tensor(1, (32, 32), 1)
    assert np.abs(gray[0, 0].numpy() - one.mean(2))[2:-2, 2:-2].max() < 2
    assert len({start.mark for start in wanted}) == 3  # the mean of the folder is that of its photos


@pytest.mark.parametrize("preset", ["plain", "modern"])
def test_a_run_starts_from_it_and_is_not_taken_for_another(photos: list[Path], tmp_path: Path, preset: str) -> None:
    network = small()
    fc = layer(network, "fc")
    own = open_store(tmp_path / "store", network.fingerprint, network.name)
    plan = Plan(recipe(preset, {"steps": 1, "rate": 1e-6}), preset, start=read_start(photos[:1]))
    assert synthesize(network, [(fc, [1])], plan, own).made == 1
    margin = plan.recipe.margin * 32 // 224
    wanted = plan.start.tensor(3, (32 + 2 * margin, 32 + 2 * margin), 1)[0].permute(1, 2, 0).numpy()
    wanted = wanted[margin : margin + 32, margin : margin + 32]
    got = own.read("fc", 1)[0].astype(float)
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.95
    assert synthesize(network, [(fc, [1])], plan, own).found == 1
    for other in (None, read_start(photos[1:])):
        assert synthesize(network, [(fc, [1])], Plan(plan.recipe, preset, start=other), own).made == 1


@pytest.mark.parametrize("count, mix", [(1, 0.5), (2, 1.5), (2, float("nan")), (0, 0.5)])
def test_a_mixture_is_of_two_photos(photos: list[Path], count: int, mix: float) -> None:
    with pytest.raises(UserError, match="--mix .* two photos"):
        read_start(photos[:count], mix)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder of photos"):
        read_start([tmp_path])
