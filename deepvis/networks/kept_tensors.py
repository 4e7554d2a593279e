"""Tensors that a network keeps between calls besides its weights: position grids, last features, a recurrent state.

A pass must not depend on earlier passes: several copies of the network share the pictures, batches and canvases have
different sizes, and a tensor kept from a pass with gradients would keep its graph in memory. So every pass of a
network that keeps tensors starts from the state before its first pass.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from deepvis.networks.capture import before_each_run

T = TypeVar("T")


def copied(value: T, memo: dict[int, Any] | None = None, change: Callable[[Tensor], Tensor] = lambda t: t) -> T:
    """A deep copy of a network or of values in it; its tensors are detached from graphs and are no inference tensors.

    Args:
        memo: {id of an object: the object to use in place of a copy}, as in `copy.deepcopy`.
        change: applied to the copy of each tensor that is not a parameter and not in `memo`.
    """
    with _Detached(change):
        return copy.deepcopy(value, memo)


class _Detached(TorchFunctionMode):
    """Copies tensors detached: `copy.deepcopy` refuses tensors of a graph, and copies inference tensors as such."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._change = change

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            with torch.no_grad():
                memo[id(tensor)] = self._change(tensor.clone())
        return memo[id(tensor)]


_begun: WeakSet[nn.Module] = WeakSet()


def begin(module: nn.Module, x: Tensor) -> object:
    """Run a network for the first time, and make every later run start from the same state.

    Modules and lazy weights that the first run creates stay. Tensors that it keeps are removed before later runs.

    Returns:
        The network's output; None if this was done before for it or for a network inside it.
    Raises:
        Exception: whatever the network's code raises.
    """
    if any(child in _begun for child in module.modules()):
        return None
    move_kept(module, x.device, x.dtype)
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        _run(module, x)
    before, parts = Kept(module), set(module.modules())
    output = _run(module, x)
    if parts != set(module.modules()):
        before = Kept(module)
        output = _run(module, x)
    if before.keep_changes():
        before_each_run(module, before)
        before()
    _begun.add(module)
    return output


def _run(module: nn.Module, x: Tensor) -> object:
    with torch.no_grad():
        return module(x.clone())  # a copy, because the module may change it in place


def move_kept(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move the tensors that modules hold besides parameters and buffers; `nn.Module.to` does not move these."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    memo = _standing(module)
    for child in list(module.modules()):
        for name, value in _held(child).items():
            if name != "_buffers" and any(isinstance(leaf, tuple) for leaf in _leaves(value)):
                with suppress(Exception):  # a value that cannot be copied is left as it is
                    vars(child)[name] = copied(value, memo, moved)
        for hook in child._forward_pre_hooks.values():
            if isinstance(hook, Kept):
                hook.change(moved)


class Kept:
    """A snapshot of what a network's modules hold besides parameters; as a hook it restores this before each run."""

    def __init__(self, module: nn.Module) -> None:
        """Take the snapshot."""
        self._modules = list(module.modules())
        self._standing = _standing(module)
        memo = dict(self._standing)
        self._values: list[dict[str, Any]] = [_copies(_held(child), memo) for child in self._modules]
        self._leaves = [{name: list(_leaves(value)) for name, value in _held(child).items()} for child in self._modules]

    def keep_changes(self) -> bool:
        """Compare with the present state, and restrict the snapshot to what has changed.

        Returns:
            Whether the change concerns tensors.
        """
        tensors = False
        for child, values, leaves in zip(self._modules, self._values, self._leaves):
            now = {name: list(_leaves(value)) for name, value in _held(child).items()}
            changed = {name for name in {*now, *leaves} if not _same(now.get(name), leaves.get(name))}
            tensors |= any(isinstance(leaf, tuple) for name in changed for leaf in now.get(name, ()))
            for name in {*values} - changed:
                del values[name]
            values.update({name: _NOTHING for name in changed - {*leaves}})
        self._leaves = []
        return tensors

    def change(self, change: Callable[[Tensor], Tensor]) -> None:
        """Change the tensors in the snapshot."""
        self._values = copied(self._values, dict(self._standing), change)

    def __call__(self, *_: object) -> None:
        memo = dict(self._standing)
        for child, values in zip(self._modules, self._values):
            for name, value in values.items():
                if value is _NOTHING:
                    vars(child).pop(name, None)
                else:
                    vars(child)[name] = copied(value, memo)


class _Nothing:
    def __deepcopy__(self, _memo: dict[int, Any]) -> _Nothing:
        return self


_NOTHING = _Nothing()
_OWN = {*vars(nn.Module())} - {"_buffers", "_non_persistent_buffers_set"}  # attributes of every module, such as hooks


def _standing(module: nn.Module) -> dict[int, Any]:
    """A memo for `copied` with modules and parameters, which are never copied."""
    return {id(part): part for part in (*module.modules(), *module.parameters())}


def _held(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _OWN}


def _copies(values: Mapping[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        with suppress(Exception):  # a lock or an open file cannot be copied: left out
            found[name] = copied(value, memo)
    return found


# ---- what a value is made of --------------------------------------------------------------------

_MOST, _DEEP = 5000, 6  # limits of parts and depth, for values that refer to the whole program
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_CLOSED = (type, nn.Module, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


def _leaves(value: object) -> Iterator[object]:
    """The parts of a value: plain values, lengths of containers, (tensor, version), and ids of all other objects."""
    return islice(_parts(value, _DEEP), _MOST)


def _parts(value: object, deep: int) -> Iterator[object]:
    if isinstance(value, Tensor):
        yield value, 0 if value.is_inference() else value._version
    elif isinstance(value, _PLAIN) or isinstance(value, _CLOSED) or not deep:
        yield value if isinstance(value, _PLAIN) else id(value)
    elif isinstance(value, (Sequence, Set, deque)):
        yield len(value)
        for part in value:
            yield from _parts(part, deep - 1)
    elif isinstance(value, Mapping) or hasattr(value, "__dict__"):
        entries = value if isinstance(value, Mapping) else vars(value)
        yield len(entries)
        for key, part in list(entries.items()):
            yield key if isinstance(key, _PLAIN) else id(key)
            yield from _parts(part, deep - 1)
    else:
        yield id(value)


def _same(now: list[object] | None, before: list[object] | None) -> bool:
    if now is None or before is None or len(now) != len(before):
        return False
    return all(
        one[0] is other[0] and one[1] == other[1] if isinstance(one, tuple) and isinstance(other, tuple)
        else one is other or not isinstance(one, tuple) and not isinstance(other, tuple) and one == other
        for one, other in zip(now, before)
    )  # fmt: skip
