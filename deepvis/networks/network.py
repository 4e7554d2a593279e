"""A network that is ready to be shown: frozen, on its device, with its layers found and named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.core.geometry import cut, fit
from deepvis.core.layers import Layer
from deepvis.core.receptive_field import ReceptiveField
from deepvis.inputs.bands import Reading, fit_bands, is_bands
from deepvis.networks.activation_rules import ActivationRule, Rule, drops_results
from deepvis.networks.attention import Attention, WithAttention
from deepvis.networks.capture import capture, interruptible
from deepvis.networks.discovery import Run, choose, dry_run, find, left_out
from deepvis.networks.fingerprint import fingerprint
from deepvis.networks.folding import fold_batchnorm
from deepvis.networks.kept_tensors import begin, copied, move_kept
from deepvis.networks.receptive_fields import measure
from deepvis.networks.unit_axes import UnitAxes
from deepvis.networks.unwrapping import unwrapped

ONE_AT_A_TIME = "If it takes only one picture at a time, give --batch 1"


@dataclass(frozen=True)
class InputSpec:
    """The input of a network and its normalisation, (pixel × range / 255 − mean) / std.

    A picture is RGB. A network with one channel gets its gray values. In a network with more than three channels,
    three get the picture's red, green and blue, and the others get their mean, which is 0 after the normalisation.

    Attributes:
        height, width: in pixels.
        mean, std: a value for each channel, in the network's order and range.
        range: the value of a full white pixel before the mean is subtracted: 1 or 255.
        order: "rgb" or "bgr", for a network with three channels.
        bands: the channels that get the picture's red, green and blue, or the one channel that gets its gray.
            Empty: the first three, in the order that `order` says.
        white: the value of a full white pixel in pictures of 16 bits; 0 to guess it.
        mean_image: an image to subtract in place of `mean` (which is its average then), float32
            height×width×channels in the network's order and range.
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    range: float = 1.0
    order: str = "rgb"
    bands: tuple[int, ...] = ()
    white: float = 0.0
    mean_image: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def aspect(self) -> float:
        return self.width / self.height

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def reading(self) -> Reading:
        """How picture files are read for this input."""
        return Reading(self.channels, self.white, self.range)

    @property
    def places(self) -> tuple[int, ...]:
        """The channels that get the picture's red, green and blue, or the one channel that gets its gray."""
        return self.bands or ((2, 1, 0) if self.order == "bgr" and self.channels > 2 else (0, 1, 2))[: self.channels]

    @property
    def note(self) -> str:
        """A note for the user on the channels that get no part of a picture; usually empty."""
        others = [str(band) for band in range(self.channels) if band not in self.places]
        return f"channels {', '.join(others)} of the input get their mean" if others else ""

    @property
    def scaling(self) -> bytes:
        """Bytes that identify the normalisation, for the fingerprint; the input's height and width do not count."""
        numbers = " ".join(f"{value:.5g}" for value in (*self.mean, *self.std, self.range))
        image = b"" if self.mean_image is None else self.mean_image.astype(np.float32).tobytes()
        return f"{numbers} {self.places}".encode() + image

    def noise(self) -> Tensor:
        """The same random input at every call: 1×channels×height×width, 0 to 1, channels_last."""
        shape = (1, self.channels, self.height, self.width)
        return torch.rand(shape, generator=torch.Generator().manual_seed(0)).contiguous(
            memory_format=torch.channels_last
        )

    def seen(self, picture: np.ndarray, crop: bool, part: float = 1.0) -> np.ndarray:
        """Turn a picture (uint8 RGB H×W×3 or bands, of any size) into the network's values.

        Args:
            crop: use the centred crop of the input's aspect (true), or stretch the whole picture (false).
            part: fraction of the crop's sides to use, 0 to 1.
        Returns:
            float32 height×width×channels.
        Raises:
            UserError: the number of bands (see `deepvis.inputs.bands`) is not the number of channels.
        """
        if not is_bands(picture):
            return self.normalised(fit(picture, self.width, self.height, crop, part))
        if picture.shape[2] != self.channels:
            raise UserError(f"the picture has {picture.shape[2]} bands, and the network takes {self.channels}")
        return self.normalised_bands(fit_bands(cut(picture, self.aspect, crop, part), self.width, self.height))

    def normalised(self, picture: np.ndarray) -> np.ndarray:
        """uint8 RGB height×width×3 -> float32 height×width×channels."""
        places = list(self.places)
        if len(places) == 1:
            planes = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
        elif places == [2, 1, 0]:  # many times faster than by indices
            planes, places = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [0, 1, 2]
        else:
            planes = np.ascontiguousarray(picture[..., : len(places)])
        values: np.ndarray = cv2.LUT(planes, np.ascontiguousarray(self._table()[..., places])).reshape(planes.shape)
        if self.mean_image is not None:
            values -= (self.mean_image / np.array(self.std, np.float32))[..., places]
        if places == list(range(self.channels)):
            return values
        whole = np.zeros((*values.shape[:2], self.channels), np.float32)
        whole[..., places] = values
        return whole

    def normalised_bands(self, bands: np.ndarray) -> np.ndarray:
        """height×width×channels -> float32 of the same shape.

        Bytes are scaled like a picture's pixels; other numbers are already in the network's range. NaN and infinite
        values become the mean.
        """
        scale = self.range / 255 if bands.dtype == np.uint8 else 1
        mean = np.array(self.mean, np.float32) if self.mean_image is None else self.mean_image
        values = (bands.astype(np.float32) * np.float32(scale) - mean) / np.array(self.std, np.float32)
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return values

    def _table(self) -> np.ndarray:
        """The network's value for each of a pixel's 256 values, without a mean image: float32 1×256×channels.

        Looking values up is faster than computing them.
        """
        pixel = np.arange(256)[:, None] * (self.range / 255)
        mean = np.array(self.mean) if self.mean_image is None else 0
        table: np.ndarray = ((pixel - mean) / np.array(self.std)).astype(np.float32)
        return table[None]


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen network. Two threads must not use it at once: give each its own `replica()`.

    Attributes:
        name: its name on the screen.
        module: the module, in eval mode, with frozen parameters, channels_last.
        input: its input size and normalisation.
        layers: the layers that are shown, in network order.
        paths: {layer name: qualified name of the submodule}.
        unit_axes: {layer name: how its units lie in the submodule's output}.
        calls: {path: how often one forward pass calls the submodule}.
        classes: names of the output's entries, or empty.
        fingerprint: identifies the network: stored images and indexes are used only if they have the same one.
        drops_results: the network relies on `inplace=True` (see `activation_rules.drops_results`).
        notes: notes for the user: which parts of a checkpoint were not used, why there are no predictions.
        left_out: sentences that say which modules are not shown, or not in full.
        options: the options that name it on the command line, each with a space before it.
    """

    name: str
    module: nn.Module
    input: InputSpec
    layers: tuple[Layer, ...]
    paths: Mapping[str, str]
    unit_axes: Mapping[str, UnitAxes]
    calls: Mapping[str, int]
    classes: tuple[str, ...]
    device: torch.device
    dtype: torch.dtype
    fingerprint: str = ""
    drops_results: bool = False
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    options: str = ""

    def command(self, words: str) -> str:
        """A command for the user that works on this network, such as "deepvis scan --model M --images DIR".

        Args:
            words: the command without the network, such as "scan --images DIR".
        """
        verb, _, rest = words.partition(" ")
        return f"deepvis {verb}{self.options} {rest}"

    @property
    def telling_backward(self) -> str:
        """The backward method that shows most about an image: "deconv", or "guided" if there is no max-pooling.

        The result of deconv depends on the image only through the positions of the maxima in max-pooling layers. In
        a network without these it is the same for every image (Springenberg et al. 2014, section 3.4).
        """
        pools = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
        return "deconv" if any(isinstance(child, pools) for child in self.module.modules()) else "guided"

    def replica(self) -> Network:
        """The same network with hooks of its own; parameters and buffers are shared."""
        shared = [*self.module.parameters(), *self.module.buffers()]
        return replace(self, module=copied(self.module, {id(t): t for t in shared}))

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Network:
        """The same network on another device, in float32 if that is a CPU and no other precision is given."""
        dtype = dtype or (torch.float32 if device.type == "cpu" else self.dtype)
        moved = {id(t): _moved(t, device, dtype) for t in (*self.module.parameters(), *self.module.buffers())}
        module = copied(self.module, moved, lambda kept: _moved(kept, device, dtype))
        return replace(self, module=module, device=device, dtype=dtype)

    def see(self, image: np.ndarray, crop: bool, part: float = 1.0) -> Tensor:
        """Turn a picture into the network's input, 1×channels×H×W (see `InputSpec.seen`)."""
        values = self.input.seen(image, crop, part)
        return (
            torch.from_numpy(values).permute(2, 0, 1)[None].to(self.device, self.dtype)
        )  # channels_last by construction

    @contextmanager
    def capture(
        self, layers: Collection[str], cut: str | None = None, leaves: Collection[str] = ()
    ) -> Iterator[Mapping[str, Tensor]]:
        """Collect the outputs of layers' modules while the block runs (see `deepvis.networks.capture.capture`).

        Yields {layer name: the module's output}; `units` turns an output into the layer's units.
        """
        ends = (self.paths[cut], self.calls[self.paths[cut]]) if cut else None
        begins = {self.paths[name] for name in leaves}
        with capture(self.module, {self.paths[name] for name in layers} | begins, ends, leaves=begins) as captured:
            yield _ByName(self.paths, captured)

    def interruptible(self, is_unwanted: Callable[[], bool]) -> AbstractContextManager[None]:
        """A context in which a pass ends at the next layer as soon as `is_unwanted` returns true.

        See `deepvis.networks.capture.interruptible`.
        """
        return interruptible(self.module, set(self.paths.values()), is_unwanted)

    def under(self, rule: Rule) -> ActivationRule:
        """A context in which activation functions use the rule in the backward pass; the forward pass is unchanged."""
        return ActivationRule(rule, write_back=self.drops_results)

    def up_to(self, layer: str, x: Tensor) -> Tensor:
        """The units of a layer for a batch, differentiable: B×C×H×W, or B×N for a vector.

        Only the part of the network below the layer is run, so `x` (B×channels×H×W) may be smaller
        than the network's own input, if that part can take it.
        """
        return self.reach(layer, x)[0]

    def reach(self, layer: str, x: Tensor, maps: Collection[str] = ()) -> tuple[Tensor, Mapping[str, Tensor]]:
        """As `up_to`, and besides {layer: the module's output} for the layers `maps`, from which on gradients are
        recorded; those that the run did not come to are missing."""
        path = self.paths[layer]
        begins = {self.paths[name] for name in maps}
        with capture(self.module, {path} | begins, (path, self.calls[path]), stop=True, leaves=begins) as captured:
            self.module(x.clone())  # a copy, because the module may change it in place
        units = self.units(layer, captured[path])
        if len(units) != len(x):
            raise UserError(f"layer {layer} has {len(units)} rows for a batch of {len(x)} pictures. {ONE_AT_A_TIME}")
        return units, _ByName(self.paths, captured)

    def units_of(self, layers: Collection[str], x: Tensor) -> dict[str, Tensor]:
        """The units of some layers for a batch, differentiable; the network is run up to the last of them."""
        *before, last = sorted(layers, key=[layer.name for layer in self.layers].index)
        units, outputs = self.reach(last, x, before)
        return {**{layer: self.units(layer, outputs[layer]) for layer in before}, last: units}

    def units(self, layer: str, output: Tensor) -> Tensor:
        """The layer's units from its module's output, differentiable: B×C×H×W, or B×N for a vector.

        Raises:
            UserError: the number of units is not the same as when the network was loaded.
        """
        axes = self.unit_axes[layer]
        units = axes.look(output)
        if units.shape[1] != axes.units:
            raise UserError(
                f"layer {layer} has {units.shape[1]} units now and had {axes.units} when the network was loaded. "
                "deepvis needs layers that keep their number of channels: leave this one out (layers: in a model.yaml)"
            )
        return units

    def receptive_field(self, layer: str, is_unwanted: Callable[[], bool] = lambda: False) -> ReceptiveField:
        """Measure the size and the positions of a layer's receptive fields.

        Args:
            is_unwanted: called now and then; if it returns true the measurement is given up.
        Raises:
            Abandoned: the measurement was given up.
        """
        whole = self._with_numbers
        with whole.interruptible(is_unwanted):
            return measure(lambda x: whole.up_to(layer, x), self.input.noise().to(self.device, self.dtype))

    @cached_property
    def _with_numbers(self) -> Network:
        """The same network with 1 in place of NaN and infinite weights, whose NaN would spread over all activations."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        if all(bool(t.isfinite().all()) for t in tensors):
            return self
        finite = {id(t): _with_values(t, torch.where(t.isfinite(), t, torch.ones_like(t))) for t in tensors}
        return replace(self, module=copied(self.module, finite))


def _moved(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The tensor on another device, without a copy on its own device, which may be full."""
    return _with_values(tensor, tensor.detach().to(device, dtype if tensor.is_floating_point() else tensor.dtype))


def _with_values(tensor: Tensor, values: Tensor) -> Tensor:
    """New values in a tensor of the same kind: a parameter or a buffer."""
    return nn.Parameter(values, requires_grad=False) if isinstance(tensor, nn.Parameter) else values


class _ByName(Mapping[str, Tensor]):
    """Captured tensors by layer name; it fills while the network runs."""

    def __init__(self, paths: Mapping[str, str], captured: Mapping[str, Tensor]) -> None:
        self._paths, self._captured = paths, captured

    def __getitem__(self, layer: str) -> Tensor:
        return self._captured[self._paths[layer]]

    def __iter__(self) -> Iterator[str]:
        return (name for name, path in self._paths.items() if path in self._captured)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def prepare(
    name: str,
    module: nn.Module,
    spec: InputSpec,
    layers: Mapping[str, str] | None,
    classes: Sequence[str] = (),
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Prepare a network: eval mode, frozen, channels_last, BatchNorm folded, layers found by a dry run.

    Args:
        layers: {name to show: path of the submodule}, or None for every module without children
            (in a large network: every block) that returns a map, tokens or a vector, and every
            attention.
        classes: names of the output's entries.
    Raises:
        UserError: the dry run fails, a path does not exist, or a layer's output cannot be shown.
    """
    # torch's fast path for attention gives slightly other values than the path that allows a backward pass; the values
    # shown must not depend on whether a backward method is on. PyTorch has this switch for a whole process only.
    torch.backends.mha.set_fastpath_enabled(False)
    device = device or torch.device("cpu")
    module = unwrapped(module.float().eval()).requires_grad_(False)
    noise = spec.noise()
    with suppress(Exception):  # if it fails, so does the dry run, which says why
        begin(module, noise)
    run = dry_run(name, module, noise)
    if classes and run.scores not in (None, len(classes)):
        raise UserError(
            f"network {name}: {len(classes)} labels for an output of {run.scores} entries. "
            f"Give one label for each entry, or none (labels: in its model.yaml)."
        )
    chosen = choose(module, run) if layers is None else {label: run.known(path) for label, path in layers.items()}
    shown = [
        found for label, path in chosen.items() for found in find(name, label, path, module, run, classes, spec.aspect)
    ]
    if not shown:
        raise UserError(f"network {name} has no layer to show: none of its modules returns a map, tokens or a vector. "
                        "Divide its forward into modules (torch.nn.Module), one for each layer")  # fmt: skip
    paths: Mapping[str, str] = {layer.name: path for layer, _, path in shown}
    hidden = left_out(module, run, dict.fromkeys(paths.values()))
    mark = fingerprint(module, spec.scaling)
    module = fold_batchnorm(module, noise, keep=[path for path in paths.values() if path not in run.attention])
    drops = drops_results(module, noise)
    module, paths, calls = _with_attention(module, run, paths)
    module = module.to(device=device, dtype=dtype)
    move_kept(module, device, dtype)
    for weight in module.parameters():  # `module.to(memory_format=…)` would fail for a module with a Conv3d
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    found, looks = tuple(layer for layer, _, _ in shown), {layer.name: axes for layer, axes, _ in shown}
    return Network(
        name, module, spec, found, paths, looks, calls, tuple(classes), device, dtype, mark, drops, left_out=hidden
    )


def _with_attention(
    module: nn.Module, run: Run, paths: Mapping[str, str]
) -> tuple[nn.Module, Mapping[str, str], Mapping[str, int]]:
    """The network with a submodule for each attention that is shown.

    Args:
        paths: {layer: path of its submodule, or of its attention}.
    Returns:
        The network, the layers' paths in it, and how often its submodules are called.
    """
    watched = {path: run.attention[path] for path in paths.values() if path in run.attention}
    if not watched:
        return module, paths, run.calls
    inner = {path: f"net.{path}" for path in run.calls}
    inner |= {path: f"attention.{call.number}" for path, call in watched.items()}
    calls = {inner[path]: count for path, count in run.calls.items() if path in inner}
    outer = WithAttention(module, {call.number: Attention(call.from_first) for call in watched.values()})
    return outer, {layer: inner[path] for layer, path in paths.items()}, calls
