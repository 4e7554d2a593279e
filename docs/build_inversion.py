"""Makes the pictures of inversion.md and dream.md from the bundled photos (Čavojská 2015, Figures 7 to 12).

    python docs/build_inversion.py [layers] [times] [dream] [close] [zoom] [guided] [--device cuda] [--steps 400]

The decoders are learned from the other photos, for they would know the rebuilt one by heart. The whole takes half an
hour of two cores, or two minutes of a GPU. The pictures are small JPEGs in docs/inversion.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from deepvis.core import paths, runtime
from deepvis.core.geometry import fit
from deepvis.inputs.datasets import find_images
from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.render.figures import labelled
from deepvis.synthesis import decoder as decoders
from deepvis.synthesis import dream as dreams
from deepvis.synthesis import inversion, moving_dreams
from deepvis.synthesis.presets import PRESETS

PHOTO = "animal-antelope-blackbuck.jpg"
SKY = "scene-nature-sunset-clouds.jpg"
GUIDE = "scene-animal-meerkats.jpg"
LAYERS = ("1a", "2b", "3b", "4c", "5c", "6d", "7a", "logits")
DEEP = ("5c", "7a", "logits")
TIMES = 5


@dataclass(frozen=True)
class Making:
    """What the pictures are made with, and where to."""

    network: Network
    steps: int
    frames: int
    folder: Path

    def save(self, name: str, rows: Sequence[np.ndarray], titles: Sequence[Sequence[str]]) -> None:
        """Write rows of pictures (RGB) as a JPEG of moderate quality."""
        self.folder.mkdir(exist_ok=True, parents=True)
        coded = cv2.imencode(".jpg", labelled(rows, titles), [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
        (self.folder / f"{name}.jpg").write_bytes(coded.tobytes())
        print(f"saved {self.folder / name}.jpg", flush=True)

    def seen(self) -> np.ndarray:
        """The photo that is rebuilt."""
        return photo(PHOTO, self.network.input.width, self.network.input.height)


def photo(name: str, width: int, height: int) -> np.ndarray:
    return np.ascontiguousarray(fit(read_image(paths.PHOTOS / name), width, height, crop=True))


def layers(making: Making) -> None:
    """Figure 12: each layer's reconstruction, in closed form and by ascent."""
    network, seen = making.network, making.seen()
    images = find_images(paths.PHOTOS).without_arrays()
    others = replace(images, names=tuple(name for name in images.names if name != PHOTO))
    known = decoders.learn(network, LAYERS, others)
    firsts = ["the photo; closed form", f"the photo; after {making.steps} steps"]
    rows, titles = [[seen], [seen]], [[first] for first in firsts]
    for layer in LAYERS:
        code = inversion.Code(network, layer, seen)
        closed = code.judged(code.decoded(known[layer]))
        found = inversion.Inversion([code], replace(PRESETS["invert"], steps=making.steps), starts=[closed.picture])
        for _ in range(making.steps):
            found.step()
        for row, words, one in zip(rows, titles, (closed, *found.results())):
            row.append(one.picture)
            words.append(f"{layer}  {one.psnr:.1f} dB, error {one.error:.2g}")
    half = (len(LAYERS) + 1) // 2 + 1
    parts = [row[:half] for row in rows] + [[seen, *row[half:]] for row in rows]
    words = [title[:half] for title in titles] + [[title[0], *title[half:]] for title in titles]
    blank = [[np.zeros_like(seen)] * (half - len(part)) for part in parts]
    making.save("layers", [np.stack(a + b) for a, b in zip(parts, blank)], words)


def times(making: Making) -> None:
    """Figures 11 and 12: several pictures of one code, from noise."""
    seen, rows, titles = making.seen(), [], []
    for layer in DEEP:
        code = inversion.Code(making.network, layer, seen)
        several = inversion.Inversion([code] * TIMES, replace(PRESETS["invert"], steps=making.steps))
        for _ in range(making.steps):
            several.step()
        found = several.results()
        apart = inversion.differences([one.picture for one in found])
        rows.append(np.stack([seen, *(one.picture for one in found)]))
        errors = [f"code error {one.error:.4f}" for one in found]
        titles.append([f"{layer}: {apart:.0f} of 255 apart", *errors])
    making.save("times", rows, titles)


def dream(making: Making) -> None:
    """Figures 7 and 8: low and high layers in a photo."""
    ground = photo(SKY, 448, 320)
    row, names = [ground], ["the photo"]
    for layer in ("2b", "4c", "5c"):
        *_, last = dreams.dream(dreams.Dreamer(making.network, layer), ground)
        row.append(dreams.as_bytes(last.picture))
        names.append(f"dream of {layer}")
    making.save("dream", [np.stack(row[:2]), np.stack(row[2:])], [names[:2], names[2:]])


def close(making: Making) -> None:
    """Figure 9: close-ups of a dream."""
    ground = photo(SKY, 1100, 622)
    *_, last = dreams.dream(dreams.Dreamer(making.network, "5c"), ground)
    dreamed = dreams.as_bytes(last.picture)
    gray = cv2.GaussianBlur(np.abs(dreamed.astype(np.float32) - ground).mean(2), (0, 0), 30)
    parts, names = [], []
    for i in range(4):  # where it changed most, each place once
        _, _, _, (x, y) = cv2.minMaxLoc(gray)
        left, top = min(max(0, x - 110), 1100 - 220), min(max(0, y - 80), 622 - 160)
        gray[max(0, y - 160) : y + 160, max(0, x - 220) : x + 220] = -1
        parts.append(dreamed[top : top + 160, left : left + 220])
        names.append(f"close-up {i + 1} of a dream of 5c")
    making.save("close", [np.stack(parts)], [names])


def zoom(making: Making) -> None:
    """Figure 10: an endless zoom from noise."""
    noise = np.random.default_rng(0).integers(90, 166, (224, 320, 3)).astype(np.float32)
    frames = list(islice(moving_dreams.endless(dreams.Dreamer(making.network, "4c"), noise), making.frames))
    at = [0, making.frames // 3, making.frames - 1]
    kept = np.stack([dreams.as_bytes(frames[i].picture) for i in at])
    making.save("zoom", [kept], [[f"frame {i + 1} of a zoom from noise" if not i else f"frame {i + 1}" for i in at]])


def guided(making: Making) -> None:
    """Dreams of one photo, as it likes and guided by another one."""
    small, guide = photo(SKY, 448, 320), photo(GUIDE, 448, 320)
    dreamer, row = dreams.Dreamer(making.network, "5c"), [small]
    for pull in (dreams.of_layer, dreams.of_guide(dreamer.activations(guide.astype(np.float32)))):
        dreamer.pull = pull
        *_, last = dreams.dream(dreamer, small)
        row.append(dreams.as_bytes(last.picture))
    names = [["the photo", "dream of 5c"], ["the guide", "guided dream of 5c"]]
    making.save("guided", [np.stack(row[:2]), np.stack([guide, row[2]])], names)


FIGURES: dict[str, Callable[[Making], None]] = {
    "layers": layers, "times": times, "dream": dream, "close": close, "zoom": zoom, "guided": guided
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], default=[])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=200, help="of ascent")
    parser.add_argument("--frames", type=int, default=60, help="of the zoom")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "inversion")
    args = parser.parse_args()
    making = Making(loading.load("efficientnet-lite0", args.device), args.steps, args.frames, args.out)
    for name in args.figures or FIGURES:
        FIGURES[name](making)


if __name__ == "__main__":
    runtime.tune()
    main()
