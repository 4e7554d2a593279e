"""Inversion: the picture that a layer's code still tells of (Mahendran & Vedaldi 2014 and 2016).

Either the layer's closed-form decoder gives it at once, or gradient ascent on the (negative) code distance finds it,
from the decoder's picture or from noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepvis.core.errors import UserError
from deepvis.core.geometry import fit
from deepvis.networks.network import InputSpec, Network
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.decoder import Decoder, codes_of, psnr
from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.parameterizations import mean_color, network_scale
from deepvis.synthesis.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture that was rebuilt from a code.

    Attributes:
        picture: uint8 H×W×3 RGB.
        psnr: in decibels, against the picture that the code is of.
        error: squared distance of its code from that code, divided by that code's square, of the asked units alone.
        steps: of gradient ascent; 0 for the closed form.
    """

    picture: np.ndarray
    psnr: float
    error: float
    steps: int = 0


class Code:
    """A picture's code at a layer, which reconstructions are compared with.

    Attributes:
        picture: what the network sees, uint8 H×W×3 RGB.
        code: its code, float32, 1×C×h×w or 1×N.
        units: of these units alone; empty for all.
    """

    def __init__(self, network: Network, layer: str, picture: np.ndarray, units: Sequence[int] = ()) -> None:
        """
        Args:
            network: of three channels.
            picture: uint8 H×W×3 RGB, of the size of the network's input.
        Raises:
            UserError: the layer keeps nothing of it, or the network takes other pictures.
        """
        _demand_colours(network.input)
        self.network, self.layer, self.picture, self.units = network, layer, picture, tuple(units)
        self.code = codes_of(network, [layer], as_input(network, picture))[layer]
        self.distance = objectives.code_distance(layer, self.code, self.units)

    def decoded(self, decoder: Decoder) -> np.ndarray:
        """The closed form's picture, uint8."""
        code = decoder.with_mean(self.code, self.units) if self.units else self.code
        with torch.no_grad():
            return as_picture(self.network.input, decoder(code))

    def judged(self, picture: np.ndarray, steps: int = 0) -> Reconstruction:
        """A picture with its PSNR and code error, by one pass of the network as it is."""
        found = codes_of(self.network, [self.layer], as_input(self.network, picture))
        return Reconstruction(picture, self._psnr(picture), max(0.0, -float(self.distance(found)[0])), steps)

    def exact_errors(self, pictures: Sequence[np.ndarray]) -> tuple[list[float], np.ndarray]:
        """The code errors of pictures, and between each two of them, by plain passes in float64.

        Returns:
            n errors, and n×n squared distances between their codes, divided by the picture's own code's square.
        """
        whole = self.network.on(torch.device("cpu"), torch.float64)
        codes = []
        with torch.no_grad():
            for picture in (self.picture, *pictures):
                with whole.capture([self.layer]) as captured:
                    whole.module(as_input(whole, picture))
                code = whole.units(self.layer, captured[self.layer])
                codes.append((code[:, list(self.units)] if self.units else code).flatten())
        size = float(codes[0].square().sum())
        between = [[float((one - other).square().sum()) / size for other in codes] for one in codes]
        return between[0][1:], np.array(between)[1:, 1:]

    def _psnr(self, picture: np.ndarray) -> float:
        return psnr(torch.from_numpy(picture), torch.from_numpy(self.picture))


def seen_picture(spec: InputSpec, image: np.ndarray, crop: bool) -> np.ndarray:
    """The part of a picture that the network sees, uint8 H×W×3 of the size of its input."""
    return np.ascontiguousarray(fit(image, spec.width, spec.height, crop))


def as_input(network: Network, picture: np.ndarray) -> Tensor:
    """The network's input of a picture of its size: 1×channels×H×W."""
    if network.dtype != torch.float64:
        return network.see(picture, crop=False)
    spec = network.input
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].double() - mean_picture(spec).double()
    x = values * network_scale(spec).double()[:, None, None]
    return x.flip(1) if spec.order == "bgr" else x


def mean_picture(spec: InputSpec) -> Tensor:
    """What is subtracted from pictures, from 0 to 255, red first: C×H×W, or C×1×1 if it is one colour."""
    if spec.mean_image is None:
        return mean_color(spec)[:, None, None]
    image = torch.from_numpy(np.ascontiguousarray(spec.mean_image)).permute(2, 0, 1) * (255 / spec.range)
    return image.flip(0) if spec.order == "bgr" else image


def as_picture(spec: InputSpec, image: Tensor) -> np.ndarray:
    """A picture 1×3×H×W about the mean as uint8 H×W×3."""
    shown = (image[0].float().cpu() + mean_picture(spec)).clamp(0, 255).round().to(torch.uint8)
    return np.ascontiguousarray(shown.permute(1, 2, 0).numpy())


def _demand_colours(spec: InputSpec) -> None:
    if spec.channels != 3 or sorted(spec.places) != [0, 1, 2]:
        raise UserError(
            f"a network of {spec.channels} channels: inversion and dreams need a network that takes colour pictures"
        )


class Inversion:
    """Reconstructions by gradient ascent, all in one batch: of several pictures' codes, or several of the same code.

    Attributes:
        codes: what is inverted; one for each reconstruction.
        ascent: the ascent of all of them.
    """

    def __init__(
        self,
        codes: Sequence[Code],
        recipe: Recipe,
        seeds: Sequence[int] = (),
        starts: Sequence[np.ndarray] = (),
        also: Objective | None = None,
    ) -> None:
        """
        Args:
            codes: of the same layer and units of one network; a code that stands there twice is rebuilt twice.
            seeds: one for each; empty for 0, 1, 2, …
            starts: a uint8 picture to start from for each, such as the closed form's; empty for the recipe's start.
            also: an objective that is added to the negative code distance.
        """
        first = codes[0]
        distance = objectives.code_distance(first.layer, torch.cat([code.code for code in codes]), first.units)
        aim = distance if also is None else distance + also
        begin = torch.cat([_as_start(first.network.input, start) for start in starts]) if starts else None
        self.codes = tuple(codes)
        self.ascent = Ascent(first.network, aim, [recipe] * len(codes), seeds or range(len(codes)), start=begin)

    def step(self) -> None:
        """One step of all reconstructions."""
        self.ascent.step()

    def pictures(self) -> list[np.ndarray]:
        """The pictures so far, uint8 H×W×3 RGB each."""
        spec = self.codes[0].network.input
        return [as_picture(spec, one[None]) for one in self.ascent.current().cpu()]

    def results(self) -> list[Reconstruction]:
        """The reconstructions so far, with one pass of the network for each."""
        return [code.judged(picture, self.ascent.count) for code, picture in zip(self.codes, self.pictures())]


def _as_start(spec: InputSpec, picture: np.ndarray) -> Tensor:
    """The ascent's start, 1×3×H×W: its zero is the mean colour, whatever the network subtracts."""
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() - mean_picture(spec)
    return (values + mean_color(spec)[:, None, None]).clamp(0, 255)


def differences(pictures: Sequence[np.ndarray]) -> float:
    """By how much pictures differ: the root mean square over all pairs and pixels, of 255; NaN for a single one."""
    values = np.stack(pictures).astype(np.float64)
    pairs = [np.mean((a - b) ** 2) for i, a in enumerate(values) for b in values[:i]]
    return math.sqrt(float(np.mean(pairs))) if pairs else math.nan


def accentuation(network: Network, layer: str, unit: int, near: Code, weight: float) -> Objective:
    """The objective of feature accentuation (Hamblin et al. 2024), to be added to the code distance: a unit stronger,
    in units of its own mean size in the picture.

    Args:
        near: the picture's code at the early layer whose distance keeps the result near the picture.
        weight: how strong, relative to the code distance.
    """
    code = codes_of(network, [layer], as_input(network, near.picture))[layer]
    size = float(code.flatten(2 if code.ndim == 4 else 1).abs().mean())
    if not size > 0:
        raise UserError(
            f"layer {layer} keeps nothing of this picture: its code is zero. Choose another layer or picture"
        )
    return objectives.channel(layer, unit) * (weight / size)
