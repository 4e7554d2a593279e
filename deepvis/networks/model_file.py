"""Reading model.yaml and label files, and checking the type of each entry. `loading.py` uses the entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeGuard

from deepvis.core.errors import UserError
from deepvis.core.nearest import nearest
from deepvis.core.reading import YamlFile, is_text, read_text, read_yaml, shown

SIDE = 8192  # pixels of an input's height and width
CHANNELS = 4096
NUMBERS = 1 << 28  # most values of an input, one gigabyte
VALUE = 1_000_000  # largest value of mean, std and range
_LABELS = 1_000_000
_LABELS_BYTES = 64 << 20
_NAME = 500  # characters of a label, a layer's name, a module's path
_TEXT = 4096


def read_model_file(path: Path) -> YamlFile:
    """Read a model.yaml, and check that all keys are known and all values have the right type.

    Raises:
        UserError: the file cannot be read, or a key or value is wrong; with its line.
    """
    file = read_yaml(path, "a model.yaml")
    values = file.values
    if not isinstance(values, dict) or "source" not in values:
        raise UserError(f"{path}: expected keys and values with at least 'source:', such as timm:resnet18")
    for key, value in values.items():
        if key not in _KINDS:
            near = nearest(str(key), KEYS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise file.wrong(f"unknown key {shown(key)}{hint}; allowed are {', '.join(KEYS)}")
        is_kind, expected = _KINDS[key]
        if not is_kind(value):
            raise file.wrong(f"{key}: {shown(value)}: expected {expected}")
    return file


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the labels of a text file, one on each line.

    Raises:
        UserError: the file cannot be read, is not UTF-8 text, or has too many or too long lines.
    """
    lines = tuple(
        line.strip() for line in read_text(path, _LABELS_BYTES, "a text file with one label per line").splitlines()
    )
    if len(lines) > _LABELS:
        raise UserError(
            f"{path}: {len(lines):,} lines; expected one label per line, {_LABELS:,} at most. Give another file."
        )
    for number, line in enumerate(lines, 1):
        if len(line) > _NAME:
            raise UserError(
                f"{path}, line {number}: {len(line):,} characters; expected a label of {_NAME} at most. Shorten it."
            )
    return lines


def _is_line(value: object, most: int = _TEXT) -> TypeGuard[str]:
    return is_text(value) and len(value) <= most


def _is_name(value: object) -> bool:
    """Whether a value can be a name; numbers are allowed, because YAML reads some names as numbers."""
    return _is_line(value, _NAME) or isinstance(value, (int, float))


def _is_source(value: object) -> bool:
    return _is_line(value) and bool(value.strip())


def _is_args(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_line(key, _NAME) for key in value)


def _is_labels(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_name(layer) and not isinstance(of, Mapping) and _is_labels(of) for layer, of in value.items())
    if isinstance(value, list):
        return all(map(_is_name, value))
    return value is False or _is_line(value)


def _is_layers(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(_is_name(name) and _is_name(path) for name, path in value.items())
    )


def _or_nothing(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "source": (_is_source, "a source such as timm:resnet18"),
    "args": (_or_nothing(_is_args), "lines such as 'num_classes: 10'"),
    "weights": (_or_nothing(_is_line), "auto, none, a name that the source knows, or a file"),
    "weights_from": (_or_nothing(_is_line), "a text that says where the weights are to be had"),
    "match": (_or_nothing(_is_line), "name or order"),
    "input": (_or_nothing(lambda value: isinstance(value, Mapping)), "lines such as 'height: 224'"),
    "output": (_or_nothing(lambda value: _is_line(value) or type(value) is int), "the name or the number of an output"),
    "labels": (
        _or_nothing(_is_labels),
        "'imagenet', a text file with one label per line, a list of labels, or lines 'LAYER: FILE'",
    ),
    "softmax": (_or_nothing(lambda value: isinstance(value, bool)), "true, false, or no line for the usual"),
    "layers": (_or_nothing(_is_layers), "lines such as 'conv1: features.0', or no layers: at all for all"),
}
KEYS = tuple(_KINDS)
