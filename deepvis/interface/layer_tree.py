"""A long list of layers as a tree of their dotted names, in rows: the groups, and the members of the open ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

Parts = tuple[tuple[str, ...], ...]  # the layers' names, split at their dots


@dataclass(frozen=True)
class Node:
    """A layer, or a group of neighbouring layers whose names begin alike.

    Attributes:
        words: what stands on it: its name without what stands on the groups around it.
        start, stop: the positions of its layers in the network.
        depth: how many parts of the names it and the groups around it have used up.
        is_open: its members are shown.
    """

    words: str
    start: int
    stop: int
    depth: int
    is_open: bool = False

    @property
    def is_group(self) -> bool:
        return self.stop - self.start > 1

    def has(self, layer: int) -> bool:
        """Whether a layer, given by its position, is in it."""
        return self.start <= layer < self.stop


@lru_cache(maxsize=16)
def tree_rows(names: tuple[str, ...], at: int, count: int) -> tuple[tuple[Node, ...], ...]:
    """At most `count` rows, each of which has the members of an open group of the row before.

    Open are the groups around the layer at position `at`. If there are more levels than rows, the members of the
    outer groups stand behind these in one row.
    """
    parts = tuple(tuple(name.split(".")) for name in names)
    rows = [_members(parts, 0, len(names), 0)]
    while (opened := next((node for node in rows[-1] if node.has(at) and node.is_group), None)) is not None:
        rows[-1] = [replace(node, is_open=True) if node is opened else node for node in rows[-1]]
        rows.append(_members(parts, opened.start, opened.stop, opened.depth))
    while len(rows) > count:
        if len(rows[0]) == 1:  # all names begin alike
            rows.pop(0)
            continue
        inner = rows.pop(1)
        place = max(i for i, node in enumerate(rows[0]) if node.is_open) + 1
        rows[0] = [*rows[0][:place], *inner, *rows[0][place:]]
    return tuple(map(tuple, rows))


def _members(parts: Parts, start: int, stop: int, depth: int) -> list[Node]:
    """The layers and groups from `start` to `stop`, whose names are alike in their first `depth` parts."""
    nodes, at = [], start
    while at < stop:
        head, end = parts[at][depth : depth + 1], at + 1
        while head and end < stop and parts[end][depth : depth + 1] == head:
            end += 1
        deep = _common(parts, at, end, depth)
        words = ".".join(parts[at][depth:] if end - at == 1 else parts[at][depth:deep])
        nodes.append(Node(words or parts[at][-1], at, end, deep))
        at = end
    return nodes


def _common(parts: Parts, start: int, stop: int, depth: int) -> int:
    """How many first parts the names have in common, at least one more than `depth`."""
    shortest = min(len(parts[i]) for i in range(start, stop))
    deep = depth + 1
    while deep < shortest and len({parts[i][deep] for i in range(start, stop)}) == 1:
        deep += 1
    return deep
