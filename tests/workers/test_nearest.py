"""The worker that finds the photos nearest to a unit's images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import write_images
from smallnets import small
from waiting import until

from deepvis.core import paths
from deepvis.inputs.datasets import find_images
from deepvis.interface.requests import nearest_wish
from deepvis.interface.state import State
from deepvis.networks.network import Network
from deepvis.scan import nearest_photos
from deepvis.scan.nearest_photos import PIXELS, nearest
from deepvis.workers.nearest import NearestWorker
from deepvis.workers.nearest_messages import COUNT
from deepvis.workers.worker import WishOf


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write_images(tmp_path / "photos", 12)
    (tmp_path / "photos" / "broken.png").write_bytes(b"nothing")
    monkeypatch.setattr(paths, "PHOTOS", tmp_path / "photos")
    paths.use(str(tmp_path / "data"))
    yield tmp_path / "photos"
    paths.use(paths.USUAL)


@pytest.fixture
def network() -> Network:
    return small()


def images_of(seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (2, 32, 32, 3), np.uint8))


def test_what_is_asked() -> None:
    network, state = small(), State(zoom="nearest", layer=1, unit=2)
    wish = nearest_wish(state, network.layers, images_of(0), None)
    name = network.layers[1].name
    assert (wish.layer, wish.of) == (name, (name, 2))
    assert wish == nearest_wish(state, network.layers, images_of(0), None)
    assert wish != nearest_wish(state, network.layers, images_of(1), None)
    growing = nearest_wish(state, network.layers, images_of(0), 33)
    assert growing == nearest_wish(state, network.layers, images_of(1), 40)  # of the moment when it was asked
    assert growing != nearest_wish(state, network.layers, images_of(1), 64)
    assert growing != nearest_wish(replace(state, nearest_round=1), network.layers, images_of(1), 40)
    for other in (replace(state, zoom="layer"), replace(state, help=True)):
        assert nearest_wish(other, network.layers, images_of(0), None) is None
    assert nearest_wish(state, network.layers, [], None) is None


def test_photos_by_pixels_and_by_code(photos: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    all_photos = find_images(photos)
    copied = all_photos.read(7)
    state = State(zoom="nearest", layer=1)
    worker, layer = NearestWorker(), network.layers[1].name
    worker.want(WishOf(network, nearest_wish(state, network.layers, [copied, *images_of(3)], None)))
    found = until(lambda: worker.answer if worker.idle else None)
    assert found.count == 12 and len(found.found) == 3 and not found.note
    for image, spaces in zip(found.wish.images, found.found):
        slow, _ = nearest(network, image, all_photos, [layer], COUNT)
        assert list(spaces) == [PIXELS, layer]
        for space, near in spaces.items():
            assert [one.name for one in near] == [all_photos.names[one.number] for one in slow[space]]
            assert [one.distance for one in near] == [one.distance for one in slow[space]]
            assert all(one.picture is not None and one.root == str(photos) for one in near)
    assert all(near[0].name == all_photos.names[7] and near[0].distance < 1e-5 for near in found.found[0].values())
    grown = nearest_wish(state, network.layers, images_of(4), 8)
    seen, hand_out = [], worker._hand_out
    worker._hand_out = lambda task, answer: seen.append(answer) or hand_out(task, answer)  # type: ignore[method-assign]
    worker.want(WishOf(network, grown))
    until(lambda: worker.idle)
    assert worker.answer.wish == grown and seen[-1] is worker.answer
    assert seen[0].found is found.found and "of 13 photos" in seen[0].note  # until then those before
    monkeypatch.setattr(nearest_photos, "nearest_to_each", None)  # what was found is kept
    worker.want(None)
    worker.want(WishOf(network, found.wish))
    until(lambda: worker.answer is found)
    assert worker.close()
