"""What `deepvis layers` and `deepvis doctor` print."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
from tqdm import tqdm

from deepvis import __version__
from deepvis.core import runtime
from deepvis.core.errors import UserError, printable, words
from deepvis.networks.network import Network


def layers_table(network: Network) -> str:
    """A line for each layer: name, kind, shape, units, receptive field, own parameters; and what is not shown."""
    rows = [("layer", "kind", "shape", "units", "receptive field", "parameters")]
    for layer in tqdm(
        network.layers, desc="receptive fields", unit="layer", leave=False, disable=None
    ):  # shown in a terminal alone
        module = network.module.get_submodule(network.paths[layer.name])
        shape = f"{layer.height}×{layer.width}" if layer.is_map else "vector"
        try:
            field = network.receptive_field(layer.name).text
        except (RuntimeError, UserError) as error:  # a layer that no gradient passes, or that changes its shape
            field = f"not measured ({str(error).splitlines()[0]})"
        parameters = sum(p.numel() for p in module.parameters())
        rows.append((layer.name, layer.kind, shape, f"{layer.units:,}", field, f"{parameters:,}"))
    return "\n".join(
        [
            _aligned([tuple(map(printable, row)) for row in rows]),
            *("\n" + printable(note) for note in (*network.left_out, *network.notes)),
        ]
    )


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {3, 5}  # numbers
    lines = [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def doctor(load: Callable[[], Network]) -> Iterator[str]:
    """What a bug report needs, line by line as it is found out. Nothing that fails stops the rest.

    Args:
        load: makes the network of the settings.
    """
    yield f"deepvis {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield "packages: " + ", ".join(_versions())
    for name, check in _CHECKS.items():
        yield f"{name}: {_told(check)}"
    yield f"model: {_told(lambda: _model(load()))}"


def _told(check: Callable[[], str]) -> str:
    try:
        return check()
    except UserError as error:
        return f"PROBLEM: {error}"
    except Exception as error:  # a doctor must not fall ill
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
