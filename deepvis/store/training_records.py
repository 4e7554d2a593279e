"""How the training of a prior goes, as a file in its folder says: for the pane that watches it from another process.

Without torch. The file is only read as plain values; a lock beside it is held by the process that trains.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deepvis.core.errors import UserError, one_line
from deepvis.core.files import is_regular, locked, open_regular, write_whole, writing
from deepvis.core.reading import parse_json

RECORD = "training.json"
LOCK = "training.lock"
PHASES = ("pixels and features", "adversarial, too")
PREPARING, TRAINING, STOPPED, ENDED = STATUSES = ("preparing", "training", "stopped", "ended")
_LARGEST, _LONGEST = 8 << 20, 2000  # bytes of a file; characters of a text
_GLANCE = 2.0  # least seconds between two writings, but for those that must be seen
_SHORT = 2.0  # seconds to wait for who only looks whether the lock is held
_SILENT = 120.0  # seconds without a word, where nothing can be locked, after which nobody trains any more


@dataclass(frozen=True)
class HeldOutLook:
    """A look at the photos set aside.

    Attributes:
        step, minutes: when it was.
        phase: position in PHASES.
        psnr, features: how good the pictures were (see `deepvis.priors.training.HeldOut`).
        error: relative to the closed form's, for which it is 1.
    """

    step: int
    minutes: float
    phase: int
    psnr: float
    features: float
    error: float


@dataclass(frozen=True)
class TrainingRecord:
    """How a training goes.

    Attributes:
        model, fingerprint, layer: whose code is inverted.
        size: side of the training pictures.
        photos, held_out: how many photos are trained with, and how many are set aside.
        command: the command line that goes on with it; empty if it was begun from Python.
        status: one of STATUSES, as it was when this was written.
        why: why it stopped or ended.
        step, minutes, phase: how far it is.
        spent: the share of its limit that is spent; 0 if it has none.
        closed_form: how good the closed form is; None while it is being learned.
        looks: all looks so far.
    """

    model: str
    fingerprint: str
    layer: str
    size: int
    photos: int
    held_out: int
    command: str = ""
    status: str = PREPARING
    why: str = ""
    step: int = 0
    minutes: float = 0.0
    phase: int = 0
    spent: float = 0.0
    closed_form: HeldOutLook | None = None
    looks: tuple[HeldOutLook, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether somebody trained when this was written."""
        return self.status in (PREPARING, TRAINING)

    def with_look(self, look: HeldOutLook) -> TrainingRecord:
        """The same with another look; those behind it were of steps that are made once more."""
        return replace(self, looks=(*(one for one in self.looks if one.step < look.step), look))


def read_record(folder: Path) -> TrainingRecord | None:
    """The record in a folder; None if there is none. Raises UserError if it cannot be read."""
    path = folder / RECORD
    if not is_regular(path):
        return None
    with open_regular(path) as file:
        text = file.read(_LARGEST).decode("utf-8", "replace")
    found = parse_json(text, lambda line: f"{path}:{line}", "the record of a training")
    try:
        made = _record(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: is no record of a training. Remove it; training goes on without it") from error
    return made


def _record(found: Mapping[str, Any]) -> TrainingRecord:
    base = found["closed_form"]
    if found["status"] not in STATUSES:
        raise ValueError(found["status"])
    return TrainingRecord(
        _text(found["model"]),
        _text(found["fingerprint"]),
        _text(found["layer"]),
        _whole(found["size"]),
        _whole(found["photos"]),
        _whole(found["held_out"]),
        _text(found["command"]),
        found["status"],
        _text(found["why"]),
        _whole(found["step"]),
        minutes=_finite(found["minutes"]),
        phase=_phase(found["phase"]),
        spent=_finite(found["spent"]),
        closed_form=None if base is None else _look(base),
        looks=tuple(_look(one) for one in found["looks"]),
    )


def _look(found: Mapping[str, Any]) -> HeldOutLook:
    numbers = (_finite(found[name]) for name in ("psnr", "features", "error"))
    return HeldOutLook(_whole(found["step"]), _finite(found["minutes"]), _phase(found["phase"]), *numbers)


def _phase(value: object) -> int:
    return min(_whole(value), len(PHASES) - 1)


def _text(value: object) -> str:
    return one_line(value)[:_LONGEST]


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _finite(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


class Diary:
    """Keeps the record of a training current in its folder.

    That it cannot be written ends no training: the checkpoint, which comes every minute, says why.

    Attributes:
        record: as it is now.
    """

    def __init__(self, folder: Path, record: TrainingRecord, is_hidden: bool = False) -> None:
        """
        Args:
            is_hidden: write nothing, as another process does.
        """
        self.record, self._folder, self._is_hidden = record, folder, is_hidden
        self._written = -math.inf

    def write(self, record: TrainingRecord) -> None:
        """Take another record, and write it now."""
        self.record, self._written = record, time.monotonic()
        if not self._is_hidden:
            with suppress(OSError):
                write_whole(self._folder / RECORD, json.dumps(asdict(record)).encode())

    def glance(self, step: int, minutes: float, spent: float) -> None:
        """Say how far it is, if it was not said just now."""
        self.record = replace(self.record, step=step, minutes=minutes, spent=spent)
        if time.monotonic() - self._written >= _GLANCE:
            self.write(self.record)


@contextmanager
def alone_in(folder: Path, is_hidden: bool = False) -> Iterator[None]:
    """Be the only process that trains into a folder while the block runs.

    Args:
        is_hidden: do nothing, as another process of the same training does.
    Raises:
        UserError: another one trains there, or the folder cannot be written.
    """
    if is_hidden:
        yield
        return
    with writing(folder, "Name another folder with --out"):
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / LOCK, _SHORT))
        except TimeoutError as error:
            raise UserError(
                f"{folder}: another process trains there now. Wait until it ends, or give another folder with --out"
            ) from error
        except OSError:  # a disk without locks
            pass
        yield


def is_training(folder: Path) -> bool:
    """Whether a process trains into a folder now."""
    path = folder / LOCK
    try:
        if not path.is_file():
            return False
        with locked(path, wait=False):
            return False
    except TimeoutError:
        return True
    except OSError:  # another user's folder, or a disk without locks
        with suppress(OSError):
            return time.time() - (folder / RECORD).stat().st_mtime < _SILENT
        return False
