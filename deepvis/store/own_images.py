"""A network's two stores of synthesized images: the user's own, and the bundled one.

    precomputed/<model>/synthesized-own/   in the user's folder; written by `deepvis synthesize` and by key enter
                        synthesized/       in the bundled folder; not changed by these

If a unit has images of the user's own, these are shown. Without torch, because the window reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import write_whole
from deepvis.core.layers import unit_id
from deepvis.core.paths import Places
from deepvis.store.unit_images import PROVISIONAL, Key, Store, open_store, store_folder

_OF_ONE_GROWTH = ("module", "input", "preset", "seed", "objective", "true_size", "side")


def own_folder(root: Path, model: str) -> Path:
    """The folder for the user's own images of a model's units."""
    return store_folder(root, model).with_name("synthesized-own")


@dataclass(frozen=True)
class OwnFirst:
    """Both stores, which can be read like one `Store`: for each unit the user's own images, else the bundled ones.

    Attributes:
        own, bundled: the two stores; empty if they do not exist.
        note: a text that says why the user's own images cannot be shown; else empty.
    """

    own: Store
    bundled: Store
    note: str = ""
    records: Mapping[Key, Mapping[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        made = {
            key: record
            for key, record in self.own.records.items()
            if key not in self.bundled.records or "failed" not in record
        }
        object.__setattr__(self, "records", {**self.bundled.records, **made})

    @property
    def folder(self) -> Path:
        return self.own.folder

    def read(self, layer: str, unit: int) -> list[np.ndarray]:
        """The unit's images, uint8 H×W×3 RGB, best first; empty if there are none."""
        return self.own.read(layer, unit) or self.bundled.read(layer, unit)


def open_both(places: Places, model: str, fingerprint: str, paths: Mapping[str, str] | None = None) -> OwnFirst:
    """Open both stores of a network: the one in the user's folder, and the bundled one.

    Args:
        paths: {layer: path of its module}; images made for another module under the same layer name are left out.
    Raises:
        UserError: as in `open_store`, if no images of either store can be used.
    """
    own, refusal = _opened(own_folder(places.own, model), fingerprint, paths)
    bundled, bundled_refusal = _opened(store_folder(places.bundled, model), fingerprint, paths)
    first = refusal or bundled_refusal
    if first and not own.records and not bundled.records:
        raise first
    return OwnFirst(own, bundled, str(refusal or ""))


def bundled_store(root: Path, model: str, fingerprint: str) -> Store:
    """The bundled images of a model's units; empty if there are none of this network."""
    return _opened(store_folder(root, model), fingerprint, None)[0]


def _opened(folder: Path, fingerprint: str, paths: Mapping[str, str] | None) -> tuple[Store, UserError | None]:
    try:
        store = open_store(folder, fingerprint)
    except UserError as error:
        return Store(folder, fingerprint), error
    if paths is not None:
        kept = {(layer, unit): record for (layer, unit), record in store.records.items()
                if record.get("module", paths.get(layer)) == paths.get(layer)}  # fmt: skip
        store.records = kept
    return store, None


def keep(store: Store, layer: str, unit: int, images: np.ndarray, record: Mapping[str, Any], part: str) -> str:
    """Put a unit's images into the user's own store, without losing better ones.

    The same images with fewer steps are replaced. Other images of the unit are renamed and stay in the same folder.

    Returns:
        A message that says what was done.
    Raises:
        UserError: the images in the store have more steps, or the store cannot be written.
    """
    made = json.loads(json.dumps(record))
    have, name, aside = store.records.get((layer, unit), {}), unit_id(layer, unit), ""
    if has_images(store, layer, unit):
        if _steps(have) > _steps(made):
            raise UserError(
                f"{name}: images of yours with {_steps(have)} steps are kept already ({have.get('preset')}), these "
                f"have {_steps(made)}. "
                f"Let them grow as far, or remove {store.path(layer, unit)}"
            )
        if have == made:
            return f"kept already: {len(images)} images of {name}"
        if (other := set_others_aside(store, layer, unit, made)) is not None:
            aside = f"; the images there before are now in {other.name} beside it"
    store.add(layer, unit, images, record, part)
    store.finish()
    return f"kept {len(images)} images of {name} in {store.path(layer, unit)}{aside}"


def has_images(store: Store, layer: str, unit: int) -> bool:
    """Whether the store has images of the unit that the user made."""
    record = store.records.get((layer, unit), {})
    return bool(record) and "failed" not in record and not record.get(PROVISIONAL) and store.has(layer, unit)


def set_others_aside(store: Store, layer: str, unit: int, made: Mapping[str, Any]) -> Path | None:
    """Before images with the record `made` are stored: copy the unit's images to another name, if they would be lost.

    Those that the window made by itself may be lost, and the same images with as few or fewer steps.

    Returns:
        The copy's file, or None if there was nothing to copy.
    Raises:
        UserError: they cannot be copied.
    """
    if not has_images(store, layer, unit):
        return None
    have, made = store.records[layer, unit], json.loads(json.dumps(made))
    if _is_same_growth(have, made) and _steps(have) <= _steps(made):
        return None
    return _set_aside(store, layer, unit)


def _steps(record: Mapping[str, Any]) -> int:
    recipe = record.get("recipe")
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return steps if isinstance(steps, int) else 0


def _is_same_growth(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records are of the same images (recipe, seeds …), perhaps with different numbers of steps."""
    recipes = [
        {**record["recipe"], "steps": 0} if isinstance(record.get("recipe"), dict) else None for record in (one, other)
    ]
    seeds = [sorted(record["seeds"]) if isinstance(record.get("seeds"), list) else None for record in (one, other)]
    return (
        recipes[0] == recipes[1]
        and seeds[0] == seeds[1]
        and all(one.get(key) == other.get(key) for key in _OF_ONE_GROWTH)
    )


def _set_aside(store: Store, layer: str, unit: int) -> Path:
    """Copy a unit's images, and their record, to files with a free number."""
    path = store.path(layer, unit)
    try:
        copy = next(free for i in count(1) if not (free := path.with_name(f"{path.stem}-{i}.webp")).exists())
        write_whole(
            copy.with_suffix(".json"), json.dumps({"layer": layer, "unit": unit, **store.records[layer, unit]}).encode()
        )
        write_whole(copy, path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{path}: cannot be copied: {error.strerror or error}. It stays as it is, and the new images are not saved."
        ) from error
    return copy
