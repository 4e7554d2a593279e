"""Facets in the window: stored ones at once, others made in a thread, and kept."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import sklearn.cluster
import sklearn.manifold  # noqa: F401, imported here and not in the thread, which would take long on a busy machine
from smallnets import small
from waiting import until

from deepvis.core import paths
from deepvis.facets.facet_store import open_facets
from deepvis.inputs.datasets import find_images
from deepvis.networks.network import Network
from deepvis.scan.index import scan_folder
from deepvis.scan.options import Options
from deepvis.scan.scan import scan
from deepvis.synthesis.presets import PRESETS
from deepvis.workers import facets
from deepvis.workers.facets import FacetsWorker
from deepvis.workers.messages import FacetsWish, UnitFacets
from deepvis.workers.worker import WishOf


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(10):
        image = cv2.resize(draw.integers(0, 255, (5, 5, 3), np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    return tmp_path / "photos"


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FacetsWorker]:
    paths.use(str(tmp_path))
    monkeypatch.setattr(facets, "QUIET", 0)
    monkeypatch.setattr(FacetsWorker, "has_low_priority", False)
    monkeypatch.setitem(PRESETS, "facet", replace(PRESETS["facet"], steps=3))
    one = FacetsWorker()
    yield one
    assert one.close()
    paths.use(paths.USUAL)


def done(worker: FacetsWorker, network: Network, wish: FacetsWish) -> UnitFacets:
    worker.want(WishOf(network, wish))
    answer = until(lambda: (found := worker.answer) is not None and found.done and found, patience=90)
    assert answer.wish == wish
    until(lambda: worker.idle)
    return answer


def test_facets_are_made_kept_and_then_there_at_once(worker: FacetsWorker, network: Network, photos: Path) -> None:
    """The index keeps too few photos of each unit: the photos are looked at once more, for all units."""
    own = scan_folder(paths.precomputed().own, network.name)
    scan(network, find_images(photos), own, options=Options(k=3))
    wish = FacetsWish("fc", 3, top=8)
    made = done(worker, network, wish)
    assert made.found is not None and made.steps == made.total == 3 and not made.is_stored and made.note == ""
    assert len(made.found.members) == 8 == len(made.thumbs.pictures) and made.thumbs.pictures[0].shape == (32, 32, 3)
    assert all(facet.image is not None and facet.called for facet in made.found.facets)
    assert made.laid_out is not None and made.laid_out.members is made.found.members
    stored = done(worker, network, replace(wish, unit=4))  # without another look at the photos
    assert stored.found is not None
    worker.want(None)
    again = done(worker, network, wish)
    assert again.is_stored and again.found is not None and again.found.members == made.found.members
    assert [p.shape for p in again.thumbs.pictures] == [(32, 32, 3)] * 8
    shutil.rmtree(paths.precomputed().own / network.name / "scan")  # not needed for other clusters of the same map
    other = len(made.found.facets) + 1
    more = done(worker, network, replace(wish, k=other))
    assert not more.is_stored and more.found is not None and len(more.found.facets) == other
    assert [(m.name, m.x, m.y) for m in more.found.members] == [(m.name, m.x, m.y) for m in made.found.members]
    assert done(worker, network, replace(wish, k=other + 1)).found is not None
    both = open_facets(network)
    assert both.read("fc", 3) is not None and both.own.records["fc", 3]["preset"] == "facet"
    assert both.own.records["fc", 3]["k"] == other + 1 and both.own.records["fc", 4]["k"] == 0


def test_photos_that_have_moved_leave_the_stored_facets(worker: FacetsWorker, network: Network, photos: Path) -> None:
    scan(network, find_images(photos), scan_folder(paths.precomputed().own, network.name), options=Options(k=8))
    wish = FacetsWish("conv2", 1, k=2, top=8)
    assert done(worker, network, wish).found is not None
    shutil.move(photos, photos.with_name("elsewhere"))
    worker.renew()
    answer = done(worker, network, wish)
    assert answer.is_stored and answer.found is not None and set(answer.thumbs.pictures) == {None}
    assert answer.note == "8 of 8 photos have moved; deepvis scan --images DIR finds them again"
    moved = done(worker, network, replace(wish, unit=2))
    assert moved.found is None and "8 photos can be read" in moved.note and "--images DIR" in moved.note
    own = scan_folder(paths.precomputed().own, network.name)
    scan(network, find_images(photos.with_name("elsewhere")), own, options=Options(k=8))
    again = done(worker, network, wish)  # the index knows where they are
    assert again.is_stored and again.note == "" and all(picture is not None for picture in again.thumbs.pictures)


def test_without_an_index_the_remedy_is_said(worker: FacetsWorker, network: Network) -> None:
    answer = done(worker, network, FacetsWish("fc", 1))
    assert answer.found is None and answer.note.endswith("deepvis scan --images DIR")


def test_it_waits_for_the_index_that_the_window_makes(tmp_path: Path, network: Network, photos: Path) -> None:
    paths.use(str(tmp_path))
    scanning = threading.Event()
    scanning.set()
    worker = FacetsWorker(is_scanning=scanning.is_set)
    try:
        worker.want(WishOf(network, FacetsWish("fc", 1, top=8)))
        until(lambda: worker.answer is not None and "for the first time" in worker.answer.note, patience=90)
        scan(network, find_images(photos), scan_folder(paths.precomputed().own, network.name), options=Options(k=8))
        scanning.clear()
        until(lambda: worker.answer is not None and worker.answer.found is not None, patience=90)
    finally:
        assert worker.close()
        paths.use(paths.USUAL)
