"""Learned priors against plain loops, finite differences, and files that are not theirs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from priors import borders
from smallnets import layer, small
from torch import Tensor

from deepvis.core import paths
from deepvis.core.errors import UserError
from deepvis.core.paths import Places
from deepvis.networks.network import InputSpec, Network
from deepvis.store.priors import BUNDLED, OWN, PRIOR, StoredPrior, load_prior, prior_folder, save_prior
from deepvis.synthesis import generator as g
from deepvis.synthesis import objectives
from deepvis.synthesis.ascent import Ascent
from deepvis.synthesis.decoder import Decoder, Patches, codes_of, fit
from deepvis.synthesis.generated import CodeSpace, FineDetail, GeneratedImage, smoothed
from deepvis.synthesis.objectives import Objective
from deepvis.synthesis.parameterizations import mean_color, network_scale
from deepvis.synthesis.presets import recipe
from deepvis.synthesis.recipe import as_values, checked
from deepvis.synthesis.search import random_recipe
from deepvis.synthesis.sweep import sweep

WIDTH = 0.1


def made(network: Network, name: str, seed: int = 0, adds: bool = True) -> g.Generator:
    """A generator that was not trained; it adds something random."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(24, 3, 32, 32, generator=draw) * 4 - 2
    code = codes_of(network, [name], x)[name]
    base = fit(layer(network, name), (32, 32), [(code, x * 50, range(24))], "here")
    sums = g.CodeSums()
    sums.add(code[:10])
    sums.add(code[10:])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        one = g.Generator(base, sums.statistics(), WIDTH)
        for parameter in one.parameters() if adds else ():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    return one


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(paths, "precomputed", lambda: Places(tmp_path / "own", tmp_path / "bundled"))
    return small()


def kept(network: Network, name: str, root: Path, **about: object) -> g.Generator:
    one = made(network, name)
    kind = BUNDLED if root == paths.precomputed().bundled else OWN
    save_prior(prior_folder(root, "small", name, kind) / PRIOR, g.as_stored(network, layer(network, name), one, about))
    return one


def test_statistics_are_those_of_numpy(network: Network) -> None:
    sums, codes = g.CodeSums(), torch.randn(40, 3, 5, 4, dtype=torch.float64) * torch.tensor([1.0, 5, 2])[:, None, None]
    sums.add(codes[:13].float())
    sums.add(codes[13:].float())
    found, rows = sums.statistics(), codes.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(found.mean, rows.mean(1), atol=1e-5)
    np.testing.assert_allclose(found.deviation, rows.std(1), rtol=1e-5)
    np.testing.assert_allclose(found.least, rows.min(1), rtol=1e-5)
    values, vectors = np.linalg.eigh(np.cov(rows, bias=True))
    np.testing.assert_allclose(found.spreads, np.sqrt(values[::-1]), rtol=1e-4)
    np.testing.assert_allclose(np.abs((found.directions.numpy() * vectors[:, ::-1]).sum(0)), 1, rtol=1e-4)
    assert bool((found.rest == found.mean).all()) and bool((found.low < 0).all())
    positive = g.CodeSums()
    positive.add(codes.abs().float())
    found = positive.statistics()
    assert not found.low.any() and not found.rest.any()
    np.testing.assert_allclose(found.high, found.mean + 3 * found.deviation)


@pytest.mark.parametrize("name, shape", [("conv1", (6, 32, 32)), ("conv2", (8, 16, 16)), ("fc", (10,))])
def test_a_new_generator_is_the_closed_form(network: Network, name: str, shape: tuple) -> None:
    new, code = made(network, name, adds=False), torch.randn(2, *shape)
    assert torch.allclose(new(code), new.base(code), atol=1e-4)
    other = made(network, name)
    assert not torch.allclose(other(code), other.base(code), atol=1)
    if len(shape) == 3:
        wide = other(torch.randn(1, shape[0], 9, 13))
        assert wide.shape[2:] == tuple(side * 32 // shape[1] for side in (9, 13))


def test_a_stride_that_is_no_power_of_two(network: Network) -> None:
    code = torch.randn(3, 8, 5, 5)
    base = fit(
        replace(layer(network, "conv2"), height=5, width=5), (35, 35), [(code, torch.randn(3, 3, 35, 35), range(3))], ""
    )
    sums = g.CodeSums()
    sums.add(code)
    assert g.Generator(base, sums.statistics(), WIDTH)(code).shape == (3, 3, 35, 35)


@pytest.mark.parametrize("name", ["conv2", "fc"])
def test_a_prior_is_read_as_it_was_stored(network: Network, name: str, tmp_path: Path) -> None:
    one = kept(network, name, paths.precomputed().own, psnr=20.0)
    prior = g.prior_for(network, name)
    found = one.statistics
    shape = (1, -1, 1, 1) if name == "conv2" else (1, -1)
    code = torch.randn(2, *((8, 4, 4) if name == "conv2" else (10,)))
    code = found.mean.view(shape) + found.deviation.view(shape) * code
    want = (one(code).detach() + mean_color(network.input)[:, None, None]).clamp(0, 255)
    assert float((prior.pictures(code) - want).abs().max()) < 1.5  # float16
    assert prior.about["psnr"] == 20.0 and prior.name == f"small/{name}"
    assert g.prior_for(network, "") is prior and g.prior_for(network, f"small/{name}") is prior
    assert not any(parameter.requires_grad for parameter in prior.generator.parameters())


def test_older_files_enlarge_by_repetition(network: Network) -> None:
    kept(network, "conv2", paths.precomputed().own)
    file = prior_folder(paths.precomputed().own, "small", "conv2") / "prior.safetensors"
    stored = load_prior(file)
    assert g.prior_for(network, "conv2").generator.enlargement == g.BILINEAR
    older = StoredPrior({k: v for k, v in stored.about.items() if k != "enlargement"}, stored.arrays)
    assert g.from_stored(older, torch.device("cpu"), str(file)).generator.enlargement == g.REPEATED
    patches = Patches((64, 64), (8, 8), (8, 8), 0)
    base = Decoder("middle", patches, torch.zeros(6, 768), torch.zeros(768), torch.zeros(6))
    sums, code = g.CodeSums(), torch.randn(2, 6, 8, 8)
    sums.add(code)
    one = g.Generator(base, sums.statistics(), WIDTH)
    one.leave.weight.data.normal_()
    other = copy.deepcopy(one)
    other.enlargement = g.REPEATED
    assert float((one(code) - other(code)).detach().abs().mean()) > 0.1


def test_the_last_layer_with_a_prior_and_ones_own_before_the_bundled(network: Network) -> None:
    places = paths.precomputed()
    for name in ("fc", "conv1", "conv2"):
        kept(network, name, places.bundled, of="bundled")
    assert g.prior_for(network, "").about["layer"] == "fc"
    kept(network, "conv2", places.own, of="own")
    assert g.prior_for(network, "conv2").about["of"] == "own"
    assert g.prior_for(network, "conv1").about["of"] == "bundled"


def test_what_is_no_prior_says_how_to_train_one(network: Network, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="small has no learned prior.*deepvis train-prior --model small --layer LAYER"):
        g.prior_for(network, "")
    kept(network, "conv2", paths.precomputed().own)
    with pytest.raises(UserError, match="prior 'conv3'.*conv2.*--layer conv3"):
        g.prior_for(network, "conv3")
    with pytest.raises(UserError, match="other weights of small"):
        g.prior_for(small(seed=1), "conv2")
    file = prior_folder(paths.precomputed().own, "small", "conv2") / "prior.safetensors"
    assert g.prior_for(small(seed=1), str(file)).about["layer"] == "conv2"
    gray = small(InputSpec(32, 32, (0.5,), (0.5,)))
    with pytest.raises(UserError, match="1 channels"):
        g.prior_for(gray, "conv2")
    with pytest.raises(UserError, match="prior 'other/conv2'.*--model other --layer conv2"):
        Ascent(network, objectives.unit("fc", 0), [recipe("generator", {"prior": "other/conv2"})], [0])


def test_damaged_files(network: Network, tmp_path: Path) -> None:
    kept(network, "conv2", paths.precomputed().own)
    file = prior_folder(paths.precomputed().own, "small", "conv2") / "prior.safetensors"
    good, stored = file.read_bytes(), load_prior(file)
    for wrong in (b"", b"\xff" * 100, good[:200], good[:-9]):
        file.write_bytes(wrong)
        with pytest.raises(UserError, match="Train it again|valid JSON"):
            load_prior(file)
    about, arrays = stored.about, stored.arrays
    for changed in (
        StoredPrior({**about, "kind": "other"}, arrays),
        StoredPrior({**about, "width": 0.3}, arrays),
        StoredPrior({**about, "width": "wide"}, arrays),
        StoredPrior({**about, "units": 9}, arrays),
        StoredPrior({**about, "patches": {"size": [32, 32]}}, arrays),
        StoredPrior({**about, "patches": {**about["patches"], "grid": [0, 0]}}, arrays),
        StoredPrior(about, {name: value for name, value in arrays.items() if name != "code.mean"}),
        StoredPrior(about, {**arrays, "base.weights": arrays["base.weights"][:-1]}),
    ):
        save_prior(file, changed)
        with pytest.raises(UserError, match="is not a prior that this version can read"):
            g.from_stored(load_prior(file), torch.device("cpu"), str(file))


# ---- the code as a parameterization --------------------------------------------------------------


def doubled(prior: g.Prior) -> g.Prior:
    one = copy.deepcopy(prior.generator).double()
    return g.Prior(one, prior.mean.double(), prior.about)


@pytest.mark.parametrize("smoothness", [0.0, 0.5])
@pytest.mark.parametrize("colors", ["plain", "decorrelated"])
@pytest.mark.parametrize("name", ["conv2", "fc"])
def test_gradient_of_the_whole_chain(network: Network, name: str, colors: str, smoothness: float) -> None:
    """From values by code, generator, detail and network to a score, against central differences in float64."""
    kept(network, name, paths.precomputed().own)
    whole, size = network.on(torch.device("cpu"), torch.float64), (28, 30)
    mean = mean_color(network.input)
    prior, smooth = doubled(g.prior_for(network, name)), torch.tensor([smoothness])
    space = CodeSpace(prior, size, (32, 32), mean, colors == "decorrelated", smooth)
    detail = FineDetail(
        size, torch.ones(1), torch.zeros(1), torch.eye(3, dtype=torch.float64)[None], torch.full((1,), 9.0)
    )
    draw = torch.Generator().manual_seed(1)
    count = space.length + detail.length
    values = 0.3 * torch.randn(1, count, generator=draw, dtype=torch.float64)

    def score(x: Tensor) -> Tensor:
        image = GeneratedImage(x, space, detail)
        image.values = x
        return whole.up_to("fc", image.image() * network_scale(network.input).double()[:, None, None])[0, 3]

    leaf = values.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(score(leaf), leaf)
    for part in (slice(0, space.length), slice(space.length, None), slice(None)):
        way = torch.zeros_like(values)
        way[:, part] = torch.randn(way[:, part].shape, generator=draw, dtype=torch.float64)
        step = 1e-6
        want = float(score(values + step * way) - score(values - step * way)) / (2 * step)
        assert float((grad * way).sum()) == pytest.approx(want, rel=2e-4, abs=1e-9)


@pytest.mark.parametrize("colors", ["plain", "decorrelated"])
def test_values_are_of_the_code_and_back(network: Network, colors: str) -> None:
    kept(network, "conv2", paths.precomputed().own)
    space = CodeSpace(g.prior_for(network, "conv2"), (32, 28), (32, 32), torch.zeros(3), colors == "decorrelated")
    assert space.grid == (16, 14)
    values = torch.randn(2, space.length) * 0.4
    code = space.code(values)
    assert code.shape == (2, 8, 16, 14)
    np.testing.assert_allclose(space.values_of(code), values, atol=2e-3)
    found = space.prior.statistics
    mean = space.code(space.mean_values[None])[0]
    np.testing.assert_allclose(mean, found.mean[:, None, None].expand_as(mean), atol=1e-5)
    low, high = space.bounds
    assert low.shape == high.shape == (space.length,) and bool((low < high).all())
    pictures = space.pictures(values)
    assert pictures.shape == (2, 3, 32, 28) and float(pictures.min()) >= 0 and float(pictures.max()) <= 255


def test_smooth_codes_by_definition() -> None:
    """The mean of each place and of its neighbours, which count half, first down and then along."""
    maps = torch.randn(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    share = [0.5, 0.2]
    want = maps.numpy().copy()
    for axis in (2, 3):
        padded = np.pad(want, [(1, 1) if one == axis else (0, 0) for one in range(4)], mode="edge")
        before, after = (np.take(padded, range(at, at + want.shape[axis]), axis) for at in (0, 2))
        s = np.array(share)[:, None, None, None]
        want = (want + s * (before + after)) / (1 + 2 * s)
    found = smoothed(maps, torch.tensor(share))
    np.testing.assert_allclose(found, want, atol=1e-5)
    inner = found[0, :, 1:-1, 1:-1]
    neighbours = float((inner[:, 1:] * inner[:, :-1]).mean() / inner.square().mean())
    assert neighbours == pytest.approx(2 / 3, abs=0.1) and float(found.abs().max()) < float(maps.abs().max())
    assert torch.equal(smoothed(maps, torch.zeros(2)), maps)


def test_a_vector_has_no_neighbours(network: Network) -> None:
    kept(network, "fc", paths.precomputed().own)
    plain = CodeSpace(g.prior_for(network, "fc"), (32, 32), (32, 32), torch.zeros(3), True)
    values = torch.randn(2, plain.length)
    assert torch.equal(replace(plain, smoothness=torch.full((2,), 0.5)).code(values), plain.code(values))


def test_smooth_codes_make_pictures_without_borders_of_places() -> None:
    """With enlargements by repetition the energy at the borders is 0.64 of that beside them."""
    draw = torch.Generator().manual_seed(1)
    patches = Patches((128, 128), (16, 16), (8, 8), 0)
    shape = 6, 3 * 16 * 16
    base = Decoder("middle", patches, torch.zeros(shape), torch.zeros(shape[1]), torch.zeros(6))
    sums = g.CodeSums()
    sums.add(torch.randn(4, 6, 16, 16, generator=draw))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = g.Generator(base, sums.statistics(), 0.25)
    one.leave.weight.data = torch.randn(one.leave.weight.shape, generator=draw)
    code = smoothed(torch.randn(12, 6, 16, 16, generator=draw), torch.full((12,), 0.5))
    with torch.no_grad():
        made = one(code).permute(0, 2, 3, 1).numpy()
    assert borders(list(made), 8) == pytest.approx(1, abs=0.1)


def linear(network: Network) -> Objective:
    """Of the picture alone, so that a plain loop can follow it."""
    return Objective(frozenset(["conv1"]), lambda a: a["conv1"].flatten(1).mean(1) * 5)


@pytest.mark.parametrize("name", ["conv2", "relu2"])
def test_the_preset_is_the_authors_loop(network: Network, name: str) -> None:
    """Steps of mean length 0.5 falling to almost 0, clipped to [0 or mean − 3σ, mean + 3σ], times 0.99."""
    one = kept(network, name, paths.precomputed().own)
    prior, steps = g.prior_for(network, name), 5
    ascent = Ascent(network, linear(network), [recipe("generator", {"steps": steps})], [7])
    found, scale = prior.statistics, network_scale(network.input)[:, None, None]
    assert bool((found.least >= 0).all()) == (name == "relu2")
    low = torch.where(found.least >= 0, 0.0, found.mean - 3 * found.deviation)[:, None, None]
    high = (found.mean + 3 * found.deviation)[:, None, None]
    rest = torch.where(found.least >= 0, 0.0, found.mean)[:, None, None]
    sigma = found.deviation[:, None, None]
    start = torch.randn(8 * 16 * 16, generator=torch.Generator().manual_seed(7)).view(1, 8, 16, 16)
    code = torch.minimum(torch.maximum(rest + sigma * start, low), high)
    for step in range(steps):
        code.requires_grad_(True)
        picture = (prior.generator(code) + prior.mean[:, None, None]).clamp(0, 255) - prior.mean[:, None, None]
        score = network.up_to("conv1", picture * scale).mean() * 5
        (grad,) = torch.autograd.grad(score, code)
        rate = 0.5 + (1e-10 - 0.5) * step / (steps - 1)
        in_deviations = grad * sigma
        moved = code.detach() + sigma * rate * in_deviations / in_deviations[in_deviations != 0].abs().mean()
        code = rest + 0.99 * (torch.minimum(torch.maximum(moved, low), high) - rest)
        ascent.step()
    mine = ascent._parameters._space.code(ascent._parameters.values)
    np.testing.assert_allclose(mine.detach(), code, atol=2e-3)
    assert one is not None


def test_ours_is_a_plain_loop(network: Network) -> None:
    """Adam along the principal directions, whose places are smoothed, clipped to ±3 deviations; then the average."""
    kept(network, "relu2", paths.precomputed().own)
    prior, steps, found = g.prior_for(network, "relu2"), 6, g.prior_for(network, "relu2").statistics
    still = {"margin": 0, "jitter": 0, "rotate": 0, "scale_low": 1, "scale_high": 1, "views": 1, "redirect": 0}
    own = {"detail": 0, "total_variation": 0, "rate": 0.9, "smoothness": 0.5, "keep": "average", "phases": ()}
    one = recipe("generator-modern", {**still, **own, "steps": steps})
    ascent = Ascent(network, linear(network), [one], [3])
    scale, count = network_scale(network.input)[:, None, None], len(found.spreads)
    start = torch.randn(count * 256, generator=torch.Generator().manual_seed(3)).view(1, count, 16, 16)
    values, mean, square, average = 0.3 * start, torch.zeros_like(start), torch.zeros_like(start), None
    for step in range(1, steps + 1):
        values = values.detach().requires_grad_(True)
        rows = torch.einsum("ck,bkhw->bchw", found.directions * found.spreads, smoothed(values, torch.tensor([0.5])))
        code = rows + found.mean[:, None, None]
        code = torch.minimum(torch.maximum(code, found.low[:, None, None]), found.high[:, None, None])
        picture = (prior.generator(code) + prior.mean[:, None, None]).clamp(0, 255) - prior.mean[:, None, None]
        (grad,) = torch.autograd.grad(network.up_to("conv1", picture * scale).mean() * 5, values)
        mean, square = 0.9 * mean + 0.1 * grad, 0.999 * square + 0.001 * grad**2
        moved = 0.9 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        values = (values.detach() + moved).clamp(-3, 3)
        weight = min(1.0, max(3.2 / steps, 2 / (step + 1)))
        average = values if average is None else average + weight * (values - average)
        ascent.step()
    assert float((values.abs() == 3).float().mean()) > 0.2  # the bounds were met
    np.testing.assert_allclose(ascent._parameters.values.detach().view_as(values), values, atol=2e-2)
    np.testing.assert_allclose(ascent._average.view_as(values), average, atol=2e-2)


def test_images_through_a_prior_excite_the_unit(network: Network) -> None:
    """Of a map and of a vector, with a margin, of another network's units, with detail, in a small canvas."""
    kept(network, "conv2", paths.precomputed().own)
    kept(network, "fc", paths.precomputed().own)
    for name, changes in (
        ("conv2", {}),
        ("fc", {}),
        ("conv2", {"detail": 20, "margin": 0, "jitter": 0, "scale_low": 1, "scale_high": 1, "rotate": 0}),
    ):
        one = recipe("generator-modern", {"steps": 20, "prior": name, "total_variation": 0, **changes})
        ascent = Ascent(network, objectives.unit("fc", [1, 2]), [one] * 2, [0, 1])
        before = ascent.final_scores()
        for _ in range(20):
            ascent.step()
        assert bool((ascent.final_scores() > before).all()) and ascent.images().shape == (2, 32, 32, 3)
    other = small(InputSpec(40, 40, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), order="bgr"), seed=3)
    ascent = Ascent(other, objectives.unit("fc", 1), [recipe("generator-modern", {"prior": "small/fc"})], [0], (20, 24))
    ascent.step()
    assert ascent.images().shape == (1, 20, 24, 3)
    same = [
        Ascent(network, objectives.unit("fc", 1), [recipe("generator-modern", {"prior": "fc"})], [4]) for _ in range(2)
    ]
    for ascent in same:
        ascent.step()
    assert np.array_equal(same[0].images(), same[1].images())


def test_a_start_image_or_growth_is_refused(network: Network) -> None:
    kept(network, "conv2", paths.precomputed().own)
    with pytest.raises(UserError, match="start image"):
        Ascent(network, objectives.unit("fc", 0), [recipe("generator")], [0], start=torch.zeros(1, 3, 32, 32))
    grown = recipe("generator", {"phases": [{"steps": 1}, {"steps": 1, "grow": 2}], "steps": 2})
    ascent = Ascent(network, objectives.unit("fc", 0), [grown], [0])
    ascent.step()
    with pytest.raises(UserError, match="cannot grow"):
        ascent.step()
    for wrong in ({"blur_width": 1, "blur_every": 1}, {"start": "uniform"}, {"prior": "a\nb"}, {"prior": 3}):
        with pytest.raises(UserError):
            recipe("generator", wrong)
    with pytest.raises(UserError, match="detail.*generator"):
        recipe("modern", {"detail": 3})


def test_sweep_and_search_take_it(network: Network) -> None:
    kept(network, "fc", paths.precomputed().own)
    images, titles = sweep(network, layer(network, "fc"), 1, recipe("generator-modern", {"steps": 1}), 2, 0)
    assert len(images) == len(titles) == 4 and titles[0][0].startswith("decay")
    tried = random_recipe(recipe("generator-modern"), np.random.default_rng(0))
    assert tried.parameterization == "generator" and 0.02 <= tried.rate <= 0.4


def test_the_bundled_prior_is_of_the_default_network() -> None:
    file = paths.ROOT / "precomputed" / "efficientnet-lite0" / "bundled-priors" / "5c" / "prior.safetensors"
    prior = g.from_stored(load_prior(file), torch.device("cpu"), str(file))
    manifest = (paths.ROOT / "precomputed" / "efficientnet-lite0" / "facets" / "manifest.json").read_text()
    assert str(prior.about["fingerprint"]) in manifest
    assert file.stat().st_size < 10e6 and prior.about["psnr"] > prior.about["closed_form"]["psnr"] + 2
    picture = prior.pictures(prior.statistics.mean.view(1, -1, 1, 1).expand(-1, -1, 3, 4))
    assert picture.shape == (1, 3, 48, 64) and 20 < float(picture.mean()) < 235


def test_an_image_through_a_prior_goes_on_as_a_fourier_image(network: Network) -> None:
    """As one that is started from it: with an optimizer, and an average, of its own."""
    kept(network, "relu2", paths.precomputed().own)
    still = {"margin": 0, "jitter": 0, "rotate": 0, "scale_low": 1, "scale_high": 1, "views": 1, "redirect": 0}
    numbers = {"total_variation": 0.2, "power": 1.3, "cutoff": 0.35, "saturation": 1.3, "keep": "average", **still}
    one = recipe("generator-modern", {**numbers, "steps": 6})
    assert [phase.parameterization for phase in one.phases] == ["", "fourier"]
    ascent = Ascent(network, linear(network), [one], [3])
    for _ in range(4):
        ascent.step()
    start = ascent._parameters.image().detach() + ascent._mean[:, None, None]
    other = Ascent(
        network, linear(network), [recipe("modern", {**numbers, "rate": 0.05, "steps": 6})], [3], start=start
    )
    for _ in range(2):
        ascent.step()
        other.step()
    assert ascent.recipe.parameterization == "fourier"
    np.testing.assert_allclose(ascent.current(), other.current(), atol=0.05)
    assert float((ascent.current() - (start - ascent._mean[:, None, None])).abs().mean()) > 0.5  # it has moved
    stored = as_values(one)
    assert checked(stored) == one
    with pytest.raises(UserError, match="phases: parameterization: 'maco'"):
        checked({**stored, "phases": [{"steps": 1, "parameterization": "maco"}]})
