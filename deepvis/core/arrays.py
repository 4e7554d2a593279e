"""Reading of .npy and .npz files from outside. What their headers declare is checked before anything is unpacked.

Only arrays of numbers are read, never pickles. And writing of .npz files piece by piece. Without torch.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from deepvis.core.errors import UserError
from deepvis.core.files import open_regular
from deepvis.core.reading import size_text

ROOM = 256 << 20  # an .npz file may unpack to this many bytes …
RATIO = 32  # … plus this many times its own size
_MEMBERS = 20_000
_DIMENSIONS = 8
_HEADER = 12_000  # bytes; NumPy's own bound is 10,000 characters
_KINDS = "biuf"  # bool, int, uint, float


@dataclass(frozen=True)
class Declared:
    """What the header of an array says.

    Attributes:
        dtype: a type of numbers.
        shape: no entry is below 0.
        fortran: the numbers are in Fortran order.
        start: where the numbers begin in the file, in bytes.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ArrayFile:
    """The arrays of an .npz file. Their headers are read at once; an array is unpacked when it is asked for.

    Attributes:
        room: the number of bytes that the file may unpack to.
        declared: {name: what the array's header says}.
    """

    def __init__(self, archive: zipfile.ZipFile, room: int) -> None:
        """Raises ValueError, or whatever zipfile and NumPy raise; `open_arrays` makes a UserError of it."""
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
        """One array, newly allocated and in the machine's byte order. Raises KeyError if there is none of that name."""
        if name not in self.declared:
            raise KeyError(f"{name} is missing")
        with self._archive.open(self._by_name[name]) as member:
            return _numbers(member, self.declared[name])


@contextlib.contextmanager
def open_arrays(path: Path, what: str, remedy: str, room: int = ROOM, ratio: int = RATIO) -> Iterator[ArrayFile]:
    """A context manager that opens an .npz file. Whatever its block raises becomes a UserError about the file.

    Args:
        what, remedy: for the message: what is expected there, and what to do if it is something else.
        room, ratio: the file may unpack to `room` bytes plus `ratio` times its own size.
    Raises:
        UserError: the file cannot be read, is not an .npz file of numbers, or unpacks to more than that.
    """
    with open_regular(path, what) as file:
        try:
            most = room + ratio * os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                check_sizes(archive, most)
                yield ArrayFile(archive, most)
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors
            raise UserError(f"{path}: cannot be read as {what} ({reason(error)}). {remedy}") from error


def check_sizes(archive: zipfile.ZipFile, most: int) -> None:
    """Raise ValueError if an archive declares that it unpacks to more than `most` bytes."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > most:
        raise ValueError(f"it unpacks to {size_text(unpacked)}, expected at most {size_text(most)}")


def read_array(path: Path, what: str, remedy: str) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        UserError: the file cannot be read, or is not an .npy file of numbers.
    """
    with open_regular(path, what) as file:
        try:
            declared = _declared(file.read(_HEADER), os.fstat(file.fileno()).st_size, path.name)
            file.seek(0)
            return _numbers(file, declared)
        except Exception as error:  # NumPy parses the header as Python
            raise UserError(f"{path}: cannot be read as {what} ({reason(error)}). {remedy}") from error


def reason(error: Exception) -> str:
    """The first line of a library's error message, shortened; the name of its class if it has no message."""
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _declared(begin: bytes, size: int, name: str) -> Declared:
    """The header in the first bytes of an .npy file of `size` bytes. Raises ValueError if the two do not fit."""
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
    file.read(1)  # reading to the end makes zipfile compare the checksum
    array = array.astype(declared.dtype.newbyteorder("="), copy=False)
    return array.reshape(declared.shape, order="F" if declared.fortran else "C")


# ---- writing ------------------------------------------------------------------------------------


@contextlib.contextmanager
def array_member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> Iterator[Callable[[bytes | memoryview], object]]:
    """Begin an array in an .npz archive. The block gets a function that takes its numbers' bytes, in C order.

    The same arrays give the same bytes, whenever they are written.
    """
    info = zipfile.ZipInfo(f"{name}.npy")  # of 1980: the time would make other bytes
    with archive.open(info, "w", force_zip64=True) as member:
        head: dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, head)
        yield member.write


def add_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Add an array of numbers or texts to an .npz archive."""
    if array.dtype.hasobject:
        raise TypeError(f"{name} holds Python objects")
    with array_member(archive, name, array.dtype, array.shape) as write:
        write(np.ascontiguousarray(array).tobytes())


def text_array(texts: Iterable[str]) -> np.ndarray:
    """Texts as an array that `np.load(allow_pickle=False)` reads."""
    return np.array([*texts], np.str_)
