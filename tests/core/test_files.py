"""Only regular files are opened; what is written is there whole, or the old file is."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepvis.core.errors import UserError
from deepvis.core.files import (
    beside,
    is_regular,
    locked,
    open_regular,
    remove_unfinished,
    shortened,
    write_whole,
    writing,
)
from deepvis.core.paths import ROOT

needs_unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")


# ---- reading -------------------------------------------------------------------------------------


def test_a_regular_file_is_opened_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content" and os.get_blocking(file.fileno())
        assert is_regular(tmp_path / name)


def special(folder: Path, kind: str) -> Path:
    path = folder / "x.jpg"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(os.path.relpath(path))  # the address has to be short
        sock.close()
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "does not exist":
        path.symlink_to("nowhere")
    elif kind == "levels of symbolic links":
        path.symlink_to("x.jpg")
    return path


KINDS = ["a pipe", "a socket", "a folder", "a device", "does not exist", "levels of symbolic links"]


@needs_unix
@pytest.mark.parametrize("kind", KINDS)
def test_all_else_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path, kind)
    with pytest.raises(UserError, match=rf"x\.jpg .*{kind}.*expected a list"):
        open_regular(path, "a list")
    assert not is_regular(path)


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "x/" * 3000 + "x"])
def test_names_that_cannot_be_are_refused_in_a_short_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_regular(tmp_path / name)
    assert len(str(caught.value)) < 300 and "\0" not in str(caught.value)
    assert not is_regular(tmp_path / name)


@needs_unix
def test_what_becomes_a_pipe_between_looking_and_opening_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    regular, real = os.stat(tmp_path / "file"), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: regular if str(path).endswith("pipe") else real(path, **how))
    with pytest.raises(UserError, match="is a pipe"):
        open_regular(tmp_path / "pipe")


def test_a_long_name_is_shortened_in_the_middle() -> None:
    assert shortened("a/b.jpg") == "a/b.jpg"
    assert len(shortened("x" * 500 + "end.jpg")) <= 121 and shortened("x" * 500 + "end.jpg").endswith("end.jpg")


# ---- writing -------------------------------------------------------------------------------------


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b", b"new")
    assert (tmp_path / "a" / "b").read_bytes() == b"new" and listed(tmp_path / "a") == ["b"]


def test_a_new_file_has_the_rights_of_any_other_and_an_older_keeps_its_own(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    write_whole(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "any").stat().st_mode
    (tmp_path / "new").chmod(0o640)
    write_whole(tmp_path / "new", b"newer")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real").write_bytes(b"old")
    for name, to in {"link": "far/real", "chain": "link", "fresh": "far/none-yet"}.items():
        (tmp_path / name).symlink_to(to)
        write_whole(tmp_path / name, name.encode())
        assert (tmp_path / name).is_symlink() and (tmp_path / to).read_bytes() == name.encode()
    assert listed(tmp_path / "far") == ["none-yet", "real"]


@needs_unix
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "levels of symbolic links"])
def test_only_a_regular_file_is_replaced(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path, kind)
    with pytest.raises(UserError, match=rf"^--out: cannot be written: .*{kind}.*\. Choose another$"):
        with writing("--out", "Choose another"):
            write_whole(path, b"new")
    assert listed(tmp_path) == ["x.jpg"] and Path("/dev/zero").is_char_device()


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="out: cannot be written"), writing("out"):
        write_whole(tmp_path / "file" / "below" / "it", b"new")


def test_a_read_only_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for all but root
    with pytest.raises(UserError, match="read-only"), writing("out"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("error", [ValueError("no disk's"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(error)), beside(tmp_path / "a") as file:
        file.write(b"half of the new")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old" and listed(tmp_path) == ["a"]


def run(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from deepvis.core.errors import UserError
folder = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)

def render():
    from deepvis.core.picture_files import write
    write(folder / "render.png", noise)

def recipe():
    from deepvis.synthesis import presets, recipe
    recipe.save(folder / "recipe.yaml", presets.PRESETS["modern"], notes=["long"] * 5000)

def snapshot():
    from deepvis.display.recorder import save_snapshot
    save_snapshot(folder, "snapshot", {"window": noise})

def exported():
    from deepvis.store.export import _write
    _write(folder / "exported.jpg", noise)

def stored():
    from deepvis.store.unit_images import open_store
    open_store(folder / "store", "f", "m").add("layer", 1, noise[None], {"scores": [1.0]}, "0", quality=100)

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for write in (render, recipe, snapshot, exported, stored):
    try:
        write()
        print("written")
    except UserError as error:
        print(error)
"""


@needs_unix
def test_every_writer_keeps_the_old_file_on_a_full_disk(tmp_path: Path) -> None:
    names = ["render.png", "recipe.yaml", "exported.jpg", "store/layer/0001.webp"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"old")
    done = run(FULL, tmp_path)
    said = done.stdout.splitlines()
    assert done.returncode == 0 and len(said) == 5, done.stdout + done.stderr
    assert all(re.search("(cannot be written|cannot write).*File too large", line) for line in said), said
    assert all((tmp_path / name).read_bytes() == b"old" for name in names)
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "snapshot.png").exists()


# ---- what killed processes leave -----------------------------------------------------------------

WRITER = """
import os, signal, sys
from pathlib import Path
from deepvis.core.files import beside
with beside(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.read()
"""


@needs_unix
def test_what_dead_writers_left_is_removed_and_living_ones_go_on(tmp_path: Path) -> None:
    run(WRITER, tmp_path / "dead", "die")
    living = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "living"), "live"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert living.stdout.readline() == "writing\n"
        (tmp_path / ".mine.tmp").write_text("of somebody else")
        assert len(list(tmp_path.glob(".*.tmp"))) == 3
        assert remove_unfinished([tmp_path, tmp_path / "missing"]) == 1
        living.communicate("", timeout=60)
    finally:
        living.kill()
        living.wait()
    assert listed(tmp_path) == [".mine.tmp", "living"] and (tmp_path / "living").read_bytes() == b"half"


@needs_unix
def test_a_file_that_was_removed_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real, removed = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not removed:  # another process is faster
            monkeypatch.setattr(fcntl, "flock", real)
            removed.append(remove_unfinished([tmp_path]))
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    write_whole(tmp_path / "a", b"whole")
    assert removed == [1] and listed(tmp_path) == ["a"]


@needs_unix
def test_a_store_and_a_scan_remove_them_when_they_begin(tmp_path: Path) -> None:
    from deepvis.scan.scan import _locked
    from deepvis.store.unit_images import open_store

    open_store(tmp_path, "f", "m").add("layer", 0, [], {"failed": "why"}, "0")
    (tmp_path / "layer").mkdir()
    for _ in range(2):
        for name in ("m", "layer/u"):
            run(WRITER, tmp_path / name, "die")
        assert len(list(tmp_path.rglob(".*.tmp"))) == 2
        open_store(tmp_path, "f")  # to look alone
        assert len(list(tmp_path.rglob(".*.tmp"))) == 2
        open_store(tmp_path, "f", "m")
        assert not list(tmp_path.rglob(".*.tmp"))
    run(WRITER, tmp_path / "index", "die")
    with _locked(tmp_path, 0):
        assert not list(tmp_path.rglob(".*.tmp"))


def test_only_what_the_lock_itself_meets_is_said_of_the_folder(tmp_path: Path) -> None:
    from deepvis.scan.scan import _locked

    with pytest.raises(OSError, match="inside"), _locked(tmp_path, 0):
        raise OSError("inside")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written.*another folder with --out"), _locked(tmp_path / "file", 0):
        pass


# ---- locks ----------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from deepvis.core.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the lock of `tmp_path`/lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_that_is_held_is_refused_and_ends_with_a_killed_process(
    holder: subprocess.Popen, tmp_path: Path
) -> None:
    with pytest.raises(TimeoutError), locked(tmp_path / "lock", wait=False):
        pass
    holder.kill()  # SIGKILL: nothing is tidied up
    holder.wait()
    with locked(tmp_path / "lock", wait=False):
        pass


def test_who_waits_for_a_lock_has_it_next(holder: subprocess.Popen, tmp_path: Path) -> None:
    has_it = threading.Event()

    def wait() -> None:
        with locked(tmp_path / "lock"):
            has_it.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not has_it.wait(0.2)
    holder.communicate("", timeout=60)
    waiting.join(60)
    assert has_it.is_set()


def test_threads_keep_each_other_out_and_an_exception_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), locked(tmp_path / "lock"):
        refused = []

        def try_it() -> None:
            try:
                with locked(tmp_path / "lock", wait=False):
                    pass
            except TimeoutError as error:
                refused.append(error)

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join(60)
        assert refused
        raise ValueError("inside")
    with locked(tmp_path / "lock", wait=False):
        pass
