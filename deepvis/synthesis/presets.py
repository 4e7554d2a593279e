"""Presets: recipes with a name, and how recipes are found by their names. Without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.nearest import did_you_mean
from deepvis.core.reading import place_of, read_yaml
from deepvis.synthesis.phases import Phase
from deepvis.synthesis.recipe import Recipe, checked, read_value

_PAPER = Recipe(
    parameterization="pixels", start="noise", start_noise=10.0, optimizer="ascent", policy="relative", rate=1.0,
    steps=500, keep="best",
)  # fmt: skip

# Total variation of the authors' code of Nguyen et al. 2016: a step changes a pixel by `rate` gray levels on average,
# and is followed by a search for the nearest image with little total variation.
_SMOOTH = Recipe(
    parameterization="pixels", start="noise", start_noise=8.0, optimizer="ascent", policy="normalized", rate=11.0,
    bound="range", bregman_rule="scikit-image", bregman_iterations=10, steps=490,
)  # fmt: skip


def _smooth(steps: int, weight: tuple[float, float], rate: tuple[float, float], **others: Any) -> Phase:
    """A phase: the weight of the image against its total variation, and the step, each from the first to the last."""
    grow, objective = others.pop("grow", 1.0), others.pop("objective", "score")
    rest = tuple((name, float(value), float(value)) for name, value in others.items())
    return Phase(steps, grow, objective, (("bregman", *weight), ("rate", *rate), *rest))


_FALLING = (
    _smooth(190, (0.001, 0.05), (11, 11)),
    _smooth(150, (0.01, 0.08), (6, 6)),
    _smooth(150, (0.01, 2), (1, 1)),
)
# In phases 1 and 2 the code climbs the class's probability, and phase 1 is longer than the paper says.
_CENTER_BIASED = (
    _smooth(190, (0.001, 0.05), (11, 11), objective="probability"),
    _smooth(150, (0.01, 0.08), (6, 6), objective="probability", grow=1.2),
    _smooth(150, (0.01, 2), (1, 1), grow=1.2),
    _smooth(30, (0.1, 2), (3, 3), gradient_margin=50, window=0.1),
    _smooth(10, (0.01, 2), (6, 3)),
)
# From a facet's mean image: the same code's phases for it, and the five phases above, which it calls center-biased.
_FROM_MEAN = (
    _smooth(190, (0.4, 0.4), (1, 2)),
    _smooth(150, (0.01, 2), (1, 1), grow=1.2),
    _smooth(20, (0.1, 2), (2, 2), gradient_margin=50, window=0.2),
    _smooth(10, (0.4, 2), (2, 2)),
)

# Found with tests/benchmarks/natural.py: what a photograph has of fine detail, contrast and colour. Views of the
# magnified image give whole objects, and the average over the last steps is without what single views add.
_MODERN = Recipe(
    steps=128,
    views=2,
    rate=0.11,
    power=1.3,
    cutoff=0.35,
    saturation=1.3,
    total_variation=0.2,
    margin=32,
    jitter=32,
    rotate=20,
    scale_low=0.8,
    scale_high=1.6,
    keep="average",
)

PRESETS: dict[str, Recipe] = {
    # Yosinski et al. 2015, Table 1, rows 1 to 4 (Figure 4: top left, top right, bottom left, bottom right).
    # The paper does not give a step size. Row 4 needs a small one: with large steps it keeps other pixels each
    # time, and no shape develops.
    "yosinski-1": replace(
        _PAPER, decay=0.0, blur_width=0.5, blur_every=4, small_norm=50, small_contribution=0, rate=1.0
    ),
    "yosinski-2": replace(
        _PAPER, decay=0.3, blur_width=0.0, blur_every=0, small_norm=20, small_contribution=0, rate=4.0
    ),
    "yosinski-3": replace(
        _PAPER, decay=0.0001, blur_width=1.0, blur_every=4, small_norm=0, small_contribution=0, rate=4.0
    ),
    "yosinski-4": replace(
        _PAPER, decay=0.0, blur_width=0.5, blur_every=4, small_norm=0, small_contribution=90, rate=0.02
    ),
    "plain": _PAPER,  # gradient ascent without any regularizer
    # Nguyen et al. 2016, "Multifaceted Feature Visualization", S2; numbers of the authors' code where the paper has
    # none: their schedule for total variation (S2.1), with jitter on a larger canvas, a blur whose width falls in place
    # of total variation (S2.2), and five phases from a blurred object in the middle to a sharp one (S2.3).
    "tv": replace(_SMOOTH, phases=_FALLING),
    "tv-jitter": replace(_SMOOTH, phases=_FALLING, margin=22, jitter=22),
    "blur-jitter": replace(
        _SMOOTH,
        blur_width=2.0,
        blur_every=1,
        margin=22,
        jitter=22,
        rate=3.0,
        phases=(
            Phase(400, numbers=(("blur_width", 2.0, 0.4), ("rate", 6.0, 1.0))),
            Phase(90, numbers=(("blur_width", 0.4, 0.3), ("rate", 1.0, 1.0))),
        ),
    ),
    "center-biased": replace(_SMOOTH, steps=530, window=0.3, phases=_CENTER_BIASED),
    # Fel et al. 2023, "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization".
    "maco": Recipe(
        parameterization="maco",
        steps=256,
        optimizer="adam",
        rate=0.05,
        views=2,
        scale_low=0.8,
        scale_high=2.5,
        noise=10,
    ),
    # Nguyen et al. 2016, "Synthesizing the preferred inputs…", as the authors' code: steps whose mean length falls to
    # almost 0, a decay of 0.99. Their length is 8 in the units of CaffeNet's fc6; here it is in standard deviations.
    "generator": Recipe(
        parameterization="generator",
        colors="plain",
        steps=200,
        optimizer="ascent",
        policy="normalized",
        start_noise=1.0,
        decay=0.01,
        redirect=0,
        phases=(Phase(200, numbers=(("rate", 0.5, 1e-10),)),),
    ),
    # Through the prior the image gets its objects; then it goes on as a Fourier image, for the fine detail.
    "generator-modern": replace(
        _MODERN,
        parameterization="generator",
        rate=0.05,
        start_noise=0.3,
        phases=(Phase(3), Phase(1, parameterization="fourier")),
    ),
    # Mahendran & Vedaldi 2014, with the numbers of the authors' code (λ = 10, learning rates for 2,100 steps), for
    # pictures whose root mean square about the mean is 68, as that of the bundled photos. The sixth power there is of
    # each colour; here it is of the pixel's norm, which for grays is the same.
    "mahendran-2014": Recipe(
        steps=2100,
        parameterization="pixels",
        start="noise",
        start_noise=68.0,
        optimizer="momentum",
        rate=13.9,
        quadratic_variation=5 / 68**2 / 3,
        alpha_norm=8.4e-4,
        keep="last",
        redirect=0,
        phases=tuple(
            Phase(steps, numbers=(("rate", 13.9 * share, 13.9 * share),))
            for steps, share in ((800, 1.0), (500, 0.1), (500, 0.01), (200, 0.001), (100, 0.0001))
        ),
    ),
    # Mahendran & Vedaldi 2016 with the numbers of their code: α = 6, β = 2, B = 80, V = B / 6.5, C = 100 (by which the
    # other terms are divided here), shifts as for a stride of 16 pixels.
    "mahendran-2016": Recipe(
        steps=350,
        parameterization="pixels",
        start="noise",
        start_noise=30.0,
        optimizer="adagrad",
        rate=5333.0,
        quadratic_variation=(6.5 / 80) ** 2 / 100,
        alpha_norm=0.01,
        bound="norm",
        keep="last",
        redirect=0,
        margin=2,
        phases=(
            Phase(300, numbers=(("rate", 5333.0, 5333.0), ("jitter", 1.5, 1.5))),
            Phase(50, numbers=(("rate", 533.3, 533.3), ("jitter", 0.0, 0.0))),
        ),
    ),
    # Ours, the best of those that tests/benchmarks/inversion.py measured: starts from the layer's closed-form decoder.
    "invert": Recipe(steps=200, rate=0.03, total_variation=0.002, redirect=0, keep="last"),
    # Found with tests/benchmarks/recognised.py, so that another network recognises the images and their contrast is
    # that of photographs.
    "modern-2025": Recipe(rate=0.1, margin=32, jitter=32, rotate=20, scale_low=0.7, scale_high=1.3),
    "modern": _MODERN,
    # The same, whose large forms come first: fewer and larger objects, and more of the finest detail.
    "coarse-to-fine": replace(
        _MODERN,
        phases=(Phase(1, numbers=(("cutoff", 0.04, 0.35),)), Phase(2, numbers=(("cutoff", 0.35, 0.35),))),
    ),
    # Facets: for a start from the mean image of photos. The first two are those of Nguyen et al. 2016.
    "mfv": replace(_SMOOTH, steps=370, window=0.3, bregman_iterations=5, phases=_FROM_MEAN),
    "mfv-center-biased": replace(_SMOOTH, steps=530, window=0.3, phases=_CENTER_BIASED),
    # Found with tests/benchmarks/facets.py: from the mean image by the numbers of "modern"; what the cluster's photos
    # have in common keeps the facets of a unit apart.
    "facet": replace(_MODERN, steps=96, cluster=20, texture=30),
}


def recipe(preset: str, changes: Mapping[str, object] | None = None) -> Recipe:
    """A preset with some of its parameters changed.

    Args:
        changes: {parameter: value}; a value may be a number as text.
    Raises:
        UserError: unknown preset or parameter (the message names similar ones), or an impossible value.
    """
    if preset not in PRESETS:
        names = (*PRESETS, *saved())
        raise UserError(f"unknown preset {preset!r}.{did_you_mean(preset, names, 1)} Presets: {', '.join(names)}.")
    return checked({**asdict(PRESETS[preset]), **{k: read_value(k, v) for k, v in (changes or {}).items()}})


def named(name: str, changes: Mapping[str, object] | None = None) -> Recipe:
    """Like `recipe`, but `name` may also be a saved recipe, or a YAML file of parameters as `save` writes it.

    Raises:
        UserError: as in `recipe`, or the file cannot be read.
    """
    if name not in PRESETS and not name.endswith((".yaml", ".yml")):
        name = str(saved().get(name, name))
    if not name.endswith((".yaml", ".yml")):
        return recipe(name, changes)
    file = read_yaml(Path(name), "a recipe")
    values = file.values.get("recipe", file.values) if isinstance(file.values, dict) else None
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected lines such as 'steps: 256'")
    try:
        return checked({**values, **(changes or {})})
    except UserError as error:
        own = {key.removeprefix("recipe."): line for key, line in file.lines.items()}
        lines = {key: line for key, line in own.items() if key not in (changes or {})}
        raise UserError(f"{place_of(name, lines, str(error))}: {error}") from error


def saved() -> dict[str, Path]:
    """{name: file} of the saved recipes, in order of names. Names that cannot be printed are left out.

    Raises:
        UserError: the folder of saved recipes cannot be listed.
    """
    folder = paths.recipes()
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".yaml") and name.isprintable())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be listed: {error.strerror or error}; expected the folder of saved recipes. "
            "Make it readable, or move it away"
        ) from error
    return {name.removesuffix(".yaml"): folder / name for name in names}
