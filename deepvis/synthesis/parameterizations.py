"""Parameterizations: the values that are optimized, and how an image is made from them.

Images are B×3×H×W (or B×C×H×W for networks with other channels), red first, from 0 to 255 with the
network's mean colour subtracted: 0 is the mean image, as in the papers.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec

# Principal colours of photographs. The columns are the eigenvectors of the colours' covariance over the bundled photos
# (64×64 each, minus the photo's mean) times the square root of the eigenvalue: brightness, blue–yellow,
# green–magenta. Olah et al. 2017 decorrelate colours in this way.
PRINCIPAL_COLORS = ((0.165, -0.072, 0.019), (0.186, -0.005, -0.036), (0.197, 0.066, 0.018))


UNSEEN = 1.6  # times the cutoff: a thousandth is left there
_LEAST_ROOM = 0.02 * 255  # least distance of a mean colour from black or white for a value to count


def mean_color(spec: InputSpec) -> Tensor:
    """The network's mean as red, green, blue (or other channels in order), from 0 to 255."""
    mean = torch.tensor(spec.mean) * (255 / spec.range)
    return mean.flip(0) if spec.order == "bgr" else mean


def network_scale(spec: InputSpec) -> Tensor:
    """Factor per channel, red first, from an image's values to the network's input."""
    scale = (spec.range / 255) / torch.tensor(spec.std)
    return scale.flip(0) if spec.order == "bgr" else scale


def color_places(spec: InputSpec) -> list[int]:
    """The channels of an image (red first) to show as red, green and blue; a single one is shown as gray."""
    last = spec.channels - 1
    return [last - place if spec.order == "bgr" else place for place in spec.places]


class Parameterization(Protocol):
    """`values` are optimized (B×…, independently for each image); `image()` makes the images from them.

    `resized(size)` is the same image on a canvas of another (height, width).
    """

    values: Tensor

    def image(self) -> Tensor: ...

    def resized(self, size: tuple[int, int]) -> Parameterization: ...


class Pixels:
    """The pixels themselves are optimized."""

    def __init__(self, image: Tensor) -> None:
        self.values = image.clone().requires_grad_(True)

    def image(self) -> Tensor:
        return self.values

    def resized(self, size: tuple[int, int]) -> Pixels:
        return Pixels(F.interpolate(self.values.detach(), size, mode="bilinear", align_corners=False))


class Fourier:
    """Fourier coefficients are optimized. They are scaled down with frequency, mixed to colours and put through a
    sigmoid.

    So a step changes each frequency in proportion to its strength in photographs, and not the highest frequencies most
    (Olah et al. 2017; Mordvintsev et al. 2018, "Differentiable Image Parameterizations"). The sigmoid keeps all
    values between black and white.
    """

    def __init__(
        self,
        coefficients: Tensor,
        size: tuple[int, int],
        power: Tensor,
        mix: Tensor | None,
        mean: Tensor,
        cutoff: Tensor | None = None,
    ) -> None:
        """
        Args:
            coefficients: B×C×H×(W/2+1)×2.
            size: (H, W).
            power: [B].
            mix: B×C×C, matrix from the coefficients' channels to colours; None for no mixing.
            mean: [C], the colour (0 to 255) of the image for coefficients that are all zero.
            cutoff: [B], the frequency in periods per pixel beyond which there is almost nothing; 0 or None: no limit.
        """
        self.values = coefficients.clone().requires_grad_(True)
        self._size, self._mix, self._power, self._color = size, mix, power, mean
        self._falling = _falling(size, power).to(coefficients)
        self._cutoff: Tensor | None = None
        self.limit(torch.zeros_like(power) if cutoff is None else cutoff)
        share = (mean / 255).clamp(0.02, 0.98)
        self._offset = torch.logit(share)[:, None, None].to(coefficients)
        self._mean = mean[:, None, None].to(coefficients)

    def limit(self, cutoff: Tensor) -> None:
        """Take another finest detail, `cutoff` [B]; the coefficients beyond it are kept and count again later."""
        if self._cutoff is not None and torch.equal(cutoff, self._cutoff):
            return
        self._cutoff = cutoff
        scale = _limited(self._falling, self._size, cutoff)[:, None, :, :, None]
        self._scale = scale.expand(-1, -1, -1, -1, 2).contiguous()  # eight times as fast as broadcasting in each step
        self.beyond = _beyond(self._size, cutoff).to(scale.device) if bool(cutoff.any()) else None

    def image(self) -> Tensor:
        planes = self._planes()
        if self._mix is None:
            planes = planes + self._offset
        else:
            planes = torch.baddbmm(self._offset[None, :, 0], self._mix, planes.flatten(2)).view_as(planes)
        return torch.add(-self._mean, torch.sigmoid(planes), alpha=255)

    def _planes(self) -> Tensor:
        planes: Tensor = torch.fft.irfft2(torch.view_as_complex(self.values * self._scale), s=self._size)
        return planes

    def resized(self, size: tuple[int, int]) -> Fourier:
        planes = F.interpolate(self._planes().detach(), size, mode="bicubic", align_corners=False)
        empty = torch.zeros(len(planes), *coefficients_shape(planes.shape[1], size)).to(planes)
        made = Fourier(empty, size, self._power, self._mix, self._color, self._cutoff)
        return made._with_planes(planes)

    def started_from(self, image: Tensor) -> Fourier:
        """The same parameterization of a given image, B×C×H×W from 0 to 255; values near black or white are cut."""
        planes = torch.logit((image.to(self.values) / 255).clamp(0.02, 0.98)) - self._offset
        if self._mix is not None:
            planes = torch.linalg.solve(self._mix, planes.flatten(2)).view_as(planes)
        return self._with_planes(planes)

    def _with_planes(self, planes: Tensor) -> Fourier:
        with torch.no_grad():
            self.values.copy_(torch.view_as_real(torch.fft.rfft2(planes)) / self._scale)
        return self


class HeldMagnitudes:
    """Only the phases of the Fourier coefficients are optimized; their magnitudes are held (MACO, Fel et al. 2023).

    So contrast, colours and the spectrum are those of photographs, and no step can change them.
    """

    def __init__(self, phases: Tensor, size: tuple[int, int], magnitudes: Tensor, mix: Tensor | None) -> None:
        """
        Args:
            phases: B×C×H×(W/2+1), in radians.
            size: (H, W).
            magnitudes: C×H×(W/2+1), or B×C×H×(W/2+1), of the coefficients of `torch.fft.rfft2`.
            mix: C×C, matrix from the coefficients' channels to colours; None for no mixing.
        """
        self.values = phases.clone().requires_grad_(True)
        self._size, self._mix = size, mix
        self._magnitudes = magnitudes.to(phases)

    def image(self) -> Tensor:
        spectrum = torch.polar(self._magnitudes.expand_as(self.values), self._angles())
        planes: Tensor = torch.fft.irfft2(spectrum, s=self._size)
        return planes if self._mix is None else torch.einsum("ck,bkhw->bchw", self._mix, planes)

    def _angles(self) -> Tensor:
        """The phases, of which those of opposite frequencies are opposite: the image is real, and keeps its magnitudes.

        Only the first column, and the last one of an even width, hold both of two opposite frequencies.
        """
        height, width = self._size
        columns = list(self.values.unbind(-1))
        for column in {0, len(columns) - 1} if width % 2 == 0 else {0}:
            upper = columns[column][..., 1 : (height + 1) // 2]
            none = torch.zeros_like(columns[column][..., :1])  # frequencies that are their own opposites are real
            middle = none if height % 2 == 0 else none[..., :0]
            columns[column] = torch.cat([none, upper, middle, -upper.flip(-1)], -1)
        return torch.stack(columns, -1)

    def started_from(self, image: Tensor) -> HeldMagnitudes:
        """The same magnitudes with the phases of an image, B×C×H×W about the mean."""
        planes = image.to(self.values)
        if self._mix is not None:
            planes = torch.einsum("kc,bchw->bkhw", torch.linalg.inv(self._mix), planes)
        with torch.no_grad():
            self.values.copy_(torch.fft.rfft2(planes).angle())
        return self

    def resized(self, size: tuple[int, int]) -> HeldMagnitudes:
        raise UserError("maco: its canvas cannot grow: remove grow from the recipe's phases")


def coefficients_shape(channels: int, size: tuple[int, int]) -> tuple[int, ...]:
    return channels, size[0], size[1] // 2 + 1, 2


def _falling(size: tuple[int, int], power: Tensor) -> Tensor:
    """B×H×(W/2+1): 1 / frequency ** power, normalised so that coefficients of size 1 give values of size about 1."""
    scale = _frequencies(size) ** -power[:, None, None].cpu()
    falling: Tensor = scale * math.sqrt(size[0] * size[1]) / scale.square().mean((1, 2), keepdim=True).sqrt()
    return falling


def _limited(falling: Tensor, size: tuple[int, int], cutoff: Tensor) -> Tensor:
    """The same with exp(−(frequency / cutoff)⁴) for the images that have a cutoff, [B]; 0: none."""
    if not bool(cutoff.any()):
        return falling
    limit = cutoff.to(falling)[:, None, None]
    beyond = _frequencies(size).to(falling) / limit.clamp(min=1e-6)
    share = torch.exp(-(beyond**4)).clamp(min=1e-6)  # not 0: a start image keeps its own fine detail
    return torch.where(limit > 0, falling * share, falling)


def _beyond(size: tuple[int, int], cutoff: Tensor) -> Tensor:
    """B×1×H×(W/2+1)×1: which frequencies are so far beyond the cutoff that nothing of them is seen."""
    limit = cutoff.cpu()[:, None, None]
    return ((limit > 0) & (_frequencies(size) > UNSEEN * limit))[:, None, :, :, None]


def _frequencies(size: tuple[int, int]) -> Tensor:
    """1×H×(W/2+1), in periods per pixel; the mean counts as one period along the longer side."""
    rows, columns = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None]
    frequencies: Tensor = (rows**2 + columns**2).sqrt().clamp(min=1 / max(size))[None]
    return frequencies


def color_mix(saturation: Tensor) -> Tensor:
    """B×3×3, the matrix from decorrelated channels to red, green, blue; `saturation` [B] scales all but the first."""
    colors = torch.tensor(PRINCIPAL_COLORS)
    colors = colors / colors.norm(dim=0).max()
    strength = torch.ones(len(saturation), 3)
    strength[:, 1:] = saturation[:, None].cpu()
    mix: Tensor = colors * strength[:, None]
    return mix


def shown(image: Tensor, mean: Tensor, most: float = 1.0) -> Tensor:
    """The image as it is shown and stored: uint8, B×C×H×W, with the mean added.

    A pixel image has no fixed range. If more than 1 % of its values would be beyond black or white, its contrast is
    lowered until only 1 % are. (Values beyond a mean that is itself black or white can never be shown, and are not
    counted.)

    Args:
        most: largest factor by which the contrast is raised, until 1 % of the values are beyond black or white. With
            regularizers an image ends at an arbitrary contrast; the paper's tool also stretched the saved images.
    """
    mean = mean.to(image)[:, None, None]
    room = torch.where(image > 0, 255 - mean, mean)
    needs = torch.where(room > _LEAST_ROOM, image.abs() / room, 0).flatten(1)
    reach = needs.kthvalue(max(1, round(0.99 * needs.shape[1])), dim=1).values.clamp(min=1 / most)
    return (image / reach[:, None, None, None] + mean).clamp(0, 255).round().to(torch.uint8)
