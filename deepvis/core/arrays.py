"""NumPy's files, .npy and .npz, that others wrote: what they declare is checked before anything is unpacked.

No pickles, numbers only. Without torch.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import open_regular
from deepvis.core.reading import size_text

ROOM = 256 << 20  # bytes that any .npz may unpack to
RATIO = 32  # times its own size that it may unpack to beyond that
_MEMBERS = 20_000
_DIMENSIONS = 8
_HEADER = 12_000  # bytes; NumPy's own bound is 10,000 characters
_KINDS = "biuf"  # bool, int, uint, float


@dataclass(frozen=True)
class Declared:
    """What the header of an array says.

    Attributes:
        dtype: of numbers.
        shape: no entry below 0.
        fortran: columns first.
        start: where the numbers begin in its file.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ArrayFile:
    """The arrays of an .npz file: what they are is known, and each is unpacked when it is asked for.

    Attributes:
        room: bytes that what is made of the file may take.
        declared: {name: what its header says}.
    """

    def __init__(self, archive: zipfile.ZipFile, room: int) -> None:
        """Raises ValueError and what else zipfile and NumPy raise; `open_arrays` puts it in words."""
        self._archive, self.room, infos = archive, room, archive.infolist()
        if len(infos) > _MEMBERS:
            raise ValueError(f"{len(infos)} arrays in it, expected at most {_MEMBERS}")
        self._by_name = {info.filename.removesuffix(".npy"): info for info in infos}
        if len(self._by_name) < len(infos):
            raise ValueError("two arrays of one name")
        self.declared = {name: self._declared(info) for name, info in self._by_name.items()}

    def _declared(self, info: zipfile.ZipInfo) -> Declared:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ValueError(f"{info.filename} is packed in a way that NumPy does not pack")
        with self._archive.open(info) as member:
            return _declared(member.read(_HEADER), info.file_size, info.filename)

    def __contains__(self, name: object) -> bool:
        return name in self.declared

    def __getitem__(self, name: str) -> np.ndarray:
        """One array, owned and in the machine's byte order. Raises KeyError if there is none."""
        if name not in self.declared:
            raise KeyError(f"{name} is missing")
        with self._archive.open(self._by_name[name]) as member:
            return _numbers(member, self.declared[name])


@contextlib.contextmanager
def open_arrays(path: Path, what: str, remedy: str, room: int = ROOM, ratio: int = RATIO) -> Iterator[ArrayFile]:
    """The arrays of an .npz file, for the block in which they are read.

    Whatever the block raises says that the file is not what it should be, and becomes a UserError.

    Args:
        what, remedy: that is expected there, and what to do where it is something else.
        room, ratio: it may unpack to `room` bytes and `ratio` times its own size.
    Raises:
        UserError: it cannot be read, is no .npz file of numbers, or unpacks to more than that.
    """
    with open_regular(path, what) as file:
        try:
            most = room + ratio * os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                check_sizes(archive, most)
                yield ArrayFile(archive, most)
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy have each their many kinds
            raise UserError(f"{path}: cannot be read as {what} ({reason(error)}). {remedy}") from error


def check_sizes(archive: zipfile.ZipFile, most: int) -> None:
    """Raises ValueError if an archive says that it unpacks to more than that many bytes."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > most:
        raise ValueError(f"it unpacks to {size_text(unpacked)}, expected at most {size_text(most)}")


def read_array(path: Path, what: str, remedy: str) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        UserError: it cannot be read, or is no such file of numbers.
    """
    with open_regular(path, what) as file:
        try:
            declared = _declared(file.read(_HEADER), os.fstat(file.fileno()).st_size, path.name)
            file.seek(0)
            return _numbers(file, declared)
        except Exception as error:  # NumPy parses the header as Python
            raise UserError(f"{path}: cannot be read as {what} ({reason(error)}). {remedy}") from error


def reason(error: Exception) -> str:
    """The first line of a foreign error, cut short; its kind, where it says nothing."""
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _declared(begin: bytes, size: int, name: str) -> Declared:
    """What the first bytes of an array's file of `size` bytes say; raises ValueError if they do not fit it."""
    head = io.BytesIO(begin)
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is not an array of numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(head)
    declared = Declared(dtype, shape, fortran, head.tell())
    if dtype.kind not in _KINDS or dtype.shape:
        raise ValueError(f"{name} is an array of {dtype}, expected numbers")
    if len(shape) > _DIMENSIONS or any(side < 0 for side in shape):
        raise ValueError(f"{name} has the shape {str(shape)[:80]}")
    if declared.start + declared.nbytes != size:
        raise ValueError(
            f"{name} is of {size} bytes, expected {size_text(declared.start + declared.nbytes)} for the shape {shape}"
        )
    return declared


def _numbers(file: IO[bytes], declared: Declared) -> np.ndarray:
    file.read(declared.start)
    array = np.empty(math.prod(declared.shape), declared.dtype)
    room = array.view(np.uint8).data
    done = 0
    while done < len(room):
        part = file.read(min(1 << 22, len(room) - done))
        if not part:
            raise ValueError("the file is cut off")
        room[done : done + len(part)] = part
        done += len(part)
    file.read(1)  # so that zipfile compares the check sum
    array = array.astype(declared.dtype.newbyteorder("="), copy=False)
    return array.reshape(declared.shape, order="F" if declared.fortran else "C")
