"""The thread that hands out top images, on a small network; and what it says when there are none."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
from waiting import until

from deepvis.core import paths
from deepvis.core.layers import Layer
from deepvis.inputs.datasets import Images, Photos, find_images
from deepvis.inputs.decode import read_image
from deepvis.interface.requests import top_images_wish
from deepvis.interface.state import State
from deepvis.scan import patch_backward as patch_backward_module
from deepvis.scan.index import INDEX, STATE, index_folder, scan_folder
from deepvis.scan.index_file import load, save
from deepvis.scan.patch_backward import patch_backward
from deepvis.scan.patches import patches
from deepvis.scan.scan import Options, scan
from deepvis.store.unit_images import open_store, store_folder
from deepvis.workers import patch_passes
from deepvis.workers import top_images as module
from deepvis.workers.messages import TopImagesWish, TopPictures
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.worker import WishOf


@pytest.fixture(scope="module")
def network():
    return small.network()


@pytest.fixture(scope="module")
def made(network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/ and the index in scan/."""
    folder = tmp_path_factory.mktemp("made")
    small.write_images(folder / "images", 30)
    scan(network, find_images(folder / "images"), folder / "scan", options=Options(batch=8))
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """The index in a folder of one's own, to be spoiled."""
    shutil.copytree(made / "scan", tmp_path / "scan")
    return tmp_path / "scan"


@pytest.fixture
def opened() -> Iterator[Callable[[Path], TopImagesWorker]]:
    all: list[TopImagesWorker] = []

    def open(folder: Path) -> TopImagesWorker:
        all.append(TopImagesWorker(lambda network: folder))
        return all[-1]

    yield open
    for one in all:
        assert one.close()


def fetched(worker: TopImagesWorker, network, wish: TopImagesWish) -> TopPictures:
    worker.want(WishOf(network, wish))
    until(lambda: worker.idle)
    assert (worker.answer.layer, worker.answer.unit) == (wish.layer, wish.unit)
    return worker.answer


# ---- what is handed out -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["deconv", "gradient"])
@pytest.mark.parametrize(("layer", "unit"), [("relu", 1), ("odd", 2), ("head", 3)])
def test_patches_best_first_and_what_flows_back_to_them(
    opened, network, made: Path, layer: str, unit: int, method: str
) -> None:
    found = fetched(opened(made / "scan"), network, TopImagesWish(layer, unit, method))
    index = load(made / "scan" / INDEX)
    want = patches(index, layer, unit, Photos(Images(Path(index.root), tuple(index.files))))
    assert [(p.name, p.value, p.box) for p in found.patches] == [(p.name, p.value, p.box) for p in want]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found.patches, want))
    assert [p.value for p in found.patches] == sorted(
        (p.value for p in want), reverse=True
    ) and found.root == index.root
    photos = [read_image(Path(index.root, p.name)) for p in want]
    cells = None if layer == "head" else [(p.row, p.column) for p in want]
    back = patch_backward(network, photos, layer, unit, method, [p.box for p in want], cells)
    assert found.method == method and all(np.allclose(a, b, atol=1e-6) for a, b in zip(found.backward, back))


def test_the_index_is_there_before_anything_is_shown(opened, network, made: Path) -> None:
    worker = opened(made / "scan")
    assert worker.opened.index is None and worker.idle and worker.answer is None
    fetched(worker, network, TopImagesWish("odd", 0))
    assert worker.opened.index.fingerprint == network.fingerprint and not worker.opened.note
    assert worker.opened.index.receptive_fields["odd"] == network.receptive_field("odd")


def test_patches_are_there_before_the_pass_and_a_newer_wish_abandons_it(
    opened, network, made: Path, monkeypatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def held(network, photos, layer, unit, *rest):
        if unit == 0:
            begun.set()
            assert gate.wait(20)
        return patch_backward(network, photos, layer, unit, *rest)

    monkeypatch.setattr(patch_backward_module, "patch_backward", held)
    worker = opened(made / "scan")
    worker.want(WishOf(network, TopImagesWish("odd", 0)))
    assert begun.wait(20)
    assert (
        worker.answer.unit == 0 and len(worker.answer.patches) == 9 and not worker.answer.backward and not worker.idle
    )
    worker.want(WishOf(network, TopImagesWish("odd", 1)))
    until(lambda: worker.answer is not None and worker.answer.unit == 1)  # while the pass of the unit before still runs
    assert len(worker.answer.patches) == 9 and not worker.answer.backward
    gate.set()
    until(lambda: worker.idle)
    assert worker.answer.unit == 1 and len(worker.answer.backward) == 9


def test_a_unit_that_is_passed_by_costs_no_pass(opened, network, made: Path, monkeypatch) -> None:
    units: list[int] = []

    def counted(network, photos, layer, unit, *rest):
        units.append(unit)
        return patch_backward(network, photos, layer, unit, *rest)

    monkeypatch.setattr(patch_backward_module, "patch_backward", counted)
    monkeypatch.setattr(module, "QUIET", 0.5)
    worker = opened(made / "scan")
    for unit in range(4):
        worker.want(WishOf(network, TopImagesWish("odd", unit)))
        until(lambda: worker.answer is not None and worker.answer.unit == unit)
    until(lambda: worker.idle)
    parts = math.ceil(9 / patch_passes.AT_A_TIME)
    assert units == [3] * parts
    fetched(worker, network, TopImagesWish("odd", 3, "guided"))
    fetched(worker, network, TopImagesWish("odd", 3))  # kept
    assert units == [3] * 2 * parts


def test_memory_is_bounded_and_what_was_dropped_is_made_again(opened, network, made: Path, monkeypatch) -> None:
    size = module._size(fetched(opened(made / "scan"), network, TopImagesWish("odd", 0)))
    monkeypatch.setattr(module, "CACHE", size + size // 2)
    worker = opened(made / "scan")
    for unit in (0, 1, 0):
        assert len(fetched(worker, network, TopImagesWish("odd", unit)).backward) == 9
        assert [wish.unit for wish in worker._cache] == [unit] and worker._cache.currsize <= module.CACHE


def test_a_pass_that_fails_becomes_words_and_the_next_one_works(opened, network, made: Path, monkeypatch) -> None:
    def failing(network, photos, layer, unit, *rest):
        if unit == 0:
            raise RuntimeError("out of memory")
        return patch_backward(network, photos, layer, unit, *rest)

    monkeypatch.setattr(patch_backward_module, "patch_backward", failing)
    worker = opened(made / "scan")
    bad = fetched(worker, network, TopImagesWish("odd", 0))
    assert "out of memory" in bad.backward_note and len(bad.patches) == 9 and not bad.backward
    assert len(fetched(worker, network, TopImagesWish("odd", 1)).backward) == 9


def test_a_softmax_shows_what_excites_its_logits() -> None:
    layers = (Layer("conv", "Conv2d", 4, 8, 8), Layer("logits", "Linear", 10), Layer("probs", "Softmax", 10))
    assert top_images_wish(State(layer=2, unit=7), layers) == TopImagesWish("logits", 7, "deconv")
    assert top_images_wish(State(layer=0, unit=1, method="guided"), layers) == TopImagesWish("conv", 1, "guided")


# ---- why there is nothing -----------------------------------------------------------------------


def test_an_index_that_is_made_later_is_taken_up(opened, network, made: Path, tmp_path: Path) -> None:
    worker = opened(tmp_path / "later")
    named = replace(network, options=" --model M")
    assert "deepvis scan --model M --images DIR" in fetched(worker, named, TopImagesWish("odd", 0)).note
    assert worker.opened.index is None
    shutil.copytree(made / "scan", tmp_path / "later")
    assert len(fetched(worker, network, TopImagesWish("odd", 1)).patches) == 9 and worker.opened.index is not None


@pytest.mark.parametrize("bad", [b"", b"nonsense", "half"])
def test_an_index_that_cannot_be_read(opened, network, own: Path, bad: bytes | str) -> None:
    whole = (own / INDEX).read_bytes()
    (own / INDEX).write_bytes(whole[: len(whole) // 2] if bad == "half" else bad)
    worker = opened(own)
    assert "cannot be read as an index" in fetched(worker, network, TopImagesWish("odd", 0)).note
    (own / INDEX).write_bytes(whole)
    assert len(fetched(worker, network, TopImagesWish("odd", 1)).patches) == 9


def test_an_index_of_another_network_input_or_layers(opened, network, own: Path) -> None:
    def note(other) -> str:
        return fetched(opened(own), other, TopImagesWish("odd", 0)).note

    assert "another network" in note(replace(network, fingerprint="other"))
    assert "24×24 pixels, the network now takes 32×32" in note(
        replace(network, input=replace(network.input, height=32, width=32))
    )
    wider = tuple(replace(layer, units=9) if layer.name == "odd" else layer for layer in network.layers)
    assert "odd has 5 units of 11×11, the network's now 9 of 11×11" in note(replace(network, layers=wider))


def test_an_index_of_fewer_layers(opened, network, made: Path, tmp_path: Path) -> None:
    scan(network, find_images(made / "images"), tmp_path, ["conv", "head"], Options(batch=8))
    worker = opened(tmp_path)
    assert "odd was not scanned, only conv, head" in fetched(worker, network, TopImagesWish("odd", 0)).note
    assert len(fetched(worker, network, TopImagesWish("head", 0)).patches) == 9


def test_photos_that_are_gone_are_named_and_found_again_by_another_scan(
    opened, network, made: Path, own: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(made / "images", photos)
    save(replace(load(own / INDEX), root=str(photos)), own / INDEX)
    (own / STATE).unlink()
    worker = opened(own)
    first = fetched(worker, network, TopImagesWish("odd", 0)).patches[0].name
    (photos / first).unlink()
    worker = opened(own)
    found = fetched(worker, network, TopImagesWish("odd", 0))
    assert found.patches[0].pixels is None and first in found.patches[0].error and found.backward[0] is None
    assert all(patch.pixels is not None for patch in found.patches[1:]) and not found.note
    photos.rename(tmp_path / "elsewhere")
    note = fetched(worker, network, TopImagesWish("odd", 1)).note  # some are still in memory; of a unit none may be
    note = note or fetched(opened(own), network, TopImagesWish("odd", 0)).note
    assert str(photos) in note and "deepvis scan --images DIR" in note
    shutil.copy(made / "images" / first, tmp_path / "elsewhere")
    scan(network, find_images(tmp_path / "elsewhere"), own)
    assert all(patch.pixels is not None for patch in fetched(opened(own), network, TopImagesWish("odd", 0)).patches)


def test_a_dead_unit_and_one_that_few_images_excite(opened, network, own: Path) -> None:
    index = load(own / INDEX)
    index.top.value[index.row("relu", 0)] = 0
    index.top.value[index.row("relu", 1), 4:] = 0
    save(index, own / INDEX)
    worker = opened(own)
    dead = fetched(worker, network, TopImagesWish("relu", 0))
    assert "dead" in dead.note and "30 scanned images" in dead.note and not dead.patches
    assert len(fetched(worker, network, TopImagesWish("relu", 1)).backward) == 4


def test_the_original_toolboxs_pictures_stand_where_there_is_no_index(
    network, made: Path, tmp_path: Path, opened
) -> None:
    from deepvis.store.export import export

    export(network, load(made / "scan" / INDEX), tmp_path, ["odd"], side=64)
    worker = opened(tmp_path / "scan")
    shown = fetched(worker, network, TopImagesWish("odd", 2, "deconv"))
    assert len(shown.patches) == len(shown.backward) == 9 and not shown.note and shown.method == "deconv"
    real = fetched(opened(made / "scan"), network, TopImagesWish("odd", 2, "deconv"))
    for one, other in zip(shown.patches, real.patches):
        inside = one.pixels[2:-2, 2:-2].mean((0, 1))
        assert np.abs(inside - other.pixels.mean((0, 1))).max() < 12 and np.isnan(one.value)
    assert all(image.min() >= -1 and image.max() <= 1 for image in shown.backward)
    other = fetched(worker, network, TopImagesWish("odd", 2, "gradient"))
    assert other.patches and "deconv images only" in other.backward_note
    (tmp_path / "max_deconv/odd/odd_0003.jpg").unlink()
    assert "max_deconv" in fetched(worker, network, TopImagesWish("odd", 3, "deconv")).backward_note
    (tmp_path / "max_im/odd/odd_0001.jpg").write_bytes(b"")
    assert "deepvis scan" in fetched(worker, network, TopImagesWish("odd", 1, "deconv")).note


# ---- what comes with the program ----------------------------------------------------------------


def test_the_bundled_photos_are_scanned_and_found_wherever_the_program_is(tmp_path: Path) -> None:
    folder = scan_folder(paths.precomputed().bundled, "efficientnet-lite0").with_name("bundled")
    assert index_folder(paths.precomputed(), "efficientnet-lite0").parent == folder.parent
    index = load(folder / INDEX)
    assert Path(index.root) == paths.PHOTOS and index.missing() == [] and index.count == len(index.files) > 400
    assert (
        index.fingerprint
        == open_store(store_folder(paths.precomputed().bundled, "efficientnet-lite0"), index.fingerprint).fingerprint
    )
    assert (folder / INDEX).stat().st_size < 4 << 20
    moved = tmp_path / "precomputed" / "efficientnet-lite0" / "bundled"
    shutil.copytree(folder, moved)
    assert load(moved / INDEX).root == str(tmp_path / "deepvis" / "photos")
    save(replace(index, root="/elsewhere"), moved / INDEX)
    assert load(moved / INDEX).root == "/elsewhere"


def test_where_guided_backprop_carries_nothing_back_deconv_does(
    network, made: Path, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def carried(network, photos, layer, unit, method, boxes, places, hear):
        value = {"guided": 0, "deconv": 2}[method]
        return [np.full((4, 4, 3), value, np.float32) for _ in photos]

    monkeypatch.setattr(patch_backward_module, "patch_backward", carried)
    chosen = fetched(opened(made / "scan"), network, TopImagesWish("odd", 2, "guided"))
    assert chosen.method == "guided" and not any(image.any() for image in chosen.backward)
    usual = fetched(opened(made / "scan"), network, TopImagesWish("odd", 2, "guided", or_deconv=True))
    assert usual.method == "deconv" and all((image == 2).all() for image in usual.backward)


def test_deconv_steps_in_for_the_usual_method_only() -> None:
    layers = (Layer("stem", "Conv2d", 8, 4, 4),)
    assert top_images_wish(State(), layers, "guided").or_deconv
    assert not top_images_wish(State(), layers, "deconv").or_deconv
    assert not top_images_wish(State(method="guided"), layers, "guided").or_deconv


# ---- an index that is replaced ------------------------------------------------------------------


def swapped(folder: Path) -> None:
    """Replace the index on the disk by one in which each unit's places are those of another unit."""
    index = load(folder / INDEX)
    order = np.concatenate([np.arange(span.start, span.start + span.units)[::-1] for span in index.spans])
    save(replace(index, top=index.top[order]), folder / INDEX)


def names(pictures: TopPictures) -> list[tuple[str, float]]:
    return [(patch.name, patch.value) for patch in pictures.patches]


def test_an_index_that_is_replaced_is_taken_up_while_the_same_unit_stays_selected(
    opened, network, own: Path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.01)
    worker = opened(own)
    before = fetched(worker, network, TopImagesWish("odd", 1))
    old = worker.opened.index
    swapped(own)
    until(lambda: worker.opened.index is not old and worker.idle)
    assert names(worker.answer) != names(before) and len(worker.answer.backward) == len(worker.answer.patches)
    (own / INDEX).unlink()
    until(lambda: worker.opened.index is None and worker.idle)
    assert "deepvis scan" in worker.opened.note and worker.answer.note


@pytest.mark.parametrize("back", [False, True], ids=["another unit is selected", "and the unit again"])
def test_a_pass_of_an_index_that_has_been_replaced_is_neither_shown_nor_kept(
    opened, network, own: Path, monkeypatch, back: bool
) -> None:
    begun, gate, passes = threading.Event(), threading.Event(), []

    def held(network, photos, layer, unit, *rest):
        passes.append(unit)
        if len(passes) == 1:
            begun.set()
            assert gate.wait(20)
        return patch_backward(network, photos, layer, unit, *rest)

    monkeypatch.setattr(patch_backward_module, "patch_backward", held)
    worker = opened(own)
    worker.want(WishOf(network, TopImagesWish("odd", 1)))
    assert begun.wait(20)
    old = names(worker.answer)
    swapped(own)
    worker.want(WishOf(network, TopImagesWish("odd", 2)))
    until(lambda: worker.answer is not None and worker.answer.unit == 2)
    if back:
        worker.want(WishOf(network, TopImagesWish("odd", 1)))
        until(lambda: worker.answer is not None and worker.answer.unit == 1)
    gate.set()
    until(lambda: worker.idle)
    new = fetched(worker, network, TopImagesWish("odd", 1))
    assert names(new) != old and passes[-1] == 1 and len(passes) >= 2
    index = load(own / INDEX)
    want = patches(index, "odd", 1, Photos(Images(Path(index.root), tuple(index.files))))
    assert names(new) == [(p.name, p.value) for p in want]
    cells = [(p.row, p.column) for p in want]
    photos = [read_image(Path(index.root, p.name)) for p in want]
    back_images = patch_backward(network, photos, "odd", 1, "deconv", [p.box for p in want], cells)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(new.backward, back_images))


def test_another_network_has_all_made_anew(opened, network, made: Path) -> None:
    worker, other = opened(made / "scan"), small.network()
    first = fetched(worker, network, TopImagesWish("odd", 1))
    worker.want(WishOf(other, TopImagesWish("odd", 1)))
    assert worker.answer is None
    until(lambda: worker.idle)
    assert worker.answer is not first and names(worker.answer) == names(first)


def test_words_for_what_failed_are_not_kept(opened, network, own: Path, monkeypatch) -> None:
    worker = opened(own)
    cut = module.patches
    monkeypatch.setattr(module, "patches", lambda *a, **k: (_ for _ in ()).throw(MemoryError("full")))
    assert "full" in fetched(worker, network, TopImagesWish("odd", 1)).note
    monkeypatch.setattr(module, "patches", cut)
    fetched(worker, network, TopImagesWish("odd", 2))
    assert len(fetched(worker, network, TopImagesWish("odd", 1)).patches) == 9


def test_a_late_pass_of_another_method_does_not_take_the_place_of_what_is_whole(
    opened, network, made: Path, monkeypatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def held(network, photos, layer, unit, method, *rest):
        if method == "gradient":
            begun.set()
            assert gate.wait(20)
        return patch_backward(network, photos, layer, unit, method, *rest)

    monkeypatch.setattr(patch_backward_module, "patch_backward", held)
    worker, deconv, gradient = opened(made / "scan"), TopImagesWish("odd", 0), TopImagesWish("odd", 0, "gradient")
    whole = fetched(worker, network, deconv)
    worker.want(WishOf(network, gradient))
    assert begun.wait(20)
    worker.want(WishOf(network, deconv))
    until(lambda: worker.answer is whole)  # as it was kept
    gate.set()
    until(lambda: worker.idle)
    assert worker.answer is whole
    assert fetched(worker, network, gradient).method == "gradient"  # kept, though nobody waited for it
