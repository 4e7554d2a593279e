"""Finding out what a network has to show: one dry run, and a choice among what it called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count

import torch
from torch import Tensor, nn

from deepvis.attention import Attention, AttentionCalls
from deepvis.capture import trace
from deepvis.errors import UserError
from deepvis.layers import Layer
from deepvis.misfits import explained
from deepvis.outputs import Chosen
from deepvis.views import View, patches, views


@dataclass(frozen=True)
class Call:
    """A call of attention: its number among all such calls, and whether the first token is a class token."""

    number: int
    from_first: bool


@dataclass
class Run:
    """What happened in a dry run.

    Attributes:
        shapes: {path of a submodule or attention: shape of what it returned last, without the
            batch}, in call order, of what can be shown.
        calls: {path: how often it was called}.
        attention: {path "blocks.0/attention": the call}; its output is keys×heads.
        scores: how many entries the network's output has, None if that is no vector.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    attention: dict[str, Call] = field(default_factory=dict)
    scores: int | None = None

    def known(self, path: str) -> str:
        """The path of an attention as the user has it, who knows of no `Chosen` around the network."""
        return f"net.{path}" if f"net.{path}" in self.attention else path


def dry_run(name: str, module: nn.Module, x: Tensor) -> Run:
    """Run the network once.

    Raises:
        UserError: it fails; says where, what was expected there, and what input would do.
    """
    run, inside = Run(), []

    def enter(path: str, child: nn.Module, inputs: tuple) -> None:
        inside.append((path, child, inputs))

    def leave(path: str, _child: nn.Module, _inputs: tuple, output: object) -> None:
        inside.pop()
        run.calls[path] += 1
        if isinstance(output, Tensor) and output.ndim in (2, 3, 4) and output.shape[0] == 1:
            run.shapes[path] = tuple(output.shape[1:])

    def attend(number: int, weights: Callable[[], Tensor]) -> None:
        """Kept if the keys are the patches of one picture: windows come as a batch."""
        shape = tuple(weights().shape)
        if len(shape) != 4 or shape[0] != 1:
            return
        extras, height, _ = patches(shape[3], x.shape[3] / x.shape[2])
        if height > 1:
            own = inside[-1][0] if inside else "net"
            path = _free(f"{own.rpartition('.')[0] or own}/attention", run.attention)
            run.shapes[path], run.calls[path] = (shape[3], shape[1]), 1
            run.attention[path] = Call(number, extras > 0 and shape[2] in (1, shape[3]))

    try:
        with torch.inference_mode(), trace(module, leave, enter), AttentionCalls(attend):
            out = module(x.clone())
    except Exception as error:  # user code may raise anything
        raise UserError(explained(name, module, x, error, inside)) from error
    run.scores = out.shape[1] if isinstance(out, Tensor) and out.ndim == 2 else None
    return run


def _free(name: str, taken: Mapping[str, object]) -> str:
    """The name, with a number if it is taken."""
    return next(n for n in chain([name], (f"{name}{i}" for i in count(2))) if n not in taken)


# ---- what to show -------------------------------------------------------------------------------

_NOT_SHOWN = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)
MANY = 64  # more modules than this are shown by blocks


def choose(module: nn.Module, run: Run) -> dict[str, str]:
    """What to show of a network that names no layers: every module without children, or, where
    these are too many, the blocks it is built of."""
    leaves = {path for path, child in module.named_modules() if not any(True for _ in child.children())}
    chosen = leaves if len(leaves & set(run.shapes)) <= MANY else set(_blocks("", module))
    return {
        path.removeprefix("net."): path
        for path in run.shapes
        if path in run.attention or path in chosen and not isinstance(module.get_submodule(path), _NOT_SHOWN)
    }


def _blocks(path: str, module: nn.Module) -> Iterator[str]:
    """Paths of what the trunk strings together, in whatever containers it lies."""
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if _is_container(child) or isinstance(module, Chosen) and child is module.net:
            yield from _blocks(inner, child)
        else:
            yield inner


def _is_container(module: nn.Module) -> bool:
    """A plain list of modules, or a module that holds one of at least three blocks of a kind."""
    if type(module) in (nn.Sequential, nn.ModuleList):
        return len(module) > 0
    lists = [child for child in module.children() if type(child) in (nn.Sequential, nn.ModuleList)]
    kinds = [Counter(type(block) for block in blocks if any(True for _ in block.children())) for blocks in lists]
    return any(count >= 3 for kind in kinds for count in kind.values())


def find(
    net: str, shown: str, path: str, module: nn.Module, run: Run, classes: Sequence[str], aspect: float
) -> list[tuple[Layer, View, str]]:
    """The layers that a module's output makes: one, or for tokens one more for each that stands apart.

    Raises:
        UserError: there is no such module, or its output cannot be shown.
    """
    if path not in run.shapes:
        known = {p for p, _ in module.named_modules()}
        why = "is never called with a map, tokens or a vector as its result" if path in known else "does not exist"
        raise UserError(
            f"layer {shown!r} of network {net}: module {path!r} {why}. "
            f"Modules that can be shown: {', '.join(list(run.shapes)[:40])}."
        )
    seen = views(run.shapes[path], aspect)
    if path in run.attention:
        seen, kind = seen[:1], Attention.__name__
    else:
        kind = type(module.get_submodule(path)).__name__
    return [(Layer(shown + v.name, kind, v.units, v.height, v.width, _labels(v, classes)), v, path) for v in seen]


def _labels(view: View, classes: Sequence[str]) -> tuple[str, ...]:
    return tuple(classes) if view.height * view.width == 1 and view.units == len(classes) else ()
