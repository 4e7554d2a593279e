"""Sources of networks: torchvision, timm, the user's own code, ONNX; and what can go wrong with each."""

from __future__ import annotations

import dataclasses
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.models import _registry
from torch import nn
from torchvision.transforms._presets import ImageClassification

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.networks.loading import load
from deepvis.networks.network import InputSpec, prepare
from deepvis.networks.sources import Source, load_source

PHOTO = paths.PHOTOS / "animal-bear-brown.jpg"
SMALL = "squeezenet1_1"  # of torchvision
TINY = "test_resnet.r160_in1k"  # of timm


def source(text: str, weights: str = "none", args: dict[str, Any] | None = None, folder: Path = Path()) -> Source:
    return load_source(text, weights, args or {}, folder)


def message(text: str, weights: str = "none", args: dict[str, Any] | None = None, folder: Path = Path()) -> str:
    with pytest.raises(UserError) as error:
        source(text, weights, args, folder)
    return str(error.value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: (its address, the folder that it serves)."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    """An empty cache of downloads."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    yield tmp_path / "hub" / "checkpoints"
    torch.hub.set_dir(before)


# ---- torchvision --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [SMALL, "inception_v3", "efficientnet_v2_l"])
def test_preprocessing_is_torchvisions(name: str) -> None:
    """Of a square photo in the network's size, where our cropping and torchvision's are the same."""
    entry = torchvision.models.get_model_weights(name).DEFAULT
    with torch.device("meta"):
        spec = source(f"torchvision:{name}").input
    theirs = entry.transforms()
    size = theirs.crop_size[0]
    image = Image.open(PHOTO).convert("RGB").resize((size, size))
    only = ImageClassification(crop_size=size, resize_size=size, mean=theirs.mean, std=theirs.std)
    network = prepare("square", nn.Sequential(nn.AdaptiveAvgPool2d(8)), spec, None)
    torch.testing.assert_close(network.see(np.array(image), crop=True), only(image)[None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_extra_heads_start_quickly_and_quietly(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = source(f"torchvision:{name}").module
    assert module.transform_input  # as the trained one, whose preprocessing it gets
    with torch.inference_mode():
        assert module.eval()(torch.zeros(1, 3, 128, 128)).shape == (1, 1000)


def test_random_weights_have_no_labels_and_are_the_same_every_time() -> None:
    before = torch.get_rng_state()
    one, other = source(f"torchvision:{SMALL}"), source(f"torchvision:{SMALL}")
    assert torch.equal(torch.get_rng_state(), before)
    assert one.classes == () and one.input == InputSpec()
    theirs = other.module.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in one.module.state_dict().items())


def serve_torchvision(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    entry = torchvision.models.get_model_weights(SMALL).DEFAULT
    monkeypatch.setattr(entry.value, "url", url)


@pytest.mark.parametrize("weights", ["auto", "DEFAULT", "IMAGENET1K_V1"])
def test_weights_of_torchvision_come_with_labels(weights: str, server, hub: Path, monkeypatch, capsys) -> None:
    address, folder = server
    trained = torchvision.models.get_model(SMALL)
    torch.save(trained.state_dict(), folder / "squeezenet.pth")
    serve_torchvision(monkeypatch, f"{address}/squeezenet.pth")
    got = source(f"torchvision:{SMALL}", weights)
    assert torch.equal(got.module.classifier[1].weight, trained.classifier[1].weight)
    assert len(got.classes) == 1000 and got.classes[151] == "Chihuahua"
    assert (hub / "squeezenet.pth").is_file()
    said = capsys.readouterr()
    assert "Downloading" in said.out and "100%" in said.err  # progress


def test_a_network_by_name_alone_is_trained_and_labelled(server, hub: Path, monkeypatch) -> None:
    address, folder = server
    torch.save(torchvision.models.get_model(SMALL).state_dict(), folder / "squeezenet.pth")
    serve_torchvision(monkeypatch, f"{address}/squeezenet.pth")
    network = load(f"torchvision:{SMALL}", "cpu")
    assert network.classes[151] == network.layers[-1].label(151) == "Chihuahua"
    assert load(f"torchvision:{SMALL}", "cpu", weights="none").classes == ()


@pytest.mark.parametrize("file", ["gone.pth", "squeezenet-deadbeef.pth"], ids=["404", "other content"])
def test_a_failed_download_says_what_to_put_where(file: str, server, hub: Path, monkeypatch) -> None:
    address, folder = server
    (folder / "squeezenet-deadbeef.pth").write_bytes(b"something else")
    serve_torchvision(monkeypatch, f"{address}/{file}")
    text = message(f"torchvision:{SMALL}", "DEFAULT")
    assert f"Fetch {address}/{file} by hand and put it, named {file}, into {hub}" in text
    assert "--weights none" in text


def test_put_there_by_hand_no_download_is_needed(hub: Path, monkeypatch) -> None:
    serve_torchvision(monkeypatch, "http://127.0.0.1:9/by-hand.pth")  # nobody listens there
    hub.mkdir(parents=True)
    torch.save(torchvision.models.get_model(SMALL).state_dict(), hub / "by-hand.pth")
    assert source(f"torchvision:{SMALL}", "DEFAULT").classes


def test_mistakes_with_torchvision() -> None:
    assert "no classification model 'alexnett'. Nearest: alexnet" in message("torchvision:alexnett")
    text = message(f"torchvision:{SMALL}", "V7")
    assert "'V7'" in text and "IMAGENET1K_V1, DEFAULT" in text and "none" in text
    text = message(f"torchvision:{SMALL}", args={"classes": 5})
    assert "classes: 5" in text and "Correct args:" in text
    assert "num_classes" in message(f"torchvision:{SMALL}", "DEFAULT", {"num_classes": 5})


# ---- timm ---------------------------------------------------------------------------------------


def serve_timm(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    config = _registry._model_pretrained_cfgs[TINY]
    monkeypatch.setitem(_registry._model_pretrained_cfgs, TINY, dataclasses.replace(config, **changes))


def test_preprocessing_of_timm_is_its_own() -> None:
    got = source(f"timm:{TINY}")
    config = timm.get_pretrained_cfg(TINY)
    assert (3, got.input.height, got.input.width) == config.input_size
    assert (got.input.mean, got.input.std) == (config.mean, config.std)
    assert got.classes == ()


@pytest.mark.parametrize("weights", ["auto", "DEFAULT"])
def test_weights_of_timm_come_with_labels(weights: str, server, hub: Path, monkeypatch) -> None:
    address, folder = server
    trained = timm.create_model(TINY)
    torch.save(trained.state_dict(), folder / "tiny.pth")
    serve_timm(monkeypatch, hf_hub_id=None, url=f"{address}/tiny.pth")
    got = source(f"timm:{TINY}", weights)
    assert torch.equal(got.module.fc.weight, trained.fc.weight)
    assert len(got.classes) == 1000 and got.classes[151] == "Chihuahua"
    assert (hub / "tiny.pth").is_file()


def test_a_failed_download_of_timm(server, hub: Path, monkeypatch) -> None:
    serve_timm(monkeypatch, hf_hub_id=None, url=f"{server[0]}/gone.pth")
    text = message(f"timm:{TINY}", "DEFAULT")
    assert f"{server[0]}/gone.pth" in text and str(hub) in text and "--weights none" in text


def test_a_failed_download_from_hugging_face(tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = message(f"timm:{TINY}", "DEFAULT")
    assert f"https://huggingface.co/timm/{TINY}" in text and "--weights FILE" in text
    assert f"models--timm--{TINY} into {tmp_path}" in text and "--weights none" in text


def test_labels_of_larger_imagenets(server, hub: Path, monkeypatch) -> None:
    address, folder = server
    torch.save(timm.create_model(TINY, num_classes=21843).state_dict(), folder / "tiny.pth")
    serve_timm(monkeypatch, hf_hub_id=None, url=f"{address}/tiny.pth", num_classes=21843)
    classes = source(f"timm:{TINY}", "DEFAULT").classes
    assert len(classes) == 21843 and any(name.startswith("zebra") for name in classes)


def test_mistakes_with_timm() -> None:
    assert "timm has no model 'resnet188'. Nearest: resnet18" in message("timm:resnet188")
    assert "has no weights 'a9_in1k'. It has" in message("timm:resnet18.a9_in1k")
    assert "timm:NAME.TAG" in message("timm:resnet18", "a1_in1k")
    assert "classes: 5" in message(f"timm:{TINY}", args={"classes": 5})


def test_timm_networks_without_weights(monkeypatch) -> None:
    serve_timm(monkeypatch, hf_hub_id=None, url="")
    assert "no trained weights" in message(f"timm:{TINY}", "DEFAULT")
    source(f"timm:{TINY}")


def test_other_channels_of_timm() -> None:
    spec = source(f"timm:{TINY}", args={"in_chans": 1}).input
    assert (spec.mean, spec.std) == ((0.5,), (0.5,))


# ---- the user's own code ------------------------------------------------------------------------

MINE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
    def forward(self, x):
        return self.conv(x).relu().mean((2, 3))

def make(**keywords):
    import helper_of_mine
    return Net(helper_of_mine.WIDTH, **keywords)

def broken():
    return deeper()

def deeper():
    raise KeyError("no such thing")

def leaves():
    raise SystemExit(3)

def nothing():
    return {"a": 1}

ready = Net(7)
number = 5
"""


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """A folder with a user's module in it; what is imported from it is forgotten afterwards."""
    before, path = dict(sys.modules), list(sys.path)
    (tmp_path / "mynet.py").write_text(MINE)
    (tmp_path / "helper_of_mine.py").write_text("WIDTH = 6\n")
    yield tmp_path
    assert sys.path == path
    for name in sys.modules.keys() - before.keys():
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_class_a_function_and_a_network_of_the_users(mine: Path) -> None:
    assert source("python:mynet:Net", folder=mine).module.conv.out_channels == 4
    assert source("python:mynet:Net", args={"width": 9}, folder=mine).module.conv.out_channels == 9
    assert source("python:mynet:make", folder=mine).module.conv.out_channels == 6
    got = source("python:mynet:ready", folder=mine)
    assert got.module.conv.out_channels == 7 and got.input is None and got.classes == ()


def test_a_module_of_a_package(mine: Path) -> None:
    (mine / "pack").mkdir()
    (mine / "pack" / "__init__.py").touch()
    (mine / "pack" / "inner.py").write_text("from mynet import Net\n")
    assert source("python:pack.inner:Net", folder=mine).module.conv.out_channels == 4


def test_two_folders_may_use_the_same_name(mine: Path) -> None:
    other = mine / "other"
    other.mkdir()
    (other / "mynet.py").write_text(MINE.replace("width=4", "width=5"))
    assert source("python:mynet:Net", folder=mine).module.conv.out_channels == 4
    assert source("python:mynet:Net", folder=other).module.conv.out_channels == 5
    assert source("python:mynet:Net", folder=mine).module.conv.out_channels == 4


def test_a_model_folder_with_code_and_checkpoint(mine: Path) -> None:
    trained = source("python:mynet:Net", args={"width": 8}, folder=mine).module
    torch.save({"state_dict": {f"module.{k}": v for k, v in trained.state_dict().items()}}, mine / "best.pth")
    (mine / "model.yaml").write_text(
        "source: python:mynet:Net\nargs: {width: 8}\nweights: best.pth\ninput: {height: 32, width: 48}\n"
        "softmax: false\nlabels: [cat, dog]\n"
    )
    network = load(str(mine), "cpu")
    assert torch.equal(network.module.conv.weight, trained.conv.weight)
    assert (network.input.height, network.input.width) == (32, 48)
    assert network.classes == ("cat", "dog", *[""] * 6)  # fewer labels than entries


@pytest.mark.parametrize("name, said", [
    ("mynett:Net", ("no module 'mynett'", "Did you mean mynet?")),
    ("mynet.deep:Net", ("mynet.deep",)),
    ("mynet:Nett", ("has no 'Nett'", "Nearest: Net")),
    ("mynet:number", ("is a int", "expected a class or function")),
    ("mynet:nothing", ("returned a dict", "torch.nn.Module")),
    ("mynet:leaves", ("SystemExit: 3",)),
    ("mynet", ("python:package.module:callable",)),
    ("my-net:Net", ("python:package.module:callable",)),
])  # fmt: skip
def test_mistakes_in_naming_the_users_code(name: str, said: tuple[str, ...], mine: Path) -> None:
    text = message(f"python:{name}", folder=mine)
    assert all(words in text for words in said), text


def test_the_users_own_traceback_and_only_that(mine: Path) -> None:
    lines = message("python:mynet:broken", folder=mine).splitlines()
    assert "failed with args {}" in lines[0] and lines[-1] == "KeyError: 'no such thing'"
    assert sum(line.startswith("  File ") for line in lines) == 2
    assert all("mynet.py" in line for line in lines if line.startswith("  File "))


@pytest.mark.parametrize("code, said", [
    ("import no_such_package_at_all\n", "ModuleNotFoundError: No module named 'no_such_package_at_all'"),
    ("x = 1 / 0\n", "ZeroDivisionError"), ("def f(:\n", "SyntaxError"),
])  # fmt: skip
def test_code_that_cannot_be_imported(code: str, said: str, mine: Path) -> None:
    (mine / "badly.py").write_text(code)
    text = message("python:badly:Net", folder=mine)
    assert "failed while it was imported" in text and said in text and "badly.py" in text
    assert "usercode.py" not in text and "importlib" not in text


def test_wrong_arguments_for_the_users_code(mine: Path) -> None:
    text = message("python:mynet:Net", args={"widht": 3}, folder=mine)
    assert "{'widht': 3}" in text and "unexpected keyword argument 'widht'" in text


def test_weights_that_the_users_code_does_not_name(mine: Path) -> None:
    assert "Give a file" in message("python:mynet:Net", "DEFAULT", folder=mine)


# ---- ONNX ---------------------------------------------------------------------------------------


def small() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU(),
                         nn.Flatten(), nn.Linear(4 * 8 * 10, 5)).eval()  # fmt: skip


def write_onnx(path: Path, net: nn.Sequential, size: tuple[object, ...]) -> None:
    """The same network, operator by operator."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2torch")
    make, to_array = onnx.helper, onnx.numpy_helper.from_array
    nodes = [
        make.make_node("Conv", ["x", "w1", "b1"], ["a"], name="conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        make.make_node("Relu", ["a"], ["b"], name="relu1"),
        make.make_node("MaxPool", ["b"], ["c"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
        make.make_node("Conv", ["c", "w2", "b2"], ["d"], name="conv2", kernel_shape=[3, 3]),
        make.make_node("Relu", ["d"], ["e"], name="relu2"),
        make.make_node("Flatten", ["e"], ["f"], name="flatten"),
        make.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1),
    ]
    layers = {"1": net[0], "2": net[3], "3": net[6]}
    stored = [to_array(getattr(layer, kind).detach().numpy(), kind[0] + i)
              for i, layer in layers.items() for kind in ("weight", "bias")]  # fmt: skip
    value = make.make_tensor_value_info
    graph = make.make_graph(nodes, "small", [value("x", 1, size)], [value("y", 1, [size[0], 5])], stored)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8), path)


def test_an_onnx_file_computes_what_the_original_does(tmp_path: Path) -> None:
    net = small()
    write_onnx(tmp_path / "net.onnx", net, (1, 3, 20, 24))
    got = source("onnx:net.onnx", "auto", folder=tmp_path)
    assert (got.input.height, got.input.width) == (20, 24)
    x = torch.randn(1, 3, 20, 24)
    torch.testing.assert_close(got.module.eval()(x), net(x))
    (tmp_path / "model.yaml").write_text("source: onnx:net.onnx\n")
    network = load(str(tmp_path), "cpu")
    assert [layer.name for layer in network.layers if layer.is_map] == ["conv1", "relu1", "pool1", "conv2", "relu2"]
    torch.testing.assert_close(network.module(x), net(x).softmax(1))


def test_an_onnx_file_that_leaves_its_size_open(tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx", small(), ("batch", 3, "height", "width"))
    assert source("onnx:net.onnx", "auto", folder=tmp_path).input is None
    (tmp_path / "model.yaml").write_text("source: onnx:net.onnx\ninput: {height: 20, width: 24}\n")
    assert load(str(tmp_path), "cpu").layers[-1].units == 5


def test_mistakes_with_onnx(tmp_path: Path, monkeypatch) -> None:
    assert f"no ONNX file {tmp_path / 'gone.onnx'}" in message("onnx:gone.onnx", "auto", folder=tmp_path)
    (tmp_path / "bad.onnx").write_bytes(b"rubbish")
    assert "its weights are in the file" in message("onnx:bad.onnx", "none", folder=tmp_path)
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    assert "pip install 'deepvis[onnx]'" in message("onnx:bad.onnx", "auto", folder=tmp_path)
    monkeypatch.undo()
    pytest.importorskip("onnx2torch")
    assert "cannot be converted" in message("onnx:bad.onnx", "auto", folder=tmp_path)
