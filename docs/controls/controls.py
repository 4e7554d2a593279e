"""Do preferred images show what a network has learned, and not what makes them look good?

    python docs/controls/controls.py --out controls.jpg

The controls of Nguyen et al. 2016 (supplement, Figs S7 to S9, S19 to S21) in small: networks of three convolutions
are trained on a CPU in seconds to tell eight classes of drawn pictures apart (four shapes in two colours each). Some
see the pictures as they are, some their colours in another order (BRG), some blurred ones, some cut-up ones, some too
few pictures for too long; of each kind there are several, from other random numbers. The images that their class units
prefer are made by the same recipe, and measured:

    own colours    share of classes whose image is nearer to the mean colour of its own training pictures of the class
                   than to that of the same class in the other order
    fine detail    share of an image's energy in periods of less than eight pixels
    fine filters   the same of the first layer's filters, which are the images that its units prefer
    judged         how often another network, trained on pictures as they are, names the class
    judged, cut    the same for a judge that was trained on cut-up pictures

Then canonical against other classes: of four shapes two are always drawn in the same pose and colour, two in any pose,
size, colour and of two kinds (filled or not). Other networks see it the other way round, so that each shape is compared
with itself. In the features of one more network, which has seen all shapes in all ways:

    apart          distance between images of the same class from different seeds
    to the mean    distance of an image from the mean of the class's training pictures
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
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
DECAY = 1.0  # of the weights, times the rate, in each step: what no picture asks for goes
NETWORKS, IMAGES = 4, 3  # networks of each kind, and images of each of their classes

KINDS = ("triangle", "cross", "moon", "arrow")
INKS = ((220, 40, 40), (40, 190, 60), (60, 90, 230), (230, 200, 50), (200, 70, 200), (60, 200, 210))
ROLES = ((0, 1), (2, 3))  # which kinds are canonical, in turn


# ---- pictures ------------------------------------------------------------------------------------


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 N×SIDE×SIDE×3 RGB and their classes: a shape of one colour on a rough gray ground."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    return np.stack([_picture(rng, CLASSES[label]) for label in labels]), labels


def _picture(rng: np.random.Generator, name: str) -> np.ndarray:
    color, shape = name.split()
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
    return _inked(rng, mask, COLORS[color])


def _inked(rng: np.random.Generator, mask: np.ndarray, ink: Sequence[int]) -> np.ndarray:
    """A shape of one colour on a rough gray ground."""
    ground = cv2.resize(rng.integers(60, 200, (8, 8, 1), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(ground[..., None], 3, 2).astype(np.float32)
    shaded = np.array(ink, np.float32) * rng.uniform(0.8, 1.1)
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


def posed(count: int, seed: int, canonical: Collection[int]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of the shapes KINDS and their labels; the canonical ones always in the same pose and colour."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(KINDS)
    return np.stack([_posed(rng, label, label in canonical) for label in labels.tolist()]), labels


def _posed(rng: np.random.Generator, label: int, is_canonical: bool) -> np.ndarray:
    angle, size, place, ink, is_filled = 0.0, 10.0, np.full(2, SIDE / 2), INKS[label], True
    if not is_canonical:
        angle, size, place = rng.uniform(0, 2 * np.pi), rng.uniform(7, 12), rng.uniform(11, SIDE - 11, 2)
        ink, is_filled = INKS[rng.integers(len(INKS))], rng.random() < 0.6
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.round((_outline(KINDS[label]) @ turn * size + place) * 16).astype(np.int32)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if is_filled:
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, 4)
    else:
        cv2.polylines(mask, [corners], True, 255, 3, cv2.LINE_8, 4)
    return _inked(rng, mask, ink)


def _outline(kind: str) -> np.ndarray:
    """Corners from -1 to 1, N×2."""
    if kind == "triangle":
        return np.array([(-1, 0.9), (1, 0.9), (0, -1)])
    if kind == "cross":
        arm = np.array([(-0.3, -1), (0.3, -1), (0.3, -0.3)])
        return np.concatenate([arm @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])
    if kind == "moon":
        bow = np.linspace(-np.pi / 2, np.pi / 2, 12)
        outer, inner = (np.stack([width * np.cos(bow), np.sin(bow)], 1) for width in (1.0, 0.35))
        return np.concatenate([outer, inner[::-1]])
    return np.array([(-0.28, 1), (0.28, 1), (0.28, -0.1), (0.9, -0.1), (0, -1), (-0.9, -0.1), (-0.28, -0.1)])


# ---- networks ------------------------------------------------------------------------------------


class ControlNet(nn.Module):
    """Three convolutions, the mean over the map (or the map with its places), and a layer of classes."""

    def __init__(self, classes: int, has_places: bool = False) -> None:
        super().__init__()
        self.has_places = has_places
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(inputs, outputs, 5, stride=2, padding=2) for inputs, outputs in ((3, 16), (16, 32), (32, 48))
        )
        self.fc = nn.Linear(48 * (16 if has_places else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.fc(x.flatten(1) if self.has_places else x.mean((2, 3)))

    def features(self, x: Tensor) -> Tensor:
        """The last convolution's map, N×48×4×4."""
        return F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))


def inputs(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([SPEC.normalised(picture) for picture in pictures])).permute(0, 3, 1, 2)


def trained(
    pictures: np.ndarray,
    labels: np.ndarray,
    steps: int,
    seed: int,
    classes: Sequence[str] = CLASSES,
    has_places: bool = False,
    rate: float = 0.004,
) -> Network:
    """A network that was trained on the pictures with Adam and weight decay, 32 in a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, x, y = ControlNet(len(classes), has_places), inputs(pictures), torch.from_numpy(labels)
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
                    pace = rate * min(1, 2 - 2 * step / steps)
                    p.mul_(1 - pace * DECAY).sub_(pace * mean / (1 - 0.9**step) / size)
    layers = {name: name for name in ("conv1", "conv2", "conv3", "fc")}
    return prepare("control", net, SPEC, layers, tuple(classes))


def accuracy(network: Network, pictures: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        return float((network.module(inputs(pictures)).argmax(1).numpy() == labels).mean())


def preferred(network: Network, images: int = 2, steps: int = 96) -> np.ndarray:
    """Images that the class units prefer: uint8 classes×images×SIDE×SIDE×3."""
    classes = len(network.classes)
    units = [unit for unit in range(classes) for _ in range(images)]
    one = recipe("modern", {**RECIPE, "steps": steps})
    aim = objectives.unit("fc", units) + 3 * objectives.log_probability("fc", units)
    ascent = Ascent(network, aim, [one] * len(units), range(len(units)))
    for _ in range(one.steps):
        ascent.step()
    return ascent.images().reshape(classes, images, SIDE, SIDE, 3)


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
    """The share of an image's energy in periods of less than eight pixels, the mean over images."""
    gray = images.reshape(-1, SIDE, SIDE, 3).astype(np.float64).mean(3)
    power = np.abs(np.fft.fft2(gray - gray.mean((1, 2), keepdims=True))) ** 2
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    return float((power[:, frequency > 1 / 8].sum(1) / power.sum((1, 2))).mean())


def fine_filters(network: Network) -> float:
    """The share of energy in periods of less than eight pixels of the first layer's filters, but for idle ones."""
    filters = network.module.conv1.weight.detach().double().numpy()
    energy = (filters**2).sum((1, 2, 3))
    power = (np.abs(np.fft.fft2(filters[energy > 0.1 * energy.max()], s=(SIDE, SIDE))) ** 2).sum(1)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    return float((power[:, frequency > 1 / 8].sum(1) / power.sum((1, 2))).mean())


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


def measured(name: str, seed: int, judge: Network, cut_judge: Network) -> tuple[tuple[float, ...], np.ndarray]:
    """A network's numbers, in the order of the table's columns, and the images of its class units."""
    training = CONTROLS[name]
    network = network_of(training, seed)
    pictures, labels = drawn(MANY, 999)
    images = preferred(network, IMAGES)
    plain, turned = class_colors(pictures, labels), class_colors(brg(pictures), labels)
    own, other = (turned, plain) if training.change is brg else (plain, turned)
    right = accuracy(network, training.change(pictures), labels)
    detail = fine_detail(images), fine_filters(network)
    named = judged(judge, images), judged(cut_judge, images)
    return (right, own_colors(images, own, other), *detail, *named), images


def with_error(values: Sequence[float], form: str) -> str:
    """The mean over networks with its standard error."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{format(np.mean(values), form)} ± {format(error, form).rstrip('%')}"


def control_rows(out: Path) -> None:
    """Print the table of the controls, and draw training pictures and images of the first networks."""
    judge, cut_judge = network_of(Training(as_they_are), 11), network_of(Training(cut_up), 11)
    print(f"{NETWORKS} networks each, {IMAGES} images of each of their {len(CLASSES)} classes; ± standard error\n")
    print("| trained on pictures | accuracy | own colours | fine detail | fine filters | judged | judged, cut |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name, training in CONTROLS.items():
        found = [measured(name, seed, judge, cut_judge) for seed in range(NETWORKS)]
        columns = zip(zip(*(numbers for numbers, _ in found)), (".0%", ".0%", ".3f", ".3f", ".0%", ".0%"))
        print(f"| {name} | " + " | ".join(with_error(values, form) for values, form in columns) + " |", flush=True)
        rows += [_row(training.change(drawn(len(CLASSES), 5)[0])), _row(found[0][1][:, 0])]
    cv2.imwrite(str(out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def _row(pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    tiles = [cv2.resize(tile, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for tile in pictures]
    return np.hstack([cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT) for tile in tiles])


# ---- canonical classes ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassImages:
    """Images of a class unit, seen by another network.

    Attributes:
        kind: position in KINDS.
        is_canonical: the network has seen this class in one pose and colour only.
        apart: distances between images of different seeds.
        to_mean: distances of the images from the mean training picture.
        images: the images.
        examples: some training pictures.
    """

    kind: int
    is_canonical: bool
    apart: np.ndarray
    to_mean: np.ndarray
    images: np.ndarray
    examples: np.ndarray


def codes(judge: Network, pictures: np.ndarray) -> np.ndarray:
    """The last convolution's map of pictures as that network sees them, N×values."""
    with torch.no_grad():
        found: np.ndarray = judge.module.features(inputs(pictures)).flatten(1).double().numpy()
    return found


def canonical_judge(steps: int = 900, count: int = 1280) -> tuple[Network, float]:
    """A network that has seen all shapes in all ways, and the spread of its features over such pictures."""
    pictures, labels = posed(count, 77, ())
    judge = trained(pictures, labels, steps, 9, KINDS)
    found = codes(judge, pictures)
    return judge, float(np.sqrt(((found - found.mean(0)) ** 2).sum(1).mean()))


def of_classes(
    canonical: Collection[int], seed: int, judge: Network, spread: float, images: int = 12, steps: int = 300
) -> list[ClassImages]:
    """The images of a network for which these kinds are canonical."""
    pictures, labels = posed(MANY, 100 + seed, canonical)
    network = trained(pictures, labels, steps, seed, KINDS, has_places=True)
    made = []
    for kind, of_kind in enumerate(preferred(network, images)):
        own = pictures[labels == kind]
        mean = own.astype(np.float64).mean(0).round().astype(np.uint8)
        found = codes(judge, of_kind) / spread
        between = np.linalg.norm(found[:, None] - found[None], axis=2)[np.triu_indices(images, 1)]
        to_mean = np.linalg.norm(found - codes(judge, mean[None]) / spread, axis=1)
        made.append(ClassImages(kind, kind in canonical, between, to_mean, of_kind, own[:3]))
    return made


def canonical_rows(out: Path, networks: int = 2) -> None:
    """Print the table of canonical classes, and draw training pictures and images."""
    judge, spread = canonical_judge()
    found = [one for role in ROLES for seed in range(networks) for one in of_classes(role, seed, judge, spread)]
    print("\nmean over networks and images ± standard deviation over images (pairs of them)\n")
    print("| class | apart: canonical | other | to the mean: canonical | other |")
    print("|---|---|---|---|---|")
    means = []
    for kind, name in enumerate(KINDS):
        of = [[one for one in found if (one.kind, one.is_canonical) == (kind, is_it)] for is_it in (True, False)]
        parts = [np.concatenate([getattr(one, of_what) for one in side]) for of_what in ("apart", "to_mean")
                 for side in of]  # fmt: skip
        print(f"| {name} | " + " | ".join(f"{part.mean():.2f} ± {part.std():.2f}" for part in parts) + " |")
        means.append([part.mean() for part in parts])
    for what, first in (("apart", 0), ("to the mean", 2)):
        logs = np.log([row[first + 1] / row[first] for row in means])
        error = np.std(logs, ddof=1) / len(logs) ** 0.5
        factors = [float(np.exp(np.mean(logs) + sign * error)) for sign in (0, -1, 1)]
        print(f"{what}: others {factors[0]:.1f} times the canonical ({factors[1]:.1f} to {factors[2]:.1f})", flush=True)
    first = {(one.kind, one.is_canonical): one for one in reversed(found)}
    rows = [
        np.hstack([_row([*one.examples, *one.images[:5]]) for is_it in (True, False) for one in [first[kind, is_it]]])
        for kind in range(len(KINDS))
    ]
    cv2.imwrite(str(out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("controls.jpg"), help="picture of the controls")
    parser.add_argument("--canonical", type=Path, default=Path("canonical.jpg"), help="picture of canonical classes")
    args = parser.parse_args()
    control_rows(args.out)
    canonical_rows(args.canonical)


if __name__ == "__main__":
    main()
