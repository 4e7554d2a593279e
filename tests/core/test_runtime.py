"""How the machine is used."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

import pytest

from deepvis.core import paths, runtime
from deepvis.core.runtime import cpu_plan, tune


@pytest.mark.parametrize(
    "cores, plan", [(1, (1, 1)), (2, (2, 1)), (3, (2, 1)), (4, (2, 2)), (5, (2, 2)), (64, (2, 32))]
)
def test_cpu_plan(cores: int, plan: tuple[int, int]) -> None:
    assert cpu_plan(cores) == plan
    workers, threads = plan
    assert workers * threads <= cores


def test_cpu_plan_counts_the_cores_of_this_process() -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert cpu_plan() == cpu_plan(allowed)


def test_tune_twice_does_no_harm(monkeypatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENCV_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    tune()
    first = dict(os.environ)
    tune()
    assert dict(os.environ) == first and (first["OMP_WAIT_POLICY"], first["GOMP_SPINCOUNT"]) == ("passive", "1000")


def test_tune_leaves_what_the_user_has_set(monkeypatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "INFO")
    tune()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENCV_LOG_LEVEL"]) == ("active", "INFO")
    assert "GOMP_SPINCOUNT" not in os.environ  # it would go before the policy


def test_tune_where_the_allocator_is_another_one(monkeypatch) -> None:
    def no_such_call(_name: object) -> object:
        return object()

    monkeypatch.setattr(runtime.ctypes, "CDLL", no_such_call)
    tune()


def test_tune_does_not_import_torch() -> None:
    code = "import sys; from deepvis.core.runtime import tune; tune(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0


POOLS = """
import ctypes, sys, threading
from deepvis.core.runtime import tune
tune()
ready = threading.Barrier(9)
def work():
    kept = bytearray(1 << 20)  # of the allocator, as long as all of them wait for one another
    ready.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
ready.wait()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
@pytest.mark.parametrize("wanted, fewest, most", [(None, 1, 1), ("3", 2, 3)])
def test_all_threads_share_the_memory_that_is_kept(tmp_path, wanted: str | None, fewest: int, most: int) -> None:
    """Unless the user has said how many pools there may be."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    environment |= {"MALLOC_ARENA_MAX": wanted} if wanted else {}
    done = subprocess.run([sys.executable, "-c", POOLS, str(tmp_path / "info")], env=environment, timeout=60,
                          cwd=paths.ROOT)  # fmt: skip
    assert done.returncode == 0
    assert fewest <= (tmp_path / "info").read_text().count("<heap nr=") <= most


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_memory_that_nothing_uses_is_given_back() -> None:
    """In a process of its own: freed pieces between used ones keep their pages until they are given back."""
    code = """
import gc, os
from deepvis.core import runtime
runtime.tune()
def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') >> 20
pieces = [bytearray(1 << 20) for _ in range(200)]
for piece in pieces:
    piece[::4096] = b'x' * 256
kept = pieces[::2]
del pieces, piece
gc.collect()
before = resident()
runtime.give_back()
print(before, resident())
"""
    before, after = map(
        int, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert before - after > 60 and after > 90


def test_it_is_given_back_now_and_then_and_no_more_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    called, twice = [], threading.Event()

    def give_back() -> None:
        called.append(1)
        if len(called) == 2:
            twice.set()

    monkeypatch.setattr(runtime, "give_back", give_back)
    with runtime.giving_back(0.001):
        assert twice.wait(20)
        thread = next(one for one in threading.enumerate() if one.name == "deepvis-memory")
    thread.join(20)
    assert not thread.is_alive()
