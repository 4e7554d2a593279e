"""Reading and writing files: only regular files are opened, and files are written whole or not at all.

Without torch; every function may be called from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from deepvis.core.errors import UserError, one_line

if sys.platform == "win32":  # there a file that is being written cannot be told from one that a dead process left
    fcntl = None
else:
    import fcntl

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_UNFINISHED = re.compile(r"\.[a-z0-9_]{8}\.tmp")


# ---- reading ------------------------------------------------------------------------------------


def open_regular(path: Path | str, what: str = "a file") -> BinaryIO:
    """Open a file for reading if it is a regular file, because reading a pipe or a device may never end.

    Args:
        what: what is expected there, for the message.
    Raises:
        UserError: there is no such file, it is not a regular file, or it may not be read.
    """
    try:
        _regular(os.stat(path), path, what)  # checked first, because opening a device may already change something
        # O_NONBLOCK: if the path has become a pipe meanwhile, opening it must not wait for a writer.
        handle = os.open(path, os.O_RDONLY | _flags("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; expected {what}: check the path") from error
    except (OSError, ValueError) as error:  # ValueError: characters that no path has
        raise UserError(f"{shortened(path)} cannot be read ({system_reason(error)}); expected {what}") from error
    try:
        _regular(os.fstat(handle), path, what)
        if hasattr(os, "set_blocking"):
            with contextlib.suppress(OSError):
                os.set_blocking(handle, True)
        return open(path, "rb", opener=lambda *_: handle)  # unlike os.fdopen this sets the file's name
    except BaseException:
        os.close(handle)
        raise


def is_regular(path: Path | str) -> bool:
    """Whether `open_regular` would find a regular file there; false for an impossible name."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def system_reason(error: Exception) -> str:
    """The system's reason for not opening or writing a file, without the file's name."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def shortened(path: Path | str, most: int = 120) -> str:
    """A path as text of at most about `most` characters, with control characters (of hostile names) replaced."""
    text = one_line(path)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def _flags(*names: str) -> int:
    return sum(getattr(os, name, 0) for name in names)  # each system has some of them


def _regular(status: os.stat_result, path: Path | str, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise UserError(f"{path} is {kind}; expected {what}")


# ---- writing ------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all (see `beside`)."""
    with beside(path) as file:
        file.write(data)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[BinaryIO]:
    """A context manager that yields a temporary file, which replaces `path` when the block ends and all is on the disk.

    If the block fails, the temporary file is removed. The folder is created. The new file gets the permissions of
    the older one. If `path` is a link, the file that it points to is replaced.

    Raises:
        OSError: the file cannot be written; an older file is unchanged. `writing` turns this into a UserError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target, older = _target(path)
    file, temporary = _unfinished(target.parent)
    try:
        with file:
            yield file
            file.flush()
            _keep_rights(file, older)
            os.fsync(file.fileno())
            if fcntl is not None:  # before closing, which releases the lock
                os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()  # may fail: its buffered data may not fit on the disk
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


@contextlib.contextmanager
def writing(what: Path | str, remedy: str = "") -> Iterator[None]:
    """A context manager for code that writes: an OSError becomes a UserError that names `what`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{what}: cannot be written: {system_reason(error)}{'. ' + remedy if remedy else ''}"
        ) from error


@contextlib.contextmanager
def locked(path: Path, wait: bool | float = True) -> Iterator[None]:
    """Hold the lock file of this name while the block runs. Only one thread of one process can hold it.

    The file is not removed. The lock ends with the process that holds it, however that ends.

    Args:
        wait: whether to wait until it is free, or for how many seconds.
    Raises:
        TimeoutError: the lock is held by another, and was not free in that time.
        OSError: the file cannot be locked.
    """
    # The library's substitute for disks without locks is not used: a killed process would leave it locked.
    with FileLock(path, timeout=-1 if wait is True else float(wait), fallback_to_soft=False):
        yield


def remove_unfinished(folders: Iterable[Path]) -> int:
    """Remove temporary files that killed processes left behind; those of running processes stay.

    Returns:
        How many were removed. On Windows, where files cannot be locked in this way, none is.
    """
    if fcntl is None:
        return 0
    found = (path for folder in folders for path in folder.glob(".*.tmp") if _UNFINISHED.fullmatch(path.name))
    return sum(map(_remove_dead, found))


def _remove_dead(path: Path) -> bool:
    """Remove a temporary file if its writer is dead: a writer holds a lock on its file, which ends with its process."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
            return True
        finally:
            os.close(handle)
    return False


def _target(path: Path) -> tuple[Path, os.stat_result | None]:
    """The file that a path or link leads to, and an older file's status there. OSError if it cannot be replaced."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        older = os.stat(target)
    except FileNotFoundError:
        return target, None
    if not stat.S_ISREG(older.st_mode):
        kind = _KINDS.get(stat.S_IFMT(older.st_mode), "no regular file")
        raise OSError(errno.EISDIR, f"there is {kind} of that name")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file there is read-only")
    return target, older


def _unfinished(folder: Path) -> tuple[BinaryIO, Path]:
    """A new temporary file, locked so that `remove_unfinished` leaves it alone."""
    while True:
        path = folder / f".{secrets.token_hex(4)}.tmp"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _flags("O_CLOEXEC", "O_BINARY"), 0o666)
        except FileExistsError:
            continue
        file = os.fdopen(handle, "wb")
        if fcntl is None:
            return file, path
        with contextlib.suppress(OSError):  # a disk without locks: `remove_unfinished` cannot lock it either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return file, path
        file.close()  # another process removed it before it was locked


def _keep_rights(file: BinaryIO, older: os.stat_result | None) -> None:
    if older is None or not hasattr(os, "fchmod"):
        return
    new = os.fstat(file.fileno())
    if (new.st_uid, new.st_gid) != (older.st_uid, older.st_gid):
        with contextlib.suppress(OSError):  # only root may
            os.fchown(file.fileno(), older.st_uid, older.st_gid)
    os.fchmod(file.fileno(), stat.S_IMODE(older.st_mode))


def _sync_folder(folder: Path) -> None:
    """Flush the folder, so that the new name is on the disk too. On Windows, where this fails, the system does it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def folder_name(name: str) -> str:
    """The name of a layer or a model as the name of a folder on any system.

    Letters, digits, dashes, underscores and inner points stay; the rest is percent-encoded as in a URL.
    Different names give different folders.
    """
    quoted = re.sub(
        r"[^\w.-]", lambda sign: "".join(f"%{byte:02X}" for byte in sign[0].encode("utf-8", "surrogatepass")), name
    )
    return re.sub(r"^\.|\.\Z", "%2E", quoted) or "%"
