"""The list of files to browse, in a folder or a list file that may change meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from deepvis.core.errors import UserError
from deepvis.core.files import is_regular, open_regular
from deepvis.core.frames import Files
from deepvis.core.reading import read_bytes
from deepvis.inputs.bands import NUMPY
from deepvis.inputs.decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from deepvis.inputs.folders import listed

# File systems store times coarsely (FAT: 2 s): a folder that changed less than this before it was listed may have
# changed again afterwards with the same time.
_TICK_S = 2.0


class Playlist:
    """The pictures and videos of a folder or a list file, or a single file, and the current position among them.

    * A folder: the files in it in natural order (img2 before img10, upper like lower case). Its
      sub-folders count only if it has no picture or video itself. Dot files are skipped; links that
      lead nowhere, pipes and the like are counted in `missing`.
    * A list (.txt): one path a line, relative to the list's folder; blank lines and lines that
      start with # are skipped, paths that do not exist are counted in `missing`.
    * One picture or video file.

    `step` reads the folder or list again if it has changed. Not thread-safe.
    """

    missing: int
    """How many of a list's paths did not exist when it was read; of a folder, how many links led nowhere."""

    def __init__(self, path: Path | str) -> None:
        """List the files.

        Raises:
            UserError: there is no such path, or no picture or video in it.
        """
        self.path = Path(path)
        self.missing = 0
        self._entries: list[Path] = []
        self._position = 0
        self._stamps: dict[Path, int] = {}
        self._listed_at = 0.0
        self._named: list[Path] | None = None  # the entries that `_names` are of
        self._names: tuple[str, ...] = ()
        self._list()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def files(self) -> Files:
        """The files' names, below the folder if it is one, and which is the current one."""
        if self._named is not self._entries:
            self._named = self._entries
            self._names = tuple(map(self._name, self._entries))
        return Files(self._names, self._position)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.path)) if path.is_relative_to(self.path) and path != self.path else path.name

    def entry(self, position: int) -> Path:
        """The file at `position`, counted from 0 and around the ends, in the list as last read."""
        return self._entries[position % len(self._entries)]

    def peek(self, steps: int) -> Path:
        """The file `steps` after the current one, in the list as last read."""
        return self.entry(self._position + steps)

    def step(self, steps: int) -> Path:
        """Move on by `steps` (negative: back), around the ends, and return the file reached.

        If the current file has vanished, the file that followed it is reached by one step, and also by 0 steps.

        Raises:
            UserError: the folder or list is gone or has become empty. The position is kept.
        """
        vanished = self._is_changed() and self._relist()
        if vanished and steps > 0:
            steps -= 1
        self._position = (self._position + steps) % len(self._entries)
        return self._entries[self._position]

    def _is_changed(self) -> bool:
        for path, stamp in self._stamps.items():
            now = _stamp(path)
            if now != stamp or now > (self._listed_at - _TICK_S) * 1e9:
                return True
        return False

    def _relist(self) -> bool:
        """List again and stay at the current file; if it vanished, go to the one after it and return True."""
        old, position = self._entries, self._position
        self._list()
        if self._entries[position : position + 1] == old[position : position + 1]:
            return False  # the usual case; it also keeps the right position if a path is listed twice
        places = {path: place for place, path in reversed(list(enumerate(self._entries)))}
        survivors = (path for path in old[position:] + old[:position] if path in places)
        survivor = next(survivors, self._entries[0])
        self._position = places[survivor]
        return survivor != old[position]

    def _list(self) -> None:
        listed_at = time.time()
        if self.path.is_dir():
            entries, watched, missing = _files_of_folder(self.path)
            what = "no picture or video in it or its sub-folders"
        elif not is_regular(self.path):
            open_regular(self.path, _WHAT).close()  # raises: it is none of these
            raise UserError(f"{self.path} has changed; expected {_WHAT}")
        elif self.path.suffix.lower() == ".txt":
            entries, missing = _files_of_list(self.path)
            watched = [self.path]
            what = f"no path of an existing file in it ({missing} do not exist)"
        else:
            entries, watched, missing = [self.path], [], 0
            if not _is_media(self.path.name):
                entries, what = [], "a name that is neither a picture's, a video's nor a list's"
        if not entries:
            raise UserError(
                f"{self.path} has {what}; expected one or more of {_known_suffixes()}: "
                "put some there or choose another path"
            )
        self._entries, self.missing = entries, missing
        self._stamps = {path: _stamp(path) for path in watched}
        self._listed_at = listed_at


def _files_of_folder(folder: Path) -> tuple[list[Path], list[Path], int]:
    """The files to browse in `folder`, the folders to watch for changes, and the number of entries skipped."""
    found = listed(folder, _is_media, deep=False)
    if not found.files:
        found = listed(folder, _is_media)
    return [folder / name for name in found.files], found.folders, found.skipped


def _files_of_list(path: Path) -> tuple[list[Path], int]:
    """The existing files that a list names, and how many do not exist."""
    data = read_bytes(path, what="a list of files")
    # PowerShell writes UTF-16 with a mark, Notepad UTF-8 with one. What is not UTF-8 may still be
    # the bytes of a file's name.
    is_utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode(*(("utf-16", "replace") if is_utf16 else ("utf-8-sig", "surrogateescape")))
    lines = (line.strip() for line in text.split("\n"))
    entries = [path.parent / line for line in lines if line and not line.startswith("#")]
    existing = [entry for entry in entries if is_regular(entry)]
    return existing, len(entries) - len(existing)


_WHAT = "a folder, a list of files (.txt), a picture, a video, a camera's number or a stream's address"
_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | {NUMPY}


def _is_media(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return not name.startswith(".") and suffix in _SUFFIXES


def _known_suffixes() -> str:
    def listed(suffixes: Iterable[str]) -> str:
        return " ".join(sorted(suffixes))

    return f"{listed(IMAGE_SUFFIXES)} {NUMPY} {listed(VIDEO_SUFFIXES)}"


def _stamp(path: Path) -> int:
    """The time of the last change in ns, -1 if the path is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1
