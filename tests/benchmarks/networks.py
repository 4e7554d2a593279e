"""Which networks work?

    python tests/benchmarks/networks.py [--only WORD] [--write docs/networks.md]

All classification networks of torchvision, and one of each family of timm, with random weights: each is
loaded, its layers are listed, and from a random unit of an early, a middle and the last layer every
backward method is run. Checked are that all numbers are finite, that within a backward method the
network computes bit for bit what it computes without one, and that deconv and guided backprop differ
from the gradient wherever activation functions lie below the unit. Weights that are 0 at the start (the classifiers
of many transformers) are filled with noise, or nothing could come through them. To save time the input is 96 pixels
wide and high where a network can take that. Twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepvis.attribution.methods import METHODS
from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request, Result
from deepvis.core.errors import UserError
from deepvis.core.frames import Frame
from deepvis.networks.loading import load
from deepvis.networks.network import Network

TIMM = """
    resnet10t resnext26ts seresnet18 ecaresnet26t skresnet18 res2net50_26w_4s resnest14d cspresnet50 nf_regnet_b0
    regnetx_002 regnety_002 densenet121 vgg11 inception_v3 inception_v4 inception_resnet_v2 legacy_xception xception41
    dpn48b dla46_c hrnet_w18_small vovnet39a darknet53 repvgg_a0 selecsls42 tresnet_m gernet_s rexnet_100 nfnet_l0
    dm_nfnet_f0 efficientnet_b0 efficientnet_lite0 mixnet_s tinynet_e mobilenetv2_050 mobilenetv3_small_050
    mobilenetv4_conv_small_050 mobilenetv4_hybrid_medium mnasnet_small ghostnet_050 ghostnetv2_100 lcnet_035
    mobileone_s0
    repvit_m0_9 fastvit_t8 hgnetv2_b0 starnet_s1 convnext_atto convnextv2_atto inception_next_atto edgenext_xx_small
    focalnet_tiny_srf mambaout_femto poolformer_s12 caformer_s18 rdnet_tiny vit_tiny_patch16_224 vit_tiny_r_s16_p8_224
    deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 deit3_small_patch16_224 beit_base_patch16_224
    eva02_tiny_patch14_224 vit_relpos_small_patch16_224 cait_xxs24_224 xcit_nano_12_p16_224 coat_lite_tiny
    crossvit_tiny_240
    convit_tiny pit_ti_224 tnt_s_legacy_patch16_224 twins_svt_small visformer_tiny volo_d1_224 nest_tiny pvt_v2_b0
    swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 davit_tiny gcvit_xxtiny hiera_tiny_224
    maxvit_tiny_rw_224 mobilevit_xxs mobilevitv2_050 tiny_vit_5m_224 efficientformer_l1 efficientformerv2_s0
    efficientvit_b0
    efficientvit_m0 levit_128s swiftformer_xs botnet26t_256 halonet26t lambda_resnet26t mixer_s32_224 resmlp_12_224
    gmlp_ti16_224 sequencer2d_s
""".split()

SMALL = 96  # pixels
# GB of parameters
TOO_LARGE = {"torchvision:vit_h_14": 2.5, "torchvision:vit_l_16": 1.2, "torchvision:regnet_y_128gf": 2.6}

PICTURE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


@dataclass
class Row:
    """What came of a network: a line of the table."""

    network: str
    pixels: str = ""
    layers: str = ""
    origins: list[str] = field(default_factory=list)
    forward: str = ""
    methods: dict[str, str] = field(default_factory=lambda: dict.fromkeys(METHODS, ""))
    note: str = ""

    @property
    def works(self) -> bool:
        return self.forward == "ok" and set(self.methods.values()) == {"ok"}

    @property
    def cells(self) -> list[str]:
        return [
            self.network,
            self.pixels,
            self.layers,
            *(self.origins or [""] * 3),
            self.forward,
            *self.methods.values(),
            self.note,
        ]


def check(source: str) -> Row:
    """Try a network; whatever goes wrong is said in the row."""
    row = Row(source)
    if source in TOO_LARGE:
        row.note = f"not tried: {TOO_LARGE[source]} GB of parameters"
        return row
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            examine(row, _load(source))
    except Exception as error:
        row.note = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        traceback.print_exc()
    return row


def _load(source: str) -> Network:
    try:
        network = load(source, "cpu", weights="none", given={"input": {"height": SMALL, "width": SMALL}})
    except UserError:  # it takes its own size only
        network = load(source, "cpu", weights="none")
    noise = torch.Generator().manual_seed(0)
    for name, weight in network.module.named_parameters():
        if not name.endswith("bias") and not weight.any():
            weight.normal_(0, 0.02, generator=noise)
    return network


def examine(row: Row, network: Network) -> None:
    """Fill the row in."""
    layers, draw = network.layers, np.random.default_rng(1)
    last = -2 if layers[-1].kind == "Softmax" else -1  # random weights often saturate the softmax: no gradient
    origins = [layers[i] for i in (0, len(layers) // 2, last)]
    row.pixels = f"{network.input.width}×{network.input.height}"
    row.layers, row.origins = str(len(layers)), [layer.name for layer in origins]
    heads = sum(layer.kind == "Attention" for layer in layers)
    row.note = f"{heads} of the layers are attention" if heads else ""
    frame, wrong = Frame(PICTURE, "noise", 0, False), {}
    plain = {layer.name: answer(network, Request(frame, True, layer.name)) for layer in origins}
    fine = all(
        result.bad == 0 and result.scores is not None and np.isfinite(result.scores).all() for result in plain.values()
    )
    row.forward = "ok" if fine else "not finite"
    for layer in origins:
        strongest = plain[layer.name].activations.max((1, 2))
        alive = np.flatnonzero(strongest > 0)  # from behind a ReLU that is never active no gradient comes
        unit = int(draw.choice(alive if len(alive) else layer.units))
        activated = _activations_below(network, layer.name)
        images = {}
        for method in METHODS:
            result = answer(network, Request(frame, True, layer.name, method, (layer.name, unit)))
            images[method] = result.pixels
            if why := _wrong(result, plain[layer.name]):
                wrong.setdefault(method, f"{why} from {layer.name}:{unit}")
        # One alone may be the layer's own: no negative gradient, the unit's activation, arrives there.
        for method in ("deconv", "guided") if activated > 1 else ():
            if np.array_equal(images[method], images["gradient"]):
                wrong.setdefault(
                    method, f"the gradient itself from {layer.name}:{unit}, {activated} activation functions below"
                )
        if not activated and layer is not origins[0]:
            row.note = f"{row.note}; no activation function before {layer.name}".removeprefix("; ")
    row.methods = {method: wrong.get(method, "ok") for method in METHODS}


def _wrong(result: Result, plain: Result) -> str:
    if not np.array_equal(result.activations, plain.activations) or not np.array_equal(result.scores, plain.scores):
        return "other forward values"
    if not np.isfinite(result.pixels).all():
        return "not finite"
    return "" if result.pixels.any() or result.note else "nothing arrives at the pixels"


def _activations_below(network: Network, layer: str) -> int:
    """How many activation functions are called on the way to a layer."""
    count = 0

    def counting(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        nonlocal count
        count += 1
        return f(x)

    with torch.inference_mode(), network.under(counting):
        network.up_to(layer, network.input.noise())
    return count


def sources() -> Iterator[str]:
    import torchvision

    yield from (f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models))
    yield from (f"timm:{name}" for name in TIMM)


def markdown(rows: list[Row]) -> str:
    import timm
    import torchvision

    heads = ["network", "input", "layers", "early", "middle", "last", "forward", *METHODS, "note"]
    table = ["| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *(row.cells for row in rows))]
    return "\n".join(
        [
            "# Networks that were tried",
            "",
            f"{sum(row.works for row in rows)} of {len(rows)} networks work in all respects; "
            f"{sum(not row.forward and 'not tried' in row.note for row in rows)} were not tried. Written by "
            "`python tests/benchmarks/networks.py --write docs/networks.md`:",
            "all of torchvision's networks for classification and one of each of timm's families, with random "
            "weights (those",
            "that start at 0, such as some classifiers, filled with noise), on",
            f"{platform.machine()} with torch {torch.__version__.partition('+')[0]}, torchvision "
            f"{torchvision.__version__.partition('+')[0]} and timm {timm.__version__}.",
            "",
            "*Forward* is ok if the activations of the three layers and the scores are finite. A backward method is "
            "ok if, from a",
            "random unit of each of the three layers, its image is finite and not empty, the forward values within "
            "it are bit for",
            "bit those of the plain network, and deconv and guided differ from the gradient where more than one "
            "activation function lies below.",
            "",
            *table,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="try those whose name contains this")
    parser.add_argument("--write", type=Path, help="the file for the table")
    options = parser.parse_args()
    rows, before = [], ""
    if options.write and options.write.is_file():  # what was written by hand stands before the table
        before = options.write.read_text(encoding="utf-8").partition("# Networks that were tried")[0]
    for source in sources():
        if options.only in source:
            began = time.perf_counter()
            rows.append(check(source))
            print(f"{time.perf_counter() - began:5.1f} s", *rows[-1].cells, sep="  ", flush=True)
            gc.collect()
            if options.write:
                options.write.write_text(before + markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
