"""Networks that cannot be watched are refused with the reason and the way out, and those that only look so are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.networks.loading import from_module, load

SMALL = {"input": {"height": 16, "width": 16}}


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


class Holds(nn.Module):
    """A convolution, and beside it one tensor."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        if isinstance(tensor, nn.Parameter):
            self.weight = tensor
        else:
            self.register_buffer("weight", tensor)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def dynamic() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})


def static() -> nn.Module:
    module = torch.ao.quantization.QuantWrapper(plain()).eval()
    module.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    prepared = torch.ao.quantization.prepare(module)
    prepared(torch.rand(1, 3, 16, 16))
    return torch.ao.quantization.convert(prepared)


def graph_quantized() -> nn.Module:
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    x = torch.rand(1, 3, 16, 16)
    prepared = quantize_fx.prepare_fx(plain(), get_default_qconfig_mapping("x86"), (x,))
    prepared(x)
    return quantize_fx.convert_fx(prepared)


def integers() -> nn.Module:
    return Holds(nn.Parameter(torch.ones(4, 3, dtype=torch.int8), requires_grad=False))


def meta() -> nn.Module:
    with torch.device("meta"):
        return plain()


def partly_meta() -> nn.Module:
    module = plain()
    module[4].to("meta")
    return module


def scripted_inside() -> nn.Module:
    return nn.Sequential(torch.jit.script(nn.Conv2d(3, 4, 3)), nn.ReLU())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make, said", [
    (dynamic, ("module 4 (Linear) is quantized", "as it was before")),
    (static, ("is quantized", "as it was before")),
    (graph_quantized, ("is quantized", "as it was before")),
    (integers, ("(Holds) is quantized", "without quantizing")),
    (meta, ("meta device", "to_empty")),
    (partly_meta, ("module 4 (Linear) has no values", "load_state_dict")),
    (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()), ("lazy", "Run it once before")),
    (lambda: Holds(torch.eye(4).to_sparse()), ("weight in the layout sparse_coo", "weight.to_dense()")),
    (scripted_inside, ("module 0 is TorchScript", "source: onnx:FILE")),
])  # fmt: skip
def test_refused(make: Callable[[], nn.Module], said: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        from_module(make(), "net", "cpu", given=SMALL)
    assert str(error.value).startswith("net: the network") and all(part in str(error.value) for part in said)


def test_refused_before_weights_are_read_into_it(tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.LazyConv2d(4, 3))\n")
    (tmp_path / "model.yaml").write_text("source: python:lazy:net\nweights: w.pth\n")
    torch.save({"0.weight": torch.ones(4, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="lazy"):
        load(str(tmp_path), "cpu")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [
    lambda: torch.fx.symbolic_trace(plain()),
    lambda: Holds(nn.Parameter(torch.tensor([2, 1, 0]), requires_grad=False)),
    lambda: Holds(torch.zeros(3, dtype=torch.uint8)),
    lambda: Holds(torch.ones(3, dtype=torch.complex64)),
    lambda: plain().half(),
])  # fmt: skip
def test_not_refused(make: Callable[[], nn.Module]) -> None:
    assert "Conv2d" in {layer.kind for layer in from_module(make(), "net", "cpu", given=SMALL).layers}


def test_whatever_its_code_raises_is_said_in_words() -> None:
    class Picky(nn.Conv2d):
        def requires_grad_(self, requires_grad: bool = True) -> nn.Module:
            raise RuntimeError("not with me")

    with pytest.raises(UserError, match="net: the network cannot be made ready: RuntimeError: not with me"):
        from_module(Picky(3, 4, 3), "net", "cpu", given=SMALL)


def test_complex_weights_are_refused() -> None:
    with pytest.raises(UserError, match="has complex weights"):
        from_module(Holds(nn.Parameter(torch.zeros(2, dtype=torch.complex64))), "net", "cpu", given=SMALL)
