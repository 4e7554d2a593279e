"""Weights that others wrote: tensors of numbers, or refused in words, within bounds of time and memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import mutations
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import DRIVEN
from safetensors.torch import save as safetensors
from torch import nn

from deepvis.core.errors import UserError
from deepvis.inputs.datasets import find_images
from deepvis.inputs.playlist import Playlist
from deepvis.networks.checkpoints import load_weights, packaged, read
from deepvis.networks.loading import load


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def saved(value: object, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def caffemodel() -> bytes:
    blob = field(7, field(1, varint(4) + varint(3))) + field(5, np.arange(12, dtype="<f4").tobytes())
    return field(100, field(1, b"conv1") + field(7, blob) + field(7, blob))


STATE = small().state_dict()
NPZ = io.BytesIO()
np.savez(NPZ, **{name: value.numpy() for name, value in STATE.items()})
VALID = {"w.pth": saved(STATE), "old.pth": saved(STATE, legacy=True), "nested.pt": saved({"model": STATE, "epoch": 3}),
         "w.safetensors": safetensors(STATE), "w.npz": NPZ.getvalue(), "w.caffemodel": caffemodel()}  # fmt: skip


@pytest.mark.parametrize("name", VALID)
@DRIVEN
@given(data=st.data())
def test_damaged_bytes(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(mutations.damaged(VALID[name])))
    module = small()
    try:
        load_weights(module, path)
    except UserError as error:
        assert str(path) in str(error) and len(str(error)) < 5000
    assert module(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def odd_tensors() -> dict[str, torch.Tensor]:
    plain = torch.randn(4, 3, 3, 3)
    return {
        "sparse": plain.to_sparse(),
        "quantized": torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
        "meta": plain.to("meta"),
        "complex": plain.to(torch.complex64),
        "csr": torch.eye(4).to_sparse_csr(),
        "expanded": torch.zeros(1).expand(1 << 40),
        "nested": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "bool": plain > 0,
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", odd_tensors())
def test_odd_tensors(tmp_path: Path, kind: str) -> None:
    (tmp_path / "w.pth").write_bytes(saved({**STATE, "0.weight": odd_tensors()[kind]}))
    if kind == "bool":
        load_weights(small(), tmp_path / "w.pth")
        return
    with pytest.raises(UserError) as caught:
        load_weights(small(), tmp_path / "w.pth")
    assert "0.weight" in str(caught.value) or "not a checkpoint of plain tensors" in str(caught.value)


def test_a_checkpoint_that_holds_itself(tmp_path: Path) -> None:
    circle: dict = {"epoch": 1}
    circle["model"] = circle
    (tmp_path / "w.pth").write_bytes(saved(circle))
    with pytest.raises(UserError, match="expected a state_dict"):
        read(tmp_path / "w.pth")


def test_pipes_folders_and_odd_names(tmp_path: Path) -> None:
    for name in (
        "pipe.pth",
        "folder.npz",
        "n" * 300 + ".pth",
        "x\0.pth",
        "\ud800.caffemodel",
        "none.safetensors",
        "pipe.safetensors",
    ):
        if name.startswith("pipe"):
            os.mkfifo(tmp_path / name)
        elif name.startswith("folder"):
            (tmp_path / name).mkdir()
        with pytest.raises(UserError):
            read(tmp_path / name)
    for name in ("", ".", "..x", "a..b", "no_such.thing", "x\0", "n" * 300, "os.path"):
        with pytest.raises(UserError, match="package"):
            packaged(name)


def test_bombs(tmp_path: Path) -> None:
    zeros = bytes(384 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in zipfile.ZipFile(io.BytesIO(VALID["w.pth"])).namelist():
            data = zipfile.ZipFile(io.BytesIO(VALID["w.pth"])).read(name)
            archive.writestr(name, zeros if name.endswith("/data/0") else data)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f4", "fortran_order": False, "shape": (len(zeros) // 4,)}
        )
        archive.writestr("a.npy", head.getvalue() + zeros)
    (tmp_path / "header.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    shape = {"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}
    text = json.dumps(shape).encode()
    (tmp_path / "shape.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    deep = b'{"a":' * 100_000
    (tmp_path / "deep.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
    blob = field(7, field(1, varint(1 << 40) * 8)) + field(5, bytes(8))
    (tmp_path / "shape.caffemodel").write_bytes(field(100, field(1, b"a") + field(7, blob)))
    (tmp_path / "blobs.caffemodel").write_bytes(field(100, field(1, b"a") + field(7, b"") * 1_000_000))
    (tmp_path / "dims.caffemodel").write_bytes(
        field(100, field(1, b"a") + field(7, field(7, field(1, b"\1" * 2_000_000))))
    )
    (tmp_path / "length.caffemodel").write_bytes(varint(100 << 3 | 2) + varint(1 << 62) + b"a")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"a": [[]] * 10}))
    said = mutations.in_bounds(
        "import torch, safetensors.torch\nfrom deepvis.networks.checkpoints import read",
        "read(path)",
        sorted(tmp_path.iterdir()),
        300,
    )
    assert all("was read" not in text for text in said.values()), said
    assert "unpacks to 384 MiB" in said["bomb.pth"] and "unpacks to 384 MiB" in said["bomb.npz"]


@DRIVEN
@given(data=st.data())
def test_lists_of_files(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "list.txt").write_bytes(
        data.draw(mutations.damaged(b"a.jpg\n# b\n" + b"n" * 300 + b".jpg\n../c.png\ncaf\xe9.jpg\n"))
    )
    for lists in (Playlist, find_images):
        try:
            lists(tmp_path / "list.txt")
        except UserError as error:
            assert str(tmp_path) in str(error)


def test_lists_with_names_that_no_file_has(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"n" * 300 + b".jpg\n")
    with pytest.raises(UserError):
        find_images(path).read(0, (8, 8))
    with pytest.raises(UserError):
        find_images(path).read(0)
    path.write_bytes(b"a.jpg\nx\0y.jpg\n")
    assert find_images(path).names[0] == "a.jpg"
    with pytest.raises(UserError):  # of that name alone
        find_images(path).read(1)
    os.remove(path)
    os.mkfifo(path)
    for lists in (Playlist, find_images):
        with pytest.raises(UserError):
            lists(path)


# ---- ONNX ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx_file() -> bytes:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2torch")
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", tensor, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", tensor, [1, 4, 14, 14])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


@DRIVEN
@given(data=st.data())
def test_damaged_onnx(tmp_path: Path, onnx_file: bytes, data: st.DataObject) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data.draw(mutations.damaged(onnx_file)))
    try:
        load(f"onnx:{path}", "cpu")
    except UserError:
        pass


@pytest.mark.parametrize("dims", [[1, 10**9, 16, 16], [1, 3, 10**9, 10**9], [1, 4096, 8192, 8192], [1, -3, 16, 16]])
def test_onnx_of_absurd_inputs(tmp_path: Path, onnx_file: bytes, dims: list[int]) -> None:
    import onnx

    model = onnx.load_from_string(onnx_file)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, dims):
        dim.dim_value = size
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError):
        load(f"onnx:{tmp_path / 'net.onnx'}", "cpu")
