"""The photos nearest to a picture, against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from small import network as make
from small import write_images

from deepvis.inputs.datasets import find_images
from deepvis.inputs.decode import read_image
from deepvis.scan.nearest_photos import PIXELS, nearest


@pytest.mark.parametrize("count", [1, 4, 50])
def test_as_scikit_learn(tmp_path: Path, count: int) -> None:
    network = make()
    write_images(tmp_path / "photos", 19)
    (tmp_path / "photos" / "zz-broken.png").write_bytes(b"no picture")
    images, seen = find_images(tmp_path / "photos"), []
    picture = images.read(7)
    layers = [layer.name for layer in network.layers]
    found, broken = nearest(network, picture, images, layers, count, seen.append)
    assert set(found) == {PIXELS, *layers} and list(broken) == [19] and seen[-1] == 20
    inputs = [network.see(images.read(i), crop=True) for i in range(19)]
    for name, near in found.items():
        if name == PIXELS:
            codes = [x.flatten().numpy() for x in inputs]
        else:
            codes = []
            for x in inputs:
                with network.capture([name]) as captured:
                    network.module(x)
                codes.append(network.units(name, captured[name]).detach().flatten().numpy())
        oracle = NearestNeighbors(n_neighbors=min(count, 19)).fit(np.stack(codes).astype(float))
        distances, numbers = oracle.kneighbors(codes[7][None].astype(float))
        assert near[0].number == 7 and near[0].distance < 1e-5
        size = np.linalg.norm(codes[7].astype(float))
        np.testing.assert_allclose([one.distance for one in near], distances[0] / size, atol=1e-5)
        if len(set(np.round(distances[0], 6))) == len(distances[0]):
            assert [one.number for one in near] == numbers[0].tolist()


def test_as_it_is_typed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from deepvis.cli import main

    write_images(tmp_path / "photos", 3)
    picture = next((tmp_path / "photos").iterdir())
    command = ["nearest", "--image", str(picture), "--images", str(tmp_path / "photos"), "--count", "2"]
    assert main.main([*command, "--layers", "3b", "--device", "cpu", "--out", str(tmp_path / "near.png")]) == 0
    said = capsys.readouterr().out
    assert "pixels" in said and f"{picture.name} 0.00" in said
    assert read_image(tmp_path / "near.png").shape == (2 * (128 + 18 + 4), 3 * (128 + 4), 3)
