"""The store of synthesized images: whatever happens, what was put in is there and whole."""

from __future__ import annotations

import json
import os
import shutil
import threading
import urllib.parse
from pathlib import Path

import cv2
import mutations
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import DRIVEN

from deepvis.core.errors import UserError
from deepvis.core.files import folder_name
from deepvis.store import unit_images as module
from deepvis.store.unit_images import MANIFEST, WIDEST, Store, open_store, store_folder

MARK = "00112233aabbccdd"


def opened(folder: Path) -> Store:
    return open_store(folder, MARK, "net")


def pictures(count: int = 3, height: int = 40, width: int = 32, seed: int = 0) -> np.ndarray:
    """Smooth ones, which survive a lossy file, each in another colour."""
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=(count, height, width, 3))
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 5) for one in noise])
    smooth = smooth / np.abs(smooth).max() * 60
    return (
        (smooth + np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]] * count)[:count, None, None])
        .clip(0, 255)
        .astype(np.uint8)
    )


def put(store: Store, layer: str, unit: int, count: int = 1, part: str = "0", **facts) -> None:
    store.add(layer, unit, pictures(count, 8, 8), {"scores": [1.0] * count, **facts}, part)


# ---- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("finished", [True, False])
def test_images_come_back(tmp_path: Path, finished: bool) -> None:
    store, images = opened(tmp_path / "s"), pictures()
    store.add("fc", 7, images, {"scores": [3.0, 2.0, 1.0], "preset": "x"}, "0")
    if finished:
        store.finish()
        assert not list((tmp_path / "s").glob("added-*"))
    for again in (store, opened(tmp_path / "s")):
        assert again.has("fc", 7) and not again.has("fc", 8) and not again.has("fc2", 7)
        assert again.records["fc", 7] == {"scores": [3.0, 2.0, 1.0], "preset": "x"}
        got = again.read("fc", 7)
        assert len(got) == 3
        for one, want in zip(got, images):
            assert one.shape == (40, 32, 3) and one.dtype == np.uint8 and one.flags.c_contiguous
            error = np.abs(one.astype(int) - want)
            assert error.mean() < 6 and np.abs(one.mean((0, 1)) - want.mean((0, 1))).max() < 5  # red first, too
    assert (tmp_path / "s" / "fc" / "0007.webp").is_file()


def test_quality(tmp_path: Path) -> None:
    store, images = opened(tmp_path), np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    sizes = []
    for unit, quality in enumerate((10, 80, 100)):
        store.add("a", unit, images, {"scores": [1]}, "0", quality)
        sizes.append(store.path("a", unit).stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]


def test_nothing_to_read(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add("a", 1, pictures()[:0], {"scores": [], "failed": "dead"}, "0")
    put(store, "a", 2)
    store.path("a", 2).unlink()
    put(store, "a", 3)
    store.path("a", 3).write_bytes(b"no picture")
    assert [store.read("a", unit) for unit in range(4)] == [[], [], [], []]
    assert [store.has("a", unit) for unit in range(3)] == [False, True, False]
    assert not (tmp_path / "a" / "0001.webp").exists()


def test_a_newer_record_replaces_an_older(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(store, "a", 1, 1, preset="old")
    store.finish()
    put(store, "a", 1, 3, preset="new")
    for again in (store, opened(tmp_path)):
        assert again.records["a", 1]["preset"] == "new" and len(again.read("a", 1)) == 3
    store.finish()
    assert opened(tmp_path).records["a", 1]["preset"] == "new"


def test_images_too_wide_for_a_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    count = WIDEST // 100
    put_in = np.zeros((count, 2, 100, 3), np.uint8)
    store.add("a", 0, put_in, {"scores": [0] * count}, "0")
    assert len(store.read("a", 0)) == count
    with pytest.raises(UserError, match="--per-unit"):
        store.add("a", 1, np.concatenate([put_in, put_in[:1]]), {"scores": [0] * (count + 1)}, "0")
    assert not store.has("a", 1) and not store.path("a", 1).exists()
    assert ("a", 1) not in opened(tmp_path).records


# ---- the manifest --------------------------------------------------------------------------------


def test_the_manifest_says_what_there_is(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for layer, unit in (("b", 2), ("a", 10), ("a", 9)):
        put(store, layer, unit, preset=f"{layer}{unit}")
    store.finish()
    found = json.loads((tmp_path / MANIFEST).read_text())
    assert (found["model"], found["fingerprint"]) == ("net", MARK)
    assert [(row["layer"], row["unit"], row["preset"]) for row in found["units"]] == [
        ("a", 9, "a9"),
        ("a", 10, "a10"),
        ("b", 2, "b2"),
    ]
    assert os.access(tmp_path / MANIFEST, os.R_OK) and (tmp_path / MANIFEST).stat().st_mode & 0o777 == 0o644


def test_the_order_does_not_show(tmp_path: Path) -> None:
    for name, order in (("one", [1, 2, 3]), ("two", [3, 1, 2])):
        store = opened(tmp_path / name)
        for unit in order:
            put(store, "a", unit, part=str(unit % 2))
        store.finish()
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()


def test_the_images_of_another_network_are_refused(tmp_path: Path) -> None:
    opened(tmp_path)  # even before there is an image
    with pytest.raises(UserError, match=f"another network.*net.*{MARK}.*ffff.*give another one"):
        open_store(tmp_path, "ffff", "other")
    assert json.loads((tmp_path / MANIFEST).read_text())["fingerprint"] == MARK


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path / "none", MARK)
    assert store.records == {} and not store.has("a", 1) and store.read("a", 1) == []
    store.finish()
    assert not (tmp_path / "none").exists()


# ---- what a killed process leaves ----------------------------------------------------------------


@pytest.mark.parametrize(
    "torn",
    ['{"layer": "a", "un', '{"layer": "a"}', '{"layer": "a", "unit": "x"}', "[1, 2]", "\x00\x00\x00", "\xff", "7", ""],
)
def test_a_line_that_is_not_whole_is_no_record(tmp_path: Path, torn: str) -> None:
    store = opened(tmp_path)
    put(store, "a", 1)
    with open(tmp_path / "added-0.jsonl", "ab") as file:
        file.write(torn.encode("latin-1"))
    again = opened(tmp_path)
    assert set(again.records) == {("a", 1)}
    put(again, "a", 2)  # the same part goes on behind it
    assert set(opened(tmp_path).records) == {("a", 1), ("a", 2)}
    again.finish()
    assert set(opened(tmp_path).records) == {("a", 1), ("a", 2)}


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file"
    module.write_whole(path, b"old")

    def fail(*_args) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        module.write_whole(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"model": "m", "fingerprint": "f", "units": [{"layer": "a"}]}', b"\xff\xfe",
                b'{"model": "m", "fingerprint": "f", "units": 5}']
)  # fmt: skip
def test_a_manifest_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match="manifest.*Remove the folder") as caught:
        opened(tmp_path)
    assert str(tmp_path / MANIFEST) in str(caught.value)
    assert (tmp_path / MANIFEST).read_bytes() == content


@pytest.mark.parametrize("name", [MANIFEST, "added-0.jsonl"])
def test_what_may_not_be_read_is_not_to_be_removed(tmp_path: Path, name: str) -> None:
    """A folder is in the place of the file: that stops root, too."""
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{tmp_path / name} is a folder; expected") as caught:
        opened(tmp_path)
    assert "Remove" not in str(caught.value)


@pytest.mark.parametrize("when", ["open", "add", "finish"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """A file is in the place of the folder: that stops root, too."""
    folder = tmp_path / "s"
    if when == "open":
        folder.write_text("")
        with pytest.raises(UserError, match=f"{folder}: cannot be written"):
            opened(folder)
        return
    store = opened(folder)
    put(store, "a", 0)
    if when == "add":
        (folder / "b").write_text("")
        with pytest.raises(UserError, match=f"{folder}: cannot be written.*kept"):
            put(store, "b", 1)
        assert ("b", 1) not in store.records and store.has("a", 0)
        return

    def fail(*_args) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match=f"{folder}: cannot be written: Read-only file system"):
        store.finish()
    assert set(opened(folder).records) == {("a", 0)}  # still in its part


def test_a_complete_store_need_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store := opened(tmp_path), "a", 0)
    store.finish()
    monkeypatch.setattr(module, "write_whole", lambda *_: pytest.fail("written"))
    opened(tmp_path).finish()


# ---- several processes ---------------------------------------------------------------------------


def test_two_that_finish_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each adds and finishes over and over, also to a part of the same name."""
    stores = [opened(tmp_path) for _ in range(4)]
    errors: list[BaseException] = []
    line = threading.Barrier(4)

    def work(index: int) -> None:
        try:
            line.wait(10)
            for unit in range(12):
                put(stores[index], f"layer{index}", unit, part=str(index // 2))
                if unit % 3 == 2:
                    stores[index].finish()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    every = {(f"layer{i}", unit) for i in range(4) for unit in range(12)}
    assert set(opened(tmp_path).records) == every
    stores[0].finish()
    assert {(row["layer"], row["unit"]) for row in json.loads((tmp_path / MANIFEST).read_text())["units"]} == every
    assert not list(tmp_path.glob("added-*"))


def test_what_is_added_while_another_gathers_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process adds to a part at the very moment when the first has read all and writes the manifest."""
    one, two = opened(tmp_path), opened(tmp_path)
    put(one, "a", 1)
    real, adding = module.write_whole, []

    def write(path: Path, data: bytes) -> None:
        if path.name == MANIFEST:
            adding.append(threading.Thread(target=put, args=(two, "a", 2)))
            adding[-1].start()
            adding[-1].join(0.2)  # it waits, or is done
        real(path, data)

    monkeypatch.setattr(module, "write_whole", write)
    one.finish()
    monkeypatch.undo()
    adding[0].join(10)
    assert set(opened(tmp_path).records) == {("a", 1), ("a", 2)}


# ---- names ---------------------------------------------------------------------------------------

ODD = [
    "conv1",
    "Conv1",
    "features.0",
    "a/b",
    "a%2Fb",
    "a b",
    "a:b",
    "a\\b",
    "",
    "%",
    ".",
    "..",
    "...",
    ".a",
    "a.",
    "a",
    "_",
    "-",
    "%2E",
    "ü",
    "%C3%BC",
    "日本",
    "\u1f60" + "0",
    "😀",
    "\x1f" + "600",
    "a\nb",
    "a\n",
    "\ud800",
    "*?<>|\"'",
    "blocks.0/cls",
]


def test_folders_of_odd_names_are_all_different() -> None:
    folders = [folder_name(name) for name in ODD]
    assert len(set(folders)) == len(ODD)
    for name, folder in zip(ODD, folders):
        assert urllib.parse.unquote(folder, errors="surrogatepass") == (name or "%")
        assert folder not in ("", ".", "..") and not set(folder) & set('/\\:*?"<>|\n ') and not folder.endswith(".")


def test_names_that_stay_as_they_are() -> None:
    for name in ("conv1", "features.0", "a-b_c", "layer4.1.relu"):
        assert folder_name(name) == name


def test_layers_of_odd_names(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    for i, name in enumerate(ODD):
        if "\ud800" not in name:
            put(store, name, i)
    store.finish()
    again = opened(tmp_path / "s")
    assert all(len(again.read(name, i)) == 1 for i, name in enumerate(ODD) if "\ud800" not in name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_where_a_models_images_are(tmp_path: Path) -> None:
    assert store_folder(tmp_path, "timm:vit/x") == tmp_path / "timm%3Avit%2Fx" / "synthesized"
    assert store_folder(tmp_path, "..").resolve().is_relative_to(tmp_path)


# ---- what others wrote ---------------------------------------------------------------------------


def use(folder: Path) -> None:
    """As the window and `deepvis synthesize` use a store."""
    store = open_store(folder, MARK)
    for layer, unit in list(store.records)[:50]:
        assert isinstance(store.has(layer, unit), bool)
        try:
            assert all(image.size for image in store.read(layer, unit))
        except UserError as error:
            assert str(folder) in str(error) and not store.has(layer, unit)
    store._manifest()


RECORDS = [{"layer": "a", "unit": 1, "scores": [2.5, 1], "module": "net.a", "seed": 0, "recipe": {"steps": 3}},
           {"layer": "b", "unit": 2, "scores": [], "failed": "dead"}]  # fmt: skip


def fresh(folder: Path) -> Path:
    """A folder with one unit's images and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    put(opened(folder), "a", 1)
    return folder


@DRIVEN
@given(data=st.data())
def test_manifests_of_odd_values(tmp_path: Path, data: st.DataObject) -> None:
    tmp_path = fresh(tmp_path / "s")
    valid = {"model": "m", "fingerprint": MARK, "units": RECORDS}
    (tmp_path / MANIFEST).write_text(json.dumps(data.draw(mutations.values(valid))))
    try:
        use(tmp_path)
    except UserError as error:
        assert str(tmp_path) in str(error) and "emove the folder" in str(error)


@DRIVEN
@given(data=st.data())
def test_damaged_manifests_and_parts(tmp_path: Path, data: st.DataObject) -> None:
    tmp_path = fresh(tmp_path / "s")
    lines = "\n".join(map(json.dumps, RECORDS)).encode()
    (tmp_path / "added-7.jsonl").write_bytes(data.draw(mutations.damaged(lines)))
    use(tmp_path)  # of a part, the lines that are whole
    whole = json.dumps({"model": "m", "fingerprint": MARK, "units": RECORDS}).encode()
    (tmp_path / MANIFEST).write_bytes(data.draw(mutations.damaged(whole)))
    try:
        use(tmp_path)
    except UserError as error:
        assert str(tmp_path) in str(error) and "emove the folder" in str(error)


@DRIVEN
@given(row=mutations.values(RECORDS[0]))
def test_lines_of_odd_values(tmp_path: Path, row: object) -> None:
    tmp_path = fresh(tmp_path / "s")
    (tmp_path / "added-7.jsonl").write_text(json.dumps(row))
    use(tmp_path)
    assert ("a", 1) in opened(tmp_path).records


def test_manifests_that_are_no_files_or_bombs(tmp_path: Path) -> None:
    texts = {"deep": "[" * 1_000_000, "digits": '{"model": ' + "1" * 1_000_000 + "}", "long": " " * (65 << 20)}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text(text)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / MANIFEST)
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "added-1.jsonl").write_text("[" * 1_000_000 + "\n" + json.dumps(RECORDS[0]))
    said = mutations.in_bounds(
        "from deepvis.store.unit_images import open_store",
        "open_store(path, 'f')",
        sorted(tmp_path.iterdir()),
        room=300,
    )
    assert said.pop("line") == "was read" and all(MANIFEST in text for text in said.values()), said


def test_more_scores_than_the_file_has_columns(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(store, "a", 1)
    store.records["a", 1]["scores"] = [1] * 10_000
    assert store.read("a", 1) == [] and not store.has("x" * 400, 1)
