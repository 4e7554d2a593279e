"""How this process uses the machine, memory allocator and threads, and which foreign messages it keeps quiet.

Each measure and what it is worth is in the benchmark's note (tests/benchmarks/live.py).
The toolbox calls `tune()` when it starts, before torch is imported where it can. To import a module of this package
changes nothing of the process. This module does not import torch itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def tune() -> None:
    """Set what the toolbox needs of its process; to be called before torch and its thread pools start."""
    # Threads that spin while they wait for one another starve a machine with a busy neighbour; threads that
    # sleep at once take longer to wake than a small layer takes. So libgomp's spin for some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    # FFmpeg prints about damaged videos by itself. OpenCV reads this when it opens its first video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Odd metadata is Pillow's to warn about and nobody's to act on.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    _keep_memory()


def own_modules_only() -> None:
    """Take the current folder from the path, where `python -m` puts it first: a numpy.py in a download would be run."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    try:
        here = os.getcwd()
    except OSError:  # it has been removed
        here = ""
    if sys.path and sys.path[0] in ("", here) and os.path.realpath(here) != os.path.realpath(root):
        del sys.path[0]


def _keep_memory() -> None:
    """Tell glibc to keep freed memory: giving each activation back and faulting it in again costs a third.

    In one pool for all threads. By default glibc has eight pools a core and a thread takes any of them; each would
    keep the most that was ever asked of it, such as a snapshot's pictures, and no other thread could use it.
    """
    if not sys.platform.startswith("linux"):
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
        if "MALLOC_ARENA_MAX" not in os.environ:
            libc.mallopt(M_ARENA_MAX, 1)
    except (OSError, AttributeError):  # musl has neither the problem nor the call
        pass


def give_back() -> None:
    """Give memory that nothing uses back to the system; glibc on Linux only. Takes some tens of milliseconds.

    What was freed stays in pieces between what is in use, so that the process would grow for hours, though by less and
    less. What a pass of the network takes it has again after one pass.
    """
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            pass


@contextmanager
def giving_back(every: float = 30.0) -> Iterator[None]:
    """While the block runs, call `give_back` now and then, in a thread of its own."""
    over = threading.Event()

    def work() -> None:
        be_patient()
        while not over.wait(every):
            give_back()

    threading.Thread(target=work, name="deepvis-memory", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def cpu_plan(cores: int | None = None) -> tuple[int, int]:
    """Workers and torch threads for each on a CPU.

    Two workers that take turns with the frames, each with its share of the cores, give more
    frames than one worker with all of them: the parts of a pass that do not parallelise, and
    the drawing, overlap.
    """
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (1, 1) if cores < 2 else (2, max(1, cores // 2))


def be_patient() -> None:
    """Let this thread, and those that it starts, wait for the live view when cores are scarce. On Linux only."""
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        except OSError:  # not allowed here: the live view shares evenly
            pass
