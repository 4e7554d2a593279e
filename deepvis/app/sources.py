"""Which camera and files the settings name, and the state that the program begins with."""

from __future__ import annotations

import os
from pathlib import Path

from deepvis.core import paths
from deepvis.interface.settings import Settings
from deepvis.interface.state import Source, State


def sources(settings: Settings) -> tuple[int | str | None, Path, Source]:
    """What the feed shall read: (camera, files, "camera" or "files" for the one to begin with).

    Raises:
        UserError: the files do not exist, or there is no picture or video among them.
    """
    wanted = settings.input
    camera: int | str | None = settings.camera
    first: Source = "files"
    if is_camera(wanted):
        first = "camera"
        camera = camera if wanted == "camera" else int(wanted) if wanted.isdecimal() else wanted
    path = files_of(settings)
    from deepvis.inputs.playlist import Playlist

    Playlist(path)  # raises before a window opens
    return camera, path, first


def first_state(settings: Settings, source: Source) -> State:
    """The state at the beginning, as the settings want it."""
    window = settings.window
    return State(source=source, crop=settings.crop, colors=settings.colors, theme=window.theme, layout=window.layout)


def is_camera(wanted: str) -> bool:
    """Whether the setting `input` names a camera or a stream, and no files."""
    return wanted == "camera" or "://" in wanted or wanted.isdecimal() and not os.path.exists(wanted)


def browsed(settings: Settings) -> str:
    """What is browsed when the input is files, as the settings name it: "photos", or a path."""
    return settings.files if is_camera(settings.input) else settings.input


def files_of(settings: Settings) -> Path:
    """The folder or file that is browsed."""
    return paths.PHOTOS if (files := browsed(settings)) == "photos" else Path(os.path.expanduser(files))
