"""Deciding whose code may run.

A network of a `python:` source is built by Python code, which can do anything that the user can do. If the user typed
the source, its code may run. If a file names it (a model.yaml or a settings.yaml, perhaps from a download), the code
runs only after the user has trusted its folder, with --trust or by an answer in the terminal. The trust is remembered
with a hash of the folder's code, so the user is asked again after a change. This module never imports that code.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepvis.core import paths
from deepvis.core.errors import UserError, one_line
from deepvis.core.reading import read_yaml

PYTHON = "python:"  # sources that run code
OWN = "python:deepvis.networks.caffenet:CaffeNet"  # a part of this program
ALWAYS = "DEEPVIS_TRUST"  # environment variable: 1 trusts every folder, for machines with the user's own files only
MOST_FILES, MOST_BYTES, MOST_ENTRIES = 5_000, 200_000_000, 1_000_000  # in a folder: code files, their bytes, all files
_CODE = (*importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES)
_granted: set[tuple[str, str]] = set()  # what this process trusts, in case it cannot be written to the disk


@dataclass(frozen=True)
class Consent:
    """Whether the user agrees to run a model's code.

    Attributes:
        typed: the user typed the model's name on the command line or gave it to a function; it is not from a file.
        trust: --trust was given.
    """

    typed: bool = True
    trust: bool = False


def ask(model: str, consent: Consent) -> None:
    """If necessary ask the user whether the code of this model may run. Call it before the model is loaded.

    Args:
        model: the model's name, as `loading.load` takes it.
    Raises:
        UserError: the code may not run, or there is no terminal to ask in.
    """
    file = model_file(model)
    if file is None:
        check(model, Path.cwd(), None, consent, may_ask=True)
    else:
        check(_source(file), file.resolve().parent, file, consent, may_ask=True)


def check(source: object, folder: Path, file: Path | None, consent: Consent, may_ask: bool = False) -> None:
    """Check that the user trusts the code of a source; one without code always passes.

    Args:
        source: such as "python:mynet:Net".
        folder: the folder where its modules are looked for first.
        file: the model.yaml that names the source; None if there is none.
        may_ask: ask in the terminal.
    Raises:
        UserError: the code is not trusted.
    """
    if not _must_be_trusted(source, folder, file, consent) or os.environ.get(ALWAYS, "0") not in ("", "0"):
        return
    folder, files = folder.resolve(), sorted(_code(folder.resolve()))
    mark = _digest(str(source), folder, [*files, *([file] if file else [])])
    key = (mark, str(folder))
    known = {*_remembered(), *_granted}
    if key in known:
        return
    changed = any(place == str(folder) for _, place in known)
    who = one_line(file or ("--model" if consent.typed else "the settings"))
    what = (
        f"{who} wants to run code{', which has changed' * changed}: "
        f"source {one_line(source)}{_given(file)}, {_listed(files, folder)}"
    )
    if not consent.trust:
        if not (may_ask and _is_terminal()):
            raise UserError(
                f"{what}. Such code can do anything that you can do. Look at it, and if you trust it, give the same "
                f"command with --trust (once; from Python: first run deepvis layers MODEL --trust)"
            )
        print(
            f"deepvis: {what}.\nSuch code can do anything that you can do. Run it, now and as long as it stays the "
            f"same? [y/N] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UserError(f"{one_line(folder)} is not trusted; its code was not run")
    _remember(key)


def _given(file: Path | None) -> str:
    """The arguments of the code, for the question: they may name other files, whose changes are not noticed."""
    args = _values(file).get("args")
    return f" with args {one_line(args)}" if args else ""


def model_file(model: str) -> Path | None:
    """The model.yaml for a model's name, which is a file, a folder or a folder in models/; None if there is none."""
    named = [folder / model / "model.yaml" for folder in paths.models()]
    for path in (Path(model), Path(model, "model.yaml"), *named):
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # too long, or no name of a file at all
            pass
    return None


def own_file(module: str, folder: Path) -> Path | None:
    """The file or package folder from which a module of this top-level name would be imported in a folder, or None."""
    names = (module, *(f"{module}{suffix}" for suffix in _CODE))
    return next((folder / name for name in names if (folder / name).exists()), None)


def _must_be_trusted(source: object, folder: Path, file: Path | None, consent: Consent) -> bool:
    if not isinstance(source, str) or not source.startswith(PYTHON):
        return False
    if source == OWN and own_file("deepvis", folder) is None:
        return False
    if file is not None or not consent.typed:
        return True
    # The user meant a certain module. A file here with the name of an installed package may be a trap.
    top = source.removeprefix(PYTHON).partition(":")[0].partition(".")[0]
    return own_file(top, folder) is not None and _is_installed(top, folder.resolve())


def _is_installed(module: str, folder: Path) -> bool:
    """Whether this top-level module is also found outside the folder. Python's own modules do not count."""
    if module in sys.stdlib_module_names or not module.isidentifier():
        return False
    places = [place for place in sys.path if Path(place).resolve() != folder]
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(module, places)
        except (AttributeError, ImportError, ValueError):
            continue
        if spec is not None and spec.origin is not None:
            return True
    return False


def _source(file: Path) -> object:
    """The source that a model.yaml names; None if the file cannot be read (`loading.load` will say why)."""
    return _values(file).get("source")


def _values(file: Path | None) -> Mapping[str, Any]:
    """The values of a model.yaml; empty if there is none or it cannot be read."""
    try:
        values = read_yaml(file).values if file is not None else None
    except UserError:
        return {}
    return values if isinstance(values, dict) else {}


# ---- the folder's code -----------------------------------------------------------------------------


def _code(folder: Path) -> Iterator[Path]:
    """All files below the folder that Python can import; links are followed."""
    todo, seen, entries, count = [folder], set(), 0, 0
    while todo:
        place = todo.pop()
        try:
            number = place.stat()
            children = list(os.scandir(place))
        except OSError:  # Python cannot import from there either
            continue
        if (number.st_dev, number.st_ino) in seen or any(child.name == "pyvenv.cfg" for child in children):
            continue  # a circle of links; a virtual environment, whose packages are installed ones
        seen.add((number.st_dev, number.st_ino))
        for child in children:
            entries += 1
            if child.name.endswith(_CODE) and child.is_file():
                count += 1
                yield Path(child)
            elif child.name != "__pycache__" and child.is_dir():  # deepvis never loads cached code
                todo.append(Path(child))
        if count > MOST_FILES or entries > MOST_ENTRIES:
            raise _too_much(folder)


def _digest(source: str, folder: Path, files: list[Path]) -> str:
    """A hash of the source's name and of the files' names and content."""
    whole, left = hashlib.sha256(source.encode("utf-8", "surrogatepass")), MOST_BYTES
    for path in files:
        content = hashlib.sha256()
        try:
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    left -= len(block)
                    if left < 0:
                        raise _too_much(folder)
                    content.update(block)
        except OSError as error:
            raise UserError(
                f"{one_line(path)} cannot be read ({error.strerror or error}), so its folder cannot be trusted"
            ) from error
        whole.update(f"\0{os.path.relpath(path, folder)}\0{content.hexdigest()}".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _too_much(folder: Path) -> UserError:
    return UserError(
        f"{one_line(folder)} has more than {MOST_FILES:,} files of code, {MOST_BYTES >> 20} MB of code or "
        f"{MOST_ENTRIES:,} files "
        "altogether, which is too much for one model. Put the network's code and its model.yaml into a folder of "
        "their own"
    )


def _listed(files: list[Path], folder: Path) -> str:
    names = [one_line(os.path.relpath(path, folder)) for path in files[:5]]
    return f"{', '.join(names) or 'no .py file'}{' …' if len(files) > 5 else ''} in {one_line(folder)}"


def _is_terminal() -> bool:
    """Whether the user can be asked in a terminal; several processes that share one must not ask."""
    return sys.stdin is not None and sys.stdin.isatty() and "WORLD_SIZE" not in os.environ


# ---- what is remembered ----------------------------------------------------------------------------


def remembered_in() -> Path:
    """The file that lists the trusted folders, one on each line: hash and path. Remove a line to withdraw the trust."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
        base = base if base.is_absolute() else Path.home() / ".config"
    return base / "deepvis" / "trusted.txt"


def _remembered() -> Iterator[tuple[str, str]]:
    try:
        lines = remembered_in().read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return
    for line in lines:
        mark, _, place = line.strip().partition("  ")
        try:
            yield mark, json.loads(place)
        except ValueError:  # not a line of this program
            pass


def _remember(key: tuple[str, str]) -> None:
    _granted.add(key)
    mark, place = key
    line = f"{mark}  {json.dumps(place)}\n"  # JSON, because a folder's name may contain a line break
    try:
        path = remembered_in()
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            file.write(b"\n" * (file.read(1) not in (b"", b"\n")) + line.encode())
        print(f"deepvis: {one_line(place)} is trusted until its code changes (remembered in {path})", file=sys.stderr)
    except (OSError, RuntimeError) as error:
        print(f"deepvis: {one_line(place)} is trusted only this time; this cannot be saved ({error})", file=sys.stderr)
