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
    module: nn.Module,
    paths: Collection[str],
    cut: tuple[str, int] | None = None,
    stop: bool = False,
    leaves: Collection[str] = (),
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of submodules while the block runs; the hooks are removed at its end.

    If a module returns a list of tensors or the like, `outputs.shown` picks one of them.

    Args:
        module: the network.
        paths: qualified names of submodules ("blocks.0.1"); a module called more than once
            leaves its last output.
        cut: one of `paths` and how often the network calls it. After the last of these calls no gradient is
            recorded, because none is needed there.
        stop: end the network's run, and with it the block, after the last call of `cut`, to save time. The rest
            of the block is not executed.
        leaves: those of `paths` from whose outputs on gradients are recorded, even if none are before.
    Yields:
        {path: output}, filled while the network runs. The network itself continues with a copy, so that a later
        in-place operation cannot overwrite a captured output.
    """
    captured: dict[str, Tensor] = {}
    handles = []
    try:
        for path in paths:
            hook = _keep(captured, path, cut[1] if cut and cut[0] == path else 0, stop, path in leaves)
            handles.append(module.get_submodule(path).register_forward_hook(hook))
        yield captured
    except _EndOfRun:
        pass
    finally:
        for handle in handles:
            handle.remove()


class _EndOfRun(BaseException):
    """Ends a run of the network early. Not an `Exception`, which a network's own `except Exception` would catch."""


class Abandoned(BaseException):
    """A run of the network was given up, because its result is no longer needed."""


@contextmanager
def interruptible(module: nn.Module, paths: Collection[str], is_unwanted: Callable[[], bool]) -> Iterator[None]:
    """Make forward and backward passes in the block end early: at the next of these submodules after `is_unwanted`
    returns true.

    Args:
        paths: qualified names of submodules.
        is_unwanted: called before each of them runs, and in the backward pass when a gradient leaves it.
    Raises:
        Abandoned: a pass ended early.
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


def _keep(captured: dict[str, Tensor], path: str, cut_at_call: int, stop: bool, is_leaf: bool) -> Callable[..., object]:
    calls, here = 0, threading.get_ident()

    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: object) -> object:
        nonlocal calls
        calls += 1
        found = shown(output)
        if found is None:  # nothing to show this time: the module returns different things at different calls
            return output
        seen = found.detach().requires_grad_() if is_leaf and not found.requires_grad else found
        captured[path] = seen
        if (
            stop and calls == cut_at_call and threading.get_ident() == here
        ):  # only in this thread: in a thread of the network's own it would end that thread, not the run
            raise _EndOfRun
        return with_shown(output, found, seen.detach().clone() if calls == cut_at_call else seen.clone())

    return hook


@contextmanager
def trace(
    module: nn.Module,
    leave: Callable[[str, nn.Module, tuple[Any, ...], object], None],
    enter: Callable[[str, nn.Module, tuple[Any, ...]], None] | None = None,
    paths: Collection[str] | None = None,
) -> Iterator[None]:
    """While the block runs, call `enter(path, submodule, inputs)` before each submodule's forward and
    `leave(path, submodule, inputs, output)` after it; for all submodules, or only for these `paths`."""
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
    """Call `hook(module, inputs)` before every run of the network from now on; copies of the network copy the hook."""
    module.register_forward_pre_hook(hook)
