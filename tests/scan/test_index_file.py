"""An index or a state that others wrote: whole, or refused in words, within bounds of time and memory."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import mutations
import numpy as np
import pytest
import small
from hypothesis import given
from hypothesis import strategies as st
from mutations import DRIVEN

from deepvis.core.arrays import open_arrays, read_array
from deepvis.core.errors import UserError
from deepvis.inputs.datasets import find_images
from deepvis.scan.index import BINS, INDEX, STATE, Index
from deepvis.scan.index_file import load
from deepvis.scan.merging import merge
from deepvis.scan.patches import places
from deepvis.scan.scan import Options, scan

ODD_ARRAYS = [
    np.zeros(0),
    np.zeros((0, 9), np.int32),
    np.zeros(3),
    np.zeros((3, 0)),
    np.full((3, 9), 10**6, np.int32),
    np.array(1.0),
    np.array(["x"]),
    np.array([b"x"]),
    np.zeros(4, "c16"),
    np.zeros(4, [("a", "i4")]),
    np.zeros(4, "M8[s]"),
    np.full(5, np.nan),
    np.zeros((1,) * 20),
    np.frombuffer(b"\xff\x00{[", np.uint8),
]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index and a state."""
    folder = tmp_path_factory.mktemp("index")
    small.write_images(folder / "images", 12)
    scan(small.network(), find_images(folder / "images"), folder, options=Options(k=3, batch=4, workers=0))
    return folder


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def read(path: Path, data: bytes) -> Index | None:
    """The index, used as the program uses it; None if it is refused in words."""
    path.write_bytes(data)
    try:
        index = load(path)
    except UserError as error:
        assert str(path) in str(error) and "Remove it and scan again" in str(error)
        return None
    for span in index.spans:
        found = places(index, span.name, span.units - 1)
        assert all(0 <= row < span.height and 0 <= column < span.width for _, row, column, _ in found)
        if span.name in index.correlation:
            assert index.correlation[span.name].shape == (span.units, span.units)
    assert index.histogram.shape == (len(index.mean), BINS)
    index.missing()
    index.shown_images()
    assert isinstance(index.is_complete, bool) and index.shown_bands and index.settings["width"] > 0
    if index.sums is not None:
        try:
            merge([index])
        except UserError:
            pass
    return index


@pytest.mark.parametrize("name", [INDEX, STATE])
def test_a_whole_one_is_read(scanned: Path, tmp_path: Path, name: str) -> None:
    assert read(tmp_path / "index.npz", (scanned / name).read_bytes()) is not None
    assert read(tmp_path / "index.npz", packed(arrays_of(scanned / name))) is not None


@pytest.mark.parametrize("name", [INDEX, STATE])
@DRIVEN
@given(data=st.data())
def test_damaged_bytes(scanned: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    read(tmp_path / "index.npz", data.draw(mutations.damaged((scanned / name).read_bytes())))


@DRIVEN
@given(data=st.data())
def test_what_it_says_of_itself_is_odd(scanned: Path, tmp_path: Path, data: st.DataObject) -> None:
    arrays = arrays_of(scanned / STATE)
    meta = data.draw(mutations.values(json.loads(arrays["meta"].tobytes())))
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    read(tmp_path / "index.npz", packed(arrays))


@pytest.mark.parametrize("name", [INDEX, STATE])
@DRIVEN
@given(data=st.data())
def test_arrays_of_other_kinds_shapes_and_numbers(
    scanned: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    arrays = arrays_of(scanned / name)
    for key in data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=2, unique=True)):
        how = data.draw(st.sampled_from(["odd", "gone", "cut", "turned", "other dtype", "large", "small"]))
        old = arrays[key]
        if how == "odd":
            arrays[key] = data.draw(st.sampled_from(ODD_ARRAYS))
        elif how == "gone":
            del arrays[key]
        elif how in ("cut", "turned"):
            arrays[key] = old[1:] if how == "cut" else old.T
        elif how == "other dtype":
            with np.errstate(all="ignore"):
                arrays[key] = old.astype(data.draw(st.sampled_from(["f2", "f8", ">f4", "i8", "u1", "?", "c8"])))
        else:
            arrays[key] = np.full_like(
                old, (np.iinfo if old.dtype.kind in "iu" else np.finfo)(old.dtype).max if how == "large" else -2 % 128
            )
    with np.errstate(all="ignore"):  # the largest numbers there are overflow when they are added
        read(tmp_path / "index.npz", packed(arrays))


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("top_image", 12, "top_image beyond the 12 images"),
        ("bottom_image", -2, "bottom_image"),
        ("top_row", 30, "top_row beyond the map"),
        ("bottom_column", -1, "bottom_column beyond the map"),
    ],
)
def test_a_place_that_is_not_there(scanned: Path, tmp_path: Path, name: str, value: int, told: str) -> None:
    arrays = arrays_of(scanned / INDEX)
    arrays[name] = arrays[name].copy()
    arrays[name].flat[5] = value
    (tmp_path / INDEX).write_bytes(packed(arrays))
    with pytest.raises(UserError, match=told):
        load(tmp_path / INDEX)


# ---- more than the file can hold ----------------------------------------------------------------


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def bomb(path: Path, members: dict[str, tuple[bytes, int]]) -> Path:
    """A zip of members that begin with these bytes and go on with so many zeros."""
    zeros = bytes(1 << 22)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, (begin, count) in members.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(begin)
                for _ in range(count // len(zeros)):
                    member.write(zeros)
    return path


def test_bombs(scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipInfo", _Deflated)
    arrays, half = arrays_of(scanned / INDEX), 512 << 20
    one = bomb(tmp_path / "one.npz", {"meta.npy": (header((half,)), half)})
    many = bomb(tmp_path / "many.npz", {f"{i}.npy": (header((1 << 22,)), 1 << 22) for i in range(128)})
    assert one.stat().st_size < 4 << 20 > many.stat().st_size
    said_less = tmp_path / "said-less.npz"  # what the directory says is not what comes out
    data = bytearray(one.read_bytes())
    place = data.rindex(b"PK\1\2")
    data[place + 24 : place + 28] = (10_000).to_bytes(4, "little")
    said_less.write_bytes(data)
    wide = tmp_path / "wide.npz"  # a shape of terabytes in a header
    with zipfile.ZipFile(wide, "w") as archive:
        archive.writestr("meta.npy", header((1 << 40,)) + bytes(100))
    long = tmp_path / "long-header.npz"
    with zipfile.ZipFile(long, "w") as archive:
        archive.writestr("meta.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff" + b"(" * 1_000_000)
    units = tmp_path / "units.npz"  # counts of a byte that become numbers of eight
    meta = json.loads(arrays["meta"].tobytes())
    meta["spans"] = [["conv", 0, 1_000_000, 1, 1]]
    thin = {
        "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
        "files": arrays["files"],
        "top_image": np.zeros((1_000_000, 1), np.int32),
    }
    units.write_bytes(packed(thin))
    said = mutations.in_bounds(
        "from deepvis.scan.index_file import load", "load(path)", [one, many, said_less, wide, long, units], room=300
    )
    assert all("cannot be read as an index" in text for text in said.values()), said
    assert "it unpacks to 512 MiB, expected at most" in said["one.npz"]
    assert "histograms of 1000000 units" in said["units.npz"]


class _Deflated(zipfile.ZipInfo):
    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)
        self.compress_type = zipfile.ZIP_DEFLATED


# ---- arrays alone -------------------------------------------------------------------------------


@DRIVEN
@given(data=st.data())
def test_an_array_by_itself(tmp_path: Path, data: st.DataObject) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    (tmp_path / "a.npy").write_bytes(data.draw(mutations.damaged(file.getvalue())))
    try:
        read_array(tmp_path / "a.npy", "numbers", "Give others.")
    except UserError as error:
        assert "cannot be read as numbers" in str(error)


@pytest.mark.parametrize(
    "array",
    [np.arange(24.0).reshape(2, 3, 4), np.arange(6, dtype=">i2").reshape(2, 3).T, np.zeros((0, 3)), np.array(5)],
)
def test_arrays_come_back_as_numpy_reads_them(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    with open_arrays(tmp_path / "a.npz", "numbers", "") as stored:
        for found in (read_array(tmp_path / "a.npy", "numbers", ""), stored["arr_0"]):
            assert (
                np.array_equal(found, array) and found.dtype == array.dtype.newbyteorder("=") and found.flags.writeable
            )


def test_no_code_is_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.array([{}], object))
    with pytest.raises(UserError, match="expected numbers"):
        read_array(tmp_path / "a.npy", "numbers", "")
    with pytest.raises(UserError, match="expected numbers"), open_arrays(tmp_path / "a.npz", "numbers", ""):
        pass
