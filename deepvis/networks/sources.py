"""Sources of networks: torchvision, timm, the user's own Python code, ONNX files.

Each source is a loader in the table `SOURCES`. It builds the network, with the weights that its library provides if
these are asked for. Weights from files are loaded afterwards (see `deepvis.networks.loading`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepvis.core.errors import UserError, reason
from deepvis.core.files import open_regular
from deepvis.core.nearest import nearest
from deepvis.networks.model_file import CHANNELS, SIDE
from deepvis.networks.network import InputSpec
from deepvis.networks.onnx_file import read_onnx
from deepvis.networks.user_code import build

NONE, AUTO, DEFAULT = "none", "auto", "DEFAULT"  # weights: random, the source's choice, the source's default weights


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader returns.

    Attributes:
        module: the network, in any mode and precision.
        input: its input; None if the source does not say.
        classes: names of its output's entries; () if the source does not say.
        notes: notes for the user on how it was loaded.
    """

    module: nn.Module
    input: InputSpec | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Loader = Callable[[str, str, Mapping[str, Any], Path], Source]


def load_source(text: str, weights: str, args: Mapping[str, Any], folder: Path) -> Source:
    """Build the network that `text` names.

    Args:
        text: "KIND:NAME", KIND being a key of `SOURCES`.
        weights: "none" (random, the same every time), "auto", or a name the source knows ("DEFAULT").
        args: keyword arguments for the network's constructor.
        folder: where relative paths and the user's modules are looked for.
    Raises:
        UserError: anything that the user can put right.
    """
    kind, _, name = text.partition(":")
    if kind not in SOURCES or not name:
        raise UserError(f"source {text!r}: expected one of {', '.join(k + ':NAME' for k in SOURCES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SOURCES[kind](name, weights, args, folder)


def _nearest(name: str, known: Iterable[str]) -> str:
    return ", ".join(nearest(name, known)) or "none"


def _reason(error: Exception) -> str:
    """The first line of a library's error message, with the name of its class."""
    kind, text = type(error).__name__, reason(error)
    return kind if text == kind else f"{kind}: {text}"


# ---- torchvision --------------------------------------------------------------------------------


_INCEPTIONS = ("googlenet", "inception_v3")


def _torchvision(name: str, weights: str, args: Mapping[str, Any], _folder: Path) -> Source:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UserError(f"torchvision has no classification model {name!r}. Nearest: {_nearest(name, known)}.")
    choices = torchvision.models.get_model_weights(name)
    chosen = _enum_entry(name, choices, DEFAULT if weights == AUTO else weights)
    extra: dict[str, Any] = {}
    if name in _INCEPTIONS and chosen is None:  # torchvision's random initialisation is slow and prints a warning
        extra = {"init_weights": False, "transform_input": True}  # the same input as with trained weights
    try:
        module = torchvision.models.get_model(name, weights=chosen, **extra | dict(args))
    except (OSError, RuntimeError) as error:
        if chosen is None:
            raise _bad_args(f"torchvision:{name}", args, error) from error
        raise _failed_download(f"torchvision:{name}", chosen.url, error) from error
    except (TypeError, ValueError) as error:
        raise _bad_args(f"torchvision:{name}", args, error) from error
    preset = (chosen or choices.DEFAULT).transforms()
    size = preset.crop_size[0]
    spec = InputSpec(size, size, tuple(preset.mean), tuple(preset.std))
    return Source(module, spec, tuple(chosen.meta["categories"]) if chosen else ())


def _enum_entry(name: str, choices: Any, weights: str) -> Any:
    """The entry of torchvision's enum of weights, None for random ones."""
    if weights == NONE:
        return None
    if weights not in choices.__members__:
        raise UserError(
            f"weights {weights!r}: torchvision:{name} has {', '.join(choices.__members__)}. Give one of these, a file "
            f"(.pth, .safetensors), or none for random weights."
        )
    return choices[weights]


def _failed_download(what: str, url: str, error: Exception) -> UserError:
    name = url.rpartition("/")[2]
    return UserError(
        f"the weights of {what} could not be fetched ({_reason(error)}). Fetch {url} by hand and put it, named {name}, "
        f"into {os.path.join(torch.hub.get_dir(), 'checkpoints')} (remove a broken file of that name there), or use "
        f"random weights: --weights none."
    )


def _bad_args(what: str, args: Mapping[str, Any], error: Exception) -> UserError:
    given = ", ".join(f"{key}: {value!r}" for key, value in args.items()) or "none"
    return UserError(f"{what} cannot be built with args {given}: {_reason(error)}. Correct args: in its model.yaml.")


# ---- timm ---------------------------------------------------------------------------------------


def _timm(name: str, weights: str, args: Mapping[str, Any], _folder: Path) -> Source:
    import timm

    _check_timm_name(name)
    if weights not in (NONE, AUTO, DEFAULT):
        raise UserError(
            f"weights {weights!r}: timm:{name} has DEFAULT. Give that, a file (.pth, .safetensors), none for random "
            f"weights, or the weights' tag with the name (timm:NAME.TAG)."
        )
    _check_timm_args(name, args)
    trained = weights != NONE
    config = timm.models.get_pretrained_cfg(name)
    if trained and not _has_weights(config):
        raise UserError(f"timm has no trained weights for {name}. Use --weights none or a file of weights.")
    try:
        module = timm.create_model(name, pretrained=trained, **args)
    except (TypeError, AssertionError) as error:
        raise _bad_args(f"timm:{name}", args, error) from error
    except Exception as error:  # the libraries for the download raise many kinds of errors
        raise _failed_timm(name, config, args, error) if trained else _bad_args(f"timm:{name}", args, error) from error
    data = timm.data.resolve_model_data_config(module)
    _, height, width = data["input_size"]
    mean, std = (for_channels(data[key], args.get("in_chans", 3)) for key in ("mean", "std"))
    return Source(module, InputSpec(height, width, mean, std), _timm_labels(module) if trained else ())


def _check_timm_args(name: str, args: Mapping[str, Any]) -> None:
    """Raise UserError for arguments that make timm load or fetch weights: only `weights` may do this, and safely."""
    for key in args:
        if key.startswith(("pretrained", "checkpoint", "cache")):
            raise UserError(
                f"timm:{name}: args: {key}: expected arguments of the network only; give its weights by weights:"
            )


def for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """A value for each channel: the given values or, if their number does not fit, their average for all channels."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels


def _check_timm_name(name: str) -> None:
    import timm

    stem, _, tag = name.partition(".")
    if not timm.is_model(stem):
        raise UserError(f"timm has no model {name!r}. Nearest: {_nearest(stem, timm.list_models())}.")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{stem}.*")]
    if tag and tag not in tags:
        raise UserError(f"timm:{stem} has no weights {tag!r}. It has {', '.join(tags) or 'none'}.")


def _has_weights(config: Any) -> bool:
    return config is not None and any((config.url, config.hf_hub_id, config.file, config.state_dict))


def _failed_timm(name: str, config: Any, args: Mapping[str, Any], error: Exception) -> UserError:
    if isinstance(error, RuntimeError) and "size mismatch" in str(error):
        return _bad_args(f"timm:{name}", args, error)
    if not config.hf_hub_id:
        return _failed_download(f"timm:{name}", config.url, error)
    from huggingface_hub.constants import HF_HUB_CACHE

    page = f"https://huggingface.co/{config.hf_hub_id}"
    return UserError(
        f"the weights of timm:{name} could not be fetched ({_reason(error)}). Fetch model.safetensors from {page} by "
        f"hand and give it with --weights FILE; or run `hf download {config.hf_hub_id}` on a machine with a network "
        f"and copy its folder models--{config.hf_hub_id.replace('/', '--')} into {HF_HUB_CACHE}; or use random "
        f"weights: --weights none."
    )


def _timm_labels(module: Any) -> tuple[str, ...]:
    """Labels for timm's own weights if they were trained on ImageNet or a part of it; else ()."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    config = module.pretrained_cfg
    subset = infer_imagenet_subset(module)
    if subset == "imagenet-1k":
        return imagenet_labels() if "in1k" in (config.get("tag") or "in1k") else ()
    return tuple(ImageNetInfo(subset).label_descriptions()) if subset else ()


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 classes of ImageNet in their usual order."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


# ---- the user's own code ------------------------------------------------------------------------


def _python(name: str, weights: str, args: Mapping[str, Any], folder: Path) -> Source:
    if weights not in (NONE, AUTO):
        raise UserError(
            f"weights {weights!r}: python:{name} has no named weights. Give a file (.pth, .safetensors) or none."
        )
    return Source(build(name, args, folder))


# ---- ONNX ---------------------------------------------------------------------------------------


def _onnx(name: str, weights: str, args: Mapping[str, Any], folder: Path) -> Source:
    path = folder / name
    if not os.path.lexists(path):
        raise UserError(f"no ONNX file {path}. Put it there or correct source: onnx:FILE.")
    open_regular(path, "an ONNX file").close()
    if weights != AUTO or args:
        raise UserError(f"onnx:{name}: its weights are in the file, and it takes no args. Remove weights: and args:.")
    try:
        import onnx  # noqa: F401
        from onnx2torch import convert
    except ImportError as error:
        raise UserError(f"onnx:{name} needs a converter ({error}). Run: pip install 'deepvis[onnx]'") from error
    try:
        model = read_onnx(path)
        spec = _onnx_input(model.graph)
        module = convert(model)
    except UserError:
        raise
    except Exception as error:  # the converter has no error of its own
        raise UserError(
            f"{path} cannot be converted to PyTorch: {_reason(error)}. Export the network again with another opset, "
            f"or use source: python: with its own code."
        ) from error
    return Source(module, spec)


def _onnx_input(graph: Any) -> InputSpec | None:
    """The input's size from the graph; None if the graph leaves it open."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]  # 0: open
    if len(dims) != 4:
        raise ValueError(
            f"its input {inputs[0].name} has {len(dims)} dimensions, expected 4: batch, channels, height, width"
        )
    _, channels, height, width = dims
    if 0 in (channels, height, width):
        return None
    if not (0 < channels <= CHANNELS and 0 < height <= SIDE and 0 < width <= SIDE):
        raise ValueError(
            f"its input {inputs[0].name} is {channels}×{height}×{width}; expected at most {CHANNELS} channels of "
            f"{SIDE}×{SIDE}"
        )
    spec = InputSpec(height, width)
    return spec if channels == 3 else InputSpec(height, width, (0.0,) * channels, (1.0,) * channels)


SOURCES: Mapping[str, Loader] = {"torchvision": _torchvision, "timm": _timm, "python": _python, "onnx": _onnx}
