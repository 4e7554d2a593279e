"""The toolbox from Python: `deepvis.live(model)` in a script or a notebook."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepvis.app.sources import first_state, sources
from deepvis.app.toolbox import live as open_window
from deepvis.attribution.methods import take_in
from deepvis.core import paths, runtime
from deepvis.core.errors import UserError
from deepvis.core.plain import numbers, plain, texts
from deepvis.display import key_codes
from deepvis.display.window import DisplayProbe
from deepvis.inputs.feed import Feed
from deepvis.interface import commands
from deepvis.interface.settings import Settings, naming_options
from deepvis.interface.settings import load as load_settings
from deepvis.networks import trust
from deepvis.workers.engine import Engine

if TYPE_CHECKING:
    from torch import nn

    from deepvis.networks.network import Network

Labels = Sequence[str] | str | Path


def live(
    model: nn.Module | str,
    *,
    labels: Labels | Mapping[str, Labels] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    size: tuple[int, int] | None = None,
    range: float | None = None,
    order: str | None = None,
    bands: Sequence[int] | None = None,
    layers: Mapping[str, str] | Sequence[str] | None = None,
    softmax: bool | None = None,
    name: str | None = None,
    input: str | int | Path | None = None,
    device: str | None = None,
    precision: str | None = None,
    settings: str | Path | Mapping[str, Any] | None = None,
) -> None:
    """Open the window on a network and return when it is closed. Call it from the main thread.

    The module is not changed: the window shows a copy of it, made at the call. The network's input is
    (pixel × range / 255 − mean) / std.

    Args:
        model: a module that takes 1×3×height×width (or 1×1×…, see `mean`), or what `--model` takes, such as
            "torchvision:alexnet".
        labels: a label for each entry of the output, "imagenet", or a text file with a label on each line; for several
            layers {layer: such labels}.
        mean, std: a number for each channel, in the network's order; a single number means that the network takes gray
            pictures. Default: ImageNet's.
        size: height and width of the network's input. Default: (224, 224).
        range: value of a white pixel before `mean` is subtracted, 1 (the default) or 255.
        order: order of the channels, "rgb" (the default) or "bgr".
        bands: the channels that get a picture's red, green and blue; they are also the bands shown of pictures with
            more bands. Default: the first three.
        layers: the layers to show, {name: path of the submodule} or a list of paths. Default: all modules that can be
            shown; in a large network its blocks.
        softmax: add a layer of class probabilities after the output. Default: if the output is a vector of scores that
            are not probabilities.
        name: the network's name on the screen.
        input: photos (the bundled ones), camera, a camera's index, or the name of a video, stream, folder, list file or
            image. Default: what `settings` says if it is given, else photos.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: float32, bfloat16 or float16.
        settings: a settings.yaml, or values as in one: {"crop": False, "window.width": 1900}. Default: the
            settings.yaml in the current folder, if there is one. The other arguments win.
    Numbers and sequences may be Python's, NumPy's or torch's.
    If `model` is a source, the defaults are those of that source.

    Raises:
        UserError: no display, or anything else that the caller can put right.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UserError("deepvis.live: called from another thread; windows work in the main thread only")
    given = _given(labels, mean, std, size, range, order, bands, layers, softmax)
    _open(model, name, given, settings, _chosen(input, device, precision))


def _chosen(input: object, device: object, precision: object) -> dict[str, Any]:
    """The arguments that are settings, without those that are not given."""
    return _without_none({
        "input": str(input) if isinstance(input, Path) else plain(input),
        "device": None if device is None else str(device),
        "precision": None if precision is None else str(precision).removeprefix("torch."),
    })  # fmt: skip


def _open(
    model: nn.Module | str,
    name: str | None,
    given: Mapping[str, Any],
    settings: str | Path | Mapping[str, Any] | None,
    chosen: Mapping[str, Any],
) -> None:
    """Open the window.

    Args:
        given: what is given of the network, in the form of a model.yaml.
        chosen: values of settings that win over `settings`.
    """
    runtime.tune()
    probe = DisplayProbe()
    if not isinstance(model, str):
        _check_module(model)
        name = name or type(model).__name__
    known = _settings(settings, {**chosen, "model": plain(name or model)})
    paths.use(known.data)
    if isinstance(model, str):
        trust.ask(model, trust.Consent())

    def load() -> Network:
        from deepvis.networks import loading

        if isinstance(model, str):
            network = loading.load(model, known.device, known.precision, known.weights, given)
        else:
            network = loading.from_module(model, known.model, known.device, known.precision, given)
        _check_labels(given.get("labels"), network)
        return replace(network, options=naming_options(known))

    camera, files, first = sources(known)
    engine = Engine(load)
    with _torch_as_before():
        open_window(known, engine, Feed(camera, files), first_state(known, first), probe.check)


def _settings(settings: str | Path | Mapping[str, Any] | None, chosen: Mapping[str, Any]) -> Settings:
    """The settings with the arguments in place of their values; the input is the photos if nothing else is given."""
    found = _loaded(settings, chosen)
    take_in(found.composites)
    return found


def _loaded(settings: str | Path | Mapping[str, Any] | None, chosen: Mapping[str, Any]) -> Settings:
    usual = {"input": "photos"}
    if settings is None or isinstance(settings, Mapping):
        values = {**usual, **plain(settings or {}), **chosen}
        return load_settings(None, values, commands=commands.COMMANDS, key_names=key_codes.NAMES)
    names = key_codes.NAMES
    return load_settings(Path(settings), chosen, defaults=usual, commands=commands.COMMANDS, key_names=names)


def _check_module(model: object) -> None:
    from torch import nn

    if isinstance(model, nn.Module):
        return
    what, hint = f"a {type(model).__name__}", ""
    if isinstance(model, type) and issubclass(model, nn.Module):
        what, hint = f"the class {model.__name__}", f"; make one of it: {model.__name__}()"
    elif isinstance(model, Mapping):
        hint = "; if these are weights, put them into their network first: net.load_state_dict(…)"
    raise UserError(
        f"deepvis.live: model is {what}; expected a torch.nn.Module, or a source such as 'torchvision:alexnet'{hint}"
    )


def _given(
    labels: Any, mean: Any, std: Any, size: Any, range: Any, order: Any, bands: Any, layers: Any, softmax: Any
) -> dict[str, Any]:
    """The arguments in the form of a model.yaml, without those that are not given."""
    sides = plain(size)
    if size is not None and not (
        isinstance(sides, list) and len(sides) == 2 and all(type(side) is int for side in sides)
    ):
        raise UserError(f"deepvis.live: size is {size!r}; expected (height, width), such as (224, 224)")
    height, width = sides or (None, None)
    taken = {"height": height, "width": width, "mean": numbers("mean", mean), "std": numbers("std", std),
             "range": plain(range), "order": plain(order), "bands": numbers("bands", bands, whole=True)}  # fmt: skip
    if layers is not None and not isinstance(layers, Mapping):
        layers = {path: path for path in texts("layers", layers)}
    named = {layer: _names(of) for layer, of in labels.items()} if isinstance(labels, Mapping) else _names(labels)
    values = {"input": _without_none(taken), "labels": named, "layers": plain(layers), "softmax": plain(softmax)}
    return _without_none(values)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _names(labels: Labels | None) -> str | list[str] | None:
    if labels is None or isinstance(labels, str):
        return labels
    return str(labels) if isinstance(labels, Path) else texts("labels", labels)


def _check_labels(labels: object, network: Network) -> None:
    """Raise UserError if a list of labels does not have the length of the output."""
    if isinstance(labels, list) and labels and len(labels) != len(network.classes):
        raise UserError(
            f"deepvis.live: {len(labels)} labels for an output of {len(network.classes)} entries; give one for each"
        )


@contextmanager
def _torch_as_before() -> Iterator[None]:
    """Give the caller's torch back what the toolbox sets for the whole process: threads, and attention's fast path."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads, fast = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mha.set_fastpath_enabled(fast)
