"""Which backward methods fail on a network, as `deepvis faithfulness` has measured it. Without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepvis.core.files import write_whole, writing

FILE = "faithfulness.json"


def write_doubts(folder: Path, fingerprint: str, fails: Mapping[str, str]) -> Path:
    """Store {method: in what it fails; empty if it does not} for a network."""
    path = folder / FILE
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
    for folder in folders:
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            if found["fingerprint"] == fingerprint:
                return {str(name): str(why) for name, why in found["fails"].items() if why}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}
