"""What lies in a folder: one way of going through it, for the window and for scans."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deepvis.core.errors import UserError
from deepvis.core.files import system_reason


@dataclass
class Listing:
    """What was found under a folder.

    Attributes:
        files: names of regular files relative to it, with slashes: a folder's own in natural order, then those below.
        names: those, and at their places what has such a name but is none: dead links, pipes, devices.
        folders: it and its sub-folders, whose change changes the listing.
        skipped: how many names were no regular files, and how many sub-folders could not be gone into.
    """

    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    skipped: int = 0


Place = tuple[int, int]  # a folder on a disk: device and inode


def listed(root: Path, is_wanted: Callable[[str], bool], deep: bool = True) -> Listing:
    """Go through a folder and (`deep`) its sub-folders. What begins with a dot is left out.

    Links to folders are followed, each folder by one link only and never to one that it lies in itself, so that links
    in a circle, or criss-cross, come to an end.

    Raises:
        UserError: the folder itself cannot be listed.
    """
    found, followed = Listing(), set[Place]()
    waiting: list[tuple[str, frozenset[Place]]] = [("", frozenset())]
    while waiting:
        inside, above = waiting.pop()
        here = root / inside
        try:
            status = os.stat(here)
            with os.scandir(here) as entries:
                ordered = sorted(entries, key=lambda entry: natural_key(entry.name))
        except OSError as error:
            if not inside:
                raise UserError(
                    f"{root} cannot be listed ({system_reason(error)}); check that you may read it"
                ) from error
            found.skipped += 1
            continue
        found.folders.append(here)
        way = above | {(status.st_dev, status.st_ino)}
        below = []
        for entry in ordered:
            if entry.name.startswith("."):
                continue
            name = f"{inside}/{entry.name}" if inside else entry.name
            if _is(entry.is_dir):
                if deep and _may_follow(entry, way, followed, found):
                    below.append((name, way))
            elif is_wanted(entry.name):
                found.names.append(name)
                if _is(entry.is_file):
                    found.files.append(name)
                else:
                    found.skipped += 1
        waiting += reversed(below)
    return found


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key: numbers by value, letters without regard to case, the name itself breaks ties."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part[:4000]) if place % 2 else part for place, part in enumerate(parts)], name


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link in a circle
        return False


def _may_follow(entry: os.DirEntry[str], way: frozenset[Place], followed: set[Place], found: Listing) -> bool:
    if not entry.is_symlink():
        return True
    try:
        status = entry.stat()
    except OSError:
        found.skipped += 1
        return False
    place = (status.st_dev, status.st_ino)
    if place in way or place in followed:
        found.skipped += 1
        return False
    followed.add(place)
    return True
