"""Class activation maps, averaged gradients and relevance as answers to a request: against captum."""

from __future__ import annotations

from dataclasses import replace

import captum.attr as captum
import numpy as np
import pytest
import torch
from smallnets import small
from torch import Tensor, nn

from deepvis.attribution import averaged, path
from deepvis.attribution.class_activation import earlier_maps
from deepvis.attribution.methods import METHODS, Step
from deepvis.attribution.passes import answer, finished
from deepvis.attribution.relevance import share_words
from deepvis.attribution.requests import Request, Result
from deepvis.core.frames import Frame
from deepvis.networks.network import InputSpec, Network, prepare

FRAME = Frame(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8), "noise", 0, False)


@pytest.fixture(scope="module")
def net() -> Network:
    return small()


def ask(net: Network, method: str, layer: str = "fc", unit: int = 4, at: str = "") -> Result:
    return finished(net, Request(FRAME, True, at or layer, method, (layer, unit)))


def x_of(net: Network) -> Tensor:
    return net.see(FRAME.image, True)


def test_grad_cam_is_captums(net: Network) -> None:
    for layer, module in (("conv1", net.module.conv1), ("conv2", net.module.conv2), ("conv3", net.module.conv3)):
        got = ask(net, "grad-cam", at=layer)
        assert got.note == f"from the maps of {layer}"
        plain = small().module  # captum's hooks and in-place functions do not mix
        plain.relu1.inplace = False
        cam = captum.LayerGradCam(plain, plain.get_submodule(layer))
        low = cam.attribute(x_of(net).requires_grad_(), target=4, relu_attributions=True)
        want = captum.LayerAttribution.interpolate(low, (32, 32), "bilinear")[0, 0].detach().numpy()
        assert want.max() > 0
        np.testing.assert_allclose(got.pixels[..., 1], want, rtol=1e-5, atol=1e-5 * want.max())
        assert module is not None


def formula(a: np.ndarray, g: np.ndarray, method: str) -> np.ndarray:
    """The papers' sums, one channel and one place at a time."""
    total = np.zeros(a.shape[1:])
    for maps, slopes in zip(a, g):
        if method == "grad-cam++":
            weight = 0.0
            for slope in slopes.ravel():
                if slope > 0:
                    weight += slope**2 / (2 * slope**2 + np.maximum(maps, 0).sum() * slope**3) * slope
            total += weight * maps
        else:
            for place in np.ndindex(maps.shape):
                slope = slopes[place]
                total[place] += maps[place] * (max(slope, 0) if method == "layer-cam" else slope)
    return np.maximum(total, 0)


@pytest.mark.parametrize("method", ["grad-cam++", "layer-cam", "hires-cam"])
def test_its_relatives_by_their_formulas(net: Network, method: str) -> None:
    x = x_of(net)
    with torch.no_grad():
        before = net.module.conv2(net.module.relu1(net.module.conv1(x)))
    a = before.clone().requires_grad_()
    logit = net.module.fc(net.module.conv3(a.relu()).relu().mean((2, 3)))[0, 4]
    (g,) = torch.autograd.grad(logit, a)
    low = torch.from_numpy(formula(a.detach()[0].numpy(), g[0].numpy(), method)).float()[None, None]
    want = torch.nn.functional.interpolate(low, (32, 32), mode="bilinear")[0, 0].numpy()
    got = ask(net, method, at="conv2").pixels[..., 0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * want.max())


def test_class_activation_starts_from_any_unit_and_ends_at_the_last_maps_before_it(net: Network) -> None:
    assert ask(net, "grad-cam").note == "from the maps of conv3"
    assert ask(net, "grad-cam", "conv3", 2).note == "from the maps of relu2"
    assert ask(net, "grad-cam", "conv3", 2, at="conv1").note == "from the maps of conv1"
    assert earlier_maps(net, "conv2", at="conv3") == ["conv1", "relu1"]
    first = ask(net, "grad-cam", "conv1", 2)
    assert not first.pixels.any() and "no layer before conv1 has maps" in first.note


def test_a_network_without_maps_says_so() -> None:
    net = prepare("flat", nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5)), InputSpec(8, 8), None)
    got = ask(net, "grad-cam", net.layers[-1].name, 1)
    assert not got.pixels.any() and "no layer before" in got.note
    for method in ("lrp", "lrp-gamma", "lrp-box", "smoothgrad", "integrated"):
        assert np.isfinite(ask(net, method, net.layers[-1].name, 1).pixels).all()


def test_a_unit_behind_detached_code_has_no_relevance() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 2, 3), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).detach().mean((2, 3)))

    net = prepare("detached", Detached(), InputSpec(8, 8), None)
    for method in METHODS:
        got = ask(net, method, "fc", 1)
        assert not got.pixels.any() and not got.error, method


def test_gradient_times_input_is_captums(net: Network) -> None:
    want = captum.InputXGradient(net.module).attribute(x_of(net).requires_grad_(), target=4)
    got = ask(net, "gradient-x-input").pixels
    np.testing.assert_allclose(got, want[0].permute(1, 2, 0).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_integrated_gradients_are_captums_and_say_their_error(net: Network, monkeypatch) -> None:
    monkeypatch.setattr(path, "FINER", 1)  # equal steps alone
    x, passes = x_of(net), METHODS["integrated"].passes
    found = captum.IntegratedGradients(net.module).attribute(
        x, target=4, n_steps=passes, method="riemann_middle", return_convergence_delta=True
    )
    want, delta = found[0][0].permute(1, 2, 0).detach().numpy(), float(found[1])
    got = ask(net, "integrated")
    np.testing.assert_allclose(got.pixels, want, rtol=1e-3, atol=1e-5 * np.abs(want).max())
    with torch.no_grad():
        rise = float((net.module(x) - net.module(torch.zeros_like(x)))[0, 4])
    assert f"the sum is {100 * abs(delta) / abs(rise):.1f} % off" in got.note and f"{passes} steps" in got.note


def test_steps_are_divided_where_a_probability_rises(monkeypatch) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2), nn.Softmax(1))
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        module[1].weight *= 60
    net = prepare("steep", module.double(), InputSpec(8, 8), None)
    x, unit = net.see(FRAME.image, True), int(net.module(net.see(FRAME.image, True)).argmax())
    want = captum.IntegratedGradients(net.module).attribute(x, target=unit, n_steps=20_000, method="riemann_middle")
    request = Request(FRAME, True, "2", "integrated", ("2", unit))
    monkeypatch.setattr(path, "FINER", 1)
    rough = finished(net, request)
    monkeypatch.undo()
    fine = finished(net, request)
    misses = [
        np.abs(one.pixels - want[0].permute(1, 2, 0).numpy()).max() / float(want.abs().max()) for one in (rough, fine)
    ]
    assert misses[0] > 0.03 and misses[1] < 0.01, (misses, rough.note, fine.note)
    assert float(fine.note.split("sum is ")[1].split(" %")[0]) <= 1


def test_errors_between_the_steps_add_up_to_that_of_the_sum() -> None:
    steps = [Step(0.125, 0.25, 1.0, 3.0), Step(0.5, 0.5, 2.0, -1.0), Step(0.875, 0.25, 2.5, 8.0)]
    errors = path.errors_between(steps, 0.5, 4.0)
    assert len(errors) == 4 and errors[0] == pytest.approx(1 - 0.5 - 3 * 0.125)
    assert sum(errors) == pytest.approx(4.0 - 0.5 - (3 * 0.25 - 0.5 + 8 * 0.25))


def test_smoothgrad_is_captums_noise_tunnel_with_the_same_noise(net: Network, monkeypatch) -> None:
    x, passes = x_of(net), METHODS["smoothgrad"].passes
    spread = averaged.NOISE * float(x.max() - x.min())
    copies = torch.cat([averaged.noise(number, x) for number in range(passes)]) * spread
    monkeypatch.setattr(torch, "normal", lambda mean, std, *rest, **kwargs: copies.to(std.dtype))
    want = captum.NoiseTunnel(captum.Saliency(net.module)).attribute(
        x, nt_type="smoothgrad", nt_samples=passes, stdevs=spread, target=4, abs=False
    )
    got = ask(net, "smoothgrad").pixels
    np.testing.assert_allclose(got, want[0].permute(1, 2, 0).numpy(), rtol=1e-3, atol=1e-5 * np.abs(got).max())


@pytest.mark.parametrize("method", ["smoothgrad", "integrated"])
def test_many_passes_go_on_from_what_there_is(net: Network, method: str) -> None:
    request = Request(FRAME, True, "conv2", method, ("fc", 4), layer_gradient=True, peaks=True)
    first = answer(net, request)
    assert first.progress is not None and first.progress.passes == 1 and first.pixels.any() and first.peaks is not None
    second = answer(net, replace(request, so_far=first))
    assert second.request == replace(request, so_far=None) and second.progress.passes == 1 + averaged.AT_ONCE
    assert second.peaks is None and second.activations is first.activations and second.layer_gradient.any()
    assert not np.array_equal(first.pixels, second.pixels)
    assert finished(net, request).progress is None


def test_steps_of_the_path_are_the_middles_of_equal_parts() -> None:
    places = [path.place_on_path(number, 16) for number in range(16)]
    assert sorted(places) == [(i + 0.5) / 16 for i in range(16)]
    for count in (2, 4, 8):  # the first ones are spread over the whole path
        assert {int(place * count) for place in places[:count]} == set(range(count))


def test_relevance_speaks_for_the_unit_and_says_how_much_arrived(net: Network) -> None:
    got = ask(net, "lrp")
    assert got.note.endswith("% from pixels, the rest from biases")
    share = got.pixels.sum()
    assert got.note == share_words(float(share), 1.0)


@pytest.mark.parametrize(
    ("reached", "words"), [(0.123, "12 %"), (0.004, "0.4 %"), (0, "0 %"), (-0.5, "−50 %"), (1e9, "without bounds"),
                           (float("nan"), "without bounds")]
)  # fmt: skip
def test_shares_in_words(reached: float, words: str) -> None:
    assert words in share_words(reached, 1)
