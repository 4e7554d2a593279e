"""DeepDream against NumPy, SciPy and loops."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from scipy import ndimage
from smallnets import flat, small
from torch import nn

from deepvis.core.errors import UserError
from deepvis.networks.network import InputSpec, Network, prepare
from deepvis.synthesis import dream as d
from deepvis.synthesis import moving_dreams as moving

SPEC = InputSpec(32, 32, (0.5,) * 3, (0.25,) * 3)


def picture(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)


def gradient(dreamer: d.Dreamer, of: np.ndarray) -> np.ndarray:
    return d.as_array(dreamer.gradient(d.as_values(of)))


def climbed(dreamer: d.Dreamer, of: np.ndarray, step: float, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    return d.as_array(d.climbed(dreamer, d.as_values(of), step, shift).values)


def strided() -> Network:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1))
    return prepare("strided", body, SPEC, {"last": "2"})


def test_the_gradient_is_that_of_half_the_squares() -> None:
    network = strided()
    x = torch.from_numpy(picture()).double().requires_grad_(True)
    module = network.on(torch.device("cpu"), torch.float64).module
    seen = ((x.permute(2, 0, 1)[None] / 255 - 0.5) / 0.25).float().double()
    (expected,) = torch.autograd.grad(module(seen).square().sum() / 2, x)
    got = gradient(d.Dreamer(network, "last"), picture())
    assert np.allclose(got, expected.numpy(), rtol=1e-3, atol=1e-5)
    one = gradient(d.Dreamer(network, "last", d.of_unit(3)), picture())
    (expected,) = torch.autograd.grad(module((x.permute(2, 0, 1)[None] / 255 - 0.5) / 0.25)[:, 3].sum(), x)
    assert np.allclose(one, expected.numpy(), rtol=1e-3, atol=1e-6)


def test_the_guides_match_is_that_of_a_loop() -> None:
    draw = torch.Generator().manual_seed(0)
    here, guide = torch.randn(1, 4, 3, 5, generator=draw), torch.randn(1, 4, 2, 6, generator=draw)
    pulled = d.of_guide(guide)(here)[0].numpy()
    columns = [guide[0, :, r, c].numpy() for r in range(2) for c in range(6)]
    for r in range(3):
        for c in range(5):
            own = here[0, :, r, c].numpy()
            best = max(columns, key=lambda column: float(column @ own))
            assert np.array_equal(pulled[:, r, c], best)


def test_a_box_of_the_guide_is_seen_with_what_lies_around_it() -> None:
    """Its places are those of the whole picture's map that it covers."""
    dreamer, image = d.Dreamer(strided(), "last", margin=32), picture(240, 320)
    whole = dreamer.activations(image)
    pulls = d.guided_by(dreamer, image, (160, 80, 40, 20))(whole)
    assert torch.allclose(pulls, d.of_guide(whole[:, :, 20:25, 40:50])(whole), atol=1e-5)
    small = d.guided_by(dreamer, image, (318, 1, 2, 1))(whole)
    assert torch.allclose(small[0, :, 3, 7], whole[0, :, 0, -1], atol=1e-5)
    vector = d.Dreamer(flat(), "fc")
    pull = d.guided_by(vector, picture(12, 12), (0, 0, 12, 12))
    found = vector.activations(picture(12, 12))
    assert torch.equal(pull(found * 2), found)


def test_a_step_is_a_loop_of_the_notebook() -> None:
    dreamer = d.Dreamer(strided(), "last")
    got = climbed(dreamer, picture(), 1.5, (5, -3))
    rolled = np.roll(np.roll(picture(), 5, 0), -3, 1)
    grad = gradient(dreamer, rolled)
    rolled = np.clip(rolled + 1.5 / np.abs(grad).mean() * grad, 0, 255)
    assert np.allclose(got, np.roll(np.roll(rolled, 3, 1), -5, 0), atol=1e-3)


def test_the_whole_dream_is_the_notebooks() -> None:
    dreamer, plan = d.Dreamer(strided(), "last"), d.DreamPlan(octaves=3, iterations=(2,), growth=0.0, jitter=4, seed=3)
    *_, last = d.dream(dreamer, picture(60, 84), plan)
    draw = np.random.default_rng(3)
    sizes = [(round(60 / 1.4**i), round(84 / 1.4**i)) for i in (2, 1, 0)]
    detail = np.zeros((*sizes[0], 3), np.float32)
    for size in sizes:
        ground = d._sized(picture(60, 84), size)
        x = ground + d._sized(detail, size)
        for _ in range(2):
            down, along = draw.integers(-4, 5, 2)
            x = climbed(dreamer, x, 1.5, (int(down), int(along)))
        detail = x - ground
    assert np.allclose(last.picture, x, atol=1e-3) and (last.done, last.total, last.octaves) == (6, 6, 3)
    assert last.moved and not last.note


@pytest.mark.parametrize("size", [(96, 96), (70, 131)])
def test_tiles_are_the_whole_picture(size: tuple[int, int]) -> None:
    """With a margin of the receptive field (7 pixels) and tiles at multiples of the stride."""
    dreamer = d.Dreamer(strided(), "last", margin=8, multiple=4)
    whole = gradient(dreamer, picture(*size))
    tiles = d.as_array(dreamer.tiled_gradient(d.as_values(picture(*size)), 32))
    assert np.allclose(tiles, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())


def test_too_little_memory_means_smaller_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    dreamer = d.Dreamer(strided(), "last", margin=32)
    exact, large = dreamer.gradient, d.as_values(picture(300, 300))
    whole = exact(large)

    def small_memory(part: torch.Tensor) -> torch.Tensor:
        if part.numel() > 3 * 230 * 230:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return exact(part)

    monkeypatch.setattr(dreamer, "gradient", small_memory)
    grad, tile = dreamer.fitting_gradient(large, 0)
    assert tile == 160 and dreamer.said == "too little memory: tiles of 160 pixels"
    assert torch.allclose(grad, whole, rtol=1e-4, atol=1e-5)
    assert d.tile_for(strided(), 4 << 30) == 1024 and d.tile_for(strided(), 1 << 20) == 128


def test_no_room_at_all_and_a_network_that_fails_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    dreamer = d.Dreamer(strided(), "last")
    for said, expected in (("out of memory", "Close other programs"), ("no such thing", "the network fails")):

        def fails(part: torch.Tensor, said: str = said) -> torch.Tensor:
            raise RuntimeError(said)

        monkeypatch.setattr(dreamer, "gradient", fails)
        with pytest.raises(UserError, match=expected):
            dreamer.fitting_gradient(d.as_values(picture()), 0)


def test_a_small_picture_has_fewer_octaves_and_says_so() -> None:
    dreamer = d.Dreamer(small(), "conv3")
    *_, last = d.dream(dreamer, picture(20, 20), d.DreamPlan(octaves=3, iterations=(1,), jitter=2))
    assert last.octaves == 1 and last.note == "1 of 3 octaves: smaller pictures are too small"


def test_a_picture_that_the_network_does_not_take() -> None:
    network = prepare(
        "fixed", nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 5)), SPEC, {"fc": "2"}
    )
    with pytest.raises(UserError, match="20×20 pixels"):
        next(d.dream(d.Dreamer(network, "fc"), picture(20, 20)))


def test_without_a_gradient_nothing_moves() -> None:
    network = strided()
    for weight in network.module.parameters():
        weight.data.zero_()
    *_, last = d.dream(d.Dreamer(network, "last"), picture(), d.DreamPlan(octaves=1, iterations=(2,)))
    assert not last.moved and np.array_equal(last.picture, picture())


@pytest.mark.parametrize("zoom", [moving.Zoom(0.05), moving.Zoom(0.02, 3.0), moving.Zoom(0.0, 0.0, (2.0, -3.0))])
def test_zoom_is_that_of_scipy(zoom: moving.Zoom) -> None:
    image = ndimage.gaussian_filter(picture(), (2, 2, 0))
    got = moving.zoomed(image, zoom)
    middle = (np.array(image.shape[:2]) - 1) / 2
    angle, factor = np.radians(zoom.turn), 1 + zoom.zoom
    # from a pixel of the result back to one of the picture, (row, column)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / factor
    offset = middle - matrix @ (middle + np.array(zoom.drift[::-1]))
    for channel in range(3):
        expected = ndimage.affine_transform(image[..., channel], matrix, offset, order=1, mode="mirror")
        assert np.abs(got[..., channel] - expected).max() < 1.5  # OpenCV places pixels to 1/32


def test_an_endless_zoom_walks_through_units() -> None:
    dreamer = d.Dreamer(strided(), "last")
    pulls = [d.of_unit(0), d.of_unit(1)]
    plan = d.DreamPlan(octaves=1, iterations=(1,), jitter=0)
    frames = list(islice(moving.endless(dreamer, picture(), moving.Zoom(0.1), plan, pulls, each=2), 3))
    assert dreamer.pull is pulls[1] and len(frames) == 3
    current = picture()
    for i, frame in enumerate(frames):
        current = climbed(d.Dreamer(strided(), "last", pulls[i // 2]), current, 1.5)
        assert np.allclose(frame.picture, current, atol=1e-3)
        current = moving.zoomed(current, moving.Zoom(0.1))


def test_what_was_added_is_carried_along() -> None:
    detail = picture(30, 40)
    flow = np.zeros((30, 40, 2), np.float32)
    flow[..., 0], flow[..., 1] = -3, 2  # what is here now was 3 to the left and 2 below
    got = moving.carried(detail, flow)
    assert np.allclose(got[:28, 3:], detail[2:, :-3], atol=1e-3)
    assert not got[:, :3].any() and not got[28:].any()  # has just come into view


def test_a_live_dream_follows_the_picture() -> None:
    live = moving.LiveDream(d.Dreamer(strided(), "last"), keep=1.0)
    image = ndimage.gaussian_filter(picture(96, 96), (3, 3, 0))
    image = ((image - image.min()) / (image.max() - image.min()) * 255).astype(np.uint8)
    first = live.next(image)
    second = live.next(np.roll(image, 4, 1))
    assert first.shape == image.shape and first.dtype == np.uint8
    added = [one.astype(float) - two for one, two in ((first, image), (second, np.roll(image, 4, 1)))]
    still, moved = (np.abs(added[1] - np.roll(added[0], n, 1))[20:-20, 20:-20].mean() for n in (0, 4))
    assert moved < still
