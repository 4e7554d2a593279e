"""Listing the files of a folder, in the same way for the window and for scans."""

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
        files: regular files as paths relative to the folder, with slashes; each folder's files in natural order, then
            those of its sub-folders.
        names: the same with, at their places, entries of such names that are not regular files (dead links, pipes).
        folders: the folder and its sub-folders; if one of them changes, the listing may change.
        skipped: number of entries that are not regular files, and of sub-folders that were not entered.
    """

    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    skipped: int = 0


Place = tuple[int, int]  # a folder on a disk: device and inode


def listed(root: Path, is_wanted: Callable[[str], bool], deep: bool = True) -> Listing:
    """List a folder and, if `deep`, its sub-folders. Names that begin with a dot are left out.

    Links to folders are followed, but each folder only through one link, and never to a folder that contains the
    link, so that circles of links come to an end.

    Args:
        is_wanted: says of a file's name whether to list it.
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
