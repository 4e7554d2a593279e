"""Inversion against least squares, a plain float64 forward, and the papers' formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from smallnets import flat, small

from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec
from deepvis.synthesis import inversion as inv
from deepvis.synthesis import objectives
from deepvis.synthesis.presets import PRESETS, recipe
from deepvis.synthesis.regularizers import quadratic_variation
from deepvis.synthesis.steps import ForgettingAdagrad, Momentum


def picture(size: int = 32, seed: int = 0) -> np.ndarray:
    import cv2

    rough = np.random.default_rng(seed).integers(40, 216, (6, 6, 3), np.uint8)
    return cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC)


def test_code_distance_and_strength_are_the_papers() -> None:
    rng = torch.Generator().manual_seed(0)
    code, other = torch.randn(1, 5, 3, 4, generator=rng), torch.randn(2, 5, 3, 4, generator=rng)
    for units in ((), (1, 4)):
        keep = list(units) or list(range(5))
        a, b = code[0, keep].numpy(), other[:, keep].numpy()
        distance = objectives.code_distance("x", code, units)({"x": other}).numpy()
        assert np.allclose(distance, [-((one - a) ** 2).sum() / (a**2).sum() for one in b], rtol=1e-5)
        strength = objectives.code_strength("x", code, units)({"x": other}).numpy()
        assert np.allclose(strength, [(one * a).sum() / (a**2).sum() for one in b], rtol=1e-4, atol=1e-6)
    with pytest.raises(UserError, match="keeps nothing"):
        objectives.code_distance("x", 0 * code)


def test_quadratic_variation_is_that_of_numpy() -> None:
    image = torch.randn(2, 3, 5, 7)
    x = image.numpy()
    expected = ((x[:, :, 1:] - x[:, :, :-1]) ** 2).sum((1, 2, 3)) + ((x[..., 1:] - x[..., :-1]) ** 2).sum((1, 2, 3))
    assert np.allclose(quadratic_variation(image).numpy(), expected / 35, rtol=1e-5)


@pytest.mark.parametrize("make", [Momentum, ForgettingAdagrad])
def test_optimizers_are_a_loop_of_the_papers_code(make: type) -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 4, 5, generator=draw)
    mine, rates = values.clone(), torch.tensor([0.1, 2.0])
    theirs = values.double().numpy()
    optimizer = make(mine)
    speed, squares = np.zeros_like(theirs), np.zeros_like(theirs)
    for i in range(6):
        if i == 3:  # another rate: the momentum begins anew
            rates, speed = rates / 10, 0 * speed
        grad = torch.randn(2, 3, 4, 5, generator=draw)
        optimizer.move(mine, grad, rates)
        g, lr = grad.double().numpy(), (rates.double().numpy() * 20)[:, None, None, None]
        squares = 0.9 * squares + g**2
        speed = 0.9 * speed + (lr * g if make is Momentum else g / (1 / lr + np.sqrt(squares)))
        theirs = theirs + speed
    assert np.allclose(mine.numpy(), theirs, rtol=1e-4, atol=1e-4)


def test_a_linear_layer_is_inverted_as_by_least_squares() -> None:
    """From a start, gradient ascent on the distance alone finds the nearest picture with that code."""
    network = flat(InputSpec(12, 12, (0.5,) * 3, (0.25,) * 3))
    code = inv.Code(network, "fc", picture(12))
    start = np.full((12, 12, 3), 128, np.uint8)
    matrix = network.module.fc.weight.double().numpy() * (1 / 255 / 0.25)  # of pixels, channel by channel
    begin = start.astype(float).transpose(2, 0, 1).ravel()
    wanted = matrix @ (picture(12).astype(float).transpose(2, 0, 1).ravel() - begin)
    expected = begin + np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    length = float(np.sqrt(np.mean((expected - begin) ** 2)))  # the whole way in the first step: about 1 / curvature
    plain = recipe("plain", {"rate": length, "keep": "last", "redirect": 0})
    found = inv.Inversion([code], plain, starts=[start])
    for _ in range(80):
        found.step()
    got = found.ascent.current()[0].double().numpy() + 127.5
    assert np.abs(got.ravel() - expected).max() < 0.05


def test_the_error_is_that_of_a_float64_forward_of_the_picture() -> None:
    network = small()
    code = inv.Code(network, "conv3", picture(), units=(0, 2, 5))
    others = [picture(seed=1), picture(seed=2)]
    errors, between = code.exact_errors(others)

    def plain(image: np.ndarray) -> np.ndarray:
        module = network.on(torch.device("cpu"), torch.float64).module
        mean, std = np.array(network.input.mean), np.array(network.input.std)
        x = torch.from_numpy(((image / 255 - mean) / std).transpose(2, 0, 1)[None])
        with torch.no_grad():
            y = module.relu2(module.conv2(module.relu1(module.conv1(x))))
            return module.conv3(y)[0, [0, 2, 5]].numpy()

    truth = plain(picture())
    expected = [((plain(other) - truth) ** 2).sum() / (truth**2).sum() for other in others]
    assert np.allclose(errors, expected, rtol=1e-10)
    assert between[0, 1] == pytest.approx(((plain(others[0]) - plain(others[1])) ** 2).sum() / (truth**2).sum())
    assert code.judged(others[0]).error == pytest.approx(errors[0], rel=1e-3)
    assert code.judged(picture()).error < 1e-9 and code.judged(picture()).psnr == math.inf


@pytest.mark.parametrize("preset", ["invert", "mahendran-2014", "mahendran-2016"])
def test_presets_bring_the_code_nearer(preset: str) -> None:
    code = inv.Code(small(), "conv2", picture())
    some = replace(PRESETS[preset], steps=60)
    found = inv.Inversion([code] * 2, some)
    before = [one.error for one in found.results()]
    for _ in range(60):
        found.step()
    for one, first in zip(found.results(), before):
        assert one.error < first and one.steps == 60 and one.picture.shape == (32, 32, 3)
    assert inv.differences(found.pictures()) > 0


@pytest.mark.parametrize("preset", ["invert", "mahendran-2016"])
def test_pictures_of_a_batch_are_rebuilt_as_each_alone(preset: str) -> None:
    codes = [inv.Code(small(), "conv2", picture(seed=seed), units=(0, 1, 3)) for seed in (1, 2)]
    some, starts = replace(PRESETS[preset], steps=6), [picture(seed=3), picture(seed=4)]
    starts = starts if preset == "invert" else []
    together = inv.Inversion(codes, some, (5, 6), starts)
    alone = [inv.Inversion([codes[i]], some, (5 + i,), starts[i : i + 1]) for i in (0, 1)]
    for found in (together, *alone):
        for _ in range(6):
            found.step()
    for one, (other,) in zip(together.results(), (found.results() for found in alone)):
        assert np.abs(one.picture.astype(int) - other.picture).mean() < 1  # the network's rounding depends on the batch
        assert one.error == pytest.approx(other.error, rel=0.02)
    with pytest.raises(UserError, match="keeps nothing"):
        objectives.code_distance("x", torch.stack([torch.ones(3), torch.zeros(3)]))


def test_a_start_is_kept_to_the_pixel() -> None:
    for changes in ({}, {"colors": "plain"}):
        found = inv.Inversion([inv.Code(small(), "conv2", picture())], recipe("invert", changes), starts=[picture()])
        assert np.abs(found.pictures()[0].astype(int) - picture()).max() <= 1


def test_mean_images_are_subtracted_as_the_network_does() -> None:
    mean_image = np.random.default_rng(0).uniform(80, 160, (32, 32, 3)).astype(np.float32)
    spec = InputSpec(32, 32, (120.0, 119.0, 118.0), (1.0,) * 3, range=255.0, order="bgr", mean_image=mean_image)
    network = small(spec)
    code = inv.Code(network, "conv2", picture())
    assert code.judged(picture()).error < 1e-9
    errors, _ = code.exact_errors([picture()])
    assert errors == [0]
    double = inv.as_input(network.on(torch.device("cpu"), torch.float64), picture())
    assert torch.allclose(double.float(), inv.as_input(network, picture()), atol=1e-3)
    found = inv.Inversion([code], recipe("invert"), starts=[picture()])
    changed = np.abs(found.pictures()[0].astype(int) - picture())
    assert (changed > 1).mean() < 0.1  # only values beyond black and white about the mean colour are cut


def test_accentuation_makes_the_unit_stronger_and_stays_near() -> None:
    network = small()
    near = inv.Code(network, "conv1", picture())
    also = inv.accentuation(network, "conv3", 2, near, 0.5)
    found = inv.Inversion([near], replace(recipe("invert"), total_variation=0.0), starts=[picture()], also=also)
    for _ in range(20):
        found.step()
    result = found.pictures()[0]
    unit = lambda image: float(network.up_to("conv3", inv.as_input(network, image))[0, 2].mean())
    assert unit(result) > unit(picture()) and near.judged(result).error < 0.2


def test_only_colour_pictures() -> None:
    with pytest.raises(UserError, match="5 channels"):
        inv.Code(small(InputSpec(32, 32, (0.5,) * 5, (0.2,) * 5)), "conv2", picture())
