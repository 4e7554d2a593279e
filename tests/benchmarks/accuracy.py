"""Is the default network wired up right? Its top-1 and top-5 on a folder of labelled photos.

    python tests/benchmarks/accuracy.py FOLDER

FOLDER holds photos with their ImageNet class in the file name, as n01440764_tench.jpg. The central 87.5 % is shown
to the network. Beside it, the same with the usual ImageNet mean and std, which is what a wrong
preprocessing would give.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from timm.data import ImageNetInfo
from tqdm import tqdm

from deepvis.inputs.decode import read_image
from deepvis.networks import loading
from deepvis.networks.network import InputSpec, Network


def ranks(network: Network, files: list[Path], truth: list[int]) -> torch.Tensor:
    """For each file how many classes score higher than the true one."""
    result = []
    with torch.inference_mode():
        for file, label in zip(tqdm(files, unit="image"), truth):
            scores = network.module(network.see(read_image(file), crop=True, part=0.875))[0]
            result.append((scores > scores[label]).sum())
    return torch.stack(result)


def main() -> None:
    files = sorted(Path(sys.argv[1]).glob("n*.jpg"))
    synsets = ImageNetInfo().label_names()
    truth = [synsets.index(f.name.split("_")[0]) for f in files]
    network = loading.load("efficientnet-lite0")
    usual = replace(network, input=InputSpec())
    print("input                        top-1   top-5")
    for name, net in (("(pixel - 127) / 128", network), ("usual ImageNet mean, std", usual)):
        r = ranks(net, files, truth)
        print(f"{name:26} {(r < 1).float().mean():7.1%} {(r < 5).float().mean():7.1%}")


if __name__ == "__main__":
    main()
