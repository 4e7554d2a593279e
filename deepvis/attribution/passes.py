"""The forward and backward passes that answer a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from deepvis.attribution.methods import METHODS, Method, Question, Reached
from deepvis.attribution.requests import Peaks, Request, Result
from deepvis.core.errors import UserError
from deepvis.core.receptive_field import ReceptiveField
from deepvis.networks.activation_rules import seed
from deepvis.networks.network import Network


def answer(
    network: Network,
    request: Request,
    field: ReceptiveField | None = None,
    is_unwanted: Callable[[], bool] | None = None,
) -> Result:
    """Run the network once: forward and, if the request has a method, backward.

    Args:
        network: must not be used by another thread meanwhile.
        field: receptive field of the request's layer, put into the result.
        is_unwanted: called now and then; if it returns true the pass is given up.
    Returns:
        A result that owns its arrays.
    Raises:
        Abandoned: the pass was given up.
        UserError: a layer has another shape than when the network was loaded.
    """
    start = time.perf_counter()
    x = network.see(request.frame.pixels, request.crop)
    prepared = time.perf_counter()
    with network.interruptible(is_unwanted) if is_unwanted else nullcontext():
        if request.method is None or request.origin is None:
            result = _forward(network, x, request)
        else:
            result = _forward_backward(network, x, request, METHODS[request.method], *request.origin)
    seconds = {"input": prepared - start, "network": time.perf_counter() - prepared}
    return replace(result, receptive_field=field, seconds=seconds)


def finished(network: Network, request: Request, field: ReceptiveField | None = None) -> Result:
    """As `answer`, with all passes of a method of many passes."""
    result = answer(network, request, field)
    while result.progress is not None:
        result = answer(network, replace(request, so_far=result), field)
    return result


def _forward(network: Network, x: Tensor, request: Request) -> Result:
    with torch.no_grad(), network.capture(_watched(network, request)) as captured:
        out = network.module(x)
        return _result(network, request, captured, out)


def _result(network: Network, request: Request, captured: Mapping[str, Tensor], out: object) -> Result:
    """The result of a forward pass."""
    maps = _maps(network.units(request.layer, captured[request.layer]))
    _check_shape(network, request.layer, maps)
    peaks = _peaks(network, captured) if request.peaks else None
    others = tuple(_map_of(network.units(layer, captured[layer]), unit) for layer, unit in request.others)
    return Result(request, maps, _scores(out), peaks=peaks, bad=_bad(maps), others=others)


def _map_of(units: Tensor, unit: int) -> np.ndarray:
    """A single unit's map, owned, on the CPU: float32 H×W, 1×1 for a vector."""
    values = units.detach()[0, unit].to(torch.float32).cpu().numpy()
    return values.reshape(values.shape or (1, 1)).copy()


def _forward_backward(network: Network, x: Tensor, request: Request, method: Method, origin: str, unit: int) -> Result:
    passed: dict[str, Tensor] = {}  # the outputs that the first forward pass, that of the picture itself, captured
    out: list[object] = []

    def run(other: Tensor | None = None, maps: Collection[str] = ()) -> Reached:
        """Run the forward pass; the backward method calls this in its own context."""
        seen = x if other is None else other
        with network.capture({*_watched(network, request), origin}, cut=origin, leaves=maps) as captured:
            out.append(network.module(seen.clone()))  # a copy, because the module may change it in place
            reached = dict(captured)
        passed.update({} if passed else reached)
        shown = reached[request.layer]
        # After the cut no tensor requires a gradient. The order of the layers would not tell what comes after it,
        # because a module that is called twice is listed at its first call and captured at its last.
        asked = request.layer_gradient and shown.requires_grad
        return Reached(network.units(origin, reached[origin]), shown if asked else None, reached)

    before = request.so_far
    so_far = None if before is None else before.progress
    question = Question(x, origin, unit, run, lambda sent: seed(sent, unit), request.layer, so_far)
    answered = method.compute(network, question)
    values = None if answered.shown is None else _maps(network.units(request.layer, answered.shown))
    if before is None:
        result = _result(network, request, passed, out[0])
    else:  # what does not depend on the number of passes; moments were collected from the first
        result = replace(before, request=replace(request, so_far=None), peaks=None)
    return replace(
        result,
        pixels=rgb(network, answered.pixels),
        layer_gradient=values,
        note=answered.note,
        progress=answered.progress,
    )


def _check_shape(network: Network, name: str, maps: np.ndarray) -> None:
    """Raise UserError if the layer's maps do not have the size that they had when the network was loaded."""
    view = network.unit_axes[name]
    if maps.shape[1:] != (view.height, view.width):
        raise UserError(
            f"layer {name} has maps of {maps.shape[1]}×{maps.shape[2]} now and had {view.height}×{view.width} when the "
            "network was loaded. deepvis needs layers that keep their size: leave this one out "
            "(layers: in a model.yaml)"
        )


def _watched(network: Network, request: Request) -> list[str]:
    """The layers whose activations the request needs."""
    if request.peaks:
        return [layer.name for layer in network.layers]
    return list(dict.fromkeys((request.layer, *(layer for layer, _ in request.others))))


def _peaks(network: Network, captured: Mapping[str, Tensor]) -> Peaks:
    """Each unit's largest activation and its position, copied to the CPU at once."""
    values, cells = [], []
    for layer in network.layers:
        units = network.units(layer.name, captured[layer.name]).detach()[0]
        value, cell = units.reshape(len(units), -1).max(1)
        values.append(value.to(torch.float32))
        cells.append(cell.to(torch.int32))
    return Peaks(torch.cat(values).cpu().numpy().copy(), torch.cat(cells).cpu().numpy().copy())


def _maps(output: Tensor) -> np.ndarray:
    """1×C×H×W or 1×N on any device -> float32 C×H×W (N×1×1), owned, on the CPU."""
    maps = output.detach()[0].to(torch.float32)
    rows = maps.reshape(len(maps), -1).contiguous().cpu()  # in two dimensions torch transposes ten times as fast
    return rows.reshape(len(maps), *(maps.shape[1:] or (1, 1))).numpy().copy()


def _bad(maps: np.ndarray) -> int:
    """The number of values that are NaN or infinite; usually a finite sum shows that there are none."""
    with np.errstate(over="ignore", invalid="ignore"):
        fine = np.isfinite(maps.sum())
    return 0 if fine else maps.size - int(np.count_nonzero(np.isfinite(maps)))


def _scores(out: object) -> np.ndarray | None:
    if not isinstance(out, Tensor) or out.ndim != 2:
        return None
    return out.detach()[0].to(torch.float32).cpu().numpy().copy()


def rgb(network: Network, grad: Tensor) -> np.ndarray:
    """1×channels×H×W -> float32 H×W×3 RGB, from the channels that get a picture's red, green and blue."""
    places = network.input.places
    chosen = [places[0]] * 3 if len(places) == 1 else list(places)  # gray: the same in all colours
    planes = grad[0, chosen].to(torch.float32).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(np.pad(planes, ((0, 0), (0, 0), (0, 3 - len(chosen))))).copy()
