"""How the machine is used."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from deepvis import runtime
from deepvis.runtime import cpu_plan, tune


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
    code = "import sys; from deepvis.runtime import tune; tune(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=runtime.__file__.rpartition("deepvis")[0]).returncode == 0


POOLS = """
import ctypes, sys, threading
from deepvis.runtime import tune
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
                          cwd=runtime.__file__.rpartition("deepvis")[0])  # fmt: skip
    assert done.returncode == 0
    assert fewest <= (tmp_path / "info").read_text().count("<heap nr=") <= most
