"""Training a generator: its state, a step, and the looks at photos that were set aside.

All that is random in a step follows from the seed and the step's number, so a run that was stopped goes on exactly.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.core.errors import UserError, words
from deepvis.core.layers import Layer, find_layer
from deepvis.networks.network import Network
from deepvis.priors.adam import ManyAdam
from deepvis.priors.losses import (
    Discriminator,
    Eyes,
    FeatureSpread,
    accuracy,
    feature_error,
    feature_layers,
    hinge,
    judged_real,
)
from deepvis.priors.photos import DRAWS, PhotoPool
from deepvis.synthesis.decoder import MOST_FEATURES, Decoder, fit
from deepvis.synthesis.generator import CodeStatistics, CodeSums, Generator
from deepvis.synthesis.parameterizations import mean_color

LOOK = 50  # least steps between two looks at the photos set aside
PATIENCE = 8  # looks without a smaller error after which a phase ends
ROOM = 1.15  # the adversarial phase may have so many times the best error of the one before
FAILURES = 3  # times that a loss may be no number
AHEAD = 0.8  # share of right answers at which the discriminator rests
_EASE = 200  # steps in which the adversarial loss grows to its strength
_BALANCE = 16  # steps between two measurements of the adversarial loss's weight
_EMA = 0.998
SHIFT = 16  # pixels: most by which pictures are shifted before the discriminator sees them
_SAMPLES = 640  # augmented photos that the statistics and the closed form are learned from

Average = Callable[[Sequence[Tensor]], None]
"""Replaces tensors by their means over all processes, in place."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a prior is trained.

    Attributes:
        layer: whose code it inverts.
        size: side of the training pictures.
        batch: pictures in a step, of all processes together.
        rate: of Adam; the authors' is 2e-4.
        width: factor of the generator's channels.
        pixels, features, adversarial: weights of the losses. The last one is relative: the share of its gradient at the
            picture in the gradient of the others.
        seed: of all that is random.
    """

    layer: str
    size: int = 128
    batch: int = 16
    rate: float = 5e-4
    width: float = 1.0
    pixels: float = 1.0
    features: float = 1.0
    adversarial: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class HeldOut:
    """How good pictures of photos that were set aside are.

    Attributes:
        psnr: in decibels, the mean over photos.
        square: mean squared error of the pixels.
        features: see `losses.feature_error`.
    """

    psnr: float
    square: float
    features: float

    def against(self, base: HeldOut) -> float:
        """The error relative to another's: the mean of that of pixels and that of features."""
        return (self.square / base.square + self.features / base.features) / 2


@dataclass
class TrainingProgress:
    """Where a training stands; plain numbers, which a checkpoint holds."""

    step: int = 0
    phase: int = 0  # 0: pixels and features; 1: adversarial, too
    began: int = 0  # the step at which the phase began
    rate: float = 1.0  # factor of the plan's
    failures: int = 0
    best: float = math.inf  # least error of the phase
    bar: float = math.inf  # least error of phase 0
    misses: int = 0  # looks since then
    over: str = ""  # why the training has ended


class Trainer:
    """Trains a generator for one layer.

    Attributes:
        progress: where it stands.
        averaged: the generator with the moving average of its weights.
        closed_form, held_out: how good the closed form and the averaged generator are at photos set aside.
        newest: the same at the newest look; what is kept may be better.
    """

    def __init__(
        self,
        network: Network,
        pool: PhotoPool,
        plan: TrainingPlan,
        rank: int = 0,
        world: int = 1,
        average: Average = lambda tensors: None,
    ) -> None:
        """
        Args:
            network: must not be used by another thread meanwhile.
            rank, world: this process's number and how many there are. Each takes its share of every batch.
            average: averages gradients over the processes.
        Raises:
            UserError: the layer's code is no map or vector, or the network does not take pictures of this size.
        """
        self.network, self.pool, self.plan = network, pool, plan
        self._share, self.average = slice(rank * plan.batch // world, (rank + 1) * plan.batch // world), average
        self.device = network.device
        self._mean = mean_color(network.input).to(self.device)[:, None, None]
        layer = sized_layer(network, plan.layer, plan.size)
        self.eyes = Eyes(network, feature_layers(network.layers, plan.layer))
        self.progress = TrainingProgress()
        base, statistics, self._spreads = self._learned(layer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.generator = Generator(base, statistics, plan.width).to(self.device)
            if self.device.type == "cuda":  # the layout that half-precision convolutions take
                self.generator.to(memory_format=torch.channels_last)
            maps = {n: one.units for n in self.eyes.names if (one := _layer(network, n)).is_map}
            self.discriminator = Discriminator(maps, self._spreads).to(self.device)
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False)
        self._optimizers = self._begun()
        self._weight = torch.zeros((), device=self.device)  # of the adversarial loss
        self._ahead = torch.full((), 0.5, device=self.device)
        self._loss = torch.zeros((), device=self.device)
        self.best = _cloned(self.averaged.state_dict())
        self.closed_form = self.held_out = self.newest = self.look(None)
        self._good = self.state()

    def _begun(self) -> tuple[ManyAdam, ManyAdam]:
        rate = self.plan.rate * self.progress.rate
        generator, discriminator = self.generator.parameters(), self.discriminator.parameters()
        return ManyAdam(generator, rate, (0.9, 0.99)), ManyAdam(discriminator, rate, (0.0, 0.99))

    # ---- before the first step ------------------------------------------------------------------

    def _learned(self, layer: Layer) -> tuple[Decoder, CodeStatistics, dict[str, Tensor]]:
        """The closed form, what codes are like, and the spread of features, from augmented training photos."""
        sums, spread, batch = CodeSums(), FeatureSpread(), min(self.plan.batch, 32)
        count = _SAMPLES if layer.is_map else max(_SAMPLES, 3 * layer.units)  # a map has many places

        def samples() -> Iterable[tuple[Tensor, Tensor, Sequence[int]]]:
            for number in range(-(-count // batch)):
                draw = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + 500_000_000 + number)
                numbers, pictures = self._drawn(draw, batch)
                with torch.no_grad(), self._autocast():
                    features = self.eyes(pictures)
                spread.add(features)
                code = features[layer.name].float()
                sums.add(code)
                yield code, pictures, numbers.tolist()  # by photos: which to learn from, which to choose the penalty by

        base = fit(layer, (self.plan.size, self.plan.size), samples(), "the photos")
        return base, sums.statistics(), spread.spreads()

    def _drawn(self, draw: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """The numbers of some photos, and their augmented pictures about the mean colour."""
        numbers = torch.randint(len(self.pool.training), (count,), generator=draw)
        draws = torch.rand((count, DRAWS), generator=draw)
        return numbers, self.pool.batch(numbers, draws) - self._mean

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.device.type != "cuda":
            return nullcontext()
        return torch.autocast("cuda", torch.bfloat16)

    # ---- a step ---------------------------------------------------------------------------------

    def step(self) -> None:
        """One step of the generator and, in the adversarial phase, of the discriminator."""
        now = self.progress
        draw = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + now.step)
        pictures = self._drawn(draw, self.plan.batch)[1][self._share]
        with self._autocast():
            with torch.no_grad():
                real = self.eyes(pictures)
            made = self.generator(real[self.plan.layer].float())
            if now.phase:
                pictures, made = self._shifted(pictures, made, draw)
                with torch.no_grad():
                    real = self.eyes(pictures)
            seen = self.eyes(made)
            loss = self._reconstruction(made, pictures, seen, real)
            self.discriminator.requires_grad_(False).eval()  # the generator's gradient alone
            adversarial = -judged_real(self.discriminator(made, seen)) if now.phase else None
        if adversarial is None:
            loss.backward()
        else:
            self._both_backward(loss, adversarial, made)
            self._discriminate(pictures, real, made, seen)
        self._update(self._optimizers[0], self.generator)
        self._loss = self._loss + loss.detach().float()
        now.step += 1
        self._follow()

    def _shifted(self, pictures: Tensor, made: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Both by the same random shift, so that the network's and the discriminator's own grids lie anywhere on the
        code's places. Else the generator learns to draw the borders of these."""
        most = min(SHIFT, self.plan.size // 4)
        down, right = torch.randint(-most, most + 1, (2,), generator=draw).tolist()
        return shifted(pictures, down, right), shifted(made, down, right)

    def _reconstruction(
        self, made: Tensor, pictures: Tensor, seen: dict[str, Tensor], real: dict[str, Tensor]
    ) -> Tensor:
        pixels = (made - pictures).abs().mean() / 64
        loss: Tensor = self.plan.pixels * pixels
        return loss + self.plan.features * feature_error(seen, real, self._spreads)

    def _both_backward(self, loss: Tensor, adversarial: Tensor, made: Tensor) -> None:
        """The gradients of both losses, the adversarial one weighted so that its size at the picture is a share of the
        other's (as VQGAN does, Esser et al. 2021)."""
        now = self.progress
        if (now.step - now.began) % _BALANCE == 0:
            sizes = [torch.autograd.grad(one, made, retain_graph=True)[0].norm() for one in (loss, adversarial)]
            squares = [size.square() for size in sizes]
            self.average(squares)
            ratio = (squares[0] / squares[1].clamp(min=1e-24)).sqrt().clamp(max=1e4)
            self._weight = ratio if now.step == now.began else torch.lerp(self._weight, ratio, 0.5)
        ease = min(1.0, (now.step - now.began + 1) / _EASE)
        (loss + self.plan.adversarial * ease * self._weight * adversarial).backward()

    def _discriminate(self, pictures: Tensor, real: dict[str, Tensor], made: Tensor, seen: dict[str, Tensor]) -> None:
        """A step of the discriminator; while it is ahead it rests."""
        optimizer, awake = self._optimizers[1], bool(self._ahead < AHEAD)
        self.discriminator.requires_grad_(True).train()
        with torch.set_grad_enabled(awake), self._autocast():  # photos and made ones in one batch: half the launches
            features = {name: torch.cat([real[name], seen[name].detach()]) for name in self.discriminator.names}
            answers = self.discriminator(torch.cat([pictures, made.detach()]), features)
            of_photos, of_made = zip(*(answer.chunk(2) for answer in answers))
            loss = hinge(of_photos, of_made)
        right = [accuracy(of_photos, of_made).detach()]
        self.average(right)
        self._ahead = torch.lerp(self._ahead, right[0].float(), 0.05)
        if awake:
            loss.backward()
            self._update(optimizer, self.discriminator)

    def _update(self, optimizer: ManyAdam, module: nn.Module) -> None:
        self.average([p.grad for p in module.parameters() if p.grad is not None])
        optimizer.step()

    def _follow(self) -> None:
        """Let the averaged weights follow the generator's."""
        step = self.progress.step
        share = 1 - min(_EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.generator.parameters()), share)

    # ---- looks ----------------------------------------------------------------------------------

    @property
    def looks_every(self) -> int:
        """Steps between two looks at the photos set aside: about an epoch."""
        return max(LOOK, len(self.pool.training) // self.plan.batch)

    def look(self, generator: Generator | None) -> HeldOut:
        """How good a generator is at photos set aside; None: the closed form."""
        squares, errors = [], []
        for photos in self.pool.held_out.split(32):
            pictures = self.pool.whole(photos) - self._mean
            with torch.no_grad(), self._autocast():
                real = self.eyes(pictures)
                code = real[self.plan.layer].float()
                made = (self.generator.closed_form if generator is None else generator)(code)
                made = (made + self._mean).clamp(0, 255) - self._mean
                seen = self.eyes(made)
                error = feature_error(seen, real, self._spreads)
            squares.append((made - pictures).square().mean((1, 2, 3)))
            errors.append(error.float() * len(photos))
        square = torch.cat(squares).double().clamp(min=1e-9)
        features = float(torch.stack(errors).sum()) / len(square)
        return HeldOut(float((10 * torch.log10(255**2 / square)).mean()), float(square.mean()), features)

    def take_stock(self, share: float = 0.0) -> None:
        """Look at the photos set aside, and decide how it goes on.

        Args:
            share: of the run's limit that is spent; the adversarial phase begins at 0.4.
        """
        now = self.progress
        found = self.look(self.averaged)
        error = found.against(self.closed_form)
        loss = [self._loss.clone()]
        self.average(loss)
        if not math.isfinite(error) or not bool(loss[0].isfinite()):
            self._fall_back()
            return
        self._loss, self.newest = torch.zeros_like(self._loss), found
        better = error < now.best
        now.misses = 0 if better else now.misses + 1
        now.best = min(now.best, error)
        if now.phase == 0:
            now.bar = now.best
        if better if now.phase == 0 else error <= ROOM * now.bar:
            self.best, self.held_out = _cloned(self.averaged.state_dict()), found
        tired = now.misses >= PATIENCE * (1 + 3 * now.phase)
        if now.phase == 0 and self.plan.adversarial > 0 and (tired or share >= 0.4):
            now.phase, now.began, now.best, now.misses = 1, now.step, math.inf, 0
        elif tired:
            now.over = "the error at photos set aside does not fall any more"
        self._good = self.state()

    def _fall_back(self) -> None:
        """Back to the last good state, with half the rate."""
        failures, rate = self.progress.failures + 1, self.progress.rate / 2
        self.resume(self._good)
        self.progress.failures, self.progress.rate = failures, rate
        for optimizer in self._optimizers:
            optimizer.rate = self.plan.rate * rate
        self._good = self.state()
        if failures >= FAILURES:
            self.progress.over = f"its losses were no numbers {failures} times, also at 1/{round(1 / rate)} of the rate"

    # ---- states ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that a step depends on, as `torch.save` writes it and `weights_only` reads it."""
        return {
            "plan": asdict(self.plan),
            "fingerprint": str(self.network.fingerprint),
            "photos": len(self.pool.training),
            "progress": asdict(self.progress),
            "held_out": asdict(self.held_out),
            "best": _cloned(self.best),
            "generator": _cloned(self.generator.state_dict()),
            "averaged": _cloned(self.averaged.state_dict()),
            "discriminator": _cloned(self.discriminator.state_dict()),
            "optimizers": [one.state() for one in self._optimizers],
            "numbers": [value.clone() for value in (self._weight, self._ahead, self._loss)],
        }

    def fits(self, state: dict[str, Any]) -> bool:
        """Whether a state is of this training."""
        mine = {"plan": asdict(self.plan), "fingerprint": str(self.network.fingerprint)}
        return all(state.get(name) == value for name, value in mine.items()) and (
            state.get("photos") == len(self.pool.training)
        )

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state that fits."""
        self.progress = TrainingProgress(**state["progress"])
        self.held_out, self.best = HeldOut(**state["held_out"]), _cloned(state["best"])
        self.newest = self.held_out
        self.generator.load_state_dict(state["generator"])
        self.averaged.load_state_dict(state["averaged"])
        self.discriminator.load_state_dict(state["discriminator"])
        for optimizer, one in zip(self._optimizers, state["optimizers"]):
            optimizer.resume(one)
            optimizer.rate = self.plan.rate * self.progress.rate
        self._weight, self._ahead, self._loss = (value.to(self.device).clone() for value in state["numbers"])
        self._good = state

    def result(self) -> Generator:
        """The best generator so far."""
        made = copy.deepcopy(self.averaged)
        made.load_state_dict(self.best)
        return made

    def reconstructions(self, count: int = 8) -> Tensor:
        """Photos set aside, what the closed form makes of their codes, and what the averaged generator makes: uint8
        3×count×3×size×size."""
        pictures = self.pool.whole(self.pool.held_out[:count]) - self._mean
        with torch.no_grad(), self._autocast():
            code = self.eyes(pictures)[self.plan.layer].float()
            rows = [pictures, self.generator.closed_form(code), self.averaged(code)]
        return (torch.stack([row.float() for row in rows]) + self._mean).clamp(0, 255).round().to(torch.uint8)


def sized_layer(network: Network, name: str, size: int) -> Layer:
    """The layer as it is for pictures of this size.

    Raises:
        UserError: its code is no map or vector, it has too many units, or the network does not take such pictures.
    """
    layer, spec = _layer(network, name), network.input
    if spec.channels != 3:
        raise UserError(f"a network of {spec.channels} channels: a prior is trained on colour pictures")
    if layer.units > MOST_FEATURES:
        raise UserError(f"layer {name} has {layer.units:,} units: expected at most {MOST_FEATURES:,}; choose another")
    x = torch.zeros(1, 3, size, size, device=network.device, dtype=network.dtype)
    try:
        with torch.no_grad():
            code = network.up_to(name, x)
    except Exception as error:  # the network's code may raise anything
        raise UserError(
            f"--size {size}: the network does not take such pictures ({words(error)}). Give --size {spec.height}"
        ) from error
    if code.ndim not in (2, 4):
        shape = "×".join(map(str, code.shape[1:]))
        raise UserError(f"layer {name}: a code of {shape} is no map or vector; choose another layer")
    if layer.is_map and (code.ndim == 2 or min(code.shape[2:]) < 2):
        raise UserError(f"layer {name}: its map is too small for pictures of {size} pixels. Give a larger --size")
    return replace(layer, height=code.shape[2], width=code.shape[3]) if layer.is_map else layer


def shifted(pictures: Tensor, down: int, right: int) -> Tensor:
    """Pictures shifted by so many pixels; what leaves on one side comes back mirrored on the other."""
    pad = max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)
    padded = F.pad(pictures, pad, mode="reflect")
    height, width = pictures.shape[2:]
    return padded[:, :, pad[3] : pad[3] + height, pad[1] : pad[1] + width]


def _layer(network: Network, name: str) -> Layer:
    return network.layers[find_layer(name, network.layers)]


def _cloned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
