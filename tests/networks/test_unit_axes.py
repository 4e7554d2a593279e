"""How outputs lie on the screen, against indices worked out by hand and real transformers."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torchvision

from deepvis.attribution.passes import answer
from deepvis.attribution.requests import Request
from deepvis.core.frames import Frame
from deepvis.networks.network import InputSpec, prepare
from deepvis.networks.outputs import Chosen
from deepvis.networks.unit_axes import axes_of


def test_a_vector_and_a_map_are_taken_as_they_are() -> None:
    (vector,) = axes_of((7,), 1.0)
    assert (vector.units, vector.height, vector.width) == (7, 1, 1)
    (map_,) = axes_of((5, 3, 3), 1.0)
    out = torch.rand(1, 5, 3, 3)
    assert (map_.units, map_.height, map_.width) == (5, 3, 3) and map_.look(out) is out


@pytest.mark.parametrize(("shape", "aspect", "want"), [
    ((14, 14, 96), 1.0, (96, 14, 14)),  # Swin: channels last
    ((96, 14, 14), 1.0, (96, 14, 14)),
    ((6, 12, 8), 2.0, (8, 6, 12)),
    ((8, 6, 12), 2.0, (8, 6, 12)),
    ((7, 7, 7), 1.0, (7, 7, 7)),  # nothing tells: channels first, as almost all networks have it
])  # fmt: skip
def test_channels_last_maps_are_told_by_the_input_s_proportions(shape, aspect: float, want) -> None:
    (axes,) = axes_of(shape, aspect)
    assert (axes.units, axes.height, axes.width) == want
    out = torch.arange(float(np.prod(shape))).reshape(1, *shape)
    seen = axes.look(out)
    assert seen.shape == (1, *want)
    if shape != want:
        assert seen[0, 3, 1, 2] == out[0, 1, 2, 3]


@pytest.mark.parametrize(("tokens", "aspect", "grid", "extras"), [
    (196, 1.0, (14, 14), []), (197, 1.0, (14, 14), ["/cls"]), (198, 1.0, (14, 14), ["/cls", "/reg1"]),
    (201, 1.0, (14, 14), ["/cls", "/reg1", "/reg2", "/reg3", "/reg4"]), (33, 2.0, (4, 8), ["/cls"]),
    (50, 1.0, (7, 7), ["/cls"]), (11, 1.0, (3, 3), ["/cls", "/reg1"]),
])  # fmt: skip
def test_tokens_lie_on_the_patch_grid_and_others_stand_apart(tokens: int, aspect: float, grid, extras) -> None:
    first, *others = axes_of((tokens, 6), aspect)
    assert (first.units, (first.height, first.width)) == (6, grid)
    assert [v.name for v in others] == extras
    out = torch.rand(1, tokens, 6)
    for row, column in ((0, 0), (1, 2), (grid[0] - 1, grid[1] - 1)):
        patch = len(extras) + row * grid[1] + column
        assert torch.equal(first.look(out)[0, :, row, column], out[0, patch])
    for i, axes in enumerate(others):
        assert torch.equal(axes.look(out)[0], out[0, i])


@pytest.mark.parametrize(("shape", "grids", "want"), [
    ((21, 6), [(4, 4)], (6, 4, 4)), ((49, 6), [(28, 28)], (6, 7, 7)), ((16, 6), [(2, 8), (4, 4)], (6, 2, 8)),
    ((100, 6), [(7, 7)], (6, 1, 100)), ((10, 6), [(14, 14)], (6, 1, 10)),  # queries and objects lie nowhere
    ((6, 16), [(2, 8)], (6, 2, 8)), ((6, 1), [(2, 8)], (6, 1, 1)),  # channels first
    ((2, 8, 30), [(2, 8)], (30, 2, 8)), ((30, 2, 8), [(2, 8)], (30, 2, 8)),
])  # fmt: skip
def test_grids_that_the_network_has_had_tell_more_than_proportions(shape, grids, want) -> None:
    axes = axes_of(shape, 1.0, grids)[0]
    assert (axes.units, axes.height, axes.width) == want
    assert axes.look(torch.rand(2, *shape)).shape == ((2, *want) if want[1] * want[2] > 1 else (2, want[0]))


def network(name: str):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = (
            timm.create_model(name[5:])
            if name.startswith("timm:")
            else torchvision.models.get_model(name, weights=None)
        )
    return prepare(name, model, InputSpec(), None)


@pytest.mark.parametrize(("name", "layer", "shape"), [
    ("timm:vit_tiny_patch16_224", "blocks.3", (192, 14, 14)),
    ("timm:vit_tiny_patch16_224", "blocks.3/cls", (192, 1, 1)),
    ("timm:deit_tiny_distilled_patch16_224", "blocks.3/reg1", (192, 1, 1)),
    ("swin_t", "features.3.0", (192, 28, 28)),
    ("convnext_tiny", "features.3.0", (192, 28, 28)),
    ("vit_b_32", "encoder.layers.encoder_layer_2", (768, 7, 7)),
])  # fmt: skip
def test_transformers_can_be_walked(name: str, layer: str, shape: tuple[int, ...]) -> None:
    net = network(name)
    assert layer in [shown.name for shown in net.layers]
    frame = Frame(np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8), "noise", 0, False)
    plain = answer(net, Request(frame, True, layer))
    assert plain.activations.shape == shape
    for method in ("gradient", "deconv", "guided"):
        result = answer(net, Request(frame, True, layer, method, (layer, 5), True))
        assert np.array_equal(result.activations, plain.activations)
        assert result.pixels.any() and result.layer_gradient.shape == shape
        assert set(np.flatnonzero(result.layer_gradient.any((1, 2)))) == {5}


def test_a_large_network_is_shown_by_blocks() -> None:
    names = [layer.name for layer in network("resnet50").layers]
    assert names[:6] == ["conv1", "bn1", "relu", "maxpool", "layer1.0", "layer1.1"] and names[-1] == "fc"
    assert len(names) == 4 + 16 + 2


def test_its_probabilities_are_shown_too() -> None:
    with torch.random.fork_rng(devices=[]):
        model = Chosen(torchvision.models.resnet50(weights=None), None, True)
    names = [layer.name for layer in prepare("net", model, InputSpec(), None).layers]
    assert names[:2] == ["conv1", "bn1"] and names[-2:] == ["fc", "softmax"]
