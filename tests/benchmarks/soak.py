"""An hour of anything: does the program stay whole, quick and small?

    python tests/benchmarks/soak.py [--minutes 60] [--seed 0] [--rate 15] [--turn 0.5]

Needs xvfb, xdotool and openbox. Runs the real program in a process of its own, in a real window on an X
server of its own, with videos, photos and a camera (a stream of this program's own) as input, and uses it
with seeded random keys, mouse moves, clicks, wheel and window sizes, every command of it again and again.
Every few seconds a line: minute, resident memory, threads, file descriptors, longest turn of the loop, and
what came of it all so far. Now and then the input stops for a moment, and what is shown has to become
what the state asks for; and a roll of all commands is called, each of which has to do something. The last
lines say for each thing asked for whether it held; the exit status is 1 if one did not:

    no traceback, nothing on stderr, and an end with status 0
    no dead key, no stale picture
    resident memory, median over a minute: from minute 10 to the end no more than 3 % up
    threads and file descriptors, with recording and camera off: not more at the end than at minute 10
    no turn of the loop over 0.5 s
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from desktop import Program, Screen

from deepvis.core import paths
from deepvis.interface.commands import COMMANDS

SETTLED = 10.0  # minutes after which nothing may grow
MORE = 0.03  # of resident memory, that is no growth
LONGEST = 0.5  # seconds that a turn may take, unless --turn says otherwise
PATIENCE = 60.0  # seconds within which what is shown has to be what is asked for
LOADING = 300.0  # seconds, on a busy computer
ENDING = 180.0  # the same, to finish the snapshots and the recording that may be under way
BETWEEN = 10.0  # seconds of random use between two moments of calm
ROLL = 10  # every so manieth of them the roll of the commands is called
SIZES = ((1500, 930), (1000, 700), (1800, 1000), (700, 450), (1280, 1024))
X_NAMES = {
    "_": "underscore",
    "left": "Left",
    "right": "Right",
    "up": "Up",
    "down": "Down",
    "[": "bracketleft",
    "]": "bracketright",
    "-": "minus",
    "=": "equal",
    "home": "Home",
    "end": "End",
    ",": "comma",
    ".": "period",
    "space": "space",
    "pgdn": "Next",
    "pgup": "Prior",
    "enter": "Return",
    "esc": "Escape",
    "backspace": "BackSpace",
    "tab": "Tab",
    "f11": "F11",
    "/": "slash",
    "\\": "backslash",
    "|": "bar",
    "'": "apostrophe",
    '"': "quotedbl",
    ";": "semicolon",
    "`": "grave",
    "#": "numbersign",
    "*": "asterisk",
    "%": "percent",
    "$": "dollar",
    "&": "ampersand",
    "+": "plus",
    "@": "at",
    "!": "exclam",
    "^": "asciicircum",
    "?": "question",
    "~": "asciitilde",
    "<": "less",
    ">": "greater",
    "{": "braceleft",
    "(": "parenleft",
    ")": "parenright",
    ":": "colon",
}
# What has to be pressed after `reset` so that a command has something to do.
BEFORE = {
    "left": "right",
    "fast_left": "right",
    "up": "down",
    "fast_up": "down",
    "first": "down right",
    "previous_layer": "right",
    "previous_page": "9",
    "next_page": "9",
    "keep": "v",
    "reset": "right",
    "desk_settings": "2",
    "desk_seed": "2",
    "desk_back": "2 3",
    "dream_mode": "!",
    "dream_on": "!",
    "guide": "; !",
    "fewer_facets": "^",
    "more_facets": "^",
}
PAGED = ("previous_page", "next_page")  # no layer of the network has a second page
COMMANDS_USED = [name for name in COMMANDS if name != "quit"]


def x_name(key: str) -> str:
    return X_NAMES.get(key, key)


class Broken(Exception):
    """Something that was asked for does not hold."""


# ---- what the program looks at ---------------------------------------------------------------------


def make_input(folder: Path) -> Path:
    """Two videos and five photos."""
    names = sorted(paths.PHOTOS.glob("*.jpg"))
    pictures = [cv2.resize(cv2.imread(str(path)), (640, 480)) for path in names[:: max(1, len(names) // 12)][:12]]
    (made := folder / "input").mkdir()
    for number, rate in enumerate((24.0, 30.0), 1):
        video = cv2.VideoWriter(str(made / f"{number}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), rate, (640, 480))
        for picture, after in zip(pictures, pictures[number:] + pictures[:number]):
            for step in range(24):
                video.write(cv2.addWeighted(picture, 1 - step / 24, after, step / 24, 0))
        video.release()
    for path in names[3 :: max(1, len(names) // 5)][:5]:
        shutil.copy(path, made / f"photo {path.name}")
    return made


@contextmanager
def camera(pictures: Sequence[Path]) -> Iterator[str]:
    """A camera's stream: motion JPEG over HTTP, 15 pictures a second. Yields its address."""
    jpegs = [path.read_bytes() for path in pictures]

    class Stream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            try:
                for number in range(1 << 30):
                    jpeg = jpegs[number // 15 % len(jpegs)]
                    self.wfile.write(
                        b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n"
                    )
                    time.sleep(1 / 15)
            except OSError:  # the other side has enough
                pass

        def log_message(self, *_words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/camera.mjpg"
    finally:
        server.shutdown()
        server.server_close()


# ---- the user --------------------------------------------------------------------------------------


class User:
    """Does anything. Random things go to one xdotool that listens, without a look at what comes of them."""

    def __init__(self, screen: Screen, program: Program, seed: int) -> None:
        self.program, self._rng = program, random.Random(seed)
        self.sent: Counter[str] = Counter()
        self._screen, self._size = screen, SIZES[0]
        self._hand = self._new_hand()

    def _new_hand(self) -> subprocess.Popen:
        return subprocess.Popen(
            ["xdotool", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self._screen.environment, text=True
        )

    def close(self) -> None:
        self._hand.kill()
        self._hand.wait(10)

    def _do(self, *words: object) -> None:
        try:
            self._hand.stdin.write(" ".join(map(str, words)) + "\n")
            self._hand.stdin.flush()
        except (
            BrokenPipeError
        ):  # it ends when a window goes that it was looking at, such as the frame of one that is resized
            self._hand.kill()
            self._hand.wait(10)
            self._hand = self._new_hand()

    def use(self, seconds: float, rate: float) -> None:
        """Use the program for so long, with so many events a second."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.program.wait(lambda: True, "")
            self._act()
            time.sleep(max(0.0, now + self._rng.uniform(0.2, 1.8) / rate - time.monotonic()))

    def _act(self) -> None:
        rng, state = self._rng, self.program.state
        if state["typing"] is not None and rng.random() < 0.3:
            self._key("Return" if rng.random() < 0.5 else "Escape")
            return
        kinds = {
            self._command: 55,
            self._move: 18,
            self._click: 10,
            self._wheel: 8,
            self._resize: 0.7,
            self._goto: 1,
            self._name: 1,
            self._top_image: 2,
        }
        rng.choices(list(kinds), list(kinds.values()))[0]()

    def _key(self, name: str) -> None:
        self._do("key", name)

    def _command(self) -> None:
        name = self._rng.choice(COMMANDS_USED)
        self.sent[name] += 1
        self._key(x_name(self._rng.choice(COMMANDS[name].keys)))

    def _place(self, pane: str | None = None) -> tuple[int, int]:
        """A point of a pane, inside the window even if that has just been made smaller: beside it is the desktop, on
        which the wheel changes to another desktop."""
        panes = self.program.now["panes"]
        left, top, width, height = panes[pane or self._rng.choice(list(panes))]
        x, y = left + self._rng.randrange(max(1, width)), top + self._rng.randrange(max(1, height))
        return min(x, self._size[0] - 2), min(y, self._size[1] - 2)

    def _move(self, pane: str | None = None) -> None:
        self.sent["mouse move"] += 1
        self._do("mousemove", "--window", self.program.window, *self._place(pane))

    def _click(self, pane: str | None = None) -> None:
        self._move(pane)
        self.sent["mouse click"] += 1
        self._do("click", 1)

    def _top_image(self) -> None:
        self._click("unit_images")

    def _wheel(self) -> None:
        self._move("layer")
        self.sent["mouse wheel"] += 1
        self._do("click", self._rng.choice((4, 5)))

    def _resize(self) -> None:
        self.sent["resize"] += 1
        self._size = self._rng.choice(SIZES)
        self._do("windowsize", self.program.window, *self._size)

    def _goto(self) -> None:
        self.sent["typed a unit"] += 1
        for key in ("g", *str(self._rng.randrange(40)), "Return"):
            self._key(key)
            time.sleep(0.05)

    def _name(self) -> None:
        """Open the desk, choose a tile, save it under a name."""
        self.sent["named a recipe"] += 1
        self._key("2")
        time.sleep(0.1)
        self._click("layer")
        for key in ("Return", *self._rng.sample("abcdefgh0123", 3), "Return", "Escape"):
            self._key(key)
            time.sleep(0.05)

    # -- with a look at what comes of it --------------------------------------------------------

    def press(self, *keys: str) -> None:
        self.program.press(*map(x_name, keys))

    def calm(self) -> None:
        """Stop, hold the picture still, and see that all that is shown is what is asked for."""
        self._screen.do("windowactivate", "--sync", self.program.window)
        end = time.monotonic() + PATIENCE
        while not self._is_right(PATIENCE / 4):
            if time.monotonic() > end:
                now = {key: self.program.now.get(key) for key in ("stale", "state", "events", "error")}
                say_where(self.program)
                raise Broken(f"stale picture: {PATIENCE:g} s after the last input still not right: {now}")

    def _is_right(self, seconds: float) -> bool:
        """Hold the picture still, and wait so long until all is up to date. On a busy computer keys are still on their
        way, of which the step to another file ends the hold."""
        self._let_arrive()
        if self.program.state["typing"] is not None:
            self.press("esc")
        if not self.program.state["frozen"]:
            self.press("f")
        try:
            self.program.wait(lambda: self.program.now["stale"] == [], "all is up to date", seconds)
        except AssertionError:
            if self.program.process.poll() is not None:
                raise
            return False
        return True

    def _let_arrive(self) -> None:
        """Wait until all input that is on its way has come."""
        time.sleep(0.3)
        self.program.wait(lambda: True, "")
        self.program.wait(lambda: self.program.now["stale"] is not None, "the input has ended", PATIENCE)

    def roll(self) -> None:
        """Press each command's keys where they have something to do."""
        self.rest()
        for name in COMMANDS_USED:
            for key in COMMANDS[name].keys:
                self._reset()
                self.press(*BEFORE.get(name, "").split())
                before = list(self.program.now["commands"].get(name, (0, 0)))
                try:
                    self.press(key)
                except AssertionError as error:
                    raise Broken(f"dead key: {key} ({name}): {error}") from None
                self._let_run(name, before[0])
                came, worked = (a - b for a, b in zip(self.program.now["commands"].get(name, (0, 0)), before))
                if not came or not (worked or name in PAGED):
                    raise Broken(f"dead key: {key} ({name}) " + ("changes nothing" if came else "does not arrive"))
                if name == "keep" and self.program.state["naming"]:
                    self.press("esc")
        self.rest()

    def _let_run(self, name: str, before: int) -> None:
        """Wait for the command of a key that was pressed: the shift key before it may have been handed out alone."""
        with contextlib.suppress(AssertionError):
            self.program.wait(lambda: self.program.now["commands"].get(name, (0, 0))[0] > before, "the command runs", 5)

    def _reset(self) -> None:
        """The view as at the start."""
        for _ in range(3):
            if self.program.state["typing"] is None:
                break
            self.press("esc")
        self.press("esc")
        if self.program.state["recipe_grids"]:
            self.press("esc")
        self.press("esc")

    def rest(self) -> None:
        """The view as at the start, files as input, neither recording nor growing."""
        self._reset()
        if self.program.state["recording"]:
            self.press("r")
        if self.program.state["photo"]:
            self.press("c")
        if self.program.state["source"] == "camera":
            self.press("c")


# ---- what is measured -------------------------------------------------------------------------------


class Meter:
    """Memory, threads and file descriptors of the program, and the longest turns of its loop."""

    def __init__(self, program: Program) -> None:
        self._process, self._turns = psutil.Process(program.process.pid), program.folder / "turns.jsonl"
        self._read, self._start = 0, time.monotonic()
        self.memory: list[tuple[float, float]] = []  # minute, MiB; two a second
        self.at_rest: list[tuple[float, int, int]] = []  # minute, threads, file descriptors
        self.longest: list[dict] = []  # the worst turns, of all time
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    @property
    def minute(self) -> float:
        return (time.monotonic() - self._start) / 60

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.5):
            try:
                self.memory.append((self.minute, self._process.memory_info().rss / 2**20))
            except psutil.NoSuchProcess:
                return

    def rest(self) -> None:
        """The program is at rest now: count what it holds."""
        self.at_rest.append((self.minute, self._process.num_threads(), self._process.num_fds()))

    def turns(self) -> float:
        """The longest turn since this was asked last, in seconds."""
        with self._turns.open() as file:
            file.seek(self._read)
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith("\n")]
            self._read += sum(map(len, lines))
        turns = [json.loads(line) | {"minute": round(self.minute, 1)} for line in lines]
        self.longest = sorted([*self.longest, *turns], key=lambda turn: -turn["seconds"])[:10]
        return max((turn["seconds"] for turn in turns), default=0.0)

    def median(self, minute: float) -> float:
        """Resident memory in the minute that begins then, MiB."""
        return statistics.median(mib for at, mib in self.memory if minute <= at < minute + 1)

    def line(self, sent: Counter[str]) -> str:
        memory = self.memory[-1][1] if self.memory else 0
        return (
            f"{self.minute:6.1f} {memory:7.0f} {self._process.num_threads():8d} {self._process.num_fds():6d} "
            f"{self.turns():8.3f}  " + " ".join(f"{name}:{count}" for name, count in sorted(sent.items()))
        )


def verdicts(meter: Meter, minutes: float, turn: float = LONGEST) -> Iterator[tuple[bool, str]]:
    """What was asked for, and whether it holds. A run that ends before nothing may grow says nothing of growth."""
    longest = meter.longest[0]["seconds"] if meter.longest else 0.0
    yield longest <= turn, f"longest turn {longest:.3f} s (at most {turn:g})"
    if minutes < SETTLED + 2:
        return
    first, last = meter.median(SETTLED), meter.median(minutes - 1)
    yield (
        last <= first * (1 + MORE),
        f"memory {first:.0f} MiB in minute {SETTLED:g}, {last:.0f} at the end: {last / first - 1:+.1%}",
    )
    for place, what in ((1, "threads"), (2, "file descriptors")):
        early = max(counts[place] for counts in meter.at_rest if counts[0] <= SETTLED + 1)
        late = meter.at_rest[-1][place]
        yield late <= early, f"{what} at rest: {early} up to minute {SETTLED:g}, {late} at the end"


# ---- the run ----------------------------------------------------------------------------------------


def soak(minutes: float, seed: int, rate: float, turn: float) -> bool:
    """Whether all that was asked for holds."""
    with tempfile.TemporaryDirectory(prefix="soak") as name, Screen() as screen:
        folder = Path(name)
        files = make_input(folder)
        screen.environment |= {"HOME": name, "XDG_CONFIG_HOME": name, "XDG_DATA_HOME": name, "XDG_CACHE_HOME": name}
        with camera(sorted(files.glob("photo*"))) as address:
            (folder / "settings.yaml").write_text(
                f"camera: {address}\nfiles: {files}\ninput: {files}\noutput: {folder / 'output'}\ndata: {folder}\n"
                "unit: stem:0\nscan: off\ngrow: off\n"
            )
            with Program(screen, folder, driver=Path(__file__).with_name("soak_driver.py")) as program:
                return judged(screen, program, minutes, seed, rate, turn)


def judged(screen: Screen, program: Program, minutes: float, seed: int, rate: float, turn: float) -> bool:
    program.open()
    program.wait(lambda: program.now.get("stale") is not None, "the network is loaded", LOADING)
    user, meter = User(screen, program, seed), Meter(program)
    print("minute     MiB  threads  files  turn s  what came of the user", flush=True)
    try:
        use(user, meter, minutes, rate)
        holds = [(True, "no dead key, no stale picture, no error")]
    except (Broken, AssertionError) as error:
        holds = [(False, str(error))]
        print("BROKEN:", error, flush=True)
    finally:
        meter.close()
        user.close()
    holds += verdicts(meter, minutes, turn) if holds[0][0] else ()
    holds.append(ended(program))
    holds.append((not program.stderr, f"stderr: {program.stderr or 'nothing'}"))
    for turn in meter.longest:
        print("long turn:", json.dumps(turn))
    for held, words in holds:
        print("holds:" if held else "BROKEN:", words)
    return all(held for held, _ in holds)


def say_where(program: Program) -> None:
    """Have it write to stderr where each of its threads is."""
    program.process.send_signal(signal.SIGUSR1)
    time.sleep(1)


def ended(program: Program) -> tuple[bool, str]:
    """Tell it to end; whether it does, and with which status. Of one that does not, stderr then says where each
    thread is."""
    if program.process.poll() is None:
        program.process.terminate()
    try:
        status = program.process.wait(ENDING)
    except subprocess.TimeoutExpired:
        say_where(program)
        return False, f"still there {ENDING:g} s after SIGTERM"
    return status == 0, f"exit status {status}"


def use(user: User, meter: Meter, minutes: float, rate: float) -> None:
    """Use the program for so long. Raises Broken, or AssertionError if the program does not answer."""
    count = 0
    while meter.minute < minutes:
        if count % ROLL == 0:
            user.roll()
            meter.rest()
            clear(user.program.folder / "output")
        count += 1
        user.use(min(BETWEEN, max(1.0, (minutes - meter.minute) * 60)), rate)
        user.calm()
        if user.program.now["error"] or user.program.stderr:
            raise Broken(f"network: {user.program.now['error']!r}, stderr: {user.program.stderr!r}")
        print(meter.line(user.sent), flush=True)
    user.rest()
    user.calm()
    meter.rest()


def clear(folder: Path) -> None:
    """Snapshots and recordings of an hour would fill a disk."""
    for path in folder.glob("*"):
        if time.time() - os.path.getmtime(path) > 30:
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=15, help="events a second")
    parser.add_argument(
        "--turn", type=float, default=LONGEST, help="seconds that a turn of the loop may take; more on a busy computer"
    )
    args = parser.parse_args()
    return 0 if soak(args.minutes, args.seed, args.rate, args.turn) else 1


if __name__ == "__main__":
    sys.exit(main())
