"""Making the facets of many units into a store: resumable, in one or several processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from deepvis import __version__
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, find_layer, unit_id
from deepvis.core.processes import share
from deepvis.facets.aims import Clusters
from deepvis.facets.excited import Candidates, Top, demand_there
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.facet_store import keep
from deepvis.facets.growing import FacetAscent
from deepvis.facets.making import Ground, facet_map, ground_of, points, top_of
from deepvis.inputs.datasets import Photos, batch_ranges
from deepvis.networks.network import Network
from deepvis.networks.replicas import ReplicaPool, failed, is_out_of_memory
from deepvis.scan.index import Index
from deepvis.store.unit_images import Store
from deepvis.synthesis.jobs import auto_batch, same
from deepvis.synthesis.recipe import NO_GRADIENT, Recipe, as_values


@dataclass(frozen=True)
class FacetPlan:
    """The settings of a run, which are the same for all its units.

    Attributes:
        recipe, preset: the recipe, and the name of the preset that it was made from.
        k: number of facets; 0 for the number that the silhouette suggests.
        top: how many of the index's photos count for each unit.
        code: name of the layer whose features are compared; empty for the usual one.
        seed: of the map, the clusters and the images.
        quality: of the WebP files, 1 to 100.
    """

    recipe: Recipe
    preset: str
    k: int = 0
    top: Top = Top()
    code: str = ""
    seed: int = 0
    quality: int = 80


def made_how(plan: FacetPlan, network: Network, layer: str, among: Candidates) -> dict[str, Any]:
    """The record to store with a unit's facets."""
    return {
        "module": network.paths[layer],
        "input": [network.input.height, network.input.width],
        "preset": plan.preset,
        "recipe": as_values(plan.recipe),
        "k": plan.k,
        "photos": [among.images.root.name, len(among.images.names)],
        "top": plan.top.text if among.index else "all",
        "code_asked": plan.code,
        "seed": plan.seed,
        "quality": plan.quality,
        "deepvis": __version__,
    }


def make_facets(
    network: Network, chosen: Sequence[tuple[Layer, Sequence[int]]], plan: FacetPlan, among: Candidates, store: Store
) -> dict[str, int]:
    """Make the facets of the units that are not in the store yet, and store them.

    Units for which they cannot be made (dead, too few photos) are recorded with the reason. The images of several units
    grow in one batch on a GPU. Batches always consist of the same units, and those in which units are missing are made,
    so a resumed run gives the same files as one that was not interrupted.

    Returns:
        {"made", "found", "failed"}: numbers of units.
    Raises:
        UserError: the store cannot be written, or a unit's facets do not fit into memory.
    """
    rank, world = share()
    tasks = [(layer, unit) for layer, units in chosen for unit in units][rank::world]
    how = {layer.name: made_how(plan, network, layer.name, among) for layer, _ in chosen}
    missing = {(layer.name, unit) for layer, unit in tasks if not is_there(store, layer.name, unit, how[layer.name])}
    counts = {"made": 0, "found": len(tasks) - len(missing), "failed": 0}
    least = (network.input.width, network.input.height)
    photos = Photos(replace(among.images, reading=network.input.reading), least=least)
    parts = _parts(network, tasks, plan) if missing else []
    wanted = [part for part in parts if any((part.ground.layer.name, unit) in missing for unit in part.units)]
    with (
        tqdm(total=len(missing), unit="unit", desc="facets", position=rank, smoothing=0.1) as bar,
        ReplicaPool(network, most=len(parts)) as pool,
    ):

        def make(replica: Network, part: _UnitsAtOnce) -> list[FacetMap | str]:
            return _made(replica, among.index, photos, part, plan, pool.stopped)

        for part, made in pool.each(make, wanted, in_order=False):
            layer = part.ground.layer.name
            for unit, one in zip(part.units, made):
                if (layer, unit) not in missing:
                    continue
                counts["failed" if isinstance(one, str) else "made"] += 1
                if isinstance(one, str):
                    name = unit_id(layer, unit)
                    tqdm.write(one if one.startswith(name) else f"{name}: {one}")
                    store.add(layer, unit, _NONE, {**how[layer], "scores": [], "failed": one}, f"{rank}")
                else:
                    keep(store, one, how[layer], f"{rank}", plan.quality)
                bar.set_postfix_str(unit_id(layer, unit))
                bar.update()
    store.finish()
    return counts


_NONE = np.zeros((0, 1, 1, 3), np.uint8)


def is_there(store: Store, layer: str, unit: int, how: dict[str, Any]) -> bool:
    """Whether the store has this unit's facets, made in exactly this way, or knows why there are none."""
    record = store.records.get((layer, unit), {})
    return same(store, layer, unit, how, len(record.get("scores", ())))


@dataclass(frozen=True)
class _UnitsAtOnce:
    """Units of a layer whose images grow in one batch."""

    ground: Ground
    units: Sequence[int]


def _parts(network: Network, tasks: Sequence[tuple[Layer, int]], plan: FacetPlan) -> list[_UnitsAtOnce]:
    """The batches of all units."""
    parts = []
    for layer in dict.fromkeys(layer for layer, _ in tasks):
        ground, units = ground_of(network, layer), [unit for one, unit in tasks if one == layer]
        at_once = max(1, _images_at_once(network, ground) // (plan.k or _USUAL))
        parts += [_UnitsAtOnce(ground, units[first:last]) for first, last in batch_ranges(len(units), at_once)]
    return parts


def _images_at_once(network: Network, ground: Ground) -> int:
    """On a CPU those of one unit, which fill the cores."""
    whole = network.input.height, network.input.width
    return 1 if network.device.type == "cpu" else auto_batch(network.device, ground.place.size, whole)


def _made(
    network: Network, index: Index | None, photos: Photos, part: _UnitsAtOnce, plan: FacetPlan, stopped: threading.Event
) -> list[FacetMap | str]:
    """The finished facets of a part's units, or why a unit has none."""
    code = network.layers[find_layer(plan.code, network.layers)] if plan.code else None
    ground = part.ground

    def go_on(_done: int = 0, _total: int = 0) -> None:
        if stopped.is_set():
            raise CancelledError

    def clusters_of(unit: int) -> Clusters | str:
        try:
            found = top_of(index, ground.layer.name, unit, plan.top.of(len(index.files))) if index else None
            if index is not None:
                demand_there(index, [place[0] for place in found or ()])
            laid_out = points(network, ground, photos, unit, found, code, plan.seed, go_on)
            return Clusters(laid_out, facet_map(laid_out, plan.k, plan.seed))
        except UserError as error:
            return str(error)

    made: list[Clusters | str] = [clusters_of(unit) for unit in part.units]
    grown = iter(_grown(network, ground, [one for one in made if isinstance(one, Clusters)], plan, go_on))
    return [one if isinstance(one, str) else next(grown) for one in made]


def _grown(
    network: Network, ground: Ground, units: Sequence[Clusters], plan: FacetPlan, go_on: Callable[[], None]
) -> list[FacetMap | str]:
    if not units:
        return []
    images = sum(len(one.found.facets) for one in units)
    try:
        ascent = FacetAscent(network, ground, units, plan.recipe, plan.seed)
        for _ in range(plan.recipe.steps):
            go_on()
            ascent.step()
    except UserError:
        raise
    except Exception as error:  # the network's code may raise anything
        if not is_out_of_memory(error):
            raise failed(error, images) from error
        is_single = len(units) == 1
    else:
        return [NO_GRADIENT if dead else made for dead, made in zip(ascent.dead(), ascent.now(final=True))]
    if is_single:
        raise UserError(
            f"layer {ground.layer.name}: out of memory with {images} images at a time: give fewer facets "
            "(-k), a smaller --set margin=…, or --device cpu"
        )
    if network.device.type == "cuda":  # after the handler, which has freed the tensors that the traceback held
        torch.cuda.empty_cache()
    half = len(units) // 2
    return [made for part in (units[:half], units[half:]) for made in _grown(network, ground, part, plan, go_on)]


_USUAL = 4  # facets of a unit to plan for if the silhouette decides
