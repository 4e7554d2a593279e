"""Makes the pictures of inversion.md and dream.md from the bundled photos (Čavojská 2015, Figures 7 to 12).

    python docs/build_inversion.py [inversion] [dream]

Decoders that are not stored yet are learned, which takes some minutes. The pictures are small JPEGs in docs/inversion.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from deepvis.core import paths, runtime
from deepvis.core.geometry import fit
from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.render.figures import labelled
from deepvis.synthesis import decoder as decoders
from deepvis.synthesis import dream as dreams
from deepvis.synthesis import inversion
from deepvis.synthesis.presets import PRESETS

FOLDER = Path(__file__).parent / "inversion"
PHOTO = "animal-antelope-blackbuck.jpg"
SKY = "scene-nature-sunset-clouds.jpg"
GUIDE = "scene-animal-meerkats.jpg"
LAYERS = ("1a", "2b", "3b", "4c", "5c", "6d", "7a")
STEPS = 60


def photo(name: str, width: int, height: int) -> np.ndarray:
    return np.ascontiguousarray(fit(read_image(paths.PHOTOS / name), width, height, crop=True))


def saved(name: str, picture: np.ndarray) -> None:
    """Write a picture (BGR) as a JPEG of moderate quality."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())
    print(f"saved {FOLDER / name}.jpg", flush=True)


def decoders_of(network: Network, layers: tuple[str, ...]) -> dict[str, decoders.Decoder]:
    root = paths.precomputed().own
    found = {layer: made for layer in layers if (made := decoders.stored_decoder(network, layer, root)) is not None}
    missing = [layer for layer in layers if layer not in found]
    if missing:
        for layer, made in decoders.learn(network, missing, decoders.photos_for(network)).items():
            decoders.keep_decoder(network, made, root)
            found[layer] = made
    return found


def invert(network: Network) -> None:
    """Figure 12: each layer's reconstruction, in closed form and by ascent. Figure 11: five of one code."""
    seen = photo(PHOTO, network.input.width, network.input.height)
    known = decoders_of(network, LAYERS)
    rows, titles = [[seen], [seen]], [["the photo"], ["the photo"]]
    for layer in LAYERS:
        code = inversion.Code(network, layer, seen)
        closed = code.judged(code.decoded(known[layer]))
        found = inversion.Inversion(code, replace(PRESETS["invert"], steps=STEPS), start=closed.picture)
        for _ in range(STEPS):
            found.step()
        for row, words, one in zip(rows, titles, (closed, *found.results())):
            row.append(one.picture)
            words.append(f"{layer}  {one.psnr:.1f} dB, error {one.error:.2f}")
    saved("layers", labelled([np.stack(row) for row in rows], titles))
    code = inversion.Code(network, "5c", seen)
    several = inversion.Inversion(code, replace(PRESETS["invert"], steps=2 * STEPS), seeds=range(3))
    for _ in range(2 * STEPS):
        several.step()
    pictures = several.pictures()
    errors, _ = code.exact_errors(pictures)
    names = ["the photo", *(f"5c, from noise, error {error:.3f}" for error in errors)]
    saved("times", labelled([np.stack([seen, *pictures])], [names]))


def dream(network: Network) -> None:
    """Figures 7 and 8: low and high layers in a photo. Figure 10: an endless zoom from noise. And a guided dream."""
    ground = photo(SKY, 448, 320)
    row, names = [ground], ["the photo"]
    for layer in ("2b", "4c", "5c"):
        *_, last = dreams.dream(dreams.Dreamer(network, layer), ground)
        row.append(dreams.as_bytes(last.picture))
        names.append(f"dream of {layer}")
    saved("dream", labelled([np.stack(row[:2]), np.stack(row[2:])], [names[:2], names[2:]]))
    noise = np.random.default_rng(0).integers(90, 166, (224, 320, 3)).astype(np.float32)
    frames = list(islice(dreams.endless(dreams.Dreamer(network, "4c"), noise), 25))
    kept = [dreams.as_bytes(frames[i].picture) for i in (0, 8, 24)]
    saved("zoom", labelled([np.stack(kept)], [["frame 1 of a zoom from noise", "frame 9", "frame 25"]]))
    dreamer = dreams.Dreamer(network, "4c")
    guide = photo(GUIDE, 320, 224)
    dreamer.pull = dreams.of_guide(dreamer.activations(guide.astype(np.float32)))
    small = photo(SKY, 320, 224)
    *_, last = dreams.dream(dreamer, small, dreams.DreamPlan(octaves=3))
    pictures = np.stack([small, guide, dreams.as_bytes(last.picture)])
    saved("guided", labelled([pictures], [["the photo", "the guide", "guided dream of 4c"]]))


if __name__ == "__main__":
    runtime.tune()
    wanted = sys.argv[1:] or ["inversion", "dream"]
    net = loading.load("efficientnet-lite0", "auto")
    if "inversion" in wanted:
        invert(net)
    if "dream" in wanted:
        dream(net)
