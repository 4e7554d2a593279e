"""What is kept in memory because it takes long to make, within a bound in bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cachetools import LRUCache

Key = TypeVar("Key")
Value = TypeVar("Value")


def byte_cache(most: int, size: Callable[[Value], int]) -> LRUCache[Key, Value]:
    """A cache of at most so many bytes, which drops what has been used least recently. For one thread at a time."""
    return LRUCache(maxsize=most, getsizeof=size)


def keep(cache: LRUCache[Key, Value], key: Key, value: Value) -> Value:
    """Put a value into a cache, unless it is larger than the whole of it; returns the value."""
    if cache.getsizeof(value) <= cache.maxsize:
        cache[key] = value
    return value
