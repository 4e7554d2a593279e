"""On which networks does each backward method give a map?

    python tests/benchmarks/methods.py [--only WORD] [--seconds N] [--write docs/networks.md]

The networks of tests/benchmarks/networks.py, with random weights and small inputs, smaller networks first: from a
random unit of the last layer (before a softmax) each method's first picture has to be finite, and not the same
everywhere, or the method has to say why it is. With --seconds no network is begun after so much time of the processor.
The table replaces the one in the file that was written before.
"""

from __future__ import annotations

import argparse
import gc
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from networks import PICTURE, TIMM, TOO_LARGE, _load

from deepvis.attribution.methods import METHODS
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.core.layers import stands_for
from deepvis.networks.network import Network

HEAD, END = "# Backward methods on these networks", "# Networks that were tried"
FINE = "ok"


def judged(network: Network, method: str, layer: str, unit: int) -> str:
    """FINE, or what is wrong with the method's map, or why there is none in the method's words."""
    try:
        result = answer(network, Request(Frame(PICTURE, "noise", 0, False), True, layer, method, (layer, unit)))
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    pixels = result.pixels
    if pixels is None or not np.isfinite(pixels).all():
        return f"not finite; {result.note}".rstrip("; ")
    if np.ptp(pixels) == 0:
        return f"says: {result.note}" if result.note else "the same everywhere"
    return FINE


def row(source: str) -> tuple[str, str, str]:
    """A line of the table: the network, its input, and what came of the methods."""
    try:
        network = _load(source)
    except Exception as error:
        return source, "", f"not loaded: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    layer = stands_for(network.layers, len(network.layers) - 1)
    units = next(one.units for one in network.layers if one.name == layer)
    unit = int(np.random.default_rng(1).integers(units))
    found: dict[str, list[str]] = {}
    for method in METHODS:
        found.setdefault(judged(network, method, layer, unit), []).append(method)
    fine = len(found.pop(FINE, []))
    said = "; ".join(f"{', '.join(names)}: {why}" for why, names in found.items())
    return source, f"{network.input.width}×{network.input.height}", said or f"all {fine}"


def smaller_first() -> Iterator[str]:
    from torchvision import models

    yield from (f"timm:{name}" for name in TIMM if name != "vgg11")  # large, and in torchvision too
    size = lambda name: models.get_model_weights(name).DEFAULT.meta["num_params"]  # noqa: E731
    yield from (f"torchvision:{name}" for name in sorted(models.list_models(module=models), key=size))


def markdown(rows: list[tuple[str, str, str]], left: int) -> str:
    fine = sum(said.startswith("all ") for *_, said in rows)
    lines = [
        HEAD,
        "",
        f"{fine} of {len(rows)} networks have a map by each of {len(METHODS)} methods; {left} were not tried.",
        "Written by `python tests/benchmarks/methods.py --write docs/networks.md`: random weights, a unit of the last",
        "layer. A map must be finite and not the same everywhere. Where a method *says* something, that stands on its",
        "pane. It lies in the random weights: with some, activations are so small that ε takes all relevance, or",
        "nothing in the last maps speaks for a class.",
        "",
        "| network | input | methods |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(one)} |" for one in rows),
        "",
        "",
    ]
    return "\n".join(lines)


def put(file: Path, table: str) -> None:
    """Write the table before END, in place of the one that may be there."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    before, _, rest = text.partition(END)
    file.write_text(before.partition(HEAD)[0] + table + (END + rest if rest else ""), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="try those whose name contains this")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--write", type=Path, help="the file for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows: list[tuple[str, str, str]] = []
    todo = [source for source in smaller_first() if options.only in source]
    for source in todo:
        if source in TOO_LARGE or time.process_time() > options.seconds:
            continue
        start = time.perf_counter()
        rows.append(row(source))
        print(f"{time.perf_counter() - start:5.1f} s", *rows[-1], sep="  ", flush=True)
        gc.collect()
        if options.write:
            put(options.write, markdown(sorted(rows), len(todo) - len(rows)))


if __name__ == "__main__":
    main()
