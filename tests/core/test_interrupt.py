"""Ctrl-C, SIGTERM and SIGHUP at any moment: no traceback, the status that a shell expects, and what is done is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepvis.core import interrupt
from deepvis.core.interrupt import ENDING, Interrupted, postponed, raised
from deepvis.core.paths import ROOT

# what pip makes of [project.scripts]
SCRIPT = "import sys; from deepvis.cli.start import main; print('up', flush=True); sys.exit(main())"


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    before = [signal.getsignal(number) for number in ENDING]
    yield
    assert [signal.getsignal(number) for number in ENDING] == before


# ---- before a command has anything to save ---------------------------------------------------------


def ended(number: int, after: float, tmp_path: Path, *argv: str) -> tuple[int, str]:
    """(status, stderr) of a command that got a signal so many seconds after its first moment."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", SCRIPT, *argv], cwd=tmp_path, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout.readline() == "up\n"
        try:
            process.communicate(timeout=max(after, 0.001))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    return process.returncode, said


@pytest.mark.parametrize(
    "after", [0.01, 0.05, *(random.Random(1).uniform(i / 2, i / 2 + 0.5) for i in range(4))], ids="{:.2f}".format
)
def test_ctrl_c_at_any_moment_of_the_start(after: float, tmp_path: Path) -> None:
    """While the program and torch are imported, and the network is made."""
    status, said = ended(
        signal.SIGINT, after, tmp_path, "layers", "--model", "torchvision:alexnet", "--weights", "none"
    )
    assert status in (130, -signal.SIGINT) and said == ""


@pytest.mark.parametrize(
    "number", [number for number in ENDING if number != signal.SIGINT], ids=lambda number: number.name
)
def test_the_other_signals_too(number: signal.Signals, tmp_path: Path) -> None:
    status, said = ended(number, 1.0, tmp_path, "doctor")
    assert status in (128 + number, -number) and said == ""


def test_ctrl_c_while_a_thread_imports_torch(tmp_path: Path) -> None:
    """Python's own way out would abort here, for its threads cannot be stopped."""
    code = (
        "import sys, threading, time; from deepvis.core.interrupt import end_at_once; end_at_once(); from "
        "deepvis.cli import main as cli\n"
        "threading.Thread(target=__import__, args=['torch'], daemon=True).start()\n"
        "while 'torch' not in sys.modules: time.sleep(.001)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "")


def test_what_is_ignored_stays_so(tmp_path: Path) -> None:
    """nohup, and a shell's jobs in the background."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "from deepvis.core.interrupt import end_at_once; end_at_once(); "
        "signal.raise_signal(signal.SIGINT); print('lives')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "lives\n")


@pytest.mark.parametrize("argv", [["-m", "deepvis"], ["-m", "deepvis.cli"], [str(ROOT / "run_toolbox.py")]], ids=str)
def test_every_way_to_start_it_passes_the_status_on(argv: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *argv, *["live"] * (argv[0] == "-m"), "--settings", "none.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "none.yaml" in done.stderr


# ---- a command with something to save ----------------------------------------------------------------


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_raised(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as caught, raised():
        signal.raise_signal(number)
    assert isinstance(caught.value, KeyboardInterrupt) and interrupt.status(caught.value) == 128 + number


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_command_that_saves_and_ends_well_has_the_signals_status_too(number: signal.Signals) -> None:
    saved = []
    with pytest.raises(Interrupted) as caught, raised():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            saved.append(1)
    assert saved and caught.value.number == number
    with raised():
        pass


def test_what_follows_does_not_disturb_the_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    with pytest.raises(Interrupted) as caught, raised():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)  # by torchrun, which has heard the Ctrl-C too
            signal.raise_signal(signal.SIGINT)
    assert caught.value.number == signal.SIGINT
    again = []
    with pytest.raises(Interrupted), raised():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            now[0] = 5.0
            try:
                signal.raise_signal(signal.SIGINT)  # by a user who does not want to wait
            except KeyboardInterrupt:
                again.append(1)
    assert again


def test_postponed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    with postponed() as heard:
        assert heard() is None
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert heard() == signal.SIGTERM
        now[0] = 5.0
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_status_of_an_ordinary_ctrl_c() -> None:
    assert interrupt.status(KeyboardInterrupt()) == 130


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_there_when_it_is_stopped(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        yield from range(count)
        raise KeyboardInterrupt

    if count == 0:
        with pytest.raises(KeyboardInterrupt):
            interrupt.until_stopped(items())
        return
    assert interrupt.until_stopped(items()) == list(range(count))
    assert capsys.readouterr().out == f"stopped after {count} images, which are drawn\n"


def test_all_items_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert interrupt.until_stopped(iter("ab")) == ["a", "b"] and not capsys.readouterr().out
