"""One's own images and the bundled ones: which are shown, and that neither are lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deepvis.core.errors import UserError
from deepvis.core.paths import Places
from deepvis.store import own_images
from deepvis.store.own_images import keep, open_both, own_folder
from deepvis.store.unit_images import MANIFEST, Store, open_store, store_folder

MARK = "abc"


def put(store: Store, unit: int, gray: int, steps: int = 10, **more) -> None:
    record = {"scores": [1.0], "preset": "modern", "recipe": {"steps": steps, "rate": 0.1}, "seeds": [1], **more}
    images = np.full((0 if "failed" in more else 1, 8, 8, 3), gray, np.uint8)
    store.add("conv", unit, images, record, "test")
    store.finish()


def kept(store: Store, gray: int, steps: int, **recipe) -> str:
    record = {"scores": [1.0], "preset": "modern", "recipe": {"steps": steps, "rate": 0.1, **recipe}, "seeds": [1]}
    return keep(store, "conv", 0, np.full((1, 8, 8, 3), gray, np.uint8), record, "live")


def gray(images: list[np.ndarray]) -> int | None:
    return round(float(images[0].mean()) / 50) * 50 if images else None


@pytest.fixture
def bundled(tmp_path: Path) -> Store:
    store = open_store(store_folder(tmp_path / "bundled", "net"), MARK, "net")
    for unit in range(3):
        put(store, unit, 50)
    return store


@pytest.fixture
def own(tmp_path: Path) -> Store:
    return open_store(own_folder(tmp_path / "own", "net"), MARK, "net")


def places(folder: Path) -> Places:
    return Places(folder / "own", folder / "bundled")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_ones_own_come_first_and_the_bundled_ones_where_there_are_none(
    tmp_path: Path, bundled: Store, own: Store
) -> None:
    put(own, 1, 200)
    put(own, 2, 0, failed="no gradient")  # with another recipe it did not work: no reason to hide what is there
    put(own, 7, 250, module="old")
    both = open_both(places(tmp_path), "net", MARK)
    assert [gray(both.read("conv", unit)) for unit in (0, 1, 2, 7, 9)] == [50, 200, 50, 250, None]
    assert set(both.records) == {("conv", unit) for unit in (0, 1, 2, 7)} and "failed" not in both.records["conv", 2]
    assert ("conv", 7) not in open_both(
        Places(tmp_path / "own", tmp_path / "bundled"), "net", MARK, {"conv": "new"}
    ).records
    own.path("conv", 1).unlink()
    assert gray(both.read("conv", 1)) == 50


def test_one_store_that_cannot_be_read_does_not_hide_the_other(tmp_path: Path, bundled: Store, own: Store) -> None:
    put(own, 1, 200)
    (own.folder / MANIFEST).write_text("{")
    both = open_both(places(tmp_path), "net", MARK)
    assert gray(both.read("conv", 1)) == 50 and "manifest" in both.note
    shutil.rmtree(own.folder)
    put(open_store(own.folder, "other", "net"), 1, 200)  # the network was trained further
    assert gray(open_both(places(tmp_path), "net", "other").read("conv", 1)) == 200
    assert gray(open_both(places(tmp_path), "net", MARK).read("conv", 1)) == 50
    with pytest.raises(UserError, match="another network"):
        open_both(places(tmp_path), "net", "a third one")
    assert not open_both(places(tmp_path), "nobody's", MARK).records


def test_keeping_never_touches_the_bundled_store(tmp_path: Path, bundled: Store, own: Store) -> None:
    before = files(bundled.folder)
    assert "kept 1 images of conv:0" in kept(own, 200, 3)
    assert files(bundled.folder) == before and gray(open_both(places(tmp_path), "net", MARK).read("conv", 0)) == 200


def test_images_with_fewer_steps_do_not_take_the_place_of_ones_own_with_more(own: Store) -> None:
    kept(own, 200, 500)
    before = files(own.folder)
    for other in ({}, {"rate": 0.2}):
        with pytest.raises(UserError, match="500 steps.*these have 3.*grow as far, or remove .*0000.webp"):
            kept(own, 50, 3, **other)
    assert files(own.folder) == before
    own.path("conv", 0).unlink()
    assert "kept" in kept(own, 50, 3)


def test_the_same_growth_with_more_steps_replaces_and_other_images_are_set_aside(own: Store) -> None:
    kept(own, 50, 10)
    assert "beside" not in kept(own, 100, 20) and len(list(own.folder.rglob("*.webp"))) == 1
    assert "kept already" in kept(own, 100, 20)
    said = kept(own, 200, 20, rate=0.5)
    assert "0000-1.webp" in said and gray(own.read("conv", 0)) == 200
    aside = own.path("conv", 0).with_name("0000-1.webp")
    assert aside.is_file() and json.loads(aside.with_suffix(".json").read_text())["recipe"] == {
        "steps": 20,
        "rate": 0.1,
    }
    assert "0000-2.webp" in kept(own, 250, 30)
    again = open_store(own.folder, MARK)
    assert gray(again.read("conv", 0)) == 250 and set(again.records) == {("conv", 0)}


def test_what_cannot_be_set_aside_stays(own: Store, monkeypatch: pytest.MonkeyPatch) -> None:

    kept(own, 50, 10)
    before = files(own.folder)
    monkeypatch.setattr(
        own_images, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(UserError, match="No space left.*stays as it is"):
        kept(own, 200, 20, rate=0.5)
    assert files(own.folder) == before


@pytest.mark.parametrize("record", [{"recipe": None}, {"recipe": {"steps": "many"}}, {"seeds": 5}, {"recipe": [1]}])
def test_odd_records_are_set_aside_too(own: Store, record: dict) -> None:
    put(own, 0, 50, **record)
    kept(own, 200, 20)
    assert gray(own.read("conv", 0)) == 200 and own.path("conv", 0).with_name("0000-1.webp").is_file()
