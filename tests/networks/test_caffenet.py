"""CaffeNet against the published numbers, a hand-written reference, and Caffe's own file format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.networks.caffemodel import read_caffemodel
from deepvis.networks.caffenet import CaffeNet
from deepvis.networks.checkpoints import load_weights
from deepvis.networks.loading import load
from deepvis.networks.network import Network

SHAPES = {  # Jia et al. 2014; caffe's log of deploy.prototxt
    "conv1": (96, 55, 55), "pool1": (96, 27, 27), "norm1": (96, 27, 27),
    "conv2": (256, 27, 27), "pool2": (256, 13, 13), "norm2": (256, 13, 13),
    "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
    "fc6": (4096, 1, 1), "fc7": (4096, 1, 1), "fc8": (1000, 1, 1), "prob": (1000, 1, 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    return load("caffenet", "cpu", weights="none")


def test_layers_have_the_published_shapes(network: Network) -> None:
    assert {layer.name: (layer.units, layer.height, layer.width) for layer in network.layers} == SHAPES
    assert network.layers[-1].label(151) == "Chihuahua"


def test_number_of_parameters() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in CaffeNet().parameters()) == 60_965_224


def test_the_input_is_bgr_minus_the_mean_colour(network: Network) -> None:
    rgb = np.zeros((300, 400, 3), np.uint8) + np.uint8([10, 20, 30])
    seen = network.see(rgb, crop=True)
    assert seen.shape == (1, 3, 227, 227)
    torch.testing.assert_close(seen[0, :, 5, 5], torch.tensor([30 - 104.007, 20 - 116.669, 10 - 122.679]))


def lrn(x: Tensor) -> Tensor:
    """Krizhevsky et al. 2012, section 3.3, with Caffe's k = 1 and alpha over the window's size."""
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        window = x[:, max(0, i - 2) : i + 3]
        out[:, i] = x[:, i] / (1 + 1e-4 / 5 * (window**2).sum(1)) ** 0.75
    return out


def convolve_in_groups(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Two halves that do not see each other."""
    halves = zip(x.chunk(2, 1), weight.chunk(2), bias.chunk(2))
    return torch.cat([F.conv2d(part, w, b, padding=w.shape[-1] // 2) for part, w, b in halves], 1)


def test_forward_of_the_first_stages_equals_a_hand_written_one() -> None:
    torch.manual_seed(0)
    net = CaffeNet().double().eval()
    x = torch.rand(1, 3, 227, 227, dtype=torch.float64) * 255 - 110
    with torch.inference_mode():
        first = F.conv2d(x, net.conv1.weight, net.conv1.bias, stride=4).relu()
        padded = F.pad(first, (0, 1, 0, 1), value=-torch.inf)  # Caffe's ceiling
        norm1 = lrn(padded.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))[..., :27, :27])
        want = convolve_in_groups(norm1, net.conv2.weight, net.conv2.bias)
        torch.testing.assert_close(net[: list(dict(net.named_children())).index("conv2") + 1](x), want)


# ---- weights ------------------------------------------------------------------------------------


def test_without_weights_the_error_says_where_they_are_from() -> None:
    with pytest.raises(UserError) as error:
        load("caffenet", "cpu")
    text = str(error.value)
    assert "models/caffenet/bvlc_reference_caffenet.caffemodel" in text.replace("\\", "/")
    assert "berkeleyvision.org" in text and "put it there" in text and "--weights none" in text


def caffe_messages() -> dict:
    """The messages of caffe.proto that matter here, built with Google's own library."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    def field(message, name, number, kind, repeated=False, of=None, packed=False) -> None:
        new = message.field.add(name=name, number=number, type=kind, label=3 if repeated else 1)
        if of:
            new.type_name = f".caffe.{of}"
        if packed:
            new.options.packed = True

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    shape, blob, old, new, net = (file.message_type.add(name=n) for n in ("Shape", "Blob", "Old", "New", "Net"))
    field(shape, "dim", 1, kinds.TYPE_INT64, True, packed=True)
    for number, name in enumerate(("num", "channels", "height", "width"), 1):
        field(blob, name, number, kinds.TYPE_INT32)
    field(blob, "data", 5, kinds.TYPE_FLOAT, True, packed=True)
    field(blob, "shape", 7, kinds.TYPE_MESSAGE, of="Shape")
    for message, name, blobs in ((old, 4, 6), (new, 1, 7)):
        field(message, "name", name, kinds.TYPE_STRING)
        field(message, "blobs", blobs, kinds.TYPE_MESSAGE, True, of="Blob")
    field(new, "phase", 10, kinds.TYPE_INT32)
    field(net, "name", 1, kinds.TYPE_STRING)
    field(net, "layers", 2, kinds.TYPE_MESSAGE, True, of="Old")
    field(net, "layer", 100, kinds.TYPE_MESSAGE, True, of="New")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{n}")) for n in ("Net", "Blob")}


@pytest.mark.parametrize("old", [True, False], ids=["V1 layers", "layers"])
def test_caffes_own_file(old: bool, tmp_path: Path) -> None:
    net = caffe_messages()["Net"](name="CaffeNet")
    want = {"conv1/0": torch.rand(4, 3, 5, 5), "conv1/1": torch.rand(4), "fc/0": torch.rand(6, 300)}
    (net.layers if old else net.layer).add(name="relu")  # no weights
    for name in ("conv1", "fc"):
        layer = (net.layers if old else net.layer).add(name=name)
        for key in (k for k in want if k.startswith(name)):
            blob = layer.blobs.add(data=want[key].flatten().tolist())
            if old:
                shape = (1,) * (4 - want[key].ndim) + tuple(want[key].shape)
                blob.num, blob.channels, blob.height, blob.width = shape
            else:
                blob.shape.dim.extend(want[key].shape)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    got = read_caffemodel(path)
    assert list(got) == list(want)
    for key, value in want.items():
        assert torch.equal(got[key].reshape(value.shape), value)
        assert got[key].ndim == (4 if old else value.ndim)
    path.write_bytes(net.SerializeToString()[:-10])
    with pytest.raises(ValueError, match="cut off"):
        read_caffemodel(path)


@pytest.mark.parametrize("names", ["torch", "caffe"])
def test_converted_weights_fit(names: str, tmp_path: Path) -> None:
    given = CaffeNet().state_dict()
    renamed = {key.replace(".weight", "/0").replace(".bias", "/1"): value for key, value in given.items()}
    torch.save(given if names == "torch" else renamed, tmp_path / "w.pth")
    net = CaffeNet()
    load_weights(net, tmp_path / "w.pth")
    assert all(torch.equal(value, given[key]) for key, value in net.state_dict().items())
