"""The processes that share a run, as torchrun starts them."""

from __future__ import annotations

import os

from deepvis.core.errors import UserError


def share() -> tuple[int, int]:
    """(number of this process, number of processes), as torchrun sets them.

    Raises:
        UserError: they are no such numbers.
    """
    world = environment_number("WORLD_SIZE")
    if world is None:  # a RANK alone is another program's
        return 0, 1
    rank = environment_number("RANK")
    if world < 1 or (rank is None and world > 1) or not 0 <= (rank or 0) < max(world, 1):
        raise UserError(
            f"RANK is {os.environ.get('RANK', 'not set')!r} and WORLD_SIZE {os.environ['WORLD_SIZE']!r}: expected this "
            f"process's number, from 0, and how many there are. torchrun sets both; for one process unset them"
        )
    return rank or 0, world


def environment_number(name: str) -> int | None:
    """An environment variable; None if it is not set."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 9:
        raise UserError(
            f"the environment variable {name} is {text!r}: expected a number. "
            "torchrun sets it; for one process unset it"
        )
    return int(text)
