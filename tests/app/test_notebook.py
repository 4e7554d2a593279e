"""deepvis.live from Python, with a window that only loads the network. The real one is in tests/gui."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deepvis
from deepvis.app import notebook
from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec, Network


class Net(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict]:
    """What each window was opened with, its network loaded in a thread as the engine does."""
    calls: list[dict] = []

    def window(settings, engine, feed, start, probe) -> bool:
        calls.append({"settings": settings, "feed": feed, "start": start})
        engine.start()
        while engine.network is None and not engine.error:
            engine._threads[0].join(0.01)
        engine.close()
        if engine.error:
            raise UserError(engine.error)
        calls[-1]["network"] = engine.network
        return True

    monkeypatch.setattr(notebook, "open_window", window)
    monkeypatch.setattr(notebook, "DisplayProbe", lambda: type("Probe", (), {"check": staticmethod(lambda: None)}))
    monkeypatch.chdir(tmp_path)
    return calls


def shown(opened: list[dict], model: object, **options: object) -> Network:
    deepvis.live(model, **{"size": (20, 24), "device": "cpu", **options})
    return opened[-1]["network"]


def test_importing_deepvis_imports_next_to_nothing() -> None:
    code = "import sys, deepvis; print(*({'torch', 'numpy', 'cv2', 'yaml'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(deepvis.__file__).parents[1], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    assert not hasattr(deepvis, "life")


def test_the_arguments_reach_the_network(opened: list[dict]) -> None:
    labels = ("a", "b", "c", "d", "e")
    network = shown(opened, Net(), labels=labels, mean=[1, 2, 3], std=torch.ones(3) * 2, range=255, order="bgr",
                    layers={"first": "conv", "last": "fc"}, name="mine", precision="float32")  # fmt: skip
    assert network.input == InputSpec(20, 24, (1, 2, 3), (2, 2, 2), 255, "bgr")
    assert network.name == opened[-1]["settings"].model == "mine" and network.classes == labels
    assert [layer.name for layer in network.layers] == ["first", "last"]
    assert type(network.module).__name__ == "Chosen"  # scores get a softmax


def test_defaults(opened: list[dict]) -> None:
    network = shown(opened, Net())
    assert network.name == "Net" and network.classes == ()
    assert [layer.name for layer in network.layers] == ["conv", "norm", "fc", "softmax"]
    assert network.input.mean == InputSpec().mean
    assert (opened[-1]["settings"].input, opened[-1]["start"].source) == ("photos", "files")
    bare = shown(opened, Net(), softmax=False, layers=["fc", "conv"])
    assert [layer.name for layer in bare.layers] == ["fc", "conv"]


def test_gray_pictures_and_labels_of_layers(opened: list[dict]) -> None:
    network = shown(opened, Net(1), mean=0.5, std=0.25, labels={"conv": list("wxyz")})
    assert network.input.mean == (0.5,)
    assert network.layers[0].labels == tuple("wxyz")


def test_the_module_stays_as_it_is(opened: list[dict]) -> None:
    net = Net().half().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pointers = [p.data_ptr() for p in net.parameters()]
    shown(opened, net)
    assert net.training and all(p.requires_grad and p.dtype == torch.float16 for p in net.parameters())
    assert [p.data_ptr() for p in net.parameters()] == pointers
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(child._forward_hooks for child in net.modules())


def test_torch_has_its_threads_and_its_fast_attention_back(opened: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.backends.mha.set_fastpath_enabled(True)
    monkeypatch.setattr("deepvis.workers.engine.cpu_plan", lambda: (1, before + 1))
    shown(opened, Net())
    assert torch.get_num_threads() == before and torch.backends.mha.get_fastpath_enabled()


def test_a_source_in_place_of_a_module(opened: list[dict]) -> None:
    network = shown(
        opened, "torchvision:squeezenet1_1", settings={"weights": "none", "crop": False}, size=(64, 64), mean=(0, 0, 0)
    )
    assert network.name == "torchvision:squeezenet1_1" and network.input == InputSpec(64, 64, (0, 0, 0))
    assert opened[-1]["start"].crop is False


def test_settings_file_and_arguments(opened: list[dict], tmp_path: Path) -> None:
    Path("settings.yaml").write_text("precision: bfloat16\nwindow:\n  width: 700\n")
    assert shown(opened, Net()).dtype == torch.bfloat16
    assert opened[-1]["settings"].window.width == 700
    Path("other.yaml").write_text("crop: false\n")
    assert shown(opened, Net(), settings="other.yaml").dtype == torch.float32
    assert opened[-1]["start"].crop is False


@pytest.mark.parametrize("given, other, used", [
    ({"input": "camera"}, None, "camera"), ({"input": "camera"}, "photos", "photos"), ({}, None, "photos"),
    ({"camera": 1}, None, "photos"), (None, None, "photos"), (None, "camera", "camera"),
])  # fmt: skip
def test_the_input_that_the_settings_say(given: dict | None, other: str | None, used: str, opened: list[dict]) -> None:
    """As values and as a file; the argument wins."""
    Path("other.yaml").write_text("".join(f"{key}: {value}\n" for key, value in (given or {}).items()))
    for settings in (given, *(["other.yaml"] if given is not None else [])):
        shown(opened, Net(), settings=settings, input=other)
        assert opened[-1]["settings"].input == used


def test_other_settings_are_not_overridden_by_arguments_that_are_not_given(opened: list[dict]) -> None:
    deepvis.live(
        Net(), size=(20, 24), settings={"device": "cpu", "precision": "bfloat16", "window.width": np.int64(777)}
    )
    assert opened[-1]["network"].dtype == torch.bfloat16 and opened[-1]["settings"].window.width == 777


THREE = (0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    "mean",
    [
        THREE,
        list(THREE),
        np.array(THREE),
        np.array(THREE, np.float16),
        torch.tensor(THREE),
        torch.tensor(THREE).view(1, 3, 1, 1),
        tuple(np.float32(v) for v in THREE),
        [torch.tensor(v, requires_grad=True) for v in THREE],
        torch.nn.Parameter(torch.tensor(THREE)),
    ],
)
def test_numbers_of_any_library(mean: object, opened: list[dict]) -> None:
    network = shown(
        opened,
        Net(),
        mean=mean,
        std=mean,
        size=(np.int64(20), np.uint8(24)),
        range=np.float32(2),
        bands=np.array([2, 1, 0]),
        softmax=np.bool_(False),
        labels=np.array(list("abcde")),
        precision=torch.float32,
        input=np.str_("photos"),
    )
    assert network.input == InputSpec(20, 24, THREE, THREE, 2.0, bands=(2, 1, 0)) and network.classes == tuple("abcde")
    assert (
        all(type(value) is float for value in (*network.input.mean, network.input.range))
        and type(network.input.width) is int
    )


@pytest.mark.parametrize(
    "mean", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), 0.5, np.float64(0.5), [0.5], torch.tensor([[0.5]])]
)
def test_one_number_of_any_library(mean: object, opened: list[dict]) -> None:
    assert shown(opened, Net(1), mean=mean, std=1).input.mean == (0.5,)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": "0.5"},
        {"mean": ["a"]},
        {"mean": {"r": 1}},
        {"mean": []},
        {"std": np.array(["x"])},
        {"std": float("nan")},
        {"mean": True},
        {"std": object()},
        {"mean": 1j},
        {"size": (20.5, 24)},
        {"size": "2024"},
        {"size": torch.ones(2)},
        {"bands": ["red"]},
        {"bands": 1.5},
        {"layers": "conv"},
        {"layers": 3},
        {"labels": 5},
        {"range": "255"},
        {"range": [1]},
        {"softmax": "yes"},
        {"order": 3},
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(options: dict, opened: list[dict]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        shown(opened, Net(), **options)


@pytest.mark.parametrize(
    "model, options, words",
    [
        ({}, {}, "model is a dict; expected a torch.nn.Module.*load_state_dict"),
        (None, {}, "model is a NoneType; expected a torch.nn.Module"),
        (Net, {}, r"the class Net; expected .*make one of it: Net\(\)"),
        ("alexnet", {}, "unknown model 'alexnet'.*torchvision:alexnet"),
        (Net(), {"labels": ["a"]}, "1 labels for an output of 5 entries"),
        (Net(), {"labels": list("abcdef")}, "6 labels for an output of 5 entries"),
        (Net(), {"labels": "none.txt"}, "Net: labels 'none.txt'"),
        (Net(), {"size": 224}, r"size is 224; expected \(height, width\)"),
        (Net(), {"layers": ["cone"]}, "'cone' does not exist"),
        (Net(), {"mean": 0.5, "std": 0.5}, "cannot take an input of shape"),
        (Net(), {"order": "gbr"}, "input.order is rgb or bgr"),
        (Net(), {"device": "xpu"}, "device is 'xpu'"),
        (Net(), {"input": "no/such/folder"}, "no/such/folder"),
        (Net(), {"settings": {"crob": True}}, "unknown key crob.*did you mean crop"),
    ],
)
def test_mistakes_are_said_in_words(model: object, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=f"(?s){words}"):
        deepvis.live(model, **{"size": (20, 24), "device": "cpu", **options})


def test_a_module_that_cannot_be_copied() -> None:
    net = Net()
    net.lock = threading.Lock()
    with pytest.raises(UserError, match="cannot be copied.*deepcopy"):
        deepvis.live(net, device="cpu")


def test_windows_are_for_the_main_thread() -> None:
    said = []

    def call() -> None:
        try:
            deepvis.live(Net())
        except UserError as error:
            said.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread only" in said[0]


def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, in a program of its own."""
    code = "import deepvis, torch; deepvis.live(torch.nn.Conv2d(3, 4, 3))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(Path(deepvis.__file__).parents[1])},
                          capture_output=True, text=True)  # fmt: skip
    if sys.platform.startswith("linux"):
        assert "UserError: no display" in done.stderr
