"""The store of synthesized images: a file for each unit, and a manifest that says how each was made.

    precomputed/<model>/synthesized/manifest.json     the network, and a record for each unit
                                    added-*.jsonl     records that are not yet in the manifest, one on each line
                                    <layer>/<unit>.webp   the unit's images, side by side

A unit is in the store if both its record and its file are. The file is written first, under a temporary name, and then
renamed. So however a run ends, all that it finished is in the store, and no file is damaged.
Without torch, because the window reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import folder_name, is_regular, locked, remove_unfinished, write_whole, writing
from deepvis.core.marks import same_network
from deepvis.core.reading import JSON_BYTES, is_text, parse_json, read_bytes, shown

MANIFEST = "manifest.json"
PROVISIONAL = "provisional"  # an entry of a record
LOCK = ".lock"  # of a folder, so that one process at a time changes its manifest
WIDEST = 16383  # pixels
_NAME = 500  # characters of a layer's name
Key = tuple[str, int]  # layer name, unit

_KEPT = "Everything made before is kept."


@dataclass
class Store:
    """Synthesized images of one network in one folder.

    Attributes:
        folder: the folder.
        fingerprint: fingerprint of the network that they were made for.
        records: {(layer, unit): how its images were made}. A record has "scores", one for each image, or "failed",
            which says why there are no images. "provisional" is true for images that the window made by itself: those
            that the user makes replace them.
    """

    folder: Path
    fingerprint: str
    model: str = ""
    records: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def path(self, layer: str, unit: int) -> Path:
        return self.folder / folder_name(layer) / f"{unit:04d}.webp"

    def has(self, layer: str, unit: int) -> bool:
        record = self.records.get((layer, unit))
        return (
            record is not None and _is_sound(record) and ("failed" in record or os.path.isfile(self.path(layer, unit)))
        )

    def read(self, layer: str, unit: int) -> list[np.ndarray]:
        """The unit's images, uint8 H×W×3 RGB, best first; empty if there are none.

        Raises:
            UserError: the unit's record is damaged.
        """
        record = self.records.get((layer, unit))
        if not record:
            return []
        if not _is_sound(record):
            raise UserError(
                f"{self.folder}: the record of {layer}:{unit} is {shown(record)}; expected scores, or why it failed. "
                "Make its images again: deepvis synthesize"
            )
        if "failed" in record or not is_regular(self.path(layer, unit)):
            return []
        strip = cv2.imread(str(self.path(layer, unit)), cv2.IMREAD_COLOR_RGB)
        if strip is None:
            return []
        count = max(1, len(record.get("scores", ())))
        if count > strip.shape[1]:
            return []
        width = strip.shape[1] // count
        return [np.ascontiguousarray(strip[:, i * width : (i + 1) * width]) for i in range(count)]

    def add(
        self, layer: str, unit: int, images: np.ndarray, record: Mapping[str, Any], part: str, quality: int = 80
    ) -> None:
        """Store a unit's images (uint8 N×H×W×3 RGB, best first) in place of older ones.

        Args:
            record: see `records`; must have "scores", one for each image, or "failed".
            part: part of the name of the file that the record is appended to; each process must use its own.
            quality: of the WebP file, 1 to 100.
        Raises:
            UserError: the files cannot be written, or the images side by side are too wide for a file.
        """
        strip = _strip(images, quality) if len(images) else None
        with writing(self.folder, _KEPT):
            self.folder.mkdir(parents=True, exist_ok=True)
            if strip is not None:
                write_whole(self.path(layer, unit), strip)
            # The line break before it ends a line that a killed process left unfinished.
            line = "\n" + json.dumps({"layer": layer, "unit": unit, **record}) + "\n"
            with locked(self.folder / LOCK), open(self.folder / f"added-{part}.jsonl", "a", encoding="utf-8") as file:
                file.write(line)
        self.records[layer, unit] = dict(record)

    def finish(self) -> None:
        """Move the records of all parts into the manifest; other processes may still add to the store.

        Raises:
            UserError: the manifest cannot be written, or the old one cannot be read.
        """
        if not any(self.folder.glob("added-*.jsonl")):
            return
        with writing(self.folder, _KEPT), locked(self.folder / LOCK):
            parts = sorted(self.folder.glob("added-*.jsonl"))
            whole = _open(self.folder)
            whole.fingerprint, whole.model = self.fingerprint, self.model
            write_whole(self.folder / MANIFEST, whole._manifest().encode())
            for part in parts:
                part.unlink(missing_ok=True)

    def _manifest(self) -> str:
        rows = [{"layer": layer, "unit": unit, **self.records[layer, unit]} for layer, unit in sorted(self.records)]
        head = json.dumps({"model": self.model, "fingerprint": self.fingerprint})
        return head[:-1] + ', "units": [\n' + ",\n".join(json.dumps(row, sort_keys=True) for row in rows) + "\n]}\n"


def open_store(folder: Path, fingerprint: str, model: str = "") -> Store:
    """Open the store in a folder; it is empty if there is none yet.

    Args:
        model: the network's name; if it is given, the store is made ready for adding images.
    Raises:
        UserError: the store cannot be read, or was made for another network.
    """
    store = _open(folder)
    if store.fingerprint and not same_network(store.fingerprint, fingerprint):
        raise UserError(
            f"{folder} holds images of another network or scaling of the input ({store.model or 'unknown'}, "
            f"fingerprint {store.fingerprint}; this one "
            f"is {fingerprint}). Remove the folder, or give another one."
        )
    store.fingerprint, store.model = fingerprint, model or store.model
    if model:
        with writing(folder, _KEPT):
            _begin(store)
    return store


def forget_provisional(folder: Path, fingerprint: str) -> None:
    """Remove the images of another network from a folder, if the window has made all of them by itself.

    Raises:
        UserError: they cannot be removed.
    """
    store = _open(folder)
    is_other = bool(store.fingerprint) and not same_network(store.fingerprint, fingerprint)
    if not is_other or not all(record.get(PROVISIONAL) for record in store.records.values()):
        return
    with writing(folder), locked(folder / LOCK):
        for layer, unit in store.records:
            store.path(layer, unit).unlink(missing_ok=True)
        for file in (*folder.glob("added-*.jsonl"), folder / MANIFEST):
            file.unlink(missing_ok=True)


def _begin(store: Store) -> None:
    """Make a store ready for adding images: write a missing manifest, remove temporary files of killed processes."""
    has_manifest = (store.folder / MANIFEST).exists()
    if has_manifest and not os.access(store.folder, os.W_OK):  # read-only: fine if nothing is added
        return
    store.folder.mkdir(parents=True, exist_ok=True)
    with locked(store.folder / LOCK):
        remove_unfinished([store.folder, *(path for path in store.folder.iterdir() if path.is_dir())])
        if not (store.folder / MANIFEST).exists():
            write_whole(store.folder / MANIFEST, store._manifest().encode())


def _open(folder: Path) -> Store:
    store, path = Store(folder, ""), folder / MANIFEST
    parts = [row for part in sorted(folder.glob("added-*.jsonl")) for row in _lines(part)]
    if os.path.lexists(path):
        text = read_bytes(path, JSON_BYTES, "a manifest").decode("utf-8", "replace")
        try:
            store.model, store.fingerprint, rows = _manifest_of(
                parse_json(text, lambda line: f"line {line}", "a manifest")
            )
        except UserError as error:
            raise UserError(
                f"{path}: cannot be read as a manifest: {error} Remove the folder to make the images again."
            ) from error
        for row in rows:
            _take(store.records, row)
    for row in parts:
        _take(store.records, row)
    return store


def _take(records: dict[Key, dict[str, Any]], row: Mapping[str, Any]) -> None:
    records[row["layer"], row["unit"]] = {k: v for k, v in row.items() if k not in ("layer", "unit")}


def _manifest_of(found: object) -> tuple[str, str, list[dict[str, Any]]]:
    """Model, fingerprint and records of a manifest; UserError if it does not have them."""
    if not isinstance(found, dict) or not isinstance(found.get("units"), list):
        raise UserError(f"{shown(found)}: expected model, fingerprint and units.")
    if not all(is_text(found.get(key)) for key in ("model", "fingerprint")):
        raise UserError("expected model and fingerprint, each a text.")
    wrong = next((row for row in found["units"] if not _is_record(row)), None)
    if wrong is not None:
        raise UserError(f"{shown(wrong)} is not a record of a unit's images.")
    return found["model"], found["fingerprint"], found["units"]


def _is_record(row: object) -> bool:
    """Whether a row is a record, which names a layer and a unit."""
    if not isinstance(row, dict) or not isinstance(row.get("layer"), str) or len(row["layer"]) > _NAME:
        return False
    return type(row.get("unit")) is int and 0 <= row["unit"] < 2**31


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether the entries of a record that the program uses have the right types; the others are for people to read."""
    scores, failed = record.get("scores", []), record.get("failed", "")
    return isinstance(scores, list) and all(type(score) in (int, float) for score in scores) and isinstance(failed, str)


def _lines(part: Path) -> Iterator[dict[str, Any]]:
    """The records of a part; a line that a killed process left unfinished is skipped."""
    try:
        lines = read_bytes(part, JSON_BYTES, "records of images").decode("utf-8", "replace").splitlines()
    except UserError:
        if not os.path.lexists(part):  # another process has moved it into the manifest
            return
        raise
    for line in lines:
        with contextlib.suppress(UserError):
            row = parse_json(line, lambda _: str(part))
            if _is_record(row):
                yield row


def store_folder(root: Path, model: str) -> Path:
    """The folder of a model's bundled synthesized images."""
    return root / folder_name(model) / "synthesized"


def _strip(images: np.ndarray, quality: int) -> bytes:
    strip = np.concatenate(list(images), axis=1)
    if max(strip.shape[:2]) > WIDEST:
        raise UserError(
            f"{len(images)} images of {images.shape[2]}×{images.shape[1]} side by side: a WebP file has {WIDEST} "
            "pixels at most on a side. Make fewer for each unit (--per-unit), or store them smaller (--side)"
        )
    return cv2.imencode(".webp", strip[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
