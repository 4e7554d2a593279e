"""Views that are taken along: which files a view names, and what it opens with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deepvis.app.sources import browsed
from deepvis.core import paths
from deepvis.core.frames import Frame
from deepvis.core.layers import Layer
from deepvis.core.nearest import did_you_mean
from deepvis.core.reading import is_text, shown
from deepvis.inputs.playlist import Playlist
from deepvis.interface.saved_view import PHOTOS, SavedView, view_of_state
from deepvis.interface.settings import Settings
from deepvis.interface.state import State

# ---- taking a view along ------------------------------------------------------------------------


def view_of(
    state: State, layers: Sequence[Layer], settings: Settings, frame: Frame | None, picture: str = ""
) -> SavedView:
    """The view that the window shows.

    Args:
        frame: the picture that is shown.
        picture: the name of a file that holds it, if it `must_be_kept`.
    """
    network = {"model": _whole(settings.model), "weights": _whole(settings.weights)}
    if picture:
        return view_of_state(state, layers, **network, source="files", files=picture)
    files = browsed(settings)
    folder = _path(files)
    of_input = {"source": state.source, "files": files if files == PHOTOS else str(folder)}
    if state.photo is not None and state.photo.pixels is None:
        of_input |= {"photo_root": state.photo.root, "photo": state.photo.name}
    elif frame is not None and frame.source and state.source == "files" and not folder.is_file():
        of_input["file"] = _within(frame.source, folder)
    of_input = {key: value for key, value in of_input.items() if is_text(value)}
    return view_of_state(state, layers, **network, **of_input)


def must_be_kept(frame: Frame, state: State) -> bool:
    """Whether the picture that is shown cannot be read again: it is a camera's, a video's or a moment."""
    is_moment = state.photo is not None and state.photo.pixels is not None
    return frame.live or is_moment or not frame.source or not is_text(frame.source)


def _whole(name: str) -> str:
    """The name of a model or of weights; absolute if it is a path."""
    return os.path.abspath(name) if os.path.exists(name) and any(sign in name for sign in "./\\") else name


def _path(files: str) -> Path:
    return paths.PHOTOS if files == PHOTOS else Path(os.path.expanduser(files)).absolute()


def _within(file: str, folder: Path) -> str:
    """A file's path, relative to the folder if it is inside."""
    path = Path(file).absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


# ---- opening it again ---------------------------------------------------------------------------


def overrides(view: SavedView, model: str | None, input: str | None) -> dict[str, str]:
    """The settings that the view takes the place of.

    Args:
        model, input: given on the command line; then what the view says of it does not count.
    """
    found = {} if model else {"model": view.model, "weights": view.weights}
    if not input and view.source:
        found["files"] = view.files
        found["input"] = "camera" if view.source == "camera" else view.files or PHOTOS
    return {key: value for key, value in found.items() if value}


def begun(view: SavedView, state: State, files: Path, input: str | None) -> State:
    """The state to open the view with, as far as it can be known before the network is there.

    Args:
        state: what it would begin with otherwise.
        files: what is browsed.
        input: given on the command line.
    Raises:
        UserError: the view's picture is not among the files.
    """
    state = view.begun(state)
    if input:
        return replace(state, photo=None)
    return replace(state, step=_step(view, files)) if view.file else state


def _step(view: SavedView, files: Path) -> int:
    """The position of the view's picture among the files."""
    playlist = Playlist(files)
    base = files if files.is_dir() else files.parent
    entries = [os.path.abspath(playlist.entry(position)) for position in range(len(playlist))]
    wanted = os.path.abspath(base / view.file)
    if wanted in entries:
        return entries.index(wanted)
    near = did_you_mean(Path(wanted).name, [Path(entry).name for entry in entries])
    raise view.wrong(
        f"file: {shown(view.file)}: not one of the {len(entries)} files of {files}.{near} Put it there, or name "
        "another picture with --input"
    )
