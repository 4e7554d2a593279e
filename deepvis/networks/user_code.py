"""Building a network by the user's own Python code."""

from __future__ import annotations

import functools
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

from deepvis.core.errors import UserError, harmless
from deepvis.core.nearest import did_you_mean, nearest
from deepvis.networks.trust import OWN, own_file

_FRAMES = 3  # of the user's traceback


def build(name: str, args: Mapping[str, Any], folder: Path) -> nn.Module:
    """Build the network that `name` names. Call it only after `trust.check`.

    Args:
        name: "package.module:callable". The callable is a network's class, a function that returns a network and is
            defined in that package or folder, or a network itself. Anything else is refused without calling it.
        args: keyword arguments for the call.
        folder: the folder to look for the module in, before the usual places.
    Raises:
        UserError: the callable does not exist, is something else, raises, or does not return a network.
    """
    path, colon, attribute = name.partition(":")
    if not colon or not all(part.isidentifier() for part in [*path.split("."), *attribute.split(".")]):
        raise UserError(f"source 'python:{name}': expected python:package.module:callable, such as python:mynet:Net")
    top, folder = path.partition(".")[0], folder.resolve()
    own = own_file(top, folder)
    if own is None and (top in sys.stdlib_module_names or top == "__main__"):
        raise UserError(f"python:{name}: {top} is a part of Python, which defines no networks; {_EXPECTED}")
    with _importable(folder, top) if own else nullcontext():
        found = _attribute(_module(path, folder), attribute, path)
        if isinstance(found, nn.Module):
            return found
        _check_maker(name, found, top, folder if own else None)
        try:
            made = found(**args)
        except (Exception, SystemExit) as error:
            raise UserError(f"python:{name} failed with args {dict(args)}:\n{_traceback(error)}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"python:{name} returned a {type(made).__name__}; expected a torch.nn.Module.")
    return made


_EXPECTED = (
    "expected a class or function: a subclass of torch.nn.Module, or a function that returns one and is defined in the "
    "model's folder or in the named package. It was not called."
)


_NO_NETWORKS = {
    "torch",
    "numpy",
    "scipy",
    "cv2",
    "onnx",
    "pip",
    "setuptools",
    "pkg_resources",
    "wheel",
    "deepvis",
    "huggingface_hub",
}

# {wrapper around a function: its attribute with the function inside}
_INSIDE = {functools.partial: "func", MethodType: "__func__", type(functools.cache(len)): "__wrapped__"}


def _check_maker(name: str, found: object, package: str, folder: Path | None) -> None:
    """Raise UserError for a callable that must not be called, such as a function that its module only imports.

    Args:
        package: the top-level name in the source.
        folder: the model's folder, if the package is in it; then the function may be defined in any module of it.
    """
    function = found
    while (inside := _INSIDE.get(type(function))) is not None:
        function = getattr(function, inside)
    if isinstance(function, type) and issubclass(function, nn.Module):
        return
    if folder is None and package in _NO_NETWORKS and f"python:{name}" != OWN:
        raise UserError(
            f"python:{name} belongs to {package}, which defines no networks and may run its arguments; {_EXPECTED}"
        )
    if not isinstance(function, FunctionType):
        what = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
        raise UserError(f"python:{name} is {what}; {_EXPECTED}")
    home = function.__module__ or ""
    file = getattr(sys.modules.get(home), "__file__", None)
    if home.partition(".")[0] != package and not (folder and file and Path(file).resolve().is_relative_to(folder)):
        raise UserError(f"python:{name} is a function of {home or 'no module'}; {_EXPECTED}")


class _FromSource(SourceFileLoader):
    """Loads a module from its source, which the user trusts, and never from a cached .pyc, which may hold anything."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _finder_in(folder: Path) -> Callable[[str], FileFinder]:
    def finder(path: str) -> FileFinder:
        place = Path(path).resolve()
        if not place.is_relative_to(folder) or {"site-packages", "dist-packages"} & set(
            place.relative_to(folder).parts
        ):
            raise ImportError(path)  # not a folder of the model: left to Python's own finders
        return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))

    return finder


@contextmanager
def _importable(folder: Path, top: str) -> Iterator[None]:
    """While the block runs, modules in `folder` can be imported, even if another module has the same name.

    Two folders may each have a model.py or a helpers.py. Modules of these names that were imported from elsewhere,
    and all modules of other models' folders, are hidden during the block.
    """
    own = next((p for p in (folder / f"{top}.py", folder / top / "__init__.py") if p.is_file()), None)
    loaded = getattr(sys.modules.get(top), "__file__", None)
    hidden = {key: sys.modules.pop(key) for key, module in list(sys.modules.items()) if _is_of_another(module, folder)}
    if own and top in sys.modules and (loaded is None or Path(loaded).resolve() != own):
        hidden |= {key: sys.modules.pop(key) for key in list(sys.modules) if key.partition(".")[0] == top}
    finder = _finder_in(folder)
    sys.path_hooks.insert(0, finder)
    for place in list(sys.path_importer_cache):
        if place and Path(place).is_relative_to(folder):
            del sys.path_importer_cache[place]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        if finder in sys.path_hooks:
            sys.path_hooks.remove(finder)
        sys.modules.update(hidden)


def _is_of_another(module: ModuleType, folder: Path) -> bool:
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return isinstance(loader, _FromSource) and not Path(loader.path).is_relative_to(folder)


def _module(path: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            hint = did_you_mean(path, sorted(p.stem for p in folder.glob("*.py")))
            raise UserError(
                f"python:{path}: there is no module {error.name!r}, neither installed nor in {folder.resolve()}.{hint}"
            ) from error
        raise UserError(f"python:{path} failed while it was imported:\n{_traceback(error)}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"python:{path} failed while it was imported:\n{_traceback(error)}") from error


def _attribute(module: ModuleType, name: str, path: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            near = nearest(part, known) or sorted(known)[:8]
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
