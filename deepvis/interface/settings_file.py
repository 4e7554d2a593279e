"""The entries of a settings.yaml, each with the line that it stands in. What they may be is in `settings`."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from deepvis.core.reading import parse_yaml, shown


@dataclass(frozen=True)
class SettingsEntry:
    """A given value: its dotted key, and where it was given ("settings.yaml, line 7", "--model")."""

    key: str
    value: object
    where: str


def entries_of(path: Path, sections: Collection[str], problems: list[str]) -> Iterator[SettingsEntry]:
    """The file's entries in order; mistakes in its form are added to `problems`.

    Args:
        sections: the keys that hold further keys.
    """
    loader, root = parse_yaml(path, "a readable YAML file with settings")
    yield from _Walk(loader, path, sections, problems).through(root)


@dataclass(frozen=True)
class _Walk:
    """A walk through a file; `lines` notes where each key stands."""

    loader: yaml.SafeLoader
    path: Path
    sections: Collection[str]
    problems: list[str]
    lines: dict[str, int] = field(default_factory=dict)

    def through(self, node: yaml.Node | None, prefix: str = "") -> Iterator[SettingsEntry]:
        """The entries of one mapping and of the sections in it."""
        if node is None or node.tag == "tag:yaml.org,2002:null":
            return  # an empty file, or a section whose lines are all commented out
        if not isinstance(node, yaml.MappingNode):
            self._complain(
                node,
                f"{prefix[:-1] or 'the file'} is {_source(node)}; allowed: lines `key: value`"
                f"{' indented below it' if prefix else ''}. Write such lines instead",
            )
            return
        for key_node, value_node in node.value:
            # The text of the key, not its YAML value: `on:` would be true.
            key = prefix + (key_node.value if isinstance(key_node, yaml.ScalarNode) else "?")
            if key in self.lines:
                self._complain(
                    key_node,
                    f"{key} is given twice (here {_source(value_node)}), first in line {self.lines[key]}; allowed: "
                    "once. Remove one of the two",
                )
                continue
            self.lines[key] = key_node.start_mark.line + 1
            if key in self.sections:
                yield from self.through(value_node, f"{key}.")
            else:
                yield from self._entry(key, value_node)

    def _entry(self, key: str, node: yaml.Node) -> Iterator[SettingsEntry]:
        """The entry, unless YAML cannot read its value."""
        try:
            value = self.loader.construct_object(node, deep=True)
        except Exception as error:  # PyYAML lets through whatever its converters raise
            reason = getattr(error, "problem", None) or error
            self.problems.append(
                f"{self._place(key)}: {key} is {_source(node)}, which YAML cannot read ({reason}); allowed: plain "
                "values. Put text in quotes"
            )
        else:
            yield SettingsEntry(key, value, self._place(key))

    def _complain(self, node: yaml.Node, words: str) -> None:
        self.problems.append(f"{self.path}, line {node.start_mark.line + 1}: {words}")

    def _place(self, key: str) -> str:
        return f"{self.path}, line {self.lines[key]}"


def _source(node: yaml.Node) -> str:
    """A node's text as it stands in the file."""
    start, end = node.start_mark, node.end_mark
    return value_text((start.buffer or "")[start.pointer : end.pointer].strip())


def value_text(value: object) -> str:
    """A value as it would be written in the file, shortened if it is long."""
    if isinstance(value, (type(None), bool)):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, datetime.date):  # what YAML makes of 2024-01-01
        return str(value)
    return shown(list(value) if isinstance(value, tuple) else value)
