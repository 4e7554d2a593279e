"""Marks that say which network stored things were made for, and those that earlier versions gave. Without torch."""

from __future__ import annotations


class Mark(str):
    """A network's mark, which also knows what earlier versions called the same network.

    Attributes:
        former: 16 hexadecimal digits, made of samples of the weights; stores of earlier versions carry it.
    """

    former: str

    def __new__(cls, text: str, former: str) -> Mark:
        mark = super().__new__(cls, text)
        mark.former = former
        return mark

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # what __new__ above takes, as str's does
        return str(self), self.former


def same_network(one: str, other: str) -> bool:
    """Whether two marks are of the same network: present ones, or one of them a store's of an earlier version."""
    return one == other or getattr(one, "former", None) == other or getattr(other, "former", None) == one
