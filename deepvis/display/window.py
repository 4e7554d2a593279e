"""The window. Only this module uses OpenCV's window; it turns key codes and callbacks into events."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from deepvis.core.errors import UserError
from deepvis.display.key_codes import key_name
from deepvis.display.qt_zoom import reset_zoom


@dataclass(frozen=True)
class Key:
    """A key was pressed; `name` as in `deepvis.display.key_codes`, or None for one without a name."""

    name: str | None
    code: int


@dataclass(frozen=True)
class Mouse:
    """`kind` is "move", "drag" (with the left button down), "click" (left button), "release" (of the left button),
    "double" (the second of two quick clicks) or "wheel" (`steps` > 0 away from the user)."""

    kind: str
    x: int
    y: int
    steps: int = 0


@dataclass(frozen=True)
class Resize:
    """The picture's area has a new size, in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Close:
    """The window's close button."""


_UNDER_TITLE = 0.93  # largest part of the screen's height to use, because of the title bar and the desktop's bars

Event = Key | Mouse | Resize | Close

_HEADLESS = (
    "Without a screen use: deepvis render --input PHOTO --unit head:151 --back deconv --out picture.png "
    "(see deepvis render --help)."
)


class DisplayProbe:
    """Finds out in a child process whether a window can be opened.

    Without a display OpenCV's Qt ends the whole process by a signal that no `try` catches. The
    child process starts at once and runs in parallel until `check` is called.
    """

    _CODE = "import os, cv2; cv2.namedWindow('deepvis'); os._exit(0)"  # exits before the window appears

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._missing = ""
        if not sys.platform.startswith("linux"):
            return
        if not os.environ.get("DISPLAY"):
            self._missing = "no display: the environment variable DISPLAY is not set. "
        else:
            self._child = subprocess.Popen(
                [sys.executable, "-c", self._CODE],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip

    def check(self, timeout: float = 20.0) -> None:
        """Raise UserError if no window can be opened; the message names a command that needs no window."""
        if self._missing:
            raise UserError(self._missing + _HEADLESS)
        if self._child is None:
            return
        try:
            _, said = self._child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            raise UserError(f"the display {os.environ['DISPLAY']!r} does not answer. {_HEADLESS}") from None
        if self._child.returncode:
            raise UserError(
                f"no window can be opened on DISPLAY={os.environ['DISPLAY']!r}: {_reason(said)}. {_HEADLESS}"
            )


def _reason(said: str) -> str:
    for line in said.splitlines():
        if "could not connect to display" in line:
            return "it does not accept a connection"
        if "The function is not implemented" in line:
            return "this OpenCV was built without windows (pip install opencv-python, not -headless)"
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "OpenCV ended without a message"


def screen_scale() -> float:
    """The factor by which the desktop enlarges text: 1 on an ordinary screen, 2 on most HiDPI ones.

    Read from GDK_SCALE or Xft.dpi of X11. On Windows and macOS it is 1, because they scale OpenCV's window
    themselves.
    """
    if not sys.platform.startswith("linux"):
        return 1.0
    try:
        return min(max(1.0, float(os.environ["GDK_SCALE"])), 4.0)
    except (KeyError, ValueError):
        pass
    try:
        resources = subprocess.run(["xrdb", "-query"], capture_output=True, text=True, timeout=2).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 1.0
    dpi = [line.split(":")[1] for line in resources.splitlines() if line.startswith("Xft.dpi:")]
    try:
        return min(max(1.0, float(dpi[0]) / 96), 4.0)
    except (IndexError, ValueError):
        return 1.0


def screen_size() -> tuple[int, int] | None:
    """Width and height of the screen in pixels (of all screens together under X11); None if unknown."""
    try:
        if sys.platform == "win32":
            return ctypes.windll.user32.GetSystemMetrics(0), ctypes.windll.user32.GetSystemMetrics(1)
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        display = ctypes.c_void_p(x11.XOpenDisplay(None))
        if not display:
            return None
        size = x11.XDisplayWidth(display, 0), x11.XDisplayHeight(display, 0)
        x11.XCloseDisplay(display)
        return size
    except (OSError, AttributeError):  # another desktop
        return None


class Window:
    """One OpenCV window. Use it from the main thread only.

    Attributes:
        scale: size of text and marks that suits the screen.
    """

    def __init__(self, title: str, width: int, height: int, scale: float | None = None) -> None:
        """Open the window.

        Args:
            width, height: size of the picture, in pixels of an ordinary screen; limited to the size of this
                screen.
            scale: None takes the desktop's scale, and enlarges the window by it too.
        """
        self._title = title
        if scale is None:
            scale = screen_scale()
            width, height = round(width * scale), round(height * scale)
        if screen := screen_size():
            width, height = min(width, screen[0]), min(height, round(screen[1] * _UNDER_TITLE))
        self.scale = scale
        self._events: list[Event] = []
        self.size = (width, height)
        self._seen = self._fills_screen = False
        self._next_resize = 0.0
        with _quiet_stderr():  # Qt complains about missing fonts that are not used
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(title, width, height)
            cv2.imshow(title, np.full((height, width, 3), 24, np.uint8))
            self._early = cv2.waitKeyEx(1)  # a key may come as soon as the window is there
        cv2.setMouseCallback(title, self._on_mouse)

    def show(self, image: np.ndarray) -> None:
        """Show a picture (uint8 H×W×3 BGR); it appears with the next `poll`."""
        cv2.imshow(self._title, image)

    def poll(self, milliseconds: int) -> list[Event]:
        """Handle the window's events for up to `milliseconds` and return what the user did."""
        codes, self._early = (self._early, cv2.waitKeyEx(max(1, milliseconds))), -1
        events, self._events = self._events, []
        events += [Key(key_name(code), code) for code in codes if code >= 0]
        events += self._look()
        return events

    def fill_screen(self, on: bool) -> None:
        """Let the window fill the screen, or not any more; does nothing if that is so already."""
        if on != self._fills_screen:
            self._fills_screen = on
            wanted = cv2.WINDOW_FULLSCREEN if on else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, wanted)

    def close(self) -> None:
        """Close the window; does nothing if the user has closed it already."""
        try:
            cv2.destroyWindow(self._title)
            cv2.waitKeyEx(1)
        except cv2.error:
            pass

    def _look(self) -> list[Event]:
        """Check whether the window has been closed or resized.

        To be called after every `waitKeyEx`, because the next `imshow` would silently reopen a closed
        window. A new size is reported at most ten times a second, because each redraws everything.
        """
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE)
            _, _, width, height = cv2.getWindowImageRect(self._title)
        except cv2.error:  # raised once the last window is gone
            return [Close()]
        self._seen = self._seen or visible > 0
        if self._seen and visible == 0:  # -1 if the back-end does not know
            return [Close()]
        now = time.monotonic()
        if width > 0 and height > 0 and (width, height) != self.size and now >= self._next_resize:
            self.size, self._next_resize = (width, height), now + 0.1
            return [Resize(width, height)]
        return []

    def _on_mouse(self, event: int, x: int, y: int, flags: int, _param: object) -> None:
        if event == cv2.EVENT_MOUSEMOVE:
            kind = "drag" if flags & cv2.EVENT_FLAG_LBUTTON else "move"
            if self._events and isinstance(self._events[-1], Mouse) and self._events[-1].kind == kind:
                self._events.pop()
            self._events.append(Mouse(kind, x, y))
        elif event == cv2.EVENT_LBUTTONDOWN:
            if self._events[-1:] != [Mouse("double", x, y)]:  # Qt reports the second press too, after the double click
                self._events.append(Mouse("click", x, y))
        elif event == cv2.EVENT_LBUTTONUP:
            self._events.append(Mouse("release", x, y))
        elif event == cv2.EVENT_LBUTTONDBLCLK:  # in place of a second click
            self._events.append(Mouse("double", x, y))
        elif event == cv2.EVENT_MOUSEWHEEL:
            reset_zoom()
            step = flags >> 16  # the high word, signed
            step = step - 0x10000 if step > 0x7FFF else step
            self._events.append(Mouse("wheel", x, y, (step > 0) - (step < 0)))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep C++ libraries from writing to stderr meanwhile (Python's own writes too)."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
