"""Loading a network by its model's name: model.yaml, source, weights, labels."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepvis.core import paths
from deepvis.core.arrays import read_array
from deepvis.core.errors import UserError, printable, words
from deepvis.core.layers import find_layer
from deepvis.core.nearest import did_you_mean
from deepvis.core.reading import is_text, place_of, shown
from deepvis.networks import trust
from deepvis.networks.checkpoints import MATCHES, load_weights, packaged
from deepvis.networks.kept_tensors import begin, copied
from deepvis.networks.model_file import CHANNELS, NUMBERS, SIDE, VALUE, read_labels, read_model_file
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.networks.outputs import Bounded, Chosen, pick, takes_softmax
from deepvis.networks.sources import AUTO, DEFAULT, NONE, Source, for_channels, imagenet_labels, load_source
from deepvis.networks.trust import Consent
from deepvis.networks.unsupported import check_module
from deepvis.networks.unwrapping import innermost, unwrapped

_LOG = logging.getLogger("deepvis")
_WEIGHT_WORDS = {NONE: NONE, AUTO: AUTO, DEFAULT.lower(): DEFAULT}


@dataclass(frozen=True)
class _Spec:
    """The values of a model.yaml, or of a source that was named directly.

    Attributes:
        name: the network's name.
        where: where the values come from, for errors: the file or the option of the command line.
        folder: the folder that paths are relative to.
        values: {key: value}; the keys are those of `model_file.KEYS`.
        lines: {key: its line in the file}.
        file: the model.yaml; None for a source.
    """

    name: str
    where: str
    folder: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    file: Path | None = None

    def wrong(self, text: object) -> UserError:
        return UserError(f"{place_of(self.where, self.lines, str(text))}: {text}")

    def with_values(self, given: Mapping[str, Any]) -> _Spec:
        """The same with these values in place of its own; they have no line in the file."""
        lines = {key: line for key, line in self.lines.items() if key.partition(".")[0] not in given}
        return replace(self, values={**self.values, **given}, lines=lines)


def load(
    model: str, device: str = "auto", precision: str = "float32", weights: str = AUTO, given: Mapping[str, Any] = {},
    consent: Consent = Consent(),
) -> Network:  # fmt: skip
    """Load a network by name.

    Args:
        model: a folder's name under models/, the path of a model.yaml or of its folder, or a
            source such as "torchvision:alexnet".
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "float32", "bfloat16" or "float16".
        weights: "auto" (those of the model.yaml, else the source's usual weights), "none" (random
            weights), a name that the source knows, or a file.
        given: values to replace those of the model.yaml; in `input` only the keys that are given are replaced.
        consent: what the user has said about running the model's code.
    Raises:
        UserError: anything that the user can put right, such as a model with code that is not trusted.
    """
    spec = _with(given, _with_weights(_find(model), weights))
    target = pick_device(device)
    trust.check(spec.values["source"], spec.folder, spec.file, consent)
    try:
        source = _source(spec)
    except UserError as error:
        raise spec.wrong(error) from error
    return _ready(spec, source, target, precision)


def from_module(
    module: nn.Module, name: str, device: str = "auto", precision: str = "float32", given: Mapping[str, Any] = {}
) -> Network:
    """Make a network from a copy of a module.

    Args:
        given: values as in a model.yaml: input, output, softmax, labels, layers.
    Raises:
        UserError: as in `load`, or the module cannot be copied.
    """
    spec = _Spec(name, name, Path.cwd(), given)
    target = pick_device(device)
    try:
        source = Source(copied(_bare(spec, module)))
    except UserError:
        raise
    except Exception as error:  # user code may raise anything
        raise spec.wrong(f"the module cannot be copied ({type(error).__name__}: {error}), and deepvis works on "
                         f"a copy. Give it a module that copy.deepcopy can copy") from error  # fmt: skip
    return _ready(spec, source, target, precision)


def _ready(spec: _Spec, source: Source, device: torch.device, precision: str) -> Network:
    """The network of a source. Whatever its code raises becomes a UserError."""
    try:
        return _prepared(spec, source, device, precision)
    except UserError:
        raise
    except Exception as error:  # user code may raise anything, in properties and hooks as well as in forward
        raise spec.wrong(f"the network cannot be made ready: {words(error)}. Correct its code, or wrap it in a module "
                         "of plain float32 parameters") from error  # fmt: skip


def _prepared(spec: _Spec, source: Source, device: torch.device, precision: str) -> Network:
    taken = _input(spec, source.input or InputSpec())
    module = unwrapped(
        _bare(spec, source.module).cpu().float().eval()
    )  # it may come on any device and in any dtype; `prepare` moves it to the device it will run on
    module, entries, notes = _shaped(spec, module, taken)
    classes, others = _labels(spec, source.classes, entries)
    network = prepare(spec.name, module, taken, _layers(spec, module), classes, device, _DTYPES[precision])
    notes = (*source.notes, *notes)
    for note in notes:
        _LOG.warning("%s: %s", spec.where, printable(note))
    return replace(_named(network, others, spec), notes=notes)


def _bare(spec: _Spec, module: nn.Module) -> nn.Module:
    """The network without wrappers (DataParallel, torch.compile), which would hide its modules."""
    module = innermost(module)
    try:
        check_module(module)
    except UserError as error:
        raise spec.wrong(error) from error
    return module


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str) -> torch.device:
    """The torch device of that name; UserError if this machine does not have it."""
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


# ---- model.yaml ---------------------------------------------------------------------------------


def _find(model: str) -> _Spec:
    path = trust.model_file(model)
    if path is not None:
        said = read_model_file(path)
        return _Spec(path.resolve().parent.name, str(path), path.resolve().parent, said.values, said.lines, path)
    if ":" in model:
        return _Spec(model, f"--model {model}", Path.cwd(), {"source": model})
    known = sorted({path.parent.name for folder in paths.models() for path in folder.glob("*/model.yaml")})
    raise UserError(
        f"unknown model {model!r}.{did_you_mean(model, known, 1)} Give a folder of models/ "
        f"({', '.join(known)}), the path of a "
        f"model.yaml, or a source such as torchvision:alexnet."
    )


# ---- network and weights ------------------------------------------------------------------------


def _with_weights(spec: _Spec, weights: str) -> _Spec:
    """The spec with these weights; if they are a file, its path is relative to the current folder."""
    if weights == AUTO:
        return spec
    if _is_file(weights, Path.cwd()) and not weights.startswith("package:"):
        weights = os.path.realpath(os.path.expanduser(weights))
    return spec.with_values({"weights": weights, "match": "name"})


def _with(given: Mapping[str, Any], spec: _Spec) -> _Spec:
    """The spec with these values in place of its own; in `input` only the given keys are replaced."""
    own = spec.values.get("input")
    if isinstance(own, Mapping) and "input" in given:
        given = {**given, "input": {**own, **given["input"]}}
    return spec.with_values(given)


def _source(spec: _Spec) -> Source:
    """The network with its weights."""
    args = spec.values.get("args") or {}
    word = str(spec.values.get("weights") or AUTO)
    word = _WEIGHT_WORDS.get(word.lower(), word)
    match = spec.values.get("match") or "name"
    if match not in MATCHES:
        raise UserError(f"match: {match!r}: expected {' or '.join(MATCHES)}")
    if not _is_file(word, spec.folder):
        return load_source(str(spec.values["source"]), word, args, spec.folder)
    packed = word.startswith("package:")
    path = packaged(word.removeprefix("package:")) if packed else _weight_file(spec.folder, os.path.expanduser(word))
    if not os.path.isfile(path) and spec.values.get("weights_from"):
        raise UserError(f"no weight file {path}. {spec.values['weights_from']} Or use random weights: --weights none.")
    source = load_source(str(spec.values["source"]), NONE, args, spec.folder)
    check_module(source.module)
    return replace(source, notes=load_weights(source.module, path, match))


def _weight_file(folder: Path, name: str) -> Path:
    """The path of a model's weight file, which need not exist; for a bundled model it may be in the user's folder."""
    own, bundled = paths.models()
    own = own / folder.name if folder.parent == bundled.resolve() else folder
    beside = folder / name
    return beside if os.path.isfile(beside) else own / name


def _is_file(word: str, folder: Path) -> bool:
    """Whether `word` is a file and not a name of weights: names of weights have no dots and slashes."""
    if word in _WEIGHT_WORDS.values():
        return False
    return word.startswith(("package:", "~")) or any(sign in word for sign in "./\\") or os.path.isfile(folder / word)


# ---- input and output ---------------------------------------------------------------------------


def _input(spec: _Spec, base: InputSpec) -> InputSpec:
    values, allowed = spec.values.get("input") or {}, (*InputSpec.__dataclass_fields__, "channels")
    if not isinstance(values, Mapping):
        raise spec.wrong(f"input: expected keys and values; the keys are {', '.join(allowed)}")
    for key in values:
        if key not in allowed:
            raise spec.wrong(f"unknown key 'input.{key}'; allowed are {', '.join(allowed)}")
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None}
    image = given.pop("mean_image", None)
    if image is not None:
        if "mean" in given:
            raise spec.wrong("input.mean and input.mean_image: give one of them")
        given["mean_image"] = _mean_image(spec, image)
        given["mean"] = tuple(map(float, given["mean_image"].mean((0, 1))))
    channels = given.pop("channels", len(given["mean"]) if _numbers(given.get("mean")) else len(base.mean))
    if not _whole(channels) or not 1 <= channels <= CHANNELS:
        raise spec.wrong(
            f"input.channels: {shown(channels)}: expected how many channels the network takes, 1 to {CHANNELS}, such "
            f"as 3"
        )
    if "channels" in values or image is not None:
        base = replace(base, mean=for_channels(base.mean, channels), std=for_channels(base.std, channels))
    taken = replace(base, **given)
    if not _numbers(taken.mean) or not _numbers(taken.std) or not len(taken.mean) == len(taken.std) == channels:
        raise spec.wrong(
            f"input.mean and input.std take one number for each channel (three for RGB), not "
            f"{shown(_plain(taken.mean))} and {shown(_plain(taken.std))}"
            + (f" for {channels} channels" if "channels" in values else "")
        )
    if not all(0 < value <= VALUE for value in taken.std):
        raise spec.wrong(
            f"input.std: {shown(_plain(taken.std))}: expected positive numbers up to {VALUE:,}, because pixels are "
            f"divided by them"
        )
    if not all(abs(value) <= VALUE for value in taken.mean):
        raise spec.wrong(f"input.mean: {shown(_plain(taken.mean))}: expected numbers up to {VALUE:,}")
    if taken.order not in ("rgb", "bgr"):
        raise spec.wrong(f"input.order: {shown(taken.order)}: input.order is rgb or bgr")
    for key, most in (("height", SIDE), ("width", SIDE), ("range", VALUE), ("white", VALUE)):
        value = getattr(taken, key)
        if key == "white" and value == InputSpec.white:
            continue
        is_number = _whole(value) or key in ("range", "white") and isinstance(value, float)
        if not is_number or not 0 < value <= most:
            raise spec.wrong(f"input.{key}: {shown(value)}: expected a positive number, at most {most:,}")
    if taken.height * taken.width * channels > NUMBERS:
        raise spec.wrong(
            f"input.height, width and channels: {taken.height}×{taken.width}×{channels}: expected at most {NUMBERS:,} "
            "numbers in all. Give a smaller height and width"
        )
    if taken.bands and taken.order == "bgr":
        raise spec.wrong("input.bands and input.order: bands already say where red, green and blue go. Remove order:")
    _check_bands(spec, taken)
    return _fitting(spec, taken)


def _check_bands(spec: _Spec, taken: InputSpec) -> None:
    bands = taken.bands
    fine = isinstance(bands, tuple) and all(_whole(band) and 0 <= band < taken.channels for band in bands)
    if not fine or len(bands) > 3 or len(set(bands)) < len(bands):
        raise spec.wrong(
            f"input.bands: {shown(_plain(bands))}: expected up to three different channels, for the picture's red, "
            f"green and "
            f"blue (one: its gray); the network's are 0 to {taken.channels - 1}"
        )


def _mean_image(spec: _Spec, name: object) -> np.ndarray:
    """Read a mean image from a .npy file, height×width×channels, or channels first as in Caffe."""
    if not is_text(name):
        raise spec.wrong(f"input.mean_image: {shown(_plain(name))}: expected the name of a file of numpy.save")
    path = spec.folder / os.path.expanduser(name)
    try:
        image = read_array(path, "a file of numpy.save", "Save it again.")
    except UserError as error:
        raise spec.wrong(f"input.mean_image: {error}") from error
    if image.ndim == 3 and image.dtype.kind in "fiu" and 0 < image.size <= NUMBERS:
        last = image.shape[2] <= image.shape[0]
        image = image if last else image.transpose(1, 2, 0)
        if image.shape[2] <= CHANNELS and np.isfinite(image).all() and np.abs(image, dtype=np.float64).max() <= VALUE:
            return image.astype(np.float32)
    raise spec.wrong(f"input.mean_image: {path}: expected an array of finite numbers, height×width×channels "
                     "or channels×height×width")  # fmt: skip


def _fitting(spec: _Spec, taken: InputSpec) -> InputSpec:
    """The spec with its mean image cropped at the centre to the input's size, as in Caffe."""
    if taken.mean_image is None:
        return taken
    height, width, _ = taken.mean_image.shape
    top, left = (height - taken.height) // 2, (width - taken.width) // 2
    if top < 0 or left < 0:
        raise spec.wrong(f"input.mean_image: its {height}×{width} pixels are fewer than the input's "
                         f"{taken.height}×{taken.width}")  # fmt: skip
    return replace(taken, mean_image=taken.mean_image[top : top + taken.height, left : left + taken.width])


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(values: object) -> bool:
    return isinstance(values, tuple) and bool(values) and all(_whole(v) or isinstance(v, float) for v in values)


def _plain(values: object) -> object:
    return list(values) if isinstance(values, tuple) else values


def _shaped(spec: _Spec, module: nn.Module, taken: InputSpec) -> tuple[nn.Module, int | None, tuple[str, ...]]:
    """Make the network return one tensor, and add a softmax if there should be one.

    Returns:
        The network, the number of entries of its output (None if that is not a vector), and notes for the user.
    Raises:
        UserError: softmax is neither true nor false, or there is no such output.
    """
    softmax, output = spec.values.get("softmax"), spec.values.get("output")
    if not isinstance(softmax, (bool, type(None))):
        raise spec.wrong(f"softmax: {softmax!r}: expected true, false, or no such line for the default")
    bounded = Bounded()
    with bounded:
        returned = _returned(module, taken)
    if returned is None:  # `prepare` will say why
        return module, None, ()
    try:
        scores = pick(returned[0], output)
    except UserError as error:
        if output is not None:
            raise spec.wrong(error) from error
        return module, None, (f"no class predictions: {error}, and no vector of scores",)
    vector = scores.ndim == 2
    if softmax is None:
        softmax = vector and takes_softmax(_several(module, taken, output, scores), bounded.is_so)
    if softmax or not isinstance(returned[0], Tensor):
        module = Chosen(module, output, softmax)
    return module, scores.shape[1] if vector else None, ()


def _returned(module: nn.Module, taken: InputSpec, scale: float = 1) -> tuple[object] | None:
    """What the network returns for a noise input, in a tuple of one; None if it fails."""
    noise = torch.randn(1, len(taken.mean), taken.height, taken.width, generator=torch.Generator().manual_seed(0))
    try:
        begun = begin(module, noise)
        if begun is not None and scale == 1:
            return (begun,)
        with torch.no_grad():  # not inference mode: a network that keeps tensors could not use them later
            return (module(noise * scale),)
    except Exception:  # user code may raise anything
        return None


def _several(module: nn.Module, taken: InputSpec, output: str | int | None, first: Tensor) -> list[Tensor]:
    """The outputs for several inputs, the first of which is known; only that one if it is clearly not probabilities."""
    if not bool(((first >= 0) & (first <= 1)).all()):
        return [first]
    others = [_returned(module, taken, scale) for scale in (0, -2, 5)]
    picked = [pick(other[0], output) for other in others if other is not None]
    return [first, *(scores for scores in picked if scores.ndim == 2 and scores.shape[1] == first.shape[1])]


# ---- layers and labels --------------------------------------------------------------------------


def _layers(spec: _Spec, module: nn.Module) -> dict[str, str] | None:
    """{name: path of the submodule}. Paths in the user's network are turned into paths in the `Chosen` around it."""
    layers = spec.values.get("layers")
    if layers is None:
        return None
    if not isinstance(layers, Mapping) or not layers:
        raise spec.wrong("layers: expected lines such as 'conv1: features.0'; without layers: all are shown")
    known = {path for path, _ in module.named_modules()}
    return {str(name): inner if (inner := f"net.{path}") in known else str(path) for name, path in layers.items()}


def _labels(
    spec: _Spec, given: Sequence[str], entries: int | None
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The labels of the output's entries (a label for each, or none), and {layer: labels} for other layers."""
    labels = spec.values.get("labels")
    classes: tuple[str, ...]
    if isinstance(labels, Mapping):
        classes, others = (), {str(layer): _names(spec, value) for layer, value in labels.items()}
    else:
        classes, others = () if labels is None else _names(spec, labels), {}
    if labels is None or others:
        classes = tuple(given) if len(given) == entries else ()
    if classes and entries is not None:
        classes += ("",) * (entries - len(classes))
    return classes, others


def _names(spec: _Spec, labels: object) -> tuple[str, ...]:
    if labels == "imagenet":
        return imagenet_labels()
    if labels in (NONE, False):
        return ()
    if isinstance(labels, list):
        return tuple(str(name) for name in labels)
    path = spec.folder / str(labels)
    if not os.path.isfile(path):
        raise spec.wrong(
            f"labels {labels!r}: expected 'imagenet' or a text file with one label per line, a list of labels, or "
            f"lines 'LAYER: FILE'; there is no file {path}"
        )
    try:
        return read_labels(path)
    except UserError as error:
        raise spec.wrong(f"labels {labels!r}: {error}") from error


def _named(network: Network, labels: Mapping[str, tuple[str, ...]], spec: _Spec) -> Network:
    """The network with labels for the units of these layers; there may be fewer labels than units."""
    layers = list(network.layers)
    for name, names in labels.items():
        try:
            index = find_layer(name, layers)
        except UserError as error:
            raise spec.wrong(f"labels: {error}") from error
        if len(names) > layers[index].units:
            raise spec.wrong(f"labels: {len(names)} labels for layer {name} of {layers[index].units} units. "
                             "Give one label per line and unit")  # fmt: skip
        layers[index] = replace(layers[index], labels=names)
    return replace(network, layers=tuple(layers))
