"""DeepDream: what a layer sees in a picture, stronger (Mordvintsev et al. 2015).

Each step adds the gradient of half the squares of a layer's activations (or of a unit, or of a guide's features),
scaled to a mean change, to the picture rolled by a random shift. The steps go from a small picture to the whole one
(octaves); what they added is carried up. Pictures are NumPy arrays, float32 H×W×3 RGB from 0 to 255; while they are
dreamed they are tensors 1×3×H×W on the network's device, in the same order in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deepvis.core.errors import UserError
from deepvis.core.geometry import Box, resize
from deepvis.core.layers import find_layer
from deepvis.networks.network import Network
from deepvis.networks.replicas import failed, is_out_of_memory
from deepvis.synthesis.parameterizations import mean_color, network_scale

Pull = Callable[[Tensor], Tensor]
"""Which way to change the activations 1×C×h×w (or 1×N): the gradient of the objective by them."""


@dataclass(frozen=True)
class DreamPlan:
    """How a picture is dreamed. The numbers of the original notebook, but for `iterations`.

    Attributes:
        octaves: how many sizes there are at most.
        scale: of each size to the next larger one.
        iterations: steps at each size, from the smallest one; the last number also stands for those after it.
        step: mean change of a value in a step, in 1/255.
        growth: by how much larger the steps are at the size where there are fewer of them: they make up for it.
        jitter: largest shift in pixels.
        seed: of the shifts.
        tile: longest side of the part of the picture that the network sees at once, without its margin; 0 for all.
    """

    octaves: int = 4
    scale: float = 1.4
    iterations: tuple[int, ...] = (10, 10, 6, 3)
    step: float = 1.5
    growth: float = 1.0
    jitter: int = 32
    seed: int = 0
    tile: int = 0

    def at(self, octave: int) -> tuple[int, float]:
        """(iterations, step) at an octave, from 0 for the smallest picture."""
        count = self.iterations[min(octave, len(self.iterations) - 1)]
        return count, self.step * (1 + self.growth * (self.iterations[0] / max(1, count) - 1) / 2)


NOTEBOOK = DreamPlan(iterations=(10,), growth=0.0)
"""The original notebook's schedule."""


def of_layer(activations: Tensor) -> Tensor:
    """What is there already, stronger: the gradient of ½‖a‖² is a."""
    return activations


def of_unit(unit: int) -> Pull:
    """One unit stronger, wherever it is."""

    def pull(activations: Tensor) -> Tensor:
        chosen = torch.zeros_like(activations)
        chosen[:, unit] = 1.0
        return chosen

    return pull


def of_guide(guide: Tensor) -> Pull:
    """As the notebook's guided dream: each place becomes more like that place of the guide whose features have the
    largest dot product with its own.

    Args:
        guide: 1×C×h×w, the activations of the guiding picture; 1×N for a vector, which is one place.
    """
    columns = _columns(guide)

    def pull(activations: Tensor) -> Tensor:
        here = _columns(activations)
        best = (here.T @ columns).argmax(1)
        return columns[:, best].view_as(activations)

    return pull


def _columns(activations: Tensor) -> Tensor:
    """The places' features, C×places."""
    return activations.reshape(*activations.shape[:2], -1)[0]


def guided_by(dreamer: Dreamer, picture: np.ndarray, box: Box | None = None) -> Pull:
    """The pull towards a guiding picture, H×W×3; or towards a box of it (left, top, width, height in pixels), which the
    network sees with what lies around it."""
    height, width = picture.shape[:2]
    left, top, wide, high = box or (0, 0, width, height)
    layers = dreamer.network.layers
    is_map = layers[find_layer(dreamer.layer, layers)].is_map
    rows, columns = (_around(*side, dreamer, is_map) for side in ((top, high, height), (left, wide, width)))
    found = dreamer.activations(picture[rows.seen, columns.seen].astype(np.float32))
    if found.ndim == 4:
        down, along = (_places(span, n) for span, n in zip((rows, columns), found.shape[2:]))
        found = found[:, :, down, along]
    return of_guide(found)


def _around(first: int, length: int, whole: int, dreamer: Dreamer, is_map: bool) -> _Span:
    """A part of a side of a picture, seen with the dreamer's margin; a vector has no places, so that it sees no more
    than the part."""
    margin = dreamer.margin if is_map else 0
    begin, end = max(0, (first - margin) // dreamer.multiple * dreamer.multiple), min(whole, first + length + margin)
    begin = begin if margin else first
    return _Span(slice(begin, end), slice(first, first + length), slice(first - begin, first - begin + length))


def _places(span: _Span, count: int) -> slice:
    """The places of a map's side of `count` places that lie in the span's own part; at least one."""
    seen = span.seen.stop - span.seen.start
    first = min(span.inner.start * count // seen, count - 1)
    return slice(first, max(first + 1, -(-span.inner.stop * count // seen)))


def octave_sizes(size: tuple[int, int], plan: DreamPlan, least: int) -> list[tuple[int, int]]:
    """The (height, width) of each octave, the smallest first; none is smaller than `least` on a side but the last."""
    sizes = [tuple(max(1, round(side / plan.scale**i)) for side in size) for i in range(plan.octaves)]
    kept = [(h, w) for h, w in sizes if min(h, w) >= least]
    return kept[::-1] or [size]


class Dreamer:
    """Runs a network on pictures of any size and climbs the gradient there.

    Attributes:
        network: must not be used by another thread meanwhile.
        layer: its name.
        margin: pixels around a tile that the network sees as well.
        said: what was changed for want of memory, in words; empty if nothing.
    """

    def __init__(
        self, network: Network, layer: str, pull: Pull = of_layer, margin: int = 96, multiple: int = 32
    ) -> None:
        """
        Args:
            multiple: tiles begin at multiples of so many pixels, so that strides meet the same pixels as in the whole.
        """
        spec = network.input
        if spec.channels != 3 or sorted(spec.places) != [0, 1, 2]:
            raise UserError(f"a network of {spec.channels} channels: dreams need a network that takes colour pictures")
        self.network, self.layer, self.pull = network, layer, pull
        self.margin, self.multiple, self.said = -(-margin // multiple) * multiple, multiple, ""
        self._mean = mean_color(spec).to(network.device)[:, None, None]
        self._scale = network_scale(spec).to(network.device)[:, None, None]

    def seen(self, picture: Tensor) -> Tensor:
        """The network's input of a picture of any size: 1×3×H×W. The mean colour is subtracted."""
        x = (picture.to(self.network.device) - self._mean) * self._scale
        x = x.flip(1) if self.network.input.order == "bgr" else x
        return x.to(self.network.dtype, memory_format=torch.channels_last)

    def activations(self, picture: np.ndarray) -> Tensor:
        """The layer's activations for a picture of any size, without gradient."""
        with torch.no_grad():
            return self.network.up_to(self.layer, self.seen(as_values(picture))).float()

    def takes(self, height: int, width: int) -> bool:
        """Whether the network runs on a picture of this size up to the layer."""
        try:
            return self.activations(np.zeros((height, width, 3), np.float32)).numel() > 0
        except Exception:  # the network's code may raise anything
            return False

    @cached_property
    def least_side(self) -> int:
        """The smallest side, a power of two from 16, of a square that the network takes up to the layer."""
        usual = max(self.network.input.height, self.network.input.width)
        sides = [side for side in (16, 32, 64, 128, 256) if side < usual]
        return next((side for side in sides if self.takes(side, side)), usual)

    def gradient(self, picture: Tensor) -> Tensor:
        """The gradient by a picture 1×3×H×W, on the picture's device; 0 where it is not finite."""
        x = self.seen(picture).requires_grad_(True)
        activations = self.network.up_to(self.layer, x).float()
        if not activations.requires_grad:
            return torch.zeros_like(picture)
        pull = self.pull(activations.detach())
        (grad,) = torch.autograd.grad(activations, x, pull, materialize_grads=True)
        grad = grad.flip(1) if self.network.input.order == "bgr" else grad
        finite = torch.nan_to_num(grad.float() * self._scale, nan=0.0, posinf=0.0, neginf=0.0)
        return finite.to(picture.device)

    def tiled_gradient(self, picture: Tensor, tile: int) -> Tensor:
        """The same gradient from tiles with margins; equal to that of the whole picture if the margin is as large as
        the layer's receptive field."""
        if not tile or max(picture.shape[2:]) <= tile + self.margin:
            return self.gradient(picture)
        whole = torch.zeros_like(picture)
        for rows in _spans(picture.shape[2], tile, self.margin):
            for columns in _spans(picture.shape[3], tile, self.margin):
                part = self.gradient(picture[:, :, rows.seen, columns.seen])
                whole[:, :, rows.own, columns.own] = part[:, :, rows.inner, columns.inner]
        return whole

    def fitting_gradient(self, picture: Tensor, tile: int) -> tuple[Tensor, int]:
        """The gradient from tiles that fit into memory, and their side, which is smaller if memory ran out."""
        while True:
            try:
                return self.tiled_gradient(picture, tile), tile
            except UserError:
                raise
            except Exception as error:  # the network's code may raise anything
                side = tile or max(picture.shape[2:])
                if not is_out_of_memory(error):
                    raise failed(error, 1) from error
                if side < 4 * self.multiple:
                    raise UserError(
                        f"out of memory with a part of {side} pixels: expected room for one. "
                        "Close other programs, or choose an earlier layer"
                        + (", or give --device cpu" if self.network.device.type != "cpu" else "")
                    ) from error
            tile = -(-side // 2 // self.multiple) * self.multiple
            self.said = f"too little memory: tiles of {tile} pixels"
            if self.network.device.type == "cuda":
                torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Span:
    """A part along one axis: what the network sees, what of it belongs to the part, and where that lies in the seen."""

    seen: slice
    own: slice
    inner: slice


def _spans(length: int, tile: int, margin: int) -> list[_Span]:
    found = []
    for first in range(0, length, tile):
        last = min(first + tile, length)
        begin, end = max(0, first - margin), min(length, last + margin)
        found.append(_Span(slice(begin, end), slice(first, last), slice(first - begin, last - begin)))
    return found


def tile_for(network: Network, free: int | None = None) -> int:
    """The side of tiles of which one takes a quarter of the free memory, a multiple of 32, at most 2048; 0 if that is
    not known.

    Args:
        free: bytes of free memory; None to ask the system.
    """
    free = free_memory(network.device) if free is None else free
    if free is None:
        return 0
    pixels = free / 4 / _BYTES_A_PIXEL
    return int(min(2048, max(128, math.sqrt(pixels) // 32 * 32)))


MOST_MARGIN = 224  # pixels; what lies further away adds little to the gradient
_BYTES_A_PIXEL = 1000  # of a forward and backward pass; 890 measured with EfficientNet-Lite0 to 4c, 1,050 to 7a


def free_memory(device: torch.device) -> int | None:
    """Bytes of the device's memory that are free; None where that is not known."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


@dataclass(frozen=True, eq=False)
class Climbed:
    """What a step gives.

    Attributes:
        values: the picture, 1×3×H×W, clipped to 0 to 255.
        size: the gradient's mean absolute value before it was scaled; 0 if no gradient reaches the picture.
        tile: the side of the tiles, as `Dreamer.fitting_gradient` returns it.
    """

    values: Tensor
    size: Tensor
    tile: int


def climbed(dreamer: Dreamer, values: Tensor, step: float, shift: tuple[int, int] = (0, 0), tile: int = 0) -> Climbed:
    """One step: the picture plus step ÷ mean|g| · g, with the gradient g of the picture rolled by a shift."""
    rolled = values.roll(shift, (2, 3)) if shift != (0, 0) else values
    grad, tile = dreamer.fitting_gradient(rolled, tile)
    size = grad.abs().mean()
    # without waiting for the device: a gradient of 0 stays 0
    moved = grad.mul_(step / size.clamp(min=1e-30)).add_(rolled).clamp_(0, 255)
    back = moved.roll((-shift[0], -shift[1]), (2, 3)) if shift != (0, 0) else moved
    return Climbed(back, size, tile)


@dataclass(frozen=True, eq=False)
class Dreamed:
    """A picture that is being dreamed.

    Attributes:
        values: 1×3×H×W, 0 to 255, at the size of its octave; `picture` is the same as float32 H×W×3 RGB.
        octave, octaves: which one it is, from 1, and how many there are.
        done, total: steps done so far, and in all.
        note: what was changed (fewer octaves, smaller tiles), in words; empty if nothing.
        moved: whether a gradient reaches the picture.
    """

    values: Tensor
    octave: int
    octaves: int
    done: int
    total: int
    note: str = ""
    moved: bool = True

    @cached_property
    def picture(self) -> np.ndarray:
        """The picture so far; it comes from the network's device when it is asked for."""
        return as_array(self.values)


def dream(dreamer: Dreamer, picture: np.ndarray, plan: DreamPlan = DreamPlan()) -> Iterator[Dreamed]:  # noqa: B008
    """Dream a picture, octave by octave; yields the picture after each step.

    Args:
        picture: uint8 or float32 H×W×3 RGB, 0 to 255.
    Raises:
        UserError: the network does not take a picture of this size.
    """
    base = np.ascontiguousarray(picture, np.float32)
    size = base.shape[0], base.shape[1]
    sizes = octave_sizes(size, plan, dreamer.least_side)
    if len(sizes) == 1 and not dreamer.takes(*_probe(size, plan)):
        raise UserError(
            f"a picture of {size[1]}×{size[0]} pixels: the network does not take it up to layer {dreamer.layer}. "
            "Give a larger picture or an earlier layer"
        )
    note = (
        "" if len(sizes) == plan.octaves else f"{len(sizes)} of {plan.octaves} octaves: smaller pictures are too small"
    )
    skipped = plan.octaves - len(sizes)
    steps = [plan.at(i + skipped) for i in range(len(sizes))]
    total, done, moved, tile = sum(count for count, _ in steps), 0, False, plan.tile
    draw = np.random.default_rng(plan.seed)
    home = torch.device("cpu") if tile else dreamer.network.device
    detail: np.ndarray | None = None
    for octave, (here, (count, step)) in enumerate(zip(sizes, steps)):
        ground = as_values(_sized(base, here)).to(home)
        current = ground if detail is None else ground + as_values(_sized(detail, here)).to(home)
        for _ in range(count):
            now = climbed(dreamer, current, step, random_shift(draw, plan.jitter), tile)
            current, tile = now.values, now.tile
            moved = moved or bool(now.size > 0)
            done += 1
            said = " · ".join(filter(None, (note, dreamer.said)))
            yield Dreamed(current, octave + 1, len(sizes), done, total, said, moved)
        detail = as_array(current - ground)


def _probe(size: tuple[int, int], plan: DreamPlan) -> tuple[int, int]:
    """A size that tells whether the network takes one so large: a large one is not tried whole."""
    return tuple(min(side, 512) for side in size)  # type: ignore[return-value]  # two numbers


def random_shift(draw: np.random.Generator, jitter: int) -> tuple[int, int]:
    """How far the picture is rolled before a step, (down, right): at most `jitter` pixels."""
    down, along = (int(n) for n in draw.integers(-jitter, jitter + 1, 2))
    return down, along


def _sized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return resize(picture, size[1], size[0])


def as_values(picture: np.ndarray) -> Tensor:
    """A picture H×W×3 as a tensor 1×3×H×W of float32, which shares its memory if it can."""
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]


def as_array(values: Tensor) -> np.ndarray:
    """The reverse of `as_values`."""
    picture: np.ndarray = values[0].permute(1, 2, 0).contiguous().cpu().numpy()
    return picture


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """A picture as uint8."""
    whole: np.ndarray = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return whole
