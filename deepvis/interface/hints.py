"""The hint line: what a newcomer can press or click. It goes when a few of its keys were used; help brings it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deepvis.interface.state import State

ENOUGH = 3  # so many different commands of the line used: it goes
_SIGNS = {"left": "←", "right": "→", "up": "↑", "down": "↓"}


@dataclass(frozen=True)
class Hint:
    """One part of the hint line.

    Attributes:
        commands: their keys stand in it; a click does the last one.
        words: what they do.
        stays: it is still shown when the others are gone.
    """

    commands: tuple[str, ...]
    words: str
    stays: bool = False


HINTS = (
    Hint(("left", "right"), "layers"),
    Hint(("down",), "units"),
    Hint(("backward",), "where it looks"),
    Hint(("find",), "find anything", stays=True),
    Hint(("help",), "help", stays=True),
)
_NAMES = {name for hint in HINTS for name in hint.commands}


def shown(state: State) -> tuple[Hint, ...]:
    """The parts of the hint line to show now."""
    return HINTS if len(state.hints) < ENOUGH else tuple(hint for hint in HINTS if hint.stays)


def text_of(hint: Hint, keys: Mapping[str, str]) -> str:
    """A part in words, with the first key of each of its commands."""
    names = [keys.get(name, "").partition(" ")[0] for name in hint.commands]
    return " ".join([*(_SIGNS.get(name, name) for name in names if name), hint.words])


def after(state: State, command: str) -> State:
    """The state after a command: its hint was used; the help brings all of them back."""
    if command == "help":
        return replace(state, hints=()) if state.hints else state
    is_new = command in _NAMES and command not in state.hints
    return replace(state, hints=(*state.hints, command)) if is_new else state
