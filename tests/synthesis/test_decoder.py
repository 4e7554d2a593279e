"""The closed-form decoder against scikit-learn, loops, and networks whose inverse is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from smallnets import flat, layer, small
from torch import nn

from deepvis.core.errors import UserError
from deepvis.inputs.datasets import find_images
from deepvis.networks.network import InputSpec, prepare
from deepvis.store.decoders import decoder_path
from deepvis.synthesis import decoder as d
from deepvis.synthesis.ridge import RidgeSums

SPEC = InputSpec(32, 32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import small as files

    folder = tmp_path_factory.mktemp("photos")
    files.write_images(folder, 24)
    return folder


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e3])
def test_ridge_is_that_of_scikit_learn(penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x, y = rng.normal(50, 2, (300, 9)), rng.normal(-7, 3, (300, 4))
    sums = RidgeSums()
    for first in (0, 7, 150):
        rows = slice(first, {0: 7, 7: 150, 150: 300}[first])
        sums.add(torch.from_numpy(x[rows]), torch.from_numpy(y[rows]))
    weights, offsets = sums.solve(penalty)
    theirs = linear_model.Ridge(alpha=penalty, solver="svd").fit(x, y)
    assert np.allclose(weights.numpy(), theirs.coef_.T, rtol=1e-9, atol=1e-11)
    assert np.allclose(offsets.numpy(), theirs.intercept_, rtol=1e-9)
    assert np.allclose(sums.mean.numpy(), x.mean(0)) and sums.variance == pytest.approx(x.var(0).mean())
    some, _ = sums.solve(penalty, torch.tensor([3, 1]))
    assert np.allclose(some.numpy(), theirs.coef_.T[:, [3, 1]])


def test_neighbourhoods_and_patches_are_those_of_a_loop() -> None:
    patches = d.Patches((24, 36), (4, 6), (6, 6), 1)
    code, picture = torch.randn(1, 2, 4, 6), torch.randn(1, 3, 24, 36)
    features, targets = patches.features(code, torch.arange(24)), patches.targets(picture, torch.arange(24))
    wide = np.pad(code[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    large = np.pad(picture[0].numpy(), ((0, 0), (3, 3), (3, 3)), mode="edge")
    for place in range(24):
        row, column = divmod(place, 6)
        assert np.array_equal(features[place].numpy(), wide[:, row : row + 3, column : column + 3].ravel())
        assert np.array_equal(
            targets[place].numpy(), large[:, 6 * row : 6 * row + 12, 6 * column : 6 * column + 12].ravel()
        )


def test_patches_that_agree_are_blended_to_the_picture() -> None:
    for cell, grid in (((6, 6), (4, 6)), ((3, 5), (8, 7)), ((1, 1), (24, 36))):
        size = cell[0] * grid[0], cell[1] * grid[1]
        patches, picture = d.Patches(size, grid, cell, 0), torch.randn(1, 3, *size)
        found = patches.targets(picture, torch.arange(grid[0] * grid[1])).T[None]
        assert torch.allclose(patches.blended(found, grid), picture, atol=1e-5)


def test_what_a_layer_keeps_whole_is_decoded_whole(photos: Path) -> None:
    """An orthogonal map of blocks of 2×2 pixels can be inverted by a ridge without penalty."""
    conv = nn.Conv2d(3, 12, 2, 2, bias=False)
    conv.weight.data = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))[0].view(
        12, 3, 2, 2
    )
    network = prepare("blocks", nn.Sequential(conv), SPEC, {"conv": "0"})
    made = d.learn(network, ["conv"], find_images(photos))["conv"]
    assert made.psnr > 45 and made.photos == 18


def test_maps_vectors_and_a_map_of_another_size(photos: Path) -> None:
    network = small()
    names = [one.name for one in network.layers]
    learned = d.learn(network, names, find_images(photos))
    x = network.input.noise()
    for name, made in learned.items():
        code = d.codes_of(network, [name], x)[name]
        assert made(code).shape == (1, 3, 32, 32)
        assert len(made.mean) == layer(network, name).units
    alone = d.learn(network, names[:1], find_images(photos))[names[0]]
    assert torch.allclose(alone.weights, learned[names[0]].weights)
    wide = d.codes_of(network, ["conv2"], torch.randn(1, 3, 40, 64))["conv2"]
    assert learned["conv2"](wide).shape == (1, 3, 40, 64)


def test_tokens_on_a_grid_are_decoded_as_a_map(photos: Path) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 8, 8)
            self.norm = nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.embed(x).flatten(2).transpose(1, 2)).mean(1)

    network = prepare("tokens", Tokens(), SPEC, {"norm": "norm"})
    assert layer(network, "norm").height == 4
    made = d.learn(network, ["norm"], find_images(photos))["norm"]
    assert made.patches.grid == (4, 4) and made(
        d.codes_of(network, ["norm"], torch.randn(2, 3, 32, 32))["norm"]
    ).shape == (
        2,
        3,
        32,
        32,
    )


def test_a_decoded_picture_is_the_matrix_product() -> None:
    draw = torch.Generator().manual_seed(0)
    patches = d.Patches((12, 12), (4, 4), (3, 3), 1)
    weights, offsets = torch.randn(18, 75, generator=draw), torch.randn(75, generator=draw)
    made, code = d.Decoder("x", patches, weights, offsets, torch.zeros(2)), torch.randn(1, 2, 4, 4, generator=draw)
    rows = patches.features(code, torch.arange(16)) @ weights + offsets
    assert torch.allclose(made(code), patches.blended(rows.T[None], (4, 4)), atol=1e-4)


def test_other_units_are_at_their_mean() -> None:
    made = d.Decoder("x", d.Patches((4, 4), (2, 2), (2, 2), 0), torch.zeros(3, 48), torch.zeros(48), torch.arange(3.0))
    code = torch.full((1, 3, 2, 2), 9.0)
    assert made.with_mean(code, (1,))[0, :, 0, 0].tolist() == [0, 9, 2]
    assert made.with_mean(code[..., 0, 0], (0, 2))[0].tolist() == [9, 1, 9]


def test_a_stored_decoder_is_found_again_by_the_same_network(photos: Path, tmp_path: Path) -> None:
    network = small()
    made = d.learn(network, ["conv2"], find_images(photos))["conv2"]
    assert d.stored_decoder(network, "conv2", tmp_path) is None
    d.keep_decoder(network, made, tmp_path)
    again = d.stored_decoder(network, "conv2", tmp_path)
    assert again is not None and (again.patches, again.photos) == (made.patches, made.photos)
    assert again.psnr == pytest.approx(made.psnr, abs=1e-3)
    code = d.codes_of(network, ["conv2"], network.input.noise())["conv2"]
    assert torch.allclose(again(code), made(code), atol=0.5)
    assert d.stored_decoder(small(seed=1), "conv2", tmp_path) is None
    assert d.stored_decoder(replace(network, input=InputSpec(40, 40)), "conv2", tmp_path) is None
    path = decoder_path(tmp_path, network.name, "conv2")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="the decoder is learned again"):
        d.stored_decoder(network, "conv2", tmp_path)


def test_a_full_disk_is_said(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    made = d.learn(network, ["fc"], find_images(photos))["fc"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deepvis.core.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        d.keep_decoder(network, made, tmp_path)
    assert not list(tmp_path.rglob("*.npz"))


def test_a_layer_that_keeps_nothing_gives_the_mean_picture(photos: Path) -> None:
    network = flat(InputSpec(12, 12))
    network.module.fc.weight.data.zero_()
    made = d.learn(network, ["fc"], find_images(photos))["fc"]
    one, other = (made(d.codes_of(network, ["fc"], torch.randn(1, 3, 12, 12))["fc"]) for _ in range(2))
    assert torch.allclose(one, other) and made.psnr < 20


def test_too_many_units_and_too_few_photos(tmp_path: Path, photos: Path) -> None:
    wide = prepare("wide", nn.Sequential(nn.Conv2d(3, 4200, 8, 8)), SPEC, {"conv": "0"})
    assert not d.can_have_decoder(wide, "conv")
    with pytest.raises(UserError, match="at most 4,096"):
        d.learn(wide, ["conv"], find_images(photos))
    (tmp_path / "one.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="at least 2 photos"):
        d.learn(small(), ["conv2"], find_images(tmp_path))
