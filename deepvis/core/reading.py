"""Reading of text files from outside: YAML, JSON, plain text. Arrays: `deepvis.core.arrays`. Without torch.

Whatever a file holds, its reader returns plain values (or a text), or raises a UserError that names the
file, the line, what was expected and the remedy. Nothing in the file is executed. File sizes are limited, and
time and memory grow only in proportion to the size: a YAML alias counts as all the values that it stands for.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, cast
from urllib.parse import parse_qsl

import yaml

from deepvis.core.errors import UserError
from deepvis.core.files import open_regular

YAML_BYTES = 1 << 20  # the longest real files, with lists of some ten thousand labels, take half of it
TEXT_BYTES = 64 << 20
LINK = 8192  # characters
JSON_BYTES = 64 << 20
_NODES = 50_000  # of a YAML file, aliases counted as what they stand for
_DEPTH = 32
_NUMBER = 400  # characters of a number, a date …: converting takes time in proportion to their square
_INTEGER = 1 << 63
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge")}

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlevel = 2


def shown(value: object) -> str:
    """A value from a file as a text for messages, shortened if it is long."""
    return _short.repr(value)


# ---- bytes and text -----------------------------------------------------------------------------


def read_bytes(path: Path, limit: int = TEXT_BYTES, what: str = "a file") -> bytes:
    """Read a whole file.

    Raises:
        UserError: the file does not exist, cannot be read, or is larger than `limit` bytes.
    """
    with open_regular(path, what) as file:
        if os.fstat(file.fileno()).st_size <= limit:
            try:
                data = file.read(limit + 1)  # it may grow meanwhile
            except OSError as error:
                raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
            if len(data) <= limit:
                return data
    raise UserError(f"{path}: more than {size_text(limit)}; expected {what} of at most that. Give another file.")


def size_text(size: float) -> str:
    """Bytes in words: "64 MiB"."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def read_text(path: Path, limit: int = TEXT_BYTES, what: str = "a text file", odd_bytes: str = "strict") -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        odd_bytes: what to do with bytes that are not UTF-8, as in `bytes.decode`: "strict" refuses them,
            "surrogateescape" keeps them, which names of files need.
    Raises:
        UserError: as in `read_bytes`, or the file is not text.
    """
    data = read_bytes(path, limit, what)
    if (place := data.find(b"\0")) >= 0:
        raise UserError(
            f"{_at(path, data, place)}: a zero byte, which no text has; expected {what}. Save it as UTF-8 text."
        )
    try:
        return data.decode("utf-8-sig", odd_bytes)
    except UnicodeDecodeError as error:
        place = error.start
        raise UserError(
            f"{_at(path, data, place)}: byte {data[place]:#04x} is not UTF-8 text; save the file as UTF-8"
        ) from error


def _at(path: Path, data: bytes, place: int) -> str:
    line = data.count(b"\n", 0, place) + 1
    return f"{path}, line {line}"


# ---- YAML ---------------------------------------------------------------------------------------


class BoundedLoader(yaml.SafeLoader):
    """A YAML loader that refuses files which are nested too deeply or, with aliases expanded, hold too many values."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._extents: dict[int, tuple[int, int]] = {}  # {id of a finished node: (nodes in it, their depth)}
        self._depth = 0
        self.circle: yaml.Node | None = None
        """A node that contains itself; None if there is none."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        start = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave its types out
        self._depth += 1
        if self._depth > _DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", start)
        if len(self._extents) > _NODES:
            raise yaml.composer.ComposerError(None, None, f"more than {_NODES:,} values", start)
        is_alias = self.check_event(yaml.AliasEvent)
        node = cast(yaml.Node, super().compose_node(parent, index))  # never None, whatever the stubs say
        self._depth -= 1
        if is_alias and id(node) not in self._extents:  # an alias of a node that is not finished: a circle
            self.circle = node
        elif id(node) not in self._extents:
            self._extents[id(node)] = self._extent(node, start)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A node's value. Whatever a converter raises becomes a ConstructorError with the node's place."""
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # PyYAML lets through whatever they raise
            raise yaml.constructor.ConstructorError(
                None, None, str(error) or type(error).__name__, node.start_mark
            ) from error
        if isinstance(value, int) and not -_INTEGER <= value < _INTEGER:
            raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
        return value

    def _extent(self, node: yaml.Node, start: yaml.Mark) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            if node.tag != _TAG + "str" and len(node.value) > _NUMBER:
                raise yaml.composer.ComposerError(None, None, "a number of too many digits", start)
            return 1, 1
        inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        extents = [self._extents.get(id(part), (1, 1)) for part in inner]
        count, depth = 1 + sum(n for n, _ in extents), 1 + max((d for _, d in extents), default=0)
        if count > _NODES or depth > _DEPTH:
            what = f"more than {_NODES:,} values" if count > _NODES else "nested too deeply"
            raise yaml.composer.ComposerError(None, None, f"{what}, aliases counted as what they stand for", start)
        return count, depth


def parse_yaml(path: Path, what: str = "a YAML file") -> tuple[BoundedLoader, yaml.Node | None]:
    """Parse a YAML file; return the loader and the root node (None if the file is empty).

    Raises:
        UserError: the file cannot be read, is not YAML, or is too large; with the line of the mistake.
    """
    text, loader = read_text(path, YAML_BYTES, what), None
    try:
        loader = BoundedLoader(text)
        return loader, loader.get_single_node()
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:  # OverflowError: "\U99999999"
        raise UserError(_syntax_problem(path, text, error, loader.line + 1 if loader else 1)) from error


def _syntax_problem(path: Path, text: str, error: Exception, line: int) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        line = error.problem_mark.line + 1
        what = " ".join(filter(None, (error.context, error.problem)))
    elif isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        what = f"character {chr(error.character)!r} is not allowed"
    else:
        what = "nested too deeply" if isinstance(error, RecursionError) else "a character that does not exist"
    lines = text.splitlines() or [""]
    source = lines[min(line, len(lines)) - 1].strip()
    return (f"{path}, line {line}: not valid YAML at {shown(source)}: {what}; write `key: value`, "
            "indent with spaces, and put text with special characters in quotes")  # fmt: skip


@dataclass(frozen=True)
class YamlFile:
    """The contents of a YAML file.

    Attributes:
        values: None, bool, int (64 bits), float, str, list or dict; dates are text.
        lines: {key: its line}; keys in a section are called "section.key".
    """

    path: Path
    values: Any
    lines: Mapping[str, int]

    def wrong(self, text: object) -> UserError:
        """A UserError with this text, the file's name, and the line of the key that the text begins with."""
        return UserError(f"{place_of(self.path, self.lines, str(text))}: {text}")


def place_of(where: object, lines: Mapping[str, int], text: str) -> str:
    """ "model.yaml, line 7" if the text begins with the name of a key in line 7; "model.yaml" if with no key's name."""
    key = re.match(r"(?:unknown (?:key|parameter) ')?([\w.]+)", text)
    while key and key[1] not in lines and "." in key[1]:
        key = re.match(r"(.+)\.", key[1])
    return f"{where}, line {lines[key[1]]}" if key and key[1] in lines else f"{where}"


def read_yaml(path: Path, what: str = "a YAML file") -> YamlFile:
    """Read a YAML file of plain values. A key that is given twice is refused, because it is not clear which one counts.

    Raises:
        UserError: as in `parse_yaml`, or the file holds something else than plain values.
    """
    loader, root = parse_yaml(path, what)
    if root is None:
        return YamlFile(path, None, {})
    if loader.circle:
        _refuse(path, loader.circle, "a list or a section that holds itself; expected plain values. Write it out")
    _check_plain(path, root)
    lines = _lines(root)
    try:
        return YamlFile(path, loader.construct_document(root), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or root.start_mark
        raise UserError(
            f"{path}, line {mark.line + 1}: cannot be read ({error.problem}); expected plain values. "
            "Put text in quotes."
        ) from error


def _lines(node: yaml.Node, prefix: str = "") -> dict[str, int]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    found: dict[str, int] = {}
    for key, value in node.value:
        found[prefix + key.value] = key.start_mark.line + 1
        if not prefix:
            found |= _lines(value, f"{key.value}.")
    return found


def _check_plain(path: Path, root: yaml.Node) -> None:
    """Check that all nodes hold plain values, and turn dates into text. Raises UserError."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag not in _PLAIN:
            _refuse(
                path,
                node,
                f"a value of the kind {shown(node.tag.removeprefix(_TAG))}; expected plain values. Put text in quotes",
            )
        if isinstance(node, yaml.MappingNode):
            _check_keys(path, node)
            todo += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
        else:
            _check_scalar(path, node)


def _check_keys(path: Path, node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse(path, key, "a list or a section as a key; expected lines `key: value`. Write such lines")
        if key.value in lines and key.tag != _TAG + "merge":
            _refuse(
                path,
                key,
                f"{shown(key.value)} is given twice, first in line {lines[key.value]}; expected once. "
                "Remove one of the two",
            )
        lines.setdefault(key.value, key.start_mark.line + 1)


def _check_scalar(path: Path, node: yaml.Node) -> None:
    if node.tag == _TAG + "timestamp":
        node.tag = _TAG + "str"
    if node.tag == _TAG + "str" and not is_text(node.value):
        _refuse(path, node, f"{shown(node.value)} has characters that no text has (\\0, \\ud800 …). Remove them")


def _refuse(path: Path, node: yaml.Node, problem: str) -> NoReturn:
    raise UserError(f"{path}, line {node.start_mark.line + 1}: {problem}.")


def is_text(value: object, odd_bytes: str = "strict") -> TypeGuard[str]:
    """Whether a value is a text that can be shown, written and used as a name: without NUL and lone surrogates.

    Args:
        odd_bytes: "surrogateescape" allows the surrogates that stand for bytes of a file name that are not UTF-8.
    """
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode("utf-8", odd_bytes)
    except UnicodeEncodeError:
        return False
    return True


# ---- JSON ---------------------------------------------------------------------------------------


def parse_json(text: str, where: Callable[[int], str], what: str = "JSON") -> Any:
    """Parse a JSON text; whole numbers may have at most 64 bits.

    Args:
        where: turns a line number into the name of the place, for the error.
        what: what is expected there, for the error.
    Raises:
        UserError: the text is not JSON.
    """
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(": line ")[0]
        raise UserError(f"{where(line)}: not valid JSON ({why}); expected {what}. Write the file again.") from error


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -_INTEGER <= int(digits) < _INTEGER:
        raise ValueError("a number of too many digits")
    return int(digits)


# ---- links --------------------------------------------------------------------------------------


def read_link(link: str, begin: str, what: str) -> dict[str, str]:
    """The values in a link such as "deepvis://view?unit=head:151&zoom=unit", all of them texts.

    Args:
        begin: what stands before the values: "deepvis://view?".
        what: what is expected, for the message.
    Raises:
        UserError: it begins in another way, is too long, is not text, or gives a value twice.
    """
    remedy = f"expected {what}. Copy the whole link again"
    if len(link) > LINK:
        raise UserError(f"{shown(link)}: more than {LINK:,} characters; {remedy}")
    if not link.startswith(begin):
        raise UserError(f"{shown(link)}: does not begin with {begin}; {remedy}")
    try:
        pairs = parse_qsl(link.removeprefix(begin), True, strict_parsing=True, errors="strict", max_num_fields=200)
    except ValueError as error:  # also UnicodeDecodeError
        raise UserError(f"{shown(link)}: not pairs NAME=VALUE with & between them ({error}); {remedy}") from error
    values = dict(pairs)
    for name, value in pairs:
        if not is_text(name) or not is_text(value):
            raise UserError(f"{shown(link)}: {shown(name)} has characters that no text has; {remedy}")
        if values[name] != value:
            raise UserError(f"{shown(link)}: {shown(name)} is given twice; {remedy}")
    return values
