"""Makes precomputed/efficientnet-lite0/facets, the bundled facets, of the bundled photos.

    python docs/build_facets.py [--maps FILE] [--preset facet] [--set NAME=VALUE ...] [--device cuda] [--batch 4]

They are what `deepvis facets -k 4` makes, of 30 classes, those of most of the photos, and of 30 hidden units: for the
layer that the window opens on and for three others, the units that answer most to a photo, those of most photos first.
What is there already is not made again, so the command can be stopped and goes on. Only the images need a GPU:
`--maps FILE` keeps where the photos lie, and with `--maps-only` that is all that is made.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepvis.core import paths
from deepvis.core.layers import find_layer
from deepvis.core.paths import Places
from deepvis.facets.aims import Clusters
from deepvis.facets.excited import Candidates, Top, candidates, index_for
from deepvis.facets.facet_map import FacetMap
from deepvis.facets.facet_store import bundled_facets, keep
from deepvis.facets.growing import FacetAscent
from deepvis.facets.jobs import FacetPlan, is_there, made_how
from deepvis.facets.making import Ground, facet_map, ground_of, points, stored_points, top_of
from deepvis.inputs.datasets import Photos, batch_ranges, find_images
from deepvis.interface.opening import FAINT
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.scan.index import Index
from deepvis.scan.patches import places
from deepvis.store.unit_images import open_store
from deepvis.synthesis.presets import recipe

MODEL, K, CLASSES = "efficientnet-lite0", 4, 30
HIDDEN = {"4c": 12, "3b": 6, "5c": 6, "6d": 6}  # units of each layer
ALWAYS = {"logits": (985, 738), "4c": (79, 7, 20)}  # those that the guides show, and that the window opens on
QUALITY = 75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--maps-only", action="store_true")
    parser.add_argument("--first", type=int, default=1000, help="only so many units of each layer, to try it out")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further batch after so long")
    parser.add_argument("--layers", default="", help="only these")
    parser.add_argument("--preset", default="facet")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=4, help="images at a time")
    parser.add_argument("--data", type=Path, default=paths.data(), help="where the index of the photos is kept")
    args = parser.parse_args()
    network = loading.load(MODEL, args.device)
    if args.maps and args.maps.exists():
        maps = pickle.loads(args.maps.read_bytes())
    else:
        own = Places(args.data / "precomputed", paths.precomputed().bundled)
        index = index_for(network, own, find_images(paths.PHOTOS), Top())
        maps = [_map_of(network, index, layer, unit) for layer, unit in tqdm(chosen(network, index), desc="maps")]
        if args.maps:
            args.maps.write_bytes(pickle.dumps(maps))
    if not args.maps_only:
        _make(network, maps, args)


def chosen(network: Network, index: Index) -> list[tuple[str, int]]:
    """The units: of each layer those that are the strongest ones for most photos."""
    units = []
    for layer, count in {"logits": CLASSES, **HIDDEN}.items():
        span = index.span(layer)
        highest = index.top.value[span.rows, 0]
        scale = np.ones(span.units) if layer == "logits" else np.maximum(highest, FAINT * highest.max())
        best: dict[int, tuple[float, int]] = {}
        for unit in range(span.units):
            for number, _, _, value in places(index, layer, unit):
                best[number] = max(best.get(number, (0.0, 0)), (value / float(scale[unit]), unit))
        wins = Counter(unit for _, unit in best.values())
        ordered = [*ALWAYS.get(layer, ()), *sorted(wins, key=lambda unit: (-wins[unit], unit))]
        units += [(layer, unit) for unit in list(dict.fromkeys(ordered))[:count]]
    return units


def _map_of(network: Network, index: Index, layer: str, unit: int) -> FacetMap:
    ground = ground_of(network, network.layers[find_layer(layer, network.layers)])
    photos = Photos(candidates(index).images, least=(network.input.width, network.input.height))
    laid_out = points(network, ground, photos, unit, top_of(network, index, layer, unit, Top().of(len(index.files))))
    return replace(facet_map(laid_out, 2), facets=())


def _clusters(network: Network, ground: Ground, found: FacetMap) -> Clusters:
    made = stored_points(network, ground, replace(found, root=str(paths.PHOTOS)))
    assert made is not None, "a bundled photo of the maps is missing"
    return Clusters(made, facet_map(made, K))


def _make(network: Network, maps: Sequence[FacetMap], args: argparse.Namespace) -> None:
    one = recipe(args.preset, dict(pair.split("=") for pair in args.set))
    plan = FacetPlan(one, args.preset, K, quality=QUALITY)
    folder = bundled_facets(paths.precomputed(), MODEL)
    store, ends = open_store(folder, network.fingerprint, MODEL), time.monotonic() + args.seconds
    among = Candidates(find_images(paths.PHOTOS))
    for layer in args.layers.split(",") if args.layers else dict.fromkeys(found.layer for found in maps):
        if time.monotonic() > ends:
            break
        ground = ground_of(network, network.layers[find_layer(layer, network.layers)])
        how = {**made_how(plan, network, layer, among), "top": plan.top.text}
        of_layer = [
            found
            for found in [found for found in maps if found.layer == layer][: args.first]
            if not is_there(store, layer, found.unit, how)
        ]
        for first, last in batch_ranges(len(of_layer), max(1, args.batch // K)):
            with ThreadPoolExecutor(8) as pool:
                units = list(pool.map(partial(_clusters, network, ground), of_layer[first:last]))
            ascent = FacetAscent(network, ground, units, one)
            for _ in tqdm(range(one.steps), desc=layer):
                ascent.step()
            for done in ascent.now(final=True):
                keep(store, done, how, "built", QUALITY)
            if time.monotonic() > ends:
                break
    store.finish()
    (folder / ".lock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
