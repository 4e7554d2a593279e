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
    # Without this FFmpeg prints messages about damaged videos. OpenCV reads it when it opens its first video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Pillow warns about odd metadata, which the user cannot do anything about.
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
    """Make glibc keep freed memory, in one pool for all threads.

    Returning each activation's memory to the system and getting it again costs a third of the time. By default glibc
    has eight pools for each core; each would keep as much as was ever used of it, such as for a snapshot's pictures,
    and no other thread could use that memory.
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
    """Return unused memory to the system, on Linux with glibc only. Takes some tens of milliseconds.

    Without it fragmentation makes the process grow slowly for hours. The memory that a pass of the network needs is
    allocated again by the next pass.
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


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_plan(among: int | None = None) -> tuple[int, int]:
    """(number of workers, torch threads of each worker) on a CPU.

    Two workers that take frames in turn, each with half of the cores, give more frames per second than one with all
    cores: the parts of a pass that use only one core, and the drawing, overlap.
    """
    number = cores() if among is None else among
    return (1, 1) if number < 2 else (2, max(1, number // 2))


def be_patient() -> None:
    """Lower the priority of this thread and the threads that it starts, in favour of the live view. On Linux only."""
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        except OSError:  # not allowed here: the live view shares evenly
            pass
