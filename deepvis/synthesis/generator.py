"""Learned priors: a generator network that makes pictures from a layer's codes (Nguyen et al. 2016, "Synthesizing the
preferred inputs for neurons in neural networks via deep generator networks").

A generator is the layer's closed-form decoder plus what a network of up-convolutions has learned to add to it. Pictures
are B×3×H×W, red first, from 0 to 255 minus the mean colour of the network whose codes they are made from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.files import is_regular
from deepvis.core.layers import Layer
from deepvis.core.marks import same_network
from deepvis.core.nearest import did_you_mean
from deepvis.networks.network import Network
from deepvis.store.priors import PRIOR, StoredPrior, load_prior, prior_at, prior_files, prior_folder
from deepvis.synthesis.decoder import Decoder, Patches, as_maps
from deepvis.synthesis.parameterizations import mean_color

MOST_WIDTH = 8  # of generators
VECTOR_GRID = 4  # a vector's picture begins as a map with so many places on its shorter side
KIND = "deepvis prior 1"  # of a file
BILINEAR, REPEATED = "bilinear", "repeated"  # how maps are enlarged; repeated, of stride 4 and more: older files
DIRECTIONS = 256  # most principal directions of the codes that are kept
_SLOPE = 0.2  # of leaky ReLUs
_GRAY = 64.0  # gray levels that the last layer's 1 stands for
_WIDTHS = {1: 16, 2: 32, 4: 64, 8: 96, 16: 128}  # channels at a stride, for width 1; beyond:
_WIDEST = 192


# ---- codes --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CodeStatistics:
    """What the codes of the training pictures are like, over pictures and places. All float32.

    Attributes:
        mean, deviation, least: [C], of each unit: mean, standard deviation, smallest value.
        directions, spreads: C×K and [K], principal directions of the codes, and their standard deviations along them.
    """

    mean: Tensor
    deviation: Tensor
    least: Tensor
    directions: Tensor
    spreads: Tensor

    @property
    def low(self) -> Tensor:
        """The least value of a unit's code: 0 if it is never negative, as after a ReLU; else 3 deviations below the
        mean. [C]"""
        return torch.where(self.least >= 0, 0.0, self.mean - 3 * self.deviation)

    @property
    def high(self) -> Tensor:
        """The largest value of a unit's code: 3 deviations above the mean, as in the paper. [C]"""
        return self.mean + 3 * self.deviation

    @property
    def rest(self) -> Tensor:
        """What a unit's code decays to: 0 as in the paper; the mean for units with negative values. [C]"""
        return torch.where(self.least >= 0, 0.0, self.mean)

    def on(self, device: torch.device) -> CodeStatistics:
        """The same on another device."""
        return CodeStatistics(*(getattr(self, name).to(device) for name in CODE_ARRAYS))


CODE_ARRAYS = ("mean", "deviation", "least", "directions", "spreads")


class CodeSums:
    """Sums over codes, from which their statistics follow."""

    def __init__(self) -> None:
        self._count, self._sum, self._products, self._least = 0, torch.zeros(()), torch.zeros(()), torch.zeros(())

    def add(self, code: Tensor) -> None:
        """Add codes B×C×h×w or B×C."""
        rows = as_maps(code).transpose(0, 1).flatten(1).double()
        least = rows.amin(1)
        self._least = torch.minimum(self._least, least) if self._count else least
        self._count += rows.shape[1]
        self._sum = self._sum.to(rows) + rows.sum(1)
        self._products = self._products.to(rows) + rows @ rows.T

    def statistics(self) -> CodeStatistics:
        """The statistics so far."""
        mean = self._sum / self._count
        covariance = self._products / self._count - torch.outer(mean, mean)
        deviation = covariance.diagonal().clamp(min=0).sqrt()
        deviation = deviation.clamp(min=max(1e-12, 1e-3 * float(deviation.median())))  # dead units
        values, directions = torch.linalg.eigh(covariance.cpu())
        kept = min(DIRECTIONS, len(mean))
        values, directions = values.flip(0)[:kept].clamp(min=0), directions.flip(1)[:, :kept]
        directions = directions * directions.sum(0).sign().where(directions.sum(0) != 0, torch.ones(()))
        parts = mean, deviation, self._least, directions, values.sqrt()
        return CodeStatistics(*(part.float().to(mean.device).contiguous() for part in parts))


# ---- the network --------------------------------------------------------------------------------


class Residual(nn.Module):
    """Adds to its input what two convolutions make of it; at first nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(F.leaky_relu(x, _SLOPE))
        added: Tensor = x + self.second(F.leaky_relu(inner, _SLOPE))
        return added


class Generator(nn.Module):
    """A picture from a code: the closed form's, plus what up-convolutions add. Differentiable, of maps of any size.

    The parameters are those of the up-convolutions. At first they add nothing.
    """

    def __init__(
        self, base: Decoder, statistics: CodeStatistics, width: float = 1.0, enlargement: str = BILINEAR
    ) -> None:
        """
        Args:
            base: the closed-form decoder of the codes.
            width: factor of the numbers of channels.
            enlargement: BILINEAR or REPEATED.
        """
        super().__init__()
        self.base, self.statistics, self.width, self.enlargement = base, statistics, width, enlargement
        self.is_map = base.patches.grid != (1, 1)
        size, units = base.patches.size, len(base.mean)
        least = min(size)
        self._grid = base.patches.grid if self.is_map else tuple(VECTOR_GRID * side // least for side in size)
        doublings = max(0, round(math.log2(min(size) / min(self._grid))))
        widths = [self._width_at(2**number) for number in range(doublings, -1, -1)]
        rows, columns = self._grid
        self.enter: nn.Module
        if self.is_map:
            reach = 1 if units <= 512 else 0
            self.enter = nn.Conv2d(units, widths[0], 1 + 2 * reach, padding=reach)
        else:
            self.enter = nn.Linear(units, widths[0] * rows * columns)
        self.blocks = nn.ModuleList(Residual(one) for one in widths[: max(1, doublings)])
        self.ups = nn.ModuleList(nn.Conv2d(one, other, 3, padding=1) for one, other in zip(widths, widths[1:]))
        self.leave = nn.Conv2d(widths[-1] + 3, 3, 3, padding=1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def _width_at(self, stride: int) -> int:
        return max(8, round(_WIDTHS.get(stride, _WIDEST) * self.width))

    def forward(self, code: Tensor) -> Tensor:
        """Pictures of codes B×C×h×w or B×C, in the codes' precision also under autocast."""
        base = self.closed_form(code)
        size, shape = base.shape[2:], (1, -1, *[1] * (code.ndim - 2))
        mean, deviation = (part.to(code).view(shape) for part in (self.statistics.mean, self.statistics.deviation))
        normal = (code - mean) / deviation
        x = self.enter(normal)
        if not self.is_map:
            x = x.view(len(code), -1, *self._grid)
        for number, up in enumerate(self.ups):
            x = self.blocks[number](x)
            shrink = 2 ** (len(self.ups) - 1 - number)
            sides = [math.ceil(side / shrink) for side in size]
            # Bilinear: the edges of enlargements by repetition all fall on the places' borders.
            repeated = self.enlargement == REPEATED and shrink > 2
            smooth = {"mode": "nearest"} if repeated else {"mode": "bilinear", "align_corners": False}
            x = up(F.interpolate(x, sides, **smooth))
        x = x if self.ups else self.blocks[0](x)
        if x.shape[2:] != size:  # a vector, or a map of a stride of about 1
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        x = self.leave(F.leaky_relu(torch.cat([x, (base / _GRAY).to(x.dtype)], 1), _SLOPE))
        picture: Tensor = base + _GRAY * x.to(base.dtype)
        return picture

    def closed_form(self, code: Tensor) -> Tensor:
        """The closed form's pictures, in the codes' precision also under autocast."""
        with torch.autocast(code.device.type, enabled=False):
            return self.base(code)

    @property
    def stride(self) -> tuple[int, int]:
        """Pixels of the picture for each place of a map, down and along."""
        (height, width), (rows, columns) = self.base.patches.size, self._grid
        return round(height / rows), round(width / columns)

    def on(self, device: torch.device) -> Generator:
        """This generator, moved to another device."""
        self.base, self.statistics = self.base.on(device), self.statistics.on(device)
        self.to(device)
        return self


# ---- priors -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Prior:
    """A trained generator and what its codes are like.

    Attributes:
        generator: its parameters are frozen.
        mean: [3], the mean colour of the network whose codes it takes, red first, 0 to 255.
        about: plain values that say what it is and how good: fingerprint, model, layer, psnr and so on.
    """

    generator: Generator
    mean: Tensor
    about: Mapping[str, Any]

    @property
    def statistics(self) -> CodeStatistics:
        return self.generator.statistics

    @property
    def layer(self) -> str:
        """Whose codes it takes."""
        return str(self.about["layer"])

    @property
    def name(self) -> str:
        """MODEL/LAYER."""
        return f"{self.about['model']}/{self.layer}"

    def pictures(self, code: Tensor) -> Tensor:
        """Pictures from 0 to 255 of codes."""
        made: Tensor = (self.generator(code) + self.mean.to(code)[:, None, None]).clamp(0, 255)
        return made


def as_stored(network: Network, layer: Layer, generator: Generator, about: Mapping[str, Any]) -> StoredPrior:
    """A generator as its file holds it. The weights are rounded to float16."""
    base, arrays = generator.base, {}
    weights = base.weights.detach().cpu().numpy()
    scales = np.abs(weights).max(1).clip(1e-30).astype(np.float32)
    rounded = (weights / scales[:, None]).astype(np.float16)
    mean, offsets = base.mean.cpu().numpy(), base.offsets.cpu().numpy()
    error = weights - rounded.astype(np.float32) * scales[:, None]
    at_mean = np.repeat(mean, len(weights) // len(mean)) @ error  # the mean code's picture stays as it is
    arrays["base.weights"], arrays["base.scales"] = rounded, scales
    arrays["base.offsets"], arrays["base.mean"] = (offsets + at_mean).astype(np.float32), mean
    for name in CODE_ARRAYS:
        array = getattr(generator.statistics, name).cpu().numpy()
        arrays[f"code.{name}"] = array.astype(np.float16) if name == "directions" else array
    for name, value in generator.state_dict().items():
        arrays[f"net.{name}"] = value.detach().float().cpu().numpy().astype(np.float16)
    patches = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(base.patches).items()}
    said = {
        "kind": KIND,
        "fingerprint": str(network.fingerprint),
        "model": network.name,
        "layer": layer.name,
        "module": network.paths[layer.name],
        "units": layer.units,
        "patches": patches,
        "width": generator.width,
        "enlargement": generator.enlargement,
        "mean": mean_color(network.input).tolist(),
    }
    return StoredPrior({**about, **said}, arrays)


def from_stored(stored: StoredPrior, device: torch.device, where: str) -> Prior:
    """The prior of a file. Raises UserError if its arrays do not fit together."""
    about, wrong = stored.about, f"{where}: is not a prior that this version can read. Train it again with "
    wrong += "deepvis train-prior"
    if about.get("kind") != KIND:
        raise UserError(wrong)
    try:
        tensors = {name: torch.from_numpy(np.array(array)).float() for name, array in stored.arrays.items()}
        laid = about["patches"]
        size, grid, cell = ((int(one[0]), int(one[1])) for one in (laid["size"], laid["grid"], laid["cell"]))
        patches = Patches(size, grid, cell, int(laid["reach"]))
        weights = tensors["base.weights"] * tensors["base.scales"][:, None]
        base = Decoder(about["layer"], patches, weights, tensors["base.offsets"], tensors["base.mean"])
        statistics = CodeStatistics(*(tensors[f"code.{name}"] for name in CODE_ARRAYS))
        width = float(about["width"])
        if not 0 < width <= MOST_WIDTH:  # another one would fill the memory
            raise UserError(wrong)
        generator = Generator(base, statistics, width, about.get("enlargement", REPEATED))
        parts = {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}
        generator.load_state_dict(parts)
        mean = torch.tensor([float(value) for value in about["mean"]])
        with torch.no_grad():
            generator(torch.zeros(1, int(about["units"]), *([1, 1] if generator.is_map else [])))
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise UserError(wrong) from error
    generator.requires_grad_(False).eval()
    return Prior(generator.on(device), mean.to(device), about)


def prior_for(network: Network, name: str) -> Prior:
    """The prior of this name for units of a network, on its device.

    Args:
        name: a layer of the network, MODEL/LAYER of another network, or a file; empty: that of the network's last
            layer that has one.
    Raises:
        UserError: there is none (the message says how to train one), it is damaged, of another version of the network,
            or the network does not take colour pictures.
    """
    if network.input.channels != 3:
        raise UserError(
            f"a network of {network.input.channels} channels: a learned prior makes colour pictures. "
            "Choose another preset, such as modern"
        )
    file, own = _found(network, name)
    prior = _loaded(str(file), file.stat().st_mtime_ns, str(network.device))
    if own and name and prior_folder(paths.precomputed().own, network.name, prior.layer).name != file.parent.name:
        raise UserError(
            f"{file}: is of layer {prior.layer}; expected {name}. Give its path as prior to use it all the same"
        )
    if own and not same_network(str(prior.about["fingerprint"]), network.fingerprint):
        raise UserError(
            f"{file}: is of other weights of {network.name}. {_training(network.name, prior.layer)}, or give "
            f"{prior.name} as prior to use it all the same"
        )
    return prior


def _found(network: Network, name: str) -> tuple[Path, bool]:
    """The prior's file, and whether it has to be of this network."""
    path = prior_at(name)
    if path is not None:
        return path, False
    places = paths.precomputed()
    model, slash, layer = name.rpartition("/")
    files = prior_files(places, model if slash else network.name)
    if not name and files:
        order = [one.name for one in network.layers]
        known = {load_about(file)["layer"]: file for file in files}
        last = max(known, key=lambda one: order.index(one) if one in order else -1)
        return known[last], True
    wanted = prior_folder(places.own, model if slash else network.name, layer if slash else name).name
    for file in files:
        if file.parent.name == wanted:
            return file, not slash
    if name and is_regular(Path(name) / PRIOR):  # a folder that --out named
        return Path(name) / PRIOR, False
    there = list(dict.fromkeys(load_about(file)["layer"] or file.parent.name for file in files))
    of = model or network.name
    what = f"prior {name!r}: there is none.{did_you_mean(name, there, 1)}" if name else f"{of} has no learned prior."
    said = f" There are {', '.join(there)}." if there and name else ""
    raise UserError(f"{what}{said} {_training(of, layer)}")


def load_about(file: Path) -> Mapping[str, Any]:
    """What a prior's file says of it; an empty layer's name if it cannot be read."""
    try:
        about = load_prior(file).about
    except UserError:
        return {"layer": ""}
    return about if isinstance(about.get("layer"), str) else {"layer": ""}


def _training(model: str, layer: str = "") -> str:
    return f"Train one with: deepvis train-prior --model {model} --layer {layer or 'LAYER'} --images DIR"


@lru_cache(maxsize=4)
def _loaded(file: str, _changed: int, device: str) -> Prior:
    return from_stored(load_prior(Path(file)), torch.device(device), file)
