"""The processes of one run, as torchrun starts them."""

from __future__ import annotations

import os

from deepvis.core.errors import UserError


def share() -> tuple[int, int]:
    """(number of this process, number of processes) from torchrun's environment variables; (0, 1) without them.

    Raises:
        UserError: RANK and WORLD_SIZE are not such numbers.
    """
    world = environment_number("WORLD_SIZE")
    if world is None:  # a RANK without WORLD_SIZE was set by another program
        return 0, 1
    rank = environment_number("RANK")
    if world < 1 or (rank is None and world > 1) or not 0 <= (rank or 0) < max(world, 1):
        raise UserError(
            f"RANK is {os.environ.get('RANK', 'not set')!r} and WORLD_SIZE {os.environ['WORLD_SIZE']!r}: expected the "
            f"number of this process, from 0, and how many processes there are. torchrun sets both; for one process "
            f"unset them"
        )
    return rank or 0, world


def environment_number(name: str) -> int | None:
    """A whole number from an environment variable; None if that is not set. Raises UserError if it is no number."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 9:
        raise UserError(
            f"the environment variable {name} is {text!r}: expected a number. "
            "torchrun sets it; for one process unset it"
        )
    return int(text)
