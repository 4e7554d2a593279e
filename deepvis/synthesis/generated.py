"""Images from a learned prior's codes, as a parameterization: the code is optimized."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.synthesis.decoder import as_maps
from deepvis.synthesis.generator import Prior
from deepvis.synthesis.parameterizations import coefficients_shape, color_mix

START_NOISE = 0.01  # of detail's coefficients at the start
_FINE = 16.0  # added detail has only what is finer than so many pixels


class GeneratedImage:
    """The code of a prior's picture is optimized, with or without detail that is added to it.

    Each image's values are its code's, flattened, then the Fourier coefficients of its detail. A code's values are in
    standard deviations: of each unit about what it decays to, or (decorrelated) along each principal direction of the
    codes about their mean.
    """

    def __init__(self, values: Tensor, space: CodeSpace, detail: FineDetail | None = None) -> None:
        """
        Args:
            values: B×N.
            space: what the values are of.
            detail: what is added to the pictures.
        """
        self.values = values.clone().requires_grad_(True)
        self._space, self._detail = space, detail

    def image(self) -> Tensor:
        of_code = self.values[:, : self._space.length]
        image = self._space.pictures(of_code)
        if self._detail is None:
            return image
        return image + self._detail.planes(self.values[:, self._space.length :])

    def confine(self, decay: Tensor) -> None:
        """Clip the code to its bounds, then let it decay (B), as the authors do after each step."""
        part = self.values[:, : self._space.length]
        low, high = self._space.bounds
        torch.minimum(torch.maximum(part, low), high, out=part)
        part.mul_((1 - decay)[:, None])

    def resized(self, size: tuple[int, int]) -> GeneratedImage:
        raise UserError("generator: its canvas cannot grow: remove grow from the recipe's phases")


@dataclass(frozen=True, eq=False)
class CodeSpace:
    """The space of a prior's codes for a canvas.

    Attributes:
        prior: the prior.
        size: (height, width) of the canvas.
        whole: (height, width) of the network's input, which a vector's picture is enlarged to.
        mean: [3], the mean colour of the network that sees the pictures.
        decorrelated: along the principal directions of the codes; else for each unit.
        smoothness: [B], see `Recipe.smoothness`; None: 0.
    """

    prior: Prior
    size: tuple[int, int]
    whole: tuple[int, int]
    mean: Tensor
    decorrelated: bool
    smoothness: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the code's map; 1×1 for a vector."""
        if not self.prior.generator.is_map:
            return 1, 1
        down, right = self.prior.generator.stride
        return math.ceil(self.size[0] / down), math.ceil(self.size[1] / right)

    @property
    def length(self) -> int:
        """Number of values of a code."""
        found = self.prior.statistics
        return math.prod(self.grid) * (len(found.spreads) if self.decorrelated else len(found.mean))

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the largest values of a code, [length] each."""
        found, places = self.prior.statistics, math.prod(self.grid)
        if self.decorrelated:
            most = torch.full((self.length,), 3.0, device=found.mean.device)
            return -most, most
        ends = ((end - found.rest) / found.deviation for end in (found.low, found.high))
        low, high = (end.repeat_interleave(places) for end in ends)
        return low, high

    @property
    def mean_values(self) -> Tensor:
        """The values of the mean code, [length]."""
        found = self.prior.statistics
        places = math.prod(self.grid)
        if self.decorrelated:
            return torch.zeros(self.length, device=found.mean.device)
        return ((found.mean - found.rest) / found.deviation).repeat_interleave(places)

    def code(self, values: Tensor) -> Tensor:
        """The code of values B×length: B×C×h×w, or B×C for a vector."""
        found = self.prior.statistics
        flat = values.view(len(values), -1, math.prod(self.grid))
        if self.smoothness is not None and self.prior.generator.is_map:
            flat = smoothed(flat.view(*flat.shape[:2], *self.grid), self.smoothness).flatten(2)
        if self.decorrelated:
            made = torch.einsum("ck,bkp->bcp", (found.directions * found.spreads).to(flat), flat) + found.mean[:, None]
            made = torch.minimum(torch.maximum(made, found.low[:, None]), found.high[:, None])
        else:
            made = flat * found.deviation[:, None] + found.rest[:, None]
        if not self.prior.generator.is_map:
            return made[:, :, 0]
        return made.view(len(values), -1, *self.grid)

    def values_of(self, code: Tensor) -> Tensor:
        """The values of a code, B×length: the inverse of `code` within its bounds, for a smoothness of 0."""
        found, flat = self.prior.statistics, as_maps(code).flatten(2)
        if self.decorrelated:
            along = torch.einsum("ck,bcp->bkp", found.directions, flat - found.mean[:, None])
            return (along / found.spreads.clamp(min=1e-12)[:, None]).flatten(1)
        return ((flat - found.rest[:, None]) / found.deviation[:, None]).flatten(1)

    def pictures(self, values: Tensor) -> Tensor:
        """The pictures of values B×length on the canvas, about the mean colour of the network that sees them."""
        made = self.prior.pictures(self.code(values))
        if not self.prior.generator.is_map:
            size = max(self.size[0], self.whole[0]), max(self.size[1], self.whole[1])
            if made.shape[2:] != size:
                made = F.interpolate(made, size, mode="bilinear", align_corners=False)
        top, left = ((have - want) // 2 for have, want in zip(made.shape[2:], self.size))
        part = made[:, :, top : top + self.size[0], left : left + self.size[1]]
        return part - self.mean.to(part)[:, None, None]


def smoothed(maps: Tensor, smoothness: Tensor) -> Tensor:
    """Maps B×K×h×w, each place averaged with its neighbours, which count `smoothness` [B] times, down and along.

    An average stays within the bounds of what it is of.
    """
    share = smoothness.to(maps).view(-1, 1, 1, 1)
    for axis in (2, 3):
        many = maps.shape[axis]
        ends = maps.narrow(axis, 0, 1), maps.narrow(axis, many - 1, 1)
        wide = torch.cat([ends[0], maps, ends[1]], axis)
        around = wide.narrow(axis, 0, many) + wide.narrow(axis, 2, many)
        maps = (maps + share * around) / (1 + 2 * share)
    return maps


class FineDetail:
    """Fine detail from Fourier coefficients, none of it coarser than `_FINE` pixels."""

    def __init__(self, size: tuple[int, int], power: Tensor, cutoff: Tensor, mix: Tensor, strength: Tensor) -> None:
        """
        Args:
            power, cutoff: as for `Fourier`, [B].
            mix: B×3×3, from the coefficients' channels to colours.
            strength: [B], gray levels.
        """
        rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None]
        frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(size)).to(mix)
        limit = torch.where(cutoff > 0, cutoff, torch.inf)[:, None, None]
        falling = frequency ** -power[:, None, None] * torch.exp(-((frequency / limit) ** 4))
        scale = falling * (1 - torch.exp(-((frequency * _FINE) ** 2)))
        size_one = math.sqrt(math.prod(size)) / scale.square().mean((1, 2), keepdim=True).sqrt()
        self._scale = (scale * size_one)[:, None, :, :, None]
        self._size, self._mix, self._strength = size, mix, strength

    @classmethod
    def of(cls, size: tuple[int, int], numbers: Mapping[str, Tensor]) -> FineDetail:
        """As a recipe's numbers say."""
        mix = color_mix(numbers["saturation"]).to(numbers["detail"])
        return cls(size, numbers["power"], numbers["cutoff"], mix, numbers["detail"])

    @property
    def length(self) -> int:
        """Number of coefficients."""
        return math.prod(coefficients_shape(3, self._size))

    def planes(self, values: Tensor) -> Tensor:
        """B×3×H×W, in gray levels."""
        coefficients = values.reshape(len(values), *coefficients_shape(3, self._size)) * self._scale
        planes = torch.fft.irfft2(torch.view_as_complex(coefficients), s=self._size)
        mixed: Tensor = torch.einsum("bck,bkhw->bchw", self._mix, planes)
        return mixed * self._strength.view(-1, 1, 1, 1)
