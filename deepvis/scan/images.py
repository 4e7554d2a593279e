"""The images of a scan: which there are, in which order, and their pixels as the network takes them.

A folder with all its sub-folders, a list file, or tar archives (as WebDataset writes them, each read
by offset, never unpacked). Without torch; every function may be called from any thread.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from deepvis.bands import NUMPY, read_picture
from deepvis.decode import IMAGE_SUFFIXES
from deepvis.errors import UserError
from deepvis.geometry import crop_box
from deepvis.playlist import natural_key
from deepvis.reading import read_text

_SUFFIXES = IMAGE_SUFFIXES | {NUMPY}


@dataclass(frozen=True, eq=False)
class Images:
    """A list of images.

    Attributes:
        root: what the names are relative to.
        names: in order; "shard.tar!member" for those in archives.
        members: {name: (offset, size)} of those in archives.
    """

    root: Path
    names: tuple[str, ...]
    members: dict[str, tuple[int, int]] = field(default_factory=dict)

    def after(self, names: Sequence[str]) -> Images:
        """The same images with the known ones first, in their order, and new ones behind."""
        known = set(names)
        return Images(self.root, (*names, *(name for name in self.names if name not in known)), self.members)

    def without_arrays(self) -> Images:
        """Without `.npy` files, if there are others: beside pictures they are likely to hold something else."""
        names = tuple(name for name in self.names if not name.lower().endswith(NUMPY))
        return replace(self, names=names or self.names)

    def read(self, number: int, least: tuple[int, int] | None = None, aspect: float = 1.0) -> np.ndarray:
        """Decode an image: uint8 RGB H×W×3, upright; or bands (see `deepvis.bands`).

        Args:
            least: (width, height) that the middle of that aspect has to keep: a JPEG that is at least
                twice as large is decoded at 1/2, 1/4 or 1/8, which differs a little from decoding all
                of it. None: every pixel, up to what `read_picture` takes.
        Raises:
            UserError: it is gone, damaged or no image.
        """
        name = self.names[number]
        archive, is_member, _ = name.partition("!")
        path = self.root / archive
        if not is_member:
            if least is not None:
                with _readable(path) as file:
                    image = _reduced(file, least, aspect)
                if image is not None:
                    return image
            return read_picture(path)
        if name not in self.members:
            self.members.update(_members(path, archive))
        if name not in self.members:
            raise UserError(f"{path} holds no {name.partition('!')[2]}")
        offset, size = self.members[name]
        with _readable(path) as file:
            file.seek(offset)
            data = file.read(size)
        image = _reduced(io.BytesIO(data), least, aspect) if least is not None else None
        if image is not None:
            return image
        with tempfile.TemporaryDirectory() as folder:  # whatever it is, one function knows how to read it
            copy = Path(folder, Path(name).name)
            copy.write_bytes(data)
            return read_picture(copy)


class Photos:
    """Images of which the last ones stay decoded. May be used by several threads."""

    def __init__(self, images: Images, memory: int = 96 << 20, least: tuple[int, int] | None = None) -> None:
        """
        Args:
            memory: bytes of pixels that are kept.
            least: as in `Images.read`.
        """
        self.images, self.least = images, least
        self._memory = memory
        self._alone = threading.Lock()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def read(self, number: int) -> np.ndarray:
        """As `Images.read`."""
        with self._alone:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        aspect = self.least[0] / self.least[1] if self.least else 1.0
        image = self.images.read(number, self.least, aspect)
        with self._alone:
            self._kept[number] = image
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self._memory:
                self._kept.popitem(last=False)
        return image


def _readable(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error


def _reduced(file: BinaryIO, least: tuple[int, int], aspect: float) -> np.ndarray | None:
    """A colour or gray JPEG at the least size that will do; None for what is neither, or is damaged."""
    if file.read(3) != b"\xff\xd8\xff":
        return None
    file.seek(0)
    try:
        image = JpegImageFile(file)
        turned = image.getexif().get(274, 1) >= 5
        width, height = image.size[::-1] if turned else image.size
        _, _, w, h = crop_box(height, width, aspect)
        times = min(w / least[0], h / least[1])
        if times >= 2:
            image.draft(None, tuple(int(side // times) for side in image.size))
        if image.mode not in ("RGB", "L"):
            return None
        upright = ImageOps.exif_transpose(image)
        return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except Exception:  # decoders raise anything at all; the ordinary reader will say it in words
        return None


# ---- lists --------------------------------------------------------------------------------------


def find_images(where: Path | str) -> Images:
    """The images in a folder and its sub-folders, of a list file (.txt) or in a tar archive.

    Files are in natural order (img2 before img10), an archive's members in their own. Dot files are
    skipped. Archives in a folder count like sub-folders.

    Raises:
        UserError: there is no such path, or no image in it.
    """
    where = Path(where)
    members: dict[str, tuple[int, int]] = {}
    if os.path.isdir(where):
        root, names = where, _walk(where)
    elif not os.path.isfile(where):
        raise UserError(f"--images {where}: does not exist; expected a folder, a list of files (.txt) or a tar archive")
    elif where.suffix.lower() == ".txt":
        root, names = where.parent, _listed(where)
    else:
        root, names = where.parent, [where.name]
    found: list[str] = []
    for name in names:
        if name.lower().endswith(".tar"):
            inside = _members(root / name, name)
            members.update(inside)
            found += inside
        elif _is_image(name):
            found.append(name)
    if not found:
        raise UserError(
            f"--images {where}: no image in it; expected {' '.join(sorted(_SUFFIXES))} files, or .tar archives of these"
        )
    return Images(root.absolute(), tuple(found), members)


def _walk(root: Path) -> list[str]:
    names: list[str] = []
    for here, folders, files in os.walk(root):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_key)
        inside = Path(here).relative_to(root)
        names += [(inside / f).as_posix() for f in sorted(files, key=natural_key) if _is_image(f) or f.lower().endswith(".tar")]
    return names


def _listed(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path, what="a list of files", odd_bytes="surrogateescape").split("\n")]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _is_image(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in _SUFFIXES


def _members(path: Path, name: str) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(path, "r:") as archive:
            return {
                f"{name}!{member.name}": (member.offset_data, member.size)
                for member in archive
                if member.isfile() and _is_image(member.name)
            }
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{path} cannot be read as a tar archive ({error}); compressed ones must be unpacked first") from error


# ---- batches ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Batch:
    """Some consecutive images.

    Attributes:
        first, last: numbers of the first image, and of the one behind the last.
        numbers: of those that could be read.
        pixels: N×height×width×channels float32, in the order of `numbers`.
        broken: {number: why it could not be read}.
    """

    first: int
    last: int
    numbers: list[int]
    pixels: np.ndarray
    broken: dict[int, str]


AHEAD = 2  # batches that are decoded before they are asked for


def batches(
    ranges: Sequence[tuple[int, int]], load: Callable[[int], np.ndarray], workers: int
) -> Iterator[Batch]:
    """The batches of these ranges, in order, loaded by threads (`workers`; 0: by the caller).

    Threads do: decoding and scaling let go of Python's lock.

    Args:
        load: number -> pixels, or UserError.
    """

    def tried(number: int) -> np.ndarray | str:
        try:
            return load(number)
        except UserError as error:
            return str(error)

    if workers == 0:
        for first, last in ranges:
            yield _batch(first, last, [tried(number) for number in range(first, last)])
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[tuple[int, int, list[Future]]] = deque()
    rest = iter(ranges)
    try:
        while True:
            while len(waiting) <= AHEAD and (following := next(rest, None)):
                waiting.append((*following, [pool.submit(tried, number) for number in range(*following)]))
            if not waiting:
                return
            first, last, loads = waiting.popleft()
            yield _batch(first, last, [one.result() for one in loads])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batch(first: int, last: int, loaded: Sequence[np.ndarray | str]) -> Batch:
    read = {first + i: one for i, one in enumerate(loaded) if not isinstance(one, str)}
    broken = {first + i: one for i, one in enumerate(loaded) if isinstance(one, str)}
    pixels = np.stack(list(read.values())) if read else np.zeros((0, 1, 1, 1), np.float32)
    return Batch(first, last, list(read), pixels, broken)
