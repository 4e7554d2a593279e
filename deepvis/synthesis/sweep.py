"""The sweep: images with each regularizer alone, from none to strong (Yosinski et al. 2015, Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, unit_id
from deepvis.networks.network import Network
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.recipe import NO_GRADIENT, Recipe
from deepvis.synthesis.targets import canvas, cut, objective

# The rows of a sweep: {parameter of a regularizer: (its strongest value, spacing of the values, other parameters that
# must be set)}.
SWEEPS: Mapping[str, tuple[float, str, Mapping[str, Any]]] = {
    "decay": (0.5, "geometric", {}),
    "blur_width": (3.0, "linear", {"blur_every": 4}),
    "small_norm": (98.0, "linear", {}),
    "small_contribution": (98.0, "linear", {}),
    "bregman": (0.02, "falling", {}),
}


# The same for generated images.
CODE_SWEEPS: Mapping[str, tuple[float, str, Mapping[str, Any]]] = {
    "decay": (0.2, "geometric", {}),
    "total_variation": (8.0, "geometric", {}),
    "detail": (60.0, "linear", {}),
    "jitter": (32.0, "linear", {"margin": 32}),
}
OF = {"pixels": SWEEPS, "generator": CODE_SWEEPS}
MOST_COLUMNS = 64


def strengths(strongest: float, spacing: str, count: int) -> list[float]:
    """0, then `count` − 1 values up to the strongest. If they are "falling", the smallest one is the strongest."""
    steps = np.arange(1, count) / max(1, count - 1)
    if spacing == "falling":
        return [0.0, *(strongest * 10 ** (2 * (1 - steps))).tolist()]
    values = strongest * (steps if spacing == "linear" else 10 ** (3 * (steps - 1)))
    return [0.0, *values.tolist()]


def sweep(
    network: Network, layer: Layer, unit: int, base: Recipe, columns: int, seed: int
) -> tuple[list[np.ndarray], list[list[str]]]:
    """A row of images for each regularizer alone, from none to strong. After Ctrl-C only the rows that are done.

    Args:
        base: a recipe of pixels or of a learned prior, to which one regularizer at a time is added. Its phases are left
            out, because they would change the regularizers on the way.
    Returns:
        For each regularizer: uint8 columns×H×W×3 RGB, and a title for each image.
    Raises:
        UserError: the recipe is of something else, there are too few or too many columns, or no gradient reaches the
            image.
        KeyboardInterrupt: after Ctrl-C, if no row is done.
    """
    sweeps = OF.get(base.parameterization)
    if sweeps is None:
        raise UserError("a sweep is over regularizers of pixels or of a code: give a preset such as plain or generator")
    if not 2 <= columns <= MOST_COLUMNS:
        raise UserError(f"--columns {columns}: expected 2 to {MOST_COLUMNS} strengths of each regularizer")
    off: dict[str, Any] = dict.fromkeys((*sweeps, "blur_every"), 0)
    rows: list[np.ndarray] = []
    titles: list[list[str]] = []
    try:
        for name, (strongest, spacing, also) in tqdm(
            sweeps.items(), unit="row", desc=f"sweep {unit_id(layer.name, unit)}"
        ):
            values = strengths(strongest, spacing, columns)
            recipes = [replace(base, phases=(), **{**off, **also, name: value}) for value in values]
            rows.append(_row(network, layer, unit, recipes, seed, name))
            titles.append([f"{name} {value:.3g}" for value in values])
    except KeyboardInterrupt:
        if not rows:
            raise
        tqdm.write(f"stopped after {len(rows)} of {len(sweeps)} rows, which are drawn")
    return rows, titles


def _row(network: Network, layer: Layer, unit: int, recipes: list[Recipe], seed: int, name: str) -> np.ndarray:
    place = canvas(network, layer, network.receptive_field(layer.name))
    columns = len(recipes)
    ascent = Ascent(network, objective(layer, [unit] * columns, place), recipes, [seed] * columns, place.size)
    for _ in tqdm(range(recipes[0].steps), leave=False, unit="step", desc=name):
        ascent.step()
    if ascent.dead.all():
        raise UserError(f"unit {unit_id(layer.name, unit)}: {NO_GRADIENT}")
    return cut(ascent.images(raised=False), place)  # the effect on the contrast must be visible
