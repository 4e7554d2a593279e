"""A network and images small enough to be checked by brute force."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from deepvis.networks.network import InputSpec, Network, prepare

SPEC = InputSpec(24, 24, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
LAYERS = {"conv": "conv", "relu": "relu", "pool": "pool", "odd": "odd", "head": "head"}

NET = """
import torch
from torch import nn

def make(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    nn.Linear(24, 5))
"""


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.conv = nn.Conv2d(3, 7, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.odd = nn.Conv2d(7, 5, 4, padding=1)
        self.head = nn.Linear(5 * 11 * 11, 4)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 3

    def forward(self, x: Tensor) -> Tensor:
        x = self.odd(self.pool(self.relu(self.conv(x))))
        return self.head(x.flatten(1))


def network() -> Network:
    return prepare("small", Small(), SPEC, LAYERS)


def write_images(folder: Path, count: int, first: int = 0, suffix: str = ".png") -> None:
    """Images of several shapes, some of them equal, each made of its number alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        rng = np.random.default_rng(number // 2 if number % 10 == 1 else number + 10**6)
        height, width = rng.integers(20, 40, 2)
        image = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (int(width), int(height)))
        cv2.imwrite(str(folder / f"img{number}{suffix}"), image)


def write_model(folder: Path, code: str, description: str) -> None:
    """A folder for `--model`: smallish.py with the network's code, and its model.yaml."""
    folder.mkdir()
    (folder / "smallish.py").write_text(code)
    (folder / "model.yaml").write_text(description)


def write_noise(folder: Path, count: int, side: int) -> None:
    """Photos of noise, numbered from 0."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), draw.integers(0, 255, (side, side, 3), np.uint8))


def brute(net: Network, images, layers=tuple(LAYERS)) -> dict[str, np.ndarray]:
    """{layer: N×C×P} of all activations, as the network gives them one image at a time."""
    from deepvis.inputs.decode import read_image

    kept = {name: [] for name in layers}
    for path in images:
        with torch.inference_mode(), net.capture(layers) as captured:
            net.module(net.see(read_image(path), crop=True))
            for name in layers:
                out = net.units(name, captured[name])[0]
                kept[name].append(out.reshape(len(out), -1).double().numpy())
    return {name: np.stack(all) for name, all in kept.items()}
