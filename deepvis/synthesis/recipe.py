"""Recipes: all parameters that decide how a preferred image is made. Without torch.

Sizes are in pixels of the network's input. Strengths in pixel recipes are for images of 0 to 255, whatever the scale
of the network's input (see `deepvis.synthesis.ascent`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from deepvis.core.errors import UserError
from deepvis.core.files import write_whole, writing
from deepvis.core.nearest import did_you_mean
from deepvis.core.reading import shown
from deepvis.synthesis.phases import AS_BEFORE, GOES_ON_AS, OBJECTIVES, Phase, growth

CHOICES: dict[str, tuple[str, ...]] = {
    "parameterization": ("pixels", "fourier", "maco", "generator"),
    "colors": ("decorrelated", "plain"),
    "start": ("noise", "uniform", "mean"),
    "optimizer": ("ascent", "adam", "momentum", "adagrad"),
    "policy": ("constant", "relative", "normalized", "progress", "progress01"),
    "keep": ("best", "last", "average"),
    "bound": ("free", "range", "norm"),
    "bregman_rule": ("shrinkage", "scikit-image"),
}


@dataclass(frozen=True)
class Recipe:
    """How a preferred image is made.

    Attributes:
        steps: number of steps of gradient ascent.
        parameterization: what is optimized: "pixels", or the "fourier" coefficients of the image,
            scaled by 1 / frequency ** `power` (Olah et al. 2017, "Feature Visualization"), or with "maco" only the
            phases of these coefficients, whose magnitudes are those of photographs (Fel et al. 2023); with "generator"
            a layer's code, from which a learned prior makes the image (Nguyen et al. 2016).
        prior: of "generator": which prior: a layer of the network, MODEL/LAYER of another one, or the path of
            a folder or file; empty: that of the network's last layer that has one. A code's values, steps and noise
            are in standard deviations.
        detail: for generated images: strength in gray levels of fine detail from Fourier coefficients that is added.
            0: none.
        smoothness: for generated images from a map's code: each place is averaged with its neighbours, which count so
            many times. 0: places are independent; 0.5: they are about as alike as in photos' codes.
        power: the exponent of that scale.
        cutoff: for fourier images the finest detail, in periods per pixel: there is almost nothing beyond. The finest
            possible is 0.5. 0: no limit. A phase whose cutoff rises goes from coarse to fine.
        colors: for fourier images: "decorrelated" (the principal colours of photographs) or "plain" (red, green, blue).
            For generated ones: "decorrelated" (the principal directions of the codes) or "plain" (the units).
        saturation: strength of decorrelated colours relative to the brightness.
        start: "noise" (the mean plus normal noise), "uniform" (noise from black to white; only for pixels), "mean".
        start_noise: standard deviation of the noise at the start, in pixel values or in fourier coefficients.
        optimizer: "ascent" (plain steps along the gradient), "adam", or with a momentum of 0.9 "momentum" and "adagrad"
            (see `deepvis.synthesis.steps`).
        policy: how the length of a plain step is chosen (see `deepvis.synthesis.steps`).
        rate: Adam's learning rate; with policy "constant" the factor of the gradient; with "relative" the root mean
            square of the first step; with "normalized" the mean change of a value in each step,
            of those that have a gradient.
        max_rate: upper limit of the gradient's factor with the progress policies.
        progress: the gain in the objective that each step is to make, by the gradient's prediction (policy
            "progress", and "progress01" at first).
        late_progress: with "progress01", the later gain as a fraction of the distance to 1.
        decay: θ_decay, L2 decay towards the mean image in each step; for generated images that of the code.
        blur_width, blur_every: θ_b_width, standard deviation of the Gaussian blur, and θ_b_every, the number of steps
            between two blurs (0: no blur).
        small_norm: θ_n_pct, percentage of pixels that are set to the mean because their norm is small.
        small_contribution: θ_c_pct, the same for pixels with a small absolute contribution.
        small_value: the same for each colour value, if its absolute value is small.
        small_benefit: the same for pixels by whose removal the objective loses most (see `regularizers`).
        bregman: weight of the image in the search for the nearest image with little total variation, which replaces
            it after each step; smaller ones smooth more (see `deepvis.synthesis.bregman`). 0: off.
        bregman_iterations, bregman_rule: iterations of this search in each step, and its rule.
        bound: "free", or "range": values are clipped to black and white after each step, or "norm": the norm of each
            pixel about the mean is limited.
        total_variation, quadratic_variation, frequency_penalty, edge, alpha_norm: strengths of the penalties
            (see `regularizers`).
        margin: by how many pixels the canvas is larger than what the network sees, on each side.
        jitter, rotate, scale_low, scale_high: limits of the random shift (pixels), rotation (degrees) and
            magnification in each step. Margin and shift are given for an input of 224 pixels, and are scaled in
            proportion for other inputs and for the canvases of early layers.
        window: if it is not 0, the random shift is normally distributed, with this share of the largest possible
            shift as its standard deviation: the network sees the middle of the canvas more often. It replaces `jitter`.
        gradient_margin: the gradient counts only in the middle of what the network sees: not in so many pixels from
            each edge (for an input of 224 pixels).
        views: in how many random views the network sees the image in each step.
        noise: standard deviation of the noise added to what the network sees, in 1/255.
        redirect: number of first steps in which a gradient that is zero everywhere (of a dead unit) is replaced by
            one that passes through the ReLUs.
        cluster, texture, unlike: only for facets: weights that are added to the unit's activation (see
            `deepvis.facets.aims`).
        keep: which image is the result: the "best" so far by the objective, the "last", or the "average": of the last
            third of the steps (a running mean of the parameters, in which what each view adds by chance fades).
        phases: parts of the run with other numbers (see `deepvis.synthesis.phases`); none: the numbers stay.
    """

    steps: int = 256
    parameterization: str = "fourier"
    prior: str = ""
    detail: float = 0.0
    smoothness: float = 0.0
    power: float = 1.0
    cutoff: float = 0.0
    colors: str = "decorrelated"
    saturation: float = 1.0
    start: str = "noise"
    start_noise: float = 0.01
    optimizer: str = "adam"
    policy: str = "relative"
    rate: float = 0.05
    max_rate: float = 1e9
    progress: float = 1.0
    late_progress: float = 0.1
    decay: float = 0.0
    blur_width: float = 0.0
    blur_every: int = 0
    small_norm: float = 0.0
    small_contribution: float = 0.0
    small_value: float = 0.0
    small_benefit: float = 0.0
    bregman: float = 0.0
    bregman_iterations: int = 5
    bregman_rule: str = "shrinkage"
    bound: str = "free"
    total_variation: float = 0.0
    quadratic_variation: float = 0.0
    frequency_penalty: float = 0.0
    edge: float = 0.0
    alpha_norm: float = 0.0
    margin: int = 0
    jitter: float = 0.0
    rotate: float = 0.0
    scale_low: float = 1.0
    scale_high: float = 1.0
    window: float = 0.0
    gradient_margin: int = 0
    views: int = 1
    noise: float = 0.0
    redirect: int = 16
    cluster: float = 0.0
    texture: float = 0.0
    unlike: float = 0.0
    keep: str = "last"
    phases: tuple[Phase, ...] = ()

    @property
    def structure(self) -> tuple[object, ...]:
        """Recipes with the same structure can share a batch."""
        return tuple(getattr(self, name) for name in STRUCTURE)

    @property
    def transformed(self) -> bool:
        """Whether the image is randomly transformed in each step, or grows."""
        given = bool(self.margin or self.jitter or self.rotate or self.scale_low != 1 or self.scale_high != 1)
        names = ("jitter", "rotate", "scale_low", "scale_high", "window")
        return given or any(p.grow != 1 or any(name in names for name, *_ in p.numbers) for p in self.phases)


NO_GRADIENT = (
    "no gradient reaches the image: the unit is dead, the network's values are not finite, or the recipe lets none "
    "through (gradient_margin)"
)
STRUCTURE = (  # what all recipes of a batch have in common
    "parameterization", "prior", "colors", "optimizer", "policy", "margin", "keep", "steps", "bound",
    "bregman_iterations", "bregman_rule", "views", "phases",
)  # fmt: skip
TEXTS = ("prior",)
# Parameters that have an effect with some parameterizations alone; of the others they must be 0.
PIXELS_ONLY = ("blur_width", "small_norm", "small_contribution", "small_value", "small_benefit", "bregman")
_WORKS_ON = {
    **dict.fromkeys(PIXELS_ONLY, ("pixels",)),
    "decay": ("pixels", "generator"),
    **dict.fromkeys(("detail", "smoothness"), ("generator",)),
}
_PERCENTAGES = ("small_norm", "small_contribution", "small_value", "small_benefit")


def image_seed(seed: int, unit: int, index: int) -> int:
    """The seed of image `index` of a unit; it does not depend on the order, batch or process in which it is made."""
    return (seed * 1_000_003 + unit) * 1009 + index


def save(path: Path, made: Recipe, **facts: object) -> None:
    """Write a recipe as YAML, with facts such as the seed and the unit for which it was found.

    Raises:
        UserError: the file cannot be written, or the recipe is not valid.
    """
    checked(asdict(made))
    with writing(path):
        write_whole(path, yaml.safe_dump({**facts, "recipe": as_values(made)}, sort_keys=False).encode())


def as_values(made: Recipe) -> dict[str, Any]:
    """The recipe as a file holds it: {parameter: value} of numbers, texts, lists and mappings alone."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(made)))
    return values


def says(stored: object, made: Recipe) -> bool:
    """Whether a stored {parameter: value} is this recipe. It may have been stored when there were fewer parameters."""
    try:
        return isinstance(stored, Mapping) and checked(stored) == made
    except UserError:
        return False


def checked(values: Mapping[str, object]) -> Recipe:
    """A recipe from {parameter: value}, as a manifest stores it.

    Raises:
        UserError: unknown parameter, or an impossible value.
    """
    read: dict[str, Any] = {name: read_value(name, value) for name, value in values.items()}
    made = Recipe(**read)
    for name, (low, high) in _BOUNDS.items():
        kind = "a percentage, " if name in _PERCENTAGES else ""
        _demand(low <= getattr(made, name) <= high, name, getattr(made, name), f"{kind}{low:g} to {high:g}")
    _demand(0 < made.scale_low <= made.scale_high, "scale_low", made.scale_low, "more than 0, not more than scale_high")
    for name, kinds in _WORKS_ON.items():
        zero = made.parameterization in kinds or getattr(made, name) == 0
        only = " or ".join(kinds)
        _demand(zero, name, getattr(made, name), f"0, because it works only on {only}; or parameterization {only}")
    _demand(
        made.blur_every >= 1 or made.blur_width == 0,
        "blur_every",
        made.blur_every,
        f"1 or more, for blur_width is {made.blur_width:g}",
    )
    _demand(
        made.optimizer == "ascent" or made.policy == "relative",
        "policy",
        made.policy,
        f"relative, for {made.optimizer} has no other; or optimizer ascent",
    )
    other_uniform = made.parameterization in ("fourier", "generator") and made.start == "uniform"
    _demand(not other_uniform, "start", made.start, "noise or mean; or parameterization pixels")
    return made


# Outside of these limits an image would take days, or the memory of many machines.
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_PERCENTAGES, (0, 100)),
    "steps": (1, 100_000),
    "redirect": (0, 100_000),
    "blur_every": (0, 100_000),
    "bregman_iterations": (1, 1000),
    "gradient_margin": (0, 1024),
    "views": (1, 64),
    "detail": (0, 255),
    "smoothness": (0, 1),
    "window": (0, 100),
    "decay": (0, 1),
    "margin": (0, 1024),
    "jitter": (0, 1e6),
    "rotate": (0, 360),
    "scale_low": (0.01, 100),
    "scale_high": (0.01, 100),
    "blur_width": (0, 1024),
    "power": (-16, 16),
    "cutoff": (0, 16),
    "saturation": (-1e6, 1e6),
    "progress": (-1e12, 1e12),
    "late_progress": (-1e12, 1e12),
    "max_rate": (-1e308, 1e308),
    **dict.fromkeys(
        (
            "noise",
            "start_noise",
            "rate",
            "total_variation",
            "quadratic_variation",
            "frequency_penalty",
            "edge",
            "alpha_norm",
            "bregman",
            "cluster",
            "texture",
            "unlike",
        ),
        (0, 1e308),
    ),
}
_TYPES = {name: type(value) for name, value in asdict(Recipe()).items()}
_OF_FACETS = ("cluster", "texture", "unlike")
# What a phase may change: numbers that each image of a batch has for itself.
IN_PHASES = tuple(
    name
    for name in _TYPES
    if name
    not in (
        *CHOICES,
        *STRUCTURE,
        "steps",
        "redirect",
        "start_noise",
        "saturation",
        "power",
        "detail",
        "smoothness",
        *_OF_FACETS,
    )
)
_MOST_PHASES = 100
_MOST_GROWTH = 8.0
_LONGEST = 4096  # characters of a text


def read_value(name: str, value: Any) -> object:
    """A parameter's value of its kind, from a number, a text or a list of a file.

    Raises:
        UserError: unknown parameter (the message names similar ones), or a value of another kind.
    """
    if name not in _TYPES:
        raise UserError(
            f"unknown parameter {shown(name)}.{did_you_mean(str(name), _TYPES, 1)} Parameters: {', '.join(_TYPES)}."
        )
    kind = _TYPES[name]
    if name == "phases":
        return _read_phases(value)
    if name in CHOICES:
        _demand(isinstance(value, str) and value in CHOICES[name], name, value, " or ".join(CHOICES[name]))
        return value
    if name in TEXTS:
        _demand(isinstance(value, str) and len(value) <= _LONGEST and value.isprintable(), name, value, "a name")
        return value
    number = _number(name, value)
    _demand(kind is float or number == int(number), name, value, "a whole number")
    return kind(number)


def _read_phases(value: object) -> tuple[Phase, ...]:
    """Phases, as lists and mappings of a file: {steps: 150, grow: 1.2, objective: score, numbers: {rate: [6, 1]}}."""
    most = f"a list of at most {_MOST_PHASES} phases, such as {{steps: 150, numbers: {{rate: [6, 1]}}}}"
    _demand(isinstance(value, (list, tuple)) and len(value) <= _MOST_PHASES, "phases", value, most)
    assert isinstance(value, (list, tuple))
    read = tuple(phase if isinstance(phase, Phase) else _read_phase(phase) for phase in value)
    largest = max((growth(read, number) for number in range(len(read))), default=1.0)
    words = f"phases whose canvas grows {_MOST_GROWTH:g} times at most; the product of their grow is {largest:g}"
    _demand(largest <= _MOST_GROWTH, "phases: grow", [phase.grow for phase in read], words)
    return read


def _read_phase(value: object) -> Phase:
    keys = [field.name for field in fields(Phase)]
    known = isinstance(value, Mapping) and set(value) <= set(keys) and "steps" in value
    _demand(known, "phases", value, f"for each phase its steps, and if wanted {', '.join(keys[1:])}")
    assert isinstance(value, Mapping)
    numbers = value.get("numbers", ())
    if isinstance(numbers, Mapping):
        pairs = [(name, *(n if isinstance(n, (list, tuple)) else (n, n))) for name, n in numbers.items()]
    else:
        pairs = list(numbers) if isinstance(numbers, (list, tuple)) else [numbers]
    triples = all(isinstance(one, (list, tuple)) and len(one) == 3 and one[0] in IN_PHASES for one in pairs)
    _demand(triples, "phases: numbers", numbers, f"{{name: number or [first, last]}}, with: {', '.join(IN_PHASES)}")
    read = tuple((str(name), _bounded(name, first), _bounded(name, last)) for name, first, last in pairs)
    steps, grow = _bounded("steps", value["steps"]), _number("phases: grow", value.get("grow", 1.0))
    _demand(0.25 <= grow <= 4, "phases: grow", grow, "0.25 to 4")
    objective = value.get("objective", OBJECTIVES[0])
    _demand(objective in OBJECTIVES, "phases: objective", objective, " or ".join(OBJECTIVES))
    later = value.get("parameterization", AS_BEFORE)
    _demand(later in GOES_ON_AS, "phases: parameterization", later, " or ".join(filter(None, GOES_ON_AS)))
    return Phase(int(steps), grow, str(objective), read, str(later))


def _bounded(name: str, value: object) -> float:
    number = _number(f"phases: {name}", value)
    low, high = _BOUNDS[name]
    _demand(low <= number <= high, f"phases: {name}", value, f"{low:g} to {high:g}")
    return number


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    _demand(math.isfinite(number) and not isinstance(value, bool), name, value, "a number")
    return number


def _demand(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{name}: {shown(value)}: expected {expected}")
