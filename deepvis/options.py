"""What the commands have in common on the command line: the network and where it runs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepvis.network import Network


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a network and where it runs; `load_network` reads them."""
    parser.add_argument("--settings", type=Path, help="settings file (settings.yaml)")
    parser.add_argument("--model", help="folder in models/, a model.yaml, or a source such as torchvision:alexnet")
    parser.add_argument("--weights", help="auto, none (random), a name such as DEFAULT or IMAGENET1K_V1, or a file")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", help="float32, bfloat16, float16")


def load_network(args: argparse.Namespace) -> Network:
    """The network that the options and the settings name. Raises UserError as `models.load`."""
    from deepvis import commands, keys, models
    from deepvis.settings import load

    names = ("model", "weights", "device", "precision")
    found = load(args.settings, {n: getattr(args, n) for n in names}, commands=commands.COMMANDS, key_names=keys.NAMES)
    device = found.device
    if device == "auto" or device == "cuda" and "LOCAL_RANK" in os.environ:
        device = _own_device(device)
    return models.load(found.model, device, found.precision, found.weights)


def _own_device(device: str) -> str:
    """With several processes (torchrun) on a machine, each takes a GPU of its own. `device`: auto or cuda."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return "cpu" if device == "auto" else device  # which says that there is none
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % count}"


def count(text: str) -> int:
    """A number from 1, as an argument's type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1")
    return int(text)
