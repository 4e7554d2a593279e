"""Which network is it? A short text that two networks share only if they are the same."""

from __future__ import annotations

import hashlib

from torch import nn

SAMPLES = 4096  # values of each tensor that are read, so that a large network takes milliseconds


def fingerprint(module: nn.Module, scaling: bytes = b"") -> str:
    """16 hexadecimal digits, made of the names, shapes and evenly spaced values of the state.

    The same on every device and at every precision, if it is taken before the network is moved.

    Args:
        scaling: of its input: of pixels that are scaled in another way the same weights are another network.
    """
    digest = hashlib.blake2b(scaling, digest_size=8)
    for name, tensor in module.state_dict().items():
        values = tensor.detach().flatten()
        step = max(1, values.numel() // SAMPLES)
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values[::step].float().cpu().numpy().tobytes())
    return digest.hexdigest()
