"""The weights in a .caffemodel file, read without Caffe.

The file is a protocol buffer (https://protobuf.dev/programming-guides/encoding) of the message
NetParameter in Caffe's src/caffe/proto/caffe.proto. Only the fields below are looked at: layers by
name, and each layer's blobs (the first its weights, the second its biases).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_LAYER, _OLD_LAYER = 100, 2  # in NetParameter: LayerParameter, V1LayerParameter
_NAME_AND_BLOBS = {_LAYER: (1, 7), _OLD_LAYER: (4, 6)}  # fields of these two
_OLD_SHAPE, _DATA, _SHAPE = (1, 2, 3, 4), 5, 7  # in BlobProto
_DIM = 1  # in BlobShape
_MOST_BLOBS, _MOST_DIMENSIONS = 64, 32  # no real layer has more; limits for damaged files, which could take much memory


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """The blobs of every layer that has some: {"conv1/0": weights, "conv1/1": biases, …}, float32.

    Raises:
        ValueError: the file is not one of Caffe's, or is cut off.
    """
    state: dict[str, Tensor] = {}
    for field, layer in _fields(memoryview(path.read_bytes())):
        if field not in _NAME_AND_BLOBS or isinstance(layer, int):
            continue
        name_field, blob_field = _NAME_AND_BLOBS[field]
        name, blobs = "", list[memoryview]()
        for key, value in _fields(layer):
            if key == name_field:
                name = bytes(_message(value)).decode()
            elif key == blob_field:
                blobs.append(_message(value))
                if len(blobs) > _MOST_BLOBS:
                    raise ValueError(f"a layer of more than {_MOST_BLOBS} blobs")
        state |= {f"{name}/{i}": _blob(blob) for i, blob in enumerate(blobs)}
    if not state:
        raise ValueError("no layer with weights in it; expected a file that Caffe wrote")
    return state


def _blob(message: memoryview) -> Tensor:
    old_shape: dict[int, int] = {}
    shape: list[int] = []
    data = bytearray()  # the numbers' bytes, from one packed field or from a field for each number
    for field, value in _fields(message):
        if field in _OLD_SHAPE:
            old_shape[field] = _number(value)
        elif field == _SHAPE:
            shape += [dim for key, dims in _fields(_message(value)) if key == _DIM for dim in _numbers(dims)]
            if len(shape) > _MOST_DIMENSIONS:
                raise ValueError(f"a blob of more than {_MOST_DIMENSIONS} dimensions")
        elif field == _DATA:
            data += _message(value)
    values = np.frombuffer(data, "<f4")
    return torch.tensor(values).reshape(shape or [old_shape[i] for i in sorted(old_shape)])


def _numbers(dims: int | memoryview) -> list[int]:
    """The numbers of a repeated field, which has one number or several packed together."""
    if isinstance(dims, int):
        return [dims]
    found, at = list[int](), 0
    while at < len(dims) and len(found) <= _MOST_DIMENSIONS:
        number, at = _varint(dims, at)
        found.append(number)
    return found


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("no file of Caffe's: bytes in place of a number")
    return value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("no file of Caffe's: a number in place of bytes")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of a message's fields: numbers as int, all else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield field, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = struct.calcsize("<d" if kind == 1 else "<f")
        else:
            raise ValueError(f"no protocol buffer: a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("the file is cut off")
        yield field, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number stored with seven bits in each byte, the lowest first; returns it and the position after it."""
    number = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        number |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return number, at
    raise ValueError("the file is cut off")
