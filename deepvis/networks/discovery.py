"""Finding the layers of a network: a dry run records its modules' outputs, then some modules are chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.networks.attention import Attention, AttentionCalls
from deepvis.networks.capture import trace
from deepvis.networks.input_errors import explained
from deepvis.networks.outputs import Chosen, shown
from deepvis.networks.unit_axes import Grid, TokenPlaces, UnitAxes, axes_of, channels_first, patches, spread


@dataclass(frozen=True)
class Call:
    """A call of attention: its number among all such calls, and whether the first token is a class token."""

    number: int
    from_first: bool


@dataclass
class Run:
    """What a dry run recorded.

    Attributes:
        shapes: {path of a submodule or attention: shape of its last output without the batch}, for outputs that can be
            shown, in call order. If the output is a list or the like, it is that of the tensor that `outputs.shown`
            picks.
        calls: {path: how often it was called}.
        grids: {path in `shapes`: rows and columns of the maps that convolutions and poolings returned before it,
            the latest first}.
        places: {path in `shapes`: where its tokens lie}, if that could be found out.
        several: {path in `shapes`: a description of the list or object that it returned}.
        hidden: {path that was called but is not in `shapes`: a description of what it returned}.
        shut: paths that were called under `no_grad` or `inference_mode`.
        attention: {path "blocks.0/attention": the call}; the output is keys×heads.
        scores: number of entries of the network's output; None if that is not a vector.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    grids: dict[str, tuple[Grid, ...]] = field(default_factory=dict)
    places: dict[str, TokenPlaces] = field(default_factory=dict)
    several: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    shut: set[str] = field(default_factory=set)
    attention: dict[str, Call] = field(default_factory=dict)
    scores: int | None = None

    def known(self, path: str) -> str:
        """The recorded path for a user's path of an attention, with "net." before it if a `Chosen` is around it."""
        return f"net.{path}" if f"net.{path}" in self.attention else path


def dry_run(name: str, module: nn.Module, x: Tensor) -> Run:
    """Run the network once, and a second time if it is not clear which tokens belong to places of the picture.

    Raises:
        UserError: the network fails; the message says where, what was expected there, and which input would work.
    """
    run, watch, samples = Run(), _Grids(), _Samples()
    inside: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
    queries: dict[str, int] = {}

    def enter(path: str, child: nn.Module, inputs: tuple[Any, ...]) -> None:
        inside.append((path, child, inputs))
        if not torch.is_grad_enabled():
            run.shut.add(path)

    def leave(path: str, _child: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        inside.pop()
        run.calls[path] += 1
        tensor = shown(output)
        if tensor is None or tensor.shape[0] != 1:
            run.hidden[path] = _described(output)
            return
        run.shapes[path], run.grids[path] = tuple(tensor.shape[1:]), tuple(watch.grids)
        if tensor is not output:
            run.several[path] = _described(output)
        samples.take(tensor)

    def attend(number: int, weights: Callable[[], Tensor]) -> None:
        """Record a call of attention, unless it works on a batch of windows."""
        shape = tuple(weights().shape)
        if len(shape) == 4 and shape[0] == 1:
            own = inside[-1][0] if inside else "net"
            path = _free(f"{own.rpartition('.')[0] or own}/attention", run.attention)
            run.shapes[path], run.calls[path], run.grids[path] = (shape[3], shape[1]), 1, tuple(watch.grids)
            run.attention[path], queries[path] = Call(number, False), shape[2]

    try:
        with torch.enable_grad(), trace(module, leave, enter), AttentionCalls(attend), watch:
            out = module(
                x.clone()
            )  # gradients are enabled to find out where the network disables them; nothing requires one
    except Exception as error:  # user code may raise anything
        raise UserError(explained(name, module, x, error, inside)) from error
    run.scores = out.shape[1] if isinstance(out, Tensor) and out.ndim == 2 else None
    _place(run, samples.with_place(module, x), x.shape[3] / x.shape[2], queries)
    return run


class _Grids(TorchFunctionMode):
    """Records rows and columns of what convolutions and poolings return, the latest first."""

    def __init__(self) -> None:
        super().__init__()
        self.grids: list[Grid] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _SPATIAL and isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] * out.shape[3] > 1:
            grid = (out.shape[2], out.shape[3])
            self.grids = [grid, *(one for one in self.grids if one != grid)]
        return out


_SPATIAL = {torch.conv2d, torch.max_pool2d, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.interpolate}


class _Samples:
    """Keeps the first outputs with each number of tokens, before attention mixes the tokens.

    Tokens that do not depend on any pixel (such as class tokens) have no place on the picture.
    """

    def __init__(self, counts: Collection[int] | None = None) -> None:
        self._first: dict[int, list[Tensor]] = {}
        self._counts = counts

    def take(self, output: Tensor) -> None:
        if output.ndim == 3 and (self._counts is None or output.shape[1] in self._counts):
            first = self._first.setdefault(output.shape[1], [])
            if len(first) < 4:
                first.append(output.detach().clone())

    def with_place(self, module: nn.Module, x: Tensor) -> dict[int, tuple[int, int]]:
        """{number of tokens: (first token with a place, number of tokens with a place)}.

        The network is run on another picture to see which tokens change. A number of tokens is left out if all of
        them have a place or they are mixed already.
        """
        if not any(count > 1 for count in self._first):
            return {}
        other = _Samples(self._first.keys())
        with (
            suppress(Exception),
            torch.no_grad(),
            trace(module, lambda _p, _m, _i, output: other.take(_or_none(output))),
        ):
            module(1 - x)
        found = {}
        for tokens, outputs in self._first.items():
            changes = [_changes(*pair) for pair in zip(outputs, other._first.get(tokens, []))]
            rows = next((rows for rows in changes if len(rows)), [])
            if 1 < len(rows) < tokens and rows[-1] - rows[0] == len(rows) - 1:
                found[tokens] = (rows[0], len(rows))
        return found


def _or_none(output: object) -> Tensor:
    tensor = shown(output)
    return torch.empty(0) if tensor is None else tensor


def _changes(one: Tensor, other: Tensor) -> list[int]:
    """The indices of the tokens that differ."""
    if one.shape != other.shape:
        return []
    gap = (one - other).nan_to_num().abs().amax((0, 2))
    return (gap > 1e-6 * float(one.nan_to_num().abs().max())).nonzero().flatten().tolist()


def _place(run: Run, found: Mapping[int, tuple[int, int]], aspect: float, queries: Mapping[str, int]) -> None:
    """Find where the tokens of all outputs lie, and remove attention whose keys have no place on the picture."""
    for path, shape in list(run.shapes.items()):
        if len(shape) != 2:
            continue
        count, grids = shape[0], run.grids[path]
        if path not in run.attention and count not in found and (shape[1] == 1 or channels_first(shape, grids)):
            continue
        run.places[path] = places = (
            spread(*found[count], aspect, grids) if count in found else patches(count, aspect, grids)
        )
        if path in run.attention:
            from_first = places.before > 0 and queries[path] in (1, count)
            run.attention[path] = Call(run.attention[path].number, from_first)
            if places.height < 2:
                del run.attention[path], run.shapes[path], run.places[path], run.calls[path]


def _described(output: object) -> str:
    """A short description of what a module returned."""
    if isinstance(output, Tensor):
        return f"a tensor {'×'.join(map(str, output.shape)) or 'of no dimension'}"
    size = f" of {len(output)}" if isinstance(output, Sized) and not isinstance(output, str) else ""
    return f"{type(output).__name__}{size}"


def _free(name: str, taken: Mapping[str, object]) -> str:
    """The name, with a number if it is taken."""
    return next(n for n in chain([name], (f"{name}{i}" for i in count(2))) if n not in taken)


# ---- what to show -------------------------------------------------------------------------------

_NOT_SHOWN = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)
_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MANY = 64  # if there are more modules than this, blocks are shown
FEW = 8  # if there are fewer blocks than this, the largest are opened


def choose(module: nn.Module, run: Run) -> dict[str, str]:
    """Choose the layers of a network for which none are given: {name: path}.

    All innermost modules that can be shown or, if these are too many, the network's blocks; and all attention.
    """
    innermost = _innermost(module, run)
    chosen = innermost if len(innermost) <= MANY else set(_Blocks(module, run, innermost).found())
    return {
        path.removeprefix("net."): path
        for path in run.shapes
        if path in run.attention or path in chosen and not isinstance(module.get_submodule(path), _NOT_SHOWN)
    }


def _innermost(module: nn.Module, run: Run) -> set[str]:
    """The modules that can be shown and contain no other module that can be shown."""
    can = {path for path in run.shapes if path not in run.attention}
    within = {path for path in can if not isinstance(module.get_submodule(path), _NOT_SHOWN)}
    outer = {above for path in within for above in _above(path)}
    return {path for path in can - outer if type(module.get_submodule(path)) not in _LISTS}


def _above(path: str) -> Iterator[str]:
    """Paths of the modules around one."""
    while path := path.rpartition(".")[0]:
        yield path


class _Blocks:
    """Finds the blocks of a network.

    A module that holds more than half of the network's modules, or more than an eighth if it returns several tensors,
    is not a block but a trunk: it is opened, and the blocks are looked for inside. If a module is opened, so are all
    modules of its class.
    """

    def __init__(self, module: nn.Module, run: Run, innermost: Collection[str]) -> None:
        self._module, self._run, self._total = module, run, len(innermost)
        self._sizes = Counter(above for path in innermost for above in _above(path))
        self._opened: set[type] = set()

    def found(self) -> list[str]:
        """The paths of the blocks."""
        while True:
            blocks = list(self._walk("", self._module))
            largest = max((path for path in blocks if self._sizes[path] > 1), key=self._sizes.__getitem__, default="")
            trunks = [path for path in blocks if path in self._run.several and 8 * self._sizes[path] > self._total]
            if largest and (2 * self._sizes[largest] > self._total or len(blocks) < FEW):
                trunks.append(largest)
            if not trunks:
                return blocks
            self._opened |= {type(self._module.get_submodule(path)) for path in trunks}

    def _walk(self, path: str, module: nn.Module) -> Iterator[str]:
        for name, child in module.named_children():
            inner = f"{path}.{name}" if path else name
            if self._sizes[inner] and self._is_open(inner, module, child):
                yield from self._walk(inner, child)
            elif inner in self._run.shapes:
                yield inner

    def _is_open(self, path: str, parent: nn.Module, child: nn.Module) -> bool:
        is_network = isinstance(parent, Chosen) and child is parent.net
        return is_network or path not in self._run.shapes or type(child) in self._opened or _is_container(child)


def _is_container(module: nn.Module) -> bool:
    """Whether a module is a list of modules, or contains a list with at least three blocks of the same class."""
    if type(module) in _LISTS:
        return any(True for _ in module.children())
    lists = [child for child in module.children() if type(child) in _LISTS]
    kinds = [
        Counter(type(block) for block in blocks.children() if any(True for _ in block.children())) for blocks in lists
    ]
    return any(count >= 3 for kind in kinds for count in kind.values())


def left_out(module: nn.Module, run: Run, paths: Collection[str]) -> tuple[str, ...]:
    """Sentences for the user about modules that are not shown, or not in full.

    Args:
        paths: the paths of the modules that are shown.
    """
    inside = sorted(_innermost(module, run) - {*paths}, key=list(run.shapes).index)
    inside = [path for path in inside if not isinstance(module.get_submodule(path), _NOT_SHOWN)]
    first = [f"{path.removeprefix('net.')} ({run.several[path]})" for path in paths if path in run.several]
    reachable = {above for path in run.shapes for above in _above(path)}
    never = [
        f"{path.removeprefix('net.')} ({why})"
        for path, why in run.hidden.items()
        if path not in {*reachable, *run.shapes}
    ]
    shut = [path.removeprefix("net.") for path in run.shut & {*paths}]
    notes = []
    if inside:
        example = inside[len(inside) // 2].removeprefix("net.")
        notes.append(f"{len(inside)} more modules can be shown, those inside the blocks: name them under layers: in a "
                     f"model.yaml, as in '{example.replace('.', '_')}: {example}'.")  # fmt: skip
    if first:
        notes.append(f"Of modules that return several tensors the first map is shown: {_some(dict.fromkeys(first))}.")
    if never:
        notes.append(f"These cannot be shown, because they return no map, tokens or vector: {_some(never)}.")
    if shut:
        notes.append(
            f"No gradient passes through these, because they run under no_grad or inference_mode: "
            f"{_some(sorted(shut))}."
        )
    return tuple(notes)


def _some(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def find(
    net: str, shown: str, path: str, module: nn.Module, run: Run, classes: Sequence[str], aspect: float
) -> list[tuple[Layer, UnitAxes, str]]:
    """The layers for a module's output: one; for tokens also one for each token without a place (class token).

    Raises:
        UserError: there is no such module, or its output cannot be shown.
    """
    if path not in run.shapes:
        known = {p for p, _ in module.named_modules()}
        why = "is never called with a map, tokens or a vector as its result" if path in known else "does not exist"
        why += f" (it returned {run.hidden[path]})" if path in run.hidden else ""
        raise UserError(
            f"layer {shown!r} of network {net}: module {path!r} {why}. "
            f"Modules that can be shown: {', '.join(list(run.shapes)[:40])}."
        )
    seen = axes_of(run.shapes[path], aspect, run.grids[path], run.places.get(path))
    if path in run.attention:
        seen, kind = seen[:1], Attention.__name__
    else:
        kind = type(module.get_submodule(path)).__name__
    return [(Layer(shown + v.name, kind, v.units, v.height, v.width, _labels(v, classes)), v, path) for v in seen]


def _labels(axes: UnitAxes, classes: Sequence[str]) -> tuple[str, ...]:
    return tuple(classes) if axes.height * axes.width == 1 and axes.units == len(classes) else ()
