"""What a long measurement has found so far, line by line, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepvis.core.errors import UserError
from deepvis.core.files import locked, writing
from deepvis.core.reading import JSON_BYTES, read_bytes

_LINES = "done.jsonl"


@dataclass(frozen=True)
class Journal:
    """The parts of a measurement that are done.

    Attributes:
        folder: where they are kept.
        parts: those of earlier runs, in order.
    """

    folder: Path
    parts: tuple[Any, ...]

    def add(self, part: object) -> None:
        """Note another part. Raises UserError if that cannot be written."""
        with writing(self.folder, "What was measured before is kept"), open(self.folder / _LINES, "ab") as file:
            # The line break before it ends a line that a killed process left unfinished.
            file.write(b"\n" + json.dumps(part).encode() + b"\n")

    def remove(self) -> None:
        """The measurement is over, and its result is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others' journals are there
            self.folder.parent.rmdir()


@contextmanager
def journal(folder: Path, about: Mapping[str, object]) -> Iterator[Journal]:
    """The journal of a measurement, for one process at a time.

    Args:
        folder: the folder of the measurements' journals, each with a name of its own.
        about: all that decides what is measured; another measurement has another journal.
    Raises:
        UserError: another process makes this measurement, or the folder cannot be written.
    """
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    own = folder / f"{name}.part"
    with contextlib.ExitStack() as held:
        with writing(own):
            own.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(own / "lock", wait=False))
            except TimeoutError as error:
                raise UserError(f"another run measures the same ({own}). Wait for it, or give other options") from error
        yield Journal(own, tuple(_lines(own / _LINES)))


def _lines(path: Path) -> Iterator[object]:
    """The parts in a file; a line that was left unfinished is none."""
    if path.is_file():
        for line in read_bytes(path, JSON_BYTES, "what was measured").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)
