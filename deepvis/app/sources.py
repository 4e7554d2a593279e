"""Which camera and files the settings name."""

from __future__ import annotations

import os
from pathlib import Path

from deepvis.core import paths
from deepvis.interface.settings import Settings
from deepvis.interface.state import Source


def sources(settings: Settings) -> tuple[int | str | None, Path, Source]:
    """What the feed shall read: (camera, files, "camera" or "files" for the one to begin with).

    Raises:
        UserError: the files do not exist, or there is no picture or video among them.
    """
    wanted = settings.input
    camera: int | str | None = settings.camera
    if _is_index(wanted):
        camera = int(wanted)
    elif "://" in wanted:
        camera = wanted
    first: Source = "files" if _names_files(wanted) else "camera"
    path = files_of(settings)
    from deepvis.inputs.playlist import Playlist

    Playlist(path)  # raises before a window opens
    return camera, path, first


def files_of(settings: Settings) -> Path:
    """The folder or file that the settings name: the input or, if that is a camera, the files that key c goes to."""
    files = settings.input if _names_files(settings.input) else settings.files
    return paths.PHOTOS if files == "photos" else Path(os.path.expanduser(files))


def _names_files(wanted: str) -> bool:
    return wanted != "camera" and "://" not in wanted and not _is_index(wanted)


def _is_index(wanted: str) -> bool:
    return wanted.isdecimal() and not os.path.exists(wanted)
