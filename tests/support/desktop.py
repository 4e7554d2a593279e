"""A desktop for tests: an X server of its own, deepvis on it, and the user's eyes and hands."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import ImageGrab
from waiting import until

from deepvis.core.paths import ROOT

DRIVER = Path(__file__).with_name("driver.py")
PATIENCE = 20.0  # seconds after which what is waited for will never come
STARTING = 90.0  # the same while the program starts on a busy computer
QUIET = "unit: stem:0\nscan: off\ngrow: off\n"  # the settings of a program in which nothing happens by itself
DOUBLE = 0.6  # seconds; two clicks that are less than Qt's 0.4 apart are a double click
GONE = 5.0  # a program that was told to end has to be gone by then


class Screen:
    """An X server without a screen, 1920×1200, with the window manager openbox. A context manager."""

    def __init__(self) -> None:
        needed = {"Xvfb": "xvfb", "xdotool": "xdotool", "openbox": "openbox", "xwininfo": "x11-utils"}
        missing = [name for name in needed if not shutil.which(name)]
        if missing:
            packages = " ".join(needed[name] for name in missing)
            raise RuntimeError(f"the GUI tests need {', '.join(missing)}; on Debian: apt-get install {packages}")

    def __enter__(self) -> Screen:
        read, write = os.pipe()
        # Without -noreset the server starts anew when its last client leaves: a question of xdotool's that ends just
        # as openbox comes then takes openbox with it.
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1920x1200x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()  # comes when the server listens
        if not number:
            raise RuntimeError(f"Xvfb does not start: exit status {self._server.wait()}")
        self.display = f":{number}"
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("QT_", "GDK_", "DEEPVIS", "WAYLAND", "OPENCV_"))
        } | {"DISPLAY": self.display}  # fmt: skip
        self._manager = subprocess.Popen(
            ["openbox"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: self.do("get_num_desktops", check=False), "openbox runs")
        return self

    def __exit__(self, *exception: object) -> None:
        for process in (self._manager, self._server):
            process.terminate()
            process.wait(10)

    def do(self, *words: object, check: bool = True) -> str:
        """xdotool with these arguments; what it prints."""
        done = subprocess.run(
            ["xdotool", *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        if check and done.returncode:
            raise AssertionError(f"xdotool {' '.join(map(str, words))}: {done.stderr or done.returncode}")
        return done.stdout.strip()

    def grab(self, left: int, top: int, width: int, height: int) -> np.ndarray:
        """What that part of the screen shows: uint8 RGB."""
        return np.asarray(ImageGrab.grab((left, top, left + width, top + height), xdisplay=self.display).convert("RGB"))


class Program:
    """deepvis in a window on a `Screen`, from its start to its end. A context manager.

    Attributes:
        now: what `driver.py` has told last.
    """

    def __init__(
        self, screen: Screen, folder: Path, *arguments: object, gated: bool = False, driver: Path = DRIVER
    ) -> None:
        """
        Args:
            folder: the program's working folder; it gets QUIET settings if it has none.
            arguments: deepvis's own.
            gated: do not load the network before `open_gate`.
            driver: runs the program and tells of it.
        """
        self.screen, self.folder = screen, folder
        self.now: dict = {}
        self._clicked = -DOUBLE
        if not (folder / "settings.yaml").exists():
            (folder / "settings.yaml").write_text(QUIET)
        self._gate = folder / "gate"
        if not gated:
            self.open_gate()
        read, write = os.pipe()
        self._stderr = folder / "stderr"
        command = [sys.executable, driver, write, self._gate, "live", *arguments]
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, pass_fds=[write], stderr=stderr,
                env=screen.environment | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        os.close(write)
        self._lines: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=[read], daemon=True).start()

    def _listen(self, read: int) -> None:
        with os.fdopen(read) as pipe:
            for line in pipe:
                if line.endswith("\n"):
                    self._lines.put(json.loads(line))
        self._lines.put(None)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- what it is doing --------------------------------------------------------------------

    @property
    def state(self) -> dict:
        return self.now["state"]

    @property
    def layer(self) -> str:
        """Name of the selected layer."""
        return self.now["layers"][self.state["layer"]]["name"]

    @property
    def unit(self) -> str:
        """Id of the selected unit."""
        return f"{self.layer}:{self.state['unit']}"

    def words(self, pane: str) -> str:
        """All that is written in a pane."""
        return " ".join(self.now.get("words", {}).get(pane, ()))

    @property
    def stderr(self) -> str:
        """What it has written to stderr, but for the line that says which settings it uses."""
        lines = self._stderr.read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith("deepvis: settings:"))

    def wait(self, is_so: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Go on to the first line with which `is_so()` is true."""
        end = time.monotonic() + patience
        while not (self.now and is_so()):
            try:
                news = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"waited {patience:g} s in vain until {what}; {self._report()}") from None
            if news is None:
                raise AssertionError(f"the program ended before {what}; stderr: {self.stderr!r}")
            self.now |= news
        while not self._lines.empty():  # the news that belong to what the screen shows now
            if (news := self._lines.get()) is None:
                self._lines.put(None)
                break
            self.now |= news

    def _report(self) -> str:
        shown = {key: self.now.get(key) for key in ("state", "events", "drawn", "frame", "settled")}
        return f"{shown}, status: {self.words('status')!r}, stderr: {self.stderr!r}"

    def settle(self, what: str = "it settles", patience: float = PATIENCE) -> None:
        """Wait until everything that was asked for is shown."""
        self.wait(lambda: self.now["settled"], what, patience)

    def open_gate(self) -> None:
        self._gate.touch()

    # -- what the user sees ------------------------------------------------------------------

    def open(self) -> None:
        """Wait for the window."""
        search = ("search", "--all", "--onlyvisible", "--pid", self.process.pid, "--name", "^deepvis$")

        def found() -> str:
            assert self.process.poll() is None, f"the program ended: {self.process.returncode}, {self.stderr!r}"
            return self.screen.do(*search, check=False)

        self.window = until(found, "the window is there", STARTING).split()[0]
        self.screen.do("windowactivate", "--sync", self.window)

    def ready(self) -> None:
        """Wait until the window shows the network's first answer."""
        self.open()
        self.settle("the first answer is shown", STARTING)

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Where the window is on the screen: left, top, width, height."""
        # xdotool's getwindowgeometry counts the window manager's frame twice.
        said = subprocess.run(
            ["xwininfo", "-id", self.window],
            env=self.screen.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        ).stdout
        values = dict(line.strip().split(":", 1) for line in said.splitlines() if ":" in line)
        return tuple(
            int(values[name]) for name in ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height")
        )

    def grab(self) -> np.ndarray:
        """The window's pixels on the screen as they are: uint8 RGB."""
        return self.screen.grab(*self.place)

    def picture(self) -> dict[str, np.ndarray]:
        """The pixels of each pane on the screen, "status" left out, since its rates change by themselves.

        Waits until the program has settled and the screen shows exactly what it has drawn.
        """
        end = time.monotonic() + PATIENCE
        while True:
            self.settle()
            whole = self.grab()
            panes = {name: cut(whole, box) for name, box in self.now["panes"].items() if name != "status"}
            wrong = [name for name, pixels in panes.items() if zlib.crc32(pixels.tobytes()) != self.now["crc"][name]]
            if list(whole.shape[1::-1]) == self.now["size"] and not wrong:
                return panes
            assert time.monotonic() < end, (
                f"the screen shows something else than was drawn, in {wrong}; window {whole.shape[1::-1]}, "
                f"picture {self.now['size']}; {self._report()}"
            )
            time.sleep(0.02)
            self.wait(lambda: True, "")

    # -- what the user does ------------------------------------------------------------------

    def _until_handed_out(self, kind: str, act: Callable[[], object], patience: float = PATIENCE) -> None:
        self.wait(lambda: True, "")
        before = self.now["events"].get(kind, 0)
        act()
        self.wait(lambda: self.now["events"].get(kind, 0) > before, f"a {kind} arrives", patience)

    def press(self, *keys: str) -> None:
        """Press keys (X11's names), each after the program has got the one before.

        (Qt keeps only the last key of those that arrive while the loop is busy.)
        """
        for key in keys:
            self._until_handed_out("Key", lambda: self.screen.do("key", key))

    def type(self, words: str) -> None:
        self.press(*({":": "colon", " ": "space", "_": "underscore"}.get(letter, letter) for letter in words))

    def go(self, unit: str) -> None:
        """Select a unit by its id, as a user would."""
        self.press("g")
        self.type(unit)
        self.press("Return")
        assert self.unit == unit
        self.settle()

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a pixel of the picture."""
        left, top, *_ = self.place
        x, y = left + round(x), top + round(y)
        if self.screen.do("getmouselocation").split()[:2] != [f"x:{x}", f"y:{y}"]:
            self._until_handed_out("move", lambda: self.screen.do("mousemove", x, y))

    def click(self, x: float, y: float) -> None:
        """A click of its own: later than the time within which a second one would make a double click of it."""
        self.point(x, y)
        time.sleep(max(0.0, self._clicked + DOUBLE - time.monotonic()))
        click = lambda: self.screen.do("click", 1)
        try:
            self._until_handed_out("click", click, 5.0 if self._clicked < 0 else PATIENCE)
        except AssertionError:
            if self._clicked >= 0:
                raise
            self._until_handed_out("click", click)  # the window manager may keep the first one, which gives the focus
        self._clicked = time.monotonic()

    def double_click(self, x: float, y: float) -> None:
        self.point(x, y)
        time.sleep(max(0.0, self._clicked + DOUBLE - time.monotonic()))
        self._until_handed_out("double", lambda: self.screen.do("click", "--repeat", 2, "--delay", 60, 1))
        self._clicked = time.monotonic()

    def wheel(self, x: float, y: float, steps: int) -> None:
        """Turn the wheel, away from the user if `steps` > 0."""
        self.point(x, y)
        for _ in range(abs(steps)):
            self._until_handed_out("wheel", lambda: self.screen.do("click", 4 if steps > 0 else 5))

    def reset(self) -> None:
        """The view as at the start, and the mouse where it points at nothing."""
        if self.state["typing"] is not None:
            self.press("Escape")
        left, top, width, height = self.now["panes"]["status"]
        self.point(left + width / 2, top + height / 2)
        self.press("Escape")
        self.settle()

    # -- its end -----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, patience: float = GONE) -> int:
        """Wait until the whole process is gone; its exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {patience:g} s; stderr: {self.stderr!r}") from None


def cut(picture: np.ndarray, box: Sequence[int]) -> np.ndarray:
    left, top, width, height = box
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    """The panes whose pixels differ."""
    return {name for name in before if not np.array_equal(before[name], after[name])}
