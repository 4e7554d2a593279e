"""Waiting for what other threads do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 20.0  # seconds; what is waited for comes within a few milliseconds, but a busy machine takes its time

Found = TypeVar("Found")


def until(is_so: Callable[[], Found], what: str = "it came true", patience: float = PATIENCE) -> Found:
    """Wait until a condition holds; what it returned then."""
    end = time.monotonic() + patience
    while not (found := is_so()):
        assert time.monotonic() < end, f"waited {patience:g} s in vain until {what}"
        time.sleep(0.002)
    return found
