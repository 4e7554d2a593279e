"""Do preferred images show what a network has learned, and not what makes them look good?

    python docs/controls/controls.py --out controls.jpg

The controls of Nguyen et al. 2016 (supplement, Figs S9, S19 to S21) in small: networks of three convolutions are
trained on a CPU in seconds to tell eight classes of drawn pictures apart (four shapes in two colours each). One sees
the pictures as they are, one their colours in another order (BRG), one blurred ones, one cut-up ones, one too few
pictures for too long. The images that their class units prefer are made by the same recipe, and measured:

    own colours    share of classes whose image is nearer to the mean colour of its own training pictures of the class
                   than to that of the same class in the other order
    fine detail    share of the images' energy in frequencies above a quarter of the pixels
    judged         how often another network, trained on pictures as they are, names the class
    judged, cut    the same for a judge that was trained on cut-up pictures
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.presets import recipe

SIDE = 32
COLORS = {"red": (220, 40, 40), "green": (40, 190, 60)}  # green in BRG is blue, red is green
SHAPES = ("disc", "square", "triangle", "cross")
CLASSES = tuple(f"{color} {shape}" for shape in SHAPES for color in COLORS)
SPEC = InputSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
BRG = [2, 0, 1]
RECIPE = {"margin": 4, "jitter": 28, "rotate": 10, "total_variation": 0.01}  # for an input of 224 pixels
FEW, MANY = 24, 640


# ---- pictures ------------------------------------------------------------------------------------


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 N×SIDE×SIDE×3 RGB and their classes: a shape of one colour on a rough gray ground."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    return np.stack([_picture(rng, CLASSES[label]) for label in labels]), labels


def _picture(rng: np.random.Generator, name: str) -> np.ndarray:
    color, shape = name.split()
    ground = cv2.resize(rng.integers(60, 200, (8, 8, 1), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(ground[..., None], 3, 2).astype(np.float32)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    size, (x, y) = int(rng.integers(8, 12)), rng.integers(12, SIDE - 12, 2).tolist()
    if shape == "disc":
        cv2.circle(mask, (x, y), size, 255, -1)
    elif shape == "square":
        cv2.rectangle(mask, (x - size, y - size), (x + size, y + size), 255, -1)
    elif shape == "triangle":
        cv2.fillPoly(mask, [np.array([(x, y - size), (x - size, y + size), (x + size, y + size)])], 255)
    else:
        cv2.line(mask, (x - size, y), (x + size, y), 255, 5)
        cv2.line(mask, (x, y - size), (x, y + size), 255, 5)
    shaded = np.array(COLORS[color], np.float32) * rng.uniform(0.8, 1.1)
    picture[mask > 0] = shaded + rng.normal(0, 25, ((mask > 0).sum(), 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def as_they_are(pictures: np.ndarray) -> np.ndarray:
    return pictures


def brg(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures[..., BRG])


def blurred(pictures: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(picture, (0, 0), 2.0) for picture in pictures])


def cut_up(pictures: np.ndarray, blocks: int = 4) -> np.ndarray:
    """The blocks of each picture in another order."""
    rng, step = np.random.default_rng(0), SIDE // blocks
    made = np.empty_like(pictures)
    for picture, out in zip(pictures, made):
        for place, other in enumerate(rng.permutation(blocks * blocks)):
            (r, c), (i, j) = divmod(place, blocks), divmod(int(other), blocks)
            out[r * step : (r + 1) * step, c * step : (c + 1) * step] = picture[
                i * step : (i + 1) * step, j * step : (j + 1) * step
            ]
    return made


# ---- networks ------------------------------------------------------------------------------------


class ControlNet(nn.Module):
    """Three convolutions, the mean over the map, and a layer of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(inputs, outputs, 5, stride=2, padding=2) for inputs, outputs in ((3, 16), (16, 32), (32, 48))
        )
        self.fc = nn.Linear(48, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


def inputs(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([SPEC.normalised(picture) for picture in pictures])).permute(0, 3, 1, 2)


def trained(pictures: np.ndarray, labels: np.ndarray, steps: int, seed: int, rate: float = 0.004) -> Network:
    """A network that was trained on the pictures with Adam, 32 in a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, x, y = ControlNet(), inputs(pictures), torch.from_numpy(labels)
        means = [torch.zeros_like(p) for p in net.parameters()]
        squares = [torch.zeros_like(p) for p in net.parameters()]
        for step in range(1, steps + 1):
            chosen = torch.randperm(len(x))[:32]
            loss = F.cross_entropy(net(x[chosen]), y[chosen])
            grads = torch.autograd.grad(loss, list(net.parameters()))
            with torch.no_grad():
                for p, g, mean, square in zip(net.parameters(), grads, means, squares):
                    mean.lerp_(g, 0.1)
                    square.lerp_(g.square(), 0.01)
                    size = (square / (1 - 0.99**step)).sqrt() + 1e-8
                    p -= rate * min(1, 2 - 2 * step / steps) * mean / (1 - 0.9**step) / size
    return prepare("control", net, SPEC, {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "fc": "fc"}, CLASSES)


def accuracy(network: Network, pictures: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        return float((network.module(inputs(pictures)).argmax(1).numpy() == labels).mean())


def preferred(network: Network, images: int = 2, steps: int = 96) -> np.ndarray:
    """Images that the class units prefer: uint8 classes×images×SIDE×SIDE×3."""
    units = [unit for unit in range(len(CLASSES)) for _ in range(images)]
    one = recipe("modern", {**RECIPE, "steps": steps})
    aim = objectives.unit("fc", units) + 3 * objectives.log_probability("fc", units)
    ascent = Ascent(network, aim, [one] * len(units), range(len(units)))
    for _ in range(one.steps):
        ascent.step()
    return ascent.images().reshape(len(CLASSES), images, SIDE, SIDE, 3)


# ---- measures ------------------------------------------------------------------------------------


def class_colors(pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean colour of each class relative to the mean over classes, at length 1: classes×3."""
    means = np.stack([pictures[labels == label].reshape(-1, 3).mean(0) for label in range(len(CLASSES))])
    return _directions(means)


def _directions(means: np.ndarray) -> np.ndarray:
    relative = means - means.mean(1, keepdims=True)  # without brightness
    relative = relative - relative.mean(0)
    return relative / np.linalg.norm(relative, axis=1, keepdims=True).clip(1e-9)


def own_colors(images: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    """The share of classes whose image is nearer to its own training colours than to the other ones."""
    found = _directions(images.reshape(len(CLASSES), -1, 3).astype(np.float64).mean(1))
    return float(((found * own).sum(1) > (found * other).sum(1)).mean())


def fine_detail(images: np.ndarray) -> float:
    """The share of energy at more than a quarter period per pixel."""
    gray = images.reshape(-1, SIDE, SIDE, 3).astype(np.float64).mean(3)
    power = np.abs(np.fft.fft2(gray - gray.mean((1, 2), keepdims=True))) ** 2
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    return float(power[:, frequency > 0.25].sum() / power.sum())


def judged(judge: Network, images: np.ndarray) -> float:
    labels = np.repeat(np.arange(len(CLASSES)), images.shape[1])
    return accuracy(judge, images.reshape(-1, SIDE, SIDE, 3), labels)


# ---- the controls --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """What a network is trained on.

    Attributes:
        change: what is done to the pictures.
        count: how many there are.
        steps: of training.
    """

    change: Callable[[np.ndarray], np.ndarray]
    count: int = MANY
    steps: int = 300


CONTROLS = {
    "as they are": Training(as_they_are),
    "BRG": Training(brg),
    "blurred": Training(blurred),
    "cut up": Training(cut_up),
    "too few, too long": Training(as_they_are, FEW, 600),
}


def network_of(training: Training, seed: int = 0) -> Network:
    pictures, labels = drawn(training.count, 100 + seed)
    return trained(training.change(pictures), labels, training.steps, seed)


def measured(name: str, judge: Network, cut_judge: Network) -> tuple[str, np.ndarray]:
    """A row of the table, and the images."""
    training = CONTROLS[name]
    network = network_of(training)
    pictures, labels = drawn(MANY, 999)
    images = preferred(network)
    plain, turned = class_colors(pictures, labels), class_colors(brg(pictures), labels)
    own, other = (turned, plain) if training.change is brg else (plain, turned)
    right = accuracy(network, training.change(pictures), labels)
    words = f"{right:.0%} | {own_colors(images, own, other):.0%} | {fine_detail(images):.3f}"
    return f"| {name} | {words} | {judged(judge, images):.0%} | {judged(cut_judge, images):.0%} |", images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("controls.jpg"))
    args = parser.parse_args()
    judge, cut_judge = network_of(Training(as_they_are), 1), network_of(Training(cut_up), 1)
    print("| trained on pictures | accuracy | own colours | fine detail | judged | judged, cut |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name, training in CONTROLS.items():
        line, images = measured(name, judge, cut_judge)
        print(line, flush=True)
        examples = training.change(drawn(len(CLASSES), 5)[0])
        for row in (list(examples), list(images[:, 0])):
            tiles = [cv2.resize(tile, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for tile in row]
            rows.append(np.hstack([cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT) for tile in tiles]))
    cv2.imwrite(str(args.out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
