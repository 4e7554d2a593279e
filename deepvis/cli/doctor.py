"""`deepvis doctor`: what a bug report needs."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deepvis import __version__
from deepvis.cli.options import Commands, add_input, add_network, asked_network, consent_of, settings_of
from deepvis.core import paths, runtime
from deepvis.core.errors import UserError, words

if TYPE_CHECKING:
    from deepvis.networks.network import Network


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("doctor", help="print what a bug report needs")
    parser.set_defaults(run=_doctor)
    add_network(parser)
    add_input(parser)


def _doctor(args: argparse.Namespace) -> None:
    settings = settings_of(args)
    for line in report(lambda: asked_network(settings, consent_of(args))):
        print(line, flush=True)


def report(load: Callable[[], Network]) -> Iterator[str]:
    """Yield what a bug report needs, line by line. A check that fails gives a line and the others go on.

    Args:
        load: loads the network that the settings name.
    """
    yield f"deepvis {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield f"program: {paths.ROOT}; your own models, recipes, scans and images: {paths.data()}"
    yield "packages: " + ", ".join(_versions())
    for name, check in _CHECKS.items():
        yield f"{name}: {_told(check)}"
    yield f"model: {_told(lambda: _model(load()))}"


def _told(check: Callable[[], str]) -> str:
    try:
        return check()
    except UserError as error:
        return f"PROBLEM: {error}"
    except Exception as error:  # whatever is broken here must not stop the report
        return f"PROBLEM: {words(error)}"


def _versions() -> Iterator[str]:
    for package in ("torch", "torchvision", "timm", "opencv-python", "numpy", "scipy", "pyyaml"):
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{package} MISSING"


def _processor() -> str:
    workers, threads = runtime.cpu_plan()
    return f"{os.cpu_count()} cores; {workers} workers with {threads} threads each"


def _gpu() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"CUDA {torch.version.cuda}: {', '.join(names)}"
    return "Apple GPU (mps)" if torch.backends.mps.is_available() else "none that PyTorch can use"


def _display() -> str:
    import cv2

    from deepvis.display.window import DisplayProbe

    DisplayProbe().check()
    back_end = cv2.currentUIFramework() or "none"
    return f"{os.environ.get('DISPLAY', 'native')}, OpenCV {cv2.__version__} with {back_end}"


def _cameras() -> str:
    if not sys.platform.startswith("linux"):
        return "not listed on this system; try deepvis live --input 0"
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return ", ".join(found) or "none (no /dev/video*)"


_CHECKS: dict[str, Callable[[], str]] = {
    "processor": _processor,
    "GPU": _gpu,
    "display": _display,
    "cameras": _cameras,
}


def _model(network: Network) -> str:
    import numpy as np
    import torch

    picture = np.full((network.input.height, network.input.width, 3), 127, np.uint8)
    with torch.no_grad():
        out = network.module(network.see(picture, crop=True))
    finite = "finite" if torch.isfinite(out).all() else "NOT FINITE"
    return f"{network.name} on {network.device}, {len(network.layers)} layers, output {tuple(out.shape)} {finite}"
