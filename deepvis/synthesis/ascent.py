"""Gradient ascent on an objective, for a batch of independent images.

Equation (2) of Yosinski et al. 2015, x ← r_θ(x + η ∂a/∂x), and later methods. Images have values from 0 to 255 with
the network's mean colour subtracted, and red first, for every network; they are scaled to the network's input in each
step. So blur widths, decay, noise and step sizes have the same effect on the picture in every network, and the paper's
settings for one network can be used for others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepvis.core.errors import UserError
from deepvis.networks.activation_rules import replaced
from deepvis.networks.network import Network
from deepvis.synthesis import parameterizations as images
from deepvis.synthesis.bregman import SplitBregman
from deepvis.synthesis.generated import START_NOISE, CodeSpace, FineDetail, GeneratedImage
from deepvis.synthesis.generator import prior_for
from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.phases import AS_BEFORE, growth, moment
from deepvis.synthesis.photo_spectrum import photo_magnitudes
from deepvis.synthesis.recipe import CHOICES, STRUCTURE, TEXTS, Recipe
from deepvis.synthesis.regularizers import PENALTIES, REGULARIZERS
from deepvis.synthesis.steps import OPTIMIZERS, POLICIES, Optimizer
from deepvis.synthesis.transforms import DRAWS, middle, of_half, sample, view_matrix, windowed

NORM_BOUND = 160.0  # largest norm of a pixel about the mean, for bound "norm"
AVERAGED = 3.2  # for keep "average": a step's weight in the running mean of the parameters, × the number of steps
CONTRAST = 100.0  # largest factor by which the contrast of pixel images is raised for display
SIDE = 224  # side of the input for which a recipe's margin and shifts are given
_NUMBERS = [field.name for field in fields(Recipe) if field.name not in (*CHOICES, *TEXTS, "phases")]


class Ascent:
    """A batch of images during gradient ascent. Each image has its own seed and its own recipe parameters.

    An image depends only on its own seed, recipe and objective, except for the network's rounding, which depends on
    the batch.

    Attributes:
        size: (height, width) of what the network sees, and of the result.
        count: number of steps done.
        scores: the objective's value for each image before the last step; float32 [B].
        dead: images for which the objective's gradient was zero everywhere or not finite in all steps; bool [B].
            Gradients passed through the ReLUs, and gradients of penalties, do not count.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        recipes: Sequence[Recipe],
        seeds: Sequence[int],
        size: tuple[int, int] | None = None,
        start: Tensor | None = None,
        spectrum: Tensor | None = None,
    ) -> None:
        """
        Args:
            network: must not be used by another thread while a step runs.
            recipes, seeds: one for each image; the recipes must have the same `Recipe.structure`.
            size: (height, width) of what the network sees; None for the size of its input.
            start: images to start from, B×C×H×W, red first, 0 to 255, in place of the recipe's start (with maco their
                phases). Their size is that of the canvas: `size` with the recipe's margin on every side.
            spectrum: with maco, the magnitudes of each image in place of those of photographs: B×C×H×(W/2+1), as in
                `HeldMagnitudes`.
        Raises:
            UserError: the recipes cannot share a batch, `start` has another shape or is given for a recipe of a
                learned prior, or there is no such prior.
        """
        if len({recipe.structure for recipe in recipes}) != 1 or len(seeds) != len(recipes):
            raise UserError("the images of a batch need a seed each, and recipes with the same " + ", ".join(STRUCTURE))
        if start is not None and recipes[0].parameterization == "generator":
            raise UserError("a start image needs a recipe of pixels, of a Fourier image or of maco, such as modern")
        self.network, self.objective, self.recipe, self._recipes = network, objective, recipes[0], recipes
        spec, device = network.input, network.device
        self.size = size or (spec.height, spec.width)
        self._share = min(self.size) / SIDE
        self.count = 0
        self.scores = torch.zeros(len(recipes), device=device)
        self.dead = torch.ones(len(recipes), dtype=torch.bool, device=device)
        self._base = {n: torch.tensor([float(getattr(r, n)) for r in recipes], device=device) for n in _NUMBERS}
        self._numbers, self._phase = self._base, -1
        self._mean, self._scale = images.mean_color(spec), images.network_scale(spec).to(device)[:, None, None]
        self._draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._noises = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._redirects = max(recipe.redirect for recipe in recipes)
        self._views = any(recipe.transformed for recipe in recipes)
        in_phases = {name for phase in self.recipe.phases for name, *values in phase.numbers if any(values)}
        self._used = {name for name in _NUMBERS if name in in_phases or bool(self._base[name].any())}
        self._bregman = SplitBregman(self.recipe.bregman_rule)
        self._parameters: images.Parameterization = self._started(start, spectrum)
        self._optimizer = self._begun()
        self._first, self._settled = torch.zeros_like(self.scores), False
        self._best_scores = torch.full_like(self.scores, -torch.inf)
        self._best: Tensor | None = None
        self._average: Tensor | None = None
        self._averaged = 0  # steps in it
        self._importance: Tensor | None = None

    # ---- start ----------------------------------------------------------------------------------

    @property
    def _canvas(self) -> tuple[int, int]:
        return canvas_size(self.recipe, self._grown, self._share)

    @property
    def _grown(self) -> tuple[int, int]:
        """The size of the canvas without its margin: that of the network's input, times the growth of the phases."""
        factor = growth(self.recipe.phases, self._phase)
        return round(self.size[0] * factor), round(self.size[1] * factor)

    def _started(self, start: Tensor | None, spectrum: Tensor | None) -> images.Parameterization:
        if start is not None:
            self._demand_shape(start)
        if self.recipe.parameterization == "pixels":
            return self._pixels(start)
        if self.recipe.parameterization == "maco":
            held = self._held(spectrum)
            return held if start is None else held.started_from(start.cpu() - self._mean[:, None, None])
        if self.recipe.parameterization == "generator":
            return self._generated()
        made = self._fourier()
        return made if start is None else made.started_from(start)

    def _begun(self) -> Optimizer | None:
        """A new optimizer; None for plain steps."""
        make = OPTIMIZERS.get(self.recipe.optimizer)
        return make(self._parameters.values.detach()) if make else None

    def _held(self, spectrum: Tensor | None) -> images.HeldMagnitudes:
        spec, device = self.network.input, self.network.device
        shape = images.coefficients_shape(len(spec.mean), self._canvas)[:-1]
        angles = torch.stack([torch.rand(shape, generator=draw) for draw in self._draws]) * (2 * torch.pi) - torch.pi
        magnitudes, mix = photo_magnitudes(len(spec.mean), self._canvas)
        held = magnitudes if spectrum is None else spectrum
        return images.HeldMagnitudes(angles.to(device), self._canvas, held, None if mix is None else mix.to(device))

    def _generated(self) -> GeneratedImage:
        spec, device = self.network.input, self.network.device
        prior = prior_for(self.network, self.recipe.prior)
        decorrelated = self.recipe.colors == "decorrelated"
        whole = spec.height, spec.width
        smoothness = self._numbers["smoothness"] if "smoothness" in self._used else None
        space = CodeSpace(prior, self._canvas, whole, self._mean, decorrelated, smoothness)
        detail, count = None, space.length
        if "detail" in self._used:
            detail = FineDetail.of(self._canvas, self._numbers)
            count += detail.length
        noise = torch.stack([torch.randn(count, generator=draw) for draw in self._draws])
        spread = torch.tensor([0 if recipe.start == "mean" else recipe.start_noise for recipe in self._recipes])
        values = noise * spread[:, None]
        if detail is not None:
            values[:, space.length :] = noise[:, space.length :] * START_NOISE
        values = values.to(device)
        if not decorrelated and self.recipe.start == "mean":
            values[:, : space.length] = space.mean_values
        made = GeneratedImage(values, space, detail)
        with torch.no_grad():
            made.confine(torch.zeros(len(values), device=device))
        return made

    def _fourier(self) -> images.Fourier:
        spec, numbers = self.network.input, self._numbers
        shape = images.coefficients_shape(len(spec.mean), self._canvas)
        noise = torch.stack([torch.randn(shape, generator=draw) for draw in self._draws]).to(self.network.device)
        spread = [0 if recipe.start == "mean" else recipe.start_noise for recipe in self._recipes]
        values = noise * torch.tensor(spread).to(noise).view(-1, 1, 1, 1, 1)
        mix = None
        if self.recipe.colors == "decorrelated" and len(spec.mean) == 3:
            mix = images.color_mix(numbers["saturation"]).to(values)
        return images.Fourier(values, self._canvas, numbers["power"], mix, self._mean, numbers["cutoff"])

    def _pixels(self, start: Tensor | None) -> images.Pixels:
        mean = self._mean[:, None, None]
        if start is not None:
            values = start.cpu() - mean
        else:
            shape = (len(self._mean), *self._canvas)
            values = torch.stack([self._noise(shape, mean, i) for i in range(len(self._draws))])
        return images.Pixels(values.to(self.network.device, torch.float32))

    def _demand_shape(self, start: Tensor) -> None:
        wanted = (len(self._recipes), len(self._mean), *self._canvas)
        if tuple(start.shape) != wanted:
            raise UserError(
                f"start of {'×'.join(map(str, start.shape))}: expected {'×'.join(map(str, wanted))}, "
                f"images×channels×height×width"
            )

    def _noise(self, shape: tuple[int, ...], mean: Tensor, index: int) -> Tensor:
        draw, recipe = self._draws[index], self._recipes[index]
        if recipe.start == "uniform":
            return torch.rand(shape, generator=draw) * 255 - mean
        return torch.randn(shape, generator=draw) * (0 if recipe.start == "mean" else recipe.start_noise)

    # ---- a step ---------------------------------------------------------------------------------

    def step(self) -> None:
        """One step of all images."""
        self._enter_phase()
        values = self._parameters.values
        image = self._parameters.image()
        score, grad = self._gradient(image)
        if self.recipe.keep == "best":
            self._remember(score, image.detach())
        with torch.no_grad():
            self._move(values, score, grad)
            if self.recipe.parameterization == "pixels":
                for name, regularize in REGULARIZERS.items():
                    if name in self._used:
                        values.copy_(regularize(values, grad, self._strength(name)))
                self._confine(values)
            if isinstance(self._parameters, GeneratedImage):
                self._parameters.confine(self._numbers["decay"])
            if self.recipe.keep == "average":
                self._take_into_average(values)
        self.scores = score
        self.count += 1

    def _take_into_average(self, values: Tensor) -> None:
        """Weigh a step more while there are few, so that what is shown early is up to date."""
        weight = max(AVERAGED / self.recipe.steps, 2 / (self._averaged + 2))
        self._average = values.clone() if self._average is None else self._average.lerp_(values, min(1.0, weight))
        self._averaged += 1

    def _enter_phase(self) -> None:
        """Take the numbers of this step's phase; a new one may enlarge the canvas, or go on as a Fourier image."""
        phases = self.recipe.phases
        if not phases:
            return
        now = moment(phases, self.recipe.steps, self.count)
        own = {
            name: torch.full_like(self._base[name], value) for name, value in phases[now.phase].at(now.share).items()
        }
        self._numbers = self._base | own
        if now.phase != self._phase:
            before, self._phase = self._canvas, now.phase
            if self._canvas != before:
                self._go_on_with(self._parameters.resized(self._canvas))
            later = phases[now.phase].parameterization
            if later not in (AS_BEFORE, self.recipe.parameterization):
                self.recipe = replace(self.recipe, parameterization=later)
                with torch.no_grad():
                    image = self._parameters.image() + self._mean.to(self.scores)[:, None, None]
                self._go_on_with(self._fourier().started_from(image))
        if isinstance(self._parameters, images.Fourier) and "cutoff" in own:
            self._parameters.limit(self._numbers["cutoff"])

    def _go_on_with(self, parameters: images.Parameterization) -> None:
        """Optimize other values from now on; what is kept of the values before does not count any more."""
        self._parameters = parameters
        self._optimizer = self._begun()
        self._best, self._best_scores = None, torch.full_like(self.scores, -torch.inf)
        self._average, self._averaged = None, 0

    def _confine(self, values: Tensor) -> None:
        """Clip pixels to black and white, and replace the image by the nearest one with little total variation."""
        if self.recipe.bound == "range":
            mean = self._mean.to(values)[:, None, None]
            torch.minimum(torch.maximum(values, -mean), 255 - mean, out=values)
        elif self.recipe.bound == "norm":
            values.mul_((NORM_BOUND / values.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)).clamp(max=1))
        if "bregman" in self._used:
            values.copy_(self._bregman.reduce(values, self._numbers["bregman"], self.recipe.bregman_iterations))

    def _side(self, view: int) -> int:
        """Which part of the canvas this view of a step is of: 0 the whole; of a scene every other pair of views is of
        the left (-1) and the right half (1)."""
        number = self.count * self.recipe.views + view
        return (0, 0, -1, 1)[number % 4] if self._aim.halves else 0

    def _seen(self, image: Tensor, side: int = 0) -> Tensor:
        """The network's input: a randomly transformed view of the canvas or of one side of it, with noise."""
        if self._views or side:
            n = self._numbers
            draws = torch.stack([torch.rand(DRAWS, generator=draw) for draw in self._draws]).to(image.device)
            matrix = view_matrix(draws, n["jitter"] * self._share, n["rotate"], n["scale_low"], n["scale_high"])
            if "window" in self._used:
                room = (image.shape[3] - self.size[1]) / 2, (image.shape[2] - self.size[0]) / 2
                shift = windowed(draws, n["window"], room)
                matrix[:, :, 2] = torch.where((n["window"] > 0)[:, None], shift, matrix[:, :, 2])
            if side:
                matrix = of_half(matrix, side, self._grown[1])
            image = sample(image, matrix, self.size)
        if "gradient_margin" in self._used:
            image = self._without_margin(image)
        if "noise" in self._used:
            noise = [torch.randn(image.shape[1:], generator=g, device=image.device) for g in self._noises]
            image = image + torch.stack(noise) * self._numbers["noise"].view(-1, 1, 1, 1)
        return self._input(image)

    def _without_margin(self, image: Tensor) -> Tensor:
        """The same image, through which gradients flow in the middle only."""
        edge = (self._numbers["gradient_margin"] * self._share).round().view(-1, 1, 1, 1)
        height, width = image.shape[2:]
        rows = torch.arange(height, device=image.device)[:, None]
        columns = torch.arange(width, device=image.device)
        inside = (rows >= edge) & (rows < height - edge) & (columns >= edge) & (columns < width - edge)
        return torch.where(inside, image, image.detach())

    def _input(self, image: Tensor) -> Tensor:
        """An image in the network's scale and channel order."""
        x = image * self._scale
        x = x.flip(1) if self.network.input.order == "bgr" else x
        return x.to(self.network.dtype, memory_format=torch.channels_last)

    def _gradient(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The objective's values [B], and the gradient of objective minus penalties with respect to the parameters
        (0 for images whose gradient is not finite).

        The gradients of all views and penalties are summed at the image, and go through the parameterization once.
        """
        canvas = image.detach().requires_grad_(True)
        score, at_image = self._climbed(canvas)
        penalties = [
            self._strength(name) * penalty(canvas) for name, penalty in PENALTIES.items() if name in self._used
        ]
        if penalties:
            at_image = at_image - _slope(sum(penalties[1:], penalties[0]), canvas)
        (grad,) = torch.autograd.grad(image, self._parameters.values, at_image)
        fine = _largest(grad).isfinite()
        if grad.device.type != "cpu" or not bool(fine.all()):  # on a GPU the check takes longer than the `where`
            grad = torch.where(_each(fine, grad), grad, 0.0)
        if isinstance(self._parameters, images.Fourier) and self._parameters.beyond is not None:
            # Adam would move what cannot be seen as far as the rest.
            grad = grad.masked_fill(self._parameters.beyond, 0.0)
        return score, grad

    def _climbed(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """The objective's values [B], and its gradient at the canvas: the means over the views."""
        views, objective, redirect = self.recipe.views, self._aim, self.count < self._redirects
        score, grad = torch.zeros(len(canvas), device=canvas.device), torch.zeros_like(canvas)
        for left in range(views - 1, -1, -1):
            side = self._side(views - 1 - left)
            aim = objective.of_side(side)
            seen = self._seen(canvas, side)
            part = aim(self._activations(seen, aim)) / views
            slope = _slope(part, canvas, retain_graph=redirect and left == 0)
            if self.recipe.parameterization == "maco":
                size = slope.abs().mean(1, keepdim=True)
                self._importance = size if self._importance is None else self._importance + size
            grad, score = grad + slope, score + part.detach().float()
        largest = _largest(grad)
        none = largest == 0
        self.dead &= none | ~largest.isfinite()
        if redirect and bool(none.any()):
            with self.network.under(_passing):
                passing = aim(self._activations(seen.clone(), aim))
            around = _slope(passing, canvas)
            grad = torch.where(_each(none & (self.count < self._numbers["redirect"]), grad), around, grad)
        return score, grad

    @property
    def _aim(self) -> Objective:
        """The objective of this step's phase."""
        phases = self.recipe.phases
        climbs = bool(phases) and self._phase >= 0 and phases[self._phase].objective == "probability"
        return (self.objective.probability if climbs else None) or self.objective

    def _activations(self, x: Tensor, objective: Objective) -> dict[str, Tensor]:
        return {layer: units.float() for layer, units in self.network.units_of(objective.layers, x).items()}

    def _move(self, values: Tensor, score: Tensor, grad: Tensor) -> None:
        if self._optimizer is not None:
            self._optimizer.move(values, grad, self._numbers["rate"])
            return
        if self.recipe.policy == "relative" and not self._settled:
            size = grad.flatten(1).square().mean(1).sqrt()
            self._first = torch.where(self._first > 0, self._first, size)  # later for a unit that was dead at first
            self._settled = bool((self._first > 0).all())
        eta = POLICIES[self.recipe.policy](self._numbers, score, grad, self._first.clamp(min=1e-30))
        values.addcmul_(grad, _each(eta, grad))

    def _strength(self, name: str) -> Tensor:
        """A regularizer's strength [B]; that of blur is 0 between the steps in which it is applied."""
        strength = self._numbers[name]
        if name == "blur_width":
            every = self._numbers["blur_every"]
            due = (every > 0) & (torch.remainder(torch.full_like(every, self.count), every.clamp(min=1)) == 0)
            strength = torch.where(due, strength, 0)
        return strength

    def _remember(self, score: Tensor, image: Tensor) -> None:
        better = score > self._best_scores
        self._best_scores = torch.where(better, score, self._best_scores)
        self._best = image.clone() if self._best is None else torch.where(_each(better, image), image, self._best)

    # ---- the result -----------------------------------------------------------------------------

    def final_scores(self) -> Tensor:
        """The objective's value for each image of the result (the last ones without random transforms); float32 [B]."""
        return self._best_scores if self._best is not None else self.scores_by(self.objective)

    def scores_by(self, objective: Objective) -> Tensor:
        """Another objective's value for each image as it is, without random transforms; float32 [B]."""
        with torch.no_grad():
            return objective(self._activations(self._input(self.current()), objective)).float()

    def _whole(self, canvas: Tensor) -> Tensor:
        """The canvas without its margin; a grown one is reduced to the size of what the network sees."""
        grown = middle(canvas, self._grown)
        return grown if grown.shape[2:] == self.size else F.interpolate(grown, self.size, mode="area")

    def current(self) -> Tensor:
        """The images so far as they are optimized: B×C×H×W about the mean colour, of the size of the result."""
        with torch.no_grad():
            return self._whole(self._best if self._best is not None else self._result()).detach()

    def _result(self) -> Tensor:
        """The canvas as it is kept; with keep "average" that of the last steps' mean parameters."""
        if self._average is None:
            return self._parameters.image()
        made = copy(self._parameters)
        made.values = self._average
        return made.image()

    def images(self, raised: bool = True) -> np.ndarray:
        """The images so far, uint8 B×H×W×3 RGB.

        If the network does not have three channels, those of `InputSpec.places` are shown: one as gray, two as red
        and green.

        Args:
            raised: raise the contrast of faint pixel images so that they can be seen.
        """
        with torch.no_grad():
            most = CONTRAST if raised and self.recipe.parameterization == "pixels" else 1.0
            places = images.color_places(self.network.input)
            shown = images.shown(self.current()[:, places], self._mean[places], most)
            if len(places) == 1:
                shown = shown.expand(-1, 3, -1, -1)
            elif len(places) == 2:
                shown = torch.cat([shown, torch.zeros_like(shown[:, :1])], 1)
        return shown.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def importance(self) -> np.ndarray | None:
        """How much each pixel mattered: the gradient's absolute value, summed over the steps (Fel et al. 2023).

        With held magnitudes there is texture everywhere, also where it does nothing: a maco image is shown with this as
        its opacity.

        Returns:
            float32 B×H×W, 0 to 1 (the largest percent of each image is 1); None if the recipe's parameterization is
            not maco, or before the first step.
        """
        if self._importance is None:
            return None
        sum_ = middle(self._importance, self._grown).float()[:, 0]
        most = sum_.flatten(1).quantile(0.99, dim=1).clamp(min=1e-30)
        opacity: np.ndarray = (sum_ / most[:, None, None]).clamp(max=1).cpu().numpy()
        return opacity


def canvas_size(recipe: Recipe, size: tuple[int, int], share: float | None = None) -> tuple[int, int]:
    """(height, width) of the canvas: `size` with the recipe's margin on every side.

    Args:
        share: of the recipe's margin; None for the one that belongs to `size`.
    """
    margin = 2 * round(recipe.margin * (min(size) / SIDE if share is None else share))
    return size[0] + margin, size[1] + margin


def _passing(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """A ReLU that lets the whole gradient through, so that an inactive unit gets a gradient, too."""
    return replaced(x, f, lambda grad: grad)


def _slope(score: Tensor, image: Tensor, retain_graph: bool = False) -> Tensor:
    """The gradient of the sum of scores; 0 where there is none, as after a step function or under `no_grad`."""
    if not score.requires_grad:
        return torch.zeros_like(image)
    return torch.autograd.grad(score.sum(), image, retain_graph=retain_graph, materialize_grads=True)[0]


def _largest(grad: Tensor) -> Tensor:
    """The largest absolute value of each image's gradient [B]; NaN if a value is NaN."""
    return grad.flatten(1).abs().amax(1)  # six times as fast as the norm of this name


def _each(flags: Tensor, like: Tensor) -> Tensor:
    return flags.view(-1, *[1] * (like.ndim - 1))
