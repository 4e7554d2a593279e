"""The system's clipboard, reached through the programs that systems have for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepvis.core.errors import UserError

PATIENCE = 10.0  # seconds that a program may take
_PICTURE = "DEEPVIS_PICTURE"  # the picture's file for PowerShell; as an argument it would have to be quoted


@dataclass(frozen=True)
class ClipboardProgram:
    """A program that copies a PNG to the clipboard.

    Attributes:
        command: its name and arguments.
        takes_file: it gets the name of a file, as its last argument and in _PICTURE; else the picture as its input.
    """

    command: tuple[str, ...]
    takes_file: bool = False


_WAYLAND = ClipboardProgram(("wl-copy", "--type", "image/png"))
_X11 = ClipboardProgram(("xclip", "-selection", "clipboard", "-t", "image/png", "-i"))
_MAC = ClipboardProgram(
    ("osascript", "-e", "on run argv", "-e",
     "set the clipboard to (read (POSIX file (item 1 of argv)) as «class PNGf»)", "-e", "end run"), True,
)  # fmt: skip
_WINDOWS = ClipboardProgram(
    ("powershell", "-NoProfile", "-STA", "-Command",
     "Add-Type -AssemblyName System.Windows.Forms, System.Drawing; "
     f"[Windows.Forms.Clipboard]::SetImage([Drawing.Image]::FromFile($env:{_PICTURE})) #"), True,
)  # fmt: skip


def programs() -> Sequence[ClipboardProgram]:
    """The programs to try here, the best first."""
    return programs_of(sys.platform, os.environ)


def programs_of(platform: str, environment: Mapping[str, str]) -> Sequence[ClipboardProgram]:
    """The programs to try on a system (as in `sys.platform`) with these variables, the best first."""
    if platform == "darwin":
        return (_MAC,)
    if platform == "win32":
        return (_WINDOWS,)
    return (_WAYLAND, _X11) if environment.get("WAYLAND_DISPLAY") else (_X11, _WAYLAND)


def copy_picture(png: bytes) -> None:
    """Put a picture (the bytes of a PNG file) into the clipboard. Waits for the program that does it.

    Raises:
        UserError: there is no such program, or it fails.
    """
    known = programs()
    program = next((one for one in known if shutil.which(one.command[0])), None)
    if program is None:
        names = " or ".join(one.command[0] for one in known)
        raise UserError(f"nothing was copied: this needs {names}, which is not installed. p saves pictures in files")
    with tempfile.TemporaryDirectory(prefix="deepvis-") as folder, tempfile.TemporaryFile() as said:
        path, command = Path(folder, "picture.png"), list(program.command)
        if program.takes_file:
            path.write_bytes(png)
            command.append(str(path))
        try:
            # Not a pipe for what it says: xclip stays in the background, and a pipe would not end before it does.
            done = subprocess.run(
                command, input=b"" if program.takes_file else png, stdout=subprocess.DEVNULL, stderr=said,
                env={**os.environ, _PICTURE: str(path)}, timeout=PATIENCE,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"nothing was copied: {command[0]} fails ({error}). p saves pictures in files") from error
        if done.returncode:
            said.seek(0)
            why = said.read(500).decode(errors="replace").strip() or f"exit status {done.returncode}"
            raise UserError(f"nothing was copied: {command[0]} says: {why}. p saves pictures in files")
