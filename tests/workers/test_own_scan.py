"""The scan that the window makes by itself: as `deepvis scan` would make it, seen while it runs, resumed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
from waiting import until

from deepvis.core import paths
from deepvis.inputs.datasets import find_images
from deepvis.networks.network import Network
from deepvis.scan import scan as scan_module
from deepvis.scan.index import INDEX, STATE, Index, scan_folder
from deepvis.scan.index_file import load
from deepvis.scan.scan import Options, scan
from deepvis.workers import own_scan
from deepvis.workers.layer_images import LayerImagesWorker
from deepvis.workers.leisure import Leisure
from deepvis.workers.messages import LayerImagesWish, TopImagesWish
from deepvis.workers.own_scan import FEW, OwnScanWorker, ScanWish, lacks_index
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.worker import WishOf

PHOTOS = 70


@pytest.fixture(scope="module")
def network() -> Network:
    return small.network()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The bundled photos, and a folder of the user's own."""
    folder = tmp_path / "photos"
    small.write_images(folder, PHOTOS)
    monkeypatch.setattr(paths, "PHOTOS", folder)
    paths.use(str(tmp_path / "data"))
    yield folder
    paths.use(paths.USUAL)


class Watched(OwnScanWorker):
    """Waits at the first index of a scan that still runs until `gate` is set."""

    def __init__(self) -> None:
        super().__init__(Leisure(lambda: False))
        self.seen, self.gate = threading.Event(), threading.Event()

    def _keep(self, network: Network, index: Index | None) -> None:
        super()._keep(network, index)
        if index is not None:
            self.seen.set()
            assert self.gate.wait(60)


@pytest.fixture
def worker() -> Iterator[Watched]:
    one = Watched()
    yield one
    one.gate.set()
    assert one.close(60)


def done(worker: OwnScanWorker, network: Network, folder: Path | None = None) -> Index:
    worker.want(WishOf(network, ScanWish(folder)))
    until(lambda: worker.answer is not None and worker.answer.is_over)
    assert worker.answer.error == ""
    return load(out(network) / INDEX)


def out(network: Network) -> Path:
    return scan_folder(paths.precomputed().own, network.name)


def test_it_stores_what_the_command_stores(worker: Watched, network: Network, photos: Path, tmp_path: Path) -> None:
    worker.gate.set()
    assert lacks_index(network)
    made = done(worker, network)
    assert not lacks_index(network)
    asked = scan(network, find_images(photos), tmp_path / "asked", options=Options(batch=16, workers=1))
    assert made.count == PHOTOS and made.is_provisional and not asked.is_provisional
    for side in ("top", "bottom"):
        for name in ("image", "row", "column", "value"):
            assert np.array_equal(getattr(getattr(made, side), name), getattr(getattr(asked, side), name))
    assert np.array_equal(made.histogram, asked.histogram)


def test_top_images_and_correlation_appear_while_it_runs(worker: Watched, network: Network, photos: Path) -> None:
    tops, layers = TopImagesWorker(lambda network: out(network), so_far=worker.index), LayerImagesWorker()
    try:
        tops.want(WishOf(network, TopImagesWish("conv", 0, "gradient")))
        until(lambda: tops.answer is not None and "none yet" in tops.answer.note)
        worker.want(WishOf(network, ScanWish()))
        assert worker.seen.wait(60)
        assert 0 < worker.answer.done < PHOTOS and "scanning" in worker.answer.words
        until(lambda: tops.answer is not None and tops.answer.patches)
        layers.want(WishOf(tops.opened, LayerImagesWish("conv", is_sorted=True)))
        until(lambda: layers.statistics is not None and layers.statistics.order is not None)
        assert 0 < layers.statistics.images < PHOTOS
        worker.gate.set()
        until(lambda: tops.opened.index is not None and tops.opened.index.count == PHOTOS)
    finally:
        assert tops.close() and layers.close()


def test_what_it_had_when_it_was_closed_is_kept_and_the_next_one_goes_on(
    worker: Watched, network: Network, photos: Path, tmp_path: Path
) -> None:
    worker.want(WishOf(network, ScanWish()))
    assert worker.seen.wait(60)
    worker.close(0)
    worker.gate.set()
    assert worker.close(60)
    state = load(out(network) / STATE)
    assert 0 < state.count < PHOTOS and not (out(network) / INDEX).exists()
    later, said = Watched(), []
    hand_out = later._hand_out
    later._hand_out = lambda task, answer: (said.append(answer), hand_out(task, answer))[1]
    later.gate.set()
    made = done(later, network, folder=tmp_path)  # it goes on with the photos, whatever is in view
    assert {(state.count, PHOTOS), (PHOTOS, PHOTOS)} <= {(one.done, one.total) for one in said}
    assert min(one.done for one in said) == state.count and all("preparing" not in one.words for one in said)
    assert later.close() and made.count == PHOTOS


def test_the_folder_in_view_if_it_has_some_images(worker: Watched, network: Network, photos: Path, tmp_path) -> None:
    worker.gate.set()
    small.write_images(tmp_path / "mine", FEW)
    assert done(worker, network, tmp_path / "mine").root == str(tmp_path / "mine")


def test_the_bundled_photos_if_there_are_few(worker: Watched, network: Network, photos: Path, tmp_path: Path) -> None:
    worker.gate.set()
    small.write_images(tmp_path / "mine", 3)
    assert done(worker, network, tmp_path / "mine").root == str(photos)


def test_photos_that_cannot_be_scanned_are_said(worker: Watched, network: Network, photos: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no picture")
    worker.want(WishOf(network, ScanWish()))
    until(lambda: worker.answer is not None and worker.answer.is_over)
    assert "cannot be scanned" in worker.answer.words and "can be read" in worker.answer.words


def test_a_scan_of_the_users_own_that_is_not_finished_is_left_alone(
    worker: Watched, network: Network, photos: Path, tmp_path: Path
) -> None:
    small.write_images(tmp_path / "mine", 40)
    scan(network, find_images(tmp_path / "mine"), out(network), options=Options(batch=16, workers=1))
    (out(network) / INDEX).unlink()
    before = (out(network) / STATE).read_bytes()
    worker.want(WishOf(network, ScanWish()))
    until(lambda: worker.answer is not None and worker.answer.is_over)
    assert f"deepvis scan --images {tmp_path / 'mine'}" in worker.answer.error
    assert (out(network) / STATE).read_bytes() == before


def test_a_scan_that_the_user_asks_for_replaces_it(
    worker: Watched, network: Network, photos: Path, tmp_path: Path
) -> None:
    worker.gate.set()
    done(worker, network)
    small.write_images(tmp_path / "mine", 20)
    asked = scan(network, find_images(tmp_path / "mine"), out(network), options=Options(workers=1, k=5))
    assert asked.count == 20 and asked.k == 5 and not load(out(network) / STATE).is_provisional


def test_a_scan_of_the_same_photos_goes_on_with_it_and_makes_it_the_users(
    worker: Watched, network: Network, photos: Path
) -> None:
    worker.gate.set()
    done(worker, network)
    small.write_images(photos, 5, first=PHOTOS)
    asked = scan(network, find_images(photos), out(network), options=Options(workers=1))
    assert asked.count == PHOTOS + 5 and not asked.is_provisional


def test_a_network_of_many_units_is_scanned_without_correlations(
    worker: Watched, network: Network, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_scan, "CORRELATION", 1000)
    worker.gate.set()
    assert not done(worker, replace(network)).correlation


def test_it_ends_in_the_midst_of_a_batch(network: Network, photos: Path) -> None:
    """The thread is held at a layer of the second batch; nothing of that batch is waited for."""
    at_layer, gate, batches = threading.Event(), threading.Event(), threading.Event()

    class Held(Leisure):
        def rest(self, is_over=lambda: False) -> None:
            if batches.is_set():
                at_layer.set()
                assert gate.wait(60)

    class Counting(OwnScanWorker):
        def _keep(self, network: Network, index: Index | None) -> None:
            batches.set()

    worker = Counting(Held(lambda: False))
    worker.want(WishOf(network, ScanWish()))
    assert at_layer.wait(60)
    worker.close(0)
    gate.set()
    assert worker.close(60)
    assert load(out(network) / STATE).count in (16, 32)  # the batches before the one that was held


def test_a_network_that_was_trained_further_is_scanned_anew(worker: Watched, network: Network, photos: Path) -> None:
    worker.gate.set()
    done(worker, network)
    trained = replace(network, fingerprint="0" * 32)
    worker.want(WishOf(trained, ScanWish()))
    until(lambda: worker.answer is not None and worker.answer.is_over)
    assert worker.answer.error == "" and load(out(trained) / INDEX).fingerprint == "0" * 32


def test_an_index_of_the_users_own_is_left_alone(worker: Watched, network: Network, photos: Path) -> None:
    worker.gate.set()
    scan(network, find_images(photos), out(network), options=Options(batch=16, workers=1))
    before = (out(network) / INDEX).read_bytes()
    trained = replace(network, fingerprint="0" * 32)
    worker.want(WishOf(trained, ScanWish()))
    until(lambda: worker.answer is not None and worker.answer.is_over)
    assert (out(network) / INDEX).read_bytes() == before and worker.answer.words == ""


def test_the_original_toolboxs_top_images_stay(worker: Watched, network: Network, photos: Path) -> None:
    (out(network).parent / "max_im").mkdir(parents=True)
    worker.want(WishOf(network, ScanWish()))
    until(lambda: worker.answer is not None and worker.answer.is_over)
    assert not out(network).exists()


def test_closed_after_the_last_image_it_leaves_the_statistics_to_the_next_one(
    network: Network, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, at_the_end = Watched(), threading.Event()
    one.gate.set()
    save = scan_module.save

    def saving(index: Index, path: Path, state: bool = False) -> None:
        save(index, path, state)
        if index.count == PHOTOS and len(index.receptive_fields) > 1:
            threading.Thread(target=one.close).start()
            until(lambda: one._stopping)
            at_the_end.set()

    monkeypatch.setattr(scan_module, "save", saving)
    one.want(WishOf(network, ScanWish()))
    assert at_the_end.wait(60)
    assert one.close(60)
    assert load(out(network) / STATE).count == PHOTOS and not (out(network) / INDEX).exists()
    monkeypatch.undo()
    monkeypatch.setattr(paths, "PHOTOS", photos)
    later = Watched()
    later.gate.set()
    assert done(later, network).count == PHOTOS and later.close()
