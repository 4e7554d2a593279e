"""What is kept in memory is bounded in bytes."""

from __future__ import annotations

from deepvis.core.caches import byte_cache, keep


def test_what_was_used_least_recently_is_dropped_first_and_no_more_bytes_are_kept_than_allowed() -> None:
    cache = byte_cache(10, len)
    for key in "abc":
        assert keep(cache, key, b"three") == b"three"
    assert list(cache) == ["b", "c"] and cache.currsize == 10
    assert cache["b"] == b"three"  # used
    keep(cache, "d", b"four")
    assert list(cache) == ["b", "d"] and cache.currsize == 9


def test_what_is_larger_than_the_whole_cache_is_handed_on_and_drops_nothing() -> None:
    cache = byte_cache(4, len)
    keep(cache, "small", b"1234")
    assert keep(cache, "large", b"12345") == b"12345"
    assert list(cache) == ["small"]


def test_a_value_that_is_replaced_counts_once() -> None:
    cache = byte_cache(10, len)
    keep(cache, "a", b"123456")
    keep(cache, "a", b"12")
    assert cache.currsize == 2 and cache["a"] == b"12"
