"""The ascent as a whole: against a loop written out by hand, and what it promises of each image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from smallnets import SPEC, Small, layer, seeded, small
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.synthesis import objectives
from deepvis.synthesis import parameterizations as images
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.objectives import unit
from deepvis.synthesis.presets import PRESETS, recipe
from deepvis.synthesis.recipe import Recipe
from deepvis.synthesis.transforms import middle

MODERN = recipe(
    "modern", {"steps": 8, "margin": 28, "jitter": 28, "rate": 0.05, "rotate": 8, "scale_low": 0.9, "scale_high": 1.2}
)
PIXELS = replace(PRESETS["plain"], keep="last", redirect=0)
ALIKE = {"start_noise": 10.0}


def values(ascent: Ascent) -> np.ndarray:
    return ascent._parameters.values.detach().numpy()


def run(
    network: Network, objective: objectives.Objective, recipes: list[Recipe], seeds: list[int], steps: int = 8, **more
) -> Ascent:
    ascent = Ascent(network, objective, recipes, seeds, **more)
    for _ in range(steps):
        ascent.step()
    return ascent


# ---- equation (2) --------------------------------------------------------------------------------


def by_hand(
    module: nn.Module, spec: InputSpec, chosen: int, x: np.ndarray, one: Recipe, steps: int
) -> tuple[np.ndarray, list]:
    """x ← r_θ(x + η ∂a/∂x) for one image, C×H×W about the mean, in float64; the scores before each step."""
    scale = torch.tensor([spec.range / 255 / s for s in spec.std], dtype=torch.float64)[:, None, None]
    scores, rate = [], one.rate
    for step in range(steps):
        at = torch.tensor(x, requires_grad=True)
        score = module((at * scale)[None])[0, chosen]
        (grad,) = torch.autograd.grad(score, at)
        grad = grad.numpy()
        if step == 0 and one.policy == "relative":
            rate = one.rate / np.sqrt((grad**2).mean())
        scores.append(score.item())
        x = (1 - one.decay) * (x + rate * grad)
        if one.blur_width and one.blur_every and step % one.blur_every == 0:
            x = np.stack([ndimage.gaussian_filter(plane, one.blur_width, mode="reflect", truncate=4) for plane in x])
        norm = np.sqrt((x**2).sum(0))
        x = x * (norm >= np.percentile(norm, one.small_norm)) if one.small_norm else x
        contribution = np.abs((x * grad).sum(0))
        x = x * (contribution >= np.percentile(contribution, one.small_contribution)) if one.small_contribution else x
    return x, scores


TOGETHER = {"decay": 0.01, "blur_width": 0.8, "blur_every": 2, "small_norm": 10, "small_contribution": 20}


@pytest.mark.parametrize("policy, rate", [("relative", 3.0), ("constant", 1e6)])
@pytest.mark.parametrize(
    "preset, changes", [*((f"yosinski-{i}", {}) for i in (1, 2, 3, 4)), ("plain", {}), ("plain", TOGETHER)]
)
def test_the_whole_update_as_by_hand(preset: str, changes: dict, policy: str, rate: float) -> None:
    one = recipe(preset, {"policy": policy, "rate": rate, "keep": "last", "redirect": 0, **changes})
    draw, units, network = np.random.default_rng(0), [3, 7], small()
    start = draw.normal(size=(2, 3, 32, 32)) * 10
    mean = torch.tensor(SPEC.mean)[:, None, None] * 255
    ascent = Ascent(
        network, unit("fc", units), [one] * 2, [0, 1], start=torch.tensor(start, dtype=torch.float32) + mean
    )
    scores = []
    for _ in range(5):
        ascent.step()
        scores.append(ascent.scores.tolist())
    module = seeded(Small).double().eval()
    for i, chosen in enumerate(units):
        want, said = by_hand(module, SPEC, chosen, start[i], one, 5)
        moved = np.abs(want - start[i]).max()
        assert moved > 1
        np.testing.assert_allclose(values(ascent)[i], want, atol=1e-3 * moved)
        np.testing.assert_allclose(np.array(scores)[:, i], said, rtol=1e-4, atol=1e-5)
        if not (one.small_norm or one.small_contribution):  # clipping takes from what was gained
            assert said[-1] > said[0]


def test_blur_rests_between_its_steps() -> None:
    one = replace(PIXELS, blur_width=1.5, blur_every=3, rate=1e-9, start_noise=40)
    ascent, changed = Ascent(small(), unit("fc", 0), [one], [0]), []
    for _ in range(7):
        before = values(ascent).copy()
        ascent.step()
        changed.append(bool(np.abs(values(ascent) - before).max() > 0.1))
    assert changed == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("name", ["total_variation", "frequency_penalty", "edge"])
def test_a_penalty_is_taken_from_the_objective(name: str) -> None:
    """At a strength that leaves nothing of the objective, the image goes down the penalty's own gradient."""
    from deepvis.synthesis.regularizers import PENALTIES

    one = replace(PIXELS, policy="constant", rate=1.0, start_noise=30, **{name: 1e4})
    ascent = Ascent(small(), unit("fc", 0), [one, replace(one, **{name: 0})], [0, 0])
    before = torch.tensor(values(ascent)[0:1]).double().requires_grad_(True)
    (away,) = torch.autograd.grad(PENALTIES[name](before).sum() * 1e4, before)
    ascent.step()
    moved = values(ascent) - before.detach().numpy()
    np.testing.assert_allclose(moved[0] - moved[1], -away[0], rtol=1e-3, atol=1e-4)


# ---- each image by itself ------------------------------------------------------------------------


@pytest.mark.parametrize("one", [MODERN, recipe("yosinski-3"), recipe("yosinski-1", {"noise": 3})])
def test_the_same_twice_to_the_bit(one: Recipe) -> None:
    first, second = (run(small(), unit("fc", [1, 2]), [one] * 2, [5, 6]) for _ in range(2))
    assert np.array_equal(values(first), values(second)) and np.array_equal(first.images(), second.images())
    assert torch.equal(first.final_scores(), second.final_scores())
    other = run(small(), unit("fc", [1, 2]), [one] * 2, [7, 6])
    assert not np.array_equal(other.images()[0], first.images()[0])


@pytest.mark.parametrize(
    "one, others",
    [
        (MODERN, {"rotate": 20, "jitter": 1, "rate": 0.1, "noise": 5, "total_variation": 0.01}),
        (replace(MODERN, margin=0, jitter=0, rotate=0, scale_low=1, scale_high=1), {"jitter": 2, "saturation": 0.2}),
        (
            recipe("yosinski-3"),
            {"decay": 0.2, "blur_width": 2, "small_norm": 40, "noise": 4, "start": "uniform", "redirect": 0},
        ),
        (recipe("yosinski-1", {"noise": 3}), {"small_contribution": 60, "blur_every": 1, "start": "mean"}),
        (recipe("plain", {"policy": "progress", "progress": 0.01}), {"progress": 0.1}),
    ],
    ids=["modern", "fourier", "yosinski-3", "yosinski-1", "progress"],
)
def test_an_image_is_the_same_in_any_batch(one: Recipe, others: dict) -> None:
    network, other = small(), replace(one, **others)
    alone = run(network, unit("fc", [4]), [one], [11])
    among = run(network, unit("fc", [1, 9, 4, 4, 0]), [other, one, one, other, other], [11, 3, 11, 11, 8])
    scale = np.abs(values(alone)).max()
    if one.parameterization == "pixels":  # Adam follows the sign of even the least coefficients, where rounding decides
        np.testing.assert_allclose(values(among)[2], values(alone)[0], atol=2e-4 * scale)
    assert np.abs(among.images()[2].astype(int) - alone.images()[0]).max() <= 1
    torch.testing.assert_close(among.final_scores()[2:3], alone.final_scores(), rtol=1e-4, atol=1e-5)
    for i in (0, 1, 3, 4):
        assert np.abs(values(among)[i] - values(alone)[0]).max() > 0.01 * scale


def test_noise_is_each_images_own() -> None:
    one = replace(PIXELS, start="mean", noise=20)
    both, alone = (run(small(), unit("fc", 0), [one] * len(seeds), seeds, 3) for seeds in ([3, 4], [4]))
    np.testing.assert_allclose(values(both)[1], values(alone)[0], atol=1e-3)
    assert np.abs(values(both)[1] - values(both)[0]).max() > 0.01


def test_starts() -> None:
    """Each image has its own recipe's; those of one seed and kind are the same."""
    recipes = [replace(PIXELS, start=start, start_noise=noise) for start, noise in
               (("noise", 10), ("noise", 40), ("uniform", 10), ("mean", 10))]  # fmt: skip
    got = values(Ascent(small(), unit("fc", 0), recipes, [1, 1, 1, 1]))
    mean = np.array(SPEC.mean)[:, None, None] * 255
    np.testing.assert_allclose(got[1], got[0] * 4, rtol=1e-5)
    assert got[0].std() == pytest.approx(10, rel=0.05) and abs(got[0].mean()) < 1
    assert (got[2] + mean).min() == pytest.approx(0, abs=0.5) and (got[2] + mean).max() == pytest.approx(255, abs=0.5)
    assert not got[3].any()
    coefficients = values(Ascent(small(), unit("fc", 0), [replace(MODERN, start=s) for s in ("noise", "mean")], [1, 1]))
    assert coefficients[0].std() == pytest.approx(MODERN.start_noise, rel=0.05) and not coefficients[1].any()


def test_a_given_start() -> None:
    start = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 100 + 80
    shown = Ascent(small(), unit("fc", 0), [PIXELS] * 2, [0, 1], start=start).images(raised=False)
    np.testing.assert_array_equal(shown, start.permute(0, 2, 3, 1).round().numpy().astype(np.uint8))


def test_faint_images_of_pixels_are_shown_with_raised_contrast_and_those_of_frequencies_as_they_are() -> None:
    pixels = Ascent(small(), unit("fc", 0), [replace(PIXELS, start_noise=1.0)], [0])
    assert pixels.images(raised=False).std() < 12 and pixels.images().std() > 35
    fourier = Ascent(small(), unit("fc", 0), [MODERN], [0])
    np.testing.assert_array_equal(fourier.images(), fourier.images(raised=False))


@pytest.mark.parametrize(
    "changes", [{"steps": 3}, {"keep": "best"}, {"margin": 1}, {"optimizer": "adam"}, {"policy": "progress"}]
)
def test_recipes_that_cannot_share_a_batch(changes: dict) -> None:
    with pytest.raises(UserError, match="same parameterization"):
        Ascent(small(), unit("fc", 0), [PIXELS, replace(PIXELS, **changes)], [0, 1])
    with pytest.raises(UserError, match="seed"):
        Ascent(small(), unit("fc", 0), [PIXELS, PIXELS], [0])


# ---- networks ------------------------------------------------------------------------------------


def rescaled(spec: InputSpec) -> Network:
    """The network of `small()` for input in another scale and order: the same function of a picture."""
    module = seeded(Small)
    rgb = (np.array(SPEC.std) * 255)[:: -1 if spec.order == "bgr" else 1]
    factor = torch.tensor(np.array(spec.std) * 255 / spec.range / rgb, dtype=torch.float32)
    weight = module.conv1.weight.detach().flip(1) if spec.order == "bgr" else module.conv1.weight.detach()
    module.conv1.weight = nn.Parameter(weight * factor[:, None, None])
    return prepare("rescaled", module, spec, None)


MEAN255 = tuple(m * 255 for m in SPEC.mean)
SAME = {
    "range 255": InputSpec(32, 32, MEAN255, (1.0, 1.0, 1.0), 255),
    "bgr": InputSpec(32, 32, SPEC.mean[::-1], SPEC.std[::-1], 1, "bgr"),
    "caffe": InputSpec(32, 32, MEAN255[::-1], (1.0, 1.0, 1.0), 255, "bgr"),
    "tiny range": InputSpec(32, 32, tuple(m / 100 for m in SPEC.mean), (0.3, 0.01, 2.0), 0.01),
}


@pytest.mark.parametrize(
    "one",
    [MODERN, recipe("yosinski-3"), recipe("yosinski-1", {"noise": 4}), recipe("plain", {"policy": "progress"})],
    ids=["modern", "yosinski-3", "yosinski-1", "progress"],
)
@pytest.mark.parametrize("scale", SAME)
def test_a_preset_means_the_same_whatever_the_networks_input(scale: str, one: Recipe) -> None:
    want, got = (run(network, unit("fc", [2, 5]), [one] * 2, [0, 1]) for network in (small(), rescaled(SAME[scale])))
    assert np.abs(got.images().astype(int) - want.images()).max() <= 1
    assert want.images().std() > 0
    torch.testing.assert_close(got.final_scores(), want.final_scores(), rtol=1e-3, atol=1e-4)


def template(size: int) -> Network:
    """Whose two units look for a figure in the middle of the input, as large as that is."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    figures = np.stack([np.sin(3 * x + k) * np.cos(2 * y + k) * np.exp(-2 * (x * x + y * y)) for k in (0, 1)])
    linear = nn.Linear(3 * size * size, 2)
    linear.weight.data = torch.tensor(np.repeat(figures[:, None], 3, 1).reshape(2, -1) / size, dtype=torch.float32)
    return prepare("template", nn.Sequential(nn.Flatten(), linear), InputSpec(size, size), {"fc": "1"})


@pytest.mark.parametrize("size", [32, 112, 224])
def test_a_preset_means_the_same_whatever_the_inputs_size(size: int) -> None:
    """Shifts as wide as a small picture would leave nothing of the figure."""
    network = template(size)
    ascent = run(network, unit("fc", [0, 1]), [recipe("modern", {"steps": 64})] * 2, [0, 1], 64)
    figures = network.module[1].weight.detach().view(2, 3, -1).mean(1).numpy()
    for image, figure in zip(ascent.images().mean(3).reshape(2, -1), figures):
        assert np.corrcoef(image, figure)[0, 1] > 0.5


@pytest.mark.parametrize("one", [MODERN, recipe("yosinski-3")], ids=["modern", "yosinski-3"])
def test_a_network_of_gray_pictures(one: Recipe) -> None:
    network = small(InputSpec(32, 32, (0.5,), (0.25,)))
    ascent = run(network, unit("fc", [1, 2]), [one] * 2, [0, 1])
    shown = ascent.images()
    assert shown.shape == (2, 32, 32, 3) and shown.dtype == np.uint8 and shown.flags.c_contiguous
    assert np.array_equal(shown[..., 0], shown[..., 1]) and np.array_equal(shown[..., 0], shown[..., 2])
    assert not ascent.dead.any() and shown.std() > 1


@pytest.mark.parametrize("one", [replace(MODERN, keep="last"), recipe("yosinski-3")], ids=["modern", "yosinski-3"])
@pytest.mark.parametrize(
    "channels, order, bands, shown",
    [
        (1, "rgb", (), (0, 0, 0)),
        (2, "rgb", (), (0, 1, None)),
        (3, "bgr", (), (0, 1, 2)),
        (4, "rgb", (), (0, 1, 2)),
        (6, "rgb", (5, 0, 3), (5, 0, 3)),
        (5, "rgb", (2,), (2, 2, 2)),
    ],
)
def test_networks_of_any_number_of_channels(one: Recipe, channels: int, order: str, bands: tuple, shown: tuple) -> None:
    """Shown are the channels that pictures get into."""
    module = seeded(lambda: Small(channels)).eval().requires_grad_(False)
    network = replace(
        small(), module=module, input=InputSpec(32, 32, (0.5,) * channels, (0.25,) * channels, order=order, bands=bands)
    )
    ascent = run(network, unit("fc", [1]), [one], [0])
    got = ascent.images(raised=False)
    assert got.shape == (1, 32, 32, 3) and got.dtype == np.uint8 and not ascent.dead.any()
    with torch.no_grad():
        image = ascent._best if ascent._best is not None else ascent._parameters.image()
        whole = images.shown(middle(image, (32, 32)), ascent._mean)[0].numpy()
    for place, channel in enumerate(shown):
        want = whole[channel] if channel is not None else np.zeros((32, 32))
        assert np.abs(got[0, ..., place].astype(int) - want).max() <= 1


class Stepped(nn.Module):
    """Its first layer is a step function, its second runs without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.step, self.fc = nn.Conv2d(3, 4, 3), nn.Identity(), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.step((self.conv(x) > 0).float())
        with torch.no_grad():
            return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    "one",
    [MODERN, recipe("yosinski-3"), recipe("modern", {"total_variation": 1})],
    ids=["modern", "yosinski-3", "penalty"],
)
@pytest.mark.parametrize("name", ["step", "fc"])
def test_where_no_gradient_flows_units_count_as_dead(name: str, one: Recipe) -> None:
    network = prepare("stepped", seeded(Stepped), SPEC, {"conv": "conv", "step": "step", "fc": "fc"})
    ascent = run(network, unit(name, [0, 3]), [one] * 2, [0, 1])
    assert bool(ascent.dead.all()) and np.isfinite(ascent.images()).all()
    assert not run(network, unit("conv", 0), [one], [0]).dead.any()


@pytest.mark.parametrize(
    "shape, one, said",
    [
        ((1, 3, 32, 30), PIXELS, "expected 1×3×32×32"),
        ((2, 3, 32, 32), PIXELS, "expected 1×3×32×32"),
        ((1, 3, 32, 32), MODERN, "expected 1×3×40×40"),
        ((1, 3, 32, 30), Recipe(parameterization="maco"), "expected 1×3×32×32"),
    ],
)
def test_a_start_that_does_not_fit(shape: tuple[int, ...], one: Recipe, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Ascent(small(), unit("fc", 1), [one], [0], start=torch.zeros(shape))


def test_a_canvas_of_another_size() -> None:
    ascent = run(small(), unit("conv2", 1, (2, 3)), [MODERN], [0], size=(12, 16))
    assert ascent.images().shape == (1, 12, 16, 3)


@pytest.mark.parametrize("one", [MODERN, PIXELS])
def test_the_ascent_ascends(one: Recipe) -> None:
    units = [0, 3, 6, 9]
    rate = replace(one, rate=one.rate * 10, total_variation=0.0)  # this one pulls back
    start, end = (run(small(), unit("fc", units), [rate] * 4, [0] * 4, steps).final_scores() for steps in (0, 20))
    assert bool((end > start).all()), end - start


def test_several_layers_at_once() -> None:
    network = small()
    both = unit("fc", 2) + 0.5 * objectives.channel("conv2", 1)
    ascent = Ascent(network, both, [PIXELS], [0])
    x = torch.tensor(values(ascent)) * (1 / 255 / torch.tensor(SPEC.std))[:, None, None]
    want = network.up_to("fc", x)[0, 2] + 0.5 * network.up_to("conv2", x)[0, 1].mean()
    ascent.step()
    torch.testing.assert_close(ascent.scores[0], want.detach())


# ---- the result ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parameterization", ["pixels", "fourier"])
@pytest.mark.parametrize("steps", [4, 12, 80])
def test_the_average_is_the_running_mean_of_the_parameters(parameterization: str, steps: int) -> None:
    """In step with one that keeps the last: the steps themselves are not changed by what is kept."""
    last = replace(MODERN if parameterization == "fourier" else PIXELS, steps=steps, keep="last")
    objective, network = unit("fc", [0, 1]), small()
    one, two = (Ascent(network, objective, [r] * 2, [0, 1]) for r in (last, replace(last, keep="average")))
    mean = None
    for step in range(min(steps, 12)):
        one.step()
        two.step()
        now = values(one).astype(np.float64)
        weight = min(1.0, max(3.2 / steps, 2 / (step + 2)))
        mean = now if mean is None else (1 - weight) * mean + weight * now
    np.testing.assert_array_equal(values(two), values(one))
    np.testing.assert_allclose(two._average, mean, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        one._parameters.values.copy_(torch.from_numpy(mean))
    np.testing.assert_allclose(two.current(), one.current(), atol=1e-3)
    np.testing.assert_allclose(two.final_scores(), one.final_scores(), rtol=1e-4)


def test_from_coarse_to_fine() -> None:
    """A phase whose cutoff rises: what lies beyond it does not move until it can be seen."""
    phases = ({"steps": 1, "numbers": {"cutoff": (0.05, 0.3)}}, {"steps": 1, "numbers": {"cutoff": (0.3, 0.3)}})
    one = recipe("modern", {"phases": phases, "steps": 8, "total_variation": 0, "margin": 0})
    ascent = Ascent(small(), unit("fc", [0, 1]), [one] * 2, [0, 1])
    start, moved = values(ascent).copy(), []
    height, width = ascent.size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    for step in range(8):
        ascent.step()
        cutoff = 0.05 + 0.25 * min(1, step / 3)
        moved.append((values(ascent) != start).any((0, 1, 4)))
        assert not moved[-1][frequency > 1.61 * cutoff].any()
        assert moved[-1][(frequency < 1.59 * cutoff) & (frequency > 0)].mean() > 0.9
    assert moved[0].mean() < moved[-1].mean()


def test_the_best_is_the_best_that_was_seen() -> None:
    """In step with one that keeps the last, whose images are what there was to choose from."""
    last = replace(PIXELS, rate=60.0, decay=0.3, small_norm=30.0)  # so long that it goes up and down
    best = replace(last, keep="best")
    objective, network = unit("fc", [0, 1, 2, 5]), small()
    one, two = (Ascent(network, objective, [r] * 4, [0, 1, 2, 3]) for r in (last, best))
    pictures, scores = [], []
    for _ in range(12):
        pictures.append(one.images())
        one.step()
        two.step()
        scores.append(one.scores.numpy())
    scores = np.stack(scores)
    chosen = scores.argmax(0)
    assert len(set(chosen.tolist()) - {11}) > 0  # some had their best before the end
    np.testing.assert_allclose(two.final_scores(), scores.max(0), rtol=1e-5)
    for i, step in enumerate(chosen):
        assert np.abs(two.images()[i].astype(int) - pictures[step][i]).max() <= 1


def test_the_last_is_scored_as_it_is_without_a_view() -> None:
    network = small()
    ascent = run(network, unit("fc", [3]), [MODERN], [0])
    seen = network.see(ascent.images()[0], crop=True)
    want = network.module(seen)[0, 3]  # of the rounded picture
    assert ascent.final_scores().item() == pytest.approx(want.item(), abs=0.02)
    assert ascent.final_scores().item() != ascent.scores.item()


# ---- dead units ----------------------------------------------------------------------------------


def biased(bias: dict[int, float]) -> Network:
    """`small()` with other biases for some units of its second convolution."""
    module = seeded(Small)
    with torch.no_grad():
        for index, value in bias.items():
            module.conv2.bias[index] = value
    return prepare("biased", module, SPEC, None)


@pytest.mark.parametrize(
    "one",
    [
        PIXELS,
        replace(PIXELS, redirect=4),
        MODERN,
        replace(MODERN, redirect=0),
        replace(PIXELS, total_variation=0.1),
        replace(PIXELS, policy="progress"),
    ],
    ids=["plain", "redirected", "modern", "modern, not redirected", "penalty", "progress"],
)
def test_a_dead_unit_is_flagged_and_disturbs_nobody(one: Recipe) -> None:
    network = biased({1: 1.0, 2: -1e6, 4: 1.0})
    ascent = run(network, unit("relu2", [1, 2, 4]), [one] * 3, [0, 1, 2])
    assert ascent.dead.tolist() == [False, True, False]
    assert ascent.final_scores()[1] == 0 and np.isfinite(values(ascent)).all()
    alone = run(network, unit("relu2", [1, 4]), [one] * 2, [0, 2])
    assert np.abs(ascent.images()[[0, 2]].astype(int) - alone.images()).max() <= 1


def test_a_unit_that_is_off_is_brought_on() -> None:
    """Without the redirected gradient it would stay off for good."""
    network = biased({2: -1.0})
    on, off = (run(network, unit("relu2", [2]), [replace(PIXELS, rate=10.0, redirect=r)], [0], 30) for r in (30, 0))
    assert off.dead.tolist() == [True] and off.final_scores().item() == 0
    assert on.dead.tolist() == [False] and on.final_scores().item() > 0


def test_the_gradient_is_redirected_for_the_first_steps_only() -> None:
    network = biased({2: -1e6})
    ascent, moved = Ascent(network, unit("relu2", [2, 2]), [replace(PIXELS, redirect=r) for r in (2, 3)], [0, 0]), []
    for _ in range(5):
        before = values(ascent).copy()
        ascent.step()
        moved.append(np.abs(values(ascent) - before).max((1, 2, 3)) > 0)
    assert np.stack(moved, 1).tolist() == [[True, True, False, False, False], [True, True, True, False, False]]


class Root(nn.Module):
    """Not a number, and no finite gradient, for pictures darker than the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.out = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.mean((1, 2, 3))[:, None].sqrt())


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("optimizer", ["ascent", "adam"])
def test_a_gradient_that_is_not_finite(optimizer: str, keep: str) -> None:
    network = prepare("root", seeded(Root), InputSpec(8, 8, (0.5,) * 3, (0.5,) * 3), {"out": "out"})
    start = torch.full((3, 3, 8, 8), 150.0) + torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    start[1] -= 60  # dark
    one = replace(PIXELS, optimizer=optimizer, keep=keep, rate=0.5)
    ascent = run(network, unit("out", 0), [one] * 3, [0, 1, 2], start=start)
    assert ascent.dead.tolist() == [False, True, False] and np.isfinite(values(ascent)).all()
    alone = run(network, unit("out", 0), [one] * 2, [0, 2], start=start[[0, 2]])
    np.testing.assert_allclose(values(ascent)[[0, 2]], values(alone), rtol=1e-5)
    assert np.abs(values(alone) - (start[[0, 2]] - 127.5).numpy()).max() > 1  # these did move
    assert ascent.images().shape == (3, 8, 8, 3)


def test_hooks_are_gone_afterwards() -> None:
    network = small()
    run(network, unit("conv2", 1) + unit("fc", 0), [MODERN], [0], 2)
    run(network, unit("conv2", 1), [MODERN], [0], 2)
    assert not any(m._forward_hooks for m in network.module.modules())
    assert not any(p.requires_grad for p in network.module.parameters())
    assert layer(network, "fc").units == 10


def test_shifts_and_margin_are_in_proportion_to_the_canvas() -> None:
    network, chosen = (
        small(),
        recipe("modern", {"margin": 56, "jitter": 56, "rotate": 0, "scale_low": 1, "scale_high": 1}),
    )
    height, width = network.input.height, network.input.width
    for size, margin in (
        ((height, width), 8),
        ((height // 2, width // 2), 4),
        ((2 * height, 2 * width), 16),
        ((height // 2, width), 4),
    ):
        ascent = Ascent(network, unit("fc", 0), [chosen], [0], size)
        assert ascent._parameters.image().shape[2:] == (size[0] + 2 * margin, size[1] + 2 * margin)


def test_importance_is_the_gradients_absolute_value_summed_over_the_steps() -> None:
    network = small()
    one = Recipe(parameterization="maco", steps=3, rate=0.3, redirect=0)
    ascent = Ascent(network, unit("fc", [1, 2]), [one] * 2, [0, 1])
    assert ascent.importance() is None
    wanted = torch.zeros(2, 32, 32)
    for _ in range(3):
        image = ascent._parameters.image().detach().requires_grad_(True)
        scores = network.module(ascent._input(image))[[0, 1], [1, 2]]
        wanted += torch.autograd.grad(scores.sum(), image)[0].abs().mean(1)
        ascent.step()
    wanted /= torch.tensor(np.quantile(wanted.flatten(1).numpy(), 0.99, axis=1))[:, None, None]
    np.testing.assert_allclose(ascent.importance(), wanted.clamp(max=1), atol=1e-5)
    assert Ascent(network, unit("fc", [1]), [PIXELS], [0]).importance() is None
