"""Which units of earlier layers feed a unit, and with what weights: expanded weights.

Between two layers of the list there may be several convolutions, normalisations, branches, sums and concatenations.
Their weights are multiplied through as if the activation functions between them were not there (Voss et al. 2021,
"Visualizing Weights", section "Expanded weights"), and max-pooling were average pooling. That is the derivative of the
unit at the earlier layer under such rules; where only one convolution lies between, it is that convolution's kernel.

The layers that a unit reads directly are found by running the network with every earlier layer cut off: what then
still reaches the unit comes from a layer without passing through another one. A layer that only passes on one channel
(an activation, BatchNorm, pooling) is looked through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepvis.core.weights import InputWeight, InputWeights
from deepvis.networks.activation_rules import ActivationRule
from deepvis.networks.activation_rules import replaced as with_backward
from deepvis.networks.capture import capture, severed
from deepvis.networks.network import Network
from deepvis.networks.receptive_fields import SPREAD_POOLS

MOST = 64  # units that are kept
_NONE = 1e-6  # of the largest weight; below this a unit does not count as feeding
_SAME = 1e-3  # of the largest weight: how much weights may differ in two pictures and still count as fixed

Derivatives = Mapping[str, Tensor]  # {layer: C×h×w, the derivative of a unit at the layer}


@dataclass(frozen=True)
class Sources:
    """The layers that a unit reads.

    Attributes:
        layers: their names, in network order.
        are_fixed: the weights do not depend on the picture.
        are_copies: the unit is only a copy, or a scaled copy, of other units.
    """

    layers: tuple[str, ...]
    are_fixed: bool = True
    are_copies: bool = False


class InputWeightsOf:
    """The weights of the units that feed a network's units. What a layer reads is found once.

    Args:
        network: must not be used by another thread meanwhile.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sources: dict[str, Sources] = {}  # {layer: its sources}

    def of(self, layer: str, unit: int) -> InputWeights:
        """The weights of the units that feed a unit directly, at the middle of its map."""
        sources = self._sources.get(layer) or self._find(layer, unit)
        found = _derivatives(self._network, layer, unit, sources.layers) if sources.are_fixed else {}
        if sources.are_fixed and not sources.are_copies and all(map(_passes_on, found.values())):
            sources = self._find(layer, unit)  # in a concatenation each unit has sources of its own
            found = _derivatives(self._network, layer, unit, sources.layers)
        if not sources.layers:
            return InputWeights(layer, unit, note=_why_none(self._network, layer))
        if not sources.are_fixed:
            return InputWeights(layer, unit, note=_why_not_fixed(sources.layers, layer))
        return _largest(layer, unit, found)

    def _find(self, layer: str, unit: int) -> Sources:
        found = sources_of(self._network, layer, unit)
        if found.layers and not found.are_copies:
            self._sources[layer] = found
        return found


def sources_of(network: Network, layer: str, unit: int) -> Sources:
    """The layers that a unit reads directly; none if only the pixels feed it, or nothing known."""
    others = [one.name for one in network.layers if network.paths[one.name] != network.paths[layer]]
    nearest: tuple[str, ...] = ()
    while others:
        found = {name: values for name, values in _derivatives(network, layer, unit, others).items() if values.any()}
        names = tuple(name for name in others if name in found)
        nearest = nearest or names
        if not all(map(_passes_on, found.values())):
            return Sources(names, _are_fixed(network, layer, unit, found))
        if not found:
            break
        last = network.paths[names[-1]]
        others = [name for name in others if network.paths[name] != last]
    return Sources(nearest, are_copies=True)


def _are_fixed(network: Network, layer: str, unit: int, found: Derivatives) -> bool:
    """Whether the derivatives stay the same if the layers that are read have other values."""
    other = _derivatives(network, layer, unit, found, _otherwise)
    largest = max(float(values.abs().max()) for values in found.values())
    return all(float((values - other[name]).abs().max()) <= _SAME * largest for name, values in found.items())


def _largest(layer: str, unit: int, derivatives: Derivatives) -> InputWeights:
    largest = max(float(values.abs().max()) for values in derivatives.values())
    if not largest:
        return InputWeights(layer, unit, note=f"All weights of {layer}:{unit} are 0.")
    found = [
        _weight(name, number, values[number])
        for name, values in derivatives.items()
        for number in (values.abs().amax((1, 2)) > _NONE * largest).nonzero()[:, 0].tolist()
    ]
    found.sort(key=lambda weight: -weight.size)
    return InputWeights(layer, unit, tuple(found[:MOST]), len(found))


def _passes_on(values: Tensor) -> bool:
    """Whether this is the derivative of a copy, a scaled copy or an average of one channel."""
    channels = values.abs().amax((1, 2)).nonzero()[:, 0]
    if len(channels) != 1:
        return not len(channels)
    (kernel,) = values[channels]
    weights = kernel[kernel != 0]
    return float(weights.max() - weights.min()) <= _SAME * float(weights.abs().max())


def _as_it_is(output: Tensor) -> Tensor:
    return output


def _otherwise(output: Tensor) -> Tensor:
    """Other values of about the same size; a weight that is fixed does not depend on them."""
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return output + noise.to(output) * (1 + output.abs().mean())


def _derivatives(
    network: Network, layer: str, unit: int, cut_off: Collection[str], change: Callable[[Tensor], Tensor] = _as_it_is
) -> Derivatives:
    """The derivative of a unit, in the middle of its map, at each of these layers that runs before it.

    Nothing flows through one of these layers into another.

    Args:
        change: makes of a layer's output what the network goes on with.
    """
    x = network.input.noise().to(network.device, network.dtype)
    path = network.paths[layer]
    cuts = {network.paths[name]: network.calls[network.paths[name]] for name in cut_off}
    end = path, network.calls[path]
    rule = ActivationRule(
        lambda x, f: with_backward(x, f, lambda grad: grad), SPREAD_POOLS, write_back=network.drops_results
    )
    with torch.enable_grad(), rule, severed(network.module, cuts, change) as leaves:
        with capture(network.module, {path}, end, stop=True) as captured:
            network.module(x)
        value = network.units(layer, captured[path])[0, unit]
        value = value[tuple(size // 2 for size in value.shape)]
    grads: Sequence[Tensor | None] = [None] * len(leaves)
    if value.requires_grad:
        grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    at = dict(zip(leaves, grads, strict=True))
    found = {}
    for name in cut_off:
        if (grad := at.get(network.paths[name])) is not None:
            values = network.units(name, grad)[0].detach().to(torch.float32)
            found[name] = values.reshape(len(values), *(values.shape[1:] or (1, 1)))
    return found


def _weight(layer: str, unit: int, values: Tensor) -> InputWeight:
    rows, columns = (values != 0).any(1).nonzero()[:, 0], (values != 0).any(0).nonzero()[:, 0]
    kernel = values[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    known: np.ndarray = kernel.cpu().numpy().copy()
    return InputWeight(layer, unit, float(kernel.sum()), float(kernel.abs().sum()), known)


def _why_none(network: Network, layer: str) -> str:
    if network.paths[layer] == network.paths[network.layers[0].name]:
        return f"{layer} is the first layer of the list: it sees the pixels, and no layer before it."
    return (
        f"No weights lead to {layer} from an earlier layer of the list: it sees the pixels, or what it is computed "
        "from has no derivative."
    )


def _why_not_fixed(sources: Sequence[str], layer: str) -> str:
    names = ", ".join(sources[:3]) + (" …" if len(sources) > 3 else "")
    return (
        f"Between {names} and {layer} values are multiplied with one another or normalised in each picture, as by "
        "attention, gates or LayerNorm. So the weights differ from picture to picture, and none can be named. Layers "
        "inside the block may have fixed ones: name them under layers: in a model.yaml."
    )
