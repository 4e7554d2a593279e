"""What the folder of a layer's prior holds now: how its training goes, its pictures, and the prior itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import is_regular
from deepvis.core.marks import same_network
from deepvis.core.paths import Places
from deepvis.inputs.decode import read_image
from deepvis.store.priors import BUNDLED, PRIOR, RECONSTRUCTIONS, prior_about, prior_files, prior_folder
from deepvis.store.training_records import RECORD, TrainingRecord, is_training, read_record

ROWS = 3  # of the pictures: photos set aside, the closed form's, the generator's


@dataclass(frozen=True, eq=False)
class WatchedPrior:
    """What there is of a layer's prior.

    Attributes:
        layer: its name.
        record: how its training goes; None if none was begun here.
        is_running: a process trains now.
        pictures: uint8 ROWS×N×S×S×3 RGB; empty if there are none.
        about: what the file of the prior that recipes use says; empty if there is none.
        is_bundled: that prior comes with the program.
        is_foreign: the training, or the prior, is of other weights.
        others: the network's other layers that have priors.
        note: a text that says what cannot be read, or why no prior can be trained; empty if nothing.
    """

    layer: str
    record: TrainingRecord | None = None
    is_running: bool = False
    pictures: np.ndarray = field(default_factory=lambda: np.zeros((ROWS, 0, 1, 1, 3), np.uint8))
    about: Mapping[str, Any] = field(default_factory=dict)
    is_bundled: bool = False
    is_foreign: bool = False
    others: tuple[str, ...] = ()
    note: str = ""


def stamp_of(places: Places, model: str, layer: str) -> tuple[object, ...]:
    """What changes whenever something new can be read; costs less than a millisecond."""
    folder = prior_folder(places.own, model, layer)
    times = tuple(_changed(folder / name) for name in (RECORD, RECONSTRUCTIONS, PRIOR))
    return times, is_training(folder), tuple(prior_files(places, model))


def _changed(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def watched(places: Places, model: str, fingerprint: str, layer: str) -> WatchedPrior:
    """Read what there is of a layer's prior."""
    folder, notes = prior_folder(places.own, model, layer), []
    record, pictures, about = None, WatchedPrior(layer).pictures, {}
    try:
        record = read_record(folder)
    except UserError as error:
        notes.append(str(error))
    try:
        pictures = _pictures(folder / RECONSTRUCTIONS)
    except UserError as error:
        notes.append(str(error))
    bundled = prior_folder(places.bundled, model, layer, BUNDLED) / PRIOR
    files = {path.parent.name: path for path in prior_files(places, model)}
    own = files.pop(folder.name, None)
    if own is not None:
        about = prior_about(own)
        if not about:
            notes.append(f"{own}: cannot be read as a prior. Remove it, or train it again")
    whose = about.get("layer", layer) if record is None else record.layer
    if whose != layer:
        notes.append(f"the files in {folder} are of layer {whose}. Move them, to train one of {layer}")
    of = record.fingerprint if record is not None else about.get("fingerprint")
    return WatchedPrior(
        layer,
        record,
        is_training(folder),
        pictures,
        about,
        own == bundled and own is not None and not own.parent == folder,
        of is not None and not same_network(str(of), fingerprint),
        tuple(dict.fromkeys(str(prior_about(path).get("layer", path.parent.name)) for path in files.values())),
        "\n".join(notes),
    )


def _pictures(path: Path) -> np.ndarray:
    """The pictures of photos set aside; none if there is no such file. Raises UserError if it is damaged."""
    if not is_regular(path):
        return WatchedPrior("").pictures
    sheet = read_image(path)
    side = sheet.shape[0] // ROWS
    count = sheet.shape[1] // side if side else 0
    if not count:
        raise UserError(f"{path}: expected {ROWS} rows of pictures")
    rows = sheet[: ROWS * side, : count * side].reshape(ROWS, side, count, side, 3)
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3, 4))
