"""What keys take along: numbers, views, links, pictures in the clipboard; and views that are opened again."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import PHOTO, FakeEngine, FakeFeed, FakeWindow, idle, press
from smallnets import small

from deepvis.app import views
from deepvis.app.offscreen import picture
from deepvis.app.sources import sources
from deepvis.app.taking import link_of
from deepvis.app.toolbox import Toolbox
from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.frames import Photo
from deepvis.display import clipboard
from deepvis.display.window import Mouse
from deepvis.interface.saved_view import LINK, SavedView, read_view
from deepvis.interface.settings import Settings
from deepvis.interface.state import State

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "pictures"
    found.mkdir()
    for name in ("ant", "bear", "cat"):
        cv2.imwrite(str(found / f"{name}.png"), PICTURE)
    return found


def toolbox(tmp_path: Path, folder: Path, view: SavedView | None = None, start: State | None = None) -> Toolbox:
    log: list[str] = []
    settings = Settings(output=str(tmp_path / "out"), input=str(folder), model="small")
    box = Toolbox(settings, FakeEngine(log), FakeFeed(log), FakeWindow(log), start or State(), view)
    network = box.engine.network
    network.name, network.fingerprint, network.input = "small", "f", small().input
    return box


def seen(box: Toolbox, file: str, **other: object) -> None:
    """The feed shows this file."""
    box.feed.frame = replace(PHOTO, image=PICTURE, name=Path(file).name, source=file, **other)
    idle(box, 3)


def said(box: Toolbox) -> str:
    box.effects.saving.join()
    idle(box)
    return box.scene().status.message


def test_the_key_saves_numbers_table_and_view_beside_the_snapshots(tmp_path: Path, folder: Path) -> None:
    box = toolbox(tmp_path, folder)
    seen(box, str(folder / "bear.png"))
    press(box, "down", "right", "+")
    assert "saved" in said(box) and "deepvis live --view" in said(box)
    press(box, "+")
    assert "saved" in said(box)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 6 and [name.partition(".")[2] for name in names[:3]] != []
    (path, _) = sorted((tmp_path / "out").glob("*.view.yaml"))
    with np.load(str(path).replace(".view.yaml", ".npz"), allow_pickle=False) as arrays:
        assert arrays["activations"].shape == (6, 8, 8) and arrays["input"].shape == (32, 32, 3)
    view = read_view(str(path))
    assert (view.files, view.file, view.unit, view.model) == (str(folder), "bear.png", "stem:1", "small")
    assert Path(str(path).replace(".view.yaml", ".csv")).read_text().count("\n") == 7


def test_a_picture_that_cannot_be_read_again_is_saved_with_the_view(tmp_path: Path, folder: Path) -> None:
    box = toolbox(tmp_path, folder)
    seen(box, "", live=True)
    press(box, "+")
    assert "saved" in said(box)
    (path,) = (tmp_path / "out").glob("*.view.yaml")
    view = read_view(str(path))
    assert view.source == "files" and Path(view.files).parent == tmp_path / "out"
    assert np.array_equal(cv2.imread(view.files)[..., ::-1], PICTURE)
    assert views.overrides(view, None, None)["input"] == view.files


def test_before_there_are_numbers_it_says_so(tmp_path: Path, folder: Path) -> None:
    box = toolbox(tmp_path, folder)
    box.engine.network = None
    press(box, "+")
    assert "no numbers yet" in said(box)
    press(box, "&")
    assert "nothing to link to yet" in said(box)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, folder: Path) -> None:
    box = toolbox(tmp_path, folder)
    (tmp_path / "out").write_text("a file")
    seen(box, str(folder / "bear.png"))
    press(box, "+")
    assert "cannot be written" in said(box) and box.scene().status.is_error


def test_the_link_is_printed_and_opens_the_same_view(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    box = toolbox(tmp_path, folder)
    seen(box, str(folder / "cat.png"))
    press(box, "o", "down", "right", "s", "&")
    assert said(box).startswith(LINK)
    view = read_view(capsys.readouterr().out.strip())
    settings = Settings(**{"model": "other", **views.overrides(view, None, None)})
    assert settings.model == "small" and settings.input == str(folder)
    _, files, first = sources(settings)
    start = views.begun(view, State(source=first), files, None)
    assert start.step == 2 and start.content == "synthesized"
    again = toolbox(tmp_path, folder, view, start)
    idle(again)
    wanted = ("layer", "unit", "content", "zoom", "method", "source")
    assert all(getattr(again.state, name) == getattr(box.state, name) for name in wanted)
    assert again.feed.wishes[0].step == 2, "the feed is told before it has shown another file"


def test_an_unknown_layer_ends_the_program_in_words(tmp_path: Path, folder: Path) -> None:
    box = toolbox(tmp_path, folder, read_view(f"{LINK}unit=stam:1"))
    with pytest.raises(UserError, match="the link: unit: unknown layer 'stam'. Did you mean stem"):
        idle(box)


def test_the_command_line_wins_over_the_view(folder: Path) -> None:
    view = read_view(f"{LINK}model=small&weights=none&source=files&files={folder}&file=bear.png&unit=a:1")
    assert views.overrides(view, "other", None) == {"files": str(folder), "input": str(folder)}
    assert views.overrides(view, None, "1") == {"model": "small", "weights": "none"}
    assert views.begun(view, State(), folder, "1").step == 0
    assert views.begun(view, State(), folder, None).step == 1
    with pytest.raises(UserError, match=r"the link: file: 'bea.png': not one of the 3 files.*Did you mean bear.png"):
        views.begun(replace(view, file="bea.png"), State(), folder, None)
    camera = read_view(f"{LINK}source=camera&files=photos")
    assert views.overrides(camera, None, None) == {"files": "photos", "input": "camera"}


def test_a_photo_of_the_data_set_is_in_the_view(tmp_path: Path, folder: Path) -> None:
    box = toolbox(tmp_path, folder)
    photo = Photo(str(folder), "ant.png")
    box.state = replace(box.state, photo=photo)
    seen(box, str(folder / "ant.png"))
    view = read_view(link_of(box.scene(), box.settings))
    assert view.begun(State()).photo == photo and view.file == ""


def test_the_bundled_photos_are_named_by_a_word(tmp_path: Path) -> None:
    photo = sorted(path for path in paths.PHOTOS.rglob("*.jpg"))[0]
    box = toolbox(tmp_path, Path("photos"))
    seen(box, str(photo))
    view = read_view(link_of(box.scene(), box.settings))
    assert view.files == "photos" and view.file == photo.relative_to(paths.PHOTOS).as_posix()


def test_render_opens_a_view(folder: Path) -> None:
    network = small()
    settings = Settings(model="small", input=str(folder))
    view = read_view(
        f"{LINK}files={folder}&file=cat.png&unit=conv2:5&content=histograms&predictions=false&in_channels=true"
    )
    start = views.begun(view, State(), folder, None)
    wanted = State(step=2, layer=2, unit=5, content="histograms", predictions=False)
    assert network.layers[2].name == "conv2"
    shown = picture(settings, network, None, folder, start, view=view)
    assert np.array_equal(shown, picture(settings, network, None, folder, wanted, "conv2:5"))
    assert not np.array_equal(shown, picture(settings, network, None, folder, State()))


# ---- the clipboard -------------------------------------------------------------------------------


@pytest.fixture
def xclip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program xclip that keeps what it gets, alone on the PATH; it stays in the background as the real one does."""
    if sys.platform != "linux":
        pytest.skip("xclip is for X11")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "xclip"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/words\n/bin/cat > {tmp_path}/got.png\n/bin/sleep 30 &\n'
        f"echo $! > {tmp_path}/pid\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield tmp_path
    if (tmp_path / "pid").exists():
        os.kill(int((tmp_path / "pid").read_text()), 15)


def test_the_pane_under_the_mouse_is_copied_else_the_window(xclip: Path, folder: Path) -> None:
    box = toolbox(xclip, folder)
    seen(box, str(folder / "bear.png"))
    press(box, "@")
    assert said(box) == "copied the window to the clipboard"
    assert cv2.imread(str(xclip / "got.png")).shape == (260, 400, 3)
    assert "image/png" in (xclip / "words").read_text()
    left, top, width, height = box.renderer.layout.panes["unit"]
    box.window.events = [[Mouse("move", left + 5, top + 5)]]
    box.turn()
    os.kill(int((xclip / "pid").read_text()), 15)
    press(box, "@")
    assert said(box) == "copied the pane unit to the clipboard"
    shown = box.renderer.compose(box.scene())[0][top : top + height, left : left + width]
    assert np.array_equal(cv2.imread(str(xclip / "got.png")), shown)


def test_without_a_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clipboard, "programs", lambda: clipboard.programs_of("linux", {}))
    with pytest.raises(UserError, match="needs xclip or wl-copy, which is not installed"):
        clipboard.copy_picture(b"")


def test_a_program_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("a shell's script")
    program = tmp_path / "osascript"
    program.write_text('#!/bin/sh\ntest -s "$7" || exit 3\necho "no window server" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clipboard, "programs", lambda: clipboard.programs_of("darwin", {}))
    with pytest.raises(UserError, match="osascript says: no window server"):
        clipboard.copy_picture(b"a picture")


def test_each_system_has_its_programs() -> None:
    first = {name: clipboard.programs_of(name, {})[0].command[0] for name in ("linux", "darwin", "win32")}
    assert first == {"linux": "xclip", "darwin": "osascript", "win32": "powershell"}
    assert clipboard.programs_of("linux", {"WAYLAND_DISPLAY": "wayland-0"})[0].command[0] == "wl-copy"
