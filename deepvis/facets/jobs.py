"""Making the facets of many units into a store: resumable, in one or several processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from deepvis import __version__
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, find_layer, unit_id
from deepvis.core.processes import share
from deepvis.facets.excited import Candidates, Top, demand_there
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.facet_store import keep
from deepvis.facets.making import FacetAscent, Ground, facet_map, ground_of, points, top_of
from deepvis.inputs.datasets import Photos
from deepvis.networks.network import Network
from deepvis.networks.replicas import ReplicaPool, failed, is_out_of_memory
from deepvis.scan.index import Index
from deepvis.store.unit_images import Store
from deepvis.synthesis.jobs import same
from deepvis.synthesis.recipe import Recipe, as_values


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

    Units for which they cannot be made (dead, too few photos) are recorded with the reason. A unit's facets depend on
    no other unit, so a resumed run gives the same files as one that was not interrupted.

    Returns:
        {"made", "found", "failed"}: numbers of units.
    Raises:
        UserError: the store cannot be written, or a unit's facets do not fit into memory.
    """
    rank, world = share()
    tasks = [(layer, unit) for layer, units in chosen for unit in units][rank::world]
    how = {layer.name: made_how(plan, network, layer.name, among) for layer, _ in chosen}
    missing = [(layer, unit) for layer, unit in tasks if not _is_there(store, layer.name, unit, how[layer.name])]
    counts = {"made": 0, "found": len(tasks) - len(missing), "failed": 0}
    least = (network.input.width, network.input.height)
    photos = Photos(replace(among.images, reading=network.input.reading), least=least)
    grounds = {layer.name: ground_of(network, layer) for layer in dict.fromkeys(layer for layer, _ in missing)}
    with (
        tqdm(total=len(missing), unit="unit", desc="facets", position=rank, smoothing=0.1) as bar,
        ReplicaPool(network, most=len(tasks)) as pool,
    ):

        def make(replica: Network, task: tuple[Layer, int]) -> FacetMap | str:
            return _made(replica, among.index, photos, grounds[task[0].name], task[1], plan, pool.stopped)

        for (layer, unit), made in pool.each(make, missing, in_order=False):
            bar.set_postfix_str(unit_id(layer.name, unit))
            if isinstance(made, str):
                counts["failed"] += 1
                tqdm.write(f"{unit_id(layer.name, unit)}: {made}")
                store.add(layer.name, unit, _NONE, {**how[layer.name], "scores": [], "failed": made}, f"{rank}")
            else:
                counts["made"] += 1
                keep(store, made, how[layer.name], f"{rank}", plan.quality)
            bar.update()
    store.finish()
    return counts


_NONE = np.zeros((0, 1, 1, 3), np.uint8)


def _is_there(store: Store, layer: str, unit: int, how: dict[str, Any]) -> bool:
    record = store.records.get((layer, unit), {})
    return same(store, layer, unit, how, len(record.get("scores", ())))


def _made(
    network: Network,
    index: Index | None,
    photos: Photos,
    ground: Ground,
    unit: int,
    plan: FacetPlan,
    stopped: threading.Event,
) -> FacetMap | str:
    """A unit's finished facets, or why it has none."""
    code = network.layers[find_layer(plan.code, network.layers)] if plan.code else None

    def go_on(_done: int = 0, _total: int = 0) -> None:
        if stopped.is_set():
            raise CancelledError

    try:
        found = top_of(index, ground.layer.name, unit, plan.top.of(len(index.files))) if index else None
        if index is not None:
            demand_there(index, [place[0] for place in found or ()])
        laid_out = points(network, ground, photos, unit, found, code, plan.seed, go_on)
        clusters = facet_map(laid_out, plan.k, plan.seed)
    except UserError as error:
        return str(error)
    return _grown(network, ground, clusters, plan, go_on)


def _grown(
    network: Network, ground: Ground, clusters: FacetMap, plan: FacetPlan, go_on: Callable[[], None]
) -> FacetMap | str:
    ascent = FacetAscent(network, ground, clusters, plan.recipe, plan.seed)
    try:
        for _ in range(plan.recipe.steps):
            go_on()
            ascent.step()
    except UserError:
        raise
    except Exception as error:  # the network's code may raise anything
        if not is_out_of_memory(error):
            raise failed(error, len(clusters.facets)) from error
        raise UserError(
            f"layer {ground.layer.name}: out of memory with {len(clusters.facets)} images at a time: give fewer facets "
            "(-k), a smaller --set margin=…, or --device cpu"
        ) from error
    if ascent.is_dead:
        return "no gradient reaches the images: it is zero (a dead unit) or not finite"
    return ascent.now(final=True)
