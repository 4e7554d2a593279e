"""The command line: what it draws, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest
import torch

from deepvis import __version__
from deepvis.app import offscreen
from deepvis.app.sources import sources
from deepvis.attribution.methods import METHODS
from deepvis.attribution.requests import Request
from deepvis.cli import live, main
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.paths import ROOT
from deepvis.interface.command import Facts
from deepvis.interface.commands import bindings, press
from deepvis.interface.settings import Settings
from deepvis.interface.state import State
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.render import Scene
from deepvis.workers.synthesizer import GrowthWorker

PHOTO = paths.PHOTOS / "animal-bear-brown.jpg"
SMALL = ("--size", "500x310", "--unit", "stem:0")


@lru_cache(maxsize=1)
def network() -> Network:
    return loading.load("efficientnet-lite0", "cpu")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The default network, loaded once for all tests."""
    found = network()
    monkeypatch.setattr(loading, "load", lambda *_, **__: found)
    return found


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings.yaml of the current folder, only the shipped one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The questions that `render` asks of the network."""
    requests: list[Request] = []
    real = offscreen.finished

    def finished(network, request):
        requests.append(request)
        return real(network, request)

    monkeypatch.setattr(offscreen, "finished", finished)
    return requests


def render(out: Path | str, *options: str) -> np.ndarray:
    assert main.main(["render", "--input", str(PHOTO), *SMALL, *options, "--out", str(out)]) == 0
    image = cv2.imread(str(out))
    assert image.shape == (310, 500, 3)
    return image


def failure(capsys: pytest.CaptureFixture, *argv: str) -> str:
    """The one line that a command writes to stderr when it ends with status 2."""
    assert main.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("deepvis: ") and said.err.count("\n") == 1 and "Traceback" not in said.err
    return said.err


# ---- render --------------------------------------------------------------------------------------


def test_render_shows_the_units_stored_images_and_top_images(loaded: Network) -> None:
    picture = render("unit.png", "--unit", "4a:15")
    right = picture[: round(0.95 * len(picture)), round(0.8 * picture.shape[1]) :]
    for i in range(3):  # synthesized, top images, their deconv
        block = right[len(right) * i // 3 + 22 : len(right) * (i + 1) // 3 - 2]
        assert block[:, len(block[0]) // 4 : -len(block[0]) // 4].mean() > 45, i  # no words on dark ground


def test_the_same_picture_twice(loaded: Network) -> None:
    one, two = render("a/one.png"), render("a/two.png")
    assert Path("a/one.png").read_bytes() == Path("a/two.png").read_bytes()
    assert one.std() > 20 and np.array_equal(one, two)


@pytest.mark.parametrize("back", ["gradient", "deconv", "guided"])
def test_each_backward_method(loaded: Network, asked: list[Request], back: str) -> None:
    picture = render(f"{back}.png", "--unit", f"{names()[-1]}:294", "--back", back)
    assert asked[0].method == back and asked[0].origin == (asked[0].layer, 294)
    plain = render("plain.png", "--unit", f"{asked[0].layer}:294")
    assert (picture != plain).any(axis=2).mean() > 0.02


def names() -> list[str]:
    return [layer.name for layer in network().layers]


def test_keys_do_what_the_commands_do(loaded: Network, asked: list[Request]) -> None:
    with_keys = render("keys.png", "--keys", "up right right down right b")
    assert (asked[0].layer, asked[0].method, asked[0].origin) == (names()[2], "gradient", (names()[2], 1))
    with_options = render("options.png", "--unit", f"{names()[2]}:1", "--back", "gradient")
    assert np.array_equal(with_keys, with_options)
    assert not np.array_equal(with_keys, render("fewer.png", "--keys", "up right right down b"))


def test_without_a_unit_it_opens_as_the_window_does(loaded: Network, asked: list[Request]) -> None:
    render("opened.png", "--unit", "auto")
    first, last = asked
    assert (first.layer, first.method) == ("4c", None)
    assert (last.layer, last.method) == ("4c", "lrp") and last.origin is not None and last.origin[1] > 0
    render("other.png", "--unit", "auto", "--back", "gradient")
    assert asked[-1].method == "gradient" and asked[-1].origin == last.origin


def test_it_opens_with_the_usual_method_where_there_is_no_relevance(
    loaded: Network, asked: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "lrp", replace(METHODS["lrp"], compute=refuse))
    render("opened.png", "--unit", "auto")
    assert asked[-1].method == "guided" and asked[-1].origin is not None


def refuse(network: Network, question: object) -> NoReturn:
    raise ValueError("there is no rule for this network")


def test_keys_may_type_an_id(loaded: Network, asked: list[Request]) -> None:
    render("typed.png", "--keys", " ".join(["g", *f"{names()[1]}:5", "enter"]))
    expected = State()
    facts = Facts(network().layers)
    for key in ["g", *f"{names()[1]}:5", "enter"]:
        expected = press(expected, key, facts, bindings()).state
    assert asked[0].layer == names()[1] and (expected.layer, expected.unit) == (1, 5)


def test_keys_may_step_through_the_files(loaded: Network, asked: list[Request]) -> None:
    for keys in ("", "e", "e w", "w w"):
        assert main.main(["render", "--input", "photos", *SMALL, "--keys", keys, "--out", "x.png"]) == 0
    shown = [request.frame.name for request in asked]
    assert shown[0] == shown[2] and len(set(shown)) == 3


def test_without_an_input_it_shows_a_bundled_photo(loaded: Network, asked: list[Request]) -> None:
    assert main.main(["render", *SMALL, "--out", "x.png"]) == 0
    assert (paths.PHOTOS / asked[0].frame.name).exists()


@pytest.mark.parametrize(
    ("suffix", "first"), [(".png", b"\x89PNG"), (".jpg", b"\xff\xd8\xff"), (".webp", b"RIFF"), (".JPG", b"\xff\xd8")]
)
def test_the_suffix_decides_the_format(loaded: Network, suffix: str, first: bytes) -> None:
    render("folder/that/is/new" + suffix)
    assert Path("folder/that/is/new" + suffix).read_bytes().startswith(first)


def test_settings_of_the_file_count_for_render_too(loaded: Network) -> None:
    Path("my.yaml").write_text("window: {width: 640, height: 400}\nkeys: {backward: x}\npanes: {unit_images: off}\n")
    argv = ["render", "--settings", "my.yaml", "--input", str(PHOTO), "--keys", "x", "--out", "x.png"]
    assert main.main(argv) == 0
    assert cv2.imread("x.png").shape == (400, 640, 3)


@pytest.mark.parametrize(("keys", "attribute"), [("s", "pictures"), ("s s", "cells"), ("s s s", "statistics")])
def test_render_waits_for_what_is_stored_of_the_units(
    loaded: Network, monkeypatch: pytest.MonkeyPatch, keys: str, attribute: str
) -> None:
    scenes = drawn(monkeypatch)
    assert main.main(["render", "--input", str(PHOTO), "--keys", keys, "--out", "x.png"]) == 0
    (scene,) = scenes
    assert getattr(scene, attribute) is not None and scene.own_pictures is not None and scene.own_tops is not None


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Scene]:
    """The scenes that are drawn from now on."""
    scenes: list[Scene] = []
    compose = offscreen.Renderer.compose
    monkeypatch.setattr(
        offscreen.Renderer, "compose", lambda renderer, scene: (scenes.append(scene), compose(renderer, scene))[1]
    )
    return scenes


def test_render_waits_for_images_that_grow(loaded: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offscreen, "ENOUGH", 2)
    scenes = drawn(monkeypatch)
    render("x.png", "--keys", "x")
    grown = scenes[0].own_grown
    assert grown is not None and grown.images and grown.steps >= 2


def test_render_says_what_it_did_not_wait_for(
    loaded: Network, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    scenes, gate = drawn(monkeypatch), threading.Event()
    monkeypatch.setattr(GrowthWorker, "_copy_of", lambda *_: gate.wait(20))
    monkeypatch.setattr(offscreen, "PATIENCE", 0.5)
    render("x.png", "--keys", "x")
    gate.set()
    assert "note: the growing images took more than 0.5 s" in capsys.readouterr().err
    assert not scenes[0].own_grown.images


# ---- what cannot be done -------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "expected"), [
    (("--unit", "nowhere:3"), ("--unit", "nowhere", "This network has")),
    (("--unit", "stem:9999"), ("--unit", "stem", "9999", "0 to")),
    (("--keys", "right nokey"), ("--keys", "nokey", "right")),
    (("--size", "12x12"), ("--size", "12x12", "1500x930")),
    (("--size", "large"), ("--size", "large", "1500x930")),
    (("--input", "not-there"), ("not-there", "does not exist")),
    (("--input", "empty"), ("empty", "no picture or video")),
    (("--input", "notes.doc"), ("notes.doc",)),
    (("--input", "list.txt"), ("list.txt", "no path of an existing file")),
    (("--input", "broken.jpg"), ("broken.jpg",)),
    (("--out", "picture.bmp"), ("picture.bmp", ".png, .jpg or .webp")),
    (("--out", "picture"), ("picture", ".png, .jpg or .webp")),
    (("--out", "notes.doc/picture.png"), ("notes.doc", "cannot be written")),
    (("--settings", "none.yaml"), ("none.yaml",)),
    (("--settings", "bad.yaml"), ("bad.yaml", "line 2", "heigth", "did you mean height")),
    (("--device", "gpu"), ("--device", "gpu", "cuda")),
    (("--precision", "float8"), ("--precision", "float8", "bfloat16")),
], ids=lambda value: " ".join(value))  # fmt: skip
def test_what_the_user_can_put_right_is_one_clear_line(
    loaded: Network, capsys: pytest.CaptureFixture, options: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    Path("empty").mkdir()
    Path("notes.doc").write_text("no picture")
    Path("list.txt").write_text("gone.jpg\n")
    Path("broken.jpg").write_text("no picture either")
    Path("bad.yaml").write_text("window:\n  heigth: 300\n")
    said = failure(capsys, "render", "--input", str(PHOTO), *SMALL, "--out", "x.png", *options)
    assert all(words in said for words in expected), said
    assert not Path("x.png").exists()


@pytest.mark.parametrize(("options", "expected"), [
    (("--model", "efficientnet-lite9"), ("efficientnet-lite9", "Did you mean efficientnet-lite0")),
    (("--model", "torchvision:alexnett"), ("alexnett", "alexnet")),
    (("--model", "nowhere:alexnet"), ("nowhere",)),
    (("--model", "torchvision:alexnet", "--weights", "V9"), ("V9", "IMAGENET1K_V1", "none")),
    (("--model", "torchvision:alexnet", "--weights", "gone.pth"), ("gone.pth", "no weight file")),
    (("--model", "caffenet"), ("bvlc_reference_caffenet.caffemodel", "put it there", "--weights none")),
    pytest.param(("--device", "cuda"), ("cuda", "--device cpu"),
                 marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")),
], ids=lambda value: " ".join(value))  # fmt: skip
def test_a_network_that_cannot_be_had(capsys: pytest.CaptureFixture, options, expected) -> None:
    said = failure(capsys, "render", "--input", str(PHOTO), *options, "--out", "x.png")
    assert all(words in said for words in expected), said


@pytest.mark.parametrize("argv", [["render"], ["nonsense"], ["live", "--units", "a:1"]])
def test_wrong_options_end_with_status_2_and_the_reason_last(capsys: pytest.CaptureFixture, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(argv)
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_backward_method(capsys: pytest.CaptureFixture) -> None:
    said = failure(capsys, "render", "--input", str(PHOTO), "--back", "grad-kam", "--out", "x.png")
    assert "--back 'grad-kam': unknown backward method (did you mean grad-cam?)" in said


def test_a_composite_of_the_settings_is_a_backward_method(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("composites:\n  sharp: {first: gamma 0.2, convolution: gamma 0.2}\n")
    done = subprocess.run(
        [sys.executable, "-m", "deepvis", "render", "--settings", str(tmp_path / "mine.yaml"), "--input", str(PHOTO),
         "--unit", "head:5", "--back", "sharp", "--out", str(tmp_path / "x.png")], capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0 and (tmp_path / "x.png").is_file(), done.stderr


# ---- the other commands --------------------------------------------------------------------------------------


def test_version_and_help(capsys: pytest.CaptureFixture) -> None:
    for argv, words in (
        (["--version"], [f"deepvis {__version__}"]),
        (["--help"], ["live", "render", "keys"]),
        (["render", "--help"], ["--input", "--unit", "--back", "--keys", "--out", "--size"]),
        (["live", "--help"], ["--model", "--weights", "--input", "--device", "--settings"]),
    ):
        with pytest.raises(SystemExit) as end:
            main.main(argv)
        assert not end.value.code
        said = capsys.readouterr()
        assert all(word in said.out for word in words) and said.err == ""


@pytest.mark.parametrize("argv", [[], ["--model", "m"], ["live", "--model", "m"]])
def test_live_is_the_default(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    seen = []
    monkeypatch.setattr(live, "_live", seen.append)
    assert main.main(argv) == 0
    assert seen[0].model == ("m" if argv else None)


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_args) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "_live", interrupted)
    assert main.main(["live"]) == 130


def test_sources(tmp_path: Path) -> None:
    def of(**settings: object):
        return sources(Settings(**settings))

    assert of() == (0, paths.PHOTOS, "camera")
    assert of(camera=2) == (2, paths.PHOTOS, "camera")
    assert of(input="3") == (3, paths.PHOTOS, "camera")
    assert of(input="rtsp://door/1") == ("rtsp://door/1", paths.PHOTOS, "camera")
    assert of(input="photos") == (0, paths.PHOTOS, "files")
    assert of(input=str(PHOTO)) == (0, PHOTO, "files")
    assert of(files=str(PHOTO)) == (0, PHOTO, "camera")
    Path("7").mkdir()
    Path("7", "a.jpg").write_bytes(PHOTO.read_bytes())
    assert of(input="7") == (0, Path("7"), "files")  # a folder of that name is there
    with pytest.raises(UserError, match="does not exist"):
        of(input="~/not/there")


# ---- no screen, in processes of their own: OpenCV would end this one ------------------------------------------


def deepvis(*argv: str, **environment: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | environment
    command = [sys.executable, "-m", "deepvis.cli", *argv]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")
@pytest.mark.parametrize("command", ["live", "keys"])
@pytest.mark.parametrize("display", [{}, {"DISPLAY": ""}, {"DISPLAY": ":987"}], ids=str)
def test_without_a_display_one_line_names_the_way_without(command: str, display: dict[str, str]) -> None:
    if command == "keys" and display == {"DISPLAY": ""}:
        pytest.skip("as for live")
    done = deepvis(command, **display)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("deepvis: ")
    assert "deepvis render" in done.stderr and "DISPLAY" in done.stderr
    assert ":987" in done.stderr or not display.get("DISPLAY")


def test_as_a_program() -> None:
    done = deepvis("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"deepvis {__version__}\n", "")
