"""Making the facets of many units into a store: resumable, in one or several processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from deepvis import __version__
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer, find_layer, unit_id
from deepvis.core.processes import share
from deepvis.facets.aims import Clusters
from deepvis.facets.excited import Candidates, NotThere, Top, demand_there
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.facet_store import keep
from deepvis.facets.growing import FacetAscent
from deepvis.facets.making import Ground, facet_map, ground_of, points, top_of
from deepvis.inputs.datasets import Photos, batch_ranges
from deepvis.networks.network import Network
from deepvis.networks.replicas import ReplicaPool, failed, is_out_of_memory
from deepvis.scan.index import Index
from deepvis.store.own_images import has_images
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


@dataclass
class FacetCounts:
    """What a run did: numbers of units, and for each reason why some have no facets the names of these.

    Attributes:
        failed: {reason: units}; those of an earlier run too. A unit's name in a reason is "UNIT".
    """

    made: int = 0
    found: int = 0
    failed: dict[str, list[str]] = field(default_factory=dict)

    def fail(self, layer: str, unit: int, why: str) -> None:
        name = unit_id(layer, unit)
        self.failed.setdefault(why.replace(f"--units {name} ", "--units UNIT "), []).append(name)

    @property
    def failures(self) -> str:
        """A line for each reason, each begun by a new line; empty if no unit failed."""
        return "".join(
            f"\n{len(names)} {'unit' if len(names) == 1 else 'units'} failed ({', '.join(names[:_NAMED])}"
            f"{', …' if len(names) > _NAMED else ''}): {why}"
            for why, names in self.failed.items()
        )


@dataclass(frozen=True)
class _Failed:
    """Why a unit has no facets, and whether it stays so for these photos."""

    why: str
    stays: bool = True


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
) -> FacetCounts:
    """Make the facets of the units that are not in the store yet, and store them.

    Units for which they cannot be made (dead, too few photos) are recorded with the reason, and not tried again in the
    same way; but missing photos may come back, and facets that the store has of the unit, made in another way, stay.
    The images of several units grow in one batch on a GPU. Batches always consist of the same units, and those in which
    units are missing are made, so a resumed run gives the same files as one that was not interrupted.

    Raises:
        UserError: the store cannot be written, or a unit's facets do not fit into memory.
    """
    rank, world = share()
    tasks = [(layer, unit) for layer, units in chosen for unit in units][rank::world]
    how = {layer.name: made_how(plan, network, layer.name, among) for layer, _ in chosen}
    missing = {(layer.name, unit) for layer, unit in tasks if not is_there(store, layer.name, unit, how[layer.name])}
    counts = FacetCounts()
    for layer, unit in tasks:
        if (layer.name, unit) not in missing:
            _count_there(counts, store, layer.name, unit)
    least = (network.input.width, network.input.height)
    photos = Photos(replace(among.images, reading=network.input.reading), least=least)
    parts = _parts(network, tasks, plan) if missing else []
    wanted = [part for part in parts if any((part.ground.layer.name, unit) in missing for unit in part.units)]
    with (
        tqdm(total=len(missing), unit="unit", desc="facets", position=rank, smoothing=0.1, disable=not missing) as bar,
        ReplicaPool(network, most=len(parts)) as pool,
    ):

        def make(replica: Network, part: _UnitsAtOnce) -> list[FacetMap | _Failed]:
            return _made(replica, among.index, photos, part, plan, pool.stopped)

        for part, made in pool.each(make, wanted, in_order=False):
            name = part.ground.layer.name
            for unit, one in zip(part.units, made):
                if (name, unit) not in missing:
                    continue
                if isinstance(one, FacetMap):
                    keep(store, one, how[name], f"{rank}", plan.quality)
                    counts.made += 1
                else:
                    counts.fail(name, unit, one.why)
                    if one.stays and not has_images(store, name, unit):
                        store.add(name, unit, _NONE, {**how[name], "scores": [], "failed": one.why}, f"{rank}")
                bar.set_postfix_str(unit_id(name, unit))
                bar.update()
    store.finish()
    order = [unit_id(layer.name, unit) for layer, unit in tasks]
    for names in counts.failed.values():
        names.sort(key=order.index)  # whichever batch was ready first
    return counts


_NONE = np.zeros((0, 1, 1, 3), np.uint8)


def _count_there(counts: FacetCounts, store: Store, layer: str, unit: int) -> None:
    """Count a unit of an earlier run."""
    why = store.records[layer, unit].get("failed")
    if why is None:
        counts.found += 1
    else:
        counts.fail(layer, unit, str(why))


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
) -> list[FacetMap | _Failed]:
    """The finished facets of a part's units, or why a unit has none."""
    code = network.layers[find_layer(plan.code, network.layers)] if plan.code else None
    ground = part.ground

    def go_on(_done: int = 0, _total: int = 0) -> None:
        if stopped.is_set():
            raise CancelledError

    def clusters_of(unit: int) -> Clusters | _Failed:
        try:
            found = None
            if index is not None:
                found = top_of(network, index, ground.layer.name, unit, plan.top.of(len(index.files)))
                demand_there(network, index, [place[0] for place in found])
            laid_out = points(network, ground, photos, unit, found, code, plan.seed, go_on)
            return Clusters(laid_out, facet_map(laid_out, plan.k, plan.seed))
        except UserError as error:
            return _Failed(str(error), not isinstance(error, NotThere))

    made: list[Clusters | _Failed] = [clusters_of(unit) for unit in part.units]
    grown = iter(_grown(network, ground, [one for one in made if isinstance(one, Clusters)], plan, go_on))
    return [one if isinstance(one, _Failed) else next(grown) for one in made]


def _grown(
    network: Network, ground: Ground, units: Sequence[Clusters], plan: FacetPlan, go_on: Callable[[], None]
) -> list[FacetMap | _Failed]:
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
        return [_Failed(NO_GRADIENT) if dead else made for dead, made in zip(ascent.dead(), ascent.now(final=True))]
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
_NAMED = 3  # units that failed for one reason and are named
