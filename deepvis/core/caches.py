"""Caches with a limited size in bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cachetools import LRUCache

Key = TypeVar("Key")
Value = TypeVar("Value")


def byte_cache(most: int, size: Callable[[Value], int]) -> LRUCache[Key, Value]:
    """A cache of limited size in bytes that drops the least recently used values. For one thread at a time."""
    return LRUCache(maxsize=most, getsizeof=size)


def keep(cache: LRUCache[Key, Value], key: Key, value: Value) -> Value:
    """Put a value into a cache, unless it is larger than the cache; return the value."""
    if cache.getsizeof(value) <= cache.maxsize:
        cache[key] = value
    return value
