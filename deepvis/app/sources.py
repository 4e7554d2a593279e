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
    wanted, files = settings.input, settings.files
    camera: int | str | None = settings.camera
    first: Source = "camera"
    if wanted.isdecimal() and not os.path.exists(wanted):
        camera = int(wanted)
    elif "://" in wanted:
        camera = wanted
    elif wanted != "camera":
        files, first = wanted, "files"
    path = paths.PHOTOS if files == "photos" else Path(os.path.expanduser(files))
    from deepvis.inputs.playlist import Playlist

    Playlist(path)  # raises before a window opens
    return camera, path, first


def first_state(settings: Settings, source: Source) -> State:
    """The state at the beginning, as the settings want it."""
    window = settings.window
    return State(source=source, crop=settings.crop, colors=settings.colors, theme=window.theme, layout=window.layout)
