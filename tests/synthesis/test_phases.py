"""Phases, canvases that grow, windows and margins, and magnitudes that are held: against slow loops by definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from smallnets import small

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.geometry import cut, resize
from deepvis.inputs.decode import read_image
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.objectives import probability, unit
from deepvis.synthesis.parameterizations import HeldMagnitudes, color_mix
from deepvis.synthesis.phases import Moment, Phase, growth, moment
from deepvis.synthesis.photo_spectrum import TABLE, measured, photo_magnitudes
from deepvis.synthesis.presets import named, recipe
from deepvis.synthesis.recipe import Recipe, as_values, checked, save
from deepvis.synthesis.targets import OBJECTIVES, SynthesisCanvas, objective
from deepvis.synthesis.transforms import windowed

PHASES = (
    Phase(3, 1.0, "probability", (("rate", 4.0, 2.0), ("bregman", 0.1, 0.3))),
    Phase(2, 1.25, "score", (("window", 0.3, 0.3), ("gradient_margin", 40, 40))),
)
PHASED = Recipe(
    parameterization="pixels", optimizer="ascent", policy="normalized", rate=1.0, steps=5, start_noise=8, bound="range",
    redirect=0, phases=PHASES,
)  # fmt: skip


# ---- when a phase is, and what it changes ---------------------------------------------------------


def test_each_step_belongs_to_a_phase_and_numbers_go_from_the_first_to_the_last() -> None:
    moments = [moment(PHASES, 5, count) for count in range(6)]
    assert moments == [Moment(0, 0), Moment(0, 0.5), Moment(0, 1), Moment(1, 0), Moment(1, 1), Moment(1, 1)]
    assert [PHASES[0].at(m.share)["rate"] for m in moments[:3]] == [4, 3, 2]


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 1000])
def test_a_run_of_another_length_has_the_same_proportions(steps: int) -> None:
    phases = [moment(PHASES, steps, count).phase for count in range(steps)]
    assert phases == sorted(phases) and abs(phases.count(0) - steps * 3 / 5) <= 0.5


def test_the_canvas_grows() -> None:
    assert [growth(PHASES, number) for number in (-1, 0, 1)] == [1, 1, 1.25]
    network = small()
    ascent = Ascent(network, unit("fc", [1]), [PHASED], [7])
    sizes = []
    for _ in range(5):
        ascent.step()
        sizes.append(tuple(ascent._parameters.values.shape[2:]))
    assert sizes == [(32, 32)] * 3 + [(40, 40)] * 2
    assert ascent.images().shape == (1, 32, 32, 3)  # the whole canvas, reduced


def test_the_objective_of_a_phase() -> None:
    network = small()
    score, chance = unit("fc", [1]), probability("fc", [1])
    ascent = Ascent(network, replace(score, probability=chance), [PHASED], [7])
    seen = []
    for _ in range(5):
        before = ascent._parameters.values.detach().clone()
        ascent.step()
        seen.append((before, float(ascent.scores[0])))
    assert all(0 < value < 1 for _, value in seen[:3])
    with torch.no_grad():
        expected = score({"fc": network.up_to("fc", ascent._input(seen[0][0]))})
        assert seen[0][1] == pytest.approx(
            float(torch.softmax(network.up_to("fc", ascent._input(seen[0][0])), 1)[0, 1])
        )
    assert seen[0][1] != pytest.approx(float(expected[0]))


def test_without_a_probability_the_score_stays() -> None:
    ascent = Ascent(small(), unit("fc", [1]), [PHASED], [7])
    other = Ascent(small(), replace(unit("fc", [1]), probability=probability("fc", [1])), [PHASED], [7])
    ascent.step(), other.step()
    assert float(ascent.scores[0]) != float(other.scores[0])


def test_only_a_class_score_that_is_to_rise_has_a_probability() -> None:
    network = small()
    layers = {one.name: one for one in network.layers}
    for layer in layers.values():
        for kind in OBJECTIVES:
            if kind not in ("probability", "log_probability"):
                has = objective(layer, [1], SynthesisCanvas((32, 32), (0, 0)), kind).probability is not None
                assert has == (kind == "unit" and not layer.is_map and layer.kind != "Softmax")
    assert objective(layers["fc"], [1], SynthesisCanvas((32, 32))).probability is not None


def test_pixels_stay_between_black_and_white() -> None:
    one = replace(PHASED, phases=(), rate=60.0)
    ascent = Ascent(small(), unit("fc", [1]), [one], [7])
    for _ in range(4):
        ascent.step()
    shown = ascent._parameters.values.detach() + ascent._mean[:, None, None]
    assert float(shown.min()) >= -1e-4 and float(shown.max()) <= 255 + 1e-4 and float(shown.max()) > 254


def test_what_has_no_gradient_does_not_lengthen_a_normalized_step() -> None:
    one = replace(PHASED, phases=(), rate=3.0, bound="free", gradient_margin=70)
    ascent = Ascent(small(), unit("fc", [1, 2]), [one] * 2, [0, 1])
    before = ascent._parameters.values.detach().clone()
    ascent.step()
    moved = (ascent._parameters.values.detach() - before).abs()
    assert bool((moved == 0).any())
    for each in moved:
        assert float(each[each > 0].mean()) == pytest.approx(3, rel=1e-4)


def test_a_normalized_step_changes_values_by_the_rate() -> None:
    one = replace(PHASED, phases=(), rate=3.0, bound="free")
    ascent = Ascent(small(), unit("fc", [1]), [one], [7])
    for _ in range(2):
        before = ascent._parameters.values.detach().clone()
        ascent.step()
        assert float((ascent._parameters.values.detach() - before).abs().mean()) == pytest.approx(3, rel=1e-4)


# ---- windows and margins --------------------------------------------------------------------------


def test_the_window_favours_the_middle() -> None:
    draws = torch.rand(20000, 5, generator=torch.Generator().manual_seed(0))
    shifts = windowed(draws, torch.full((20000,), 0.3), (20.0, 10.0)).numpy()
    assert np.abs(shifts[:, 0]).max() == 20 and np.abs(shifts[:, 1]).max() == 10
    for values, room in zip(shifts.T, (20, 10)):
        assert np.allclose((values + room) % 1, 0)  # whole pixels of the canvas
        expected = np.clip(np.random.default_rng(0).normal(0, 0.3 * room, 20000), -room, room)
        assert stats.ks_2samp(values, np.round(expected)).statistic < 0.03


def test_gradients_come_from_inside_the_margin() -> None:
    """The margin is given for an input of 224 pixels: 70 of 224 are 10 of 32."""
    one = replace(PHASED, phases=(), gradient_margin=70)
    ascent = Ascent(small(), unit("fc", [1]), [one], [7])
    image = ascent._parameters.image()
    score, grad = ascent._gradient(image)
    plain = Ascent(small(), unit("fc", [1]), [replace(one, gradient_margin=0)], [7])
    same, whole = plain._gradient(plain._parameters.image())
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[10:-10, 10:-10] = True
    assert torch.equal(score, same)
    assert torch.allclose(grad[:, :, inside], whole[:, :, inside]) and not grad[:, :, ~inside].any()


def test_the_gradients_energy_lies_in_the_middle_as_the_crops_of_each_phase_say() -> None:
    """The share of what reaches the middle half of the canvas, of a gradient that is the same at every seen pixel:
    against crops at offsets drawn from normal(middle, window × half the room), cut at the edges."""
    many, steps = 60, 53
    one = replace(recipe("mfv-center-biased"), steps=steps, margin=84)  # 12 of 32 pixels
    ascent = Ascent(small(), unit("fc", [1]), [one] * many, range(many))
    inside = torch.zeros(5, 2)
    for count in range(steps):
        ascent.count = count
        ascent._enter_phase()
        image = ascent._parameters.image()
        (grad,) = torch.autograd.grad(ascent._seen(image).sum(), image)
        energy, side = grad.square().sum((0, 1)), image.shape[2]
        part = slice(side // 4, side - side // 4)
        inside[ascent._phase] += torch.stack([energy[part, part].sum(), energy.sum()])
    shares = (inside[:, 0] / inside[:, 1]).tolist()
    draw = np.random.default_rng(0)
    for number, phase in enumerate(one.phases):
        numbers = {"window": one.window, "gradient_margin": 0} | phase.at(0)
        side = round(32 * growth(one.phases, number)) + 24
        edge, room, found = round(numbers["gradient_margin"] / 7), (side - 32) / 2, []
        for across, down in draw.normal(room, numbers["window"] * room, (2000, 2)):
            seen = [np.arange(32) + round(min(max(offset, 0), 2 * room)) for offset in (across, down)]
            kept = [(pixels >= side // 4) & (pixels < side - side // 4) for pixels in seen]
            found.append(np.prod([is_in[edge : 32 - edge].mean() for is_in in kept]))
        assert shares[number] == pytest.approx(np.mean(found), abs=0.05)
    assert shares[3] > max(shares[:3])  # the phase that sharpens the middle


def test_several_views_are_averaged() -> None:
    many = Recipe(steps=3, views=3, jitter=40, margin=28, redirect=0)
    ascent = Ascent(small(), unit("fc", [1]), [many], [7])
    score, grad = ascent._gradient(ascent._parameters.image())
    again = Ascent(small(), unit("fc", [1]), [many], [7])
    image, total, slopes = again._parameters.image(), 0.0, 0.0
    for _ in range(3):
        value = again.objective({"fc": again.network.up_to("fc", again._seen(image))})
        total += value.detach() / 3
        slopes += torch.autograd.grad(value.sum() / 3, again._parameters.values, retain_graph=True)[0]
    assert torch.allclose(score, total) and torch.allclose(grad, slopes, rtol=1e-4, atol=1e-9)


# ---- magnitudes of photographs --------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (33, 31), (31, 40)])
def test_the_image_has_exactly_the_given_magnitudes(size: tuple[int, int]) -> None:
    magnitudes, mix = photo_magnitudes(3, size)
    assert mix is not None
    angles = torch.rand(2, *magnitudes.shape, generator=torch.Generator().manual_seed(0)) * 6 - 3
    image = HeldMagnitudes(angles, size, magnitudes, mix).image().detach()
    planes = np.einsum("kc,bchw->bkhw", np.linalg.inv(mix.numpy()), image.numpy())
    found = np.abs(np.fft.rfft2(planes))
    assert np.abs(found - magnitudes.numpy()).max() < 1e-5 * float(magnitudes.max())


def test_held_magnitudes_of_an_image_itself_with_its_phases_are_the_image() -> None:
    images = 127 + 60 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mix = color_mix(torch.ones(1))[0]
    ascent = Ascent(small(), unit("fc", [1]), [Recipe(parameterization="maco")], [0])
    about = images - ascent._mean[:, None, None]
    planes = torch.einsum("kc,bchw->bkhw", torch.linalg.inv(mix), about)
    one = Recipe(parameterization="maco")
    magnitudes = torch.fft.rfft2(planes).abs()
    held = Ascent(small(), unit("fc", [1, 2]), [one] * 2, [7, 8], start=images, spectrum=magnitudes)
    # Frequencies that are their own opposites keep their size, but lose their sign.
    found = np.fft.rfft2(np.einsum("kc,bchw->bkhw", np.linalg.inv(mix.numpy()), held.current().numpy()))
    wanted = np.fft.rfft2(planes.numpy())
    own = np.zeros(found.shape, bool)
    own[..., ::16, ::16] = True
    assert np.allclose(found[~own], wanted[~own], atol=2e-2) and np.allclose(
        abs(found[own]), abs(wanted[own]), rtol=1e-3
    )


def test_ascent_on_phases_alone_climbs() -> None:
    one = Recipe(parameterization="maco", rate=0.3, steps=40, redirect=0)
    ascent = Ascent(small(), unit("fc", [1, 2]), [one] * 2, [7, 8])
    first = ascent.final_scores()
    for _ in range(one.steps):
        ascent.step()
    assert (ascent.final_scores() > first).all()
    with pytest.raises(UserError, match="maco: its canvas cannot grow"):
        ascent._parameters.resized((40, 40))


def test_the_table_is_that_of_the_bundled_photos() -> None:
    files = sorted(paths.PHOTOS.glob("*.jpg"))[::40]
    photos = [resize(cut(read_image(path), 1.0, True), 64, 64) for path in files]
    few = measured(photos)
    by_hand = []
    for photo in photos:
        planes = np.einsum("kc,hwc->khw", np.linalg.inv(color_mix(torch.ones(1))[0].numpy()), photo.astype(float))
        by_hand.append(np.abs(np.fft.rfft2(planes)) / 64**2)
    expected = np.sqrt(np.mean(np.square(by_hand), 0))
    assert np.allclose(few[:, 1:], expected[:, 1:], rtol=1e-3)
    with np.load(TABLE) as file:
        table = file["magnitudes"].astype(float)
    ratio = few[:, 1:16, 1:16] / table[:, 1:16, 1:16]
    assert 0.7 < np.median(ratio) < 1.4  # a few of the photos are like all of them


def test_other_canvases_have_the_same_spectrum_by_period() -> None:
    large, small_ = photo_magnitudes(3, (200, 200))[0] / 200**2, photo_magnitudes(3, (50, 50))[0] / 50**2
    assert torch.allclose(large[:, 1:20, 1:20], small_[:, 1:20, 1:20], rtol=0.02)
    assert photo_magnitudes(1, (20, 20))[1] is None and photo_magnitudes(5, (20, 20))[0].shape == (5, 20, 11)


# ---- starts from an image -------------------------------------------------------------------------


def test_a_fourier_image_starts_from_a_photo() -> None:
    photo = torch.tensor(resize(read_image(paths.PHOTOS / "animal-fox-red.jpg"), 32, 32)).permute(2, 0, 1)[None].float()
    for power in (1.0, 1.4):
        ascent = Ascent(small(), unit("fc", [1]), [Recipe(power=power, steps=1)], [7], start=photo)
        shown = ascent.images()[0].astype(float)
        inside = photo[0].permute(1, 2, 0).numpy().clip(0.02 * 255, 0.98 * 255)
        assert np.abs(shown - inside).max() <= 1


def test_a_fourier_canvas_grows_smoothly() -> None:
    photo = torch.tensor(resize(read_image(paths.PHOTOS / "animal-fox-red.jpg"), 32, 32)).permute(2, 0, 1)[None].float()
    ascent = Ascent(small(), unit("fc", [1]), [Recipe(steps=1)], [7], start=photo)
    before = ascent._parameters.image().detach()
    grown = ascent._parameters.resized((48, 40)).image().detach()
    back = torch.nn.functional.interpolate(grown, (32, 32), mode="area")
    assert grown.shape == (1, 3, 48, 40) and (back - before).abs().mean() < 8


# ---- files ----------------------------------------------------------------------------------------


def test_phases_are_stored_and_read(tmp_path: Path) -> None:
    assert checked(as_values(PHASED)) == PHASED
    save(tmp_path / "phased.yaml", PHASED, unit="fc:1")
    assert named(str(tmp_path / "phased.yaml")) == PHASED
    (tmp_path / "short.yaml").write_text(
        "parameterization: pixels\nphases:\n- {steps: 3, numbers: {rate: [4, 2], decay: 0.1}}\n- {steps: 1, grow: 2}\n"
    )
    read = named(str(tmp_path / "short.yaml"))
    assert read.phases == (Phase(3, numbers=(("rate", 4, 2), ("decay", 0.1, 0.1))), Phase(1, 2.0))


@pytest.mark.parametrize(
    "phases, said",
    [
        (3, "phases: 3: expected a list"),
        ([3], "for each phase its steps"),
        ([{"grow": 2}], "for each phase its steps"),
        ([{"steps": 2, "jump": 1}], "for each phase its steps"),
        ([{"steps": 0}], "phases: steps: 0: expected 1 to"),
        ([{"steps": 2, "grow": 9}], "phases: grow: 9.*0.25 to 4"),
        ([{"steps": 2, "grow": 4}] * 2, r"phases: grow: \[4.0, 4.0\]: .*8 times at most; .* is 16"),
        ([{"steps": 2, "objective": "best"}], "phases: objective: 'best': expected score or probability"),
        ([{"steps": 2, "numbers": {"steps": 3}}], "phases: numbers"),
        ([{"steps": 2, "numbers": {"keep": "last"}}], "phases: numbers"),
        ([{"steps": 2, "numbers": {"rate": [1, 2, 3]}}], "phases: numbers"),
        ([{"steps": 2, "numbers": {"rate": "x"}}], "phases: rate: 'x': expected a number"),
        ([{"steps": 2, "numbers": {"decay": 7}}], "phases: decay: 7: expected 0 to 1"),
        ([{"steps": 2}] * 101, "at most 100 phases"),
    ],
)
def test_phases_that_cannot_be(phases: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        recipe("plain", {"phases": phases})
