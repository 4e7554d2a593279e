"""What the user may have meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Those of the names that are most like the word, the nearest first; capitals count as small letters."""
    by_lower = {name.lower(): name for name in names}
    return [by_lower[near] for near in difflib.get_close_matches(word.lower(), by_lower, most, cutoff=0.5)]


def did_you_mean(word: str, names: Iterable[str], most: int = 3) -> str:
    """The question as a sentence, with a space before it; empty if no name is near."""
    near = nearest(word, names, most)
    return f" Did you mean {' or '.join(near)}?" if near else ""
