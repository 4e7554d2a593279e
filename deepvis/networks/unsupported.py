"""Networks that deepvis cannot show: why, and what to do."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from deepvis.core.errors import UserError

_QUANTIZED = (
    "torch.ao.nn.quantized",
    "torch.ao.nn.intrinsic.quantized",
    "torch.ao.nn.sparse.quantized",
    "torch.nn.quantized",
    "bitsandbytes.",
    "auto_gptq.",
    "awq.",
    "quanto.",
    "optimum.quanto",
)


def check_module(module: nn.Module) -> None:
    """Raise UserError if the network is TorchScript or quantized, or its weights are missing, complex or not dense."""
    for path, child in module.named_modules():
        what = f"the network's module {path}" if path else "the network"
        if isinstance(child, torch.jit.ScriptModule):
            raise UserError(f"{what} is TorchScript, whose modules cannot be shown. Give the module that it was "
                            "made from, or export it to ONNX and use source: onnx:FILE")  # fmt: skip
        if why := _why(child):
            raise UserError(f"{what} ({type(child).__name__}) {why}")


def _why(module: nn.Module) -> str:
    """Why a module's own weights cannot be used; empty if they can."""
    tensors = dict(chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False)))
    integers = [
        name
        for name, tensor in tensors.items()
        if isinstance(tensor, nn.Parameter) and tensor.dtype in (torch.int8, torch.uint8)
    ]
    if (
        type(module).__module__.startswith(_QUANTIZED)
        or integers
        or any(tensor.is_quantized for tensor in tensors.values())
    ):
        return (
            "is quantized: its weights are whole numbers, through which no gradient passes. Give the network as it was "
            "before (quantize_dynamic, convert and their like return a copy), or load its weights without quantizing "
            "them"
        )
    for name, tensor in tensors.items():
        if tensor.is_complex() and isinstance(tensor, nn.Parameter):
            return (
                f"has complex weights ({name}), whose activations cannot be shown. Leave it out, or show a network of "
                "real numbers"
            )
        if torch.nn.parameter.is_lazy(tensor):
            return (f"has no shape yet: {name} of a lazy module gets it in the first pass. Run it once before: "
                    "net(torch.zeros(1, 3, 224, 224))")  # fmt: skip
        if tensor.is_meta:
            return (
                f"has no values: {name} is on the meta device. Build it without torch.device('meta') and "
                "init_empty_weights, or fill it: net.to_empty(device='cpu'), then net.load_state_dict(…)"
            )
        if tensor.layout is not torch.strided:
            kind = str(tensor.layout).removeprefix("torch.").removeprefix("_")
            return f"holds {name} in the layout {kind}, which cannot be shown. Make it dense: {name}.to_dense()"
    return ""
