"""Code that came with a model runs only after the user trusted its folder, and then only what makes a network.

`tests/conftest.py` has every folder trusted; here it is not. What must not run leaves a file behind where it does.
"""

from __future__ import annotations

import importlib.util
import io
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deepvis.cli import main
from deepvis.core.errors import UserError
from deepvis.core.paths import ROOT
from deepvis.networks import loading, trust
from deepvis.networks.trust import Consent, model_file, remembered_in

NET = """
import pathlib
import torch
from torch import nn

pathlib.Path(__file__).with_name("ran").touch()

class Net(nn.Sequential):
    def __init__(self, width: int = 4) -> None:
        super().__init__(nn.Conv2d(3, width, 3), nn.ReLU())
"""
READ = Consent(typed=False)  # the name was read from a file
YAML = "source: python:mynet:Net\ninput: {height: 8, width: 8}\n"


@pytest.fixture(autouse=True)
def untrusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPVIS_TRUST")
    monkeypatch.setattr(trust, "_granted", set())
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    home = tmp_path / "home"
    for name in ("XDG_CONFIG_HOME", "HOME", "APPDATA"):
        monkeypatch.setenv(name, str(home))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, such as a download."""
    return write(tmp_path / "download", {"mynet.py": NET, "model.yaml": YAML})


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def refused(model: str | Path, consent: Consent = READ) -> str:
    """What `load` says of a model that it does not load."""
    with pytest.raises(UserError) as caught:
        loading.load(str(model), "cpu", consent=consent)
    return str(caught.value)


def deepvis(folder: Path, *argv: str, module: str = "") -> subprocess.CompletedProcess:
    """The program as a process of its own, in a folder, with nobody to ask: as the script that pip makes, or as a
    module."""
    script = (
        write(folder.parent / "bin", {"deepvis": "import sys\nfrom deepvis.cli.start import main\nsys.exit(main())\n"})
        / "deepvis"
    )
    return subprocess.run(
        [sys.executable, *(["-m", module] if module else [script]), *argv],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


# ---- a download that wants to run something --------------------------------------------------------

CALL = "source: python:os:system\nargs: {command: touch ran}\n"
DOWNLOADS = {
    "settings name its module": {"settings.yaml": "model: python:mynet:Net\n", "mynet.py": NET},
    "settings name its folder": {"settings.yaml": "model: .\n", "model.yaml": YAML, "mynet.py": NET},
    "settings call os.system": {"settings.yaml": "model: python:os:system\n"},
    "the yaml calls os.system": {"settings.yaml": "model: .\n", "model.yaml": CALL},
    "the yaml calls an installed package": {
        "settings.yaml": "model: .\n",
        "model.yaml": "source: python:torch.hub:load\nargs: {repo_or_dir: ., model: make, source: local}\n",
        "hubconf.py": f"{NET}\nmake = Net\n",
    },
    "a folder named like the default model": {
        "efficientnet-lite0/model.yaml": YAML,
        "efficientnet-lite0/mynet.py": NET,
    },
    "it imitates this program's own network": {
        "settings.yaml": "model: .\n",
        "model.yaml": "source: python:deepvis.networks.caffenet:CaffeNet\n",
        "deepvis/__init__.py": NET,
        "deepvis/networks/caffenet.py": NET,
    },
    "modules named like those that are imported": {name: NET for name in ("numpy.py", "torch.py", "yaml.py", "cv2.py")},
}


@pytest.mark.parametrize("files", DOWNLOADS.values(), ids=DOWNLOADS)
def test_no_command_in_a_download_runs_its_code(files: dict[str, str], tmp_path: Path) -> None:
    place = write(tmp_path / "download", files)
    is_shadow = "numpy.py" in files
    done = deepvis(place, "layers", "--weights", "none", module="deepvis.cli" * is_shadow)
    assert not list(place.rglob("ran")), done.stderr
    assert "Traceback" not in done.stderr
    if is_shadow:
        assert done.returncode == 0 and "conv" in done.stdout.lower()
    else:
        assert done.returncode == 2 and "--trust" in done.stderr and "source python:" in done.stderr


def test_doctor_says_it_and_goes_on(tmp_path: Path) -> None:
    place = write(tmp_path / "download", DOWNLOADS["settings name its module"])
    done = deepvis(place, "doctor", module="deepvis")
    assert done.returncode == 0 and not (place / "ran").exists()
    assert f"settings: {place / 'settings.yaml'}" in done.stderr  # which file it was that named the model
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("model: ")]
    assert line.startswith("model: PROBLEM: ") and "mynet.py" in line and "--trust" in line


@pytest.mark.parametrize(
    "argv",
    [
        ["live"],
        ["render", "--out", "x.png"],
        ["layers"],
        ["scan"],
        ["synthesize", "--layer", "all"],
        ["export", "--out", "x"],
        ["merge"],
        ["sweep", "--unit", "a:1", "--out", "x.png"],
        ["montage", "--out", "x.png"],
        ["search", "--judge", "timm:resnet18", "--out", "x"],
    ],
    ids=lambda argv: argv[0],
)
def test_every_command_passes_the_same_gate(
    argv: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder.parent)
    assert main.main([*argv, "--model", str(folder), *["--input", "photos"] * (argv[0] in ("live", "render"))]) == 2
    assert "--trust" in capsys.readouterr().err and not (folder / "ran").exists()


def test_the_judge_is_asked_about_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    argv = [
        "search",
        "--model",
        "timm:test_resnet",
        "--weights",
        "none",
        "--judge",
        str(folder),
        "--out",
        str(folder / "out"),
    ]
    assert main.main(argv) == 2
    assert "--trust" in capsys.readouterr().err and not (folder / "ran").exists()


# ---- how trust is given ----------------------------------------------------------------------------


def test_trust_is_remembered_until_the_code_changes(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert "--trust" in refused(folder) and not (folder / "ran").exists()
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    assert (folder / "ran").exists() and str(remembered_in()) in capsys.readouterr().err
    trust._granted.clear()  # as in a process of its own
    loading.load(str(folder), "cpu", consent=READ)
    assert capsys.readouterr().err == ""
    write(folder, {"weights.txt": "no code", "__pycache__/mynet.cpython-399.pyc": "never loaded"})
    loading.load(str(folder), "cpu", consent=READ)
    assert len(remembered_in().read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"mynet.py": NET + "# more"},
        {"model.yaml": YAML + "args: {width: 5}\n"},
        {"helper.py": ""},
        {"deep/er/package.py": ""},
        {"module.so": ""},
        {"no-module/x.py": ""},
        {".hidden/x.py": ""},
    ],
    ids=lambda files: next(iter(files)),
)
def test_a_changed_file_asks_again(files: dict[str, str], folder: Path) -> None:
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    trust._granted.clear()
    (folder / "ran").unlink()
    write(folder, files)
    assert "changed" in refused(folder) and not (folder / "ran").exists()
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    trust._granted.clear()
    loading.load(str(folder), "cpu", consent=READ)


def test_trust_is_taken_back_by_removing_the_line(folder: Path) -> None:
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    trust._granted.clear()
    remembered_in().write_text("a note\n")
    assert "--trust" in refused(folder)


def test_another_folder_with_the_same_code_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    assert "--trust" in refused(write(tmp_path / "other", {"mynet.py": NET, "model.yaml": YAML}))


@pytest.mark.parametrize("name", ["two\nlines", 'quote"d', "  spaces ", "ümlaut"])
def test_whatever_the_folder_is_called(name: str, tmp_path: Path) -> None:
    place = write(tmp_path / name, {"mynet.py": NET, "model.yaml": YAML})
    loading.load(str(place), "cpu", consent=Consent(trust=True))
    assert len(remembered_in().read_text(encoding="utf-8").splitlines()) == 1
    trust._granted.clear()
    loading.load(str(place), "cpu", consent=READ)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "answer, runs", [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("", False), ("yup\n", False)]
)
def test_the_question_in_the_terminal(
    answer: str, runs: bool, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if runs:
        trust.ask(str(folder), Consent())
    else:
        with pytest.raises(UserError, match="not trusted; its code was not run"):
            trust.ask(str(folder), Consent())
    said = capsys.readouterr().err
    assert "python:mynet:Net" in said and "mynet.py" in said and "[y/N]" in said and not (folder / "ran").exists()
    monkeypatch.setattr(sys, "stdin", Terminal())
    if runs:
        loading.load(str(folder), "cpu")
    else:
        assert "--trust" in refused(folder)


def test_no_question_in_the_thread_that_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert "--trust" in refused(folder) and capsys.readouterr().err == ""


def test_processes_that_share_a_terminal_do_not_ask(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--trust"):
        trust.ask(str(folder), Consent())


@pytest.mark.parametrize("value, runs", [("1", True), ("0", False), ("", False)])
def test_the_environment_variable(value: str, runs: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVIS_TRUST", value)
    if runs:
        loading.load(str(folder), "cpu", consent=READ)
    else:
        refused(folder)
    assert (folder / "ran").exists() == runs and not remembered_in().exists()


def test_a_configuration_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture) -> None:
    remembered_in().parent.parent.write_text(
        "a file where the folder should be"
    ) if not remembered_in().parent.parent.exists() else None
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    assert "cannot be saved" in capsys.readouterr().err
    loading.load(str(folder), "cpu", consent=READ)  # for now


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'x  "y"\n\n  \n[]', b"a  {\n" * 9])
def test_a_file_of_trust_that_was_damaged(content: bytes, folder: Path) -> None:
    remembered_in().parent.mkdir(parents=True)
    remembered_in().write_bytes(content)
    assert "--trust" in refused(folder)
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    trust._granted.clear()
    loading.load(str(folder), "cpu", consent=READ)


def test_a_circle_of_links_and_a_pipe(folder: Path) -> None:
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.py")
    assert "--trust" in refused(folder)


def test_too_much_to_be_one_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MOST_FILES", 0), ("MOST_BYTES", 10), ("MOST_ENTRIES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(trust, name, most)
            assert "folder of their own" in refused(folder, Consent(trust=True)) and not (folder / "ran").exists()


# ---- names that the user types ---------------------------------------------------------------------


def test_a_typed_module_of_the_current_folder_needs_no_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    trust.ask("python:mynet:Net", Consent())
    loading.load("python:mynet:Net", "cpu", weights="none")
    assert "--trust" in refused("python:mynet:Net")  # the same in a settings.yaml


def test_a_typed_package_runs_nothing_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write(tmp_path / "download", {"torchvision.py": NET, "timm/__init__.py": NET, "PIL.py": NET})
    monkeypatch.chdir(place)
    for name in ("torchvision.models.resnet:resnet18", "timm.models.resnet:resnet18"):
        assert "--trust" in refused(f"python:{name}", Consent())  # a file of that name may be a trap
    monkeypatch.chdir(tmp_path)
    loading.load("python:torchvision.models.resnet:resnet18", "cpu")
    assert not list(tmp_path.rglob("ran"))


def test_an_installed_package_that_a_yaml_names_needs_trust(folder: Path) -> None:
    write(folder, {"model.yaml": "source: python:torchvision.models.resnet:resnet18\nargs: {num_classes: 3}\n"})
    assert "python:torchvision.models.resnet:resnet18" in refused(folder, Consent())
    assert loading.load(str(folder), "cpu", consent=Consent(trust=True)).layers[-1].units == 3


@pytest.mark.parametrize(
    "source", ["torchvision:alexnet", "timm:resnet18", "python:deepvis.networks.caffenet:CaffeNet"]
)
def test_sources_without_code_of_a_model_need_no_trust(source: str, folder: Path) -> None:
    write(folder, {"model.yaml": f"source: {source}\n"})
    trust.ask(str(folder), READ)


def test_bundled_models_need_no_trust() -> None:
    for path in (ROOT / "models").glob("*/model.yaml"):
        assert model_file(path.parent.name) == path
        trust.ask(path.parent.name, READ)


# ---- what is called ----------------------------------------------------------------------------------


OTHERS = """
import os, subprocess, functools
from os import system
from subprocess import run, Popen
from builtins import eval, exec
from torch.utils.cpp_extension import load_inline
part = functools.partial(system)
parts = functools.partial(functools.partial(run), ["touch", "ran"])
cached = functools.lru_cache(run)
bound = "touch {}".format
class Plain:
    def __init__(self, *given, **named):
        open("ran", "w")
class Called:
    def __call__(self, *given, **named):
        open("ran", "w")
called = Called()
"""


@pytest.mark.parametrize(
    "name",
    [
        "others:system",
        "others:os.system",
        "others:run",
        "others:Popen",
        "others:eval",
        "others:exec",
        "others:part",
        "others:parts",
        "others:cached",
        "others:bound",
        "others:Plain",
        "others:called",
        "others:load_inline",
        "others:subprocess.run",
        "os:system",
        "subprocess:run",
        "builtins:eval",
        "builtins:exec",
        "importlib:import_module",
        "runpy:run_path",
        "pickle:loads",
        "torch:load",
        "torch.hub:load",
        "torch.utils.cpp_extension:load",
        "pip:main",
        "deepvis.cli.main:main",
        "numpy:load",
        "__main__:main",
        "antigravity:webbrowser.open",
        "posix:system",
        "deepvis.networks.loading:nn.Module.__init__.__globals__.get",
    ],
)
@pytest.mark.parametrize("typed", [True, False])
def test_what_makes_no_network_is_refused_before_it_is_called(
    name: str, typed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = "{command: touch ran, args: touch ran, source: touch, path_name: x, mod_name: x, name: x}"
    place = write(tmp_path / "m", {"others.py": OTHERS, "model.yaml": f"source: python:{name}\nargs: {args}\n"})
    monkeypatch.chdir(place)
    text = refused(f"python:{name}", Consent()) if typed else refused(place, Consent(trust=True))
    assert "expected a class or function" in text and "It was not called" in text and not list(tmp_path.rglob("ran"))


MAKERS = """
import functools
from torch import nn
from torch.nn import Sequential as Borrowed
from helpers.more import make as elsewhere

class Net(nn.Conv2d):
    @classmethod
    def small(cls):
        return cls()
    @staticmethod
    def plain():
        return Net()
    def __init__(self, width=4):
        super().__init__(3, width, 3)

def make(width=4):
    return Net(width)

same = lambda: Net()
part = functools.partial(Net, width=5)
more = functools.partial(make, width=5)
cached = functools.lru_cache(make)
ready = Net()

def decorated(function):
    @functools.wraps(function)
    def around(*given):
        return function(*given)
    return around

wrapped = decorated(make)
"""


@pytest.mark.parametrize(
    "name",
    [
        "Net",
        "Net.small",
        "Net.plain",
        "make",
        "same",
        "part",
        "more",
        "cached",
        "ready",
        "wrapped",
        "Borrowed",
        "elsewhere",
    ],
)
def test_every_usual_way_to_make_a_network(name: str, tmp_path: Path) -> None:
    from deepvis.networks.user_code import build

    write(
        tmp_path,
        {
            "makers.py": MAKERS,
            "helpers/__init__.py": "",
            "helpers/more.py": "from torch import nn\ndef make():\n    return nn.ReLU()\n",
        },
    )
    assert isinstance(build(f"makers:{name}", {}, tmp_path), torch.nn.Module)


def test_two_folders_with_modules_of_the_same_names(tmp_path: Path) -> None:
    for width in (3, 5):
        place = write(
            tmp_path / str(width),
            {
                "mynet.py": "from helpers import Net",
                "helpers.py": NET.replace("int = 4", f"int = {width}"),
                "model.yaml": YAML,
            },
        )
        assert loading.load(str(place), "cpu", consent=Consent(trust=True)).layers[0].units == width


def test_a_cached_pyc_of_other_code_is_not_run(folder: Path) -> None:
    trap = folder.parent / "trap.py"
    trap.write_text(NET.replace('with_name("ran")', 'with_name("trapped")'))
    cached = Path(importlib.util.cache_from_source(str(folder / "mynet.py")))
    cached.parent.mkdir()
    py_compile.compile(str(trap), str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    py_compile.compile(str(trap), str(folder / "sourceless.pyc"))
    sys.modules.pop("mynet", None)
    loading.load(str(folder), "cpu", consent=Consent(trust=True))
    assert (folder / "ran").exists() and not (folder / "trapped").exists()
    write(folder, {"model.yaml": YAML.replace("mynet", "sourceless")})
    assert "no module 'sourceless'" in refused(folder, Consent(trust=True))


# ---- ONNX files and libraries' own ways to load ------------------------------------------------------


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2torch")
    from onnx import TensorProto, helper

    def make(name: str, location: str = "") -> Path:
        weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
        if location:
            onnx.external_data_helper.set_external_data(weight, location)
            weight.ClearField("raw_data")
        of = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, shape)
            for n, shape in (("x", [1, 3, 8, 8]), ("y", [1, 4, 6, 6]))
        ]
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], name=name)], "g", of[:1], of[1:], [weight]
        )
        path = tmp_path / "onnx" / "net.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
        )
        return path

    return make


@pytest.mark.parametrize(
    "name",
    [
        'a", open("ran", "w"), "',
        "a\", exec(bytes([112,97,115,115])) or open('ran','w'), \"",
        "x\n    open('ran', 'w')",
        "class",
    ],
)
def test_names_in_an_onnx_file_are_no_code(
    name: str, onnx_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter writes them into a forward that it has compiled."""
    monkeypatch.chdir(tmp_path)
    assert len(loading.load(f"onnx:{onnx_file(name)}", "cpu").layers) == 1
    assert not list(tmp_path.rglob("ran")) and not list(tmp_path.rglob("*write*"))


def test_an_onnx_file_reads_its_own_folder_only(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    values = np.full((4, 3, 3, 3), 2, np.float32).tobytes()
    (tmp_path / "secret").write_bytes(values)
    inside = onnx_file("conv", "data.bin").with_name("data.bin")
    inside.write_bytes(values)
    assert float(next(loading.load(f"onnx:{onnx_file('conv', 'data.bin')}", "cpu").module.parameters()).max()) == 2
    inside.unlink()
    inside.symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "data.bin"):
        assert "outside its folder" in refused(f"onnx:{onnx_file('conv', location)}")
    assert "no such file beside it" in refused(f"onnx:{onnx_file('conv', 'gone.bin')}")


@pytest.mark.parametrize(
    "key", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained", "cache_dir"]
)
def test_args_do_not_reach_the_librarys_own_loading_of_weights(key: str, folder: Path) -> None:
    write(folder, {"model.yaml": f"source: timm:resnet18\nweights: none\nargs: {{{key}: evil.pth}}\n"})
    assert f"args: {key}" in refused(folder)


def test_the_question_says_what_the_code_is_called_with(folder: Path) -> None:
    file = folder / "model.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "args: {width: 7}\n", encoding="utf-8")
    assert "with args {'width': 7}" in refused(folder, Consent())
