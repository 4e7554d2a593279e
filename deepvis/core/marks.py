"""Fingerprints of networks, which stored files hold to say which network they were made for. Without torch."""

from __future__ import annotations


class Mark(str):
    """A network's fingerprint, together with the one that earlier versions of the program gave to the same network.

    Attributes:
        former: the earlier fingerprint, 16 hexadecimal digits made from samples of the weights.
    """

    former: str

    def __new__(cls, text: str, former: str) -> Mark:
        mark = super().__new__(cls, text)
        mark.former = former
        return mark

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # what __new__ above takes, as str's does
        return str(self), self.former


def same_network(one: str, other: str) -> bool:
    """Whether two fingerprints are of the same network; one of them may be from an earlier version."""
    return one == other or getattr(one, "former", None) == other or getattr(other, "former", None) == one
