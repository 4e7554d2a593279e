"""The command palette: everything that can be done or shown, found by a few letters of its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from deepvis.core.frames import Files
from deepvis.core.layers import Layer, unit_id
from deepvis.interface.command import Command, Facts
from deepvis.interface.state import State
from deepvis.synthesis.recipe import Recipe

SHOWN = 20  # how many matches are listed
_UNITS = 4  # how many of them are units, at most


@dataclass(frozen=True)
class Entry:
    """One line of the palette.

    Attributes:
        words: what it does or shows.
        call: what choosing it runs, as `deepvis.interface.commands.run` takes it.
        kind: what it is: empty for a command, "layer", "class of probs" …
        also: other words by which it is found.
    """

    words: str
    call: str
    kind: str = ""
    also: str = ""


class _Haystack:
    """The words of an entry, prepared for the search."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.plain = f"{entry.words} {entry.also}".strip().lower()
        parts = re.findall(r"[^\W_]+", self.plain)
        self.parts, self.initials = " " + " ".join(parts), "".join(part[0] for part in parts)

    def rank(self, term: str) -> int | None:
        """How well a term (in lower case) fits, 0 is best; None if neither letters nor initials stand together."""
        if self.plain.startswith(term):
            return 0
        if f" {term}" in self.parts:
            return 1
        if len(term) > 1 and term in self.initials:
            return 2
        return 3 if term in self.plain else None

    def has_scattered(self, term: str) -> bool:
        """Whether the letters stand in this order and not too far from each other."""
        at = start = self.plain.find(term[0])
        for letter in term[1:]:
            at = self.plain.find(letter, at + 1) if at >= 0 else -1
        return at >= 0 and at - start < 4 * len(term)


class CommandPalette:
    """The palette over a table of commands."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._table = lru_cache(maxsize=2)(self._make_table)
        self._matches = lru_cache(maxsize=16)(self._find)

    def found(self, state: State, facts: Facts) -> tuple[Entry, ...]:
        """The best matches for what the user has typed, the best first; none if the palette is closed."""
        if not state.finding or state.typing is None:
            return ()
        known = (tuple(self._commands), facts.layers, tuple(facts.recipes), facts.files.names)
        return self._matches(state.typing.strip().lower(), state.layer, *known)

    def _find(
        self, text: str, layer: int, names: Sequence[str], layers: tuple[Layer, ...], recipes: Sequence[str],
        files: tuple[str, ...],
    ) -> tuple[Entry, ...]:  # fmt: skip
        units = tuple(_units(text, layer, layers))
        return (*units, *best(text, self._table(names, layers, recipes, files)))[:SHOWN]

    def _make_table(
        self, names: Sequence[str], layers: tuple[Layer, ...], recipes: Sequence[str], files: tuple[str, ...]
    ) -> tuple[_Haystack, ...]:
        """Everything in the order in which equally good matches are listed."""
        facts = Facts(layers, recipes={name: Recipe() for name in recipes}, files=Files(files))
        return tuple(map(_Haystack, (*_of_commands(self._commands, facts), *_of_layers(layers), *_of_files(files))))


def best(text: str, table: Sequence[_Haystack]) -> tuple[Entry, ...]:
    """The entries that have all words of the text; those with scattered letters are the last."""
    terms = text.split()
    ranked: list[tuple[int, _Haystack]] = []
    rest: list[_Haystack] = []
    for item in table:
        ranks = [item.rank(term) for term in terms]
        if None in ranks:
            rest.append(item)
        else:
            ranked.append((sum(rank or 0 for rank in ranks), item))
    ranked.sort(key=lambda pair: pair[0])  # stable: ties stay in the table's order
    entries = [item.entry for _, item in ranked[:SHOWN]]
    if len(entries) < SHOWN:
        loose = (item.entry for item in rest if all(item.rank(t) is not None or item.has_scattered(t) for t in terms))
        entries += [entry for entry, _ in zip(loose, range(SHOWN - len(entries)))]
    return tuple(entries)


def _of_commands(commands: Mapping[str, Command], facts: Facts) -> Iterator[Entry]:
    for name, command in commands.items():
        if name != "find":
            yield Entry(command.help, name, also=name.replace("_", " "))
    for name, command in commands.items():
        if not command.by_name:
            for option in command.options(facts):
                yield Entry(f"{name.replace('_', ' ')}: {option}", f"{name}={option}")


def _of_layers(layers: Sequence[Layer]) -> Iterator[Entry]:
    for layer in layers:
        yield Entry(layer.name, f"goto={layer.name}:0", f"layer, {layer.kind}")
    last = {
        layer.labels: layer for layer in layers if layer.labels
    }  # of the scores and the probabilities only the latter
    for layer in last.values():
        for unit, label in enumerate(layer.labels):
            if label:
                yield Entry(label, f"goto={unit_id(layer.name, unit)}", f"class, {unit_id(layer.name, unit)}")


def _of_files(files: Sequence[str]) -> Iterator[Entry]:
    return (Entry(name, f"next_file={name}", "file") for name in files)


def _units(text: str, current: int, layers: Sequence[Layer]) -> Iterator[Entry]:
    """The units that a text such as "head:151", "he:151" or "151" (in the current layer) means."""
    name, _, number = text.rpartition(":")
    if not number.isdecimal() or not layers:
        return
    unit = int(number)
    near = [(rank, layer) for layer in layers if (rank := _Haystack(Entry(layer.name, "")).rank(name)) is not None]
    near.sort(key=lambda pair: (pair[1].name.lower() != name, pair[0]))
    for layer in [layer for _, layer in near if unit < layer.units][:_UNITS] if name else [layers[current]]:
        if unit < layer.units:
            yield Entry(unit_id(layer.name, unit), f"goto={unit_id(layer.name, unit)}", layer.label(unit) or "unit")
