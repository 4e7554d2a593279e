"""The fingerprint of a network: a short text that is different for different networks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from deepvis.core.marks import Mark

_DIGITS = 32  # hexadecimal; the fingerprints of earlier versions had 16
_SAMPLES = 4096  # values of each tensor that the fingerprints of earlier versions used


def fingerprint(module: nn.Module, scaling: bytes = b"") -> Mark:
    """A network's fingerprint: 32 hexadecimal digits, a hash of the names, shapes and values in its state dict.

    It is the same for every device and precision if it is computed before the network is moved.

    Args:
        scaling: the normalisation of the input (`InputSpec.scaling`). Networks with the same weights but another
            normalisation have different fingerprints.
    """
    state = {name: tensor.detach() for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    whole = hashlib.sha256(scaling)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing releases the lock of the interpreter
        for (name, tensor), digest in zip(state.items(), threads.map(_digest, state.values())):
            whole.update(f"{name} {tuple(tensor.shape)}".encode() + digest)
    return Mark(whole.hexdigest()[:_DIGITS], _former(state, scaling))


def _digest(tensor: Tensor) -> bytes:
    """A hash of a tensor's values: floating-point ones as float32, whole numbers as int64."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    values = tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64).contiguous().cpu()
    return hashlib.sha256(values.numpy().data).digest()


def _former(state: Mapping[str, Tensor], scaling: bytes) -> str:
    """The fingerprint of earlier versions, of evenly spaced values only, so that it may miss differences."""
    digest = hashlib.blake2b(scaling, digest_size=8)
    for name, tensor in state.items():
        values = tensor.flatten()
        step = max(1, values.numel() // _SAMPLES)
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values[::step].float().cpu().numpy().tobytes())
    return digest.hexdigest()
