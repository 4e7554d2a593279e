"""Removing wrappers and parametrizations from a network's modules. In inference its values stay the same."""

from __future__ import annotations

from types import MethodType

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_COMPILED = "_torchdynamo_orig_callable"  # attribute of a function that torch.compile returns
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(module: nn.Module) -> nn.Module:
    """Remove everything that hides or changes modules of the network, and return the network.

    A wrapper of `torch.compile` or of parallel training is replaced by the module inside. Parametrized weights (weight
    norm, spectral norm in both versions, and any other parametrization) become parameters with their current values.

    Args:
        module: the network; it is changed. It must be in eval mode, so that spectral norms have their inference values.
    """
    module = innermost(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if (inner := innermost(child)) is not child:
                parent._modules[name] = inner
    for child in module.modules():
        _uncompile(child)
        _settle(child)
    return module


def innermost(module: nn.Module) -> nn.Module:
    """The module inside what `torch.compile` and parallel wrappers have put around it; the module itself without
    such."""
    while True:
        held = vars(module).get("_modules", {})  # no `getattr`: a network may hand that on to a compiled part of it
        if isinstance(module, _PARALLEL):
            module = module.module
        elif "_orig_mod" in held:  # of torch.compile
            module = held["_orig_mod"]
        else:
            return module


def _uncompile(module: nn.Module) -> None:
    """Replace compiled functions of a module or its class by the original functions."""
    module._compiled_call_impl = None
    for name, value in list(vars(module).items()):
        if name != "_modules" and hasattr(value, _COMPILED):
            setattr(module, name, getattr(value, _COMPILED))
    for base in type(module).__mro__:
        for name, value in vars(base).items():
            if hasattr(value, _COMPILED) and name not in vars(module):
                setattr(module, name, MethodType(getattr(value, _COMPILED), module))


def _settle(module: nn.Module) -> None:
    """Turn parametrized weights into parameters."""
    with torch.no_grad():
        if parametrize.is_parametrized(module):
            names = [name for name, _ in module.get_submodule("parametrizations").named_children()]
            values = {name: getattr(module, name).detach().clone() for name in names}
            module.__class__ = type(module).__bases__[0]
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))
        _settle_old(module)


def _settle_old(module: nn.Module) -> None:
    """The same for `torch.nn.utils.weight_norm`, `spectral_norm` and `prune`, which are hooks."""
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
