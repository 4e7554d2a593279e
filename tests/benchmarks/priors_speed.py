"""What ascent through a learned prior and a step of its training cost, beside bare loops.

    python tests/benchmarks/priors_speed.py [--prior FILE] [--layer 6d] [--rounds 9]

Ascent: a step of the presets `generator` and `generator-modern` (one view, no transforms) beside a bare forward and
backward pass of generator and network. Training: a step before the adversarial phase, without looks, beside a loop of
the same passes and losses with Adam. Medians of interleaved rounds, as ratios: 1 is as fast as the bare loop.
"""

from __future__ import annotations

from deepvis.core import runtime

runtime.tune()

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from deepvis.core import paths
from deepvis.inputs.datasets import find_images
from deepvis.networks import loading
from deepvis.networks.network import Network
from deepvis.priors.adam import ManyAdam
from deepvis.priors.losses import feature_error
from deepvis.priors.photos import read_photos
from deepvis.priors.training import Trainer, TrainingPlan
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.generator import prior_for
from deepvis.synthesis.parameterizations import network_scale
from deepvis.synthesis.presets import recipe

STILL = {"margin": 0, "jitter": 0, "rotate": 0, "scale_low": 1, "scale_high": 1, "views": 1, "redirect": 0}


def seconds(work: Callable[[], object], network: Network) -> float:
    begin = time.perf_counter()
    work()
    if network.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def ratio(ours: Callable[[], object], bare: Callable[[], object], rounds: int, network: Network) -> str:
    times = np.array([[seconds(ours, network), seconds(bare, network)] for _ in range(rounds + 2)][2:])
    mine, theirs = np.median(times, 0)
    return f"{theirs / mine:5.2f}   {mine * 1000:7.1f} ms, bare {theirs * 1000:7.1f} ms"


def ascents(network: Network, prior: str, rounds: int) -> None:
    scale = network_scale(network.input).to(network.device)[:, None, None]
    for preset in ("generator", "generator-modern"):
        still = STILL if preset != "generator" else {}
        ascent = Ascent(network, objectives.unit("logits", 130), [recipe(preset, {"prior": prior, **still})], [0])
        space = ascent._parameters._space
        code = space.code(ascent._parameters.values.detach()[:, : space.length]).requires_grad_(True)
        generator = prior_for(network, prior).generator

        def bare() -> None:
            score = network.up_to("logits", generator(code)[:, :, :224, :224] * scale)[0, 130]
            torch.autograd.grad(score, code)

        print(f"{preset:18} {ratio(ascent.step, bare, rounds, network)}", flush=True)


def training(network: Network, layer: str, rounds: int) -> None:
    pool = read_photos(find_images(paths.PHOTOS), 128, network.device, lambda text: None)
    trainer = Trainer(network, pool, TrainingPlan(layer, batch=8))
    optimizer = ManyAdam(trainer.generator.parameters(), 1e-6, (0.9, 0.99))
    pictures = trainer._drawn(torch.Generator().manual_seed(0), 8)[1]

    def bare() -> None:
        with trainer._autocast():
            with torch.no_grad():
                real = trainer.eyes(pictures)
            made = trainer.generator(real[layer].float())
            loss = (made - pictures).abs().mean() + feature_error(trainer.eyes(made), real, trainer._spreads)
        loss.backward()
        optimizer.step()

    print(f"{'training':18} {ratio(trainer.step, bare, rounds, network)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", type=Path, help="a prior's file; without it only training is measured")
    parser.add_argument("--layer", default="6d")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    network = loading.load("efficientnet-lite0", args.device)
    if args.prior:
        ascents(network, str(args.prior), args.rounds)
    training(network, args.layer, args.rounds)


if __name__ == "__main__":
    main()
