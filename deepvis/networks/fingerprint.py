"""Which network is it? A short text that two networks share only if they are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from deepvis.core.marks import Mark

_DIGITS = 32  # hexadecimal; former marks had 16
_SAMPLES = 4096  # values of each tensor that former marks read


def fingerprint(module: nn.Module, scaling: bytes = b"") -> Mark:
    """32 hexadecimal digits, made of the names, shapes and all values of the state.

    The same on every device and at every precision, if it is taken before the network is moved.

    Args:
        scaling: of its input: of pixels that are scaled in another way the same weights are another network.
    """
    state = {name: tensor.detach() for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    whole = hashlib.sha256(scaling)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing releases the lock of the interpreter
        for (name, tensor), digest in zip(state.items(), threads.map(_digest, state.values())):
            whole.update(f"{name} {tuple(tensor.shape)}".encode() + digest)
    return Mark(whole.hexdigest()[:_DIGITS], _former(state, scaling))


def _digest(tensor: Tensor) -> bytes:
    """Of all values: of fractions as float32, of whole numbers as they are."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    values = tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64).contiguous().cpu()
    return hashlib.sha256(values.numpy().data).digest()


def _former(state: Mapping[str, Tensor], scaling: bytes) -> str:
    """The mark that earlier versions gave: of evenly spaced values, of which it may miss all that differ."""
    digest = hashlib.blake2b(scaling, digest_size=8)
    for name, tensor in state.items():
        values = tensor.flatten()
        step = max(1, values.numel() // _SAMPLES)
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values[::step].float().cpu().numpy().tobytes())
    return digest.hexdigest()
