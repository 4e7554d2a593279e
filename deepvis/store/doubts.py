"""Which backward methods fail on a network, as `deepvis faithfulness` has measured it. Without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from deepvis.core.files import write_whole, writing
from deepvis.core.paths import Places

FILE = "faithfulness.json"


def write_doubts(folder: Path, fingerprint: str, fails: Mapping[str, str]) -> Path:
    """Store {method: in what it fails; empty if it does not} for a network; other methods' results there are kept."""
    path = folder / FILE
    fails = {**_measured(path, fingerprint), **fails}
    with writing(path, "Make room, or name another folder with --data"):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"fingerprint": fingerprint, "fails": dict(fails)}, indent=1, ensure_ascii=False)
        write_whole(path, text.encode())
    return path


def read_doubts(folders: Sequence[Path], fingerprint: str) -> Mapping[str, str]:
    """{method: in what it fails} of the methods that fail; empty if that was not measured for this network.

    Args:
        folders: the first one that has a measurement of this network counts.
    """
    measured = next(filter(None, (_measured(folder / FILE, fingerprint) for folder in folders)), {})
    return {name: why for name, why in measured.items() if why}


@lru_cache(maxsize=2)
def doubts_of(places: Places, name: str, fingerprint: str) -> Mapping[str, str]:
    """Those of a network by its name. Read once, for each picture needs them; one's own come before bundled ones."""
    return read_doubts((places.own / name, places.bundled / name), fingerprint)


def _measured(path: Path, fingerprint: str) -> dict[str, str]:
    """{method: in what it fails; empty if it does not}; empty if the file has no measurement of this network."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["fingerprint"] == fingerprint:
            return {str(name): str(why) for name, why in found["fails"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}
