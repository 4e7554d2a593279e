"""Random views against exact crops, turns and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from deepvis.synthesis.transforms import DRAWS, middle, sample, view_matrix

SIZES = [((20, 20), (12, 12)), ((21, 15), (9, 7)), ((18, 24), (18, 24))]


def canvas(size: tuple[int, int], count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def matrix(shift: tuple[float, float] = (0, 0), degrees: float = 0, scale: float = 1, count: int = 2) -> torch.Tensor:
    """Of `view_matrix`, with the draws that give just this view."""
    bound = torch.full((count,), 40.0, dtype=torch.float64)
    turn = torch.full((count,), 180.0, dtype=torch.float64)
    share = [(shift[0] / 40 + 1) / 2, (shift[1] / 40 + 1) / 2, (degrees / 180 + 1) / 2, 0.0, 0.0]
    draws = torch.tensor([share] * count, dtype=torch.float64)
    of = torch.full((count,), scale, dtype=torch.float64)
    return view_matrix(draws, bound, turn, of, of * 2)


@pytest.mark.parametrize("whole, size", SIZES)
def test_without_any_change_it_is_the_middle(whole: tuple[int, int], size: tuple[int, int]) -> None:
    x = canvas(whole)
    top, left = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    want = x[:, :, top : top + size[0], left : left + size[1]]
    assert torch.equal(middle(x, size), want)
    for draws in (torch.zeros(2, DRAWS), torch.ones(2, DRAWS)):
        none = torch.zeros(2, dtype=torch.float64)
        still = view_matrix(draws.double(), none, none, none + 1, none + 1)
        torch.testing.assert_close(sample(x, still, size), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-4, 4)])
def test_whole_shifts_are_shifted_crops(shift: tuple[int, int]) -> None:
    x = canvas((20, 20))
    along, down = shift
    want = x[:, :, 4 + down : 16 + down, 4 + along : 16 + along]
    torch.testing.assert_close(sample(x, matrix(shift), (12, 12)), want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("degrees, turns", [(90, 1), (-90, -1), (180, 2)])
def test_quarter_turns(degrees: float, turns: int) -> None:
    x = canvas((14, 14))
    got = sample(x, matrix(degrees=degrees), (10, 10))
    torch.testing.assert_close(got, torch.rot90(middle(x, (10, 10)), turns, (2, 3)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("view", [{"scale": 1.5}, {"scale": 0.6}, {"degrees": 17}, {"shift": (1.3, -7.6)},
                                  {"shift": (-30, 25), "degrees": -120, "scale": 0.8}])  # fmt: skip
def test_as_scipy_samples(view: dict) -> None:
    """Also far outside the canvas, which goes on as its mirror image."""
    x, size = canvas((19, 16)), (11, 14)
    of = matrix(**view)
    got = sample(x, of, size)
    a = of[0].numpy()
    rows, columns = np.meshgrid(
        np.arange(size[0]) - (size[0] - 1) / 2, np.arange(size[1]) - (size[1] - 1) / 2, indexing="ij"
    )
    across = a[0, 0] * columns + a[0, 1] * rows + a[0, 2] + (16 - 1) / 2
    down = a[1, 0] * columns + a[1, 1] * rows + a[1, 2] + (19 - 1) / 2
    for c in range(3):
        want = ndimage.map_coordinates(x[0, c].numpy(), [down, across], order=1, mode="reflect")
        np.testing.assert_allclose(got[0, c], want, atol=1e-10)


def test_the_magnification_and_the_turn_are_what_they_are_called() -> None:
    """A bar of 2 pixels at twice its size is one of 4; bounds of the magnification are reached at its draws."""
    x = torch.zeros(2, 1, 40, 40, dtype=torch.float64)
    x[:, :, :, 19:21] = 1
    assert float(sample(x, matrix(scale=2.0), (40, 40))[0, 0, 10].sum()) == pytest.approx(4)
    low, high = torch.tensor([0.5]), torch.tensor([2.0])
    for share, scale in ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0)):
        draws = torch.tensor([[0.5, 0.5, 0.5, share, 0.0]])
        of = view_matrix(draws, torch.zeros(1), torch.zeros(1), low, high)[0]
        np.testing.assert_allclose(of, [[1 / scale, 0, 0], [0, 1 / scale, 0]], atol=1e-6)


def test_draws_stay_within_their_bounds() -> None:
    draws = torch.rand(500, DRAWS, generator=torch.Generator().manual_seed(0))
    one = torch.ones(500)
    of = view_matrix(draws, one * 5, one * 30, one * 0.9, one * 1.2)
    scale = 1 / of[:, :, 0].norm(dim=1)
    angle = torch.atan2(of[:, 1, 0], of[:, 0, 0]) * 180 / torch.pi
    for values, low, high in ((of[:, 0, 2], -5, 5), (of[:, 1, 2], -5, 5), (angle, -30, 30), (scale, 0.9, 1.2)):
        assert low <= float(values.min()) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < float(values.max()) <= high + 1e-4


def test_each_image_has_its_own_view() -> None:
    x = canvas((16, 16))
    both = torch.cat([matrix((2, 1), count=1), matrix((0, 0), 90, count=1)])
    got = sample(x, both, (8, 8))
    torch.testing.assert_close(got[0:1], sample(x[:1], both[:1], (8, 8)))
    torch.testing.assert_close(got[1:2], sample(x[1:], both[1:], (8, 8)))


def test_gradient_of_a_view() -> None:
    x = canvas((6, 7), 1)[:, :1].requires_grad_(True)
    of = matrix((0.3, -1.2), 20, 1.3, count=1)
    assert torch.autograd.gradcheck(lambda one: sample(one, of, (4, 5)), x, fast_mode=True)
