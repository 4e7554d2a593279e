"""Random search for recipes, whose images another network rates.

"We ran a random hyperparameter search of 300 possible combinations and settled on four that
complement each other well" (Yosinski et al. 2015, section 3). Here an independent network
judges the images, in place of the authors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from deepvis.core.errors import UserError
from deepvis.core.files import writing
from deepvis.core.layers import Layer, find_layer
from deepvis.core.marks import Mark, same_network
from deepvis.core.picture_files import write
from deepvis.networks.network import Network
from deepvis.store.unit_images import WIDEST, Store, open_store
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.recipe import Recipe, as_values, checked, save, says
from deepvis.synthesis.targets import canvas, objective

# Takes rows of images (uint8 N×H×W×3 RGB) and a title for each image; returns one picture, BGR.
Drawing = Callable[[Sequence[np.ndarray], Sequence[Sequence[str]]], np.ndarray]

BEST = 9  # number of recipes that are written and drawn
TRIAL = "trial"  # name in the store in place of a layer
# Values of a parameter: with a probability of 1/3 it is 0 (off), else uniform or log-uniform between two bounds.
RANGES: dict[str, dict[str, tuple[float, float, str]]] = {
    "pixels": {
        "decay": (1e-4, 0.5, "log"),
        "blur_width": (0.3, 2.0, "linear"),
        "small_norm": (5, 90, "linear"),
        "small_contribution": (5, 95, "linear"),
        "bregman": (0.02, 2, "log"),
        "rate": (0.3, 10, "log"),
    },
    "fourier": {
        "power": (0.8, 1.8, "linear"),
        "saturation": (0.3, 1.2, "linear"),
        "rate": (0.01, 0.2, "log"),
        "jitter": (4, 32, "linear"),
        "rotate": (2, 20, "linear"),
        "noise": (2, 20, "linear"),
        "total_variation": (0.3, 10, "log"),
    },
    "generator": {
        "rate": (0.02, 0.4, "log"),
        "decay": (1e-3, 0.05, "log"),
        "detail": (4, 60, "log"),
        "jitter": (4, 32, "linear"),
        "rotate": (2, 20, "linear"),
        "noise": (2, 20, "linear"),
        "total_variation": (0.1, 3, "log"),
    },
    "maco": {
        "rate": (0.01, 0.2, "log"),
        "jitter": (4, 32, "linear"),
        "rotate": (2, 20, "linear"),
        "noise": (2, 20, "linear"),
    },
}
_NEVER_OFF = ("rate", "power", "saturation")


@dataclass(frozen=True, eq=False)
class Trial:
    """A recipe, its images, and for each image the judge's probability of the image's class."""

    recipe: Recipe
    images: np.ndarray
    scores: list[float]

    @property
    def score(self) -> float:
        return float(np.mean(self.scores))


def random_recipe(base: Recipe, draw: np.random.Generator) -> Recipe:
    """The base recipe, without phases, with new random values for the searched parameters."""
    values: dict[str, object] = {}
    for name, (low, high, spacing) in RANGES[base.parameterization].items():
        value = low * (high / low) ** draw.random() if spacing == "log" else draw.uniform(low, high)
        off = draw.random() < 1 / 3 and name not in _NEVER_OFF
        values[name] = 0.0 if off else float(f"{value:.3g}")
    if base.parameterization == "pixels":
        values["blur_every"] = int(draw.integers(1, 9)) if values["blur_width"] else 0
    return checked({**vars(base), "phases": (), **values})


def search(
    network: Network,
    judge: Network,
    base: Recipe,
    trials: int,
    classes: int,
    seed: int,
    out: Path,
    draw: Drawing,
    layer: str = "",
) -> list[str]:
    """Try random recipes on some classes; write the best recipes and a contact sheet.

    Every trial is kept in `out`/trials. However the search ended, the same search later makes only the missing trials,
    and a search with more trials only the additional ones. What another search has left in `out` is moved into a
    folder of its own there, in which that search goes on if it is given as `out`.

    Args:
        draw: draws the contact sheet.
        layer: the class layer; empty: the last layer but a softmax with as many units as the judge knows classes.
    Returns:
        A line for each of the best recipes: the judge's mean probability of the right class, and the parameters.
    Raises:
        UserError: the networks do not know the same number of classes, or `out` cannot be written or is of another
            network.
        KeyboardInterrupt: after Ctrl-C, with the best so far written.
    """
    target = _class_layer(network, judge, layer)
    if classes * network.input.width > WIDEST:
        raise UserError(
            f"--classes {classes}: expected 1 to {WIDEST // network.input.width}, whose images are kept side by side "
            f"in one file"
        )
    chance = np.random.default_rng(seed)
    units = chance.permutation(target.units)[:classes].tolist()
    recipes = [random_recipe(base, chance) for _ in range(trials)]
    how = {"judge": judge.fingerprint, "of": target.name, "units": units, "seed": seed}
    store = _open(out, network, recipes[0], how)
    done: list[Trial] = []
    try:
        for number, one in enumerate(tqdm(recipes, unit="recipe", desc="search")):
            wanted = {**how, "recipe": as_values(one)}
            if kept := _kept(store, number, one, wanted):
                done.append(kept)
                continue
            trial = _try(network, judge, target, units, one, seed)
            store.add(TRIAL, number, trial.images, {**wanted, "scores": trial.scores}, "search", quality=95)
            done.append(trial)
            if trial in _best(done):
                _write(out, done, target, units, seed, draw)
    except KeyboardInterrupt:
        best = f"; the best are in {out}, and the same command resumes the search" if done else ""
        tqdm.write(f"stopped after {len(done)} recipes{best}")
        raise
    finally:
        store.finish()
        if done:
            _write(out, done, target, units, seed, draw)
    return [f"{t.score:5.1%}  {_words(t.recipe)}" for t in _best(done)]


def _open(out: Path, network: Network, first: Recipe, how: Mapping[str, object]) -> Store:
    """The store of the trials. The first one tells whether what lies in `out` is of this search."""
    store = open_store(out / "trials", network.fingerprint, network.name)
    record = store.records.get((TRIAL, 0))
    if record is None or _made_so(record, first, how):
        return store
    aside = _set_aside(out)
    tqdm.write(f"what another search left in {out} is now in {aside}; --out {aside} goes on with it")
    return open_store(out / "trials", network.fingerprint, network.name)


def _set_aside(out: Path) -> Path:
    """Move a search's trials, best recipes and sheet into a new folder."""
    aside = next(free for i in count(1) if not (free := out / f"earlier-{i}").exists())
    with writing(aside):
        aside.mkdir()
        for path in (*out.glob("best-*.yaml"), out / "sheet.jpg", out / "trials"):
            if path.exists():
                path.rename(aside / path.name)
    return aside


def _kept(store: Store, number: int, one: Recipe, wanted: Mapping[str, object]) -> Trial | None:
    """The trial of an earlier run if it was made in the same way; else None."""
    record = store.records.get((TRIAL, number), {})
    images = store.read(TRIAL, number) if _made_so(record, one, wanted) else []
    return Trial(one, np.stack(images), record["scores"]) if images else None


def _made_so(record: Mapping[str, object], one: Recipe, wanted: Mapping[str, object]) -> bool:
    alike = all(_alike(record.get(key), value) for key, value in wanted.items() if key != "recipe")
    return alike and says(record.get("recipe"), one)


def _alike(stored: object, wanted: object) -> bool:
    """Whether two values of a record are the same, also if one is a fingerprint of an earlier version."""
    return stored == wanted or isinstance(wanted, Mark) and same_network(str(stored), wanted)


def _best(done: Sequence[Trial]) -> list[Trial]:
    return sorted(done, key=lambda trial: -trial.score)[:BEST]


def _class_layer(network: Network, judge: Network, name: str) -> Layer:
    known = judge.layers[-1].units
    if name:
        layer = network.layers[find_layer(name, network.layers)]
    else:
        fitting = [one for one in network.layers if one.units == known and not one.is_map and one.kind != "Softmax"]
        layer = fitting[-1] if fitting else network.layers[-1]
    if layer.units != known:
        raise UserError(
            f"the judge has {known} classes, but layer {layer.name} has {layer.units} units: they must be the same "
            f"classes"
        )
    return layer


def _try(network: Network, judge: Network, layer: Layer, units: Sequence[int], one: Recipe, seed: int) -> Trial:
    place = canvas(network, layer, network.receptive_field(layer.name), true_size=False)
    ascent = Ascent(network, objective(layer, units, place), [one] * len(units), [seed + i for i in range(len(units))])
    for _ in range(one.steps):
        ascent.step()
    images = ascent.images()
    return Trial(one, images, [_probability(judge, image, unit) for image, unit in zip(images, units)])


def _probability(judge: Network, image: np.ndarray, unit: int) -> float:
    with torch.no_grad():
        scores = judge.module(judge.see(image, crop=True))[0].float()
    probabilities = float(scores.min()) >= 0 and 0.99 < float(scores.sum()) < 1.01
    return float(scores[unit] if probabilities else scores.softmax(0)[unit])


def _write(out: Path, done: Sequence[Trial], layer: Layer, units: Sequence[int], seed: int, draw: Drawing) -> None:
    ranked = _best(done)
    for i, trial in enumerate(ranked, 1):
        save(
            out / f"best-{i}.yaml",
            trial.recipe,
            judged=round(trial.score, 4),
            layer=layer.name,
            units=list(units),
            seed=seed,
        )
    titles = [[f"{t.score:.0%} {layer.label(unit) or unit}" for unit in units] for t in ranked]
    write(out / "sheet.jpg", draw([t.images for t in ranked], titles))


def _words(one: Recipe) -> str:
    return ", ".join(f"{name} {getattr(one, name):g}" for name in (*RANGES[one.parameterization], "blur_every"))
