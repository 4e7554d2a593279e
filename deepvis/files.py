"""Files as the operating system has them: what may be opened at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from deepvis.errors import UserError


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read; a FIFO or a device, which may never end or never begin, is refused.

    Raises:
        UserError: it is no regular file.
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UserError(f"{path}: is not a regular file (but a folder, a pipe or a device). Give the name of a file.")
        if hasattr(os, "set_blocking"):
            os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
