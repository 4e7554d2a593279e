"""The closed-form decoder of a layer: a picture from its code by ridge regression.

At each place of the layer's map, the neighbourhood of the code there gives the patch of pixels around the place.
Patches overlap, and are blended. A vector gives the whole picture, at a low resolution.

Pictures are B×channels×H×W, red first, from 0 to 255 with the network's mean colour subtracted, as in
`deepvis.synthesis.ascent`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, find_layer
from deepvis.inputs.datasets import Images, batch_ranges, batches, find_images
from deepvis.networks.network import Network
from deepvis.scan.index import INDEX, index_folder
from deepvis.scan.index_file import load
from deepvis.store.decoders import StoredDecoder, decoder_path, load_decoder, save_decoder
from deepvis.synthesis.parameterizations import network_scale
from deepvis.synthesis.ridge import RidgeSums

MOST_FEATURES = 4096  # numbers of a neighbourhood; the time grows with their square
WIDE = 1800  # a neighbourhood is widened as long as it has at most so many
LARGEST_CELL = 8  # most pixels of a patch's core on a side; of larger strides the picture is reduced
VECTOR_SIDE = 32  # pixels of a vector's picture on its shorter side
SAMPLES = 64  # places of a photo's map that are learned from
BATCH = 8
PHOTOS = 400  # most photos to learn from
PENALTIES = (1e-5, 1e-3, 1e-2, 0.1, 0.3, 1.0, 10.0)  # of the features' variance, for each sample
_EIGHTH = 8  # of so many photos one is kept to choose the penalty by, and one to measure the PSNR with


@dataclass(frozen=True)
class Patches:
    """How a layer's map lies on its picture.

    Attributes:
        size: (height, width) of the network's input.
        grid: (rows, columns) of the map for an input of that size.
        cell: (height, width) in pixels of the part of the picture that a place of the map stands for. The picture has
            `grid` × `cell` pixels.
        reach: the neighbourhood has so many places on each side of its middle.
    """

    size: tuple[int, int]
    grid: tuple[int, int]
    cell: tuple[int, int]
    reach: int

    @classmethod
    def of(cls, layer: Layer, size: tuple[int, int]) -> Patches:
        """For a layer and the network's input of that size.

        Raises:
            UserError: the layer has too many units.
        """
        if layer.units > MOST_FEATURES:
            raise UserError(
                f"layer {layer.name} has {layer.units:,} units: a closed-form decoder takes at most {MOST_FEATURES:,}. "
                "Choose another layer, or invert by ascent alone"
            )
        grid = (layer.height, layer.width)
        if not layer.is_map:
            least = min(size)
            return cls(size, (1, 1), (VECTOR_SIDE * size[0] // least, VECTOR_SIDE * size[1] // least), 0)
        high, wide = (min(LARGEST_CELL, max(1, round(side / count))) for side, count in zip(size, grid))
        reaches = [r for r in (3, 2, 1) if (2 * r + 1) ** 2 * layer.units <= WIDE and 2 * r < max(grid)]
        return cls(size, grid, (high, wide), reaches[0] if reaches else 0)

    @property
    def _overlap(self) -> tuple[int, int]:
        return (self.cell[0] // 2, self.cell[1] // 2) if self.grid != (1, 1) else (0, 0)

    @property
    def _patch(self) -> tuple[int, int]:
        return self.cell[0] + 2 * self._overlap[0], self.cell[1] + 2 * self._overlap[1]

    def features(self, code: Tensor, places: Tensor) -> Tensor:
        """The neighbourhoods of places (numbers of positions, row by row) on a map 1×C×h×w: n×F."""
        return _windows(self.padded(code), (2 * self.reach + 1,) * 2, (1, 1), places)

    def padded(self, code: Tensor) -> Tensor:
        """The map with its border repeated, so that its outermost places have a neighbourhood."""
        r = self.reach
        return F.pad(code, (r, r, r, r), mode="replicate") if r else code

    def targets(self, picture: Tensor, places: Tensor) -> Tensor:
        """The patches at places of the map of a picture 1×channels×H×W: n×P."""
        size = self.grid[0] * self.cell[0], self.grid[1] * self.cell[1]
        small = picture if picture.shape[2:] == size else F.interpolate(picture, size, mode="area")
        down, right = self._overlap
        padded = F.pad(small, (right, right, down, down), mode="replicate") if down or right else small
        return _windows(padded, self._patch, self.cell, places)

    def blended(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """The picture of overlapping patches B×P×(h·w) on a grid of h×w; their weight falls linearly to the edge."""
        size = grid[0] * self.cell[0], grid[1] * self.cell[1]
        window = torch.outer(*(_tent(n).to(patches) for n in self._patch)).flatten()
        channels = patches.shape[1] // len(window)
        weighted = patches * window.repeat(channels)[None, :, None]
        shape = {"kernel_size": self._patch, "stride": self.cell, "padding": self._overlap}
        weight = F.fold(window[None, :, None].expand(1, -1, patches.shape[2]), size, **shape)
        blended: Tensor = F.fold(weighted, size, **shape) / weight
        return blended


def _windows(values: Tensor, size: tuple[int, int], step: tuple[int, int], places: Tensor) -> Tensor:
    """The windows of 1×C×H×W at some places of their grid, numbered row by row: n×(C·size)."""
    views = values[0].unfold(1, size[0], step[0]).unfold(2, size[1], step[1])  # C×rows×columns×size, without a copy
    rows, columns = places // views.shape[2], places % views.shape[2]
    return views[:, rows, columns].transpose(0, 1).flatten(1)


def _tent(length: int) -> Tensor:
    places = torch.arange(length) + 0.5
    return torch.minimum(places, length - places)


@dataclass(frozen=True, eq=False)
class Decoder:
    """A picture from a layer's code, in closed form. Differentiable.

    Attributes:
        layer: the layer's name.
        patches: how its map lies on the picture.
        weights, offsets: F×P and [P].
        mean: [C], the mean of each unit's code over the photos and places learned from.
        psnr: in decibels, the mean over photos that were not learned from; NaN if there were none.
        photos: how many were learned from.
        penalty: of the ridge regression.
    """

    layer: str
    patches: Patches
    weights: Tensor
    offsets: Tensor
    mean: Tensor
    psnr: float = math.nan
    photos: int = 0
    penalty: float = 0.0

    def __call__(self, code: Tensor) -> Tensor:
        """The pictures of codes B×C×h×w or B×C, of a map of any size."""
        maps = as_maps(code)
        grid = maps.shape[2], maps.shape[3]
        side = 2 * self.patches.reach + 1
        kernels = self.weights.to(maps).T.reshape(len(self.offsets), -1, side, side)
        found = F.conv2d(self.patches.padded(maps), kernels, self.offsets.to(maps))
        picture = self.patches.blended(found.flatten(2), grid)
        size = tuple(round(s * n / g) for s, n, g in zip(self.patches.size, grid, self.patches.grid))
        if picture.shape[2:] == size:
            return picture
        return F.interpolate(picture, size, mode="bilinear", align_corners=False)

    def with_mean(self, code: Tensor, units: tuple[int, ...]) -> Tensor:
        """The code of these units alone: the others are at their mean."""
        mean = self.mean.to(code).view(1, -1, *[1] * (code.ndim - 2))
        kept = torch.zeros(code.shape[1], dtype=torch.bool, device=code.device)
        kept[list(units)] = True
        return torch.where(kept.view(1, -1, *[1] * (code.ndim - 2)), code, mean)

    def on(self, device: torch.device) -> Decoder:
        """The same decoder on another device."""
        weights, offsets, mean = (part.to(device) for part in (self.weights, self.offsets, self.mean))
        return replace(self, weights=weights, offsets=offsets, mean=mean)


# ---- learning -----------------------------------------------------------------------------------


def pictures_of(network: Network, x: Tensor) -> Tensor:
    """The pictures of inputs of the network: 0 to 255 minus the mean colour, red first; float32."""
    scale = network_scale(network.input).to(x.device)[:, None, None]
    rgb = x.flip(1) if network.input.order == "bgr" else x
    pictures: Tensor = rgb.float() / scale
    return pictures


def learn(
    network: Network,
    layers: Sequence[str],
    images: Images,
    progress: Callable[[int, int], None] = lambda done, total: None,
    pace: Callable[[], None] = lambda: None,
) -> dict[str, Decoder]:
    """Learn the decoders of layers from photos, in one run through them.

    Args:
        network: must not be used by another thread meanwhile.
        layers: their names.
        images: the photos; of more than PHOTOS some are taken, evenly spread.
        progress: called with (photos done, photos in all).
        pace: called before each batch; may wait, or raise to give up.
    Raises:
        UserError: a layer has too many units, or there are too few photos that can be read.
    """
    spec = network.input
    of = {name: network.layers[find_layer(name, network.layers)] for name in layers}
    learners = {name: _Learner(Patches.of(layer, (spec.height, spec.width))) for name, layer in of.items()}
    chosen = np.unique(np.linspace(0, len(images.names) - 1, min(PHOTOS, len(images.names))).astype(int))

    def load(number: int) -> np.ndarray:
        picture = images.read(int(chosen[number]), (2 * spec.width, 2 * spec.height), spec.aspect)
        return spec.seen(picture, crop=True)

    ranges = batch_ranges(len(chosen), BATCH)
    for batch in batches(ranges, load, workers=1):
        pace()
        if batch.numbers:
            x = torch.from_numpy(batch.pixels).to(network.device, network.dtype).permute(0, 3, 1, 2)
            pictures = pictures_of(network, x)
            for name, code in codes_of(network, layers, x).items():
                learners[name].take(as_maps(code), pictures, batch.numbers)
        progress(batch.last, len(chosen))
    return {name: learner.fitted(name, f"{images.root}") for name, learner in learners.items()}


def fit(
    layer: Layer, size: tuple[int, int], samples: Iterable[tuple[Tensor, Tensor, Sequence[int]]], where: str
) -> Decoder:
    """A decoder from codes, their pictures and the pictures' numbers, batch by batch.

    Args:
        layer: with the height and width that its map has for pictures of this size.
        size: (height, width) of the pictures.
        where: where the pictures are from, for an error.
    Raises:
        UserError: the layer has too many units, or there are too few pictures.
    """
    learner = _Learner(Patches.of(layer, size))
    for code, pictures, numbers in samples:
        learner.take(as_maps(code), pictures, numbers)
    return learner.fitted(layer.name, where)


def codes_of(network: Network, layers: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """The codes of a batch at some layers, without gradients; float32, B×C×h×w or B×C."""
    with torch.no_grad():
        if len(layers) == 1:
            return {layers[0]: network.up_to(layers[0], x).float()}
        with network.capture(layers) as captured:
            network.module(x.clone())
        return {name: network.units(name, captured[name]).float() for name in layers}


def as_maps(code: Tensor) -> Tensor:
    """A code as maps: a vector has maps of one place."""
    return code if code.ndim == 4 else code[:, :, None, None]


class _Learner:
    """Learns one layer's decoder. A part of the photos is kept to choose the penalty by, another to measure with."""

    def __init__(self, patches: Patches) -> None:
        self._patches, self._sums, self._photos = patches, RidgeSums(), 0
        self._choosing: list[tuple[Tensor, Tensor]] = []  # features and targets
        self._measuring: list[tuple[Tensor, Tensor]] = []  # maps and pictures

    def take(self, maps: Tensor, pictures: Tensor, numbers: Sequence[int]) -> None:
        """Take a batch of photos. Which places are learned from depends on the photo's number alone."""
        learned: list[tuple[Tensor, Tensor]] = []
        for i, number in enumerate(numbers):
            part = number % _EIGHTH
            if part == _EIGHTH - 1:
                self._measuring.append((maps[i : i + 1].half().cpu(), pictures[i : i + 1].half().cpu()))
                continue
            count = maps.shape[2] * maps.shape[3]
            places = torch.randperm(count, generator=torch.Generator().manual_seed(number))[:SAMPLES].to(maps.device)
            here = slice(i, i + 1)
            rows = self._patches.features(maps[here], places), self._patches.targets(pictures[here], places)
            (self._choosing if part == _EIGHTH // 2 else learned).append(rows)
        if learned:
            self._sums.add(*(torch.cat(part) for part in zip(*learned)))
            self._photos += len(learned)

    def fitted(self, layer: str, where: str) -> Decoder:
        """The decoder. `where`: where the photos are, for an error."""
        sums = self._sums
        if sums.count < 2:
            raise UserError(f"{where}: expected at least 2 photos that can be read, to learn a decoder from")
        penalty = _penalty(sums, self._best_penalty())
        weights, offsets = sums.solve(penalty)
        places = (2 * self._patches.reach + 1) ** 2
        mean = sums.mean.view(-1, places)[:, places // 2].float()
        made = Decoder(
            layer, self._patches, weights.float(), offsets.float(), mean, photos=self._photos, penalty=penalty
        )
        return replace(made, psnr=self._psnr_of(made))

    def _best_penalty(self) -> float:
        """The relative penalty with the least error for photos not learned from, by some of the pixels."""
        if not self._choosing:
            return PENALTIES[len(PENALTIES) // 2]
        x, y = (torch.cat(part).double() for part in zip(*self._choosing))
        columns = torch.linspace(0, y.shape[1] - 1, min(96, y.shape[1]), device=y.device).long()
        errors = []
        for relative in PENALTIES:
            weights, offsets = self._sums.solve(_penalty(self._sums, relative), columns)
            errors.append(float((x @ weights + offsets - y[:, columns]).square().mean()))
        return PENALTIES[int(np.argmin(errors))]

    def _psnr_of(self, decoder: Decoder) -> float:
        if not self._measuring:
            return math.nan
        device = decoder.weights.device
        with torch.no_grad():
            values = [psnr(decoder(m.float().to(device)), p.float().to(device)) for m, p in self._measuring]
        return float(np.mean(values))


def _penalty(sums: RidgeSums, relative: float) -> float:
    return max(1e-12, relative * sums.variance) * sums.count


def psnr(picture: Tensor, truth: Tensor) -> float:
    """Peak signal to noise ratio in decibels, of values whose peak is 255."""
    error = float((picture.double() - truth.double()).square().mean())
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf


# ---- storing ------------------------------------------------------------------------------------


def stored_decoder(network: Network, layer: str, root: Path) -> Decoder | None:
    """The decoder of a layer that was learned before; None if there is none for this network and its input's size.

    Args:
        root: the folder of precomputed files.
    Raises:
        UserError: its file is damaged.
    """
    found = load_decoder(decoder_path(root, network.name, layer), network.fingerprint)
    if found is None:
        return None
    spec = network.input
    wanted = Patches.of(network.layers[find_layer(layer, network.layers)], (spec.height, spec.width))
    patches = wanted.__dict__ | {"module": network.paths[layer]}
    places, about = (2 * wanted.reach + 1) ** 2, found.about
    same = all(
        about.get(name) == (list(value) if isinstance(value, tuple) else value) for name, value in patches.items()
    )
    if not same or found.weights.shape[0] != places * len(found.mean):
        return None
    numbers = float(about.get("psnr") or math.nan), int(about.get("photos", 0)), float(about.get("penalty", 0))
    arrays = found.weights, found.offsets, found.mean
    weights, offsets, mean = (torch.from_numpy(array).to(network.device) for array in arrays)
    return Decoder(layer, wanted, weights, offsets, mean, *numbers)


def keep_decoder(network: Network, decoder: Decoder, root: Path) -> None:
    """Store a decoder for `stored_decoder`. Raises UserError if that fails."""
    about = {
        "fingerprint": network.fingerprint,
        "layer": decoder.layer,
        "module": network.paths[decoder.layer],
        **decoder.patches.__dict__,
        "psnr": None if math.isnan(decoder.psnr) else round(decoder.psnr, 3),
        "photos": decoder.photos,
        "penalty": decoder.penalty,
    }
    arrays = (part.cpu().numpy() for part in (decoder.weights, decoder.offsets, decoder.mean))
    save_decoder(decoder_path(root, network.name, decoder.layer), StoredDecoder(about, *arrays))


def can_have_decoder(network: Network, layer: str) -> bool:
    """Whether a closed-form decoder of this layer can be learned."""
    return network.layers[find_layer(layer, network.layers)].units <= MOST_FEATURES


def photos_for(network: Network, folder: Path | None = None) -> Images:
    """The photos that decoders are learned from: of this folder, or those of the network's index, or the bundled ones.

    Raises:
        UserError: there is no image in the folder.
    """
    if folder is not None:
        return find_images(folder).without_arrays()
    index = index_folder(paths.precomputed(), network.name) / INDEX
    if index.is_file():
        found = load(index)
        images = Images(Path(found.root), tuple(found.files), reading=network.input.reading)
        if (images.root / images.names[0].partition("!")[0]).exists():
            return images
    return find_images(paths.PHOTOS).without_arrays()
