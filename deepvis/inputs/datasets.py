"""The images of a scan: their list in a fixed order, and reading them.

They are in a folder with its sub-folders, in a list file, or in tar archives (as WebDataset writes them; members are
read at their offsets, without unpacking). Without torch; every function may be called from any thread.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from cachetools import LRUCache
from PIL import ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from deepvis.core.caches import byte_cache, keep
from deepvis.core.errors import UserError
from deepvis.core.files import is_regular, open_regular, shortened, system_reason
from deepvis.core.geometry import crop_box
from deepvis.core.reading import read_bytes
from deepvis.inputs.bands import NUMPY, Reading, decode_picture
from deepvis.inputs.decode import IMAGE_SUFFIXES, known_header
from deepvis.inputs.folders import listed
from deepvis.inputs.headers import MAX_PIXELS, check_memory

_SUFFIXES = IMAGE_SUFFIXES | {NUMPY}


@dataclass(frozen=True, eq=False)
class Images:
    """A list of images.

    Attributes:
        root: the folder that the names are relative to.
        names: the files in order; "shard.tar!member" for images in archives.
        members: {name: (offset, size)} of images in archives.
        reading: how they are read for the network.
        note: called with a text that says what was guessed about an image.
    """

    root: Path
    names: tuple[str, ...]
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    reading: Reading = Reading()
    note: Callable[[str], None] = lambda text: None

    def after(self, names: Sequence[str]) -> Images:
        """The same images in another order: first those in `names`, then the new ones."""
        known = set(names)
        return replace(self, names=(*names, *(name for name in self.names if name not in known)))

    def without_arrays(self, say: Callable[[str], None] = lambda text: None) -> Images:
        """The images without `.npy` files; beside pictures these are likely to hold something else.

        If there are only `.npy` files they stay.

        Args:
            say: called with a text that counts what is left out.
        """
        names = tuple(name for name in self.names if not name.lower().endswith(NUMPY))
        if not names or len(names) == len(self.names):
            return self
        first = next(name for name in self.names if name.lower().endswith(NUMPY))
        count = len(self.names) - len(names)
        say(
            f"{count:,} {NUMPY} file{' is' if count == 1 else 's are'} left out ({first}{' …' if count > 1 else ''}): "
            f"beside pictures, a network of at most three channels takes none. Put them in a folder of their own"
        )
        return replace(self, names=names)

    def read(self, number: int, least: tuple[int, int] | None = None, aspect: float = 1.0) -> np.ndarray:
        """Decode an image: uint8 RGB H×W×3, upright; or bands (see `deepvis.inputs.bands`).

        Args:
            least: (width, height) that the image's centred crop must at least have. A JPEG that is at least twice as
                large is decoded at 1/2, 1/4 or 1/8 of its size, which saves time and changes the pixels a little.
                None decodes every pixel, up to the limit of `read_picture`.
            aspect: width / height of that crop.
        Raises:
            UserError: the file is gone, damaged or not an image.
        """
        name = self.names[number]
        try:
            return self._read(name, least, aspect)
        except OSError as error:  # it was opened, but the disk or the network behind it fails
            raise UserError(f"{shortened(self.root / name)} cannot be read ({system_reason(error)})") from error

    def _read(self, name: str, least: tuple[int, int] | None, aspect: float) -> np.ndarray:
        inside = _IN_ARCHIVE.fullmatch(name)
        with self._member(name, inside[1]) if inside else open_regular(self.root / name, "a picture file") as file:
            if not inside and _is_archive(name):  # an archive that `find_images` could not read: say why
                _members(file, self.root / name, name)
            label = shortened(PurePosixPath(inside[2] if inside else name).name)
            image = _reduced(file, label, least, aspect) if least is not None else None
            if image is not None:
                return image
            file.seek(0)
            return decode_picture(file, label, reading=self.reading, note=self.note)

    def _member(self, name: str, archive: str) -> BinaryIO:
        path = self.root / archive
        with open_regular(path, "a tar archive") as file:
            if name not in self.members:
                self.members.update(_members(file, path, archive))
            if name not in self.members:
                raise UserError(f"{path} holds no {shortened(name[len(archive) + 1 :])}")
            offset, size = self.members[name]
            if size < 0:
                raise UserError(
                    f"{path} is damaged from byte {offset:,} on, and what follows there is not read: "
                    "copy or download it again"
                )
            length = file.seek(0, os.SEEK_END)
            if offset + size > length:
                member = shortened(name[len(archive) + 1 :])
                raise UserError(f"{path} ends before its {member} does: copy or download it again")
            check_memory(shortened(name), size, f"{size / 1e9:.1f} GB")
            file.seek(offset)
            return io.BytesIO(file.read(size))


class Photos:
    """Images with a cache of the last ones used. May be used by several threads."""

    def __init__(self, images: Images, memory: int = 48 << 20, least: tuple[int, int] | None = None) -> None:
        """
        Args:
            memory: size of the cache in bytes.
            least: as in `Images.read`.
        """
        self.images, self.least = images, least
        self._alone = threading.Lock()
        self._kept: LRUCache[int, np.ndarray] = byte_cache(memory, lambda image: image.nbytes)

    def read(self, number: int) -> np.ndarray:
        """Read an image as `Images.read` does, from the cache if it is there."""
        with self._alone:
            if number in self._kept:
                return self._kept[number]
        aspect = self.least[0] / self.least[1] if self.least else 1.0
        image = self.images.read(number, self.least, aspect)
        with self._alone:
            return keep(self._kept, number, image)


def _reduced(file: BinaryIO, name: str, least: tuple[int, int], aspect: float) -> np.ndarray | None:
    """Decode a colour or gray JPEG at the smallest size that is enough; None if it is something else or damaged."""
    if file.read(3) != b"\xff\xd8\xff":
        return None
    try:
        known_header(file, name, MAX_PIXELS)
        image = JpegImageFile(file)
        turned = image.getexif().get(274, 1) >= 5
        width, height = image.size[::-1] if turned else image.size
        _, _, w, h = crop_box(height, width, aspect)
        times = min(w / least[0], h / least[1])
        if times >= 2:
            image.draft(None, (int(image.width // times), int(image.height // times)))
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
    if where.is_dir():
        root, names = where, listed(where, lambda name: _is_image(name) or _is_archive(name)).names
    elif not is_regular(where):
        open_regular(where, "a folder, a list of files (.txt) or a tar archive").close()  # raises: it is none of these
        raise UserError(f"--images {where}: has changed; try again")
    elif where.suffix.lower() == ".txt":
        root, names = where.parent, _listed(where)
    else:
        root, names = where.parent, [where.name]
    found: list[str] = []
    for name in names:
        if _is_archive(name):
            try:
                with open_regular(root / name, "a tar archive") as file:
                    inside = _members(file, root / name, name)
            except UserError:
                if root / name == where:
                    raise
                found.append(name)  # kept among the others, so that the scan reports it as broken
            else:
                members.update(inside)
                found += inside
        elif _is_image(name):
            found.append(name)
    if not found:
        raise UserError(
            f"--images {where}: no image in it; expected {' '.join(sorted(_SUFFIXES))} files, or .tar archives of these"
        )
    return Images(root.absolute(), tuple(found), members)


def _listed(path: Path) -> list[str]:
    lines = _named(read_bytes(path, what="a list of files").decode("utf-8-sig", "surrogateescape")).splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))


def _is_image(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in _SUFFIXES


_IN_ARCHIVE = re.compile(r"(.*?\.tar)!(.*)", re.IGNORECASE | re.DOTALL)


def _is_archive(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith(".") and base.lower().endswith(".tar")


def _named(text: str) -> str:
    """The text without NUL, which no path can have and which separates the names in an index."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


_DAMAGED = "(damaged from here on)"  # stands for the members of an archive that cannot be found; reading it says so


def _members(file: BinaryIO, path: Path, name: str) -> dict[str, tuple[int, int]]:
    """The images in an open archive; of one that is damaged further on, those before, and an entry that says so."""
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.isfile() and _is_image(member.name):
                    found[f"{name}!{_named(member.name)}"] = (member.offset_data, member.size)
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # an undamaged archive has zeros here, or nothing
                found[f"{name}!{_DAMAGED}"] = (archive.offset, -1)
    except Exception as error:  # damage raises anything at all
        if not found:
            raise UserError(
                f"{path} cannot be read as a tar archive ({str(error)[:200]}); compressed ones must be unpacked first"
            ) from error
    return found


# ---- batches ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Batch:
    """Some consecutive images.

    Attributes:
        first, last: numbers of the images: from `first` up to but not including `last`.
        numbers: the numbers of the images that could be read.
        pixels: N×height×width×channels float32, in the order of `numbers`.
        broken: {number: why it could not be read}.
    """

    first: int
    last: int
    numbers: list[int]
    pixels: np.ndarray
    broken: dict[int, str]


AHEAD = 2  # batches to decode in advance


def batch_ranges(count: int, size: int) -> list[tuple[int, int]]:
    """The images' numbers from 0 in batches of `size`: (first, last), the last one left out."""
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def batches(
    ranges: Sequence[tuple[int, int]], load: Callable[[int], np.ndarray], workers: int
) -> Generator[Batch, None, None]:
    """Yield the batches of these ranges, in order.

    Args:
        load: takes an image's number; returns its pixels or raises UserError.
        workers: number of threads that load (threads are enough: decoding and scaling release Python's lock); 0 loads
            in the caller's thread.
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
    waiting: deque[tuple[int, int, list[Future[np.ndarray | str]]]] = deque()
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
