"""A network that the user's own Python code builds."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from deepvis.errors import UserError, harmless

_FRAMES = 3  # of the user's traceback


def build(name: str, args: Mapping[str, Any], folder: Path) -> nn.Module:
    """Call what `name` names.

    Args:
        name: "package.module:callable", a class or function that returns a network, or a network.
        args: its keyword arguments.
        folder: where the module is looked for besides the usual places.
    Raises:
        UserError: it is not there, raises, or returns no network.
    """
    path, colon, attribute = name.partition(":")
    if not colon or not all(part.isidentifier() for part in [*path.split("."), *attribute.split(".")]):
        raise UserError(f"source 'python:{name}': expected python:package.module:callable, such as python:mynet:Net")
    with _importable(folder.resolve(), path.partition(".")[0]):
        found = _attribute(_module(path, folder), attribute, path)
        if isinstance(found, nn.Module):
            return found
        if not callable(found):
            raise UserError(f"python:{name} is a {type(found).__name__}; expected a class or function.")
        try:
            made = found(**args)
        except (Exception, SystemExit) as error:
            raise UserError(f"python:{name} failed with args {dict(args)}:\n{_traceback(error)}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"python:{name} returned a {type(made).__name__}; expected a torch.nn.Module.")
    return made


@contextmanager
def _importable(folder: Path, top: str) -> Iterator[None]:
    """While the block runs, modules in `folder` can be imported, also one that is called like another.

    Two folders may each have a model.py; the one here wins over one that was imported from elsewhere.
    """
    own = next((p for p in (folder / f"{top}.py", folder / top / "__init__.py") if p.is_file()), None)
    loaded = getattr(sys.modules.get(top), "__file__", None)
    hidden: dict[str, ModuleType] = {}
    if own and top in sys.modules and (loaded is None or Path(loaded).resolve() != own):
        hidden = {key: sys.modules.pop(key) for key in list(sys.modules) if key.partition(".")[0] == top}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.modules.update(hidden)


def _module(path: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            near = difflib.get_close_matches(path, sorted(p.stem for p in folder.glob("*.py")), n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UserError(
                f"python:{path}: there is no module {error.name!r}, neither installed nor in {folder.resolve()}.{hint}"
            ) from error
        raise UserError(f"python:{path} failed while it was imported:\n{_traceback(error)}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"python:{path} failed while it was imported:\n{_traceback(error)}") from error


def _attribute(module: ModuleType, name: str, path: str) -> object:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            near = difflib.get_close_matches(part, known, n=3) or sorted(known)[:8]
            hint = f"Nearest: {', '.join(near)}." if near else "It defines nothing callable."
            raise UserError(f"python:{path} has no {name!r}. {hint}")
        found = getattr(found, part)
    return found


def _traceback(error: BaseException) -> str:
    """The end of the user's own traceback, as Python prints it, without the frames of this program."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename not in (__file__, importlib.__file__)
    ]
    said = harmless(error)
    last = traceback.format_exception_only(error) if said == str(error) else [f"{type(error).__name__}: {said}"]
    lines = [*traceback.format_list(frames[-_FRAMES:]), *last]
    return "".join(lines).rstrip()
