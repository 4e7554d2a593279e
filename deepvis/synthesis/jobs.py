"""Synthesizing the images of many units into a store: in batches, resumable, in one or several processes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

import numpy as np
import torch
from tqdm import tqdm

from deepvis import __version__
from deepvis.core.errors import UserError
from deepvis.core.geometry import reduced, with_side
from deepvis.core.layers import Layer
from deepvis.core.processes import share
from deepvis.networks.network import Network
from deepvis.networks.replicas import ReplicaPool, failed, is_out_of_memory
from deepvis.store.own_images import has_images, set_others_aside
from deepvis.store.unit_images import WIDEST, Key, Store
from deepvis.synthesis.ascent import Ascent, canvas_size
from deepvis.synthesis.recipe import NO_GRADIENT, Recipe, as_values, checked, image_seed, says
from deepvis.synthesis.starts import StartImage
from deepvis.synthesis.targets import SynthesisCanvas, canvas, check_objective, cut, objective


@dataclass(frozen=True)
class Plan:
    """The settings of a run, which are the same for all its units.

    Attributes:
        recipe, preset: the recipe, and the name of the preset that it was made from.
        per_unit: number of images for each unit, from different seeds.
        seed: seed of the run; image i of unit u has `image_seed(seed, u, i)`.
        objective: a key of `targets.OBJECTIVES`.
        true_size: use a canvas of the receptive field's size.
        side: longer side of the stored images in pixels, if they are larger; 0 stores them as they are.
        quality: quality of the WebP files, 1 to 100.
        start: the image that all images start from; None: the recipe's own start.
    """

    recipe: Recipe
    preset: str
    per_unit: int = 1
    seed: int = 0
    objective: str = "unit"
    true_size: bool = True
    side: int = 0
    quality: int = 80
    start: StartImage | None = None


@dataclass
class Counts:
    """What a run did: numbers of units, and why some failed (the reasons with their numbers)."""

    made: int = 0
    found: int = 0
    renamed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def take(self, failed: str, renamed: bool) -> None:
        """Count a unit: why it failed (empty if it did not), and whether its older images were renamed."""
        if failed:
            self.reasons[failed] += 1
        else:
            self.made += 1
            self.renamed += renamed


def record(plan: Plan, network: Network, layer: str) -> dict[str, object]:
    """The record to store with the images of a layer's unit made with this plan."""
    return {
        "module": network.paths[layer],
        "input": [network.input.height, network.input.width],
        "preset": plan.preset,
        "recipe": as_values(plan.recipe),
        "seed": plan.seed,
        "objective": plan.objective,
        "true_size": plan.true_size,
        "side": plan.side,
        "quality": plan.quality,
        "start": plan.start and {"from": plan.start.words, "mark": plan.start.mark},
        "deepvis": __version__,
    }


def auto_batch(device: torch.device, size: tuple[int, int], whole: tuple[int, int]) -> int:
    """A good batch size for the device's caches or cores; larger for small canvases."""
    smaller = (whole[0] * whole[1]) / (size[0] * size[1])
    return int(min(256, max(1, (4 if device.type == "cpu" else 64) * smaller)))


def synthesize(
    network: Network, chosen: Sequence[tuple[Layer, Sequence[int]]], plan: Plan, store: Store, batch: int | None = None
) -> Counts:
    """Make the images of the units that are not in the store yet, and store them.

    A resumed run makes the batches in which units are missing. Batches always consist of the same units, because the
    network's rounding depends on the other images of a batch; so a resumed run gives the same files as one that was
    not interrupted. If memory runs out the batch is halved. Units without a gradient are recorded as failed, unless the
    store has images of them. Other images of a unit in the store are renamed and stay there.

    Args:
        chosen: layers with their units.
        batch: images in a batch; None chooses it by the device and the size of the canvas.
    Returns:
        Numbers of units: made, found in the store, failed and why, and those whose older images were renamed.
    Raises:
        UserError: a layer cannot have this objective or so many images for each unit (raised before anything is made),
            the store cannot be written, or a single image does not fit into memory.
    """
    for layer, _ in chosen:
        check_objective(layer, plan.objective)
    rank, world = share()
    counts = Counts()
    tasks = [(layer, unit) for layer, units in chosen for unit in units][rank::world]
    how = {layer.name: record(plan, network, layer.name) for layer, _ in chosen}
    missing = {
        (layer.name, unit) for layer, unit in tasks if not same(store, layer.name, unit, how[layer.name], plan.per_unit)
    }
    counts.found = len(tasks) - len(missing)
    parts = _parts(network, tasks, plan, batch) if missing else []
    wanted = [part for part in parts if any((part.layer.name, unit) in missing for unit in part.units)]
    # `parts`, not `wanted`: rounding depends on the number of threads, which must be the same in a resumed run.
    with (
        tqdm(total=len(missing), unit="unit", desc="synthesize", position=rank, smoothing=0.1) as bar,
        ReplicaPool(network, most=len(parts)) as pool,
    ):

        def make(replica: Network, part: _Part) -> _Made:
            return _fitting(replica, part, plan, pool.stopped)

        for part, made in pool.each(make, wanted, in_order=False):
            bar.set_postfix_str(part.layer.name)
            for unit, images, scores, failed in _by_unit(part, made, plan.per_unit):
                if (part.layer.name, unit) in missing:
                    key = part.layer.name, unit
                    counts.take(failed, _keep(store, key, images, scores, failed, plan, how[key[0]], f"{rank}"))
                    bar.update()
    store.finish()
    return counts


def same(store: Store, layer: str, unit: int, wanted: dict[str, object], per_unit: int) -> bool:
    """Whether the store has this unit's images and they were made in exactly this way, according to their record."""
    have = store.records.get((layer, unit), {})
    older = {**wanted, "start": None}  # records that do not say it are of a time without it
    alike = all(_alike(key, have.get(key, older[key]), value) for key, value in wanted.items() if key != "deepvis")
    return store.has(layer, unit) and alike and ("failed" in have or len(have.get("scores", ())) == per_unit)


def _alike(key: str, have: object, wanted: object) -> bool:
    """Whether two entries of a record say the same."""
    return says(have, checked(wanted)) if key == "recipe" and isinstance(wanted, Mapping) else have == wanted


def not_bundled(
    network: Network, chosen: Sequence[tuple[Layer, Sequence[int]]], plan: Plan, store: Store, bundled: Store
) -> list[tuple[Layer, list[int]]]:
    """The chosen units that have to be made: without those for which the bundled store has the same images.

    A unit is left out only if the user's own store has no images of it. A run never stores such units, so a resumed run
    leaves out the same ones and has the same batches.
    """
    left = []
    for layer, units in chosen:
        how = record(plan, network, layer.name)
        there = {
            unit
            for unit in units
            if (layer.name, unit) not in store.records and same(bundled, layer.name, unit, how, plan.per_unit)
        }
        left.append((layer, [unit for unit in units if unit not in there]))
    return left


def _by_layer(tasks: Sequence[tuple[Layer, int]]) -> Iterator[tuple[Layer, list[int]]]:
    units: dict[Layer, list[int]] = {}
    for layer, unit in tasks:
        units.setdefault(layer, []).append(unit)
    yield from units.items()


@dataclass(frozen=True)
class _Part:
    """Units of a layer whose images are made together, up to `size` images in a batch."""

    layer: Layer
    units: Sequence[int]
    place: SynthesisCanvas
    size: int


_Made = tuple[np.ndarray, np.ndarray, np.ndarray]  # images, scores, dead


def _parts(network: Network, tasks: Sequence[tuple[Layer, int]], plan: Plan, batch: int | None) -> list[_Part]:
    """The batches of all units.

    All are planned before the first is made, because measuring a receptive field switches cuDNN off in all threads.
    """
    parts = []
    for layer, units in _by_layer(tasks):
        place = canvas(network, layer, network.receptive_field(layer.name), plan.true_size)
        size = batch or auto_batch(network.device, place.size, (network.input.height, network.input.width))
        at_once = max(1, size // plan.per_unit)
        _demand_room(layer, place, plan)
        parts += [_Part(layer, units[first : first + at_once], place, size) for first in range(0, len(units), at_once)]
    return parts


def _demand_room(layer: Layer, place: SynthesisCanvas, plan: Plan) -> None:
    _left, _top, width, height = place.field or (0, 0, place.size[1], place.size[0])
    if 0 < plan.side < max(width, height):
        width, _ = with_side(width, height, plan.side)
    if width * plan.per_unit > WIDEST:
        raise UserError(
            f"--per-unit {plan.per_unit}: images of {width} pixels of a unit of {layer.name} lie side by side in a "
            f"file of "
            f"{WIDEST} pixels at most: {WIDEST // width} fit. Make fewer, or store them smaller (--side)"
        )


def _by_unit(part: _Part, made: _Made, each: int) -> Iterator[tuple[int, np.ndarray, list[float], str]]:
    """Yield for each unit its number, images (best first), scores, and why it failed (empty if it did not)."""
    images, scores, dead = made
    for i, unit in enumerate(part.units):
        mine = slice(i * each, (i + 1) * each)
        order = np.argsort(-scores[mine], kind="stable")
        failed = ""
        if dead[mine].all():
            failed = NO_GRADIENT
        elif not np.isfinite(scores[mine]).all():
            failed = (
                "the unit's value for the image is not finite: the recipe's steps are too large, or the network is "
                "broken"
            )
        yield unit, images[mine][order], scores[mine][order].tolist(), failed


def _fitting(network: Network, part: _Part, plan: Plan, stopped: threading.Event) -> _Made:
    """Make all images of a part, in smaller batches if memory runs out."""
    jobs = [(unit, image_seed(plan.seed, unit, i)) for unit in part.units for i in range(plan.per_unit)]
    done: list[_Made] = []
    first, size = 0, part.size
    while first < len(jobs):
        size = min(size, len(jobs) - first)
        try:
            done.append(_run(network, part, jobs[first : first + size], plan, stopped))
            first += size
            continue
        except UserError:
            raise
        except Exception as error:  # the network's code may raise anything
            if not is_out_of_memory(error):
                raise failed(error, size) from error
            if size == 1:
                canvas_size = f"{part.place.size[1]}×{part.place.size[0]}"
                raise UserError(
                    f"layer {part.layer.name}: out of memory with one image of {canvas_size} pixels and a margin of "
                    f"{plan.recipe.margin} at a time: give a smaller --set margin=…, or --device cpu"
                ) from error
        size = (size + 1) // 2  # after the handler, which has freed the tensors that the traceback held
        tqdm.write(f"out of memory: continuing with {size} images in a batch")
        if network.device.type == "cuda":
            torch.cuda.empty_cache()
    images, scores, dead = zip(*done)
    return np.concatenate(images), np.concatenate(scores), np.concatenate(dead)


def _run(network: Network, part: _Part, jobs: Sequence[tuple[int, int]], plan: Plan, stopped: threading.Event) -> _Made:
    units, seeds = [unit for unit, _ in jobs], [seed for _, seed in jobs]
    aim = objective(part.layer, units, part.place, plan.objective)
    start = None
    if plan.start is not None:
        start = plan.start.tensor(network.input.channels, canvas_size(plan.recipe, part.place.size), len(jobs))
    ascent = Ascent(network, aim, [plan.recipe] * len(jobs), seeds, part.place.size, start)
    for _ in range(plan.recipe.steps):
        if stopped.is_set():
            raise CancelledError
        ascent.step()
    return cut(ascent.images(), part.place), ascent.final_scores().cpu().numpy(), ascent.dead.cpu().numpy()


def _keep(
    store: Store,
    key: Key,
    images: np.ndarray,
    scores: list[float],
    failed: str,
    plan: Plan,
    how: dict[str, object],
    part: str,
) -> bool:
    """Store a unit's images, or why there are none. Returns whether other images of the unit were renamed."""
    if failed:
        if not has_images(store, *key):
            store.add(*key, images[:0], {**how, "scores": [], "failed": failed}, part)
        return False
    made = {**how, "scores": [float(f"{score:.5g}") for score in scores]}
    renamed = set_others_aside(store, *key, made) is not None
    store.add(*key, np.stack([reduced(image, plan.side) for image in images]), made, part, plan.quality)
    return renamed
