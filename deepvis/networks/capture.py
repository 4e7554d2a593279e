"""The only place that registers hooks on a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from deepvis.networks.outputs import shown, with_shown


@contextmanager
def capture(
    module: nn.Module, paths: Collection[str], cut: tuple[str, int] | None = None, stop: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Collect what submodules return while the block runs; the hooks leave with the block.

    Of a module that returns no tensor but a list of them or the like it is the one that `outputs.shown` picks.

    Args:
        module: the network.
        paths: qualified names of submodules ("blocks.0.1"); a module called more than once
            leaves its last output.
        cut: one of `paths` and how often the network calls it; behind the last of these calls no
            gradient is recorded, because none is needed there.
        stop: end the network's run, and with it the block, behind the last call of `cut`: what
            comes after costs nothing. The rest of the block is not executed.
    Yields:
        {path: output}, filled as the network runs. The network itself goes on with a copy, so
        that a later in-place operation cannot overwrite what was captured.
    """
    captured: dict[str, Tensor] = {}
    handles = []
    try:
        for path in paths:
            hook = _keep(captured, path, cut[1] if cut and cut[0] == path else 0, stop)
            handles.append(module.get_submodule(path).register_forward_hook(hook))
        yield captured
    except _EndOfRun:
        pass
    finally:
        for handle in handles:
            handle.remove()


class _EndOfRun(BaseException):
    """Ends a run of the network early. No `Exception`: a network's own `except Exception` would swallow it."""


class Abandoned(BaseException):
    """A run of the network was given up, because nobody waits for its result any more."""


@contextmanager
def interruptible(module: nn.Module, paths: Collection[str], is_unwanted: Callable[[], bool]) -> Iterator[None]:
    """Let what runs in the block, forward or backward, end at the next of these submodules once nobody wants it.

    Args:
        paths: qualified names of submodules; between two of them nothing is looked at.
        is_unwanted: asked before each of them runs, and when a gradient comes out of it.
    Raises:
        Abandoned: it ended.
    """

    def look(*_: object) -> None:
        if is_unwanted():
            raise Abandoned

    def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        look()
        for value in inputs:
            if isinstance(value, Tensor) and value.requires_grad:
                value.register_hook(look)

    handles = []
    try:
        for path in paths:
            handles.append(module.get_submodule(path).register_forward_pre_hook(enter))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _keep(captured: dict[str, Tensor], path: str, cut_at_call: int, stop: bool) -> Callable[..., object]:
    calls, here = 0, threading.get_ident()

    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: object) -> object:
        nonlocal calls
        calls += 1
        seen = shown(output)
        if seen is None:  # of a module that returns now this, now that
            return output
        captured[path] = seen
        if (
            stop and calls == cut_at_call and threading.get_ident() == here
        ):  # a thread of the network's own would only die
            raise _EndOfRun
        return with_shown(output, seen, seen.detach().clone() if calls == cut_at_call else seen.clone())

    return hook


@contextmanager
def trace(
    module: nn.Module,
    leave: Callable[[str, nn.Module, tuple[Any, ...], object], None],
    enter: Callable[[str, nn.Module, tuple[Any, ...]], None] | None = None,
    paths: Collection[str] | None = None,
) -> Iterator[None]:
    """Call `leave(path, submodule, inputs, output)` after each submodule's forward, in call order, and
    `enter(path, submodule, inputs)` before it; of all submodules, or of these `paths` only."""
    handles = []
    try:
        for path, child in module.named_modules():
            if paths is not None and path not in paths:
                continue
            if path and enter:
                handles.append(child.register_forward_pre_hook(lambda m, i, path=path: enter(path, m, i)))
            if path:
                handles.append(child.register_forward_hook(lambda m, i, o, path=path: leave(path, m, i, o)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def before_each_run(module: nn.Module, hook: Callable[..., None]) -> None:
    """Call `hook(module, inputs)` before every run of the network, for good; copies of the network get copies of it."""
    module.register_forward_pre_hook(hook)
